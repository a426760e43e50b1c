//! Queues through the client crate.

use std::time::Duration;

use agentcom_client::{Dedup, QueueErrorKind, QueueSettings, SubmitErrorKind, TaskState};

use super::{connected, in_time, reconnect};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn entries_are_taken_in_order_and_acknowledged_on_a_later_connection() {
    let Some((_broker, client)) = connected().await else { return };
    let emails = client.queue("emails");
    for entry in ["first", "second"] {
        emails.enqueue(entry).await.expect("kept");
    }
    let first = emails.lease(LEASE).await.expect("asked").expect("an entry");
    assert_eq!((&first.payload()[..], first.attempt()), (&b"first"[..], 1));
    reconnect(&client).await;
    in_time(first.ack()).await.expect("acknowledged");
    let view = emails.show().await.expect("shown");
    assert_eq!((view.ready, view.running), (1, 0));
    let second = emails.lease(LEASE).await.expect("asked").expect("an entry");
    reconnect(&client).await;
    in_time(second.extend(LEASE * 2)).await.expect("extended");
    in_time(second.nack_with_error(Duration::ZERO, "not today")).await.expect("refused");
    let again = emails.lease(LEASE).await.expect("asked").expect("the same again");
    assert_eq!((again.task(), again.attempt()), (second.task(), 2));
    let view = client.tasks().show(again.task()).await.expect("shown");
    assert_eq!(view.failures[0].error, "not today");
}

#[tokio::test]
async fn a_dropped_take_leaves_the_entry_for_the_next() {
    let Some((broker, client)) = connected().await else { return };
    let emails = client.queue("emails");
    for _ in 0..20 {
        let taking = emails.lease(LEASE).wait(LEASE).into_future();
        let dropping = async { tokio::task::yield_now().await };
        // Whether the broker hears of the take before it is dropped is a matter of luck.
        tokio::select! {
            biased;
            _ = taking => panic!("there is no entry"),
            () = dropping => {}
        }
    }
    emails.enqueue("hello").await.expect("kept");
    let other = super::client(&broker).await;
    let taking = other.queue("emails").lease(LEASE).wait(LEASE).into_future();
    let lease = in_time(taking).await.expect("asked").expect("the entry");
    assert_eq!(lease.attempt(), 1, "being handed back uses up no attempt");
    lease.ack().await.expect("acknowledged");
}

#[tokio::test]
async fn a_take_waits_for_an_entry() {
    let Some((broker, client)) = connected().await else { return };
    let other = super::client(&broker).await;
    let emails = client.queue("emails");
    let taking = emails.lease(LEASE).wait(LEASE).max(5).into_future();
    let putting = async { other.queue("emails").enqueue("hello").await };
    let (leases, kept) = in_time(async { tokio::join!(taking, putting) }).await;
    let leases = leases.expect("asked");
    assert_eq!((leases.len(), leases[0].task()), (1, kept.expect("kept").task));
    leases[0].release().await.expect("handed back");
    let view = emails.show().await.expect("shown");
    assert_eq!(view.ready, 1);
}

#[tokio::test]
async fn a_queue_is_paused_limited_and_purged() {
    let Some((_broker, client)) = connected().await else { return };
    let emails = client.queue("emails");
    let shown = emails.show().await.map_err(|error| error.kind());
    assert_eq!(shown, Err(QueueErrorKind::NoQueue));
    let kept = emails.enqueue("hello").dedup("one", Dedup::DAY).await.expect("kept");
    assert_eq!((kept.state, kept.existing), (TaskState::Ready, false));
    let again = emails.enqueue("hello").dedup("one", Dedup::DAY).await.expect("kept before");
    assert_eq!((again.task, again.existing), (kept.task, true));
    let rejecting = emails.enqueue("hello").dedup("one", Dedup::Reject(LEASE)).await;
    assert_eq!(rejecting.map_err(|error| error.kind()), Err(SubmitErrorKind::Exists));

    emails.pause().await.expect("paused");
    assert!(emails.lease(LEASE).await.expect("asked").is_none());
    let settings = QueueSettings::new().leases_max(3).rate(100, Duration::from_secs(60));
    emails.set(settings.fair(true).weights([("big", 3)])).await.expect("set");
    let view = emails.show().await.expect("shown");
    assert_eq!((view.paused, view.leases_max), (true, Some(3)));
    assert_eq!((view.rate_max, view.rate_ms), (Some(100), Some(60_000)));
    assert_eq!((view.order.as_str(), view.weights.get("big")), ("fair", Some(&3)));
    assert_eq!(client.queues(None, 10).await.expect("listed"), [view]);
    assert_eq!(emails.peek(5).await.expect("shown")[0].task, kept.task);
    emails.resume().await.expect("resumed");
    let purged = emails.purge().await.expect("purged");
    assert_eq!((purged.tasks, purged.left), (1, 0));
    client.drain().await.expect("closed in order");
}

#[tokio::test]
async fn headers_come_with_the_entry_whatever_they_hold() {
    let Some((_broker, client)) = connected().await else { return };
    let emails = client.queue("emails");
    let values =
        [("Content-Type", "text/plain; charset=utf-8"), ("note", "50 %, größer"), ("no", "")];
    let entry = values
        .iter()
        .fold(emails.enqueue("hello"), |entry, (name, value)| entry.header(*name, *value));
    let kept = entry.limit("smtp", 1).rate("smtp", 10, LEASE).await.expect("kept");
    let lease = emails.lease(LEASE).await.expect("asked").expect("an entry");
    let found = lease.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut expected = values.to_vec();
    expected.sort_unstable();
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(&lease.payload()[..], b"hello");
    let view = client.tasks().show(kept).await.expect("shown");
    assert_eq!(&view.headers, lease.headers());
}
