//! `agentcom pub`: publish a message.

use agentcom_client::HeaderMap;
use serde_json::json;

use super::output::Output;
use super::{Common, Outcome, body};

/// Arguments of `pub`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to
    subject: String,
    /// The body; from stdin if absent or -
    body: Option<String>,
    /// A header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The subject on which answers are expected
    #[arg(long)]
    reply: Option<String>,
    /// How many times to publish it
    #[arg(long, default_value_t = 1)]
    count: u64,
}

/// Publish, and return when the broker has it.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { subject, body, headers, reply, count } = arguments;
    let body = body::read(body.as_deref())?;
    let headers: HeaderMap = headers.into_iter().collect();
    let client = common.connect().await?;
    for _ in 0..count {
        let body = body.clone();
        match (&reply, headers.is_empty()) {
            (None, true) => client.publish(&subject, body).await?,
            (None, false) => client.publish_with_headers(&subject, headers.clone(), body).await?,
            (Some(reply), true) => client.publish_with_reply(&subject, reply, body).await?,
            (Some(reply), false) => {
                let headers = headers.clone();
                client.publish_with_reply_and_headers(&subject, reply, headers, body).await?;
            }
        }
    }
    client.flush().await?;
    let text = format!("published {count} x {} bytes to {subject}", body.len());
    output.result(&text, &json!({"subject": subject, "count": count, "bytes": body.len()}))?;
    Ok(())
}

/// `name:value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), value.trim_start().to_owned()))
        }
        _ => Err(format!("{text:?} is no header; write name:value")),
    }
}
