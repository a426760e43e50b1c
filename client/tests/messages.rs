//! Publish, subscribe, request, drain, against a broker that follows a script.

mod support;

use std::time::Duration;

use agentcom_client::{
    ConnectErrorKind, ConnectOptions, DrainErrorKind, Event, HeaderMap, PublishErrorKind, Request,
    RequestErrorKind, State, SubscribeErrorKind,
};
use futures_util::StreamExt;
use support::{Broker, expect_event, in_time, options_with_events};

#[tokio::test]
async fn a_subscription_gets_the_message_with_reply_and_headers() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let mut orders = client.queue_subscribe("orders.>", "q".to_owned()).await.expect("open");
    peer.expect("SUB orders.> q 1").await;
    peer.bytes(b"HMSG orders.new 1 back 22 24\r\nNATS/1.0\r\nTrace: 7\r\n\r\n42\r\n").await;
    let order = in_time(orders.next()).await.expect("a message");
    assert_eq!(order.subject, "orders.new");
    assert_eq!(order.reply.as_deref(), Some("back"));
    assert_eq!(order.headers.as_ref().and_then(|headers| headers.get("Trace")), Some("7"));
    assert_eq!((&order.payload[..], order.length), (&b"42"[..], 38));
}

#[tokio::test]
async fn every_kind_of_publish_is_one_frame() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new().no_echo().name("n")).await;
    assert!(peer.connect.contains(r#""echo":false"#) && peer.connect.contains(r#""name":"n""#));
    let headers: HeaderMap = [("a", "1")].into_iter().collect();
    client.publish("s", "1".into()).await.expect("taken");
    client.publish_with_reply("s".to_owned(), "r", "2".into()).await.expect("taken");
    client.publish_with_headers("s", headers.clone(), "3".into()).await.expect("taken");
    client.publish_with_reply_and_headers("s", "r", headers, "4".into()).await.expect("taken");
    for line in ["PUB s 1", "1", "PUB s r 1", "2"] {
        peer.expect(line).await;
    }
    for line in ["HPUB s 18 19", "NATS/1.0", "a: 1", "", "3"] {
        peer.expect(line).await;
    }
    for line in ["HPUB s r 18 19", "NATS/1.0", "a: 1", "", "4"] {
        peer.expect(line).await;
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is() {
    let broker = Broker::nats().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    let kind = |result: Result<(), agentcom_client::PublishError>| result.map_err(|e| e.kind());
    let sent = client.publish("a b", "".into()).await;
    assert_eq!(kind(sent), Err(PublishErrorKind::InvalidSubject));
    let sent = client.publish_with_reply("a", "x\r\nPUB y 0", "".into()).await;
    assert_eq!(kind(sent), Err(PublishErrorKind::InvalidSubject));
    assert_eq!(kind(client.publish("a", vec![0; 1024].into()).await), Ok(()));
    let sent = client.publish("a", vec![0; 1025].into()).await;
    assert_eq!(kind(sent), Err(PublishErrorKind::MaxPayloadExceeded));
    let headers: HeaderMap = [("a", "1\r\nb: 2")].into_iter().collect();
    let sent = client.publish_with_headers("a", headers, "".into()).await;
    assert_eq!(kind(sent), Err(PublishErrorKind::InvalidHeaders));
    let subscribed = client.subscribe("a.>.b").await.map(drop);
    assert_eq!(subscribed.map_err(|e| e.kind()), Err(SubscribeErrorKind::InvalidSubject));
    let subscribed = client.queue_subscribe("a", "q r".to_owned()).await.map(drop);
    assert_eq!(subscribed.map_err(|e| e.kind()), Err(SubscribeErrorKind::InvalidQueueName));
}

#[tokio::test]
async fn a_frame_in_pieces_is_one_message() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let mut all = client.subscribe(">").await.expect("open");
    peer.expect("SUB > 1").await;
    for byte in b"MSG a 1 5\r\nhello\r\nMSG b 1 0\r\n\r\n" {
        peer.bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(in_time(all.next()).await.expect("a message").payload, "hello");
    assert_eq!(in_time(all.next()).await.expect("a message").subject, "b");
}

#[tokio::test]
async fn requests_share_one_inbox_and_get_their_own_answers() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let both =
        async { tokio::join!(client.request("a", "".into()), client.request("b", "".into())) };
    let answers = async {
        let inbox = peer.line().await;
        assert!(inbox.starts_with("SUB _INBOX.") && inbox.ends_with(".* 0"), "{inbox}");
        let mut replies = Vec::new();
        for subject in ["a", "b"] {
            let line = peer.line().await;
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words[0], words[1]), ("PUB", subject));
            replies.push(words[2].to_owned());
            peer.expect("").await;
        }
        for (reply, body) in [(&replies[1], "for b"), (&replies[0], "for a")] {
            peer.say(&format!("MSG {reply} 0 5\r\n{body}")).await;
        }
    };
    let ((a, b), ()) = tokio::join!(both, answers);
    assert_eq!(
        (a.expect("answered").payload, b.expect("answered").payload),
        ("for a".into(), "for b".into())
    );
}

