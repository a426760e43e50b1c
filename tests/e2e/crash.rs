//! What was acknowledged survives `kill -9` (promises R1, R13 and R15): no task is lost, none is
//! done twice, and whoever worked on something goes on with it.
//!
//! The first test is a crowd of clients against a broker that is killed again and again; the
//! others are its single steps, to find a fault that it shows.

mod damage;
mod doors;
mod poison;
mod scene;
mod writes;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use agentcom_tests::{Broker, Options, QUIET, Random, Wire, oracle};
use serde_json::json;

use doors::Door;
use scene::Scene;

/// A broker; `None` where nats-server stands in for it.
fn broker() -> Option<Broker> {
    let skips = oracle::skips("it keeps nothing without JetStream");
    (!skips).then(|| Broker::start(Options::default()))
}

fn kill_and_start(broker: &mut Broker) {
    broker.kill();
    broker.start_again();
}

fn worker(broker: &Broker, words: &str) -> Wire {
    let mut wire = broker.connect(QUIET).case(words);
    wire.start_worker(words);
    wire
}

/// Complete `lease`, which is accepted now and was not before.
#[track_caller]
fn complete(agent: &mut Wire, task: u64, generation: u64, result: &str) {
    let size = result.len();
    let request = format!("TASK COMPLETE c {task} {generation} {size}\r\n{result}\r\n");
    assert_eq!(agent.ask(request), format!("OK c task={task} state=completed"));
}

#[test]
fn a_crowd_loses_nothing_and_does_nothing_twice_while_the_broker_is_killed_again_and_again() {
    const JOBS: usize = 1_000;
    const KILLS: usize = 10;
    const CROWD: [Door; 8] = [
        Door::Words,
        Door::Json,
        Door::Frames,
        Door::Queue,
        Door::Words,
        Door::Json,
        Door::Frames,
        Door::Queue,
    ];
    if oracle::skips("it keeps nothing without JetStream") {
        return;
    }
    // For the leases of those who took work and were not told.
    let mut broker = Broker::start(Options::default().task("restart_grace_ms", 5_000));
    let mut random = Random::seeded();
    let scene = Scene::new(broker.tcp());
    let mut kills_amid = 0;
    thread::scope(|threads| {
        for (number, door) in CROWD.into_iter().enumerate() {
            let (share, scene) = (JOBS / CROWD.len(), &scene);
            let jobs = number * share..(number + 1) * share;
            threads.spawn(move || scene::submit(scene, door, jobs));
            threads.spawn(move || scene::work(scene, door, &format!("agent-{number}")));
        }
        // Every job is one step when it is acknowledged and one when it is completed; the kills
        // are spread over all of them, each at a random step of its stretch.
        let stretch = 2 * JOBS / (KILLS + 1);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for kill in 0..KILLS {
                let step = kill * stretch + 1 + random.below(stretch);
                scene.wait(&format!("step {step}"), |ledger| ledger.steps() >= step);
                broker.kill();
                kills_amid += usize::from(!scene.look(|ledger| ledger.is_all_done(JOBS)));
                broker.start_again();
                scene.change(|ledger| ledger.life += 1);
            }
            scene.wait("the end", |ledger| ledger.is_all_done(JOBS));
        }));
        scene.change(|ledger| ledger.is_over = true);
        // Whoever still listens for work hears that there is none.
        broker.kill();
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert!(kills_amid >= 5, "only {kills_amid} kills had anything to disturb");

    broker.start_again();
    let ledger = scene.into_ledger();
    let ids: BTreeSet<u64> = ledger.submitted.values().copied().collect();
    assert_eq!((ledger.submitted.len(), ids.len()), (JOBS, JOBS), "one task for each job");
    // A submit without an answer may have been kept, so that the second try is a second task.
    let unasked = ledger.completed.keys().filter(|task| !ids.contains(task)).count();
    let (twice, unheard) = (ledger.submitted_again, ledger.unheard());
    assert!(unasked <= twice, "{unasked} tasks nobody submitted, {twice} submits without answer");
    eprintln!("{twice} submits and {unheard} completions had no answer, {unasked} ran twice");

    let mut wire = broker.connect(QUIET);
    for (job, &task) in &ledger.submitted {
        let view = wire.show(task);
        let done = &ledger.completed[&task];
        assert_eq!(done.payload, scene::payload(*job), "{view}");
        for (key, value) in [
            ("state", json!("completed")),
            ("result", json!(done.result)),
            ("agent", json!(done.agent)),
        ] {
            assert_eq!(view[key], value, "{key} of {view}");
        }
        // No lease was taken away from an agent that came back in time and named it. What was
        // taken, with nobody left to hear of it, waits until its time is over.
        assert!(view["lost"] == 0 || done.door == Door::Queue, "{view}");
        let generation = format!(" under generation {}", view["generation"]);
        assert!(done.result.ends_with(&generation), "{generation} of {view}");
    }
}

