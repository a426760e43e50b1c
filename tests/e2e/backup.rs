//! Backups and what is done with them (promises R31 to R34): a backup that is made while everything
//! goes on is a whole store of one moment; one that is not what was made is never put in place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use agentcom_tests::{Broker, Options, QUIET, Random, Said, Wire, oracle, until};
use serde_json::{Value, json};

use crate::http::{JSON, register};

/// A broker; `None` where nats-server stands in for it.
fn broker() -> Option<Broker> {
    let skips = oracle::skips("it has no backups");
    (!skips).then(|| Broker::start(Options::default()))
}

fn data(broker: &Broker) -> PathBuf {
    broker.folder().join("data")
}

/// `agentcom backup` with these arguments, on the folders of `broker`.
#[track_caller]
fn on_folders(broker: &Broker, arguments: &[&str]) -> Said {
    let data = data(broker);
    let folder = ["--data-dir", data.to_str().expect("a path of text")];
    broker.run(&[&["backup"], arguments, &folder].concat())
}

#[track_caller]
fn create(broker: &Broker) -> Value {
    let made = broker.run_well(&["backup", "create", "--json"]);
    serde_json::from_str(&made).unwrap_or_else(|error| panic!("{made:?}: {error}"))
}

/// The names of the folders in `backups/`, in their order.
fn folders(broker: &Broker) -> Vec<String> {
    let entries = fs::read_dir(data(broker).join("backups")).expect("a folder of backups");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Turn one bit in the middle of a file. The file is a new one then: in a backup it may be another
/// name of one that the store uses.
fn flip(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).expect("a file");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    replace(path, &bytes);
    whole
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("remove the file");
    fs::write(path, bytes).expect("write it anew");
}

#[test]
fn a_backup_under_load_holds_all_that_was_acknowledged_before_it_and_nothing_in_part() {
    let Some(mut broker) = broker() else { return };
    let ann = register(&broker, "ann").0;
    let mail = r#"{"to":"ann","payload":{"text":"hello"}}"#;
    broker.http_post("/api/message", &(broker.bearer() + JSON), mail);
    let mut wire = broker.connect(QUIET);
    let before = (0..300).map(|number| wire.submit("load", &format!("payload {number}")));
    let before: Vec<u64> = before.collect();
    let is_over = AtomicBool::new(false);
    let (made, during) = thread::scope(|threads| {
        let load = threads.spawn(|| {
            let mut wire = broker.connect(QUIET);
            let mut submitted = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                submitted.push(wire.submit("load", "meanwhile"));
            }
            submitted
        });
        let made = create(&broker);
        is_over.store(true, Ordering::Relaxed);
        (made, load.join().expect("the load"))
    });
    assert!(!during.is_empty(), "nothing was submitted meanwhile");
    assert_eq!(made["damaged"], 0, "{made}");

    let refused = on_folders(&broker, &["restore", "latest"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("another broker uses"), "{refused:?}");
    let after = wire.submit("load", "too late for the backup");
    broker.terminate();
    let restored = on_folders(&broker, &["restore", "latest"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.out.contains("store.replaced-"), "{restored:?}");
    broker.start_again();

    let mut wire = broker.connect(QUIET);
    for (number, &task) in before.iter().enumerate() {
        assert_eq!(wire.show(task)["payload"], format!("payload {number}"), "task {task}");
    }
    let is_there =
        |wire: &mut Wire, task: u64| wire.ask(format!("TASK SHOW t {task}\r\n")).starts_with("OK");
    // What one connection submitted one by one is there up to some moment.
    let kept: Vec<bool> = during.iter().map(|&task| is_there(&mut wire, task)).collect();
    assert!(kept.is_sorted_by(|earlier, later| earlier >= later), "there are gaps: {kept:?}");
    assert!(!is_there(&mut wire, after), "task {after} came after the backup");
    // The agent is known by the same token, and has its mail.
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 1);
}