#[tokio::test]
async fn a_request_that_nobody_takes_fails_at_once() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let answer = async {
        peer.line().await;
        let line = peer.line().await;
        let reply = line.split(' ').nth(2).expect("a reply subject").to_owned();
        peer.expect("").await;
        peer.say(&format!("HMSG {reply} 0 16 16\r\nNATS/1.0 503\r\n\r\n")).await;
    };
    let (asked, ()) = tokio::join!(client.request("a", "".into()), answer);
    assert_eq!(asked.map_err(|error| error.kind()), Err(RequestErrorKind::NoResponders));
}

#[tokio::test]
async fn a_request_without_an_answer_times_out() {
    let broker = Broker::nats().await;
    let (client, _peer) = broker.client(ConnectOptions::new()).await;
    let request = Request::new().timeout(Some(Duration::from_millis(1)));
    let asked = client.send_request("a", request).await;
    assert_eq!(asked.map_err(|error| error.kind()), Err(RequestErrorKind::TimedOut));
}

#[tokio::test]
async fn a_request_may_bring_its_own_inbox() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    let request = Request::new().inbox("mine".to_owned());
    let answer = async {
        for line in ["SUB mine 1", "UNSUB 1 1", "PUB a mine 0", ""] {
            peer.expect(line).await;
        }
        peer.say("MSG mine 1 2\r\nok").await;
    };
    let (asked, ()) = tokio::join!(client.send_request("a", request), answer);
    assert_eq!(asked.expect("answered").payload, "ok");
}

#[tokio::test]
async fn a_slow_subscriber_loses_messages_and_an_event_names_it_once() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, mut peer) = broker.client(options.subscription_capacity(1)).await;
    expect_event(&mut events, Event::Connected).await;
    let mut slow = client.subscribe("a").await.expect("open");
    let mut other = client.subscribe("b").await.expect("open");
    for body in 1..=3 {
        peer.say(&format!("MSG a 1 1\r\n{body}")).await;
    }
    peer.say("MSG b 2 1\r\n4").await;
    assert_eq!(in_time(other.next()).await.expect("a message").payload, "4");
    expect_event(&mut events, Event::SlowConsumer(1)).await;
    assert_eq!(in_time(slow.next()).await.expect("a message").payload, "1");
    peer.say("MSG a 1 1\r\n5").await;
    assert_eq!(in_time(slow.next()).await.expect("a message").payload, "5");
    let dropped = &client.statistics().dropped_messages;
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn dropping_a_subscriber_unsubscribes_and_a_limit_ends_the_stream() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    drop(client.subscribe("a").await.expect("open"));
    let mut b = client.subscribe("b").await.expect("open");
    b.unsubscribe_after(1).await.expect("open");
    for line in ["SUB a 1", "UNSUB 1", "SUB b 2", "UNSUB 2 1"] {
        peer.expect(line).await;
    }
    peer.say("MSG b 2 0\r\n").await;
    assert!(in_time(b.next()).await.is_some());
    assert!(in_time(b.next()).await.is_none());
}

