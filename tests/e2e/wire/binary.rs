//! The binary framing: how both directions change over, numbers for subjects, text and binary
//! clients among each other, our own verbs, and what closes a connection.

use agentcom_protocol::binary::{Message, Named, Publish, encode};
use agentcom_protocol::{Decoded, Limits, ServerFrame, Verb, binary};
use agentcom_tests::frames::{Frames, connect, hex};
use agentcom_tests::{Broker, Options, QUIET, User, oracle};

const MODERN: &str = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
const PING: &[u8] = encode::fixed::PING;
const PONG: &[u8] = encode::fixed::PONG;

fn broker() -> Option<Broker> {
    broker_with(Options::default())
}

/// `None` where nats-server stands in for it.
fn broker_with(options: Options) -> Option<Broker> {
    (!oracle::skips("it has no binary framing")).then(|| Broker::start(options))
}

fn bytes(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(&mut bytes);
    bytes
}

fn sub(filter: &str, sid: u32) -> Vec<u8> {
    bytes(|out| encode::subscribe(out, filter.as_bytes(), None, sid))
}

fn alias(number: u16, subject: &str) -> Vec<u8> {
    bytes(|out| encode::alias(out, number, subject.as_bytes()))
}

fn publish(subject: Named<'_>, payload: &[u8]) -> Vec<u8> {
    let publish = Publish { subject, reply: None, header_bytes: None, payload };
    bytes(|out| encode::publish(out, &publish))
}

fn full(subject: &str) -> Named<'_> {
    Named::Full(subject.as_bytes())
}

fn msg(sid: u32, subject: Option<Named<'_>>, payload: &[u8]) -> Vec<u8> {
    let message = Message { sid, subject, reply: None, header_bytes: None, payload };
    bytes(|out| encode::message(out, &message))
}

fn error(text: &str) -> Vec<u8> {
    bytes(|out| encode::error(out, text))
}

fn request(verb: Verb, tag: u32, words: &[&str], body: &[u8]) -> Vec<u8> {
    bytes(|out| encode::request(out, verb, tag, words, body))
}

#[test]
fn info_lists_the_framing_and_how_many_aliases_it_allows() {
    let Some(broker) = broker_with(Options::default().limit("aliases_max", 7)) else { return };
    let info = broker.connect_raw().info();
    assert_eq!(info["x"]["frames"], serde_json::json!(["binary1"]));
    assert_eq!(info["x"]["aliases_max"], 7);
}

/// The bytes of docs/protocol.md, "How it begins".
#[test]
fn connect_and_a_binary_ping_may_be_sent_together() {
    let Some(broker) = broker() else { return };
    for json in ["{}", r#"{"verbose":true}"#, r#"{"verbose":false}"#] {
        let mut frames = Frames::open_raw(broker.tcp());
        let first = [&connect(json)[..], PING].concat();
        if json == "{}" {
            assert_eq!(
                hex(&first),
                "43 4f 4e 4e 45 43 54 20 7b 22 66 72 61 6d 65 22 3a 22 62 69 6e 61 72 79 31 22 7d \
                 0d 0a 01 00 00 00 00 00 00 00"
            );
        }
        frames.send(first);
        frames.expect_line("+OK\r\n");
        frames.expect([2, 0, 0, 0, 0, 0, 0, 0]);
        frames.expect_nothing();
    }
}

