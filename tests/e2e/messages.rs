//! Messages, mailboxes, channels, history and threads over HTTP, written from the contract.

use agentcom_tests::{Answer, Broker, Options, QUIET, oracle};
use serde_json::{Value, json};

use crate::http::{JSON, expect_invalid, register};

/// A broker, and two agents that are registered there, with the headers that their tokens make.
fn crew() -> Option<(Broker, String, String)> {
    if oracle::skips("it has no messages") {
        return None;
    }
    let broker = Broker::start(Options::default());
    let (ann, ben) = (register(&broker, "ann").0, register(&broker, "ben").0);
    Some((broker, ann, ben))
}

#[track_caller]
fn post(broker: &Broker, path: &str, bearer: &str, body: &Value) -> Answer {
    broker.http_post(path, &(bearer.to_owned() + JSON), &body.to_string())
}

/// The messages that a list holds, as `from>to text`.
fn texts(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    assert_eq!(answer.status, 200, "{answer:?}");
    let messages = body["messages"].as_array().or(body["replies"].as_array()).expect("a list");
    assert_eq!(body["count"], messages.len(), "{answer:?}");
    let text = |message: &Value| {
        let to = message["to"].as_str().unwrap_or("-");
        let (from, text) = (&message["from"], &message["payload"]["text"]);
        format!("{}>{to} {}", from.as_str().unwrap_or("?"), text.as_str().unwrap_or("?"))
    };
    messages.iter().map(text).collect()
}

