//! Ask and answer. Start a broker (`make run`), then
//! `cargo run -p agentcom-client --example request_reply`.

use agentcom_client::RequestErrorKind;
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;

    // Nobody listens yet, and the answer to that comes at once.
    let unanswered = client.request("upper", "hello".into()).await.map_err(|error| error.kind());
    assert_eq!(unanswered, Err(RequestErrorKind::NoResponders));

    let mut questions = client.subscribe("upper").await?;
    let responder = client.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let answer = question.payload.to_ascii_uppercase();
            if let Some(reply) = question.reply
                && let Err(error) = responder.publish(reply, answer.into()).await
            {
                eprintln!("an answer was not sent: {error}");
            }
        }
    });

    let answer = client.request("upper", "hello".into()).await?;
    eprintln!("{}", String::from_utf8_lossy(&answer.payload));
    Ok(())
}
