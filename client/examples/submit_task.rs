//! Submit a durable task, follow it and wait for its result. Start a broker (`make run`) and the
//! `worker` example, then `cargo run -p agentcom-client --example submit_task`.

use std::time::Duration;

use agentcom_client::{Outcome, Priority};
use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let tasks = client.tasks();
    let kept = tasks
        .submit("shout")
        .payload("good morning")
        .needs(["voice"])
        .priority(Priority::HIGH)
        .lease(Duration::from_secs(10))
        .await?;
    eprintln!("task {} is on disk", kept.task);

    let mut watch = tasks.watch(kept).from(0).await?;
    while let Some(event) = watch.next().await {
        let event = event?;
        eprintln!("{:>3} {} {:?}", event.seq, event.state, event.progress);
    }
    match tasks.await_result(kept, Duration::from_secs(60)).await? {
        Outcome::Completed(result) => eprintln!("{}", String::from_utf8_lossy(&result)),
        other => eprintln!("{other:?}"),
    }
    Ok(())
}
