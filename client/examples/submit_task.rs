//! Submit a durable task and watch it. Start a broker (`make run`) and the `worker` example, then
//! `cargo run -p agentcom-client --example submit_task`.

use std::time::Duration;

use agentcom_client::Priority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let task = client
        .tasks()
        .submit("shout", "good morning".into())
        .needs(["voice"])
        .priority(Priority::HIGH)
        .lease(Duration::from_secs(10))
        .await?;
    eprintln!("task {task} is on disk");

    loop {
        let view = client.tasks().show(task).await?;
        eprintln!("task {task} is {}", view.state);
        if view.state.is_final() {
            eprintln!("result: {:?}, error: {:?}", view.result, view.error);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
