//! Submit tasks that wait for each other, all at once. Start a broker (`make run`), then
//! `cargo run -p agentcom-client --example task_graph`.

use std::time::Duration;

use agentcom_client::After;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let tasks = client.tasks();
    let kept = tasks
        .graph()
        .task("fetch", tasks.submit("steps").payload("fetch"))
        .task("resize", tasks.submit("steps").payload("resize").after("fetch"))
        .task("tidy", tasks.submit("steps").payload("tidy").after(After::any("resize")))
        .await?;
    for reason in tasks.why(kept["tidy"]).await?.reasons {
        eprintln!("task {} {}", kept["tidy"], reason.sentence);
    }

    let worker = client.worker("steps-agent").queues(["steps"]).start().await?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(|job| async move {
        eprintln!("{}", String::from_utf8_lossy(job.payload()));
        Ok("done")
    }));
    let outcome = tasks.await_result(kept["tidy"], Duration::from_secs(60)).await?;
    eprintln!("the last one: {outcome:?}");
    handle.shutdown().await;
    working.await??;
    Ok(())
}
