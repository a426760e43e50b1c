//! The command line against a real broker.

use std::io::Read as _;

use agentcom_tests::{Broker, Options, oracle};
use serde_json::{Value, json};

fn broker() -> Option<Broker> {
    (!oracle::skips("it has no such commands")).then(|| Broker::start(Options::default()))
}

#[track_caller]
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

#[test]
fn a_queue_is_filled_listed_taken_from_and_removed() {
    let Some(broker) = broker() else { return };
    assert_eq!(broker.run_well(&["queue", "put", "emails", "hello"]), "1\n");
    assert_eq!(broker.run_with_input(&["queue", "put", "emails"], "world").out, "2\n");
    broker.run_well(&["queue", "put", "emails", "later", "--delay", "1h"]);
    let table = broker.run_well(&["queue", "ls"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["queue", "ready", "running", "scheduled"]);
    assert_eq!(rows[1][..4], ["emails", "2", "0", "1"]);
    let listed = json(&broker.run_well(&["queue", "ls", "--json"]));
    assert_eq!((&listed["queue"], &listed["ready"]), (&"emails".into(), &2.into()));

    assert_eq!(broker.run_well(&["queue", "take", "emails"]), "hello\n");
    let taken = json(&broker.run_well(&["queue", "take", "emails", "--json"]));
    assert_eq!((&taken["task"], &taken["payload"]), (&2.into(), &"world".into()));
    let said = broker.run(&["queue", "take", "emails"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));

    broker.run_well(&["queue", "pause", "emails"]);
    assert_eq!(json(&broker.run_well(&["queue", "show", "emails", "--json"]))["paused"], true);
    let dry = json(&broker.run_well(&["queue", "rm", "emails", "--dry-run", "--json"]));
    assert_eq!((&dry["tasks"], &dry["dry_run"]), (&1.into(), &true.into()));
    broker.run_well(&["queue", "rm", "emails"]);
    assert_eq!(broker.run_well(&["queue", "ls", "--json"]), "");
}

#[test]
fn a_queue_is_set_as_told_and_reset_by_removing_it() {
    let Some(broker) = broker() else { return };
    let set = ["queue", "set", "mail", "--json"];
    let options = ["--rate", "100/1m", "--leases-max", "5", "--order", "fair", "--weights", "a=3"];
    let view = json(&broker.run_well(&[&set[..], &options[..]].concat()));
    for (key, value) in [
        ("rate_max", json!(100)),
        ("rate_ms", json!(60_000)),
        ("leases_max", json!(5)),
        ("order", json!("fair")),
        ("weights", json!({"a": 3})),
    ] {
        assert_eq!(view[key], value, "{key} of {view}");
    }
    let view = json(&broker.run_well(&[&set[..], &["--rate", "none"]].concat()));
    assert_eq!((view.get("rate_max"), &view["leases_max"]), (None, &json!(5)), "{view}");
    assert_eq!(broker.run(&set).code, Some(1), "nothing to change");
    assert_eq!(broker.run(&[&set[..], &["--rate", "fast"]].concat()).code, Some(2));
    broker.run_well(&["queue", "rm", "mail"]);
    assert_eq!(broker.run_well(&["queue", "ls", "--json"]), "");
}

#[test]
fn a_command_works_on_tasks_as_its_exit_code_says() {
    let Some(broker) = broker() else { return };
    let script = "read x; case $x in good) echo fine;; again) test $AGENTCOM_ATTEMPT -gt 1 \
        || exit 75;; *) echo hopeless >&2; exit 3;; esac";
    let arguments = ["worker", "alice", "--can", "shell", "--queue", "work", "--exec", script];
    let mut worker = broker.spawn(&arguments);
    let submit = |body| broker.run_well(&["task", "submit", "work", body, "--needs", "shell"]);
    let good = submit("good");
    assert_eq!(broker.run_well(&["task", "await", good.trim()]), "fine\n\n");
    let again = submit("again");
    let again = again.trim();
    broker.run_well(&["task", "await", again, "--timeout", "30s"]);
    assert_eq!(json(&broker.run_well(&["task", "show", again, "--json"]))["attempts"], 1);

    let bad = submit("bad");
    let bad = bad.trim();
    let said = broker.run(&["task", "await", bad, "--timeout", "30s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let listed = json(&broker.run_well(&["dead", "ls", "--queue", "work", "--json"]));
    assert_eq!((&listed["dead"], &listed["error"]), (&"non_retryable".into(), &"hopeless".into()));
    let said = broker.run(&["dead", "show", again]);
    assert_eq!(said.code, Some(1), "{said:?}");
    broker.run_well(&["dead", "redrive", bad, "--dry-run"]);
    assert_eq!(json(&broker.run_well(&["task", "show", bad, "--json"]))["state"], "dead");
    broker.run_well(&["dead", "purge", "--all"]);
    assert_eq!(broker.run_well(&["dead", "ls", "--json"]), "");

    end(&mut worker, "TERM");
}

#[test]
fn a_cancelled_task_has_its_command_killed_and_a_stopped_worker_hands_back() {
    let Some(broker) = broker() else { return };
    let script = "exec tail -f /dev/null";
    let mut worker = broker.spawn(&["worker", "alice", "--drain", "1ms", "--exec", script]);
    let running = |task: &str| {
        let watched = broker.spawn(&["task", "watch", task, "--from", "0", "--json"]);
        let mut watched = watched;
        let out = watched.stdout.take().expect("stdout is a pipe");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        let found = lines.map_while(Result::ok).find(|line| json(line)["state"] == "running");
        assert!(found.is_some(), "task {task} never ran");
        watched.kill().expect("kill the watch");
        watched.wait().expect("wait for the watch");
    };
    let first = broker.run_well(&["task", "submit", "work", "x"]);
    running(first.trim());
    broker.run_well(&["task", "cancel", first.trim(), "--reason", "changed my mind"]);
    let said = broker.run(&["task", "await", first.trim(), "--timeout", "30s"]);
    assert!(said.err.contains("changed my mind"), "{said:?}");

    let second = broker.run_well(&["task", "submit", "work", "y"]);
    running(second.trim());
    end(&mut worker, "TERM");
    let view = json(&broker.run_well(&["task", "show", second.trim(), "--json"]));
    assert_eq!((&view["state"], &view["attempts"]), (&"ready".into(), &0.into()));
    let why = json(&broker.run_well(&["task", "why", second.trim(), "--json"]));
    assert_eq!(why["reasons"][0]["code"], "nobody_fits");
    let table = broker.run_well(&["task", "ls", "--queue", "work"]);
    assert_eq!(table.lines().count(), 2, "{table}");
}

/// Ask a command to stop, which it does in order.
#[track_caller]
fn end(child: &mut std::process::Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.expect("run kill").success());
    let mut said = String::new();
    child.stderr.take().expect("stderr is a pipe").read_to_string(&mut said).expect("text");
    let status = child.wait().expect("wait for the command");
    assert_eq!(status.code(), Some(0), "{said}");
}
