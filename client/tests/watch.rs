//! Following tasks, against a broker that follows a script.

mod support;

use agentcom_client::{ConnectOptions, ShowErrorKind, TaskEvent, TaskId, TaskState, Watch};
use futures_util::StreamExt;
use support::{Broker, Peer, in_time, options_with_events};

async fn show(peer: &mut Peer, tag: &str, state: &str, seq: u64) {
    let view = format!(
        r#"{{"task":17,"queue":"q","state":"{state}","generation":2,"seq":{seq},"priority":2,"updated_ms":9}}"#
    );
    peer.say(&format!("OK {tag} {}\r\n{view}", view.len())).await;
}

async fn event(peer: &mut Peer, state: &str, seq: u64) {
    peer.say(&format!("EVENT 17 seq={seq} at_ms=5 state={state} generation=2 0\r\n")).await;
}

async fn next(watch: &mut Watch) -> TaskEvent {
    in_time(watch.next()).await.expect("not over").expect("an event")
}

#[tokio::test]
async fn a_watch_gives_what_happens_and_ends_with_the_task() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let watching = client.tasks().watch(TaskId(17));
    let script = async {
        let tag = peer.expect_verb("TASK WATCH", "17").await;
        show(&mut peer, &tag, "running", 3).await;
    };
    let (watch, ()) = tokio::join!(async { watching.await }, script);
    let mut watch = watch.expect("watching");
    assert_eq!((watch.view().state, watch.view().event_seq), (TaskState::Running, 3));
    let progress = "seq=4 at_ms=5 state=running generation=2 agent=alice progress_seq=1";
    peer.say(&format!("EVENT 17 {progress} 4\r\nhalf")).await;
    event(&mut peer, "completed", 5).await;
    let report = next(&mut watch).await;
    assert_eq!((report.seq, report.agent.as_deref()), (4, Some("alice")));
    let progress = report.progress.expect("a report");
    assert_eq!((progress.seq, &progress.data[..]), (1, &b"half"[..]));
    assert_eq!(next(&mut watch).await.state, TaskState::Completed);
    assert!(in_time(watch.next()).await.is_none());
    drop(watch);
    peer.expect_verb("TASK UNWATCH", "17").await;
}

#[tokio::test]
async fn after_a_lost_connection_a_watch_goes_on_behind_its_cursor() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let watching = client.tasks().watch(TaskId(17)).from(1);
    let script = async {
        let tag = peer.expect_verb("TASK WATCH", "17 from=1").await;
        show(&mut peer, &tag, "offered", 3).await;
        event(&mut peer, "ready", 2).await;
        event(&mut peer, "offered", 3).await;
    };
    let (watch, ()) = tokio::join!(async { watching.await }, script);
    let mut watch = watch.expect("watching");
    assert_eq!([next(&mut watch).await.seq, next(&mut watch).await.seq], [2, 3]);
    let script = async {
        drop(peer);
        let mut peer = broker.accept().await;
        let tag = peer.expect_verb("TASK WATCH", "17 from=3").await;
        // What happened in between is not remembered any more.
        show(&mut peer, &tag, "running", 6).await;
        peer
    };
    let (running, mut peer) = tokio::join!(next(&mut watch), script);
    assert_eq!((running.seq, running.state, running.at_ms), (6, TaskState::Running, 9));
    // An event that came twice is given once.
    event(&mut peer, "running", 6).await;
    event(&mut peer, "dead", 7).await;
    assert_eq!(next(&mut watch).await.seq, 7);
    assert!(in_time(watch.next()).await.is_none());
}

#[tokio::test]
async fn a_task_that_ended_meanwhile_gives_its_end() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    for (from, seqs) in [("4", vec![5]), ("5", vec![])] {
        let watching = client.tasks().watch(TaskId(17)).from(from.parse().expect("a number"));
        let script = async {
            let tag = peer.expect_verb("TASK WATCH", &format!("17 from={from}")).await;
            show(&mut peer, &tag, "cancelled", 5).await;
        };
        let (watch, ()) = tokio::join!(async { watching.await }, script);
        let events: Vec<_> = in_time(watch.expect("watching").collect()).await;
        let found: Vec<u64> = events.into_iter().map(|event| event.expect("fine").seq).collect();
        assert_eq!(found, seqs);
        peer.expect_verb("TASK UNWATCH", "17").await;
    }
}

#[tokio::test]
async fn a_task_that_is_not_there_cannot_be_watched() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let watching = client.tasks().watch(TaskId(17));
    let script = async {
        let tag = peer.expect_verb("TASK WATCH", "17").await;
        peer.say(&format!("ERR {tag} not_found 'there is no task 17'")).await;
    };
    let (watch, ()) = tokio::join!(async { watching.await }, script);
    assert_eq!(watch.map(drop).map_err(|error| error.kind()), Err(ShowErrorKind::NotFound));
}

#[tokio::test]
async fn a_dropped_wait_for_an_event_loses_nothing() {
    let broker = Broker::agentcom().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let watching = client.tasks().watch(TaskId(17));
    let script = async {
        let tag = peer.expect_verb("TASK WATCH", "17").await;
        show(&mut peer, &tag, "ready", 1).await;
    };
    let (watch, ()) = tokio::join!(async { watching.await }, script);
    let mut watch = watch.expect("watching");
    tokio::select! {
        biased;
        _ = watch.next() => panic!("nothing happened yet"),
        () = std::future::ready(()) => {}
    }
    event(&mut peer, "offered", 2).await;
    assert_eq!(next(&mut watch).await.seq, 2);
}
