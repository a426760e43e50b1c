//! The same commands as JSON requests, for clients that know NATS only.

use agentcom_tests::{Broker, MODERN, Options, User, Wire, occurrences};
use serde_json::{Value, json};

use super::{broker, broker_with};

/// A connection that asks on `$AC.API.` and listens on `_INBOX.me.>`.
struct Requester {
    wire: Wire,
    asked: usize,
}

impl Requester {
    #[track_caller]
    fn on(broker: &Broker) -> Self {
        Self::with(broker, MODERN)
    }

    #[track_caller]
    fn with(broker: &Broker, connect: &str) -> Self {
        let mut wire = broker.connect(connect);
        wire.send("SUB _INBOX.me.> 1\r\n");
        wire.flush();
        Self { wire, asked: 0 }
    }

    /// Ask, and give the answer. Nothing else may arrive first.
    #[track_caller]
    fn ask(&mut self, endpoint: &str, body: &Value) -> Value {
        self.ask_raw(endpoint, &body.to_string())
    }

    #[track_caller]
    fn ask_raw(&mut self, endpoint: &str, body: &str) -> Value {
        self.asked += 1;
        let (asked, size) = (self.asked, body.len());
        self.wire.send(format!("PUB $AC.API.{endpoint} _INBOX.me.{asked} {size}\r\n{body}\r\n"));
        self.heard(&asked.to_string())
    }

    /// Start an agent whose offers come to `_INBOX.me.work`.
    #[track_caller]
    fn start(&mut self, agent: &str) {
        let body = json!({"agent": agent, "deliver": "_INBOX.me.work"});
        let answer = self.ask("WORKER.START", &body);
        assert_eq!(answer.get("error"), None, "{answer}");
    }

    /// The next message, which comes to `_INBOX.me.` and `to`.
    #[track_caller]
    fn heard(&mut self, to: &str) -> Value {
        let message = self.wire.expect_line();
        let (line, body) = message.split_once("\r\n").unwrap_or((&message, ""));
        let expected = format!("MSG _INBOX.me.{to} 1 {}", body.len());
        assert_eq!(line, expected, "with {body:?}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?}: {error}"))
    }

    /// Ask what must be declined with `code`; the sentence.
    #[track_caller]
    fn declined(&mut self, endpoint: &str, body: &str, code: &str) -> String {
        let answer = self.ask_raw(endpoint, body);
        assert_eq!(answer["error"]["code"], code, "{endpoint} {body}: {answer}");
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
        answer["error"]["sentence"].as_str().expect("a sentence").to_owned()
    }
}

#[test]
fn a_task_goes_from_submit_to_completed() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    let body = json!({"queue": "resize", "payload": "cat.png", "needs": ["gpu"],
        "priority": "high", "attempts": 5, "lease_ms": 60000});
    let task = me.ask("TASK.SUBMIT", &body)["task"].as_u64().expect("a number");
    let start = json!({"agent": "alice", "can": ["png", "gpu"], "queues": ["resize"], "credit": 2,
        "deliver": "_INBOX.me.work"});
    assert_eq!(me.ask("WORKER.START", &start).get("error"), None);
    assert_eq!(
        me.heard("work"),
        json!({"type": "offer", "task": task, "generation": 1, "queue": "resize", "attempt": 1,
            "offer_ms": 10000, "lease_ms": 60000, "payload": "cat.png"})
    );
    let lease = json!({"task": task, "generation": 1});
    let with = |key: &str, value: &str| {
        let mut body = lease.clone();
        body[key] = value.into();
        body
    };
    let running = json!({"task": task, "state": "running"});
    assert_eq!(me.ask("TASK.ACCEPT", &lease), running);
    assert_eq!(me.ask("TASK.PROGRESS", &with("data", "50%")), json!({"task": task, "seq": 1}));
    assert_eq!(me.ask("TASK.SHOW", &json!({"task": task}))["progress"], "50%");
    let done = with("result", "done");
    assert_eq!(me.ask("TASK.COMPLETE", &done), json!({"task": task, "state": "completed"}));
    assert_eq!(
        me.ask("TASK.COMPLETE", &done),
        json!({"task": task, "state": "completed", "duplicate": true})
    );
    let view = me.ask("TASK.SHOW", &json!({"task": task}));
    for (key, value) in [
        ("state", json!("completed")),
        ("priority", json!(1)),
        ("needs", json!(["gpu"])),
        ("attempts_max", json!(5)),
        ("result", json!("done")),
    ] {
        assert_eq!(view[key], value, "{key} of {view}");
    }
    assert_eq!(me.ask("WORKER.STOP", &json!({})), json!({}));
    me.wire.expect_nothing();
}

