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
