//! Holders that wait, parts of tasks, second thoughts, lists and schedules.

use agentcom_tests::{QUIET, Wire};
use serde_json::{Value, json};

use super::{broker, worker};

/// `PARK` with this body; the JSON of its answer.
#[track_caller]
fn park(agent: &mut Wire, lease: &str, body: &Value) -> Value {
    let body = body.to_string();
    let answer = agent.ask(format!("TASK PARK p {lease} {}\r\n{body}\r\n", body.len()));
    let (_, json) = answer.split_once("\r\n").unwrap_or_else(|| panic!("no body: {answer:?}"));
    serde_json::from_str(json).expect("JSON")
}

/// `ANSWER`; the line.
#[track_caller]
fn answer(wire: &mut Wire, task: u64, key: &str, value: &str) -> String {
    wire.ask(format!("TASK ANSWER a {task} {key} {}\r\n{value}\r\n", value.len()))
}

#[test]
fn a_holder_that_asks_is_told_the_answer() {
    let Some(broker) = broker() else { return };
    let mut person = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "hi");
    let lease = agent.offer().lease();
    let questions = json!({"questions": [{"key": "color", "text": "which?"}]});
    let waits = park(&mut agent, &lease, &questions);
    assert_eq!(waits, json!({"task": task, "state": "running", "answers": {}}));
    let view = person.show(task);
    assert_eq!(view["waiting"], true, "{view}");
    assert_eq!(view["questions"], json!([{"key": "color", "text": "which?"}]));
    assert_eq!(
        answer(&mut person, task, "color", "red"),
        format!("OK a task={task} state=running")
    );
    agent.expect(format!("ANSWERED {lease} 27\r\n{{\"answers\":{{\"color\":\"red\"}}}}\r\n"));
    person.expect_declined(&format!("TASK ANSWER a {task} color 4\r\nblue\r\n"), "already");
    person.expect_declined(&format!("TASK ANSWER a {task} size 0\r\n\r\n"), "no_question");
    // Asked again, it is answered at once.
    assert_eq!(park(&mut agent, &lease, &questions)["answers"], json!({"color": "red"}));
}

#[test]
fn a_task_that_is_set_aside_comes_back_with_the_answers() {
    let Some(broker) = broker() else { return };
    let mut person = broker.connect(QUIET);
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "payload");
    let lease = agent.offer().lease();
    let questions = json!({"questions": [{"key": "color", "text": "which?"}], "hold_ms": 0});
    assert_eq!(park(&mut agent, &lease, &questions)["state"], "parked");
    let why = person.ask_json(&format!("TASK WHY w {task}"));
    assert_eq!(why["reasons"][0]["code"], "unanswered", "{why}");
    answer(&mut person, task, "color", "red");
    let offer = agent.offer();
    assert_eq!(offer.field("answers_bytes"), "15");
    assert_eq!(offer.payload, b"{\"color\":\"red\"}payload");
}

#[test]
fn a_whole_waits_for_its_parts() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice queues=whole");
    let mut helper = worker(&broker, "bob queues=parts");
    let task = agent.submit("whole", "");
    let lease = agent.offer().lease();
    let parts = r#"[{"queue":"parts","name":"a"},{"queue":"parts","after":["a"]}]"#;
    let answer = agent.ask(format!("TASK SPAWN s {lease} {}\r\n{parts}\r\n", parts.len()));
    assert_eq!(answer, format!("OK s tasks={},{}", task + 1, task + 2));
    assert_eq!(broker.connect(QUIET).show(task + 1)["parent"], task);
    let waits = park(&mut agent, &lease, &json!({"children": true, "hold_ms": 0}));
    assert_eq!(waits["state"], "parked");
    for _ in 0..2 {
        let lease = helper.offer().lease();
        helper.ask(format!("TASK COMPLETE c {lease} 0\r\n\r\n"));
    }
    assert_eq!(agent.offer().task, task);
}

#[test]
fn a_task_can_be_changed_while_it_waits() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q", "");
    wire.send(format!("TASK EDIT e {task} version=0 priority=urgent attempts=9\r\n"));
    wire.expect(format!("OK e task={task} state=ready\r\n"));
    let view = wire.show(task);
    assert_eq!((&view["priority"], &view["attempts_max"]), (&json!(0), &json!(9)), "{view}");
    wire.expect_declined(
        &format!("TASK EDIT e {task} version=0 priority=low\r\n"),
        "other_version",
    );
    wire.send("QUEUE PAUSE p q\r\n");
    wire.expect_line();
    let why = wire.ask_json(&format!("TASK WHY w {task}"));
    assert_eq!((&why["state"], &why["reasons"][0]["code"]), (&json!("ready"), &json!("paused")));
}

