//! Work on durable tasks until Ctrl-C. Start a broker (`make run`), then
//! `cargo run -p agentcom-client --example worker`, and submit with the `submit_task` example.

use agentcom_client::{JobError, Worker};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let worker = Worker::builder(&client, "loud-agent")
        .can(["voice"])
        .queues(["shout"])
        .concurrency(4)
        .start()
        .await?;

    let interrupted = async {
        // Without a handler for Ctrl-C the process just ends, and the broker notices.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    worker
        .run_until(interrupted, |job| async move {
            if job.payload().is_empty() {
                return Err(JobError::fatal("there is nothing to shout"));
            }
            job.progress("taking a breath").await?;
            eprintln!("task {} attempt {}", job.task(), job.attempt());
            Ok(job.payload().to_ascii_uppercase())
        })
        .await?;
    Ok(())
}
