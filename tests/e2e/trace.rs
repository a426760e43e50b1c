//! The trace of a task goes from whoever submits it to whoever works on it, through whatever doors.

use agentcom_tests::{Broker, Options, QUIET, oracle};
use serde_json::{Value, json};

use crate::http::JSON;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_trace_goes_from_submit_to_worker_and_is_shown() {
    if oracle::skips("it has no tasks") {
        return;
    }
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(r#"{"verbose":false,"headers":true}"#);
    let submit = |parent: &str| {
        let headers = format!("{}{JSON}traceparent: {parent}\r\n", broker.bearer());
        let body = r#"{"description":"x","queue":"jobs"}"#;
        let answer = broker.http_post("/api/tasks", &headers, body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["task_id"].as_str().expect("an id").to_owned()
    };
    // Over HTTP.
    let id = submit(PARENT);
    let shown = broker.http_get(&format!("/api/tasks/{id}"), &broker.bearer()).json();
    assert_eq!(shown["traceparent"], PARENT);
    let number = u64::from_str_radix(id.strip_prefix("task-").expect("a prefix"), 16).unwrap();
    assert_eq!(wire.show(number)["headers"]["traceparent"], PARENT);
    // One that makes no sense is none, and no reason to refuse a task.
    let id = submit("00-nonsense-01");
    let shown = broker.http_get(&format!("/api/tasks/{id}"), &broker.bearer()).json();
    assert!(shown.get("traceparent").is_none(), "{shown}");

    // By a subject, and on to the worker.
    let mut alice = broker.connect(QUIET);
    alice.start_worker("alice queues=traced");
    let body = json!({"queue": "traced", "payload": "x", "headers": {"own": "1"}}).to_string();
    let block = format!("NATS/1.0\r\nTraceparent: {PARENT}\r\ntracestate: a=b\r\n\r\n");
    let (head, all) = (block.len(), block.len() + body.len());
    wire.send(format!("SUB in 1\r\nHPUB $AC.API.TASK.SUBMIT in {head} {all}\r\n{block}{body}\r\n"));
    let kept = wire.expect_line();
    assert!(kept.contains("\"task\""), "{kept}");
    let offer = alice.offer();
    let headers = wire.show(offer.task)["headers"].clone();
    assert_eq!(headers, json!({"own": "1", "traceparent": PARENT, "tracestate": "a=b"}));
    let (bytes, payload) =
        (offer.field("headers_bytes").parse().expect("a number"), &offer.payload);
    let handed_on: Value = serde_json::from_slice(&payload[..bytes]).expect("headers");
    assert_eq!((&handed_on, &payload[bytes..]), (&headers, &b"x"[..]));
}
