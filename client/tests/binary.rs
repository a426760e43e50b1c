//! The binary framing, against a broker that follows a script.

mod support;

use std::future::IntoFuture;

use agentcom_client::{Client, ConnectOptions, Event, Subscriber};
use agentcom_protocol::Verb;
use agentcom_protocol::binary::{Message, Named, Publish, encode};
use futures_util::StreamExt;
use support::{Broker, Peer, expect_event, in_time, options_with_events};

async fn connected(broker: &Broker, options: ConnectOptions) -> (Client, Peer) {
    let (client, peer) = tokio::join!(options.connect(broker.address()), broker.accept_binary());
    (client.expect("connected"), peer)
}

fn bytes(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(&mut bytes);
    bytes
}

fn publish(subject: Named<'_>, payload: &[u8]) -> Vec<u8> {
    let publish = Publish { subject, reply: None, header_bytes: None, payload };
    bytes(|out| encode::publish(out, &publish))
}

fn msg(sid: u32, subject: Option<Named<'_>>, payload: &[u8]) -> Vec<u8> {
    let message = Message { sid, subject, reply: Some(b"r"), header_bytes: None, payload };
    bytes(|out| encode::message(out, &message))
}

async fn heard(subscriber: &mut Subscriber) -> (String, String) {
    let message = in_time(subscriber.next()).await.expect("a message");
    let payload = String::from_utf8_lossy(&message.payload).into_owned();
    assert_eq!(message.reply.as_deref(), Some("r"));
    (message.subject.into_string(), payload)
}

#[tokio::test]
async fn a_subject_that_is_published_to_again_has_a_number() {
    let broker = Broker::binary().await;
    let (client, mut peer) = connected(&broker, ConnectOptions::new()).await;
    for payload in ["1", "2", "3"] {
        client.publish("a.b", payload.into()).await.expect("sent");
    }
    client.publish_with_reply("a.b", "r", "4".into()).await.expect("sent");
    peer.expect_bytes(&publish(Named::Full(b"a.b"), b"1")).await;
    peer.expect_bytes(&bytes(|out| encode::alias(out, 1, b"a.b"))).await;
    peer.expect_bytes(&publish(Named::Alias(1), b"2")).await;
    peer.expect_bytes(&publish(Named::Alias(1), b"3")).await;
    let with_reply =
        Publish { subject: Named::Alias(1), reply: Some(b"r"), header_bytes: None, payload: b"4" };
    peer.expect_bytes(&bytes(|out| encode::publish(out, &with_reply))).await;
}

#[tokio::test]
async fn a_message_names_its_subject_in_three_ways() {
    let broker = Broker::binary().await;
    let (client, mut peer) = connected(&broker, ConnectOptions::new()).await;
    let mut exact = client.subscribe("a.b").await.expect("open");
    let mut pattern = client.subscribe("a.*").await.expect("open");
    peer.expect_bytes(&bytes(|out| encode::subscribe(out, b"a.b", None, 1))).await;
    peer.expect_bytes(&bytes(|out| encode::subscribe(out, b"a.*", None, 2))).await;
    for _ in 0..2 {
        client.publish("a.c", "".into()).await.expect("sent");
    }
    peer.expect_bytes(&publish(Named::Full(b"a.c"), b"")).await;
    peer.expect_bytes(&bytes(|out| encode::alias(out, 1, b"a.c"))).await;
    let all = [
        msg(1, None, b"1"),
        msg(2, Some(Named::Full(b"a.d")), b"2"),
        msg(2, Some(Named::Alias(1)), b"3"),
        // Of these, nobody knows what they are about.
        msg(2, Some(Named::Alias(9)), b"4"),
        msg(9, None, b"5"),
        msg(2, Some(Named::Full(b"a.e")), b"6"),
    ];
    for byte in all.concat() {
        peer.bytes(&[byte]).await;
    }
    assert_eq!(heard(&mut exact).await, ("a.b".to_owned(), "1".to_owned()));
    assert_eq!(heard(&mut pattern).await, ("a.d".to_owned(), "2".to_owned()));
    assert_eq!(heard(&mut pattern).await, ("a.c".to_owned(), "3".to_owned()));
    assert_eq!(heard(&mut pattern).await, ("a.e".to_owned(), "6".to_owned()));
}