#[test]
fn the_second_info_is_a_frame() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open_raw(broker.tcp());
    frames.send([&connect(r#"{"verbose":false,"protocol":1}"#)[..], PING].concat());
    frames.expect_line("+OK\r\n");
    frames.expect(PONG);
    let info = frames.next_frame().expect("an INFO");
    let decoder = binary::ServerDecoder::new(Limits::default());
    match decoder.decode(&info) {
        Ok(Decoded::Frame {
            frame: binary::ServerFrame::Common(ServerFrame::Info(json)), ..
        }) => {
            let json: serde_json::Value = serde_json::from_slice(json).expect("JSON");
            assert_eq!(json["connect_info"], true);
        }
        other => panic!("{other:?}"),
    }
    frames.expect_nothing();
}

#[test]
fn the_change_over_does_not_depend_on_how_the_bytes_come() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open_raw(broker.tcp());
    let all = [
        &connect(MODERN)[..],
        PING,
        &sub("a", 1),
        &alias(1, "a"),
        &publish(Named::Alias(1), b"hi"),
    ];
    for byte in all.concat() {
        frames.send([byte]);
    }
    frames.expect_line("+OK\r\n");
    frames.expect([PONG, &msg(1, None, b"hi")].concat());
    frames.expect_nothing();
}

#[test]
fn a_framing_is_asked_for_with_the_first_frame_and_by_its_name() {
    let Some(broker) = broker() else { return };
    let late = String::from_utf8(connect(r#"{"verbose":false}"#)).expect("text");
    for (name, sent) in [
        ("a second CONNECT", format!("CONNECT {QUIET}\r\n{late}")),
        ("behind a PING", format!("PING\r\n{late}")),
        ("another name", "CONNECT {\"verbose\":false,\"frame\":\"binary9\"}\r\n".to_owned()),
    ] {
        let mut wire = broker.connect_raw().case(name);
        wire.send(sent);
        let heard = String::from_utf8(wire.read_to_end()).expect("text");
        assert!(heard.ends_with("-ERR 'Unknown Protocol Operation'\r\n"), "{name}: {heard}");
        assert!(!heard.contains("+OK"), "{name}: {heard}");
    }
}

#[test]
fn credentials_are_refused_in_text() {
    let Some(broker) = broker_with(Options::default().token("secret")) else { return };
    let mut frames = Frames::open_raw(broker.tcp());
    frames.send([&connect(r#"{"auth_token":"wrong"}"#)[..], PING].concat());
    frames.expect_line("-ERR 'Authorization Violation'\r\n");
    let mut frames = Frames::open(broker.tcp(), r#"{"auth_token":"secret"}"#);
    frames.expect_nothing();
}

#[test]
fn what_is_published_in_one_framing_is_heard_in_the_other() {
    let Some(broker) = broker() else { return };
    let mut lines = broker.connect(MODERN);
    let mut frames = Frames::open(broker.tcp(), MODERN);
    lines.send("SUB a.* 1\r\nSUB a.b 2\r\n");
    lines.flush();
    frames.send([sub("a.*", 1), sub("a.b", 2)].concat());
    frames.flush();
    let block = b"NATS/1.0\r\nA: 1\r\n\r\n";
    let headed = [&block[..], b"hi"].concat();

    lines.send(
        "PUB a.b 5\r\nhello\r\nPUB a.b r 0\r\n\r\nHPUB a.b 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n",
    );
    let heard_in_frames = |sid, subject: Option<Named<'_>>, which: usize| {
        let message = [
            Message { sid, subject, reply: None, header_bytes: None, payload: b"hello" },
            Message { sid, subject, reply: Some(b"r"), header_bytes: None, payload: b"" },
            Message { sid, subject, reply: None, header_bytes: Some(18), payload: &headed },
        ][which];
        bytes(|out| encode::message(out, &message))
    };
    for which in 0..3 {
        frames.expect(heard_in_frames(1, Some(full("a.b")), which));
        frames.expect(heard_in_frames(2, None, which));
    }
    let heard_in_lines = "MSG a.b 1 5\r\nhello\r\nMSG a.b 2 5\r\nhello\r\n\
        MSG a.b 1 r 0\r\n\r\nMSG a.b 2 r 0\r\n\r\n\
        HMSG a.b 1 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n\
        HMSG a.b 2 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n";
    lines.expect(heard_in_lines);

    let subject = full("a.b");
    for publish in [
        Publish { subject, reply: None, header_bytes: None, payload: b"hello" },
        Publish { subject, reply: Some(b"r"), header_bytes: None, payload: b"" },
        Publish { subject, reply: None, header_bytes: Some(18), payload: &headed },
    ] {
        frames.send(bytes(|out| encode::publish(out, &publish)));
    }
    lines.expect(heard_in_lines);
    for which in 0..3 {
        frames.expect(heard_in_frames(1, Some(full("a.b")), which));
        frames.expect(heard_in_frames(2, None, which));
    }
    lines.expect_nothing();
    frames.expect_nothing();
}

#[test]
fn a_receiver_without_headers_gets_the_body_alone() {
    let Some(broker) = broker() else { return };
    let mut receiver = Frames::open(broker.tcp(), QUIET);
    receiver.send(sub("a", 1));
    receiver.flush();
    let mut lines = broker.connect(MODERN);
    lines.send("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    receiver.expect(msg(1, None, b"hi"));
    let headed = Publish { subject: full("a"), reply: None, header_bytes: Some(2), payload: b"hi" };
    let mut sender = Frames::open(broker.tcp(), QUIET);
    sender.send(bytes(|out| encode::publish(out, &headed)));
    assert!(sender.next_frame().is_none(), "headers that CONNECT did not ask for close");
    receiver.expect_nothing();
}

#[test]
fn an_alias_stands_for_its_subject_in_both_directions() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), QUIET);
    frames.send([sub("a.*", 1), publish(full("a.b"), b"1")].concat());
    frames.expect(msg(1, Some(full("a.b")), b"1"));
    // From here on what was a subject is a number, whoever publishes.
    frames.send([alias(1, "a.c"), alias(2, "a.b")].concat());
    frames.send([publish(Named::Alias(2), b"2"), publish(full("a.b"), b"3")].concat());
    frames.expect(
        [msg(1, Some(Named::Alias(2)), b"2"), msg(1, Some(Named::Alias(2)), b"3")].concat(),
    );
    let mut lines = broker.connect(QUIET);
    lines.send("PUB a.c r 1\r\n4\r\nPUB a.d 1\r\n5\r\n");
    let reply = Message {
        sid: 1,
        subject: Some(Named::Alias(1)),
        reply: Some(b"r"),
        header_bytes: None,
        payload: b"4",
    };
    frames.expect(bytes(|out| encode::message(out, &reply)));
    frames.expect(msg(1, Some(full("a.d")), b"5"));
    frames.expect_nothing();
}

#[test]
fn a_subscription_that_comes_or_goes_is_noticed_by_those_who_publish_to_a_number() {
    let Some(broker) = broker() else { return };
    let mut publisher = Frames::open(broker.tcp(), QUIET);
    publisher.send([alias(1, "a.b"), publish(Named::Alias(1), b"lost")].concat());
    publisher.flush();
    let mut lines = broker.connect(QUIET);
    for (subscribe, heard) in [
        ("SUB a.b 1\r\n", "MSG a.b 1 1\r\nx\r\n"),
        ("UNSUB 1\r\nSUB a.* 2\r\n", "MSG a.b 2 1\r\nx\r\n"),
        ("UNSUB 2\r\nSUB > 3\r\n", "MSG a.b 3 1\r\nx\r\n"),
        ("UNSUB 3\r\n", ""),
    ] {
        lines.send(subscribe);
        lines.flush();
        publisher.send(publish(Named::Alias(1), b"x"));
        publisher.flush();
        lines.expect(heard);
        lines.expect_nothing();
    }
}

#[test]
fn many_aliases_lead_to_as_many_subjects() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), QUIET);
    let mut sent = sub("many.>", 1);
    for number in 1..=1024_u16 {
        sent.extend(alias(number, &format!("many.{number}")));
    }
    for number in (1..=1024_u16).rev() {
        sent.extend(publish(Named::Alias(number), &number.to_le_bytes()));
    }
    frames.send(sent);
    for number in (1..=1024_u16).rev() {
        frames.expect(msg(1, Some(Named::Alias(number)), &number.to_le_bytes()));
    }
    frames.send(alias(1025, "many.more"));
    frames.expect_end(error("maximum aliases exceeded"));
}

#[test]
fn the_same_message_goes_to_receivers_of_every_kind() {
    let Some(broker) = broker() else { return };
    let headless = [QUIET, MODERN];
    let mut lines: Vec<_> = (0..6).map(|at| broker.connect(headless[at % 2])).collect();
    let mut frames: Vec<_> =
        (0..6).map(|at| Frames::open(broker.tcp(), headless[at % 2])).collect();
    for wire in &mut lines {
        wire.send("SUB a.b 1\r\n");
        wire.flush();
    }
    for (at, wire) in frames.iter_mut().enumerate() {
        wire.send(if at < 4 { sub("a.b", 1) } else { sub("a.*", 1) });
        if at == 5 {
            wire.send(alias(1, "a.b"));
        }
        wire.flush();
    }
    let mut publisher = broker.connect(MODERN);
    publisher.send("HPUB a.b 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPUB a.b 1\r\n2\r\n");
    for (at, wire) in lines.iter_mut().enumerate() {
        let first = ["MSG a.b 1 2\r\nhi\r\n", "HMSG a.b 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"];
        wire.expect(first[at % 2]);
        wire.expect("MSG a.b 1 1\r\n2\r\n");
        wire.expect_nothing();
    }
    for (at, wire) in frames.iter_mut().enumerate() {
        let subject = [None, None, None, None, Some(full("a.b")), Some(Named::Alias(1))][at];
        let header_bytes = (at % 2 == 1).then_some(12);
        let payload: &[u8] = if at % 2 == 1 { b"NATS/1.0\r\n\r\nhi" } else { b"hi" };
        let message = Message { sid: 1, subject, reply: None, header_bytes, payload };
        wire.expect(bytes(|out| encode::message(out, &message)));
        wire.expect(msg(1, subject, b"2"));
        wire.expect_nothing();
    }
}

#[test]
fn a_queue_group_has_members_of_both_framings() {
    let Some(broker) = broker() else { return };
    let mut lines = broker.connect(QUIET);
    lines.send("SUB a workers 1\r\n");
    lines.flush();
    let mut frames = Frames::open(broker.tcp(), QUIET);
    frames.send(bytes(|out| encode::subscribe(out, b"a", Some(b"workers"), 1)));
    frames.flush();
    let mut publisher = Frames::open(broker.tcp(), QUIET);
    publisher.send(publish(full("a"), b"x").repeat(100));
    publisher.flush();
    let in_lines = agentcom_tests::occurrences(&lines.read_to_pong(), "MSG a 1 1\r\nx\r\n");
    assert!(in_lines > 0 && in_lines < 100, "{in_lines} of 100");
    for _ in in_lines..100 {
        frames.expect(msg(1, None, b"x"));
    }
    frames.expect_nothing();
}

#[test]
fn a_subscription_ends_after_its_number_of_messages() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), QUIET);
    frames.send(sub("a", 4_000_000_000));
    frames.send(bytes(|out| encode::unsubscribe(out, 4_000_000_000, Some(2))));
    frames.send(publish(full("a"), b"x").repeat(3));
    frames.expect(msg(4_000_000_000, None, b"x").repeat(2));
    frames.send([sub("a", 1), publish(full("a"), b"y")].concat());
    frames.send(bytes(|out| encode::unsubscribe(out, 1, None)));
    frames.send(publish(full("a"), b"z"));
    frames.expect(msg(1, None, b"y"));
    frames.expect_nothing();
}

