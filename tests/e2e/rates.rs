//! How often agents may ask over HTTP, with the numbers that a broker has by itself. What a
//! WebSocket says of it is in `interop/python/rates.py`.

use agentcom_tests::{Answer, Broker, Options, QUIET, Socket, Wire, oracle, until};
use serde_json::{Value, json};

use crate::http::{JSON, register};

fn broker() -> Option<Broker> {
    (!oracle::skips("it limits no agents")).then(|| Broker::start(Options::default().rated()))
}

#[track_caller]
fn expect_denied(answer: &Answer, tier: &str, at_most_ms: u64) {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]), (429, &json!("rate_limited")), "{answer:?}");
    assert_eq!(body["tier"], tier, "{answer:?}");
    let wait_ms = body["retry_after_ms"].as_u64().expect("a number");
    assert!((1_000..=at_most_ms).contains(&wait_ms) && wait_ms.is_multiple_of(1_000), "{answer:?}");
    let header = format!("\r\nretry-after: {}\r\n", wait_ms / 1_000);
    assert!(answer.head.contains(&header), "{answer:?}");
}

#[test]
fn whoever_asks_too_often_waits_and_nobody_else_does() {
    let Some(broker) = broker() else { return };
    let (ann, ben) = (register(&broker, "ann").0, register(&broker, "ben").0);
    let submit = |bearer: &str, body: &str| {
        broker.http_post("/api/tasks", &(bearer.to_owned() + JSON), body)
    };
    let task = r#"{"description":"x"}"#;
    // Another one every three seconds: a slow machine may be let in for some more.
    let mut answers = (0..40).map(|_| submit(&ann, task));
    let kept = answers.by_ref().take_while(|answer| answer.status == 201).count();
    assert!((20..30).contains(&kept), "{kept}");
    let denied = answers.find(|answer| answer.status == 429).expect("it asks too often");
    expect_denied(&denied, "heavy", 3_000);
    // Before the fields are looked at, and not before the token and the body are.
    expect_denied(&submit(&ann, "{}"), "heavy", 3_000);
    assert_eq!(submit(&ann, "{").status, 400);
    assert_eq!(submit("", task).status, 401);
    assert_eq!(submit(&ben, task).status, 201);
    assert_eq!(broker.http_get("/api/tasks", &ann).status, 200, "another tier");
    let stats = broker.http_get("/api/tasks/stats", &ann).json();
    let queued = stats["by_status"]["queued"].as_u64().expect("a number");
    assert!((21..32).contains(&queued), "what was denied was not kept: {stats}");
    for _ in 0..100 {
        assert_eq!(submit(&broker.bearer(), task).status, 201, "the operator");
    }
    // A second token of the same agent is the same agent.
    let more = broker.http_post("/admin/tokens", &(ann.clone() + JSON), r#"{"agent_id":"ann"}"#);
    let token = more.json()["token"].as_str().expect("a token").to_owned();
    let again = format!("Authorization: Bearer {token}\r\n");
    expect_denied(&submit(&again, task), "heavy", 3_000);
    let shown = broker.http_get("/api/dashboard/state", "").json();
    let limits = &shown["rate_limits"];
    assert_eq!(limits["per_agent"]["ann"]["http"]["task_submit"]["capacity"], 20.0, "{limits}");
    assert_eq!(limits["summary"]["top_offenders"][0]["agent_id"], "ann", "{limits}");
}

#[test]
fn an_address_registers_three_agents_and_then_waits() {
    let Some(broker) = broker() else { return };
    for agent in ["a", "b", "c"] {
        register(&broker, agent);
    }
    let body = r#"{"agent_id":"d"}"#;
    let denied = broker.http_post("/api/onboard/register", JSON, body);
    expect_denied(&denied, "heavy", 100_000);
    // What has no bucket is not limited, whoever asks.
    for _ in 0..200 {
        assert_eq!(broker.http_get("/health", "").status, 200);
    }
    let mut statuses = (0..400).map(|_| broker.http_get("/api/agents", "").status);
    assert!(statuses.by_ref().take(120).all(|status| status == 200));
    assert!(statuses.any(|status| status == 429));
}

#[test]
fn an_admin_changes_what_an_agent_may_and_that_outlives_a_crash() {
    let Some(mut broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let admin = |broker: &Broker| broker.bearer() + JSON;
    let limits = "/api/admin/rate-limits";
    let shown = broker.http_get(limits, &broker.bearer()).json();
    let heavy = json!({"capacity": 10.0, "refill_rate_per_min": 10.0});
    assert_eq!((&shown["defaults"]["heavy"], &shown["whitelist"]), (&heavy, &json!([])));
    assert_eq!(broker.http_get(limits, &ann).status, 403);
    assert_eq!(broker.http_get(limits, "").status, 401);

    let of_ann = "/api/admin/rate-limits/ann";
    let set = json!({"heavy": {"capacity": 2, "refill_rate_per_min": 0}});
    let answer = broker.http_put(of_ann, &admin(&broker), &set.to_string());
    answer.expect(200, &json!({"status": "updated", "agent_id": "ann", "overrides": set}));
    for (body, detail) in [
        (json!({}), "at least one tier"),
        (json!({"medium": {"capacity": 1, "refill_rate_per_min": 1}}), "at least one tier"),
        (json!({"heavy": {"capacity": 1}}), "each tier must have numeric"),
        (json!({"heavy": {"capacity": -1, "refill_rate_per_min": 1}}), "each tier"),
        (json!({"heavy": 7}), "each tier must have numeric"),
    ] {
        let answer = broker.http_put(of_ann, &admin(&broker), &body.to_string());
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_overrides")));
        assert!(answer.json()["detail"].as_str().is_some_and(|text| text.contains(detail)));
    }
    broker.kill();
    broker.start_again();
    let submit = |broker: &Broker| {
        broker.http_post("/api/tasks", &(ann.clone() + JSON), r#"{"description":"x"}"#).status
    };
    assert_eq!([submit(&broker), submit(&broker), submit(&broker)], [201, 201, 429]);
    let shown = broker.http_get(limits, &broker.bearer()).json();
    // In the units of the hub: thousandths of a token, and those in a millisecond.
    let own = json!({"ann": {"heavy": {"capacity": 2000.0, "refill_rate": 0.0}}});
    assert_eq!(shown["overrides"], own);

    let whitelist = "/api/admin/rate-limits/whitelist";
    let added = broker.http_post(whitelist, &admin(&broker), r#"{"agent_id":"ann"}"#);
    added.expect(200, &json!({"status": "added", "agent_id": "ann"}));
    assert_eq!(submit(&broker), 201);
    broker.kill();
    broker.start_again();
    let found = broker.http_get(whitelist, &broker.bearer());
    found.expect(200, &json!({"whitelist": ["ann"]}));
    for (method_body, error) in [
        (r#"{"agent_ids":"ann"}"#, "invalid_whitelist"),
        (r#"{"agent_ids":[1]}"#, "invalid_whitelist"),
    ] {
        let answer = broker.http_put(whitelist, &admin(&broker), method_body);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)));
    }
    let answer = broker.http_post(whitelist, &admin(&broker), r#"{"agent_id":""}"#);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_agent_id")));
    let gone = broker.http_delete(&format!("{whitelist}/ann"), &broker.bearer());
    gone.expect(200, &json!({"status": "removed", "agent_id": "ann"}));
    let replaced = broker.http_put(whitelist, &admin(&broker), r#"{"agent_ids":["b","a"]}"#);
    replaced.expect(200, &json!({"status": "updated", "whitelist": ["a", "b"]}));
    broker
        .http_delete(of_ann, &broker.bearer())
        .expect(200, &json!({"status": "removed", "agent_id": "ann"}));
    let shown = broker.http_get(limits, &broker.bearer()).json();
    assert_eq!(
        (&shown["overrides"], shown["whitelist"].as_array().map(Vec::len)),
        (&json!({}), Some(2))
    );
    assert_eq!([submit(&broker), submit(&broker), submit(&broker)], [201, 201, 201]);
}

#[test]
fn what_everybody_may_do_is_set_while_it_runs_and_kept() {
    let Some(mut broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let limits = "/api/admin/rate-limits";
    let put = |broker: &Broker, body: &Value| {
        broker.http_put(limits, &(broker.bearer() + JSON), &body.to_string())
    };
    let set = json!({"task_submit": {"capacity": 1, "refill_rate_per_min": 0}});
    put(&broker, &set).expect(200, &json!({"status": "updated", "defaults": set}));
    for bad in [
        json!({"task_submits": {"capacity": 1, "refill_rate_per_min": 0}}),
        json!({"task_submit": {"capacity": 1}}),
        json!({"light": 7}),
    ] {
        let answer = put(&broker, &bad);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_defaults")));
    }
    let of_ann = broker.http_put(limits, &(ann.clone() + JSON), &set.to_string());
    assert_eq!(of_ann.status, 403, "{of_ann:?}");
    let submit = |broker: &Broker| {
        broker.http_post("/api/tasks", &(ann.clone() + JSON), r#"{"description":"x"}"#).status
    };
    assert_eq!([submit(&broker), submit(&broker)], [201, 429]);
    broker.kill();
    broker.start_again();
    assert_eq!([submit(&broker), submit(&broker)], [201, 429]);
    let shown = broker.http_get(limits, &broker.bearer()).json();
    assert_eq!(shown["defaults"]["task_submit"]["capacity"], 1.0);
    assert_eq!(shown["defaults"]["message"]["capacity"], 100.0, "as configured");
    // Nothing is set any more, and what is configured counts.
    put(&broker, &json!({})).expect(200, &json!({"status": "updated", "defaults": {}}));
    assert_eq!([submit(&broker), submit(&broker)], [201, 201]);
}

#[test]
fn what_is_set_from_the_command_line_counts_at_once() {
    let Some(broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let submit = || {
        let headers = ann.clone() + JSON;
        broker.http_post("/api/tasks", &headers, r#"{"description":"x"}"#).status
    };
    let set = |key: &str, value: &str| broker.run(&["config", "set", key, value]);
    let none = r#"{"task_submit":{"capacity":0,"refill_rate_per_min":0}}"#;
    let said = set("rate_limit_defaults", none);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "rate_limit_defaults is set, version 1\n")
    );
    assert!(until(|| (submit() == 429).then_some(())).is_some(), "it does not count");
    assert_eq!(set("rate_limit_whitelist", r#"["ann"]"#).code, Some(0));
    assert!(until(|| (submit() == 201).then_some(())).is_some(), "it does not count");

    for (key, value, words) in [
        ("rate_limit_defaults", r#"{"task_submits":{}}"#, "there are light, "),
        ("rate_limit_defaults", "7", "must be an object"),
        ("rate_limit_overrides", r#"{"ann":{}}"#, "at least one tier"),
        ("rate_limit_whitelist", r#"{"ann":1}"#, "a list of strings"),
        ("rate_limit_whitelist", "ann", "JSON"),
        ("quotas", r#"{"ann":{}}"#, "is no identity"),
        ("quotas", r#"{"agent:ann":{"messages":"x"}}"#, "messages"),
    ] {
        let said = set(key, value);
        assert_eq!(said.code, Some(1), "{key} {value}: {said:?}");
        assert!(said.err.contains(words), "{key} {value}: {said:?}");
    }
    let shown = broker.run_well(&["config", "get", "rate_limit_whitelist"]);
    assert_eq!(shown, "[\"ann\"]\n");
    let listed = broker.run_well(&["config", "ls"]);
    assert!(listed.lines().count() == 3 && listed.contains("rate_limit_defaults"), "{listed}");
    let old = broker.run(&["config", "set", "motd", "x", "--version", "4"]);
    assert!(old.code == Some(1) && old.err.contains("version"), "{old:?}");
    let unset = broker.run(&["config", "get", "motd"]);
    assert!(unset.code == Some(1) && unset.err.contains("never set"), "{unset:?}");
}

#[test]
fn whoever_asks_too_much_is_given_no_work_for_a_while() {
    let Some(broker) = broker() else { return };
    let [(ann, ann_token), (_, ben_token)] = ["ann", "ben"].map(|agent| register(&broker, agent));
    let one = json!({"light": {"capacity": 1, "refill_rate_per_min": 1}});
    let of_ann = "/api/admin/rate-limits/ann";
    let set = broker.http_put(of_ann, &(broker.bearer() + JSON), &one.to_string());
    assert_eq!(set.status, 200, "{set:?}");
    let mut socket = Socket::identify(&broker, "ann", &ann_token);
    // Frames are handled in order: once this is answered, it takes work.
    socket.send(&json!({"type": "ping"}));
    socket.expect("pong");
    // Over another door than its work comes through.
    let look = || broker.http_get("/api/tasks", &ann).status;
    assert_eq!([look(), look(), look()], [200, 429, 429]);

    let submit = || {
        let body = r#"{"description":"x"}"#;
        let kept = broker.http_post("/api/tasks", &(broker.bearer() + JSON), body).json();
        let hex = kept["task_id"].as_str().and_then(|id| id.strip_prefix("task-"));
        u64::from_str_radix(hex.expect("an id"), 16).expect("a number")
    };
    let task = submit();
    let mut wire = broker.connect(QUIET);
    let why = |wire: &mut Wire, task| wire.ask_json(&format!("TASK WHY w {task}"));
    let waits = why(&mut wire, task);
    let found = |key: &str| waits["reasons"][0][key].as_u64();
    assert_eq!([found("agents"), found("limited"), found("busy")], [Some(1), Some(1), Some(0)]);
    let mut other = Socket::identify(&broker, "ben", &ben_token);
    let assigned = other.expect("task_assign");
    assert_eq!(assigned["task_id"], format!("task-{task:016x}"), "{assigned}");
    let waits = why(&mut wire, submit());
    assert_eq!(waits["reasons"][0]["limited"], 1, "{waits}");
}
