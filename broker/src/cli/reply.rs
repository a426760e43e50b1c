//! `agentcom reply`: answer requests with a body, or with what a command prints.

use agentcom_client::{Client, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::output::Output;
use super::shell::Shell;
use super::{Common, Outcome, body, complain};

/// Arguments of `reply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Requests to answer
    subject: String,
    /// The answer; from stdin if absent or -
    #[arg(conflicts_with = "exec")]
    body: Option<String>,
    /// Share the requests with the other members of this queue group
    #[arg(long)]
    queue: Option<String>,
    /// Run this in a shell for each request: the request is its stdin, its stdout is the answer
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

/// Where answers come from.
enum Source {
    Fixed(Bytes),
    Shell(Shell),
}

/// Answer one request after another, for ever.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { subject, body, queue, exec } = arguments;
    let source = match exec {
        Some(command) => Source::Shell(Shell::new(command)),
        None => Source::Fixed(body::read(body.as_deref())?),
    };
    let client = common.connect_for_long().await?;
    let mut requests = match queue {
        Some(queue) => client.queue_subscribe(&subject, queue).await?,
        None => client.subscribe(&subject).await?,
    };
    while let Some(request) = requests.next().await {
        output.message(&request, false)?;
        answer(&client, &source, request).await?;
    }
    Err("the connection is closed; run the command again".into())
}

async fn answer(client: &Client, source: &Source, request: Message) -> Outcome {
    let Some(reply) = request.reply else {
        complain("this message names no reply subject; it stays without an answer");
        return Ok(());
    };
    let body = match source {
        Source::Fixed(body) => body.clone(),
        Source::Shell(shell) => {
            let environment = [("AGENTCOM_SUBJECT", request.subject.to_string())];
            let ran = shell.run(request.payload, &environment, std::future::pending()).await?;
            match ran {
                Some(ran) if ran.code == Some(0) => ran.stdout.into(),
                // No answer is better than a wrong one: whoever asked times out.
                Some(ran) => {
                    complain(&format!("{}; this request stays without an answer", ran.reason()));
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    };
    client.publish(reply, body).await?;
    Ok(())
}