#[test]
fn a_start_is_answered_with_the_agents_name() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    let start = json!({"agent": "alice", "deliver": "_INBOX.me.work"});
    let answer = me.ask("WORKER.START", &start);
    assert_eq!((&answer["agent"], answer["epoch"].is_u64()), (&json!("alice"), true), "{answer}");
}

#[test]
fn a_task_can_be_declined_or_fail() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    me.start("alice");
    for (endpoint, more, state) in [
        ("TASK.FAIL", json!({"error": "oops", "retry_after_ms": 60000}), "scheduled"),
        ("TASK.FAIL", json!({"error": "oops", "class": "fatal"}), "dead"),
        ("TASK.FAIL", json!({"class": "fatal"}), "dead"),
        ("TASK.DECLINE", json!({"reason": "busy"}), "ready"),
        ("TASK.DECLINE", json!({}), "ready"),
    ] {
        let task = me.ask("TASK.SUBMIT", &json!({"queue": "q"}))["task"].clone();
        assert_eq!(me.heard("work")["task"], task);
        let mut body = more.clone();
        (body["task"], body["generation"]) = (task.clone(), json!(1));
        assert_eq!(me.ask(endpoint, &body), json!({"task": task, "state": state}), "{more}");
        let view = me.ask("TASK.SHOW", &json!({"task": task}));
        assert_eq!(view["state"], state, "{view}");
    }
}

#[test]
fn pushes_come_to_the_subject_that_the_agent_named() {
    let options = Options::default().task("offer_ms", 300);
    let Some(broker) = broker_with(options) else { return };
    let mut me = Requester::on(&broker);
    me.start("alice");
    let task = me.ask("TASK.SUBMIT", &json!({"queue": "q"}))["task"].clone();
    assert_eq!(me.heard("work")["type"], "offer");
    assert_eq!(
        me.heard("work"),
        json!({"type": "revoked", "task": task, "generation": 1, "state": "ready"})
    );
    let mut other = Requester::on(&broker);
    other.wire.send("UNSUB 1\r\nSUB _INBOX.other 2\r\n");
    let start = r#"{"agent":"alice","deliver":"_INBOX.other"}"#;
    other.wire.send(format!("PUB $AC.API.WORKER.START {}\r\n{start}\r\n", start.len()));
    assert_eq!(me.heard("work"), json!({"type": "replaced"}));
    let offer = other.wire.expect_line();
    assert!(offer.starts_with("MSG _INBOX.other 2 "), "{offer}");
}

#[test]
fn a_start_that_is_declined_moves_nobodys_offers() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    me.start("alice");
    me.declined("WORKER.START", r#"{"agent":"a b","deliver":"_INBOX.me.lost"}"#, "invalid");
    let task = me.ask("TASK.SUBMIT", &json!({"queue": "q"}))["task"].clone();
    assert_eq!(me.heard("work")["task"], task);
}

#[test]
fn bytes_that_are_no_text_travel_as_base64() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    me.start("alice");
    let submit = json!({"queue": "q", "payload_base64": "AP/+"});
    let task = me.ask("TASK.SUBMIT", &submit)["task"].clone();
    let offer = me.heard("work");
    assert_eq!(offer["payload_base64"], "AP/+", "{offer}");
    assert_eq!(offer.get("payload"), None, "{offer}");
    let progress = json!({"task": task, "generation": 1, "data_base64": "/w=="});
    me.ask("TASK.PROGRESS", &progress);
    assert_eq!(me.ask("TASK.SHOW", &json!({"task": task}))["progress_base64"], "/w==");
    // What is text after all comes back as text.
    let complete = json!({"task": task, "generation": 1, "result_base64": "ZG9uZQ=="});
    me.ask("TASK.COMPLETE", &complete);
    let view = me.ask("TASK.SHOW", &json!({"task": task}));
    assert_eq!(view["result"], "done", "{view}");
    assert_eq!(view.get("result_base64"), None, "{view}");
}

