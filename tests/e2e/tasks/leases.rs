//! From submit to the end: what the holder of a lease can do with it, and what time does to it.

use std::time::{Duration, Instant};

use agentcom_tests::{Options, QUIET, Wire};
use serde_json::json;

use super::{broker, broker_with, worker};

/// Offers lapse and graces run out after so many milliseconds, where a test waits for that. Long
/// enough for a busy machine to answer an offer in time.
const SHORT_MS: u64 = 1000;

/// What is timed ends by so much too early, at most.
const TICK: Duration = Duration::from_millis(1);

/// Fail the offered task at once, and give what became of it.
#[track_caller]
fn fail(agent: &mut Wire, options: &str) -> String {
    let lease = agent.offer().lease();
    agent.ask(format!("TASK FAIL f {lease} {options} 4\r\noops\r\n"))
}

#[test]
fn a_task_goes_from_submit_to_completed() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let task = submitter.submit("resize needs=gpu priority=high", "cat.png");
    let view = submitter.show(task);
    assert_eq!(view["state"], "ready", "{view}");
    assert_eq!(view["agent"], json!(null), "{view}");

    let mut alice = worker(&broker, "alice can=gpu,png");
    alice.expect(format!(
        "OFFER {task} 1 queue=resize attempt=1 offer_ms=10000 lease_ms=30000 7\r\ncat.png\r\n"
    ));
    assert_eq!(submitter.show(task)["state"], "offered");
    alice.send(format!("TASK ACCEPT a {task} 1\r\n"));
    alice.expect(format!("OK a task={task} state=running\r\n"));
    alice.send(format!("TASK PROGRESS p {task} 1 3\r\n50%\r\n"));
    alice.expect(format!("OK p task={task} seq=1\r\n"));
    let view = submitter.show(task);
    assert_eq!((&view["state"], &view["progress"]), (&json!("running"), &json!("50%")), "{view}");
    alice.send(format!("TASK COMPLETE c {task} 1 4\r\ndone\r\n"));
    alice.expect(format!("OK c task={task} state=completed\r\n"));
    alice.expect_nothing();

    let mut view = submitter.show(task);
    for clock in ["submitted_ms", "updated_ms"] {
        let at = view.as_object_mut().and_then(|fields| fields.remove(clock));
        assert!(at.and_then(|at| at.as_u64()) > Some(1_600_000_000_000), "{clock} of {view}");
    }
    // A report is not kept on disk; whether it outlives its task is nobody's business.
    view.as_object_mut().map(|fields| fields.remove("progress"));
    assert_eq!(
        view,
        json!({"task": task, "queue": "resize", "state": "completed", "generation": 1,
            "priority": 1, "needs": ["gpu"], "agent": "alice", "attempts": 0, "attempts_max": 3,
            "lost": 0, "seq": 5, "progress_seq": 1, "payload": "cat.png", "result": "done"})
    );
}

#[test]
fn the_first_report_accepts_as_well() {
    let Some(broker) = broker() else { return };
    for verb in ["PROGRESS", "COMPLETE", "FAIL"] {
        let mut agent = worker(&broker, &format!("agent-{verb} queues={verb}"));
        let task = agent.submit(verb, "");
        let lease = agent.offer().lease();
        let answer = agent.ask(format!("TASK {verb} t {lease} 1\r\nx\r\n"));
        let outcome = answer.strip_prefix(&format!("OK t task={task} "));
        match (verb, outcome) {
            ("PROGRESS", Some("seq=1")) | ("COMPLETE", Some("state=completed")) => {}
            // The back-off is drawn from 0 to a second.
            ("FAIL", Some("state=scheduled" | "state=ready")) => {}
            _ => panic!("{verb}: {answer}"),
        }
    }
}

#[test]
fn a_repeated_operation_is_answered_the_same_and_says_so() {
    let Some(broker) = broker() else { return };
    let cases = [
        ("ACCEPT", "", "", "running"),
        ("COMPLETE", " 4\r\ndone", "", "completed"),
        ("FAIL", " 4\r\noops", " class=fatal", "dead"),
        ("FAIL", " 4\r\noops", " retry_after_ms=60000", "scheduled"),
        ("DECLINE", "", " reason=busy", "ready"),
    ];
    for (number, (verb, body, options, state)) in cases.into_iter().enumerate() {
        let queue = format!("q{number}");
        let mut agent = worker(&broker, &format!("agent-{number} queues={queue}"));
        let task = agent.submit(&queue, "");
        let lease = agent.offer().lease();
        let request = format!("TASK {verb} t {lease}{options}{body}\r\n");
        let answer = format!("OK t task={task} state={state}");
        assert_eq!(agent.ask(&request), answer, "{request:?}");
        for _ in 0..2 {
            assert_eq!(agent.ask(&request), format!("{answer} duplicate=true"), "{request:?}");
        }
        agent.expect_nothing();
    }
}