#[test]
fn a_bit_that_turned_anywhere_in_a_backup_is_found_and_nothing_is_restored() {
    let Some(mut broker) = broker() else { return };
    let task = broker.connect(QUIET).submit("q", "kept");
    let made = create(&broker);
    let folder = PathBuf::from(made["folder"].as_str().expect("a folder"));
    broker.terminate();
    assert_eq!(on_folders(&broker, &["verify", "latest"]).code, Some(0));
    let name = made["backup"].as_str().expect("a name");
    let mut kinds: Vec<String> = Vec::new();
    for path in files(&folder).into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0) {
        let whole = flip(&path);
        let verified = on_folders(&broker, &["verify", name]);
        assert_eq!(verified.code, Some(1), "{path:?}: {verified:?}");
        assert!(verified.err.contains("is damaged"), "{path:?}: {verified:?}");
        let restored = on_folders(&broker, &["restore", name]);
        assert_eq!(restored.code, Some(1), "{path:?}: {restored:?}");
        replace(&path, &whole);
        let file = path.file_name().unwrap().to_str().unwrap();
        kinds.push(file.trim_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned());
    }
    for kind in [".sst", "MANIFEST", "CURRENT", "manifest.json", "SHA256SUMS", "operator.token"] {
        assert!(kinds.iter().any(|found| found == kind), "no {kind} among {kinds:?}");
    }
    // A file that is gone, and one too many.
    let current = folder.join("store").join("CURRENT");
    let whole = fs::read(&current).unwrap();
    fs::remove_file(&current).unwrap();
    assert_eq!(on_folders(&broker, &["verify", name]).code, Some(1));
    fs::write(&current, whole).unwrap();
    fs::write(folder.join("store").join("999999.sst"), "surplus").unwrap();
    assert_eq!(on_folders(&broker, &["verify", name]).code, Some(1));
    fs::remove_file(folder.join("store").join("999999.sst")).unwrap();
    assert_eq!(on_folders(&broker, &["verify", name]).code, Some(0));

    let leftovers = fs::read_dir(data(&broker)).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers = leftovers.filter(|name| name.to_string_lossy().starts_with("store."));
    assert_eq!(leftovers.count(), 0, "a restore left something behind");
    broker.start_again();
    assert_eq!(broker.connect(QUIET).show(task)["payload"], "kept");
}

