//! Queues, against a broker that follows a script.

mod support;

use std::time::Duration;

use agentcom_client::{Client, ConnectOptions, Lease, QueueErrorKind, SettleErrorKind, TaskId};
use support::{Broker, Peer, in_time, options_with_events};

const LEASE: Duration = Duration::from_secs(30);

/// The rest of a take of one entry, and the consumer's name.
async fn expect_take(peer: &mut Peer, wait_ms: &str) -> (String, String) {
    let beginning = format!("emails max=1 wait_ms={wait_ms}");
    let (tag, rest) = peer.expect_beginning("QUEUE TAKE", &beginning).await;
    let (_, consumer) = rest.split_once("lease_ms=30000 consumer=").expect("a consumer");
    (tag, consumer.to_owned())
}

async fn give(peer: &mut Peer, tag: &str, task: u64) {
    let fields = "queue=emails attempt=1 lease_ms=30000";
    peer.say(&format!("ITEM {tag} {task} 1 {fields} 2\r\nhi")).await;
}

/// An entry that was taken.
async fn taken(client: &Client, peer: &mut Peer, task: u64) -> Lease {
    let emails = client.queue("emails");
    let script = async {
        let (tag, _) = expect_take(peer, "0").await;
        give(peer, &tag, task).await;
        peer.say(&format!("OK {tag} count=1")).await;
    };
    let taking = async { emails.lease(LEASE).await };
    let (lease, ()) = in_time(async { tokio::join!(taking, script) }).await;
    lease.expect("taken").expect("an entry")
}

#[tokio::test]
async fn an_entry_is_put_taken_and_acknowledged() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let emails = client.queue("emails");
    let putting = async { emails.enqueue("hello").delay(Duration::from_secs(5)).await };
    let script = async {
        let tag = peer.expect_verb("QUEUE PUT", "emails delay_ms=5000 5").await;
        peer.expect("hello").await;
        peer.say(&format!("OK {tag} task=17 state=scheduled generation=0")).await;
    };
    let (kept, ()) = in_time(async { tokio::join!(putting, script) }).await;
    assert_eq!(kept.expect("kept").task, TaskId(17));

    let lease = taken(&client, &mut peer, 17).await;
    assert_eq!((lease.queue(), &lease.payload()[..]), ("emails", &b"hi"[..]));
    let script = async {
        let tag = peer.expect_verb("QUEUE EXTEND", "17 1 60000").await;
        peer.say(&format!("OK {tag} task=17 state=running")).await;
        let tag = peer.expect_verb("QUEUE ACK", "17 1").await;
        peer.say(&format!("OK {tag} task=17 state=completed")).await;
    };
    let acking = async {
        lease.extend(LEASE * 2).await.expect("extended");
        lease.ack().await.expect("acknowledged");
        drop(lease);
    };
    in_time(async { tokio::join!(acking, script) }).await;
    // Nothing more is said about it.
    client.publish("a", "".into()).await.expect("sent");
    peer.expect("PUB a 0").await;
}

#[tokio::test]
async fn a_queue_without_entries_gives_none_and_several_give_a_list() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let emails = client.queue("emails");
    let script = async {
        let (tag, _) = expect_take(&mut peer, "0").await;
        peer.say(&format!("OK {tag} count=0")).await;
        let beginning = "emails max=10 wait_ms=0 lease_ms=30000";
        let (tag, _) = peer.expect_beginning("QUEUE TAKE", beginning).await;
        give(&mut peer, &tag, 1).await;
        give(&mut peer, &tag, 2).await;
        peer.say(&format!("OK {tag} count=2")).await;
        for (task, verb) in [(1, "QUEUE ACK"), (2, "TASK RELEASE")] {
            let tag = peer.expect_verb(verb, &format!("{task} 1")).await;
            peer.say(&format!("OK {tag} task={task} state=any")).await;
        }
    };
    let taking = async {
        assert!(emails.lease(LEASE).await.expect("asked").is_none());
        let leases = emails.lease(LEASE).max(10).await.expect("taken");
        leases[0].ack().await.expect("acknowledged");
        leases[1].release().await.expect("handed back");
    };
    in_time(async { tokio::join!(taking, script) }).await;
}

#[tokio::test]
async fn an_entry_for_a_dropped_take_is_handed_back_at_once() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let emails = client.queue("emails");
    let taking = async { emails.lease(LEASE).wait(LEASE).await };
    let tag = tokio::select! {
        _ = taking => panic!("the broker has not answered yet"),
        (tag, _) = expect_take(&mut peer, "") => tag,
    };
    give(&mut peer, &tag, 17).await;
    peer.say(&format!("OK {tag} count=1")).await;
    peer.expect_verb("TASK RELEASE", "17 1").await;
}

