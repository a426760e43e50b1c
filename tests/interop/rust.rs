//! async-nats: the cases of the scripts, as tests.

use std::time::Duration;

use agentcom_tests::{Broker, Options, User};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, RequestErrorKind};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::timeout;

/// Longer than any single step takes on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

async fn connect(broker: &Broker) -> Client {
    async_nats::connect(broker.tcp().to_string()).await.expect("connect")
}

async fn next(subscriber: &mut Subscriber) -> Message {
    timeout(SOON, subscriber.next()).await.expect("a message in time").expect("still subscribed")
}

/// Wait until the broker has dealt with all that `client` sent: `flush` only fills the socket.
async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, Bytes::new()).await.unwrap();
    next(&mut own).await;
}

/// Whether a client with these options is let in.
async fn let_in(broker: &Broker, options: ConnectOptions) -> bool {
    match options.connect(broker.tcp().to_string()).await {
        Ok(client) => client.flush().await.is_ok(),
        Err(error) => {
            assert_eq!(error.kind(), ConnectErrorKind::AuthorizationViolation, "{error}");
            false
        }
    }
}

#[tokio::test]
async fn publish_and_subscribe() {
    let broker = Broker::start(Options::default());
    let (publisher, client) = (connect(&broker).await, connect(&broker).await);
    let mut subscriber = client.subscribe("orders.new").await.unwrap();
    settle(&client).await;
    for number in 0..1000 {
        publisher.publish("orders.new", number.to_string().into()).await.unwrap();
    }
    settle(&publisher).await;
    for number in 0..1000 {
        assert_eq!(next(&mut subscriber).await.payload, number.to_string());
    }
}

#[tokio::test]
async fn wildcards() {
    let broker = Broker::start(Options::default());
    let client = connect(&broker).await;
    let mut one = client.subscribe("a.*").await.unwrap();
    let mut tail = client.subscribe("a.>").await.unwrap();
    for subject in ["a", "a.b", "a.b.c", "b.b", "a.end"] {
        client.publish(subject, Bytes::new()).await.unwrap();
    }
    for subject in ["a.b", "a.end"] {
        assert_eq!(next(&mut one).await.subject.as_str(), subject);
    }
    for subject in ["a.b", "a.b.c", "a.end"] {
        assert_eq!(next(&mut tail).await.subject.as_str(), subject);
    }
}

#[tokio::test]
async fn queue_groups() {
    let broker = Broker::start(Options::default());
    let (publisher, client) = (connect(&broker).await, connect(&broker).await);
    let mut shares = [0, 0];
    let mut one = client.queue_subscribe("jobs.*", "workers".into()).await.unwrap();
    let mut other = client.queue_subscribe("jobs.>", "workers".into()).await.unwrap();
    settle(&client).await;
    for _ in 0..100 {
        publisher.publish("jobs.x", "job".into()).await.unwrap();
    }
    settle(&publisher).await;
    while shares[0] + shares[1] < 100 {
        let member = timeout(SOON, async {
            tokio::select! {
                Some(_) = one.next() => 0,
                Some(_) = other.next() => 1,
            }
        });
        shares[member.await.expect("a job in time")] += 1;
    }
    assert!(shares[0] > 0 && shares[1] > 0, "{shares:?}");
}

#[tokio::test]
async fn request_and_reply() {
    let broker = Broker::start(Options::default());
    let (service, client) = (connect(&broker).await, connect(&broker).await);
    let mut requests = service.subscribe("service").await.unwrap();
    settle(&service).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.expect("a request has a reply subject");
            service.publish(reply, request.payload.to_ascii_uppercase().into()).await.unwrap();
        }
    });
    for number in 0..100 {
        let reply = client.request("service", format!("n{number}").into()).await.unwrap();
        assert_eq!(reply.payload, format!("N{number}"));
    }
}

#[tokio::test]
async fn no_responders() {
    let broker = Broker::start(Options::default());
    let error = connect(&broker).await.request("nobody", "hello?".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn headers() {
    let broker = Broker::start(Options::default());
    let client = connect(&broker).await;
    let mut subscriber = client.subscribe("h").await.unwrap();
    let mut headers = HeaderMap::new();
    headers.append("Trace-Id", "7f");
    headers.append("Trace-Id", "x: y");
    client.publish_with_headers("h", headers.clone(), "body".into()).await.unwrap();
    let message = next(&mut subscriber).await;
    assert_eq!(message.payload, "body");
    assert_eq!(message.headers, Some(headers));
}

#[tokio::test]
async fn big_payloads() {
    let broker = Broker::start(Options::default());
    let client = connect(&broker).await;
    let bytes_max = client.server_info().max_payload;
    assert_eq!(bytes_max, 1024 * 1024);
    let mut subscriber = client.subscribe("big").await.unwrap();
    let payload: Bytes = (0..bytes_max).map(|index| (index * 31 % 251) as u8).collect();
    client.publish("big", payload.clone()).await.unwrap();
    assert!(next(&mut subscriber).await.payload == payload);
    let mut headers = HeaderMap::new();
    headers.insert("Size", "big");
    client.publish_with_headers("big", headers, payload.slice(100..)).await.unwrap();
    assert!(next(&mut subscriber).await.payload == payload.slice(100..));
}

#[tokio::test]
async fn drain() {
    let broker = Broker::start(Options::default());
    let (publisher, client) = (connect(&broker).await, connect(&broker).await);
    let mut subscriber = client.subscribe("d").await.unwrap();
    settle(&client).await;
    for _ in 0..500 {
        publisher.publish("d", "x".into()).await.unwrap();
    }
    settle(&publisher).await;
    client.drain().await.unwrap();
    let mut seen = 0;
    while timeout(SOON, subscriber.next()).await.expect("it ends").is_some() {
        seen += 1;
    }
    assert_eq!(seen, 500);
}

#[tokio::test]
async fn token() {
    let broker = Broker::start(Options::default().token("secret"));
    assert!(let_in(&broker, ConnectOptions::with_token("secret".into())).await);
    assert!(!let_in(&broker, ConnectOptions::with_token("wrong".into())).await);
    assert!(!let_in(&broker, ConnectOptions::new()).await);
}

#[tokio::test]
async fn user_and_password() {
    let broker = Broker::start(Options::default().user(User::new("alice", "pw")));
    let with = |user: &str, password: &str| {
        ConnectOptions::with_user_and_password(user.into(), password.into())
    };
    assert!(let_in(&broker, with("alice", "pw")).await);
    assert!(!let_in(&broker, with("alice", "wrong")).await);
    assert!(!let_in(&broker, with("bob", "pw")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect() {
    let mut broker = Broker::start(Options::default());
    let (sender, mut connected) = mpsc::unbounded_channel();
    let client = ConnectOptions::new()
        .event_callback(move |event| {
            if event == Event::Connected {
                // Nobody listens any more once the test is over.
                let _ = sender.send(());
            }
            async {}
        })
        .connect(broker.tcp().to_string())
        .await
        .unwrap();
    let mut subscriber = client.subscribe("r.*").await.unwrap();
    client.publish("r.1", "before".into()).await.unwrap();
    assert_eq!(next(&mut subscriber).await.payload, "before");
    timeout(SOON, connected.recv()).await.expect("the first connect is told");

    block_in_place(|| {
        broker.terminate();
        broker.start_again();
    });
    timeout(SOON, connected.recv()).await.expect("it connects again in time");
    client.publish("r.2", "after".into()).await.unwrap();
    assert_eq!(next(&mut subscriber).await.payload, "after");
}
