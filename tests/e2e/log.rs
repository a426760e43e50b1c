//! Log lines, as whoever reads them with a program sees them, and which of them are written.

use std::fs;

use agentcom_tests::{Broker, Options, QUIET, oracle, until};
use serde_json::{Value, json};

use crate::http::{JSON, register};

/// The lines so far.
fn lines(broker: &Broker) -> Vec<Value> {
    let text = fs::read_to_string(broker.folder().join("stderr.log")).expect("its stderr");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn an_admin_says_which_lines_are_written() {
    if oracle::skips("it has no such setting") {
        return;
    }
    let broker = Broker::start(Options::default());
    let set = |level: &Value, headers: &str| {
        let headers = format!("{headers}{JSON}");
        broker.http_put("/api/admin/log-level", &headers, &json!({ "level": level }).to_string())
    };
    let of_connections = || {
        let found = lines(&broker);
        found.iter().filter(|line| line["message"] == "connection closed").count()
    };
    drop(broker.connect(QUIET));
    let admin = broker.bearer();
    set(&json!("debug"), &admin).expect(200, &json!({"status": "ok", "level": "debug"}));
    let before = of_connections();
    drop(broker.connect(QUIET));
    let told = until(|| (of_connections() > before).then_some(()));
    assert!(told.is_some(), "the end of a connection is in no line: {:?}", lines(&broker));
    for level in ["info", "notice", "warning", "error"] {
        set(&json!(level), &admin).expect(200, &json!({"status": "ok", "level": level}));
    }
    let valid = ["debug", "info", "notice", "warning", "error"];
    for bad in [json!("trace"), json!("loud"), json!("info,hyper=debug"), json!(7), Value::Null] {
        set(&bad, &admin).expect(422, &json!({"error": "invalid_level", "valid": valid}));
    }
    let agent = register(&broker, "ann").0;
    assert_eq!(set(&json!("debug"), &agent).status, 403);
    assert_eq!(set(&json!("debug"), "").status, 401);

    for line in lines(&broker) {
        let keys: Vec<&String> = line.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["message", "metadata", "severity", "time"], "{line}");
    }
}

#[test]
fn what_happens_is_told_in_the_lines_of_the_hub() {
    if oracle::skips("it has no such lines") {
        return;
    }
    let broker = Broker::start(Options::default());
    let set = |level: &str| {
        let headers = broker.bearer() + JSON;
        broker.http_put("/api/admin/log-level", &headers, &json!({ "level": level }).to_string())
    };
    let mut wire = broker.connect(QUIET);
    wire.submit("jobs", "before");
    assert_eq!(set("debug").status, 200);
    let task = wire.submit("jobs attempts=1 priority=low", "x");
    let mail = r#"{"to":"ann","payload":{}}"#;
    broker.http_post("/api/message", &(broker.bearer() + JSON), mail);
    let offer = wire.take("jobs max=2").pop().expect("two tasks");
    assert_eq!(offer.task, task);
    let failed = wire.ask(format!("TASK FAIL f {} 2\r\nno\r\n", offer.lease()));
    assert!(failed.starts_with("OK f"), "{failed}");

    let events = || -> Vec<Value> {
        let lines = lines(&broker).into_iter().map(|line| line["message"].clone());
        lines.filter(|message| message.get("telemetry_event").is_some()).collect()
    };
    let dead = |event: &Value| event["telemetry_event"] == "agent_com.task.dead_letter";
    assert!(until(|| events().iter().any(dead).then_some(())).is_some(), "{:?}", events());
    let events = events();
    let of_task: Vec<&Value> =
        events.iter().filter(|event| event["metadata"]["task_id"] == task).collect();
    let names: Vec<&str> =
        of_task.iter().filter_map(|event| event["telemetry_event"].as_str()).collect();
    assert_eq!(names[0], "agent_com.task.submit", "{names:?}");
    assert_eq!(names[1], "agent_com.task.assign", "{names:?}");
    assert!(of_task[1]["measurements"]["wait_ms"].is_u64(), "{}", of_task[1]);
    let message =
        events.iter().find(|event| event["telemetry_event"] == "agent_com.message.routed");
    assert_eq!(message.expect("the message")["metadata"]["to"], "ann");

    assert_eq!(set("info").status, 200);
    wire.submit("jobs", "after");
    wire.flush();
    let submits = |events: &[Value]| {
        events.iter().filter(|event| event["telemetry_event"] == "agent_com.task.submit").count()
    };
    let all = lines(&broker).into_iter().map(|line| line["message"].clone()).collect::<Vec<_>>();
    assert_eq!(submits(&all), 1, "only while they are asked for");
}

#[test]
fn a_request_has_a_number_on_its_lines_and_in_its_answer() {
    if oracle::skips("it numbers no requests") {
        return;
    }
    let broker = Broker::start(Options::default());
    let level = json!({"level": "debug"}).to_string();
    broker.http_put("/api/admin/log-level", &(broker.bearer() + JSON), &level);
    let brought = |number: &str| {
        let answer = broker.http_get("/api/channels/nope", &format!("x-request-id: {number}\r\n"));
        let found = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
        (answer.status, found.expect("a number").to_owned())
    };
    assert_eq!(brought("order-7"), (404, "order-7".to_owned()));
    for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
        let (_, made) = brought(bad);
        assert!(made.len() == 16 && made.bytes().all(|c| c.is_ascii_hexdigit()), "{bad}: {made}");
    }
    let of_order =
        |line: &Value| line["message"] == "answered" && line["metadata"]["request_id"] == "order-7";
    let line = until(|| lines(&broker).into_iter().find(of_order)).expect("its line");
    let metadata = &line["metadata"];
    assert_eq!(
        (&metadata["method"], &metadata["route"], &metadata["status"], &metadata["error"]),
        (&json!("GET"), &json!("/api/channels/{id}"), &json!(404), &json!("channel_not_found"))
    );
}
