//! Going back to a backup while the broker runs, and starting anew: what was wanted comes back,
//! everything else stays, nothing is touched for a backup that is not whole, and the port is never
//! closed.

use std::fs;

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle};
use serde_json::{Value, json};

use crate::http::{JSON, register};

fn broker() -> Option<Broker> {
    let skips = oracle::skips("it has no backups");
    (!skips).then(|| Broker::start(Options::default()))
}

fn back_up(broker: &Broker) -> String {
    let made = broker.http_post("/api/admin/backup", &broker.bearer(), "");
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["backup"].as_str().expect("a name").to_owned()
}

fn mail(broker: &Broker) {
    let headers = broker.bearer() + JSON;
    let sent = broker.http_post("/api/message", &headers, r#"{"to":"ann","payload":{}}"#);
    assert_eq!(sent.status, 200, "{sent:?}");
}

fn is_there(wire: &mut Wire, task: u64) -> bool {
    wire.ask(format!("TASK SHOW t {task}\r\n")).starts_with("OK")
}

#[track_caller]
fn restore(broker: &Broker, path: &str) -> Value {
    let answer = broker.http_post(path, &broker.bearer(), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_table_comes_back_and_everything_else_stays() {
    let Some(mut broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mut wire = broker.connect(QUIET);
    let old = wire.submit("jobs", "old");
    mail(&broker);
    let backup = back_up(&broker);
    let new = wire.submit("jobs", "new");
    mail(&broker);

    let restored = restore(&broker, "/api/admin/restore/task_queue");
    assert_eq!(restored["status"], "restored");
    assert_eq!(restored["table"], "task_queue");
    assert_eq!(restored["backup_used"], json!(backup));
    assert_eq!(restored["record_count"], 1);
    wire.read_to_end();
    drop(wire);

    for _ in 0..2 {
        let mut wire = broker.connect(QUIET);
        assert_eq!(wire.show(old)["payload"], "old", "its body came with it");
        assert!(!is_there(&mut wire, new), "it came after the backup");
        assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 2);
        let next = wire.submit("other", "next");
        assert!(next > new, "{next} was given out before, as {new}");
        // All of this is on disk.
        broker.kill();
        broker.start_again();
    }
    let mut wire = broker.connect(QUIET);
    let taken = wire.take("jobs wait_ms=10000");
    assert_eq!(taken.len(), 1, "the core knows what the store holds");
}

#[test]
fn everything_comes_back() {
    let Some(broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mut wire = broker.connect(QUIET);
    let old = wire.submit("jobs", "old");
    let backup = back_up(&broker);
    let new = wire.submit("jobs", "new");
    mail(&broker);
    let bob = register(&broker, "bob").0;

    drop(wire);
    let restored = restore(&broker, &format!("/api/admin/backups/{backup}/restore"));
    assert_eq!(restored["backup_used"], json!(backup));
    let replaced = restored["replaced"].as_str().expect("the old store stays");
    assert!(fs::metadata(replaced).is_ok_and(|store| store.is_dir()), "{replaced}");

    let mut wire = broker.connect(QUIET);
    assert!(is_there(&mut wire, old) && !is_there(&mut wire, new));
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 0);
    assert_eq!(broker.http_get("/api/mailbox/bob", &bob).status, 401);
    let next = wire.submit("jobs", "next");
    assert!(next > new, "{next} was given out before, as {new}");
}

#[test]
fn nothing_is_touched_without_a_backup_that_is_whole() {
    let Some(broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("jobs", "x");
    let post = |path: &str, headers: &str| broker.http_post(path, headers, "");
    let none = post("/api/admin/restore/task_queue", &broker.bearer());
    assert_eq!(none.status, 500, "{none:?}");
    assert_eq!(none.json()["status"], "failed");
    assert_eq!(none.json()["table"], "task_queue");
    for path in ["/api/admin/restore/nonsense", "/api/admin/restore/broker_meta"] {
        assert_eq!(post(path, &broker.bearer()).status, 404, "{path}");
    }
    let backup = back_up(&broker);
    let everything = format!("/api/admin/backups/{backup}/restore");
    for path in ["/api/admin/restore/task_queue", &everything, "/api/admin/reset"] {
        assert_eq!(post(path, &ann).status, 403, "{path}");
        assert_eq!(post(path, "").status, 401, "{path}");
    }
    let sums = broker.folder().join("data/backups").join(&backup).join("SHA256SUMS");
    fs::write(sums, "").expect("spoil the backup");
    for path in ["/api/admin/restore/task_queue", &everything] {
        let damaged = post(path, &broker.bearer());
        assert_eq!(damaged.status, 500, "{damaged:?}");
        let sentence = damaged.json()["error"].to_string();
        assert!(sentence.contains("is damaged"), "{sentence}");
    }
    // The very connection lives on.
    assert_eq!(wire.show(task)["state"], "ready");
}

#[test]
fn a_reset_starts_anew_with_all_that_is_kept() {
    let Some(broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("jobs", "x");
    let of_ann = broker.http_post("/api/admin/reset", &ann, "");
    let message = "Only admin agents can reset the hub";
    of_ann.expect(403, &json!({"error": "admin_only", "message": message}));
    let reset = broker.http_post("/api/admin/reset", &broker.bearer(), "");
    reset.expect(200, &json!({"status": "reset_scheduled", "triggered_by": "operator"}));
    wire.read_to_end();
    drop(wire);
    let mut wire = broker.connect(QUIET);
    assert_eq!(wire.show(task)["state"], "ready");
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 0);
}

#[test]
fn a_table_comes_back_with_the_broker_stopped() {
    let Some(mut broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    mail(&broker);
    back_up(&broker);
    mail(&broker);
    let task = broker.connect(QUIET).submit("jobs", "x");
    broker.terminate();
    let data = broker.folder().join("data");
    let folder = ["--data-dir", data.to_str().expect("a path of text")];
    let restore = |table: &str| {
        let arguments = ["backup", "restore", "latest", "--table", table];
        broker.run(&[&arguments[..], &folder[..]].concat())
    };
    let unknown = restore("broker_meta");
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("there are task_queue, "), "{unknown:?}");
    let restored = restore("agent_mailbox");
    assert_eq!(restored.code, Some(0), "{restored:?}");
    broker.start_again();
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 1);
    assert!(is_there(&mut broker.connect(QUIET), task));
}

#[test]
fn where_the_old_store_cannot_be_read_numbers_go_on_far_beyond_those_of_the_backup() {
    let Some(mut broker) = broker() else { return };
    let old = broker.connect(QUIET).submit("jobs", "x");
    back_up(&broker);
    broker.connect(QUIET).submit("jobs", "x");
    broker.terminate();
    let data = broker.folder().join("data");
    fs::remove_file(data.join("store/CURRENT")).expect("spoil the store");
    let folder = data.to_str().expect("a path of text");
    let restored = broker.run(&["backup", "restore", "latest", "--data-dir", folder]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.out.contains("go on far beyond"), "{restored:?}");
    broker.start_again();
    let next = broker.connect(QUIET).submit("jobs", "x");
    assert!(next > old + (1 << 32), "{next}");
}

/// Whoever held a task before a restore can do nothing to it afterwards, not even once as many others
/// have held it as before.
fn nobody_is_taken_for_another(go_back: impl Fn(&mut Broker)) {
    let Some(mut broker) = broker() else { return };
    broker.connect(QUIET).submit("jobs", "x");
    back_up(&broker);
    let mut wire = broker.connect(QUIET);
    let mut held = Vec::new();
    for _ in 0..3 {
        let [offer] = &wire.take("jobs wait_ms=10000")[..] else { panic!("no task") };
        held.push(offer.lease());
        let released = wire.ask(format!("TASK RELEASE r {}\r\n", offer.lease()));
        assert!(released.starts_with("OK"), "{released}");
    }
    let [offer] = &wire.take("jobs wait_ms=10000")[..] else { panic!("no task") };
    held.push(offer.lease());
    go_back(&mut broker);
    let mut wire = broker.connect(QUIET);
    for _ in 0..held.len() {
        let [offer] = &wire.take("jobs wait_ms=10000")[..] else { panic!("no task") };
        for old in &held {
            let answer = wire.ask(format!("TASK COMPLETE c {old} 0\r\n\r\n"));
            assert!(answer.starts_with("ERR c stale_generation"), "{old}: {answer}");
        }
        let released = wire.ask(format!("TASK RELEASE r {}\r\n", offer.lease()));
        assert!(released.starts_with("OK"), "{released}");
    }
}

#[test]
fn a_task_that_comes_back_does_not_belong_to_whoever_had_it() {
    nobody_is_taken_for_another(|broker| {
        restore(broker, "/api/admin/restore/task_queue");
    });
    let stopped = |broker: &mut Broker, table: &[&str]| {
        broker.terminate();
        let data = broker.folder().join("data");
        let folder = data.to_str().expect("a path of text");
        broker.run_well(&[&["backup", "restore", "latest", "--data-dir", folder], table].concat());
        broker.start_again();
    };
    nobody_is_taken_for_another(|broker| stopped(broker, &[]));
    nobody_is_taken_for_another(|broker| stopped(broker, &["--table", "task_queue"]));
}
