//! Alerts of the broker's own: those of the seed, the disk's, and what is remembered of them.

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle, until};
use serde_json::{Value, json};

use crate::http::{JSON, register};

const THRESHOLDS: &str = "/api/config/alert-thresholds";

fn set(broker: &Broker, thresholds: &Value) {
    let headers = broker.bearer() + JSON;
    let answer = broker.http_put(THRESHOLDS, &headers, &thresholds.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn history(broker: &Broker) -> Vec<Value> {
    let answer = broker.http_get("/api/admin/alerts", &broker.bearer()).json();
    answer["alerts"].as_array().unwrap_or_else(|| panic!("no alerts in {answer}")).clone()
}

/// The newest alert of a rule, once it is over or is not.
#[track_caller]
fn await_alert(broker: &Broker, rule: &str, is_over: bool) -> Value {
    let found = until(|| {
        let alert = history(broker).into_iter().find(|alert| alert["rule_id"] == rule)?;
        (alert["cleared_at"].is_u64() == is_over).then_some(alert)
    });
    found.unwrap_or_else(|| panic!("{rule} is not so (over: {is_over}): {:?}", history(broker)))
}

/// The next event of an alert.
fn event(watcher: &mut Wire) -> Value {
    let message = watcher.expect_line();
    let (line, body) = message.split_once("\r\n").unwrap_or((&message, ""));
    assert!(line.starts_with("MSG $AC.EVENT.ALERT 1 "), "{message}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?}: {error}"))
}

#[test]
fn what_is_wrong_is_told_while_it_is_wrong_and_remembered() {
    if oracle::skips("it has no alerts") {
        return;
    }
    let mut broker = Broker::start(Options::default());
    let ann = register(&broker, "ann").0;
    // Everything that this machine may have too little of is allowed.
    set(
        &broker,
        &json!({"check_interval_ms": 100, "queued_tasks_count": 1, "dead_letter_count": 0,
            "error_rate_per_minute": 1, "disk_used_pct": 100}),
    );
    // What was set counts at once after a start.
    broker.kill();
    broker.start_again();
    let mut watcher = broker.connect(QUIET);
    watcher.send("SUB $AC.EVENT.ALERT 1\r\n");
    watcher.flush();
    assert_eq!(history(&broker), [] as [Value; 0]);

    let mut wire = broker.connect(QUIET);
    let tasks: Vec<u64> = (0..2).map(|_| wire.submit("jobs attempts=1", "x")).collect();
    let fired = event(&mut watcher);
    assert_eq!(fired["type"], "alert_fired", "{fired}");
    let alert = &fired["data"];
    assert_eq!(alert["rule_id"], "queue_backlog");
    assert_eq!(alert["severity"], "warning");
    assert_eq!(alert["details"], json!({"current_depth": 2, "threshold": 1}));
    assert_eq!(alert["message"], "2 tasks wait; 1 are expected");
    assert_eq!(broker.http_get("/api/alerts", "").json()["alerts"], json!([alert]));

    // Both fail for good: nothing waits, two are dead letters, two errors in a minute.
    for _ in &tasks {
        let offer = wire.take("jobs").remove(0);
        let failed = wire.ask(format!("TASK FAIL f {} 2\r\nno\r\n", offer.lease()));
        assert!(failed.starts_with("OK f"), "{failed}");
    }
    let over = await_alert(&broker, "queue_backlog", true);
    assert_eq!(over["fired_at"], alert["fired_at"]);
    assert!(over["cleared_at"].as_u64() > over["fired_at"].as_u64(), "{over}");
    let dead = await_alert(&broker, "dead_letters", false);
    assert_eq!(dead["details"]["threshold"], 0);
    let burst = await_alert(&broker, "error_burst", false);
    assert_eq!(burst["details"], json!({"failed": 2, "threshold": 1}));
    let known = "/api/alerts/dead_letters/acknowledge";
    assert_eq!(broker.http_post(known, &broker.bearer(), "").status, 200);
    assert_eq!(await_alert(&broker, "dead_letters", false)["acknowledged"], true);
    for task in tasks {
        let dropped = wire.ask(format!("DEAD DISCARD d {task}\r\n"));
        assert!(dropped.starts_with("OK d"), "{dropped}");
    }
    let over = await_alert(&broker, "dead_letters", true);
    assert_eq!(over["acknowledged"], true, "who knew of it is remembered");

    let of_ann = broker.http_get("/api/admin/alerts", &ann);
    assert_eq!(of_ann.status, 403, "{of_ann:?}");
}

#[test]
fn what_no_event_tells_of_is_looked_up() {
    if oracle::skips("it has no alerts") {
        return;
    }
    let mut broker = Broker::start(Options::default());
    set(
        &broker,
        &json!({"check_interval_ms": 100, "table_size_bytes": 0, "disk_used_pct": 0,
            "backup_stale_ms": 0}),
    );
    let mut wire = broker.connect(QUIET);
    let payload = "x".repeat(1_000);
    for _ in 0..100 {
        wire.submit("jobs", &payload);
    }
    assert_eq!(broker.http_post("/api/admin/compact/task_queue", &broker.bearer(), "").status, 200);
    broker.kill();
    broker.start_again();
    let table = await_alert(&broker, "table_size", false);
    assert!(table["details"]["file_size_bytes"].as_u64() > Some(0), "{table}");
    let disk = await_alert(&broker, "disk_filling", false);
    assert!(disk["details"]["used_pct"].as_f64() > Some(0.0), "{disk}");
    await_alert(&broker, "backup_stale", false);
}
