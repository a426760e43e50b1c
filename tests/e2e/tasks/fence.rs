//! Who may not touch a task: every verb, every reason, and that a refusal changes nothing.

use agentcom_tests::{QUIET, Wire};
use serde_json::Value;

use super::{broker, worker};

/// Every operation on a lease, with `lease` in it.
fn operations(lease: &str) -> [String; 5] {
    [
        format!("TASK ACCEPT t {lease}\r\n"),
        format!("TASK DECLINE t {lease} reason=busy\r\n"),
        format!("TASK PROGRESS t {lease} 3\r\n50%\r\n"),
        format!("TASK COMPLETE t {lease} 4\r\nmine\r\n"),
        format!("TASK FAIL t {lease} class=fatal 4\r\noops\r\n"),
    ]
}

/// No operation of `agent` on `lease` gets further than `code`, and none leaves a trace.
#[track_caller]
fn check(agent: &mut Wire, lease: &str, code: &str) {
    let task: u64 = lease.split(' ').next().and_then(|task| task.parse().ok()).expect("a task");
    let before = agent.ask(format!("TASK SHOW s {task}\r\n"));
    for operation in operations(lease) {
        let sentence = agent.expect_declined(&operation, code);
        if code != "not_attached" {
            assert!(sentence.contains(&task.to_string()), "which task? {sentence}");
        }
    }
    assert_eq!(agent.ask(format!("TASK SHOW s {task}\r\n")), before, "{code}");
}

#[test]
fn a_task_that_never_was_is_not_found() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    for task in ["0", "999999", "18446744073709551615"] {
        agent.expect_declined(&format!("TASK SHOW t {task}\r\n"), "not_found");
        check(&mut agent, &format!("{task} 1"), "not_found");
    }
}

#[test]
fn a_connection_without_an_agent_touches_nothing() {
    let Some(broker) = broker() else { return };
    let mut stranger = broker.connect(QUIET);
    let task = stranger.submit("q", "");
    check(&mut stranger, &format!("{task} 0"), "not_attached");
    let mut alice = worker(&broker, "alice");
    let lease = alice.offer().lease();
    check(&mut stranger, &lease, "not_attached");

    alice.send("WORKER STOP s\r\n");
    alice.expect("OK s\r\n");
    check(&mut alice, &lease, "not_attached");
}

#[test]
fn a_task_that_nobody_holds_cannot_be_worked_on() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice queues=other");
    let ready = agent.submit("q", "");
    for generation in [0, 1, 7] {
        check(&mut agent, &format!("{ready} {generation}"), "invalid_state");
    }

    let mut bob = worker(&broker, "bob");
    let lease = bob.offer().lease();
    bob.ask(format!("TASK FAIL f {lease} retry_after_ms=60000 0\r\n\r\n"));
    check(&mut agent, &lease, "invalid_state");

    let completed = agent.submit("q", "");
    let lease = bob.offer().lease();
    bob.ask(format!("TASK COMPLETE c {lease} 4\r\nbobs\r\n"));
    check(&mut agent, &lease, "invalid_state");
    check(&mut bob, &format!("{completed} 2"), "invalid_state");
}

#[test]
fn a_generation_that_is_not_in_force_is_stale() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice");
    let task = submitter.submit("q attempts=9", "");
    let old = alice.offer().lease();
    alice.ask(format!("TASK FAIL f {old} retry_after_ms=0 4\r\noops\r\n"));
    let new = alice.offer();
    assert_eq!((new.task, new.generation), (task, 3));
    for generation in ["0", "2", "4", "18446744073709551615"] {
        check(&mut alice, &format!("{task} {generation}"), "stale_generation");
    }
    // Whoever never held it is told the same.
    let mut bob = worker(&broker, "bob");
    check(&mut bob, &old, "stale_generation");
    let done = alice.ask(format!("TASK COMPLETE c {} 0\r\n\r\n", new.lease()));
    assert_eq!(done, format!("OK c task={task} state=completed"));
}

#[test]
fn another_agents_task_is_not_touched() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice");
    let mut bob = worker(&broker, "bob");
    let task = submitter.submit("q", "");
    let lease = alice.offer().lease();
    check(&mut bob, &lease, "not_owner");
    alice.ask(format!("TASK ACCEPT a {lease}\r\n"));
    check(&mut bob, &lease, "not_owner");
    let done = alice.ask(format!("TASK COMPLETE c {lease} 5\r\nalice\r\n"));
    assert_eq!(done, format!("OK c task={task} state=completed"));
}

#[test]
fn what_a_holder_did_once_it_cannot_do_otherwise() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let endings = |lease: &str| {
        [
            format!("TASK COMPLETE t {lease} 4\r\ndone\r\n"),
            format!("TASK COMPLETE t {lease} 4\r\nDone\r\n"),
            format!("TASK COMPLETE t {lease} 0\r\n\r\n"),
            format!("TASK FAIL t {lease} class=fatal 4\r\ndone\r\n"),
            format!("TASK FAIL t {lease} class=fatal 4\r\noops\r\n"),
            format!("TASK DECLINE t {lease}\r\n"),
            format!("TASK PROGRESS t {lease} 0\r\n\r\n"),
            format!("TASK ACCEPT t {lease}\r\n"),
        ]
    };
    for first in [0, 4] {
        let task = agent.submit("q", "");
        let lease = agent.offer().lease();
        let requests = endings(&lease);
        assert!(agent.ask(&requests[first]).starts_with("OK t "));
        let before: Value = agent.show(task);
        for (number, request) in requests.iter().enumerate() {
            if number != first {
                agent.expect_declined(request, "conflict");
            }
        }
        assert_eq!(agent.show(task), before);
    }
}