#[tokio::test]
async fn our_own_verbs_and_pings_are_frames() {
    let broker = Broker::binary().await;
    let (client, mut peer) = connected(&broker, ConnectOptions::new()).await;
    let tasks = client.tasks();
    let submitting = tasks.submit("q").payload("hi");
    let answering = async {
        let asked = bytes(|out| encode::request(out, Verb::TaskSubmit, 1, &["q"], b"hi"));
        peer.expect_bytes(&asked).await;
        peer.bytes(&bytes(|out| {
            encode::granted(out, 1, &["task=17", "state=ready", "generation=0"], b"")
        }))
        .await;
        peer.bytes(encode::fixed::PING).await;
        peer.expect_bytes(encode::fixed::PONG).await;
    };
    let (task, ()) = in_time(async { tokio::join!(submitting.into_future(), answering) }).await;
    assert_eq!(task.expect("granted").task.to_string(), "17");
}

#[tokio::test]
async fn what_waits_is_said_again_in_the_framing_of_the_next_link() {
    let (binary, text) = (Broker::binary().await, Broker::nats().await);
    let (options, mut events) = options_with_events();
    let addresses = [binary.address(), text.address()];
    let connecting = options.connect(addresses.to_vec());
    let (client, mut peer) = tokio::join!(connecting, binary.accept_binary());
    let client = client.expect("connected");
    let _subscriber = client.subscribe("s").await.expect("open");
    for payload in ["1", "2"] {
        client.publish("a", payload.into()).await.expect("sent");
    }
    peer.expect_bytes(&bytes(|out| encode::subscribe(out, b"s", None, 1))).await;
    peer.expect_bytes(&publish(Named::Full(b"a"), b"1")).await;
    peer.expect_bytes(&bytes(|out| encode::alias(out, 1, b"a"))).await;
    peer.expect_bytes(&publish(Named::Alias(1), b"2")).await;
    drop(peer);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
    client.publish("a", "3".into()).await.expect("there is room");

    let mut peer = text.accept().await;
    for line in ["SUB s 1", "PUB a 1", "3"] {
        peer.expect(line).await;
    }
    drop(peer);
    expect_event(&mut events, Event::Connected).await;
    expect_event(&mut events, Event::Disconnected).await;
    for payload in ["4", "5"] {
        client.publish("a", payload.into()).await.expect("there is room");
    }

    // The numbers of the first link are over.
    let mut peer = binary.accept_binary().await;
    peer.expect_bytes(&bytes(|out| encode::subscribe(out, b"s", None, 1))).await;
    peer.expect_bytes(&publish(Named::Full(b"a"), b"4")).await;
    peer.expect_bytes(&bytes(|out| encode::alias(out, 1, b"a"))).await;
    peer.expect_bytes(&publish(Named::Alias(1), b"5")).await;
}

#[tokio::test]
async fn text_can_be_asked_for() {
    let broker = Broker::binary().await;
    let (client, mut peer) = broker.client(ConnectOptions::new().text_framing()).await;
    assert!(!peer.connect.contains("frame"), "{}", peer.connect);
    client.publish("a", "1".into()).await.expect("sent");
    peer.expect("PUB a 1").await;
}

#[tokio::test]
async fn a_refusal_is_a_line() {
    let broker = Broker::binary().await;
    let refusing = async {
        let mut peer = broker.accept_silently().await;
        peer.say(r#"INFO {"server_id":"S","x":{"frames":["binary1"],"aliases_max":2}} "#).await;
        peer.line().await;
        peer.say("-ERR 'Authorization Violation'").await;
    };
    let connecting = ConnectOptions::new().connect(broker.address());
    let (client, ()) = tokio::join!(connecting, refusing);
    let error = client.expect_err("refused");
    assert_eq!(error.kind(), agentcom_client::ConnectErrorKind::AuthorizationViolation);
}
