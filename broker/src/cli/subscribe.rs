//! `agentcom sub`: print the messages of a subject.

use futures_util::StreamExt as _;

use super::output::Output;
use super::{Common, Outcome};

/// Arguments of `sub`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to print; `*` stands for one token, a last `>` for the rest (quote them)
    subject: String,
    /// Share the messages with the other members of this queue group
    #[arg(long)]
    queue: Option<String>,
    /// End after this many messages
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Print until the count is reached, or for ever.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { subject, queue, count } = arguments;
    let client = common.connect_for_long().await?;
    let mut subscriber = match queue {
        Some(queue) => client.queue_subscribe(&subject, queue).await?,
        None => client.subscribe(&subject).await?,
    };
    if let Some(count) = count {
        subscriber.unsubscribe_after(count).await?;
    }
    while let Some(message) = subscriber.next().await {
        output.message(&message, false)?;
    }
    match count {
        Some(_) => Ok(()),
        None => Err("the connection is closed; run the command again".into()),
    }
}
