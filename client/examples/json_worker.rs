//! A worker whose tasks are JSON on both sides, and the task for it. Start a broker (`make run`),
//! then `cargo run -p agentcom-client --example json_worker`.

use std::time::Duration;

use agentcom_client::{JobError, Outcome};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Division {
    dividend: i64,
    divisor: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let worker = client.worker("calculator").queues(["divisions"]).start().await?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run_json(|_job, division: Division| async move {
        let Division { dividend, divisor } = division;
        dividend.checked_div(divisor).ok_or_else(|| JobError::fatal("there is no such number"))
    }));

    let tasks = client.tasks();
    for divisor in [6, 0] {
        let division = Division { dividend: 42, divisor };
        let kept = tasks.submit("divisions").json(&division)?.await?;
        match tasks.await_result(kept, Duration::from_secs(60)).await? {
            Outcome::Completed(result) => {
                let quotient: i64 = serde_json::from_slice(&result)?;
                eprintln!("42 / {divisor} = {quotient}");
            }
            other => eprintln!("42 / {divisor}: {other:?}"),
        }
    }
    handle.shutdown().await;
    working.await??;
    Ok(())
}
