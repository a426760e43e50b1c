//! What survives a lost connection, and what does not.

mod support;

use std::future::IntoFuture;
use std::time::Duration;

use agentcom_client::{
    ConnectOptions, Event, FlushErrorKind, PublishErrorKind, State, SubmitErrorKind,
};
use futures_util::StreamExt;
use support::{Broker, expect_event, in_time, options_with_events};

#[tokio::test]
async fn subscriptions_and_waiting_messages_go_to_the_next_connection() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let mut orders = client.queue_subscribe("orders", "q".to_owned()).await.expect("open");
    orders.unsubscribe_after(3).await.expect("open");
    peer.expect("SUB orders q 1").await;
    peer.expect("UNSUB 1 3").await;
    peer.say("MSG orders 1 0\r\n").await;
    assert!(in_time(orders.next()).await.is_some());
    drop(peer);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;

    client.publish("a", "while down".into()).await.expect("there is room");
    let mut peer = broker.accept().await;
    for line in ["SUB orders q 1", "UNSUB 1 2", "PUB a 10", "while down"] {
        peer.expect(line).await;
    }
    expect_event(&mut events, Event::Connected).await;
    peer.say("MSG orders 1 0\r\n").await;
    assert!(in_time(orders.next()).await.is_some());
    let connects = &client.statistics().connects;
    assert_eq!(connects.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_buffer_for_an_outage_is_bounded() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, peer) = broker.client(options.outbound_bytes_max(16)).await;
    drop(peer);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
    client.publish("a", "0123456789".into()).await.expect("there is room");
    let sent = client.publish("a", "0123456789".into()).await.map_err(|error| error.kind());
    assert_eq!(sent, Err(PublishErrorKind::BufferFull));
    let mut peer = broker.accept().await;
    peer.expect("PUB a 10").await;
    peer.expect("0123456789").await;
    expect_event(&mut events, Event::Connected).await;
    client.publish("b", "again".into()).await.expect("connected again");
    peer.expect("PUB b 5").await;
}

#[tokio::test]
async fn whoever_waits_for_a_lost_answer_is_told() {
    let broker = Broker::agentcom().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let submitting = client.tasks().submit("q").payload("x").into_future();
    let submitting = async { submitting.await.map_err(|error| error.kind()) };
    let flushing = async { client.flush().await.map_err(|error| error.kind()) };
    let losing = async {
        peer.expect_verb("TASK SUBMIT", "q 1").await;
        peer.expect("x").await;
        peer.expect("PING").await;
        drop(peer);
    };
    let (submitted, flushed, ()) =
        in_time(async { tokio::join!(submitting, flushing, losing) }).await;
    assert_eq!(submitted, Err(SubmitErrorKind::Disconnected));
    assert_eq!(flushed, Err(FlushErrorKind::Disconnected));
    // Neither is said again.
    let mut peer = broker.accept().await;
    client.publish("a", "".into()).await.expect("there is room");
    peer.expect("PUB a 0").await;
}

#[tokio::test]
async fn a_flush_while_down_waits_for_the_next_connection() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, peer) = broker.client(options).await;
    drop(peer);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
    client.publish("a", "".into()).await.expect("there is room");
    let script = async {
        let mut peer = broker.accept().await;
        peer.expect("PUB a 0").await;
        peer.expect("").await;
        peer.pong().await;
        peer
    };
    let (flushed, _peer) = in_time(async { tokio::join!(client.flush(), script) }).await;
    flushed.expect("flushed");
}

#[tokio::test]
async fn the_client_closes_when_its_attempts_are_used_up() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, peer) = broker.client(options.max_reconnects(2)).await;
    let mut subscriber = client.subscribe("a").await.expect("open");
    drop(broker);
    drop(peer);
    assert!(in_time(subscriber.next()).await.is_none());
    assert_eq!(client.connection_state(), State::Closed);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
    let mut failures = 0;
    while let Some(Event::ClientError(_)) = in_time(events.recv()).await {
        failures += 1;
    }
    assert_eq!(failures, 3, "two attempts, and that they are used up");
}

#[tokio::test]
async fn a_first_connection_may_come_later() {
    let broker = Broker::agentcom().await;
    let options = ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(broker.address()).await.expect("at once");
    assert_eq!(client.connection_state(), State::Pending);
    client.publish("a", "".into()).await.expect("there is room");
    let script = async {
        let mut peer = broker.accept().await;
        peer.expect("PUB a 0").await;
        peer.expect("").await;
        let tag = peer.expect_verb("TASK SUBMIT", "q 0").await;
        peer.say(&format!("OK {tag} task=1")).await;
        peer
    };
    let submitting = async { client.tasks().submit("q").await };
    let (submitted, _peer) = in_time(async { tokio::join!(submitting, script) }).await;
    submitted.expect("submitted once there was a broker");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (_client, mut silent) =
        broker.client(options.ping_interval(Duration::from_millis(1))).await;
    silent.expect("PING").await;
    silent.expect("PING").await;
    silent.expect_end().await;
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
}

#[tokio::test]
async fn a_reconnect_can_be_asked_for() {
    let broker = Broker::nats().await;
    let (options, _events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    client.force_reconnect();
    peer.expect_end().await;
    broker.accept().await;
}