#[test]
fn a_task_that_was_acknowledged_is_there_after_a_kill_and_gets_done() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("resize needs=gpu priority=high attempts=5 lease_ms=60000", "cat.png");
    let before = wire.show(task);
    kill_and_start(&mut broker);

    let mut wire = broker.connect(QUIET);
    assert_eq!(wire.show(task), before);
    let mut agent = worker(&broker, "alice can=gpu");
    agent.expect(format!(
        "OFFER {task} 1 queue=resize attempt=1 offer_ms=10000 lease_ms=60000 7\r\ncat.png\r\n"
    ));
    complete(&mut agent, task, 1, "done");
    let before = wire.show(task);
    kill_and_start(&mut broker);

    let mut wire = broker.connect(QUIET);
    assert_eq!(wire.show(task), before);
    assert_eq!(before["result"], "done");
    // Whoever missed the answer may repeat the question, and nobody may change the result.
    let mut agent = worker(&broker, "alice can=gpu");
    let again = agent.ask(format!("TASK COMPLETE c {task} 1 4\r\ndone\r\n"));
    assert_eq!(again, format!("OK c task={task} state=completed duplicate=true"));
    agent.expect_declined(&format!("TASK COMPLETE c {task} 1 4\r\nelse\r\n"), "conflict");
    assert!(wire.submit("q", "") > task, "a number is given out once");
}

#[test]
fn an_agent_that_comes_back_after_a_kill_goes_on_under_the_same_generation() {
    let Some(mut broker) = broker() else { return };
    let mut agent = worker(&broker, "alice credit=2");
    let running = agent.submit("q", "running");
    let first = agent.offer();
    agent.ask(format!("TASK ACCEPT a {}\r\n", first.lease()));
    let offered = agent.submit("q", "offered");
    let second = agent.offer();
    kill_and_start(&mut broker);

    // Nobody else is given what is hers.
    let mut other = worker(&broker, "bob credit=2");
    other.expect_nothing();
    let holding = [first, second].map(|offer| offer.lease().replace(' ', ":")).join(",");
    let mut agent = worker(&broker, &format!("alice credit=2 holding={holding}"));
    agent.expect_nothing();
    assert_eq!(agent.show(running)["state"], "running");
    assert_eq!(agent.show(offered)["state"], "offered");
    for task in [running, offered] {
        other.expect_declined(&format!("TASK COMPLETE c {task} 1 0\r\n\r\n"), "not_owner");
        complete(&mut agent, task, 1, "done");
    }
}

#[test]
fn an_agent_that_does_not_come_back_after_a_kill_loses_its_task() {
    let skips = oracle::skips("it keeps nothing without JetStream");
    if skips {
        return;
    }
    let options = Options::default().task("restart_grace_ms", 300);
    let mut broker = Broker::start(options);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q lease_ms=1000", "hi");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    kill_and_start(&mut broker);

    let mut other = worker(&broker, "bob");
    let offer = other.offer();
    assert_eq!((offer.task, offer.generation), (task, 3));
    let mut late = worker(&broker, "alice");
    late.expect_declined(&format!("TASK COMPLETE c {lease} 0\r\n\r\n"), "stale_generation");
    complete(&mut other, task, 3, "bob's");
    assert_eq!(other.show(task)["lost"], 1);
}

#[test]
fn attempts_are_counted_across_kills() {
    const ATTEMPTS: u64 = 3;
    let Some(mut broker) = broker() else { return };
    let task = broker.connect(QUIET).submit(&format!("q attempts={ATTEMPTS}"), "poison");
    for attempt in 1..=ATTEMPTS {
        let mut agent = worker(&broker, "alice");
        let offer = agent.offer();
        assert_eq!((offer.task, offer.field("attempt")), (task, attempt.to_string().as_str()));
        let answer = agent.ask(format!("TASK FAIL f {} 4\r\noops\r\n", offer.lease()));
        let state = answer.strip_prefix(&format!("OK f task={task} state="));
        let is_last = attempt == ATTEMPTS;
        assert!(state.is_some_and(|state| (state == "dead") == is_last), "{attempt}: {answer}");
        kill_and_start(&mut broker);
    }
    let mut agent = worker(&broker, "alice");
    agent.expect_nothing();
    let view = agent.show(task);
    assert_eq!((&view["dead"], &view["attempts"]), (&json!("failed"), &json!(ATTEMPTS)), "{view}");
}

#[test]
fn the_order_of_waiting_tasks_survives_a_kill() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let [low, first, second] = ["q priority=low", "q", "q"].map(|words| wire.submit(words, ""));
    kill_and_start(&mut broker);
    let mut wire = broker.connect(QUIET);
    let [third, high] = ["q", "q priority=high"].map(|words| wire.submit(words, ""));
    let mut agent = worker(&broker, "alice credit=9");
    let order = [(); 5].map(|()| agent.offer().task);
    assert_eq!(order, [high, first, second, third, low]);
}

#[test]
fn a_clean_stop_keeps_everything_that_it_answered() {
    const REQUESTS: usize = 200;
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let requests: String =
        (0..REQUESTS).map(|n| format!("TASK SUBMIT {n} q 2\r\nhi\r\n")).collect();
    wire.send(requests);
    let first = wire.expect_line();
    let status = broker.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    let rest = String::from_utf8(wire.read_to_end()).expect("text");
    let answers = [first.as_str()].into_iter().chain(rest.lines());
    // What came too late for the stop was declined, and so nobody relies on it.
    let kept: Vec<&str> = answers.filter(|answer| !answer.contains(" unavailable '")).collect();
    assert!(!kept.is_empty());
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    for answer in kept {
        let words = answer.rsplit_once(" task=").and_then(|(_, words)| words.split(' ').next());
        let task = words.and_then(|task| task.parse().ok());
        let task = task.unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(wire.show(task)["state"], "ready");
    }
}
