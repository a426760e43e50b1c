//! Messages, channels and shared settings through the verbs and the JSON subjects.

use agentcom_tests::{Broker, MODERN, Options, QUIET, Wire, occurrences, oracle};
use serde_json::{Value, json};

use crate::http::register;

fn broker() -> Option<Broker> {
    let skips = oracle::skips("it has no messages between agents");
    (!skips).then(|| Broker::start(Options::default()))
}

/// The texts of the messages in an answer, each with its sender.
fn texts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let text = |message: &Value| {
        let (from, text) = (&message["from"], &message["payload"]["text"]);
        format!("{} {}", from.as_str().unwrap_or("?"), text.as_str().unwrap_or("?"))
    };
    messages.iter().map(text).collect()
}

fn ask(wire: &mut Wire, request: &str) -> Value {
    wire.ask_json(request.trim_end_matches("\r\n"))
}

#[test]
fn a_message_waits_in_the_mailbox_until_it_is_read_also_through_a_crash() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.send("MESSAGE SEND 1 bob from=alice type=request 3\r\none\r\n");
    let line = wire.expect_line();
    let id =
        line.trim_end().strip_prefix("OK 1 id=").unwrap_or_else(|| panic!("{line}")).to_owned();
    let request =
        format!("MESSAGE SEND 2 bob from=carol reply_to={id} 14\r\n{{\"text\":\"two\"}}\r\n");
    wire.send(request);
    assert!(wire.expect_line().starts_with("OK 2 id="));
    broker.kill();
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    let mail = ask(&mut wire, "MAILBOX POLL t bob\r\n");
    assert_eq!(texts(&mail), ["alice one", "carol two"]);
    assert_eq!(
        (&mail["messages"][0]["type"], &mail["messages"][1]["reply_to"]),
        (&json!("request"), &json!(id))
    );
    let first = mail["messages"][0]["seq"].as_u64().expect("a number");
    let behind = ask(&mut wire, &format!("MAILBOX POLL t bob after={first}\r\n"));
    assert_eq!(texts(&behind), ["carol two"]);
    wire.send(format!("MAILBOX ACK 3 bob {first}\r\n"));
    wire.expect("OK 3\r\n");
    assert_eq!(texts(&ask(&mut wire, "MAILBOX POLL t bob\r\n")), ["carol two"]);
    assert_eq!(texts(&ask(&mut wire, "MAILBOX POLL t carol\r\n")), [""; 0]);
    let thread = ask(&mut wire, &format!("MESSAGE THREAD t {id}\r\n"));
    assert_eq!((texts(&thread).len(), &thread["root"]), (2, &json!(id)));
    let replies = ask(&mut wire, &format!("MESSAGE THREAD t {id} part=replies\r\n"));
    assert_eq!(texts(&replies), ["carol two"]);
    let history = ask(&mut wire, "MESSAGE HISTORY t to=bob limit=1\r\n");
    assert_eq!(texts(&history), ["alice one"]);
    assert_eq!(texts(&ask(&mut wire, "MESSAGE HISTORY t from=carol\r\n")), ["carol two"]);
}

