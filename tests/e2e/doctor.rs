//! `agentcom doctor`: what is in the way of a broker is found and told with what to do, and nothing
//! is changed by looking.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agentcom_tests::{Broker, Options, QUIET, Said, oracle};
use serde_json::Value;

fn broker() -> Option<Broker> {
    let skips = oracle::skips("it has no doctor");
    (!skips).then(|| Broker::start(Options::default()))
}

/// The doctor looks at a data folder, with the addresses of `broker`.
fn look(broker: &Broker, data: &Path, more: &[&str]) -> Said {
    let (tcp, http) = (broker.tcp().to_string(), broker.http().expect("HTTP").to_string());
    let data = data.to_str().expect("a path of text");
    let arguments = ["doctor", "--data-dir", data, "--listen", &tcp, "--http-listen", &http];
    broker.run(&[&arguments[..], more].concat())
}

/// The finding about a thing.
#[track_caller]
fn finding(said: &Said, subject: &str, verdict: &str) -> String {
    let lines =
        said.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let found =
        lines.filter(|line| line["subject"] == subject).find(|line| line["verdict"] == verdict);
    let found = found.unwrap_or_else(|| panic!("no {verdict} about {subject}: {said:?}"));
    format!("{} {}", found["found"], found["advice"])
}

/// Every file with its length and when it was written.
fn files(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::metadata(&path).expect("its metadata");
        if metadata.is_dir() {
            files.extend(self::files(&path));
        }
        files.push((path, metadata.len(), metadata.modified().expect("a time")));
    }
    files.sort();
    files
}

#[test]
fn what_is_in_the_way_is_told_with_what_to_do() {
    let Some(mut broker) = broker() else { return };
    broker.connect(QUIET).submit("jobs", "x");
    let data = broker.folder().join("data");
    let running = look(&broker, &data, &["--json"]);
    assert_eq!(running.code, Some(0), "{running:?}");
    assert!(finding(&running, "store", "ok").contains("a broker has it open"));
    for port in ["port of agents", "port of HTTP"] {
        assert!(finding(&running, port, "ok").contains("a broker answers"));
    }
    // Another folder could not be served on these ports.
    let other = broker.folder().join("other");
    let taken = look(&broker, &other, &["--json"]);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(finding(&taken, "port of agents", "problem").contains("--listen"));
    assert!(finding(&taken, "data folder", "ok").contains("the first start makes it"));
    assert!(!other.exists(), "looking made something");

    broker.terminate();
    let before = files(&data);
    let stopped = look(&broker, &data, &["--json"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(finding(&stopped, "store", "ok").contains("can be read"));
    assert!(finding(&stopped, "port of agents", "ok").contains("is free"));
    assert!(finding(&stopped, "backups", "warning").contains("agentcom backup create"));
    assert_eq!(files(&data), before, "looking changed something");

    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("open the folder");
    let token = data.join("operator.token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).expect("open the token");
    let open = look(&broker, &data, &["--json"]);
    assert_eq!(open.code, Some(0), "{open:?}");
    assert!(finding(&open, "data folder", "warning").contains("chmod 700"));
    assert!(finding(&open, "operator's token", "warning").contains("chmod 600"));

    let socket = TcpListener::bind(broker.tcp()).expect("the port is free");
    let silent = look(&broker, &data, &["--json"]);
    assert_eq!(silent.code, Some(1), "{silent:?}");
    assert!(finding(&silent, "port of agents", "problem").contains("somebody else listens"));
    drop(socket);

    let full = look(&broker, &data, &["--json", "--set", "disk.free_bytes_min=1000000000000000"]);
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(finding(&full, "room", "problem").contains("make room"));

    fs::remove_file(data.join("store/CURRENT")).expect("spoil the store");
    let damaged = look(&broker, &data, &[]);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.out.contains("Do: `agentcom backup restore latest`"), "{damaged:?}");
    assert!(damaged.err.contains("there is a problem"), "{damaged:?}");

    let wrong = look(&broker, &data, &["--json", "--set", "limits.conections_max=5"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(finding(&wrong, "configuration", "problem").contains("connections_max"));
}