#[test]
fn lists_go_on_where_they_stopped() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    for number in 0..5 {
        wire.submit(if number % 2 == 0 { "a" } else { "b" }, "hi");
    }
    let numbers = |page: &Value| -> Vec<u64> {
        let tasks = page["tasks"].as_array().expect("a list");
        tasks.iter().map(|view| view["task"].as_u64().expect("a number")).collect()
    };
    let page = wire.ask_json("TASK LIST l queue=a limit=2");
    assert_eq!((numbers(&page), page["next"].as_u64().is_some()), (vec![1, 3], true), "{page}");
    assert_eq!(page["tasks"][0].get("payload"), None, "{page}");
    let next = page["next"].as_u64().expect("a number");
    let page = wire.ask_json(&format!("TASK LIST l queue=a limit=2 after={next}"));
    assert_eq!((numbers(&page), page.get("next")), (vec![5], None), "{page}");
    wire.ask("TASK CANCEL c 2\r\n");
    assert_eq!(numbers(&wire.ask_json("TASK LIST l state=cancelled")), [2]);
    assert_eq!(numbers(&wire.ask_json("TASK LIST l")), [1, 3, 4, 5]);
    let mut agent = worker(&broker, "alice queues=b");
    let lease = agent.offer().lease();
    agent.ask(format!("TASK FAIL f {lease} class=fatal 0\r\n\r\n"));
    assert_eq!(numbers(&wire.ask_json("DEAD LIST l")), [4]);
    assert_eq!(numbers(&wire.ask_json("DEAD LIST l reason=timeout")), [0u64; 0]);
}

#[test]
fn a_schedule_submits_again_and_again() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.send("SCHEDULE SET s tick q every_ms=1000 4\r\nwork\r\n");
    assert!(wire.expect_line().contains(r#""every_ms":1000"#));
    let mut agent = worker(&broker, "alice credit=2");
    let (first, second) = (agent.offer(), agent.offer());
    assert_eq!((&first.payload, &second.payload), (&b"work".to_vec(), &b"work".to_vec()));
    let shown = wire.ask_json("SCHEDULE SHOW s tick");
    assert!(shown["fired"].as_u64() >= Some(2), "{shown}");
    wire.send("SCHEDULE SET s night q cron=0_3_*_*_* paused=true 0\r\n\r\n");
    assert!(wire.expect_line().contains(r#""cron":"0 3 * * *""#));
    let list = wire.ask_json("SCHEDULE LIST l");
    assert_eq!(list["schedules"].as_array().map(Vec::len), Some(2), "{list}");
    wire.send("SCHEDULE REMOVE r tick\r\n");
    wire.expect("OK r\r\n");
    wire.expect_declined("SCHEDULE SHOW s tick\r\n", "no_schedule");
}

#[test]
fn json_requests_ask_and_schedule_too() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    wire.send("SUB in 1\r\nSUB work 2\r\n");
    let mut ask = |endpoint: &str, body: Value| -> Value {
        let body = body.to_string();
        wire.send(format!("PUB $AC.API.{endpoint} in {}\r\n{body}\r\n", body.len()));
        loop {
            let message = wire.expect_line();
            let (line, json) = message.split_once("\r\n").expect("a message");
            if line.starts_with("MSG in ") {
                return serde_json::from_str(json).expect("JSON");
            }
        }
    };
    ask("TASK.SUBMIT", json!({"queue": "q"}));
    ask("WORKER.START", json!({"agent": "alice", "deliver": "work"}));
    let lease = json!({"task": 1, "generation": 1});
    let mut body = lease.clone();
    body["questions"] = json!([{"key": "k", "text": "?", "default": "d"}]);
    assert_eq!(ask("TASK.PARK", body)["state"], "running");
    let answered = ask("TASK.ANSWER", json!({"task": 1, "key": "k", "answer": "yes"}));
    assert_eq!(answered, json!({"task": 1, "state": "running"}));
    let again = ask("TASK.ANSWER", json!({"task": 1, "key": "k", "answer": "no"}));
    assert_eq!(
        (&again["error"]["code"], &again["error"]["answer"]),
        (&json!("already"), &json!("yes"))
    );
    let mut body = lease;
    body["tasks"] = json!([{"queue": "parts", "name": "a"}]);
    assert_eq!(ask("TASK.SPAWN", body)["tasks"][0]["name"], "a");
    assert_eq!(ask("TASK.EDIT", json!({"task": 2, "priority": "low"}))["state"], "ready");
    assert_eq!(ask("TASK.WHY", json!({"task": 2}))["task"], 2);
    let body = json!({"schedule": "night", "queue": "q", "cron": "0 3 * * *", "missed": "all:3"});
    assert_eq!(ask("SCHEDULE.SET", body)["missed"], "all:3");
    assert_eq!(ask("SCHEDULE.LIST", json!({}))["schedules"][0]["schedule"], "night");
    assert_eq!(ask("SCHEDULE.REMOVE", json!({"schedule": "night"})), json!({}));
}
