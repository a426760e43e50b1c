//! Connections come and go; an agent and what it holds outlive them.

use agentcom_tests::{Options, QUIET, User};

use super::{broker, broker_with, worker};

const ALICE: &str = r#"{"verbose":false,"pedantic":false,"user":"alice","pass":"pw"}"#;
const BOB: &str = r#"{"verbose":false,"pedantic":false,"user":"bob","pass":"pb"}"#;

#[test]
fn a_start_is_answered_with_the_agents_name() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let mut epochs = 0;
    for words in ["alice", "bob can=gpu queues=q credit=2", "bob"] {
        wire.send(format!("WORKER START w {words}\r\n"));
        let agent = words.split(' ').next().unwrap_or_default();
        let answer = wire.expect_line();
        let epoch = answer.strip_prefix(&format!("OK w agent={agent} epoch="));
        let epoch: u64 = epoch.and_then(|epoch| epoch.parse().ok()).expect("an epoch");
        assert!(epoch > epochs, "a later session has a larger epoch: {answer}");
        epochs = epoch;
    }
}

#[test]
fn an_agent_that_comes_back_goes_on_with_what_it_names_under_the_same_generation() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice credit=3");
    let tasks: Vec<u64> = ["running", "offered"].map(|text| submitter.submit("q", text)).to_vec();
    let running = agent.offer();
    let offered = agent.offer();
    agent.ask(format!("TASK ACCEPT a {}\r\n", running.lease()));
    drop(agent);

    // Another agent gets nothing of it, although it would like to.
    let mut other = worker(&broker, "bob");
    other.expect_nothing();

    let mut agent = broker.connect(QUIET);
    let [first, second] = [&running, &offered].map(|offer| offer.lease().replace(' ', ":"));
    let holding = format!("{first},{second},99:1");
    let answer = agent.ask(format!("WORKER START w alice credit=3 holding={holding}\r\n"));
    let continued = format!(" continued={first},{second} stopped=99:1");
    assert!(answer.ends_with(&continued), "{continued}, not {answer}");
    agent.expect_nothing();
    for offer in [running, offered] {
        agent.send(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
        agent.expect(format!("OK c task={} state=completed\r\n", offer.task));
    }
    for task in tasks {
        assert_eq!(submitter.show(task)["generation"], 1);
    }
}

#[test]
fn a_second_connection_of_an_agent_takes_over_from_the_first() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut first = worker(&broker, "alice");
    let task = submitter.submit("q", "");
    let offer = first.offer();
    let mut second = worker(&broker, &format!("alice holding={task}:1"));
    first.expect("REPLACED\r\n");
    second.expect_nothing();
    first.expect_declined(&format!("TASK ACCEPT a {}\r\n", offer.lease()), "not_attached");
    // Its end takes nothing away from the second.
    drop(first);
    second.send(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
    second.expect(format!("OK c task={task} state=completed\r\n"));
    let next = submitter.submit("q", "");
    assert_eq!(second.offer().task, next);
}

#[test]
fn a_connection_speaks_for_the_agent_it_named_last() {
    let Some(broker) = broker() else { return };
    let mut wire = worker(&broker, "alice");
    let task = wire.submit("q", "");
    let lease = wire.offer().lease();
    wire.start_worker("bob");
    wire.expect_nothing();
    wire.expect_declined(&format!("TASK ACCEPT a {lease}\r\n"), "not_owner");
    wire.start_worker(&format!("alice holding={task}:1"));
    wire.expect_nothing();
    wire.send(format!("TASK COMPLETE c {lease} 0\r\n\r\n"));
    wire.expect(format!("OK c task={task} state=completed\r\n"));
}

#[test]
fn the_name_of_an_agent_belongs_to_its_login() {
    let users = Options::default().user(User::new("alice", "pw")).user(User::new("bob", "pb"));
    let Some(broker) = broker_with(users) else { return };
    let mut owner = broker.connect(ALICE).case("owner");
    owner.start_worker("agent-7");
    let task = owner.submit("q", "");
    let lease = owner.offer().lease();

    let mut thief = broker.connect(BOB).case("thief");
    let take = "WORKER START w agent-7\r\n";
    let sentence = thief.expect_declined(take, "name_taken");
    assert!(sentence.contains("agent-7"), "{sentence}");
    thief.expect_declined(&format!("TASK COMPLETE c {lease} 0\r\n\r\n"), "not_attached");
    owner.expect_nothing();

    // While it is away and holds a lease, the name is still its own.
    drop(owner);
    thief.expect_declined(take, "name_taken");
    let mut owner = broker.connect(ALICE).case("owner, back");
    owner.start_worker(&format!("agent-7 holding={task}:1"));
    owner.send(format!("TASK COMPLETE c {lease} 0\r\n\r\n"));
    owner.expect(format!("OK c task={task} state=completed\r\n"));

    // When it is gone and holds nothing, it is free.
    owner.send("WORKER STOP s\r\n");
    owner.expect("OK s\r\n");
    thief.start_worker("agent-7");
    owner.expect_declined(take, "name_taken");
}

#[test]
fn a_worker_that_stopped_gets_nothing_more() {
    let Some(broker) = broker_with(Options::default().task("grace_ms", 300)) else { return };
    let mut submitter = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice credit=5");
    let held = submitter.submit("q", "");
    assert_eq!(agent.offer().task, held);
    agent.send("WORKER STOP s\r\n");
    agent.expect("OK s\r\n");
    let next = submitter.submit("q", "");

    // What it held is treated as if the connection had ended: it waits for the grace to pass.
    let mut other = worker(&broker, "bob credit=5");
    assert_eq!(other.offer().task, next);
    let inherited = other.offer();
    assert_eq!((inherited.task, inherited.generation), (held, 3));
    agent.expect_nothing();
    // Stopping what never started is no mistake.
    agent.send("WORKER STOP s\r\n");
    agent.expect("OK s\r\n");
}

#[test]
fn publish_and_subscribe_go_on_beside_it() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    agent.send("SUB a 1\r\nPUB a 2\r\nhi\r\n");
    agent.expect("MSG a 1 2\r\nhi\r\n");
    let task = agent.submit("q", "");
    assert_eq!(agent.offer().task, task);
    agent.send("UNSUB 1\r\n");
    agent.expect_nothing();
}

#[test]
fn what_an_agent_does_not_name_when_it_comes_back_is_lost_at_once() {
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice credit=2");
    let tasks = ["kept", "lost"].map(|text| submitter.submit("q", text));
    for lease in [agent.offer().lease(), agent.offer().lease()] {
        agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    }
    let mut heir = worker(&broker, "bob");
    let mut back = broker.connect(QUIET);
    back.start_worker(&format!("alice credit=1 holding={}:1", tasks[0]));
    let offer = heir.offer();
    assert_eq!((offer.task, offer.generation), (tasks[1], 3));
    assert_eq!(submitter.show(tasks[0])["state"], "running");
    assert_eq!(submitter.show(tasks[1])["lost"], 1);
}