#[test]
fn a_broker_that_is_killed_amid_a_backup_leaves_whole_ones_only() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    for number in 0..200 {
        wire.submit("q", &format!("{number}"));
    }
    create(&broker);
    // Killed at what it tells first, second and third of what it does.
    for events in 1..=3 {
        let mut operator = broker.connect(QUIET);
        operator.send("SUB $AC.EVENT.BACKUP 1\r\nBACKUP CREATE b\r\n");
        for _ in 0..events {
            operator.next_operation().expect("an event");
        }
        broker.kill();
        for name in folders(&broker).iter().filter(|name| !name.ends_with(".unfinished")) {
            let verified = on_folders(&broker, &["verify", name]);
            assert_eq!(verified.code, Some(0), "after {events} events: {verified:?}");
        }
        broker.start_again();
    }
    create(&broker);
    let names = folders(&broker);
    assert!(names.iter().all(|name| !name.ends_with(".unfinished")), "{names:?}");
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_store_or_the_new_one() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let kept = wire.submit("q", &"x".repeat(500_000));
    for _ in 0..40 {
        wire.submit("q", &"y".repeat(500_000));
    }
    create(&broker);
    let later = wire.submit("q", "later");
    broker.terminate();
    let (data, mut outcomes) = (data(&broker), Vec::new());
    let replaced = || {
        let names = fs::read_dir(&data).expect("the data folder");
        names
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("store.replaced")
            })
            .count()
    };
    let folder = data.to_str().expect("a path of text");
    for attempt in 1..=3 {
        let before = replaced();
        let mut child = broker.spawn(&["backup", "restore", "latest", "--data-dir", folder]);
        let begun =
            until(|| (replaced() > before || child.try_wait().unwrap().is_some()).then_some(()));
        assert!(begun.is_some(), "attempt {attempt} did nothing");
        child.kill().expect("kill the restore");
        child.wait().expect("wait for it");
        broker.start_again();
        let mut wire = broker.connect(QUIET);
        assert_eq!(wire.show(kept)["state"], "ready", "attempt {attempt}");
        outcomes.push(wire.ask(format!("TASK SHOW t {later}\r\n")).starts_with("OK"));
        broker.terminate();
    }
    // What was replaced once does not come back.
    assert!(outcomes.is_sorted_by(|earlier, later| earlier >= later), "{outcomes:?}");
    let restored = on_folders(&broker, &["restore", "latest"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    broker.start_again();
    assert!(!broker.connect(QUIET).ask(format!("TASK SHOW t {later}\r\n")).starts_with("OK"));
}

#[test]
fn the_newest_backups_are_kept_and_made_by_themselves() {
    if oracle::skips("it has no backups") {
        return;
    }
    let options = Options::default().backup("keep", 2).backup("every_ms", 1);
    let broker = Broker::start(options);
    let mut operator = broker.connect(QUIET);
    operator.send("SUB $AC.EVENT.BACKUP 1\r\n");
    let mut made = Vec::new();
    while made.len() < 3 {
        let event = operator.next_operation().expect("an event");
        let text = String::from_utf8(event).expect("text");
        let (_, json) = text.split_once("\r\n").expect("a payload");
        let event: Value = serde_json::from_str(json).expect("an object");
        assert_ne!(event["state"], "failed", "{event}");
        if event["state"] == "complete" {
            made.push(event["backup"].as_str().expect("a name").to_owned());
        }
    }
    let names = folders(&broker);
    let names: Vec<&String> = names.iter().filter(|name| !name.ends_with(".unfinished")).collect();
    assert!(names.len() <= 3 && !names.contains(&&made[0]), "{made:?} became {names:?}");
    assert!(made.is_sorted(), "{made:?}");
}

#[test]
fn an_empty_folder_gets_the_operators_token_for_its_owner_alone() {
    let Some(mut broker) = broker() else { return };
    let task = broker.connect(QUIET).submit("q", "kept");
    create(&broker);
    broker.terminate();
    let token = broker.operator_token();
    let (data, kept) = (data(&broker), broker.folder().join("kept"));
    fs::rename(data.join("backups"), &kept).expect("save the backups");
    fs::remove_dir_all(&data).expect("lose the data folder");
    let restored = on_folders(&broker, &["restore", "latest", "--dir", kept.to_str().unwrap()]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.out.contains("the operator's token came from the backup"), "{restored:?}");
    let mode = fs::metadata(data.join("operator.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    broker.start_again();
    assert_eq!(broker.operator_token(), token);
    assert_eq!(broker.connect(QUIET).show(task)["payload"], "kept");
}

#[test]
fn a_name_cannot_lead_out_of_the_folder_of_the_backups() {
    let Some(broker) = broker() else { return };
    create(&broker);
    let mut wire = broker.connect(QUIET);
    for name in ["..", "2026-11-26_05-22-00.unfinished", "1999-01-01_00-00-00", "latest"] {
        let sentence = wire.expect_declined(&format!("BACKUP VERIFY v {name}\r\n"), "no_backup");
        assert!(sentence.contains(name), "{sentence}");
    }
    wire.expect_declined("BACKUP VERIFY v ../data\r\n", "invalid");
    for name in ["..", "../../data", "/", "1999-01-01_00-00-00"] {
        for what in ["verify", "restore"] {
            let said = on_folders(&broker, &[what, name]);
            assert_eq!(said.code, Some(1), "{what} {name}: {said:?}");
        }
    }
}

#[test]
fn backups_are_for_operators() {
    if oracle::skips("it has no backups") {
        return;
    }
    let broker = Broker::start(Options::default().agents());
    let (header, token) = register(&broker, "ann");
    for (method, path) in [
        ("POST", "/api/admin/backup"),
        ("GET", "/api/admin/backups"),
        ("POST", "/api/admin/backups/2026-11-27_03-00-00/verify"),
        ("GET", "/api/admin/dets-health"),
        ("GET", "/api/admin/store-health"),
        ("POST", "/api/admin/compact"),
        ("POST", "/api/admin/compact/task_queue"),
    ] {
        let ask = |headers: &str| match method {
            "GET" => broker.http_get(path, headers),
            _ => broker.http_post(path, headers, ""),
        };
        assert_eq!(ask("").status, 401, "{method} {path}");
        assert_eq!(ask(&header).status, 403, "{method} {path}");
    }
    let login = json!({"verbose": false, "pedantic": false, "auth_token": token});
    let mut ann = broker.connect(&login.to_string());
    for request in ["BACKUP CREATE", "BACKUP LIST", "STORE SHOW", "STORE COMPACT"] {
        ann.expect_declined(&format!("{request} t\r\n"), "denied");
    }
}

#[test]
fn the_routes_of_the_hub_answer_with_its_keys() {
    let Some(broker) = broker() else { return };
    let bearer = broker.bearer();
    let health = broker.http_get("/api/admin/dets-health", &bearer).json();
    assert_eq!(
        (&health["health_status"], &health["stale_backup"], &health["last_backup_at"]),
        (&json!("warning"), &json!(true), &Value::Null)
    );
    let made = broker.http_post("/api/admin/backup", &bearer, "");
    let body = made.json();
    assert_eq!((made.status, &body["status"]), (200, &json!("complete")), "{body}");
    assert_eq!(body["tables_success"], body["tables_total"]);
    assert!(Path::new(body["backup_path"].as_str().unwrap()).is_dir(), "{body}");
    let listed = broker.http_get("/api/admin/backups", &bearer).json();
    assert_eq!(listed["backups"][0]["backup"], body["backup"]);
    let name = body["backup"].as_str().unwrap();
    let verify =
        |name: &str| broker.http_post(&format!("/api/admin/backups/{name}/verify"), &bearer, "");
    assert_eq!((verify(name).status, verify("1999-01-01_00-00-00").status), (200, 404));

    let health = broker.http_get("/api/admin/store-health", &bearer).json();
    assert_eq!(health["health_status"], "healthy", "{health}");
    assert_eq!(health["last_backup_at"], body["made_ms"]);
    let tables = health["tables"].as_array().expect("tables");
    for key in ["table", "record_count", "file_size_bytes", "fragmentation_ratio", "status"] {
        assert!(tables.iter().all(|table| !table[key].is_null()), "{key}: {health}");
    }
    let run = broker.http_post("/api/admin/compact", &bearer, "").json();
    assert_eq!((&run["status"], &run["tables_total"]), (&json!("complete"), &json!(tables.len())));
    assert_eq!(run["tables_skipped"], run["tables_total"], "there is nothing to gain: {run}");
    let compact =
        |table: &str| broker.http_post(&format!("/api/admin/compact/{table}"), &bearer, "");
    assert_eq!(compact("task_queue").json()["table"], "task_queue");
    let unknown = compact("no_such_table");
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("unknown_table")));
}

#[test]
fn a_check_finds_the_record_that_is_not_what_was_written() {
    let Some(mut broker) = broker() else { return };
    let mut random = Random::seeded();
    // Nothing that would be packed into a few bytes.
    let payload: String =
        (0..100_000).map(|_| char::from(b'!' + u8::try_from(random.below(90)).unwrap())).collect();
    let task = broker.connect(QUIET).submit("q", &payload);
    // A start writes what is in the log as tables.
    broker.terminate();
    broker.start_again();
    broker.terminate();
    let data = data(&broker);
    let check = || broker.run(&["store", "check", "--data-dir", data.to_str().unwrap()]);
    let whole = check();
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.out.contains("records can be read"), "{whole:?}");
    let before: Vec<_> =
        files(&data).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    check();
    for (bytes, path) in &before {
        assert!(fs::read(path).unwrap() == *bytes, "a check changed {path:?}");
    }
    let tables = before.iter().filter(|(_, path)| path.extension().is_some_and(|end| end == "sst"));
    let (_, largest) = tables.max_by_key(|(bytes, _)| bytes.len()).expect("a table");
    flip(largest);
    let damaged = check();
    assert_eq!(damaged.code, Some(1), "task {task}: {damaged:?}");
    assert!(damaged.out.contains("task_body"), "{damaged:?}");
    assert!(damaged.err.contains("agentcom backup restore"), "{damaged:?}");
}
