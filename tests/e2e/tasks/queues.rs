//! Durable queues: consumers that fetch, and operators that look.

use std::time::{Duration, Instant};

use agentcom_tests::{QUIET, Wire};
use serde_json::{Value, json};

use super::{broker, worker};

/// What is timed ends by so much too early, at most.
const TICK: Duration = Duration::from_millis(1);

/// `QUEUE PUT`; the number of the task.
#[track_caller]
fn put(wire: &mut Wire, words: &str, payload: &str) -> u64 {
    let size = payload.len();
    let answer = wire.ask(format!("QUEUE PUT p {words} {size}\r\n{payload}\r\n"));
    let task = answer.strip_prefix("OK p task=").and_then(|rest| rest.split(' ').next());
    task.and_then(|task| task.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn a_consumer_takes_what_was_put_in_order() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let tasks = ["a", "b", "c"].map(|payload| put(&mut wire, "mail", payload));
    assert_eq!(wire.take("empty"), []);
    let items = wire.take("mail max=2 lease_ms=60000");
    let taken: Vec<_> = items.iter().map(|item| (item.task, item.generation)).collect();
    assert_eq!(taken, [(tasks[0], 1), (tasks[1], 1)]);
    assert_eq!(items[0].payload, b"a");
    assert_eq!((items[0].field("lease_ms"), items[0].field("attempt")), ("60000", "1"));

    wire.send(format!("QUEUE ACK a {}\r\n", items[0].lease()));
    wire.expect(format!("OK a task={} state=completed\r\n", tasks[0]));
    // Nothing of it is kept, so a second time it is gone.
    wire.expect_declined(&format!("TASK SHOW s {}\r\n", tasks[0]), "gone");
    wire.expect_declined(&format!("QUEUE ACK a {}\r\n", items[0].lease()), "gone");

    wire.send(format!("QUEUE NACK n {} error=full\r\n", items[1].lease()));
    wire.expect(format!("OK n task={} state=ready\r\n", tasks[1]));
    assert_eq!(wire.show(tasks[1])["error"], "full");
    let again: Vec<u64> = wire.take("mail max=100").iter().map(|item| item.task).collect();
    assert_eq!(again, [tasks[2], tasks[1]]);
}

#[test]
fn a_taken_task_lasts_as_long_as_its_lease_whatever_becomes_of_the_connection() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = put(&mut wire, "mail", "hi");
    let mut first = broker.connect(QUIET);
    let item = first.take("mail lease_ms=1000 consumer=ann").remove(0);
    first.send(format!("QUEUE EXTEND e {} 60000\r\n", item.lease()));
    first.expect(format!("OK e task={task} state=running\r\n"));
    drop(first);
    // The same consumer goes on with it on another connection.
    let mut second = broker.connect(QUIET);
    assert_eq!(second.take("mail consumer=ann"), []);
    second.send(format!("QUEUE ACK a {}\r\n", item.lease()));
    second.expect(format!("OK a task={task} state=completed\r\n"));

    let task = put(&mut wire, "mail", "hi");
    let item = second.take("mail lease_ms=1000").remove(0);
    assert_eq!(item.task, task);
    second.expect(format!("REVOKED {task} 1 state=ready\r\n"));
    second.expect_declined(&format!("QUEUE ACK a {}\r\n", item.lease()), "invalid_state");
}

#[test]
fn a_take_waits_for_the_first_task() {
    let Some(broker) = broker() else { return };
    let mut consumer = broker.connect(QUIET);
    consumer.send("QUEUE TAKE t mail wait_ms=60000\r\n");
    consumer.flush();
    let task = put(&mut broker.connect(QUIET), "mail", "hi");
    let items = consumer.items("t");
    assert_eq!((items.len(), items[0].task), (1, task));
    consumer.send("QUEUE TAKE t mail wait_ms=100\r\n");
    assert_eq!(consumer.items("t"), []);
}

#[test]
fn consumers_without_a_name_are_not_confused() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    put(&mut wire, "mail", "hi");
    let [mut one, mut other] = [broker.connect(QUIET), broker.connect(QUIET)];
    let item = one.take("mail").remove(0);
    assert_eq!(other.take("mail"), []);
    other.expect_declined(&format!("QUEUE ACK a {}\r\n", item.lease()), "not_owner");
    let agent = wire.show(item.task)["agent"].as_str().expect("a name").to_owned();
    assert!(agent.starts_with("take-"), "{agent}");
}