#[tokio::test]
async fn entries_that_came_before_a_take_was_dropped_are_handed_back_too() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let emails = client.queue("emails");
    let taking = async { emails.lease(LEASE).max(2).await };
    tokio::select! {
        _ = taking => panic!("the broker has not answered yet"),
        () = async {
            let (tag, _) = peer.expect_beginning("QUEUE TAKE", "emails max=2").await;
            give(&mut peer, &tag, 17).await;
            // The entry has arrived when this PING is answered.
            peer.say("PING").await;
            peer.expect("PONG").await;
        } => {}
    }
    peer.expect_verb("TASK RELEASE", "17 1").await;
}

#[tokio::test]
async fn a_lease_that_is_dropped_without_an_answer_counts_as_failed() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    drop(taken(&client, &mut peer, 17).await);
    peer.expect_verb("TASK FAIL", "17 1 class=retry 48").await;
}

#[tokio::test]
async fn a_take_goes_on_waiting_on_the_next_connection() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let emails = client.queue("emails");
    let taking = async { emails.lease(LEASE).wait(LEASE).await };
    let script = async {
        let (_, before) = expect_take(&mut peer, "").await;
        drop(peer);
        let mut peer = broker.accept().await;
        let (tag, after) = expect_take(&mut peer, "").await;
        assert_eq!(before, after, "one name for all connections");
        give(&mut peer, &tag, 17).await;
        peer.say(&format!("OK {tag} count=1")).await;
        peer
    };
    let (lease, _peer) = in_time(async { tokio::join!(taking, script) }).await;
    assert_eq!(lease.expect("taken").expect("an entry").task(), TaskId(17));
}

#[tokio::test]
async fn an_answer_counts_on_the_next_connection_once_that_speaks_for_the_consumer() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let lease = taken(&client, &mut peer, 17).await;
    let script = async {
        peer.expect_verb("QUEUE ACK", "17 1").await;
        drop(peer);
        let mut peer = broker.accept().await;
        let tag = peer.expect_verb("QUEUE ACK", "17 1").await;
        peer.say(&format!("ERR {tag} not_attached 'who is this'")).await;
        let (tag, rest) = peer.expect_beginning("QUEUE TAKE", "unused-").await;
        assert!(rest.contains(" consumer=client-"), "{rest}");
        peer.say(&format!("OK {tag} count=0")).await;
        let tag = peer.expect_verb("QUEUE ACK", "17 1").await;
        // The first one had arrived.
        peer.say(&format!("ERR {tag} gone 'task 17 is over and was forgotten'")).await;
        peer
    };
    let (acked, _peer) = in_time(async { tokio::join!(lease.ack(), script) }).await;
    acked.expect("acknowledged");
}

#[tokio::test]
async fn an_entry_that_is_gone_although_nothing_was_lost_is_an_error() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let lease = taken(&client, &mut peer, 17).await;
    let script = async {
        let tag = peer.expect_verb("QUEUE ACK", "17 1").await;
        peer.say(&format!("ERR {tag} gone 'task 17 is over and was forgotten'")).await;
    };
    let (acked, ()) = in_time(async { tokio::join!(lease.ack(), script) }).await;
    assert_eq!(acked.map_err(|error| error.kind()), Err(SettleErrorKind::Gone));
}

#[tokio::test]
async fn a_queue_is_shown_paused_and_purged() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let emails = client.queue("emails");
    let view = r#"{"queue":"emails","paused":true,"leases_max":5,"order":"fair","keep_ms":604800000,"keep_dead_ms":0,"held":0,"scheduled":1,"ready":2,"offered":0,"running":3,"dead":4}"#;
    let script = async {
        let tag = peer.expect_verb("QUEUE PAUSE", "emails").await;
        peer.say(&format!("OK {tag}")).await;
        let tag = peer.expect_verb("QUEUE SHOW", "emails").await;
        peer.say(&format!("OK {tag} {}\r\n{view}", view.len())).await;
        let tag = peer.expect_verb("QUEUE LIST", "limit=2 after=a").await;
        let list = format!(r#"{{"queues":[{view}]}}"#);
        peer.say(&format!("OK {tag} {}\r\n{list}", list.len())).await;
        let tag = peer.expect_verb("QUEUE PURGE", "emails").await;
        peer.say(&format!("OK {tag} tasks=3 left=7")).await;
        let tag = peer.expect_verb("QUEUE SHOW", "emails").await;
        peer.say(&format!("ERR {tag} no_queue 'there is no queue emails'")).await;
    };
    let operating = async {
        emails.pause().await.expect("paused");
        let view = emails.show().await.expect("shown");
        assert_eq!((view.paused, view.leases_max, view.open()), (true, Some(5), 6));
        assert_eq!(client.queues(Some("a"), 2).await.expect("listed"), [view]);
        let purged = emails.purge().await.expect("purged");
        assert_eq!((purged.tasks, purged.left), (3, 7));
        let shown = emails.show().await.map_err(|error| error.kind());
        assert_eq!(shown, Err(QueueErrorKind::NoQueue));
    };
    in_time(async { tokio::join!(operating, script) }).await;
}