#[test]
fn a_channel_is_one_for_verbs_json_and_http() {
    let Some(broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mut wire = broker.connect(QUIET);
    let mut nats = broker.connect(MODERN);
    nats.send("SUB $AC.EVENT.CHANNEL.dev 1\r\nSUB _INBOX.me 2\r\n");
    nats.flush();
    wire.send(
        "CHANNEL CREATE 1 #Dev agent=bob 3\r\nfun\r\nCHANNEL CREATE 2 dev agent=bob 0\r\n\r\n",
    );
    wire.expect("OK 1\r\n");
    let again = wire.expect_line();
    assert!(again.starts_with("ERR 2 channel_exists "), "{again}");
    for (tag, changed) in [(3, true), (4, false)] {
        wire.send(format!("CHANNEL SUBSCRIBE {tag} dev agent=bob\r\n"));
        wire.expect(format!("OK {tag} changed={changed}\r\n"));
    }
    let body = r#"{"payload":{"text":"over HTTP"}}"#;
    let json = "Content-Type: application/json\r\n".to_owned();
    let published = broker.http_post("/api/channels/dev/publish", &(ann + &json), body);
    assert_eq!(published.status, 200, "{published:?}");
    let body = r##"{"to":"#dev","from":"carol","payload":"over NATS"}"##;
    nats.send(format!("PUB $AC.API.MESSAGE.SEND _INBOX.me {}\r\n{body}\r\n", body.len()));
    let mut heard = nats.read_to_pong();
    wire.send("MESSAGE SEND 5 #dev from=bob 8\r\nby verbs\r\n");
    let line = wire.expect_line();
    assert!(line.starts_with("OK 5 id=") && line.trim_end().ends_with(" seq=3"), "{line}");
    let history = ask(&mut wire, "CHANNEL HISTORY t dev\r\n");
    assert_eq!(texts(&history), ["ann over HTTP", "carol over NATS", "bob by verbs"]);
    let mail = ask(&mut wire, "MAILBOX POLL t bob\r\n");
    assert_eq!(texts(&mail), ["ann over HTTP", "carol over NATS"], "not his own");
    // Everybody who is told is told when the answer is given, in no order among them.
    while occurrences(&heard, "by verbs") == 0 {
        heard.extend(nats.read_to_pong());
    }
    let heard = String::from_utf8(heard).expect("JSON");
    for text in ["over HTTP", "over NATS", "by verbs"] {
        assert_eq!(heard.matches(text).count(), 1, "{heard}");
    }
    let channel = ask(&mut wire, "CHANNEL SHOW t dev\r\n");
    assert_eq!(
        (&channel["subscribers"], &channel["description"]),
        (&json!(["bob"]), &json!("fun"))
    );
    wire.send("CHANNEL UNSUBSCRIBE 6 dev agent=bob\r\n");
    wire.expect("OK 6 changed=true\r\n");
    let channels = ask(&mut wire, "CHANNEL LIST t\r\n");
    assert_eq!(channels["channels"][0]["subscriber_count"], 0, "{channels}");
    assert_eq!(ask(&mut wire, "PRESENCE LIST t\r\n"), json!({"agents": []}));
}

#[test]
fn a_setting_is_changed_by_one_at_a_time_and_told_to_all() {
    let Some(broker) = broker() else { return };
    let (mut wire, mut watcher) = (broker.connect(QUIET), broker.connect(QUIET));
    watcher.send("SUB $AC.EVENT.CONFIG 1\r\n");
    watcher.flush();
    assert_eq!(ask(&mut wire, "CONFIG GET t motd\r\n"), json!({"settings": []}));
    let set = ask(&mut wire, "CONFIG SET t motd version=0 5\r\nhello\r\n");
    let hello = json!({"key": "motd", "value": "hello", "version": 1});
    assert_eq!(set, json!({"settings": [hello]}));
    let refused = wire.expect_declined("CONFIG SET t motd version=0 2\r\nhi\r\n", "other_version");
    assert!(refused.contains('1'), "{refused}");
    ask(&mut wire, "CONFIG SET t motd version=1 7\r\n{\"a\":1}\r\n");
    let list = ask(&mut wire, "CONFIG LIST t\r\n");
    let object = json!({"key": "motd", "value": {"a": 1}, "version": 2});
    assert_eq!(list, json!({"settings": [object]}));
    let mut told = Vec::new();
    while occurrences(&told, "MSG") < 2 {
        told.extend(watcher.read_to_pong());
    }
    let told = String::from_utf8(told).expect("JSON");
    assert!(told.contains(&hello.to_string()) && told.contains(&object.to_string()), "{told}");
}

/// What CONNECT says who shows this token.
fn showing(token: &str) -> String {
    format!(r#"{{"verbose":false,"auth_token":"{token}"}}"#)
}

#[test]
fn the_token_of_an_agent_lets_it_speak_for_itself_and_for_nobody_else() {
    if oracle::skips("it has no tokens of agents") {
        return;
    }
    for (options, is_open, lets_in) in [
        (Options::default(), true, true),
        (Options::default().agents(), false, true),
        (Options::default().token("secret").agents(), false, true),
        (Options::default().token("secret"), false, false),
    ] {
        let mut broker = Broker::start(options);
        let ann = register(&broker, "ann").1;
        let connect = format!("CONNECT {}\r\nPING\r\n", showing(&ann));
        let refused = "-ERR 'Authorization Violation'\r\n";
        if !lets_in {
            let mut wire = broker.connect_raw();
            wire.send(&connect);
            wire.expect_end(refused);
            continue;
        }
        broker.kill();
        broker.start_again();
        let mut wire = broker.connect(&showing(&ann));
        wire.send("MESSAGE SEND 1 ann 2\r\nhi\r\n");
        assert!(wire.expect_line().starts_with("OK 1 id="));
        assert_eq!(texts(&ask(&mut wire, "MAILBOX POLL t ann\r\n")), ["ann hi"]);
        for request in [
            "MESSAGE SEND t ben from=ben 2\r\nhi\r\n",
            "MAILBOX POLL t ben\r\n",
            "MAILBOX ACK t ben 9\r\n",
            "CHANNEL SUBSCRIBE t dev agent=ben\r\n",
            "WORKER START t ben\r\n",
            "QUEUE TAKE t q consumer=ben\r\n",
        ] {
            let sentence = wire.expect_declined(request, "invalid");
            assert!(sentence.contains("allowed is ann, whose token"), "{sentence}");
        }
        wire.expect_declined("CONFIG SET t motd 2\r\nhi\r\n", "denied");
        assert_eq!(ask(&mut wire, "CONFIG GET t motd\r\n"), json!({"settings": []}));
        wire.start_worker("ann");
        let gone = broker.http_delete("/admin/tokens/ann", &broker.bearer());
        assert_eq!(gone.status, 200, "{gone:?}");
        wire.flush();
        let mut late = broker.connect_raw();
        late.send(&connect);
        if is_open { late.expect("PONG\r\n") } else { late.expect_end(refused) }
    }
}

#[test]
fn what_is_wrong_with_a_message_is_said_and_nothing_is_sent() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    for (request, words) in [
        ("MESSAGE SEND t bob 2\r\nhi\r\n", "from is missing"),
        ("MESSAGE SEND t bob from=operator 2\r\nhi\r\n", "the operator's"),
        ("MESSAGE SEND t # from=a 2\r\nhi\r\n", "to is #"),
        ("MESSAGE SEND t a>b from=a 2\r\nhi\r\n", "to contains '>'"),
        ("MESSAGE SEND t bob from=a type=rant 2\r\nhi\r\n", "chat, request"),
        ("MESSAGE THREAD t 7\r\n", "16 hexadecimal digits"),
        ("MESSAGE HISTORY t limit=201\r\n", "from 1 to 200"),
        ("MAILBOX ACK t bob x\r\n", "up_to is x"),
        ("CHANNEL CREATE t ## agent=a 0\r\n\r\n", "1 to 64"),
        ("CONFIG GET t a/b\r\n", "key contains '/'"),
    ] {
        let sentence = wire.expect_declined(request, "invalid");
        assert!(sentence.contains(words), "{request:?}: {sentence}");
    }
    wire.expect_declined("MESSAGE SEND t #dev from=a 2\r\nhi\r\n", "no_channel");
    wire.expect_declined("CHANNEL SHOW t dev\r\n", "no_channel");
    assert_eq!(texts(&ask(&mut wire, "MESSAGE HISTORY t\r\n")), [""; 0]);
}
