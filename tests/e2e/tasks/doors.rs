//! One set of commands behind three doors: what one of them began, another goes on with.

use agentcom_tests::QUIET;
use serde_json::json;

use super::{broker, worker};

#[test]
fn submitted_as_json_worked_on_with_verbs_shown_over_http() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice can=gpu");
    let mut asking = broker.connect(QUIET);
    asking.send("SUB inbox 1\r\n");
    let submit = r#"{"queue":"resize","payload":"cat.png","needs":["gpu"],"priority":3}"#;
    asking.send(format!("PUB $AC.API.TASK.SUBMIT inbox {}\r\n{submit}\r\n", submit.len()));
    let offer = agent.offer();
    assert_eq!((offer.field("queue"), offer.payload.as_slice()), ("resize", b"cat.png".as_slice()));
    let answer = asking.expect_line();
    assert!(answer.contains(&format!(r#""task":{}"#, offer.task)), "{answer}");

    agent.send(format!("TASK PROGRESS p {} 3\r\n50%\r\n", offer.lease()));
    agent.expect(format!("OK p task={} seq=1\r\n", offer.task));
    let path = format!("/api/tasks/{}", offer.task);
    let shown = broker.http_get(&path, &broker.bearer()).json();
    for (key, value) in [
        ("status", json!("assigned")),
        ("assigned_to", json!("alice")),
        ("priority", json!(3)),
        ("needed_capabilities", json!(["gpu"])),
        ("generation", json!(1)),
    ] {
        assert_eq!(shown[key], value, "{key} of {shown}");
    }
    agent.send(format!("TASK COMPLETE c {} 11\r\n{{\"pages\":7}}\r\n", offer.lease()));
    agent.expect(format!("OK c task={} state=completed\r\n", offer.task));
    let shown = broker.http_get(&path, &broker.bearer()).json();
    assert_eq!((&shown["status"], &shown["result"]), (&json!("completed"), &json!({"pages": 7})));
}

#[test]
fn submitted_over_http_worked_on_as_json_shown_with_a_verb() {
    let Some(broker) = broker() else { return };
    let mut agent = broker.connect(QUIET);
    agent.send("SUB inbox.* 1\r\n");
    let start = r#"{"agent":"bob","deliver":"inbox.work"}"#;
    agent.send(format!("PUB $AC.API.WORKER.START inbox.me {}\r\n{start}\r\n", start.len()));
    assert!(agent.expect_line().starts_with("MSG inbox.me 1 "));

    let headers = broker.bearer() + "Content-Type: application/json\r\n";
    let answer = broker.http_post("/api/tasks", &headers, r#"{"description":"tidy up"}"#);
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["task_id"].as_str().expect("an id").to_owned();
    let task = u64::from_str_radix(id.strip_prefix("task-").expect("task-"), 16).expect("hex");
    let offer = agent.expect_line();
    let (line, body) = offer.split_once("\r\n").expect("a message");
    assert!(line.starts_with("MSG inbox.work 1 "), "{line}");
    let offer: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&offer["task"], &offer["queue"]), (&json!(task), &json!("default")), "{offer}");
    let payload: serde_json::Value =
        serde_json::from_str(offer["payload"].as_str().expect("text")).expect("JSON");
    assert_eq!(payload["description"], "tidy up", "{payload}");

    let fail = format!(r#"{{"task":{task},"generation":1,"error":"no","class":"fatal"}}"#);
    agent.send(format!("PUB $AC.API.TASK.FAIL inbox.me {}\r\n{fail}\r\n", fail.len()));
    assert!(agent.expect_line().contains(r#""state":"dead""#));
    let view = broker.connect(QUIET).show(task);
    assert_eq!((&view["dead"], &view["error"]), (&json!("non_retryable"), &json!("no")), "{view}");
    let shown = broker.http_get(&format!("/api/tasks/{id}"), &broker.bearer()).json();
    assert_eq!((&shown["status"], &shown["last_error"]), (&json!("dead_letter"), &json!("no")));
}

#[test]
fn a_lease_is_fenced_at_every_door_alike() {
    let Some(broker) = broker() else { return };
    let mut agent = worker(&broker, "alice");
    let task = agent.submit("q", "");
    let lease = agent.offer().lease();
    let mut thief = broker.connect(QUIET);
    thief.start_worker("bob");
    thief.expect_declined(&format!("TASK COMPLETE t {lease} 0\r\n\r\n"), "not_owner");
    thief.send("SUB inbox 1\r\n");
    let body = format!(r#"{{"task":{task},"generation":1}}"#);
    thief.send(format!("PUB $AC.API.TASK.COMPLETE inbox {}\r\n{body}\r\n", body.len()));
    assert!(thief.expect_line().contains(r#""code":"not_owner""#));
    // An agent is the connection's, whichever door it came in by.
    agent.send("SUB inbox 1\r\n");
    agent.send(format!("PUB $AC.API.TASK.COMPLETE inbox {}\r\n{body}\r\n", body.len()));
    assert!(agent.expect_line().contains(r#""state":"completed""#));
}
