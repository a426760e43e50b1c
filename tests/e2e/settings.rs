//! Shared settings over HTTP, written from the contract.

use agentcom_tests::{Broker, Options, oracle};
use serde_json::{Value, json};

use crate::http::{JSON, expect_invalid, register};

#[test]
fn shared_settings_have_their_defaults_and_outlive_a_crash() {
    if oracle::skips("it has no shared settings") {
        return;
    }
    let mut broker = Broker::start(Options::default());
    let ann = register(&broker, "ann").0;
    let heartbeat = "/api/config/heartbeat-interval";
    let retention = "/api/config/mailbox-retention";
    let repo = "/api/config/default-repo";
    let thresholds = "/api/config/alert-thresholds";
    let get = |broker: &Broker, path: &str| broker.http_get(path, &ann);
    get(&broker, heartbeat).expect(200, &json!({"heartbeat_interval_ms": 900_000}));
    get(&broker, retention).expect(200, &json!({"mailbox_ttl_ms": 604_800_000}));
    broker.http_get(repo, "").expect(200, &json!({"default_repo": null, "configured": false}));
    let defaults = json!({"check_interval_ms": 30_000, "queue_growing_checks": 3,
        "failure_rate_pct": 50.0, "stuck_task_ms": 300_000, "error_count_hour": 10,
        "table_size_bytes": 100_000_000, "dead_letter_count": 10, "queued_tasks_count": 50,
        "error_rate_per_minute": 20, "agent_disconnects_per_hour": 10,
        "backup_stale_ms": 172_800_000, "disk_used_pct": 85.0,
        "cooldowns": {"queue_growing": 300_000, "high_failure_rate": 600_000, "stuck_tasks": 0,
            "no_agents_online": 0, "high_error_rate": 300_000, "table_size": 3_600_000,
            "dead_letters": 300_000, "queue_backlog": 300_000, "error_burst": 300_000,
            "agent_disconnects": 300_000, "backup_stale": 3_600_000, "disk_filling": 3_600_000,
            "disk_scarce": 0}});
    get(&broker, thresholds).expect(200, &defaults);
    broker.http_get(heartbeat, "").expect(401, &json!({"error": "unauthorized"}));

    let put = |broker: &Broker, path: &str, body: &Value| {
        broker.http_put(path, &(broker.bearer() + JSON), &body.to_string())
    };
    put(&broker, heartbeat, &json!({"heartbeat_interval_ms": 5}))
        .expect(200, &json!({"heartbeat_interval_ms": 5, "status": "updated"}));
    put(&broker, retention, &json!({"mailbox_ttl_ms": 1}))
        .expect(200, &json!({"mailbox_ttl_ms": 1, "status": "updated"}));
    put(&broker, repo, &json!({"url": "https://x/y"}))
        .expect(200, &json!({"status": "ok", "default_repo": "https://x/y"}));
    put(&broker, thresholds, &json!({"a": {"b": 1}}))
        .expect(200, &json!({"status": "updated", "effective": "next_check_cycle"}));
    for bad in [json!(0), json!(-1), json!("5"), json!(1.5)] {
        let body = json!({"heartbeat_interval_ms": bad, "mailbox_ttl_ms": bad});
        let field = "heartbeat_interval_ms";
        expect_invalid(&put(&broker, heartbeat, &body), 400, field, "wrong_type");
        expect_invalid(&put(&broker, retention, &body), 400, "mailbox_ttl_ms", "wrong_type");
    }
    expect_invalid(&put(&broker, repo, &json!({})), 400, "url", "required");
    let of_ann = broker.http_put(repo, &(ann.clone() + JSON), r#"{"url":""}"#);
    assert_eq!(of_ann.status, 403, "{of_ann:?}");

    broker.kill();
    broker.start_again();
    get(&broker, heartbeat).expect(200, &json!({"heartbeat_interval_ms": 5}));
    get(&broker, thresholds).expect(200, &json!({"a": {"b": 1}}));
    let new = broker.http_post("/api/onboard/register", JSON, r#"{"agent_id":"ben"}"#).json();
    assert_eq!(new["default_repo"], "https://x/y", "new agents are told");

    // The broker goes by the retention that was set: a millisecond is over by the time of a poll.
    let mail = r#"{"to":"ann","payload":{}}"#;
    broker.http_post("/api/message", &(broker.bearer() + JSON), mail);
    let sent_ms = get(&broker, "/api/mailbox/ann").json()["messages"][0]["timestamp"].clone();
    assert!(sent_ms.is_u64(), "{sent_ms}");
    let evicted = || {
        broker.http_post("/api/mailbox/evict", &broker.bearer(), "");
        get(&broker, "/api/mailbox/ann").json()["count"] == 0
    };
    assert!((0..1_000).any(|_| evicted()), "it waits still");
    // An empty address counts as one.
    put(&broker, repo, &json!({"url": ""}))
        .expect(200, &json!({"status": "ok", "default_repo": ""}));
    broker.http_get(repo, "").expect(200, &json!({"default_repo": "", "configured": true}));
}