#[test]
fn a_cancelled_holder_is_told_and_says_when_it_stopped() {
    let Some(broker) = broker() else { return };
    let mut operator = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "hi");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK ACCEPT a {lease}\r\n"));
    operator.send(format!("TASK CANCEL c {task} grace_ms=60000 reason=late\r\n"));
    operator.expect(format!("OK c task={task} state=running\r\n"));
    agent.expect(format!("CANCEL {lease} grace_ms=60000 4\r\nlate\r\n"));
    assert_eq!(operator.show(task)["cancelling"], true);
    agent.send(format!("TASK STOPPED s {lease} 4\r\nhalf\r\n"));
    agent.expect(format!("OK s task={task} state=cancelled\r\n"));
    let view = operator.show(task);
    assert_eq!((&view["result"], &view["cancelled"]), (&json!("half"), &json!("late")), "{view}");
    operator.expect_declined(&format!("TASK CANCEL c {task}\r\n"), "terminal");
}

#[test]
fn an_attempt_leaves_a_checkpoint_for_the_next() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "payload");
    let lease = agent.offer().lease();
    agent.send(format!("TASK CHECKPOINT k {lease} 6\r\npage 3\r\n"));
    agent.expect(format!("OK k task={task} seq=1\r\n"));
    agent.send(format!("TASK CHECKPOINT k {lease} seq=1 6\r\npage 3\r\n"));
    agent.expect(format!("OK k task={task} seq=1 duplicate=true\r\n"));
    agent.send(format!("TASK RELEASE r {lease}\r\n"));
    agent.expect(format!("OK r task={task} state=ready\r\n"));
    let offer = agent.offer();
    assert_eq!(offer.field("checkpoint_bytes"), "6");
    assert_eq!(offer.payload, b"page 3payload");
    assert_eq!(agent.show(task)["releases"], 1);
    let busy = agent.ask(format!("TASK BUSY y {} 60000\r\n", offer.lease()));
    assert_eq!(busy, format!("OK y task={task} state=running"));
}

#[test]
fn an_operator_takes_a_task_away_and_deals_with_the_dead() {
    let Some(broker) = broker() else { return };
    let mut operator = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "hi");
    let lease = agent.offer().lease();
    operator.send(format!("QUEUE PAUSE p q\r\nTASK RECLAIM r {task}\r\n"));
    assert!(operator.expect_line().contains(r#""paused":true"#));
    operator.expect(format!("OK r task={task} state=ready\r\n"));
    agent.expect(format!("REVOKED {lease} state=ready\r\n"));
    agent.expect_nothing();
    operator.ask_json("QUEUE RESUME p q");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK FAIL f {lease} class=fatal 2\r\nno\r\n"));
    operator.send(format!("DEAD REDRIVE r {task}\r\n"));
    operator.expect(format!("OK r task={task} state=ready\r\n"));
    let offer = agent.offer();
    assert_eq!((offer.generation, offer.field("attempt")), (5, "1"));
    agent.ask(format!("TASK FAIL f {} class=fatal 2\r\nno\r\n", offer.lease()));
    operator.send(format!("DEAD DISCARD d {task}\r\n"));
    operator.expect(format!("OK d task={task} state=cancelled\r\n"));
    operator.expect_declined(&format!("DEAD REDRIVE r {task}\r\n"), "invalid_state");
}

#[test]
fn a_queue_gives_out_no_more_than_its_rate_allows() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let set = wire.ask_json("QUEUE SET s mail rate_max=2 rate_ms=2000");
    assert_eq!((&set["rate_max"], &set["rate_ms"]), (&json!(2), &json!(2000)), "{set}");
    let last = ["a", "b", "c"].map(|payload| put(&mut wire, "mail", payload))[2];
    let begun = Instant::now();
    assert_eq!(wire.take("mail max=9").len(), 2);
    assert_eq!(wire.take("mail"), [], "its rate is used up");
    let why = wire.ask_json(&format!("TASK WHY w {last}"));
    assert_eq!(why["reasons"][0]["code"], "rate", "{why}");
    let later = wire.take("mail wait_ms=60000");
    let waited = begun.elapsed();
    assert_eq!(later.iter().map(|item| item.task).collect::<Vec<_>>(), [last]);
    assert!(waited >= Duration::from_secs(2) - TICK, "after {waited:?}");
    wire.expect_declined("QUEUE SET s mail rate_ms=5\r\n", "invalid");
    assert_eq!(wire.ask_json("QUEUE SET s mail rate_max=0").get("rate_max"), None);
}

