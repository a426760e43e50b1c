//! Who is offered what, and in which order.

use agentcom_tests::{Broker, QUIET, Wire};

use super::{broker, worker};

/// Complete offers one after the other, and give their payloads, as many as `count`.
#[track_caller]
fn payloads(agent: &mut Wire, count: usize) -> Vec<String> {
    let work = |_| {
        let offer = agent.offer();
        let answer = agent.ask(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
        assert_eq!(answer, format!("OK c task={} state=completed", offer.task));
        String::from_utf8(offer.payload).expect("text")
    };
    (0..count).map(work).collect()
}

/// Submit `tasks` (words and payload) before there is any agent, and then let an agent started
/// with `agent` take them; `expected` are the payloads that it gets, and it gets no more.
#[track_caller]
fn check(broker: &Broker, tasks: &[(&str, &str)], agent: &str, expected: &[&str]) {
    let mut submitter = broker.connect(QUIET).case(agent);
    for (words, payload) in tasks {
        submitter.submit(words, payload);
    }
    let mut agent = worker(broker, agent);
    assert_eq!(payloads(&mut agent, expected.len()), expected);
    agent.expect_nothing();
}

#[test]
fn an_agent_must_be_able_to_do_all_that_a_task_needs() {
    let tasks = [
        ("q", "nothing"),
        ("q needs=gpu", "gpu"),
        ("q needs=gpu,png", "both"),
        ("q needs=png,gpu,png", "both, twice"),
        ("q needs=GPU", "another word"),
        ("q needs=gpu2", "a longer word"),
    ];
    for (agent, expected) in [
        ("alice", &["nothing"][..]),
        ("alice can=png", &["nothing"]),
        ("alice can=gpu", &["nothing", "gpu"]),
        ("alice can=gpu,jpg,png", &["nothing", "gpu", "both", "both, twice"]),
    ] {
        let Some(broker) = broker() else { return };
        check(&broker, &tasks, agent, expected);
    }
}

#[test]
fn an_agent_takes_from_its_queues_only() {
    let tasks = [("a", "1"), ("b", "2"), ("A", "3"), ("a.b", "4"), ("b", "5")];
    for (agent, expected) in [
        ("alice", &["1", "2", "3", "4", "5"][..]),
        ("alice queues=b", &["2", "5"]),
        ("alice queues=b,a", &["1", "2", "5"]),
        ("alice queues=c", &[]),
    ] {
        let Some(broker) = broker() else { return };
        check(&broker, &tasks, agent, expected);
    }
}

#[test]
fn more_urgent_tasks_go_first_and_equal_ones_in_order() {
    let Some(broker) = broker() else { return };
    let tasks = [
        ("q priority=255", "last"),
        ("q priority=low", "low 1"),
        ("q", "normal 1"),
        ("p priority=normal", "normal 2"),
        ("q priority=3", "low 2"),
        ("q priority=high", "high 1"),
        ("p priority=2", "normal 3"),
        ("q priority=0", "urgent 1"),
        ("q priority=1", "high 2"),
        ("p priority=urgent", "urgent 2"),
        ("q priority=4", "lower"),
    ];
    let order = [
        "urgent 1", "urgent 2", "high 1", "high 2", "normal 1", "normal 2", "normal 3", "low 1",
        "low 2", "lower", "last",
    ];
    check(&broker, &tasks, "alice", &order);
}

#[test]
fn an_agent_holds_as_many_tasks_as_its_credit() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let tasks: Vec<u64> = (0..5).map(|_| submitter.submit("q", "")).collect();
    let mut agent = worker(&broker, "alice credit=2");
    let first = agent.offer();
    let second = agent.offer();
    assert_eq!([first.task, second.task], tasks[..2]);
    agent.expect_nothing();
    // Running ones count as offered ones do.
    agent.send(format!("TASK ACCEPT a {}\r\n", first.lease()));
    agent.expect(format!("OK a task={} state=running\r\n", first.task));
    agent.expect_nothing();
    agent.send(format!("TASK COMPLETE c {} 0\r\n\r\n", second.lease()));
    agent.expect(format!("OK c task={} state=completed\r\n", second.task));
    assert_eq!(agent.offer().task, tasks[2]);
    agent.expect_nothing();
    // More of it, by starting again: what is held goes on.
    agent.start_worker("alice credit=9");
    let mut offered: Vec<u64> = (0..2).map(|_| agent.offer().task).collect();
    offered.sort_unstable();
    assert_eq!(offered, [tasks[3], tasks[4]]);
    agent.expect_nothing();
}

