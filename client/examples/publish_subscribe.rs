//! Publish and subscribe. Start a broker (`make run`), then
//! `cargo run -p agentcom-client --example publish_subscribe`.

use futures_util::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = agentcom_client::connect("127.0.0.1:4222").await?;
    let mut orders = client.subscribe("orders.>").await?;

    for number in 1..=3 {
        client.publish(format!("orders.new.{number}"), "one cup of tea".into()).await?;
    }
    for _ in 1..=3 {
        let order = orders.next().await.ok_or("the client was closed")?;
        eprintln!("{}: {}", order.subject, String::from_utf8_lossy(&order.payload));
    }
    drop(orders);
    client.drain().await?;
    Ok(())
}
