//! Every change of a task is published, by the broker alone.

use agentcom_tests::{Broker, QUIET, Wire};
use serde_json::{Value, json};

use super::{broker, worker};

/// A connection that hears of every change.
#[track_caller]
fn watcher(broker: &Broker) -> Wire {
    let mut wire = broker.connect(QUIET).case("watcher");
    wire.send("SUB $AC.EVENT.TASK.> 1\r\n");
    wire.flush();
    wire
}

/// The next event, without its number and time; its subject must end in its state.
#[track_caller]
fn event(watcher: &mut Wire) -> Value {
    let message = watcher.expect_line();
    let (line, body) = message.split_once("\r\n").unwrap_or((&message, ""));
    let mut event: Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?}: {error}"));
    let state = event["state"].as_str().unwrap_or_default();
    assert_eq!(line, format!("MSG $AC.EVENT.TASK.{state} 1 {}", body.len()));
    for key in ["seq", "at_ms"] {
        let value = event.as_object_mut().and_then(|fields| fields.remove(key));
        assert!(value.is_some_and(|value| value.as_u64() > Some(0)), "{key} of {event}");
    }
    event
}

#[test]
fn whoever_subscribes_sees_every_change_in_order() {
    let Some(broker) = broker() else { return };
    let mut watcher = watcher(&broker);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("resize attempts=2", "");
    let fields = |state: &str, generation: u64| {
        let mut event = json!({"task": task, "queue": "resize", "state": state});
        event["generation"] = generation.into();
        event
    };
    let held = |state: &str, generation: u64| {
        let mut event = fields(state, generation);
        event["agent"] = "alice".into();
        event
    };
    let lease = agent.offer().lease();
    assert_eq!(event(&mut watcher), fields("ready", 0));
    assert_eq!(event(&mut watcher), held("offered", 1));
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    assert_eq!(event(&mut watcher), held("running", 1));
    agent.ask(format!("TASK PROGRESS p {lease} 3\r\n50%\r\n"));
    let mut report = held("running", 1);
    (report["progress"], report["progress_seq"]) = ("50%".into(), 1.into());
    assert_eq!(event(&mut watcher), report);
    agent.ask(format!("TASK FAIL f {lease} retry_after_ms=1200 4\r\noops\r\n"));
    assert_eq!(event(&mut watcher), fields("scheduled", 2));
    assert_eq!(event(&mut watcher), fields("ready", 2));
    assert_eq!(event(&mut watcher), held("offered", 3));
    let lease = agent.offer().lease();
    agent.ask(format!("TASK FAIL f {lease} 4\r\noops\r\n"));
    // What accepts as well says so.
    let mut last = event(&mut watcher);
    if last == held("running", 3) {
        last = event(&mut watcher);
    }
    assert_eq!(last, held("dead", 3));
    watcher.expect_nothing();
}

#[test]
fn a_refused_operation_is_no_change() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "");
    agent.offer();
    let mut watcher = watcher(&broker);
    agent.expect_declined(&format!("TASK COMPLETE c {task} 7 0\r\n\r\n"), "stale_generation");
    watcher.expect_nothing();
    agent.send(format!("TASK COMPLETE c {task} 1 0\r\n\r\n"));
    agent.expect(format!("OK c task={task} state=completed\r\n"));
    assert_eq!(event(&mut watcher)["state"], "completed");
    // Neither is a repeated one.
    agent.ask(format!("TASK COMPLETE c {task} 1 0\r\n\r\n"));
    watcher.expect_nothing();
}

#[test]
fn only_the_broker_publishes_events() {
    let Some(broker) = broker() else { return };
    let mut watcher = watcher(&broker);
    let mut forger = broker.connect(QUIET).case("forger");
    for subject in ["$AC.EVENT.TASK.completed", "$AC.EVENT.x", "$AC.EVENT.TASK.ready.x"] {
        forger.send(format!("PUB {subject} 2\r\n{{}}\r\n"));
        forger.expect_error(&format!("Permissions Violation for Publish to \"{subject}\""));
    }
    forger.expect_nothing();
    watcher.expect_nothing();
    // Its neighbours are subjects like any other.
    forger.send("SUB $AC.> 1\r\nPUB $AC.EVENTS 2\r\nhi\r\nPUB $AC 0\r\n\r\n");
    forger.expect("MSG $AC.EVENTS 1 2\r\nhi\r\n");
    forger.expect_nothing();
}