#[test]
fn idle_agents_take_turns() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut agents = ["alice", "bob", "carol"].map(|name| worker(&broker, name));
    for round in ["first", "second"] {
        for agent in &mut agents {
            submitter.submit("q", round);
            assert_eq!(payloads(agent, 1), [round]);
        }
    }
    agents.iter_mut().for_each(Wire::expect_nothing);
}

/// The same of an agent that is offered so many at once.
#[track_caller]
fn at_once(agent: &mut Wire, count: usize) -> Vec<String> {
    let offers: Vec<_> = (0..count).map(|_| agent.offer()).collect();
    let payload = |offer: agentcom_tests::Offer| {
        let answer = agent.ask(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
        assert_eq!(answer, format!("OK c task={} state=completed", offer.task));
        String::from_utf8(offer.payload).expect("text")
    };
    offers.into_iter().map(payload).collect()
}

#[test]
fn a_task_that_uses_something_goes_where_enough_is_left() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice capacity=cores:4 credit=9");
    submitter.submit("q uses=cores:3", "three");
    let three = alice.offer();
    submitter.submit("q uses=cores:2", "two");
    submitter.submit("q uses=cores:1", "one");
    submitter.submit("q uses=seats:1", "a seat");
    submitter.submit("q", "nothing");
    assert_eq!(at_once(&mut alice, 2), ["one", "nothing"]);
    alice.expect_nothing();
    alice.ask(format!("TASK COMPLETE c {} 0\r\n\r\n", three.lease()));
    assert_eq!(at_once(&mut alice, 1), ["two"]);
    let mut bob = worker(&broker, "bob capacity=seats:1,cores:1");
    assert_eq!(at_once(&mut bob, 1), ["a seat"]);
}

#[test]
fn a_task_goes_to_whom_it_prefers_or_is_for() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice labels=disk:hdd credit=9");
    let mut bob = worker(&broker, "bob labels=disk:ssd,mem:64 credit=9");
    for (words, payload) in [
        ("q prefer=disk=ssd", "fast"),
        ("q prefer=3:disk=hdd,2:mem>=32", "slow"),
        ("q assign_to=bob", "for bob"),
        ("q assign_to=carol assign_ms=60000", "for carol"),
    ] {
        submitter.submit(words, payload);
    }
    assert_eq!(at_once(&mut alice, 1), ["slow"]);
    assert_eq!(at_once(&mut bob, 2), ["fast", "for bob"]);
    alice.expect_nothing();
    let mut carol = worker(&broker, "carol");
    assert_eq!(at_once(&mut carol, 1), ["for carol"]);
}

#[test]
fn what_was_granted_too_often_waits_whatever_the_queue() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut alice = worker(&broker, "alice credit=9");
    for (queue, payload) in [("p", "1"), ("q", "2"), ("p", "too much")] {
        submitter.submit(&format!("{queue} rates=api:2/3600000"), payload);
    }
    assert_eq!(at_once(&mut alice, 2), ["1", "2"]);
    alice.expect_nothing();
    // Whoever was called says when to call again.
    let calling = submitter.submit("q rates=maps:9/1000", "call");
    let lease = alice.offer().lease();
    let words = "class=rate_limited retry_after_ms=3600000";
    let answer = alice.ask(format!("TASK FAIL f {lease} {words} 3\r\n429\r\n"));
    assert_eq!(answer, format!("OK f task={calling} state=scheduled"));
    submitter.submit("p rates=maps:9/1000", "another call");
    alice.expect_nothing();
}
