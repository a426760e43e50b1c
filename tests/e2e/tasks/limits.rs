//! What is too much, and what is heard then.

use std::collections::BTreeSet;

use agentcom_tests::{Options, QUIET, Wire};
use serde_json::Value;

use super::{broker, broker_with, worker};

/// Together more requests at once than the durable plane takes in before it has had time for any;
/// what is sent on each connection fits into the buffers of its socket.
const CONNECTIONS: usize = 3;
const BURST: usize = 20_000;

#[test]
fn a_full_queue_takes_no_more_until_a_task_is_over() {
    let Some(broker) = broker_with(Options::default().task("queue_tasks_max", 2)) else { return };
    let mut submitter = broker.connect(QUIET);
    let first = submitter.submit("q", "");
    submitter.submit("q", "");
    let sentence = submitter.expect_declined("TASK SUBMIT s q 2\r\nhi\r\n", "queue_full");
    assert!(sentence.contains('q') && sentence.contains('2'), "{sentence}");
    let headers = broker.bearer() + "Content-Type: application/json\r\n";
    let body = r#"{"description":"x","queue":"q"}"#;
    let answer = broker.http_post("/api/tasks", &headers, body);
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"queue_full".into()), "{answer:?}");
    // Others are not full.
    submitter.submit("p", "");

    // Taken is not done.
    let mut agent = worker(&broker, "alice queues=q");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    submitter.expect_declined("TASK SUBMIT s q 2\r\nhi\r\n", "queue_full");
    agent.send(format!("TASK COMPLETE c {lease} 0\r\n\r\n"));
    agent.expect(format!("OK c task={first} state=completed\r\n"));
    submitter.submit("q", "");
    submitter.expect_declined("TASK SUBMIT s q 2\r\nhi\r\n", "queue_full");
}

#[test]
fn an_agent_that_reads_gets_all_that_its_credit_asks_for() {
    // Four times what may wait for one connection, and more than its socket takes besides.
    const TASKS: usize = 32;
    const PAYLOAD: usize = 1_000_000;
    let Some(broker) = broker() else { return };
    let mut submitter = broker.connect(QUIET);
    let payload = "x".repeat(PAYLOAD);
    let tasks: BTreeSet<u64> = (0..TASKS).map(|_| submitter.submit("q", &payload)).collect();
    let mut agent = worker(&broker, &format!("alice credit={TASKS}"));
    // Whatever the broker wants to push at once it has pushed before it answers this.
    submitter.show(*tasks.first().expect("tasks"));
    let offered: BTreeSet<u64> = (0..TASKS).map(|_| agent.offer().task).collect();
    assert_eq!(offered, tasks);
    agent.expect_nothing();
}

/// On each of some connections send what `prepare` makes of the connection's number, and behind it
/// what `request` makes of that and every number below `BURST`; then see that each of these comes
/// back once as the `number` of an answer.
#[track_caller]
fn check_burst(
    prepare: impl Fn(usize) -> String,
    request: impl Fn(usize, usize) -> String,
    number: impl Fn(&str) -> Option<usize>,
) {
    let Some(broker) = broker() else { return };
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| broker.connect(QUIET)).collect();
    for (connection, wire) in wires.iter_mut().enumerate() {
        let requests = (0..BURST).map(|number| request(connection, number));
        wire.send(prepare(connection) + &requests.collect::<String>());
    }
    for wire in &mut wires {
        let mut open: BTreeSet<usize> = (0..BURST).collect();
        while !open.is_empty() {
            let answer = wire.expect_line();
            let number = number(&answer).unwrap_or_else(|| panic!("{answer:?}"));
            assert!(open.remove(&number), "answered twice: {answer:?}");
        }
        wire.expect_nothing();
    }
}

#[test]
fn of_a_burst_of_verbs_each_is_answered_and_what_is_too_much_is_busy() {
    check_burst(
        |_| String::new(),
        |_, number| format!("TASK SUBMIT {number} q 2\r\nhi\r\n"),
        |answer| match answer.split(' ').collect::<Vec<_>>()[..] {
            ["OK", number, ..] | ["ERR", number, "busy", ..] => number.parse().ok(),
            _ => None,
        },
    );
}

#[test]
fn of_a_burst_of_json_requests_each_is_answered_and_what_is_too_much_is_busy() {
    const BODY: &str = r#"{"queue":"q"}"#;
    check_burst(
        |me| format!("SUB _INBOX.{me}.* 1\r\n"),
        |me, number| {
            let size = BODY.len();
            format!("PUB $AC.API.TASK.SUBMIT _INBOX.{me}.{number} {size}\r\n{BODY}\r\n")
        },
        |answer| {
            let (line, body) = answer.strip_prefix("MSG _INBOX.")?.split_once("\r\n")?;
            let body: Value = serde_json::from_str(body).ok()?;
            let is_answer = body["task"].is_u64() || body["error"]["code"] == "busy";
            let (_, number) = line.split(' ').next()?.split_once('.')?;
            if is_answer { number.parse().ok() } else { None }
        },
    );
}