#[test]
fn keys_of_a_fair_queue_get_shares_by_their_weights() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let set = wire.ask_json("QUEUE SET s mail order=fair weights=big:3");
    assert_eq!(set["weights"], json!({"big": 3}), "{set}");
    for key in ["small", "big"] {
        for _ in 0..9 {
            put(&mut wire, &format!("mail key={key}"), key);
        }
    }
    let items = wire.take("mail max=8");
    let big = items.iter().filter(|item| item.payload == b"big").count();
    assert_eq!((big, items.len()), (6, 8));
    let set = wire.ask_json("QUEUE SET s mail weights=");
    assert_eq!(set.get("weights"), None, "{set}");
    wire.expect_declined("QUEUE SET s mail weights=big:0\r\n", "invalid");
}

#[test]
fn a_queue_shows_what_stands_where() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.expect_declined("QUEUE SHOW s mail\r\n", "no_queue");
    for payload in ["a", "b", "c"] {
        put(&mut wire, "mail", payload);
    }
    put(&mut wire, "mail delay_ms=60000", "later");
    wire.take("mail");
    let set = wire.ask_json("QUEUE SET s mail leases_max=1 keep_ms=1000 order=fair");
    assert_eq!(
        set,
        json!({"queue": "mail", "paused": false, "leases_max": 1, "order": "fair",
            "keep_ms": 1000, "keep_dead_ms": 0, "held": 0, "scheduled": 1, "ready": 2,
            "offered": 0, "running": 1, "parked": 0, "dead": 0})
    );
    assert_eq!(wire.ask_json("QUEUE SHOW s mail"), set);
    assert_eq!(wire.take("mail"), [], "its limit of leases is reached");
    put(&mut wire, "post", "x");
    let names = |list: Value| -> Vec<String> {
        let queues = list["queues"].as_array().expect("a list").clone();
        queues.iter().map(|queue| queue["queue"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(wire.ask_json("QUEUE LIST l")), ["mail", "post"]);
    assert_eq!(names(wire.ask_json("QUEUE LIST l after=mail")), ["post"]);
    assert_eq!(names(wire.ask_json("QUEUE LIST l limit=1")), ["mail"]);
    let peeked = wire.ask_json("QUEUE PEEK p mail limit=1");
    assert_eq!(peeked["tasks"][0]["payload"], "b", "{peeked}");
    wire.send("QUEUE PURGE p mail\r\n");
    wire.expect("OK p tasks=3 left=0\r\n");
    assert_eq!(wire.ask_json("QUEUE SHOW s mail")["running"], 1);
}

#[test]
fn json_requests_take_and_answer_too() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.send("SUB in 1\r\n");
    let mut ask = |endpoint: &str, body: Value| -> Value {
        let body = body.to_string();
        wire.send(format!("PUB $AC.API.{endpoint} in {}\r\n{body}\r\n", body.len()));
        let message = wire.expect_line();
        let (_, json) = message.split_once("\r\n").expect("a message");
        serde_json::from_str(json).expect("JSON")
    };
    let kept = ask("QUEUE.PUT", json!({"queue": "mail", "payload_base64": "AP/+"}));
    assert_eq!(kept, json!({"task": 1, "state": "ready", "generation": 0}));
    let taken = ask("QUEUE.TAKE", json!({"queue": "mail", "max": 5, "lease_ms": 60000}));
    assert_eq!(
        taken,
        json!({"items": [{"task": 1, "generation": 1, "queue": "mail", "attempt": 1,
            "lease_ms": 60000, "payload_base64": "AP/+"}]})
    );
    let nack = json!({"task": 1, "generation": 1, "error": "a full sentence", "delay_ms": 60000});
    assert_eq!(ask("QUEUE.NACK", nack), json!({"task": 1, "state": "scheduled"}));
    assert_eq!(ask("TASK.SHOW", json!({"task": 1}))["error"], "a full sentence");
    assert_eq!(ask("QUEUE.SHOW", json!({"queue": "mail"}))["scheduled"], 1);
    assert_eq!(ask("QUEUE.LIST", json!({}))["queues"][0]["queue"], "mail");
    assert_eq!(ask("QUEUE.PURGE", json!({"queue": "mail"})), json!({"tasks": 1, "left": 0}));
    let batch = json!([{"queue": "q", "name": "a"}, {"queue": "q", "after": ["a"]}]);
    assert_eq!(
        ask("TASK.BATCH", batch),
        json!({"tasks": [{"task": 2, "state": "ready", "generation": 0, "name": "a"},
            {"task": 3, "state": "held", "generation": 0}]})
    );
    let charge = ask("TASK.CHARGE", json!({"task": 1}));
    assert_eq!(charge["error"]["code"], "not_supported", "{charge}");
}