#[test]
fn ok_and_errors_that_keep_the_connection_are_frames() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), r#"{"verbose":true,"pedantic":true}"#);
    const OK: &[u8] = encode::fixed::OK;
    frames.send(sub("a", 1));
    frames.expect(OK);
    frames.send(publish(full("a.*"), b""));
    frames.expect([&error("Invalid Publish Subject"), OK].concat());
    frames.send([alias(1, "b.>"), publish(Named::Alias(1), b"")].concat());
    frames.expect([&error("Invalid Publish Subject"), OK].concat());
    frames.send(sub("a..b", 2));
    frames.expect(error("Invalid Subject"));
    // What would end a word or a line in text is no part of any name.
    frames.send(bytes(|out| encode::subscribe(out, b"a", Some(b"q 1"), 2)));
    frames.expect(error("Invalid Subject"));
    frames.send(sub("a b", 2));
    frames.expect(error("Invalid Subject"));
    frames.expect_nothing();
}

#[test]
fn a_name_from_a_frame_cannot_forge_a_line() {
    let Some(broker) = broker() else { return };
    let mut lines = broker.connect(QUIET);
    lines.send("SUB > 1\r\n");
    lines.flush();
    let mut frames = Frames::open(broker.tcp(), QUIET);
    for subject in ["a b", "a\r\nMSG x 1 0\r\n", "a\tb"] {
        frames.send(publish(full(subject), b""));
        frames.expect(error("Invalid Publish Subject"));
        let reply = Publish {
            subject: full("a"),
            reply: Some(subject.as_bytes()),
            header_bytes: None,
            payload: b"",
        };
        frames.send(bytes(|out| encode::publish(out, &reply)));
        frames.expect(error("Invalid Publish Subject"));
    }
    frames.send([alias(1, "a\r\nb"), publish(Named::Alias(1), b"")].concat());
    frames.expect(error("Invalid Publish Subject"));
    frames.expect_nothing();
    lines.expect_nothing();
}