#[test]
fn bodies_are_any_bytes_up_to_the_limit() {
    const LIMIT: usize = 4096;
    let options = Options::default().limit("payload_bytes_max", LIMIT as u64);
    let Some(broker) = broker_with(options) else { return };
    let mut agent = worker(&broker, "alice");
    let strange: &[u8] = b"\0\xff\r\nTASK SHOW x 1\r\n\r\nPING\r\n";
    let (full, over) = (vec![b'x'; LIMIT], LIMIT + 1);
    for body in [b"".as_slice(), strange, &full] {
        let size = body.len();
        let submit = [format!("TASK SUBMIT s q {size}\r\n").as_bytes(), body, b"\r\n"].concat();
        assert!(agent.ask(submit).starts_with("OK s task="), "{size} bytes");
        let offer = agent.offer();
        assert_eq!(offer.payload, body, "{size} bytes");
        let complete = format!("TASK COMPLETE c {} {size}\r\n", offer.lease());
        let answer = agent.ask([complete.as_bytes(), body, b"\r\n"].concat());
        assert_eq!(answer, format!("OK c task={} state=completed", offer.task));
    }
    let mut wire = broker.connect(QUIET);
    wire.send(format!("TASK SUBMIT s q {over}\r\n"));
    wire.expect_end("-ERR 'Maximum Payload Violation'\r\n");
}

#[test]
fn a_result_that_is_no_text_is_shown_in_base64() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "");
    let lease = agent.offer().lease();
    let complete =
        [format!("TASK COMPLETE c {lease} 3\r\n").as_bytes(), b"\0\xff\xfe\r\n"].concat();
    agent.ask(complete);
    let view = agent.show(task);
    assert_eq!(view["result_base64"], "AP/+", "{view}");
    assert_eq!(view.get("result"), None, "{view}");
}

#[test]
fn a_failed_attempt_waits_and_is_offered_again() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "hi");
    let begun = Instant::now();
    // Longer than the back-off of a first failure can be, so it is the agent's wish that counts.
    let answer = fail(&mut agent, "retry_after_ms=1200");
    assert_eq!(answer, format!("OK f task={task} state=scheduled"));
    let view = agent.show(task);
    assert_eq!((&view["attempts"], &view["error"]), (&json!(1), &json!("oops")), "{view}");

    let offer = agent.offer();
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(1200) - TICK, "offered again after {waited:?}");
    assert_eq!((offer.task, offer.generation, offer.field("attempt")), (task, 3, "2"));
    assert_eq!(offer.payload, b"hi");
    agent.send(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
    agent.expect(format!("OK c task={task} state=completed\r\n"));
}

#[test]
fn a_fatal_failure_is_the_last() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q attempts=5", "");
    assert_eq!(fail(&mut agent, "class=fatal"), format!("OK f task={task} state=dead"));
    agent.expect_nothing();
    let view = agent.show(task);
    for (key, value) in [
        ("state", json!("dead")),
        ("dead", json!("non_retryable")),
        ("error", json!("oops")),
        ("agent", json!("alice")),
        ("attempts", json!(1)),
        ("generation", json!(1)),
    ] {
        assert_eq!(view[key], value, "{key} of {view}");
    }
}

#[test]
fn a_task_is_dead_when_its_attempts_are_used_up() {
    let Some(broker) = broker() else { return };
    for attempts in [1, 2] {
        let mut agent = worker(&broker, "alice");
        let task = agent.submit(&format!("q attempts={attempts}"), "");
        for attempt in 1..attempts {
            let answer = fail(&mut agent, "class=retry");
            let goes_on =
                ["scheduled", "ready"].map(|state| format!("OK f task={task} state={state}"));
            assert!(goes_on.contains(&answer), "attempt {attempt} of {attempts}: {answer}");
        }
        assert_eq!(fail(&mut agent, ""), format!("OK f task={task} state=dead"));
        agent.expect_nothing();
        let view = agent.show(task);
        assert_eq!(view["dead"], "failed", "{view}");
        assert_eq!(view["attempts"], attempts, "{view}");
    }
}

#[test]
fn a_declined_task_goes_to_another_agent_and_never_back() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice");
    let task = submitter.submit("q", "hi");
    let lease = alice.offer().lease();
    alice.send(format!("TASK DECLINE d {lease} reason=busy\r\n"));
    alice.expect(format!("OK d task={task} state=ready\r\n"));
    // She is idle, it is ready, and still it is not hers.
    alice.expect_nothing();
    let next = submitter.submit("q", "");
    assert_eq!(alice.offer().task, next);

    let mut bob = worker(&broker, "bob");
    let offer = bob.offer();
    assert_eq!((offer.task, offer.generation, offer.field("attempt")), (task, 3, "1"));
    bob.send(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
    bob.expect(format!("OK c task={task} state=completed\r\n"));
    assert_eq!(submitter.show(task)["agent"], "bob");
}

