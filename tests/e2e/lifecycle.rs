//! Starting, refusing to start, and stopping. All of it is ours alone.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, Refusal, oracle};
use serde_json::Value;
use tempfile::TempDir;

const LOOPBACK: &[&str] = &["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];

/// What it says when it must not start, on a data folder of its own.
#[track_caller]
fn refusal(arguments: &[&str], config: Option<&str>) -> Refusal {
    let folder = TempDir::new().expect("a temporary folder");
    Broker::refusal(&folder.path().join("data"), arguments, config)
}

#[test]
fn asked_to_stop_it_stops_in_time_with_clients_connected() {
    if oracle::skips("its exit codes and its farewell are its own") {
        return;
    }
    let mut broker = Broker::start(Options::default());
    let mut idle = broker.connect(QUIET);
    let mut busy = broker.connect(QUIET);
    let mut half = broker.connect(QUIET);
    busy.send("SUB a 1\r\nPUB a 2\r\nhi\r\n");
    busy.expect("MSG a 1 2\r\nhi\r\n");
    half.send("PUB a 100\r\nhalf");

    let begun = Instant::now();
    let status = broker.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    for wire in [&mut idle, &mut busy, &mut half] {
        wire.read_to_end();
    }
}

#[test]
fn the_ports_file_names_both_doors() {
    if oracle::skips("its ports file has another form") {
        return;
    }
    let broker = Broker::start(Options::default());
    let text = fs::read_to_string(broker.folder().join("ports.json")).expect("the ports file");
    let ports: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(ports["tcp"], broker.tcp().to_string());
    assert_eq!(ports["http"], broker.http().expect("an HTTP address").to_string());
    for address in [broker.tcp(), broker.http().unwrap()] {
        assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
    }
    assert_eq!(ports.as_object().expect("an object").len(), 2, "{text}");
}

#[test]
fn killed_without_warning_it_starts_again_on_the_same_port() {
    let mut broker = Broker::start(Options::default());
    let before = broker.tcp();
    let mut client = broker.connect(QUIET);
    broker.kill();
    client.expect_closed();
    broker.start_again();
    assert_eq!(broker.tcp(), before);
    broker.connect(QUIET).expect_nothing();
}

#[test]
fn a_mistake_in_the_configuration_is_explained() {
    if oracle::skips("its configuration is another language") {
        return;
    }
    // What is wrong, in which line, the key it is about, and a word of what would be right.
    let cases = [
        ("[limits]\npayload_bytes_maximum = 5\n", 2, "payload_bytes_maximum", "payload_bytes_max"),
        ("\n\n[limit]\n", 3, "limit", "limits"),
        ("[timeouts]\nauth_ms = 1\nping_interval = 5\n", 3, "ping_interval", "ping_interval_ms"),
        ("[limits]\nconnections_max = \"many\"\n", 2, "connections_max", "whole number"),
        ("[[auth.users]]\nuser = \"a\"\npasword = \"b\"\n", 3, "pasword", "password"),
    ];
    for (config, line, key, allowed) in cases {
        let refusal = refusal(LOOPBACK, Some(config));
        assert_eq!(refusal.code, Some(2), "{config:?}: {}", refusal.stderr);
        let places = [format!("agentcom.toml:{line}"), format!("line {line}")];
        let stderr = &refusal.stderr;
        assert!(places.iter().any(|place| stderr.contains(place)), "line {line} in: {stderr}");
        for word in ["agentcom.toml", key, allowed] {
            assert!(stderr.contains(word), "{word:?} in: {stderr}");
        }
    }
}

#[test]
fn a_configuration_file_that_is_missing_is_named() {
    if oracle::skips("its command line is another one") {
        return;
    }
    let arguments = [LOOPBACK, &["--config", "no-such-file.toml"]].concat();
    let refusal = refusal(&arguments, None);
    assert_eq!(refusal.code, Some(2), "{}", refusal.stderr);
    assert!(refusal.stderr.contains("no-such-file.toml"), "{}", refusal.stderr);
}

#[test]
fn open_to_the_network_without_credentials_it_refuses_to_start() {
    if oracle::skips("it serves the world by default") {
        return;
    }
    // It must refuse before it listens, so nothing here is ever reachable from outside.
    for arguments in [
        ["--listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--http-listen", "0.0.0.0:0"],
        ["--listen", "[::]:0", "--http-listen", "127.0.0.1:0"],
    ] {
        let refusal = refusal(&arguments, None);
        assert!(refusal.code.is_some_and(|code| code != 0), "{arguments:?}: {:?}", refusal.code);
        assert!(refusal.stderr.contains("auth"), "names the way out: {}", refusal.stderr);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    if oracle::skips("its exit codes and its words are its own") {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    for arguments in [
        ["--listen", address.as_str(), "--http-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--http-listen", address.as_str()],
    ] {
        let refusal = refusal(&arguments, None);
        assert!(refusal.code.is_some_and(|code| code != 0), "{arguments:?}: {:?}", refusal.code);
        assert!(refusal.stderr.contains(&address), "{address} in: {}", refusal.stderr);
    }
}

#[test]
fn a_data_folder_has_one_broker_at_a_time() {
    if oracle::skips("it keeps nothing without JetStream") {
        return;
    }
    let mut broker = Broker::start(Options::default());
    let data = broker.folder().join("data");
    let refusal = Broker::refusal(&data, LOOPBACK, None);
    assert!(refusal.code.is_some_and(|code| code != 0), "{:?}", refusal.code);
    assert!(refusal.stderr.contains(data.to_str().unwrap()), "{}", refusal.stderr);

    broker.connect(QUIET).expect_nothing();
    broker.terminate();
    broker.start_again();
    broker.connect(QUIET).expect_nothing();
}

#[test]
fn help_answers_and_the_connection_stays() {
    if oracle::skips("it knows no HELP") {
        return;
    }
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect_raw();
    wire.send("HELP\r\n");
    let answer = String::from_utf8(wire.read_to_pong()).expect("text");
    assert!(!answer.contains("-ERR"), "{answer}");
    for verb in ["PUB", "SUB", "PING"] {
        assert!(answer.contains(verb), "{verb} in: {answer}");
    }
    wire.expect_nothing();
}

#[test]
fn a_lame_duck_tells_its_clients_and_takes_no_more() {
    if oracle::skips("its lame duck lasts for half a minute at least") {
        return;
    }
    let mut broker = Broker::start(Options::default().timeout("lame_duck_ms", 60_000));
    let mut told = broker.connect(r#"{"verbose":false,"pedantic":false,"protocol":1}"#);
    let mut old = broker.connect(QUIET);
    broker.signal("USR2");
    let info = told.expect_line();
    assert!(info.starts_with("INFO {") && info.contains("\"ldm\":true"), "{info}");
    // Who came with protocol 0 is not told, and both are served as before.
    old.send("SUB a 1\r\n");
    old.flush();
    told.send("PUB a 2\r\nhi\r\n");
    old.expect("MSG a 1 2\r\nhi\r\n");
    let refused = std::net::TcpStream::connect(broker.tcp());
    assert!(refused.is_err(), "a new connection was accepted");
    drop((told, old));
    assert_eq!(broker.wait().code(), Some(0));
}