#[test]
fn a_wrong_frame_gets_a_sentence_and_closes() {
    let Some(broker) = broker_with(
        Options::default().limit("payload_bytes_max", 64).limit("control_line_bytes_max", 128),
    ) else {
        return;
    };
    let head = |kind, number: u16, length: u32| {
        let mut head = vec![kind, 0];
        head.extend(number.to_le_bytes());
        head.extend(length.to_le_bytes());
        head
    };
    for (sent, text) in [
        (b"P".to_vec(), "Unknown Protocol Operation"),
        (head(0x81, 0, 4), "Unknown Protocol Operation"),
        (head(0x11, 0, 1), "Malformed Frame"),
        (head(0x01, 7, 0), "Malformed Frame"),
        (head(0x12, 0, 3), "Malformed Frame"),
        ([alias(1, "a"), head(0x11, 1, 65)].concat(), "Maximum Payload Violation"),
        (head(0x11, 1, u32::MAX), "Maximum Payload Violation"),
        (head(0x15, 1, 129), "maximum control line exceeded"),
        (head(0x10, 0, 129), "maximum control line exceeded"),
        (publish(Named::Alias(1), b""), "Unknown Alias"),
        (alias(2, "a"), "Invalid Alias"),
        ([alias(1, "a"), alias(1, "a")].concat(), "Invalid Alias"),
        (bytes(|out| encode::connect(out, b"{\"frame\":\"text\"}")), "Unknown Protocol Operation"),
        (bytes(|out| encode::connect(out, b"{\"protocol\":2}")), "invalid client protocol"),
    ] {
        let mut frames = Frames::open(broker.tcp(), QUIET);
        frames.send(&sent);
        frames.expect_end(error(text));
    }
    // As large as they may be.
    let mut frames = Frames::open(broker.tcp(), QUIET);
    frames.send([alias(1, &"a".repeat(128)), publish(Named::Alias(1), &[0; 64])].concat());
    frames.expect_nothing();
}