#[test]
fn running_work_cannot_be_declined() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    agent.expect_declined(&format!("TASK DECLINE d {lease}\r\n"), "invalid_state");
    assert_eq!(agent.show(task)["state"], "running");
}

#[test]
fn an_offer_that_nobody_answers_goes_to_somebody_else() {
    let Some(broker) = broker_with(Options::default().task("offer_ms", SHORT_MS)) else { return };
    let mut submitter = broker.connect(QUIET);
    let mut mute = worker(&broker, "mute");
    let task = submitter.submit("q", "hi");
    mute.expect(format!(
        "OFFER {task} 1 queue=q attempt=1 offer_ms={SHORT_MS} lease_ms=30000 2\r\nhi\r\n"
    ));
    let mut other = worker(&broker, "other");
    mute.expect(format!("REVOKED {task} 1 state=ready\r\n"));
    let offer = other.offer();
    assert_eq!((offer.task, offer.generation, offer.field("attempt")), (task, 3, "1"));
    other.ask(format!("TASK ACCEPT a {}\r\n", offer.lease()));
    mute.expect_declined(&format!("TASK ACCEPT a {task} 1\r\n"), "stale_generation");
}

#[test]
fn a_lease_ends_when_its_agent_falls_silent() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut silent = worker(&broker, "silent");
    let task = submitter.submit("q lease_ms=1000", "hi");
    let lease = silent.offer().lease();
    let accepted = Instant::now();
    silent.send(format!("TASK ACCEPT a {lease}\r\n"));
    silent.expect(format!("OK a task={task} state=running\r\n"));

    let mut other = worker(&broker, "other");
    let offer = other.offer();
    let waited = accepted.elapsed();
    assert!(waited >= Duration::from_secs(1) - TICK, "taken away after {waited:?}");
    assert_eq!((offer.task, offer.generation, offer.field("attempt")), (task, 3, "1"));
    let view = submitter.show(task);
    assert_eq!((&view["lost"], &view["agent"]), (&json!(1), &json!("other")), "{view}");

    silent.expect(format!("REVOKED {task} 1 state=ready\r\n"));
    let late = format!("TASK COMPLETE c {lease} 4\r\nlate\r\n");
    silent.expect_declined(&late, "stale_generation");
    other.send(format!("TASK COMPLETE c {} 4\r\nmine\r\n", offer.lease()));
    other.expect(format!("OK c task={task} state=completed\r\n"));
    assert_eq!(submitter.show(task)["result"], "mine");
}

#[test]
fn any_sign_of_life_keeps_a_lease() {
    // `Wire` answers the broker's PINGs, and a PONG is a sign of life.
    let options = Options::default().timeout("ping_interval_ms", 200).timeout("ping_max", 50);
    let Some(broker) = broker_with(options) else { return };
    let mut submitter = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice credit=2");
    let task = submitter.submit("q lease_ms=2000", "");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));

    // Wait for longer than the lease, for something that comes after so much time.
    let slow = submitter.submit("q", "");
    assert_eq!(
        fail(&mut agent, "retry_after_ms=3000"),
        format!("OK f task={slow} state=scheduled")
    );
    assert_eq!(agent.offer().task, slow);
    agent.send(format!("TASK COMPLETE c {lease} 0\r\n\r\n"));
    agent.expect(format!("OK c task={task} state=completed\r\n"));
}

#[test]
fn an_agent_that_is_gone_for_longer_than_its_grace_loses_its_leases() {
    let Some(broker) = broker_with(Options::default().task("grace_ms", SHORT_MS)) else { return };
    let mut submitter = broker.connect(QUIET);
    let mut gone = worker(&broker, "gone credit=2");
    let running = submitter.submit("q", "");
    let lease = gone.offer().lease();
    gone.ask(format!("TASK ACCEPT a {lease}\r\n"));
    let offered = submitter.submit("q", "");
    assert_eq!(gone.offer().task, offered);
    drop(gone);

    let mut heir = worker(&broker, "heir credit=2");
    let mut inherited = [heir.offer(), heir.offer()];
    inherited.sort_by_key(|offer| offer.task);
    for (offer, task) in inherited.iter().zip([running, offered]) {
        assert_eq!((offer.task, offer.generation), (task, 3));
    }
    let mut back = worker(&broker, "gone");
    let late = format!("TASK COMPLETE c {lease} 0\r\n\r\n");
    back.expect_declined(&late, "stale_generation");
    assert_eq!(submitter.show(running)["lost"], 1);
    assert_eq!(submitter.show(offered)["lost"], 0);
}