#[test]
fn a_message_waits_until_it_is_acknowledged_also_through_a_crash() {
    let Some((mut broker, ann, ben)) = crew() else { return };
    let message = |text| json!({"to": "ben", "from": "mallory", "payload": {"text": text}});
    let answer = post(&broker, "/api/message", &ann, &message("one"));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    answer.expect(200, &json!({"status": "sent", "id": id}));
    assert!(id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    post(&broker, "/api/message", &ann, &message("two"));
    broker.kill();
    broker.start_again();
    post(&broker, "/api/message", &ann, &message("three"));

    let poll = |broker: &Broker, since: u64| {
        broker.http_get(&format!("/api/mailbox/ben?since={since}"), &ben)
    };
    let answer = poll(&broker, 0);
    assert_eq!(texts(&answer), ["ann>ben one", "ann>ben two", "ann>ben three"]);
    let body = answer.json();
    let first = &body["messages"][0];
    let keys: Vec<&str> =
        first.as_object().expect("a message").keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 8, "{first}");
    for (key, value) in [
        ("id", json!(id)),
        ("from", json!("ann")),
        ("to", json!("ben")),
        ("type", json!("chat")),
        ("payload", json!({"text": "one"})),
        ("reply_to", Value::Null),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert!(first["timestamp"].is_u64() && first["seq"].is_u64(), "{first}");
    let seqs: Vec<u64> = body["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|message| message["seq"].as_u64().expect("a number"))
        .collect();
    assert_eq!((&body["last_seq"], &body["agent_id"]), (&json!(seqs[2]), &json!("ben")));
    assert_eq!(texts(&poll(&broker, seqs[0])), ["ann>ben two", "ann>ben three"]);
    let acked = post(&broker, "/api/mailbox/ben/ack", &ben, &json!({"seq": seqs[1]}));
    acked.expect(200, &json!({"status": "acked", "up_to": seqs[1]}));
    broker.kill();
    broker.start_again();
    assert_eq!(texts(&poll(&broker, 0)), ["ann>ben three"]);
    // Nothing found: the cursor of the question comes back.
    poll(&broker, 99_999)
        .expect(200, &json!({"agent_id": "ben", "messages": [], "last_seq": 99_999, "count": 0}));
    post(&broker, "/api/mailbox/ben/ack", &ben, &json!({"seq": -4}))
        .expect(200, &json!({"status": "acked", "up_to": -4}));
}

#[test]
fn a_mailbox_is_for_its_owner_alone() {
    let Some((broker, ann, ben)) = crew() else { return };
    let refused = json!({"error": "unauthorized"});
    for bearer in [ann.clone(), broker.bearer(), String::new()] {
        broker.http_get("/api/mailbox/ben", &bearer).expect(401, &refused);
    }
    post(&broker, "/api/mailbox/ben/ack", &ann, &json!({"seq": 1})).expect(401, &refused);
    // The token may stand in the query, unless the header has one.
    let token = ben.trim().rsplit(' ').next().expect("a token").to_owned();
    let by_query = format!("/api/mailbox/ben?token={token}");
    assert_eq!(broker.http_get(&by_query, "").status, 200);
    broker.http_get(&by_query, "Authorization: Bearer 00\r\n").expect(401, &refused);
    broker.http_get("/api/messages?token=00", "").expect(401, &refused);
    for query in ["since=", "since=x", "since=1.5"] {
        let answer = broker.http_get(&format!("/api/mailbox/ben?{query}"), &ben);
        expect_invalid(&answer, 400, "since", "wrong_type");
    }
    assert_eq!(broker.http_get("/api/mailbox/ben?since=-1", &ben).status, 200);
    expect_invalid(
        &post(&broker, "/api/mailbox/ben/ack", &ben, &json!({})),
        400,
        "seq",
        "required",
    );
    expect_invalid(
        &post(&broker, "/api/mailbox/ben/ack", &ben, &json!({"seq": 1.0})),
        400,
        "seq",
        "wrong_type",
    );
    post(&broker, "/api/mailbox/evict", &broker.bearer(), &json!({}))
        .expect(200, &json!({"status": "eviction_triggered"}));
    assert_eq!(post(&broker, "/api/mailbox/evict", &ben, &json!({})).status, 403);
}

#[test]
fn a_message_that_is_none_is_refused_field_by_field() {
    let Some((broker, ann, _)) = crew() else { return };
    let large = "x".repeat(64 * 1024);
    for (body, field, error) in [
        (json!({}), "payload", "required"),
        (json!({"payload": []}), "payload", "wrong_type"),
        (json!({"payload": {"x": large}}), "payload", "too_long"),
        (json!({"payload": {}, "to": 5}), "to", "wrong_type"),
        (json!({"payload": {}, "to": "a b\r\nc"}), "to", "invalid_value"),
        (json!({"payload": {}, "to": "a.>"}), "to", "invalid_value"),
        (json!({"payload": {}, "type": "delegate"}), "type", "invalid_value"),
        (json!({"payload": {}, "type": {}}), "type", "wrong_type"),
        (json!({"payload": {}, "reply_to": 1}), "reply_to", "wrong_type"),
        (json!({"payload": {}, "reply_to": "x".repeat(129)}), "reply_to", "too_long"),
    ] {
        expect_invalid(&post(&broker, "/api/message", &ann, &body), 400, field, error);
    }
    let history = broker.http_get("/api/messages", &ann);
    assert_eq!(texts(&history), [""; 0], "nothing of that was sent");
}

#[test]
fn a_broadcast_waits_for_everybody_with_a_token_but_its_sender() {
    let Some((broker, ann, ben)) = crew() else { return };
    post(&broker, "/api/message", &ann, &json!({"payload": {"text": "all"}}));
    post(&broker, "/api/message", &ann, &json!({"to": "broadcast", "payload": {"text": "word"}}));
    let box_of = |agent: &str, bearer: &str| {
        texts(&broker.http_get(&format!("/api/mailbox/{agent}"), bearer))
    };
    assert_eq!(box_of("ben", &ben), ["ann>- all", "ann>broadcast word"]);
    assert_eq!(box_of("ann", &ann), [""; 0]);
    // Only the word is found by the word.
    let found = broker.http_get("/api/messages?to=broadcast", &ann);
    assert_eq!(texts(&found), ["ann>broadcast word"]);
}

#[test]
fn the_history_is_searched_page_by_page() {
    let Some((broker, ann, ben)) = crew() else { return };
    for number in 0..5 {
        let bearer = if number % 2 == 0 { &ann } else { &ben };
        let text = format!("n{number}");
        let payload = json!({"text": text, "channel": if number < 2 { "dev" } else { "#Dev" }});
        post(&broker, "/api/message", bearer, &json!({"to": "cat", "payload": payload}));
    }
    let search = |query: &str| {
        let answer = broker.http_get(&format!("/api/messages?{query}"), &ann);
        (texts(&answer), answer.json()["cursor"].clone())
    };
    let (found, cursor) = search("limit=2");
    assert_eq!(found, ["ann>cat n0", "ben>cat n1"]);
    let (found, cursor) = search(&format!("limit=2&cursor={cursor}"));
    assert_eq!(found, ["ann>cat n2", "ben>cat n3"]);
    let (found, end) = search(&format!("limit=2&cursor={cursor}"));
    assert_eq!(found, ["ann>cat n4"]);
    assert_eq!(search(&format!("cursor={end}")), (Vec::new(), end.clone()));
    assert_eq!(search("from=ben").0, ["ben>cat n1", "ben>cat n3"]);
    assert_eq!(search("from=ben&channel=dev").0, ["ben>cat n1"]);
    assert_eq!(search("to=ben").0, [""; 0]);
    assert_eq!(search("from=no%20name").0, [""; 0]);
    assert_eq!(search("limit=0").0, [""; 0]);
    assert_eq!(search("limit=-3").0, [""; 0]);
    assert_eq!(search("end_time=5").0, [""; 0]);
    assert_eq!(search("start_time=5&limit=9999").0.len(), 5);
    let answer = broker.http_get("/api/messages?limit=x&cursor=", &ann);
    expect_invalid(&answer, 400, "limit", "wrong_type");
    expect_invalid(&answer, 400, "cursor", "wrong_type");
}

#[test]
fn answers_make_a_thread() {
    let Some((mut broker, ann, ben)) = crew() else { return };
    let send = |broker: &Broker, bearer: &str, text: &str, reply_to: Option<&str>| {
        let body = json!({"to": "cat", "payload": {"text": text}, "reply_to": reply_to});
        let answer = post(broker, "/api/message", bearer, &body);
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let root = send(&broker, &ann, "root", None);
    let first = send(&broker, &ben, "first", Some(&root));
    let below = send(&broker, &ann, "below", Some(&first));
    send(&broker, &ben, "second", Some(&root));
    send(&broker, &ben, "stranger", Some("somewhere else"));
    broker.kill();
    broker.start_again();
    let get = |path: String| broker.http_get(&path, &ann);
    let whole = get(format!("/api/threads/{below}"));
    assert_eq!(texts(&whole), ["ann>cat root", "ben>cat first", "ann>cat below", "ben>cat second"]);
    assert_eq!(whole.json()["root"], json!(root));
    let replies = get(format!("/api/threads/{root}/replies"));
    assert_eq!(texts(&replies), ["ben>cat first", "ben>cat second"]);
    assert_eq!(replies.json()["parent"], json!(root));
    get(format!("/api/threads/{below}/root"))
        .expect(200, &json!({"message_id": below, "root": root}));
    for id in ["nothing", "00000000000fffff"] {
        get(format!("/api/threads/{id}"))
            .expect(200, &json!({"root": id, "messages": [], "count": 0}));
    }
}

#[test]
fn a_channel_has_one_name_and_remembers() {
    let Some((mut broker, ann, ben)) = crew() else { return };
    let made = json!({"name": "#Dev Chat!", "description": "talk"});
    post(&broker, "/api/channels", &ann, &made)
        .expect(201, &json!({"status": "created", "channel": "#Dev Chat!"}));
    post(&broker, "/api/channels", &ben, &json!({"name": "devchat"})).expect(
        409,
        &json!({"error": "channel_exists", "detail": "channel devchat exists already"}),
    );
    let act = |broker: &Broker, bearer: &str, what: &str| {
        post(broker, &format!("/api/channels/%23DevChat/{what}"), bearer, &json!({}))
    };
    let subscribed = json!({"status": "subscribed", "channel": "#DevChat"});
    act(&broker, &ann, "subscribe").expect(200, &subscribed);
    act(&broker, &ben, "subscribe").expect(200, &subscribed);
    act(&broker, &ben, "subscribe").expect(200, &json!({"status": "already_subscribed"}));

    // A channel is a subject, too: whoever listens by telnet hears it.
    let mut telnet = broker.connect(QUIET);
    telnet.send("SUB $AC.EVENT.CHANNEL.devchat 1\r\nPING\r\n");
    telnet.expect("PONG\r\n");
    let said = json!({"payload": {"text": "hi"}, "type": "status"});
    let answer = post(&broker, "/api/channels/devchat/publish", &ann, &said);
    let id = answer.json()["id"].clone();
    answer.expect(200, &json!({"status": "published", "seq": 1, "id": id}));
    let heard = telnet.next_operation().expect("a message");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(heard.starts_with("MSG $AC.EVENT.CHANNEL.devchat 1 "), "{heard}");
    assert!(heard.contains(r#""payload":{"text":"hi"}"#), "{heard}");
    broker.kill();
    broker.start_again();
    let answer = post(&broker, "/api/channels/devchat/publish", &ann, &said);
    assert_eq!(answer.json()["seq"], 2, "{answer:?}");

    let shown = broker.http_get("/api/channels/devchat", "").json();
    assert_eq!(shown["subscribers"], json!(["ben", "ann"]));
    assert_eq!((&shown["created_by"], &shown["subscriber_count"]), (&json!("ann"), &json!(2)));
    let listed = broker.http_get("/api/channels", "").json();
    let row = &listed["channels"][0];
    assert_eq!((&row["name"], &row["description"]), (&json!("devchat"), &json!("talk")));
    broker
        .http_get("/api/agents/ben/subscriptions", "")
        .expect(200, &json!({"agent_id": "ben", "channels": ["devchat"]}));

    // A copy waits for every subscriber but the publisher, with the name of the channel in it.
    let mail = broker.http_get("/api/mailbox/ben", &ben).json();
    assert_eq!(mail["messages"][0]["payload"], json!({"text": "hi", "channel": "devchat"}));
    assert_eq!((&mail["count"], mail["messages"][0]["type"].as_str()), (&json!(2), Some("status")));
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 0);
    // And the channel has it, the history of messages has not.
    let history = broker.http_get("/api/channels/%23DevChat/history?limit=1", "").json();
    assert_eq!((&history["channel"], &history["count"]), (&json!("#DevChat"), &json!(1)));
    assert_eq!(history["messages"][0]["seq"], 2);
    assert_eq!(history["messages"][0]["message"]["payload"], json!({"text": "hi"}));
    assert!(history["messages"][0]["stored_at"].is_u64());
    assert_eq!(broker.http_get("/api/messages", &ann).json()["count"], 0);

    let left = json!({"status": "unsubscribed", "channel": "#DevChat"});
    act(&broker, &ben, "unsubscribe").expect(200, &left);
    act(&broker, &ben, "unsubscribe").expect(200, &left);
    post(&broker, "/api/channels/devchat/publish", &ann, &said);
    assert_eq!(broker.http_get("/api/mailbox/ben", &ben).json()["count"], 2);
}

#[test]
fn a_channel_that_is_not_there_is_not_found() {
    let Some((broker, ann, _)) = crew() else { return };
    let missing = json!({"error": "channel_not_found"});
    broker.http_get("/api/channels/dev", "").expect(404, &missing);
    for what in ["subscribe", "unsubscribe"] {
        post(&broker, &format!("/api/channels/dev/{what}"), &ann, &json!({})).expect(404, &missing);
    }
    let said = json!({"payload": {}});
    post(&broker, "/api/channels/dev/publish", &ann, &said).expect(404, &missing);
    // A body that is wrong is wrong first.
    let answer = post(&broker, "/api/channels/dev/publish", &ann, &json!({}));
    expect_invalid(&answer, 400, "payload", "required");
    broker
        .http_get("/api/channels/dev/history", "")
        .expect(200, &json!({"channel": "dev", "messages": [], "count": 0}));
    for name in ["", "###", "\u{fc}"] {
        let answer = post(&broker, "/api/channels", &ann, &json!({ "name": name }));
        expect_invalid(&answer, 400, "name", "invalid_value");
    }
    let answer = post(&broker, "/api/channels", "", &json!({"name": "dev"}));
    assert_eq!(answer.status, 401, "{answer:?}");
    broker
        .http_get("/api/agents/no%20name/subscriptions", "")
        .expect(200, &json!({"agent_id": "no name", "channels": []}));
}