#[tokio::test]
async fn draining_takes_what_is_on_its_way_and_then_hangs_up() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (client, mut peer) = broker.client(options).await;
    let mut orders = client.subscribe("orders").await.expect("open");
    let publisher = client.clone();
    let handling = async {
        let mut handled = 0;
        while let Some(order) = orders.next().await {
            publisher.publish("done", order.payload).await.expect("still open");
            handled += 1;
        }
        handled
    };
    let script = async {
        peer.expect("SUB orders 1").await;
        peer.expect("UNSUB 1").await;
        peer.expect("PING").await;
        peer.bytes(b"MSG orders 1 1\r\n1\r\nMSG orders 1 1\r\n2\r\nPONG\r\n").await;
        for line in ["PUB done 1", "1", "PUB done 1", "2"] {
            peer.expect(line).await;
        }
        peer.pong().await;
        peer.expect_end().await;
    };
    let (drained, handled, ()) =
        in_time(async { tokio::join!(client.drain(), handling, script) }).await;
    drained.expect("drained");
    assert_eq!((handled, client.connection_state()), (2, State::Closed));
    for event in [Event::Connected, Event::Draining, Event::Closed] {
        expect_event(&mut events, event).await;
    }
    let sent = client.publish("a", "".into()).await.map_err(|error| error.kind());
    assert_eq!(sent, Err(PublishErrorKind::Closed));
    assert_eq!(client.drain().await.map_err(|e| e.kind()), Err(DrainErrorKind::Closed));
}

#[tokio::test]
async fn what_was_published_before_the_last_handle_is_gone_still_goes_out() {
    let broker = Broker::nats().await;
    let (client, mut peer) = broker.client(ConnectOptions::new()).await;
    client.publish("a", "1".into()).await.expect("taken");
    drop(client);
    peer.expect("PUB a 1").await;
    peer.expect("1").await;
    peer.expect_end().await;
}

#[tokio::test]
async fn the_client_answers_pings_and_passes_errors_on() {
    let broker = Broker::nats().await;
    let (options, mut events) = options_with_events();
    let (_client, mut peer) = broker.client(options).await;
    peer.say("PING").await;
    peer.expect("PONG").await;
    peer.say(r#"-ERR 'Permissions Violation for Publish to "x"'"#).await;
    peer.say(r#"INFO {"max_payload":10,"ldm":true} "#).await;
    let violation = r#"Permissions Violation for Publish to "x""#.to_owned();
    for event in [Event::Connected, Event::ServerError(violation), Event::LameDuckMode] {
        expect_event(&mut events, event).await;
    }
}

#[tokio::test]
async fn a_refused_connection_says_why() {
    let check = async |reply: &str, expected: ConnectErrorKind| {
        let broker = Broker::nats().await;
        let options = ConnectOptions::with_user_and_password("u".to_owned(), "p".to_owned());
        let refusing = async {
            let mut peer = broker.greet().await;
            assert!(peer.connect.contains(r#""user":"u","pass":"p""#), "{}", peer.connect);
            peer.say(reply).await;
        };
        let (connected, ()) = tokio::join!(options.connect(broker.address()), refusing);
        assert_eq!(connected.map(drop).map_err(|error| error.kind()), Err(expected), "{reply}");
    };
    check("-ERR 'Authorization Violation'", ConnectErrorKind::AuthorizationViolation).await;
    check("-ERR 'maximum connections exceeded'", ConnectErrorKind::Protocol).await;
    check("HTTP/1.1 400 Bad Request", ConnectErrorKind::Protocol).await;
    check("+OK", ConnectErrorKind::Io).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_or_wants_tls_is_told_apart() {
    let gone = Broker::nats().await;
    let address = gone.address();
    drop(gone);
    let connected = agentcom_client::connect(&address).await.map(drop);
    assert_eq!(connected.map_err(|error| error.kind()), Err(ConnectErrorKind::Io));

    let broker = Broker::nats().await;
    let tls = async {
        let mut peer = broker.accept_silently().await;
        peer.say(r#"INFO {"max_payload":1,"tls_required":true} "#).await;
        peer.expect_end().await;
    };
    let (connected, ()) = tokio::join!(agentcom_client::connect(broker.address()), tls);
    assert_eq!(connected.map(drop).map_err(|error| error.kind()), Err(ConnectErrorKind::Tls));

    // The first address is dead, the second one answers.
    let addresses = format!("{address},{}", broker.address());
    let (connected, _peer) = tokio::join!(agentcom_client::connect(addresses), broker.accept());
    connected.expect("connected to the second");
}
