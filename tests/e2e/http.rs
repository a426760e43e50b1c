//! The HTTP door, byte by byte where clients look. What it shares with the other doors is in
//! `tasks/doors.rs`; every field of a body has its test beside the code.

use agentcom_tests::{Answer, Broker, Options, QUIET, oracle};
use serde_json::{Value, json};

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

/// A broker; `None` where nats-server stands in for it.
fn broker() -> Option<Broker> {
    let skips = oracle::skips("it has no HTTP door for tasks");
    (!skips).then(|| Broker::start(Options::default()))
}

/// Submit `body` as the operator.
#[track_caller]
fn submit(broker: &Broker, body: &str) -> Answer {
    broker.http_post("/api/tasks", &(broker.bearer() + JSON), body)
}

/// The request is refused with `status`, because of `field` and as this kind of mistake.
#[track_caller]
pub(crate) fn expect_invalid(answer: &Answer, status: u16, field: &str, error: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error"]),
        (status, &json!("validation_failed")),
        "{answer:?}"
    );
    let found = body["errors"].as_array().and_then(|errors| {
        errors.iter().find(|found| found["field"] == field && found["error"] == error)
    });
    let found = found.unwrap_or_else(|| panic!("no {error} of {field}: {answer:?}"));
    assert!(found["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer:?}");
}

#[test]
fn health_is_for_everybody_and_counts_the_agents() {
    let Some(broker) = broker() else { return };
    let expect = |agents: u64| {
        let body = json!({"status": "ok", "service": "agent_com", "agents_connected": agents});
        let answer = broker.http_get("/health", "");
        answer.expect(200, &body);
        assert!(answer.head.contains("\r\ncontent-type: application/json"), "{answer:?}");
    };
    expect(0);
    let mut alice = broker.connect(QUIET);
    expect(0);
    alice.start_worker("alice");
    expect(1);
    let mut bob = broker.connect(QUIET);
    bob.start_worker("bob");
    expect(2);
    // One agent with two connections is one agent: the newer one speaks for it.
    let mut again = broker.connect(QUIET);
    again.start_worker("alice");
    alice.expect("REPLACED\r\n");
    expect(2);
    // A start that was declined made no agent.
    let mut nobody = broker.connect(QUIET);
    nobody.expect_declined("WORKER START w a*b\r\n", "invalid");
    expect(2);
    bob.send("WORKER STOP s\r\n");
    bob.expect("OK s\r\n");
    expect(1);
}

#[test]
fn a_task_is_submitted_and_shown() {
    let Some(broker) = broker() else { return };
    let body = r#"{"description":"résumé","priority":"high","needed_capabilities":["gpu"],
        "queue":"resize","max_retries":2}"#;
    let answer = submit(&broker, body);
    let submitted = answer.json();
    assert_eq!((answer.status, &submitted["status"]), (201, &json!("queued")), "{answer:?}");
    let id = submitted["task_id"].as_str().expect("an id");
    let is_id = id.strip_prefix("task-").is_some_and(|hex| hex.len() == 16);
    assert!(is_id && submitted["priority"] == 1, "{submitted}");

    let answer = broker.http_get(&format!("/api/tasks/{id}"), &broker.bearer());
    let shown = answer.json();
    assert_eq!(answer.status, 200, "{answer:?}");
    for (key, value) in [
        ("id", json!(id)),
        ("status", json!("queued")),
        ("priority", json!(1)),
        ("queue", json!("resize")),
        ("needed_capabilities", json!(["gpu"])),
        ("max_retries", json!(2)),
        ("retry_count", json!(0)),
        ("generation", json!(0)),
        ("assigned_to", Value::Null),
        ("result", Value::Null),
        ("submitted_by", json!("operator")),
    ] {
        assert_eq!(shown.get(key), Some(&value), "{key} of {shown}");
    }
    let history =
        json!([{"event": "queued", "timestamp": shown["created_at"], "details": "submitted"}]);
    assert_eq!(shown["history"], history);
    let number = u64::from_str_radix(&id["task-".len()..], 16).expect("hex");
    let plain = broker.http_get(&format!("/api/tasks/{number}"), &broker.bearer());
    plain.expect(200, &shown);
}