#[test]
fn permissions_hold_for_numbers_and_change_with_the_login() {
    let alice = User::new("alice", "pw").publish(&["a.>"], &["a.secret"]);
    let options = Options::default().user(alice).user(User::new("bob", "pb"));
    let Some(broker) = broker_with(options) else { return };
    let (alice, bob) = (
        r#"{"verbose":false,"pedantic":false,"user":"alice","pass":"pw"}"#,
        r#"{"verbose":false,"pedantic":false,"user":"bob","pass":"pb"}"#,
    );
    let mut spy = Frames::open(broker.tcp(), bob);
    spy.send(sub(">", 1));
    spy.flush();
    let mut frames = Frames::open(broker.tcp(), alice);
    frames.send([alias(1, "a.b"), alias(2, "a.secret")].concat());
    let denied = error("Permissions Violation for Publish to \"a.secret\"");
    for _ in 0..2 {
        frames.send([publish(Named::Alias(1), b"1"), publish(Named::Alias(2), b"2")].concat());
        frames.expect(&denied);
        spy.expect(msg(1, Some(full("a.b")), b"1"));
    }
    // Aliases outlive a new CONNECT; what the old login was permitted does not.
    frames.send(bytes(|out| encode::connect(out, bob.as_bytes())));
    frames.send(publish(Named::Alias(2), b"2"));
    spy.expect(msg(1, Some(full("a.secret")), b"2"));
    frames.send(bytes(|out| encode::connect(out, alice.as_bytes())));
    frames.send(publish(Named::Alias(2), b"2"));
    frames.expect(&denied);
    frames.expect_nothing();
    spy.expect_nothing();
}

