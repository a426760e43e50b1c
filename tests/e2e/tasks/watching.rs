//! Who wants to know: TASK AWAIT, TASK WATCH and their like, over both doors.

use agentcom_tests::{Broker, QUIET, Wire};
use serde_json::{Value, json};

use super::{broker, worker};

/// The next operation is an `EVENT` of `task`; its fields behind the time, and its body.
#[track_caller]
fn event(wire: &mut Wire, task: u64) -> String {
    let operation = wire.expect_line();
    let behind = operation.strip_prefix(&format!("EVENT {task} seq=")).expect("an event");
    let (seq, behind) = behind.split_once(" at_ms=").expect("a time");
    let (at_ms, behind) = behind.split_once(' ').expect("more");
    assert!(at_ms.parse::<u64>().is_ok(), "{operation}");
    format!("{seq} {behind}")
}

/// A connection that hears messages to `in.>`.
fn listener(broker: &Broker) -> Wire {
    let mut wire = broker.connect(QUIET);
    wire.send("SUB in.> 1\r\n");
    wire.flush();
    wire
}

#[track_caller]
fn send_json(wire: &mut Wire, endpoint: &str, body: &Value) {
    let body = body.to_string();
    wire.send(format!("PUB $AC.API.{endpoint} in.answer {}\r\n{body}\r\n", body.len()));
}

/// The next message, which comes to `in.` and `to`.
#[track_caller]
fn heard(wire: &mut Wire, to: &str) -> Value {
    let message = wire.expect_line();
    let (line, body) = message.split_once("\r\n").unwrap_or((&message, ""));
    assert!(line.starts_with(&format!("MSG in.{to} 1 ")), "{message}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?}: {error}"))
}

#[test]
fn a_watcher_hears_every_change_in_order() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q", "hi");
    let view = wire.ask_json(&format!("TASK WATCH w {task}"));
    assert_eq!((&view["state"], &view["seq"]), (&json!("ready"), &json!(1)), "{view}");
    let mut agent = worker(&broker, "alice");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    agent.ask(format!("TASK PROGRESS p {lease} 3\r\n50%\r\n"));
    agent.ask(format!("TASK COMPLETE c {lease} 4\r\ndone\r\n"));
    assert_eq!(event(&mut wire, task), "2 state=offered generation=1 agent=alice 0\r\n");
    assert_eq!(event(&mut wire, task), "3 state=running generation=1 agent=alice 0\r\n");
    assert_eq!(
        event(&mut wire, task),
        "4 state=running generation=1 agent=alice progress_seq=1 3\r\n50%"
    );
    assert_eq!(event(&mut wire, task), "5 state=completed generation=1 agent=alice 0\r\n");
    wire.expect_nothing();
}

#[test]
fn a_watcher_that_comes_back_misses_nothing() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "hi");
    let lease = agent.offer().lease();
    let mut first = broker.connect(QUIET);
    first.ask_json(&format!("TASK WATCH w {task}"));
    agent.ask(format!("TASK PROGRESS p {lease} 1\r\na\r\n"));
    assert!(event(&mut first, task).starts_with("3 state=running"));
    drop(first);
    agent.ask(format!("TASK PROGRESS p {lease} 1\r\nb\r\n"));
    let mut second = broker.connect(QUIET);
    second.ask_json(&format!("TASK WATCH w {task} from=3"));
    assert!(event(&mut second, task).ends_with("progress_seq=1 1\r\na"));
    assert!(event(&mut second, task).ends_with("progress_seq=2 1\r\nb"));
    second.expect_nothing();
    second.send(format!("TASK UNWATCH u {task}\r\n"));
    second.expect("OK u\r\n");
    agent.ask(format!("TASK PROGRESS p {lease} 1\r\nc\r\n"));
    second.expect_nothing();
}

#[test]
fn stopping_a_worker_does_not_end_its_connections_watches() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q needs=nobody", "");
    wire.start_worker("alice");
    wire.ask_json(&format!("TASK WATCH w {task}"));
    wire.send("WORKER STOP s\r\n");
    wire.expect("OK s\r\n");
    broker.connect(QUIET).ask(format!("TASK CANCEL c {task}\r\n"));
    assert!(event(&mut wire, task).starts_with("2 state=cancelled"));
}

#[test]
fn who_awaits_a_task_is_answered_when_it_is_over() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q", "hi");
    wire.send(format!("TASK AWAIT long {task} timeout_ms=60000\r\n"));
    let view = wire.ask_json(&format!("TASK AWAIT short {task} timeout_ms=100"));
    assert_eq!(view["state"], "ready", "the wait was over first: {view}");
    let mut agent = worker(&broker, "alice");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK COMPLETE c {lease} 4\r\ndone\r\n"));
    let answer = wire.expect_line();
    assert!(answer.starts_with("OK long ") && answer.contains(r#""result":"done""#), "{answer}");
    // What is over is answered at once.
    let view = wire.ask_json(&format!("TASK AWAIT again {task}"));
    assert_eq!(view["state"], "completed");
    wire.expect_declined("TASK AWAIT a 999\r\n", "not_found");
}

#[test]
fn json_requests_watch_and_await_too() {
    let Some(broker) = broker() else { return };
    let mut wire = listener(&broker);
    send_json(&mut wire, "TASK.SUBMIT", &json!({"queue": "q"}));
    let task = heard(&mut wire, "answer")["task"].clone();
    send_json(&mut wire, "TASK.WATCH", &json!({"task": task}));
    assert_eq!(heard(&mut wire, "answer")["error"]["code"], "invalid", "deliver is missing");
    send_json(&mut wire, "TASK.WATCH", &json!({"task": task, "deliver": "in.events"}));
    assert_eq!(heard(&mut wire, "answer")["state"], "ready");
    send_json(&mut wire, "TASK.AWAIT", &json!({"task": task}));
    wire.flush();
    broker.connect(QUIET).ask(format!("TASK CANCEL c {task} reason=enough\r\n"));
    let mut both = [wire.expect_line(), wire.expect_line()];
    both.sort();
    let [answer, event] = &both;
    assert!(answer.starts_with("MSG in.answer ") && answer.contains(r#""cancelled":"enough""#));
    assert!(event.starts_with("MSG in.events ") && event.contains(r#""type":"event""#), "{event}");
    assert!(event.contains(r#""state":"cancelled""#), "{event}");
    wire.expect_nothing();
}