#[test]
fn a_token_opens_the_door_and_nothing_else_does() {
    let Some(broker) = broker() else { return };
    let token = broker.operator_token();
    assert!(token.len() == 64 && token.bytes().all(|digit| digit.is_ascii_hexdigit()), "{token}");
    let refused = json!({"error": "unauthorized", "hint": "provide Authorization: Bearer <token>"});
    let nearly = format!("{}{}", &token[..63], if token.ends_with('0') { '1' } else { '0' });
    for header in [
        String::new(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {nearly}\r\n"),
        format!("Authorization: Bearer {}\r\n", &token[..63]),
        format!("Authorization: Bearer {token}0\r\n"),
        format!("X-Token: {token}\r\n"),
    ] {
        broker.http_get("/api/tasks/1", &header).expect(401, &refused);
        let body = r#"{"description":"x"}"#;
        broker.http_post("/api/tasks", &(header + JSON), body).expect(401, &refused);
    }
    // Nothing of that was kept.
    let mut agent = broker.connect(QUIET);
    agent.start_worker("alice");
    agent.expect_nothing();
}

#[test]
fn what_is_not_there_is_not_found() {
    let Some(broker) = broker() else { return };
    let bearer = broker.bearer();
    for id in ["0", "999999", "task-000000000000ffff", "nonsense", "18446744073709551616"] {
        let refused = json!({"error": "task_not_found", "task_id": id});
        broker.http_get(&format!("/api/tasks/{id}"), &bearer).expect(404, &refused);
    }
    for path in ["/", "/api", "/api/task", "/api/tasks/1/x", "/health/x", "/operator.token"] {
        broker.http_get(path, &bearer).expect(404, &json!({"error": "not_found"}));
    }
    broker.http_post("/health", "", "").expect(404, &json!({"error": "not_found"}));
    broker.http_delete("/api/tasks", &bearer).expect(404, &json!({"error": "not_found"}));
}

#[test]
fn a_body_that_cannot_be_read_is_refused() {
    let Some(broker) = broker() else { return };
    let bearer = broker.bearer();
    for body in ["{", "{\"description\":", "nonsense", "{\"description\":\"\u{1}\"}"] {
        expect_invalid(&submit(&broker, body), 400, "body", "malformed");
    }
    for content_type in ["text/plain", "application/xml", "json"] {
        let headers = format!("{bearer}Content-Type: {content_type}\r\n");
        let answer = broker.http_post("/api/tasks", &headers, r#"{"description":"x"}"#);
        expect_invalid(&answer, 415, "body", "unsupported_media_type");
    }
    // Known, and answered, before any of it is sent.
    let answer = broker.http_raw(&format!(
        "POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 8000001\r\n{JSON}{bearer}\r\n"
    ));
    expect_invalid(&answer, 413, "body", "too_long");
}

#[test]
fn every_mistake_in_a_body_is_named() {
    let Some(broker) = broker() else { return };
    let with = |field: &str, value: Value| {
        let mut body = json!({"description": "x"});
        body[field] = value;
        submit(&broker, &body.to_string())
    };
    for (field, value, error) in [
        ("description", Value::Null, "required"),
        ("description", json!(""), "required"),
        ("description", json!(7), "wrong_type"),
        ("priority", json!("asap"), "invalid_value"),
        ("max_retries", json!(11), "invalid_value"),
        ("queue", json!("a b"), "invalid_value"),
        ("metadata", json!([]), "wrong_type"),
        ("needed_capabilities", json!("gpu"), "wrong_type"),
        ("depends_on", json!(["task-0000000000000001"]), "invalid_value"),
    ] {
        expect_invalid(&with(field, value.clone()), 400, field, error);
    }
    // All of them at once.
    let answer = submit(&broker, r#"{"priority":7,"queue":""}"#);
    for (field, error) in
        [("description", "required"), ("priority", "wrong_type"), ("queue", "invalid_value")]
    {
        expect_invalid(&answer, 400, field, error);
    }
}

#[test]
fn requests_that_are_two_requests_to_somebody_else_are_refused() {
    let Some(broker) = broker() else { return };
    let bearer = broker.bearer();
    let submit = |headers: &str| {
        broker.http_raw(&format!(
            "POST /api/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{JSON}{bearer}{headers}\r\n\
             0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
    };
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Content-Length: 5\r\n",
    ] {
        let answer = submit(headers);
        assert_eq!(answer.status, 400, "{headers:?}: {answer:?}");
        assert!(!answer.body.contains("HTTP/1.1"), "answered twice to {headers:?}: {answer:?}");
    }
}

/// Register an agent; the header that its token makes.
#[track_caller]
pub(crate) fn register(broker: &Broker, agent: &str) -> (String, String) {
    let body = json!({ "agent_id": agent }).to_string();
    let answer = broker.http_post("/api/onboard/register", JSON, &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    (format!("Authorization: Bearer {token}\r\n"), token)
}

#[test]
fn an_agent_registers_and_its_token_is_good_until_it_is_revoked() {
    let Some(mut broker) = broker() else { return };
    let (alice, token) = register(&broker, "alice");
    let again = broker.http_post("/api/onboard/register", JSON, r#"{"agent_id":"alice"}"#);
    again.expect(409, &json!({"error": "agent_id already registered"}));
    let task = r#"{"description":"x"}"#;
    let submit = |broker: &Broker, bearer: &str| {
        broker.http_post("/api/tasks", &(bearer.to_owned() + JSON), task).status
    };
    assert_eq!(submit(&broker, &alice), 201);
    // Another one of its own, and after a crash both are good.
    let body = r#"{"agent_id":"alice"}"#;
    let answer = broker.http_post("/admin/tokens", &(alice.clone() + JSON), body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let second = answer.json()["token"].as_str().expect("a token").to_owned();
    let second = format!("Authorization: Bearer {second}\r\n");
    broker.kill();
    broker.start_again();
    assert_eq!([submit(&broker, &alice), submit(&broker, &second)], [201, 201]);
    let listed = broker.http_get("/admin/tokens", &broker.bearer()).json();
    let prefixes: Vec<&str> = listed["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["token_prefix"].as_str().expect("a prefix"))
        .collect();
    assert!(prefixes.len() == 2 && prefixes.contains(&&*format!("{}...", &token[..8])), "{listed}");
    let answer = broker.http_delete("/admin/tokens/alice", &alice);
    answer.expect(200, &json!({"status": "revoked", "agent_id": "alice"}));
    assert_eq!([submit(&broker, &alice), submit(&broker, &second)], [401, 401]);
    register(&broker, "alice");
    assert_eq!(submit(&broker, &alice), 401, "a revoked token stays one");
}

#[test]
fn an_admin_brings_the_tokens_of_another_hub() {
    let Some(broker) = broker() else { return };
    let (ann, _) = register(&broker, "ann");
    let token = "0123456789abcdef".repeat(4);
    let bring = |bearer: &str, token: &str| {
        let body = json!({"agent_id": "old-one", "token": token}).to_string();
        broker.http_post("/admin/tokens", &(bearer.to_owned() + JSON), &body)
    };
    assert_eq!(bring(&ann, &token).status, 403);
    for wrong in ["", "xyz", &"g".repeat(64), &token[1..]] {
        expect_invalid(&bring(&broker.bearer(), wrong), 400, "token", "invalid_value");
    }
    let answer = bring(&broker.bearer(), &token);
    answer.expect(201, &json!({"agent_id": "old-one", "token": token}));
    assert_eq!(bring(&broker.bearer(), &token).status, 409, "it is there already");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(broker.http_get("/api/mailbox/old-one", &bearer).status, 200);
    // An agent may not choose the token that it knows itself by, either.
    let body = json!({"agent_id": "ann", "token": "1".repeat(64)}).to_string();
    assert_eq!(broker.http_post("/admin/tokens", &(ann + JSON), &body).status, 403);
}

#[test]
fn no_token_of_an_agent_is_written_down() {
    let Some(broker) = broker() else { return };
    let (_, token) = register(&broker, "alice");
    let folder = broker.folder();
    let mut looked_at = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!found, "{} holds the token", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 3, "the store has files");
}

#[test]
fn a_task_waits_for_others_and_is_for_whom_it_names() {
    let Some(broker) = broker() else { return };
    let first = submit(&broker, r#"{"description":"first","assign_to":"alice"}"#).json();
    let first = first["task_id"].as_str().expect("an id").to_owned();
    let second = json!({"description": "second", "depends_on": [first],
        "metadata": {"assign_to": "alice"}, "needed_capabilities": ["whatever"]});
    assert_eq!(submit(&broker, &second.to_string()).status, 201);
    let unknown = json!({"description": "x", "depends_on": ["task-00000000000fffff"]});
    expect_invalid(&submit(&broker, &unknown.to_string()), 400, "depends_on", "invalid_value");
    let mut bob = broker.connect(QUIET);
    bob.start_worker("bob credit=9");
    bob.expect_nothing();
    let mut alice = broker.connect(QUIET);
    alice.start_worker("alice credit=9");
    let offer = alice.offer();
    alice.expect_nothing();
    alice.send(format!("TASK COMPLETE c {} 0\r\n\r\n", offer.lease()));
    alice.expect(format!("OK c task={} state=completed\r\n", offer.task));
    assert_eq!(alice.offer().task, offer.task + 1);
}

#[test]
fn tasks_are_listed_in_the_order_of_priority_and_age() {
    let Some(broker) = broker() else { return };
    let mut ids = Vec::new();
    for (description, priority, goal) in
        [("a", "low", "g"), ("b", "normal", "h"), ("c", "urgent", "g"), ("d", "normal", "g")]
    {
        let body = json!({"description": description, "priority": priority, "goal_id": goal,
            "max_retries": 1});
        let answer = submit(&broker, &body.to_string());
        ids.push(answer.json()["task_id"].as_str().expect("an id").to_owned());
    }
    let mut worker = broker.connect(QUIET);
    worker.start_worker("alice");
    let offer = worker.offer();
    let fail = format!("TASK FAIL f {} {} class=fatal 2\r\nno\r\n", offer.task, offer.generation);
    let answer = worker.ask(fail);
    assert!(answer.starts_with("OK f"), "{answer}");
    let list = |query: &str| {
        let answer = broker.http_get(&format!("/api/tasks{query}"), &broker.bearer());
        let body = answer.json();
        let tasks = body["tasks"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
        assert_eq!(body["count"], tasks.len());
        let text = |task: &Value| task["description"].as_str().unwrap_or_default().to_owned();
        tasks.iter().map(text).collect::<String>()
    };
    // The urgent one is dead: it is listed elsewhere. The next one was offered meanwhile.
    assert_eq!(list(""), "bda");
    assert_eq!(list("?priority=normal"), "bd");
    assert_eq!(list("?priority=0"), "bda", "a digit asks for nothing");
    assert_eq!(list("?goal_id=g"), "da");
    assert_eq!(list("?status=queued"), "da");
    assert_eq!(list("?status=assigned&assigned_to=alice"), "b");
    assert_eq!(list("?assigned_to=bob"), "");
    assert_eq!(list("?status=dead_letter") + &list("?status=dance"), "");
    assert_eq!(list("/dead-letter"), "c");
    let retried = broker.http_post(&format!("/api/tasks/{}/retry", ids[2]), &broker.bearer(), "");
    assert_eq!(retried.json()["status"], "requeued", "{retried:?}");
    assert_eq!(list("/dead-letter"), "");
    let cancelled =
        broker.http_post(&format!("/api/tasks/{}/cancel", ids[0]), &broker.bearer(), "");
    let expected = json!({"status": "cancelled", "task_id": ids[0], "previous_status": "queued"});
    cancelled.expect(200, &expected);
    assert_eq!(list("?priority=low"), "");
    for what in ["retry", "cancel"] {
        let path = format!("/api/tasks/task-00000000000fffff/{what}");
        let missing = json!({"error": "task_not_found", "task_id": "task-00000000000fffff"});
        broker.http_post(&path, &broker.bearer(), "").expect(404, &missing);
    }
}

#[test]
fn who_is_at_work_is_known_again_after_a_crash() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q", "x");
    wire.start_worker("ann");
    let offer = wire.offer();
    assert!(wire.ask(format!("TASK ACCEPT t {}\r\n", offer.lease())).starts_with("OK t "));
    let expect = |broker: &Broker| {
        let shown = broker.http_get("/api/dashboard/state", "").json();
        let agent = &shown["agents"][0];
        let id = json!(format!("task-{task:016x}"));
        assert_eq!((&agent["fsm_state"], &agent["current_task_id"]), (&json!("working"), &id));
        assert_eq!(shown["queue"]["by_status"]["assigned"], 1, "{shown}");
        let task = broker.http_get(&format!("/api/tasks/{task}"), &broker.bearer()).json();
        assert!(task["assigned_at"].as_u64() >= task["created_at"].as_u64(), "{task}");
    };
    expect(&broker);
    broker.kill();
    broker.start_again();
    expect(&broker);
}

#[test]
fn what_is_small_and_tested_is_the_first_tier() {
    let Some(broker) = broker() else { return };
    let submitted = submit(&broker, r#"{"description":"x"}"#).json();
    let task = submitted["task_id"].as_str().expect("an id").to_owned();
    let headers = broker.bearer() + JSON;
    let classify = |task: &str, body: &Value| {
        broker.http_post(&format!("/api/tasks/{task}/classify"), &headers, &body.to_string())
    };
    let small = json!({"lines_added": 15, "lines_deleted": 5, "files_changed": ["a", "b"],
        "files_added": ["b", "c"], "tests_exist": true});
    let first = json!({"tier": 1, "reasons": ["small and tested"], "auto_merge_eligible": false});
    classify(&task, &small).expect(200, &first);
    classify(&task, &json!({"lines_added": 21})).expect(
        200,
        &json!({"tier": 2, "reasons": ["21 lines are changed, 20 count as few",
            "there are no tests"], "auto_merge_eligible": false}),
    );
    for (field, bad) in [
        ("lines_added", json!("5")),
        ("lines_deleted", json!(-1)),
        ("files_changed", json!("a")),
        ("tests_exist", json!(1)),
    ] {
        let answer = classify(&task, &json!({ field: bad }));
        assert_eq!(answer.status, 400, "{field}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{answer:?}");
    }
    assert_eq!(classify("task-0000000000000000", &small).status, 404);
    let path = format!("/api/tasks/{task}/classify");
    assert_eq!(broker.http_post(&path, JSON, "{}").status, 401);

    let mut wire = broker.connect(QUIET);
    for (key, value) in [("risk_tier1_max_lines", "19"), ("risk_auto_merge_tier1", "true")] {
        let set = wire.ask(format!("CONFIG SET c {key} {}\r\n{value}\r\n", value.len()));
        assert!(set.starts_with("OK"), "{set}");
    }
    assert_eq!(classify(&task, &small).json()["tier"], 2);
    let smaller = json!({"lines_added": 19, "tests_exist": true});
    assert_eq!(classify(&task, &smaller).json()["auto_merge_eligible"], true);
}

#[test]
fn what_the_broker_only_keeps_of_a_task_is_checked_all_the_same() {
    let Some(broker) = broker() else { return };
    let task = |field: &str, value: &Value| {
        submit(&broker, &json!({"description": "x", field: value}).to_string())
    };
    for (field, value) in [
        ("file_hints", json!([{"path": "a", "reason": "b"}, {"path": "c", "more": 1}])),
        ("verification_steps", json!([{"type": "a", "target": "b", "description": null}])),
        ("success_criteria", json!(["a"])),
        ("complexity_tier", json!("unknown")),
        ("skip_verification", json!(true)),
        ("repo", Value::Null),
        ("stranger", json!([1])),
    ] {
        assert_eq!(task(field, &value).status, 201, "{field} {value}");
    }
    for (field, value, at, error, detail) in [
        ("repo", json!(7), "repo", "wrong_type", "expected string, got integer"),
        ("skip_verification", json!("yes"), "skip_verification", "wrong_type", "expected boolean"),
        (
            "success_criteria",
            json!(["a", 1]),
            "success_criteria[1]",
            "wrong_type",
            "expected string",
        ),
        ("file_hints", json!(["a"]), "file_hints[0]", "wrong_type", "expected object, got string"),
        ("file_hints", json!({}), "file_hints", "wrong_type", "expected array, got object"),
        (
            "file_hints",
            json!([{"path": ""}]),
            "file_hints[0].path",
            "required",
            "file hint must have a non-empty string 'path'",
        ),
        (
            "file_hints",
            json!([{"path": "a", "reason": 1}]),
            "file_hints[0].reason",
            "wrong_type",
            "expected string, got integer",
        ),
        (
            "verification_steps",
            json!([{"type": "a"}]),
            "verification_steps[0].target",
            "required",
            "verification step must have a non-empty string 'target'",
        ),
        (
            "verification_timeout_ms",
            json!(1.0),
            "verification_timeout_ms",
            "wrong_type",
            "expected integer, got float",
        ),
        (
            "complexity_tier",
            json!("heroic"),
            "complexity_tier",
            "invalid_value",
            "must be one of: trivial, standard, complex, unknown",
        ),
    ] {
        let answer = task(field, &value);
        assert_eq!(answer.status, 400, "{field} {value}: {answer:?}");
        let errors = answer.json()["errors"].clone();
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{errors}");
        assert_eq!((&errors[0]["field"], &errors[0]["error"]), (&json!(at), &json!(error)));
        let found = errors[0]["detail"].as_str().expect("a sentence");
        assert!(found.starts_with(detail), "{field} {value}: {found}");
    }
}
