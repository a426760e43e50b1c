//! The broker for other programs' tests, as such a test uses it.

use std::time::Duration;

use agentcom_broker::testing::TestBroker;
use agentcom_client::{Client, JobError, Outcome, TaskState};

const LEASE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn start() -> (TestBroker, Client) {
    let broker = TestBroker::start().expect("a port and a thread");
    let client = agentcom_client::connect(broker.address()).await.expect("connected");
    (broker, client)
}

#[tokio::test]
async fn a_delay_passes_when_the_test_says_so() {
    let (broker, client) = start().await;
    let emails = client.queue("emails");
    emails.enqueue("tomorrow").delay(DAY).await.expect("kept");
    broker.advance(DAY - Duration::from_millis(1)).await;
    assert!(emails.lease(LEASE).await.expect("asked").is_none());
    broker.advance(Duration::from_millis(1)).await;
    let lease = emails.lease(LEASE).await.expect("asked").expect("due");
    lease.ack().await.expect("acknowledged");
}

#[tokio::test]
async fn a_lease_that_runs_out_gives_the_entry_to_the_next() {
    let (broker, client) = start().await;
    let emails = client.queue("emails");
    emails.enqueue("hello").await.expect("kept");
    let first = emails.lease(LEASE).await.expect("asked").expect("an entry");
    broker.advance(LEASE).await;
    // The back-off after a lost lease.
    broker.advance(DAY).await;
    let second = emails.lease(LEASE).await.expect("asked").expect("the entry again");
    assert_eq!(first.task(), second.task());
    first.ack().await.expect_err("its time is over");
    second.ack().await.expect("acknowledged");
}

#[tokio::test]
async fn a_worker_retries_without_waiting() {
    let (broker, client) = start().await;
    let worker = client.worker("alice").start().await.expect("started");
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(|job| async move {
        match job.attempt() {
            1 => Err(JobError::retry("try again")),
            _ => Ok("done"),
        }
    }));
    let tasks = client.tasks();
    let kept = tasks.submit("q").await.expect("kept");
    let mut watch = tasks.watch(kept).from(0).await.expect("watching");
    while let Some(event) = futures_util::StreamExt::next(&mut watch).await {
        if event.expect("watching").state == TaskState::Scheduled {
            broker.advance(DAY).await;
        }
    }
    let outcome = tasks.await_result(kept, LEASE).await.expect("over");
    assert_eq!(outcome, Outcome::Completed("done".into()));
    handle.shutdown().await;
    working.await.expect("no panic").expect("stopped in order");
}
