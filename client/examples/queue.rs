//! Put entries into a durable queue and take them out again. Start a broker (`make run`), then
//! `cargo run -p agentcom-client --example queue`.

use std::time::Duration;

use agentcom_client::Dedup;

const LEASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let emails = client.queue("emails");
    emails.enqueue("welcome 42").await?;
    // Twice the same, kept once.
    for _ in 0..2 {
        let kept = emails.enqueue("invoice 7").dedup("invoice-7", Dedup::DAY).await?;
        eprintln!("entry {}, which was there before: {}", kept.task, kept.existing);
    }
    emails.enqueue("reminder 42").delay(Duration::from_secs(2)).await?;

    // The reminder comes after two seconds; then nothing for a while, and that is the end.
    while let Some(lease) = emails.lease(LEASE).wait(Duration::from_secs(5)).await? {
        eprintln!("attempt {}: {}", lease.attempt(), String::from_utf8_lossy(lease.payload()));
        match lease.attempt() {
            1 => lease.nack_with_error(Duration::from_millis(100), "the server is busy").await?,
            _ => lease.ack().await?,
        }
    }
    Ok(())
}
