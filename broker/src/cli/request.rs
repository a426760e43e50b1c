//! `agentcom req`: send a request and print the answer.

use std::time::Duration;

use agentcom_client::{HeaderMap, Request};

use super::output::Output;
use super::publish::header;
use super::{Common, Outcome, body, duration};

/// Arguments of `req`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Whom to ask
    subject: String,
    /// The body; from stdin if absent or -
    body: Option<String>,
    /// A header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How long to wait for the answer
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
}

/// Print the body of the first answer.
pub(crate) async fn run(arguments: Arguments, common: &Common, output: &Output) -> Outcome {
    let Arguments { subject, body, headers, timeout } = arguments;
    let body = body::read(body.as_deref())?;
    let headers: HeaderMap = headers.into_iter().collect();
    let mut request = Request::new().payload(body).timeout(Some(timeout));
    if !headers.is_empty() {
        request = request.headers(headers);
    }
    let client = common.connect().await?;
    let answer = client.send_request(&subject, request).await?;
    output.message(&answer, true)?;
    Ok(())
}
