//! What is counted, as Prometheus reads it; and what is looked at elsewhere is really there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use agentcom_tests::{Broker, Options, QUIET, oracle};

/// Names of the metrics in `text`, without what histograms put behind theirs.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == '_';
    let words = text.split(|byte| !is_part(byte)).filter(|word| word.starts_with("agentcom_"));
    let base = |word: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        base.filter(|base| base.ends_with("_seconds")).unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

fn metrics(broker: &Broker) -> String {
    broker.http_get("/metrics", &broker.bearer()).body
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn every_metric_that_a_rule_or_a_panel_names_is_there() {
    if oracle::skips("it has other metrics") {
        return;
    }
    let broker = Broker::start(Options::default());
    let there = named(&metrics(&broker));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for file in ["operations/alerts.yml", "operations/grafana.json", "operations.md"] {
        let text = fs::read_to_string(docs.join(file)).expect(file);
        let wanted = named(&text);
        assert!(wanted.len() > 3, "{file} names {wanted:?}");
        let missing: Vec<&String> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which nobody counts");
    }
}

#[test]
fn what_becomes_of_a_task_is_counted_and_timed() {
    if oracle::skips("it has no tasks") {
        return;
    }
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("q attempts=1", "x");
    let mut alice = broker.connect(QUIET);
    alice.start_worker("alice queues=q");
    let lease = alice.offer().lease();
    let done = alice.ask(format!("TASK COMPLETE c {lease} 2\r\nok\r\n"));
    assert_eq!(done, format!("OK c task={task} state=completed"));
    wire.submit("q attempts=1", "y");
    let lease = alice.offer().lease();
    let failed = alice.ask(format!("TASK FAIL f {lease} 2\r\nno\r\n"));
    assert!(failed.contains("state=dead"), "{failed}");

    let text = metrics(&broker);
    for (name, expected) in [
        ("agentcom_tasks_submitted_total", 2.0),
        ("agentcom_tasks_assigned_total", 2.0),
        ("agentcom_tasks_completed_total", 1.0),
        ("agentcom_tasks_died_total", 1.0),
        ("agentcom_tasks_dead", 1.0),
        ("agentcom_task_wait_seconds_count", 2.0),
        ("agentcom_task_run_seconds_count", 1.0),
    ] {
        assert_eq!(value(&text, name), expected, "{name}");
    }
    let commits = value(&text, "agentcom_commits_total");
    assert_eq!(value(&text, "agentcom_commit_seconds_count"), commits);
    assert_eq!(value(&text, "agentcom_sync_seconds_count"), commits);
    let [all, disk] =
        ["commit", "sync"].map(|part| value(&text, &format!("agentcom_{part}_seconds_sum")));
    assert!(all >= disk && disk > 0.0, "{all} {disk}");
    assert!(value(&text, "agentcom_read_seconds_count") > 0.0);
    assert!(value(&text, "agentcom_disk_free_bytes") > 0.0);
    assert_eq!(value(&text, "agentcom_backup_timestamp_seconds"), 0.0);
}
