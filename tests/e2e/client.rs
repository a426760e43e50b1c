//! The client crate against a real broker: what survives lost connections, and what counts once.

mod queues;
mod talk;
mod tasks;
mod workers;

use std::future::Future;
use std::time::Duration;

use agentcom_client::{Client, ConnectOptions, State};
use agentcom_tests::{Broker, Options, oracle};

/// Longer than anything here takes: a test that waits for this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, and a client that reconnects at once; `None` where nats-server stands in for it.
async fn connected() -> Option<(Broker, Client)> {
    if oracle::skips("it has no tasks") {
        return None;
    }
    let broker = Broker::start(Options::default());
    let client = client(&broker).await;
    Some((broker, client))
}

async fn client(broker: &Broker) -> Client {
    let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::ZERO);
    options.connect(broker.tcp().to_string()).await.expect("connected")
}

/// Lose the connection, and wait for the next one.
async fn reconnect(client: &Client) {
    use std::sync::atomic::Ordering::Relaxed;
    let statistics = client.statistics();
    let before = statistics.connects.load(Relaxed);
    client.force_reconnect();
    in_time(async {
        while statistics.connects.load(Relaxed) == before
            || client.connection_state() != State::Connected
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A future that a correct client and broker let finish.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("not stuck")
}
