//! The same limits at every door: what one refuses, all refuse, just beyond the edge and not before
//! it; and what is refused changes nothing.

use agentcom_tests::{Broker, MODERN, Options, Socket, Wire, oracle};
use serde_json::{Map, Value, json};

use crate::http::{JSON, register};

/// The largest payload, in bytes of JSON.
const PAYLOAD_BYTES_MAX: usize = 65_536;

/// A message or channel at every door; each gives whether it is taken.
struct Doors {
    broker: Broker,
    headers: String,
    token: String,
    wire: Wire,
}

impl Doors {
    fn open() -> Option<Doors> {
        if oracle::skips("it has no agents") {
            return None;
        }
        let broker = Broker::start(Options::default());
        let (headers, token) = register(&broker, "ann");
        let mut connect: Value = serde_json::from_str(MODERN).expect("an object");
        connect["auth_token"] = token.as_str().into();
        let mut wire = broker.connect(&connect.to_string());
        wire.send("SUB _INBOX.me 1\r\n");
        wire.flush();
        Some(Doors { broker, headers: headers + JSON, token, wire })
    }

    fn by_http(&self, path: &str, body: &Value) -> bool {
        let answer = self.broker.http_post(path, &self.headers, &body.to_string());
        assert!(matches!(answer.status, 200 | 201 | 400 | 422), "{body:.200}: {answer:?}");
        answer.status < 300
    }

    fn by_socket(&self, frame: &Value) -> bool {
        // A new one for each: whoever is wrong ten times is cut off.
        let mut socket = Socket::identify(&self.broker, "ann", &self.token);
        socket.send(frame);
        let answer = socket.expect_one(&["message_sent", "error"]);
        answer["type"] == "message_sent"
    }

    fn by_text(&mut self, line: &str, body: &str) -> bool {
        let size = body.len();
        let answer = self.wire.ask(format!("{line} {size}\r\n{body}\r\n"));
        let is_invalid = answer.starts_with("ERR 1 invalid ");
        assert!(is_invalid || answer.starts_with("OK 1"), "{line:.200}: {answer}");
        !is_invalid
    }

    fn by_json(&mut self, subject: &str, body: &Value) -> bool {
        let body = body.to_string();
        self.wire.send(format!("PUB $AC.API.{subject} _INBOX.me {}\r\n{body}\r\n", body.len()));
        let answer = self.wire.expect_line();
        assert!(answer.starts_with("MSG _INBOX.me 1 "), "{answer}");
        let (_, answer) = answer.split_once("\r\n").expect("an answer");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        let code = &answer["error"]["code"];
        assert!(code.is_null() || code == "invalid", "{body:.200}: {answer}");
        code.is_null()
    }

    /// A message with these fields, at the doors that can say such a thing.
    #[track_caller]
    fn message(&mut self, fields: &[(&str, Value)], is_taken: bool) {
        let mut message: Map<String, Value> = Map::new();
        message.insert("to".to_owned(), "broadcast".into());
        message.insert("payload".to_owned(), json!({}));
        message.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let message = Value::Object(message);
        let case = format!("{message:.120}");
        assert_eq!(self.by_http("/api/message", &message), is_taken, "HTTP: {case}");

        let mut frame = message.clone();
        let fields_of_frame = frame.as_object_mut().expect("an object");
        let kind = fields_of_frame.remove("type");
        fields_of_frame.extend(kind.map(|kind| ("message_type".to_owned(), kind)));
        frame["type"] = "message".into();
        assert_eq!(self.by_socket(&frame), is_taken, "WebSocket: {case}");

        assert_eq!(self.by_json("MESSAGE.SEND", &message), is_taken, "JSON: {case}");

        let words = ["type", "reply_to"].map(|name| match message.get(name) {
            Some(Value::String(word)) => Some(format!(" {name}={word}")),
            Some(_) => None,
            None => Some(String::new()),
        });
        let to = message["to"].as_str().filter(|to| !to.is_empty() && !to.contains([' ', '\r']));
        // Whatever is no object is a text there.
        let is_sayable = message["payload"].is_object();
        if let ([Some(kind), Some(reply_to)], Some(to), true) = (words, to, is_sayable) {
            let line = format!("MESSAGE SEND 1 {to}{kind}{reply_to}");
            let body = message["payload"].to_string();
            assert_eq!(self.by_text(&line, &body), is_taken, "text: {case}");
        }
    }

    /// A channel; `name` makes one for each door out of a letter.
    #[track_caller]
    fn channel(&mut self, name: impl Fn(&str) -> String, description: &str, is_taken: bool) {
        let body = json!({"name": name("h"), "description": description});
        assert_eq!(self.by_http("/api/channels", &body), is_taken, "HTTP: {body:.120}");
        let body = json!({"channel": name("j"), "description": description});
        assert_eq!(self.by_json("CHANNEL.CREATE", &body), is_taken, "JSON: {body:.120}");
        let name = name("t");
        if !name.is_empty() {
            let line = format!("CHANNEL CREATE 1 {name}");
            assert_eq!(self.by_text(&line, description), is_taken, "text: {name:.120}");
        }
    }

    fn messages(&self) -> usize {
        let found = self.broker.http_get("/api/messages?limit=200", &self.headers).json();
        found["messages"].as_array().expect("messages").len()
    }
}

fn payload(bytes: usize) -> Value {
    let frame = json!({"a": ""}).to_string().len();
    json!({"a": "x".repeat(bytes - frame)})
}

#[test]
fn every_door_takes_the_same_messages() {
    let Some(mut doors) = Doors::open() else { return };
    for (field, value) in [
        ("to", json!("x".repeat(64))),
        ("reply_to", json!("é".repeat(128))),
        ("type", json!("request")),
        ("payload", payload(PAYLOAD_BYTES_MAX - 1)),
        ("payload", payload(PAYLOAD_BYTES_MAX)),
    ] {
        doors.message(&[(field, value)], true);
    }
    let before = doors.messages();
    for (field, value) in [
        ("to", json!("x".repeat(65))),
        ("to", json!("")),
        ("to", json!("a b")),
        ("to", json!("a*")),
        ("to", json!(">")),
        ("to", json!("a\r\nPUB x 1\r\ny")),
        ("to", json!(7)),
        ("to", json!(["ann"])),
        ("reply_to", json!("é".repeat(129))),
        ("reply_to", json!(7)),
        ("reply_to", json!({})),
        ("type", json!("loud")),
        ("type", json!(true)),
        ("payload", payload(PAYLOAD_BYTES_MAX + 1)),
        ("payload", json!([1])),
        ("payload", json!(7)),
    ] {
        doors.message(&[(field, value)], false);
    }
    assert_eq!(doors.messages(), before, "what was refused was kept");
}

#[test]
fn every_door_takes_the_same_channels() {
    let Some(mut doors) = Doors::open() else { return };
    doors.channel(|letter| letter.repeat(64), "", true);
    doors.channel(|letter| format!("one-{letter}"), &"é".repeat(4_096), true);
    doors.channel(|letter| letter.repeat(65), "", false);
    doors.channel(|letter| format!("two-{letter}"), &"é".repeat(4_097), false);
    // The hub's own spelling of names, which HTTP mends, is not tried here.
    doors.channel(|_| String::new(), "", false);
    let channels = doors.broker.http_get("/api/channels", "").json();
    assert_eq!(channels["channels"].as_array().map(Vec::len), Some(6), "{channels}");
}
