//! Share messages among the members of a queue group: each goes to one of them. Start a broker
//! (`make run`), then `cargo run -p agentcom-client --example queue_group`.

use futures_util::StreamExt;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;

    let mut members = JoinSet::new();
    for name in ["ann", "ben", "cleo"] {
        let mut jobs = client.queue_subscribe("jobs", "painters".to_owned()).await?;
        members.spawn(async move {
            let mut taken = 0;
            while jobs.next().await.is_some() {
                taken += 1;
            }
            (name, taken)
        });
    }

    for number in 0..300 {
        client.publish("jobs", format!("wall {number}").into()).await?;
    }
    // Everything that is on its way is still handled, then the streams end.
    client.drain().await?;
    while let Some(member) = members.join_next().await {
        let (name, taken) = member?;
        eprintln!("{name} took {taken}");
    }
    Ok(())
}