#[test]
fn a_request_that_nobody_takes_is_answered() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), MODERN);
    let request = Publish {
        subject: full("nobody"),
        reply: Some(b"_INBOX.7.1"),
        header_bytes: None,
        payload: b"hi",
    };
    frames.send(sub("_INBOX.7.*", 9));
    frames.send(bytes(|out| encode::publish(out, &request)));
    let block = b"NATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n";
    let answer = Message {
        sid: 9,
        subject: Some(full("_INBOX.7.1")),
        reply: None,
        header_bytes: Some(block.len()),
        payload: block,
    };
    frames.expect(bytes(|out| encode::message(out, &answer)));
    frames.expect_nothing();
}

#[test]
fn tasks_are_submitted_offered_and_completed_in_frames() {
    let Some(broker) = broker() else { return };
    let granted =
        |tag, words: &[&str], body: &[u8]| bytes(|out| encode::granted(out, tag, words, body));
    let mut frames = Frames::open(broker.tcp(), QUIET);
    frames.send(request(Verb::TaskSubmit, 1, &["resize", "needs=gpu"], b"cat.png"));
    frames.expect(granted(1, &["task=1", "state=ready", "generation=0"], b""));
    frames.send(request(Verb::WorkerStart, u32::MAX, &["alice", "can=gpu"], b""));
    frames.expect(granted(u32::MAX, &["agent=alice", "epoch=1"], b""));
    let offer =
        ["OFFER", "1", "1", "queue=resize", "attempt=1", "offer_ms=10000", "lease_ms=30000"];
    frames.expect(bytes(|out| encode::push(out, &offer, b"cat.png")));
    frames.send(request(Verb::TaskComplete, 3, &["1", "1"], b"done"));
    frames.expect(granted(3, &["task=1", "state=completed"], b""));
    frames.send(request(Verb::TaskComplete, 4, &["1", "2"], b"done"));
    let stale = "generation 2 of task 1 is over; it is completed with generation 1";
    let declined = frames.next_frame().expect("an answer");
    let decoder = binary::ServerDecoder::new(Limits::default());
    match decoder.decode(&declined) {
        Ok(Decoded::Frame { frame: binary::ServerFrame::Declined { tag: 4, .. }, .. }) => {}
        other => panic!("{other:?}, not {stale}"),
    }
    // Blanks end nothing, so a reason may have some.
    frames.send(request(Verb::TaskSubmit, 5, &["resize", "needs=gpu"], b"dog.png"));
    frames.expect(granted(5, &["task=2", "state=ready", "generation=0"], b""));
    assert_eq!(frames.next_frame().map(|frame| frame[0]), Some(0x87));
    frames.send(request(Verb::TaskDecline, 6, &["2", "1", "reason=too busy today"], b""));
    frames.expect(granted(6, &["task=2", "state=ready"], b""));
    frames.expect_nothing();
}

#[test]
fn a_mistake_in_a_verb_is_declined_and_keeps_the_connection() {
    let Some(broker) = broker() else { return };
    let mut frames = Frames::open(broker.tcp(), QUIET);
    let declined =
        |tag, sentence: &str| bytes(|out| encode::declined(out, tag, "invalid", sentence));
    frames.send(request(Verb::TaskShow, 1, &[], b""));
    frames.expect(declined(1, "task is missing; usage: TASK SHOW tag task"));
    frames.send(request(Verb::TaskShow, 2, &["x"], b""));
    let sentence = "task is x; allowed is a whole number; usage: TASK SHOW tag task";
    frames.expect(declined(2, sentence));
    frames.send(request(Verb::TaskShow, 3, &["1"], b"hi"));
    frames.expect(declined(3, "a body of 2 bytes is too much; usage: TASK SHOW tag task"));
    frames.expect_nothing();
}

