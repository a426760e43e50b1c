//! Tasks that wait for tasks, for a time, or for nothing because they were submitted before.

use agentcom_tests::{QUIET, Wire};
use serde_json::{Value, json};

use super::{broker, worker};

/// `TASK BATCH`; its answer.
#[track_caller]
fn batch(wire: &mut Wire, tasks: &Value) -> String {
    let body = tasks.to_string();
    wire.ask(format!("TASK BATCH b {}\r\n{body}\r\n", body.len()))
}

/// Complete the next offer; its payload.
#[track_caller]
fn complete_next(agent: &mut Wire) -> String {
    let offer = agent.offer();
    let answer = agent.ask(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
    assert!(answer.ends_with("state=completed"), "{answer}");
    String::from_utf8(offer.payload).expect("text")
}

#[test]
fn a_task_begins_when_those_before_it_have_ended() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let first = wire.submit("q", "first");
    let answer = wire.ask(format!("TASK SUBMIT s q after={first} 6\r\nsecond\r\n"));
    let second = first + 1;
    assert_eq!(answer, format!("OK s task={second} state=held generation=0"));
    assert_eq!(
        wire.show(second)["after"],
        json!([{"task": first, "on": "success", "else": "block"}])
    );
    let mut agent = worker(&broker, "alice");
    assert_eq!(complete_next(&mut agent), "first");
    assert_eq!(complete_next(&mut agent), "second");
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let tasks = json!([
        {"queue": "q", "name": "deploy", "payload": "deploy", "after": ["build", "test"]},
        {"queue": "q", "name": "test", "payload": "test", "after": [{"task": "build"}]},
        {"queue": "q", "name": "build", "payload": "build"},
    ]);
    assert_eq!(batch(&mut wire, &tasks), "OK b tasks=1,2,3");
    let cycle = json!([
        {"queue": "q", "name": "a", "after": ["b"]},
        {"queue": "q", "name": "b", "after": ["a"]},
    ]);
    assert!(batch(&mut wire, &cycle).starts_with("ERR b cycle "));
    let unknown = json!([{"queue": "q"}, {"queue": "q", "after": [999]}]);
    assert!(batch(&mut wire, &unknown).starts_with("ERR b unknown_dependency "));
    let mut agent = worker(&broker, "alice");
    let done = [(); 3].map(|()| complete_next(&mut agent));
    assert_eq!(done, ["build", "test", "deploy"]);
    agent.expect_nothing();
}

#[test]
fn what_follows_a_bad_end_is_said_by_the_edge() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let root = wire.submit("q", "");
    let cases = [(":any", "ready"), ("", "held"), (":cancel", "cancelled"), (":fail", "dead")];
    let tasks = cases.map(|(end, _)| {
        let answer = wire.ask(format!("TASK SUBMIT s q after={root}{end} 0\r\n\r\n"));
        let task = answer.strip_prefix("OK s task=").and_then(|rest| rest.split(' ').next());
        task.and_then(|task| task.parse::<u64>().ok()).expect("a task")
    });
    wire.send(format!("TASK CANCEL c {root} reason=changed-my-mind\r\n"));
    wire.expect(format!("OK c task={root} state=cancelled\r\n"));
    assert_eq!(wire.show(root)["cancelled"], "changed-my-mind");
    for (task, (end, state)) in tasks.into_iter().zip(cases) {
        assert_eq!(wire.show(task)["state"], state, "{end}");
    }
    assert_eq!(wire.show(tasks[1])["after"][0]["blocked"], true);
    assert_eq!(wire.show(tasks[3])["dead"], "dep_failed");
}

#[test]
fn a_task_can_start_later() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let answer = wire.ask("TASK SUBMIT s q delay_ms=300 4\r\nlate\r\n");
    assert_eq!(answer, "OK s task=1 state=scheduled generation=0");
    assert!(wire.show(1)["due_ms"].as_u64() > Some(1_600_000_000_000));
    let mut agent = worker(&broker, "alice");
    assert_eq!(complete_next(&mut agent), "late");
    // The past is now.
    let answer = wire.ask("TASK SUBMIT s q at_ms=1000 0\r\n\r\n");
    assert_eq!(answer, "OK s task=2 state=ready generation=0");
}

#[test]
fn the_same_work_is_recognised_by_its_key() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let first = wire.submit("q dedup=k", "");
    let again = wire.ask("TASK SUBMIT s q dedup=k 0\r\n\r\n");
    assert_eq!(again, format!("OK s task={first} state=ready generation=0 existing=true"));
    wire.expect_declined("TASK SUBMIT s q dedup=k dedup_mode=reject 0\r\n\r\n", "exists");
    assert_ne!(wire.submit("p dedup=k", ""), first, "a key belongs to its queue");
}

#[test]
fn labels_decide_who_may_take_a_task() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.submit("q labels=mem>=16,os=linux", "large");
    wire.submit("q labels=mem<16", "small");
    wire.submit("q labels=gpu", "gpu");
    let mut small = worker(&broker, "small labels=mem:8,os:linux");
    assert_eq!(complete_next(&mut small), "small");
    small.expect_nothing();
    let mut large = worker(&broker, "large labels=mem:64,os:linux,gpu");
    assert_eq!([(); 2].map(|()| complete_next(&mut large)), ["large", "gpu"]);
}