#[test]
fn a_body_that_makes_no_sense_is_declined_with_a_sentence() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    let long = "n".repeat(65);
    let many: Vec<String> = (0..21).map(|n| format!("n{n}")).collect();
    for (endpoint, body, word) in [
        ("TASK.SUBMIT", String::new(), "queue"),
        ("TASK.SUBMIT", "{".to_owned(), "JSON"),
        ("TASK.SUBMIT", "[]".to_owned(), "JSON"),
        ("TASK.SUBMIT", "{}".to_owned(), "queue"),
        ("TASK.SUBMIT", r#"{"queue":7}"#.to_owned(), "queue is 7"),
        ("TASK.SUBMIT", r#"{"queue":"a b"}"#.to_owned(), "queue"),
        ("TASK.SUBMIT", format!(r#"{{"queue":"{long}"}}"#), "64"),
        ("TASK.SUBMIT", r#"{"queue":"q","colour":"red"}"#.to_owned(), "colour"),
        (
            "TASK.SUBMIT",
            r#"{"queue":"q","payload":"a","payload_base64":"AA=="}"#.to_owned(),
            "payload",
        ),
        ("TASK.SUBMIT", r#"{"queue":"q","payload_base64":"!"}"#.to_owned(), "payload_base64"),
        ("TASK.SUBMIT", r#"{"queue":"q","priority":256}"#.to_owned(), "priority"),
        ("TASK.SUBMIT", r#"{"queue":"q","priority":"asap"}"#.to_owned(), "priority"),
        ("TASK.SUBMIT", r#"{"queue":"q","attempts":0}"#.to_owned(), "attempts"),
        ("TASK.SUBMIT", r#"{"queue":"q","lease_ms":999}"#.to_owned(), "lease_ms"),
        ("TASK.SUBMIT", json!({"queue": "q", "needs": many}).to_string(), "needs"),
        ("TASK.SHOW", "{}".to_owned(), "task"),
        ("TASK.SHOW", r#"{"task":"1"}"#.to_owned(), "whole number"),
        ("TASK.SHOW", r#"{"task":-1}"#.to_owned(), "whole number"),
        ("TASK.ACCEPT", r#"{"task":1}"#.to_owned(), "generation"),
        ("TASK.FAIL", r#"{"task":1,"generation":1,"class":"maybe"}"#.to_owned(), "class"),
        ("WORKER.START", r#"{"agent":"alice"}"#.to_owned(), "deliver"),
        ("WORKER.START", r#"{"agent":"alice","deliver":""}"#.to_owned(), "deliver"),
        ("WORKER.START", r#"{"agent":"alice","deliver":"$AC.EVENT.x"}"#.to_owned(), "deliver"),
        ("WORKER.START", r#"{"agent":"a/b","deliver":"a"}"#.to_owned(), "agent"),
        ("WORKER.START", r#"{"agent":"alice","credit":0,"deliver":"a"}"#.to_owned(), "credit"),
    ] {
        let sentence = me.declined(endpoint, &body, "invalid");
        assert!(sentence.contains(word), "{word:?} after {endpoint} {body}: {sentence}");
    }
    me.start("alice");
    me.wire.expect_nothing();
}

#[test]
fn what_the_core_declines_is_declined_here_too() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    let lease =
        |task: &Value, generation: u64| json!({"task": task, "generation": generation}).to_string();
    let task = me.ask("TASK.SUBMIT", &json!({"queue": "q"}))["task"].clone();
    me.declined("TASK.SHOW", r#"{"task":999999}"#, "not_found");
    me.declined("TASK.ACCEPT", &lease(&task, 1), "not_attached");
    me.start("alice");
    me.heard("work");
    let sentence = me.declined("TASK.COMPLETE", &lease(&task, 2), "stale_generation");
    assert!(sentence.contains(&task.to_string()), "{sentence}");
    me.ask_raw("TASK.COMPLETE", &lease(&task, 1));
    me.declined("TASK.FAIL", &lease(&task, 1), "conflict");
    me.declined("TASK.ACCEPT", &lease(&task, 2), "invalid_state");
}

#[test]
fn without_a_reply_subject_it_is_done_in_silence() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    me.start("alice");
    for body in [r#"{"queue":"q"}"#, "{"] {
        me.wire.send(format!("PUB $AC.API.TASK.SUBMIT {}\r\n{body}\r\n", body.len()));
    }
    assert_eq!(me.heard("work")["queue"], "q");
    me.wire.expect_nothing();
}

#[test]
fn a_header_is_no_part_of_the_request() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    let block = "NATS/1.0\r\nTrace: 17\r\n\r\n";
    let body = r#"{"queue":"q"}"#;
    let (header, total) = (block.len(), block.len() + body.len());
    me.wire.send(format!(
        "HPUB $AC.API.TASK.SUBMIT _INBOX.me.h {header} {total}\r\n{block}{body}\r\n"
    ));
    assert!(me.heard("h")["task"].is_u64());
}

#[test]
fn a_subject_that_is_no_request_has_no_responders() {
    let Some(broker) = broker() else { return };
    let mut me = Requester::on(&broker);
    for subject in
        ["$AC.API.TASK", "$AC.API.TASK.FROB", "$AC.API.task.submit", "$AC.API.TASK.SHOW.x"]
    {
        me.wire.send(format!("PUB {subject} _INBOX.me.x 2\r\n{{}}\r\n"));
        let answer = me.wire.expect_line();
        assert_eq!(occurrences(answer.as_bytes(), "NATS/1.0 503"), 1, "{subject}: {answer}");
    }
    me.wire.expect_nothing();
}

#[test]
fn requests_are_not_seen_by_subscribers() {
    let Some(broker) = broker() else { return };
    let mut spy = broker.connect(MODERN).case("spy");
    spy.send("SUB $AC.API.> 1\r\nSUB > 2\r\n");
    spy.flush();
    let mut me = Requester::on(&broker);
    me.ask("TASK.SHOW", &json!({"task": 1}));
    let seen = spy.read_to_pong();
    assert_eq!(occurrences(&seen, "$AC.API."), 0, "{}", seen.escape_ascii());
}

#[test]
fn who_may_not_publish_there_may_not_ask() {
    const ALICE: &str = r#"{"verbose":false,"pedantic":false,"user":"alice","pass":"pw"}"#;
    let alice = User::new("alice", "pw").publish(&["$AC.API.TASK.SHOW", "a.>"], &[]);
    let Some(broker) = broker_with(Options::default().user(alice)) else { return };
    let mut me = Requester::with(&broker, ALICE);
    me.declined("TASK.SHOW", r#"{"task":999999}"#, "not_found");
    me.wire.send("PUB $AC.API.TASK.SUBMIT _INBOX.me.9 13\r\n{\"queue\":\"q\"}\r\n");
    me.wire.expect_error("Permissions Violation for Publish to \"$AC.API.TASK.SUBMIT\"");
    me.wire.expect_nothing();
}

#[test]
fn what_is_said_about_a_task_is_an_object_in_json_and_comes_back() {
    let Some(broker) = broker() else { return };
    let mut requester = Requester::on(&broker);
    let body = json!({"agent": "alice", "deliver": "_INBOX.me.work", "capacity": {"cores": 4}});
    assert_eq!(requester.ask("WORKER.START", &body)["agent"], "alice");
    let headers = json!({"Content-Type": "text/plain; charset=utf-8", "note": "a, b"});
    let task = json!({
        "queue": "q", "payload": "hi", "headers": headers, "uses": {"cores": 2},
        "prefer": ["5:ssd"], "rates": {"api": "9/1000"}, "assign_to": "alice",
    });
    let kept = requester.ask("TASK.SUBMIT", &task);
    let offer = requester.heard("work");
    assert_eq!((&offer["payload"], &offer["headers"]), (&json!("hi"), &headers), "{offer}");
    let view = requester.ask("TASK.SHOW", &json!({"task": kept["task"]}));
    for (key, expected) in
        [("headers", headers.clone()), ("uses", json!({"cores": 2})), ("assign_to", json!("alice"))]
    {
        assert_eq!(view[key], expected, "{view}");
    }
    // The same in words: what a word cannot hold is a percent and two digits there.
    let mut words = broker.connect(MODERN);
    let list = "Content-Type:text/plain;%20charset=utf-8,note:a%2C%20b";
    words.send(format!("QUEUE PUT p mail headers={list} 2\r\nho\r\n"));
    assert!(words.expect_line().starts_with("OK p "), "it is kept");
    let taken = requester.ask("QUEUE.TAKE", &json!({"queue": "mail"}));
    assert_eq!(taken["items"][0]["headers"], headers, "{taken}");
    let peeked = requester.ask("QUEUE.PEEK", &json!({"queue": "mail"}));
    assert_eq!(peeked["tasks"], json!([]), "{peeked}");
}