#[test]
fn a_slow_consumer_is_told_in_a_frame() {
    let options =
        Options::default().limit("pending_bytes_max", 65_536).limit("payload_bytes_max", 16_384);
    let Some(broker) = broker_with(options) else { return };
    let mut slow = Frames::open(broker.tcp(), QUIET);
    slow.send(sub("a", 1));
    slow.flush();
    let mut publisher = Frames::open(broker.tcp(), QUIET);
    publisher.send(alias(1, "a"));
    let batch = publish(Named::Alias(1), &[b'x'; 10_000]).repeat(100);
    for _ in 0..30 {
        publisher.send(&batch);
        publisher.flush();
    }
    let mut last = Vec::new();
    while let Some(frame) = slow.next_frame() {
        if last != error("Slow Consumer") {
            last = frame;
        }
    }
    assert_eq!(hex(&last), hex(&error("Slow Consumer")));
}

#[test]
fn a_silent_client_is_asked_and_then_closed_in_frames() {
    let options = Options::default().timeout("ping_interval_ms", 300).timeout("ping_max", 1);
    let Some(broker) = broker_with(options) else { return };
    let mut silent = std::net::TcpStream::connect(broker.tcp()).expect("connect");
    let hello = [&connect(QUIET)[..], PING].concat();
    std::io::Write::write_all(&mut silent, &hello).expect("write");
    let mut heard = Vec::new();
    std::io::Read::read_to_end(&mut silent, &mut heard).expect("read to the end");
    let end = [PING, &error("Stale Connection")].concat();
    assert!(heard.ends_with(&end), "{}", hex(&heard));
}

#[test]
fn the_client_crate_hears_the_same_in_both_framings() {
    use agentcom_client::{ConnectOptions, HeaderMap, RequestErrorKind};
    use futures_util::StreamExt;

    let Some(broker) = broker() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hear = async |options: ConnectOptions| -> Vec<String> {
        let client = options.connect(broker.tcp().to_string()).await.expect("connected");
        let mut pattern = client.subscribe("both.*").await.expect("open");
        let mut exact = client.subscribe("both.a").await.expect("open");
        let mut heard = Vec::new();
        for round in 0..3 {
            let headers: HeaderMap = [("Round", format!("{round}"))].into_iter().collect();
            client.publish("both.a", format!("{round}").into()).await.expect("sent");
            client
                .publish_with_reply_and_headers("both.a", "r", headers, "h".into())
                .await
                .expect("sent");
            client.publish("both.b", "b".into()).await.expect("sent");
            client.publish(format!("both.once{round}"), "o".into()).await.expect("sent");
            for _ in 0..4 {
                heard.push(format!("{:?}", pattern.next().await.expect("a message")));
            }
            for _ in 0..2 {
                heard.push(format!("{:?}", exact.next().await.expect("a message")));
            }
        }
        let missing = client.request("both-nobody", "?".into()).await.expect_err("nobody");
        assert_eq!(missing.kind(), RequestErrorKind::NoResponders);
        let mut asked = client.subscribe("both-echo").await.expect("open");
        let answering = async {
            for _ in 0..3 {
                let request = asked.next().await.expect("a request");
                let reply = request.reply.expect("a reply subject");
                client.publish(reply, request.payload).await.expect("sent");
            }
        };
        let asking = async {
            for round in 0..3 {
                let answer = client.request("both-echo", format!("{round}").into()).await;
                assert_eq!(answer.expect("an answer").payload, format!("{round}"));
            }
        };
        tokio::join!(answering, asking);
        heard
    };
    let (in_frames, in_lines) = runtime.block_on(async {
        let in_frames = hear(ConnectOptions::new()).await;
        (in_frames, hear(ConnectOptions::new().text_framing()).await)
    });
    assert_eq!(in_frames, in_lines);
    assert_eq!(in_frames.len(), 18);
}
