//! Who is let in, and what happens to everybody else.

use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, User};

const VIOLATION: &str = "-ERR 'Authorization Violation'\r\n";

fn with_token() -> Broker {
    Broker::start(Options::default().token("secret"))
}

fn with_users() -> Broker {
    Broker::start(Options::default().user(User::new("alice", "pw")).user(User::new("bob", "pb")))
}

/// CONNECT with each of `fields`; `let_in` says what must come of it.
#[track_caller]
fn check(broker: &Broker, let_in: bool, fields: &[&str]) {
    for fields in fields {
        let mut wire = broker.connect_raw().case(fields);
        wire.send(format!("CONNECT {{\"verbose\":false,{fields}}}\r\nPING\r\n"));
        if let_in {
            wire.expect("PONG\r\n");
        } else {
            wire.expect_end(VIOLATION);
        }
    }
}

#[test]
fn a_token_must_be_the_right_one() {
    let broker = with_token();
    check(&broker, true, &[r#""auth_token":"secret""#, r#""auth_token":"secret","user":null"#]);
    check(
        &broker,
        false,
        &[
            r#""name":"nobody""#,
            r#""auth_token":"""#,
            r#""auth_token":"Secret""#,
            r#""auth_token":"secret ""#,
            r#""auth_token":"secre""#,
            r#""user":"secret","pass":"secret""#,
            r#""auth_token":"secret","account":"a""#,
        ],
    );
}

#[test]
fn a_password_must_be_the_users_own() {
    let broker = with_users();
    check(&broker, true, &[r#""user":"alice","pass":"pw""#, r#""user":"bob","pass":"pb""#]);
    check(
        &broker,
        false,
        &[
            r#""name":"nobody""#,
            r#""user":"alice""#,
            r#""user":"alice","pass":"""#,
            r#""user":"alice","pass":"pb""#,
            r#""user":"Alice","pass":"pw""#,
            r#""user":"","pass":"""#,
            r#""user":"carol","pass":"pw""#,
            r#""auth_token":"pw""#,
        ],
    );
}

#[test]
fn nothing_is_accepted_before_connect_when_credentials_are_needed() {
    let broker = with_token();
    let mut spy = broker.connect(r#"{"verbose":false,"auth_token":"secret"}"#);
    spy.send("SUB > 1\r\n");
    spy.flush();
    for line in ["PING\r\n", "PUB a 2\r\nhi\r\n", "SUB > 1\r\n", "UNSUB 1\r\n", "PONG\r\n"] {
        let mut wire = broker.connect_raw().case(line);
        wire.send(line);
        wire.expect_end(VIOLATION);
    }
    spy.expect_nothing();
}

#[test]
fn a_second_connect_must_show_credentials_too() {
    let broker = with_token();
    let mut wire = broker.connect(r#"{"verbose":false,"auth_token":"secret"}"#);
    wire.send("CONNECT {\"verbose\":false,\"auth_token\":\"wrong\"}\r\n");
    wire.expect_end(VIOLATION);
}

#[test]
fn who_does_not_connect_in_time_is_sent_away() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let settings =
        Options::default().token("secret").timeout("auth_ms", TIMEOUT.as_millis() as u64);
    let broker = Broker::start(settings);
    let begun = Instant::now();
    let mut silent = broker.connect_raw().case("silent");
    let mut dribbling = broker.connect_raw().case("dribbling");
    dribbling.send("CONNECT {\"verb");
    let mut known = broker.connect(r#"{"verbose":false,"auth_token":"secret"}"#);
    silent.expect_end("-ERR 'Authentication Timeout'\r\n");
    dribbling.expect_end("-ERR 'Authentication Timeout'\r\n");
    assert!(begun.elapsed() >= TIMEOUT, "sent away after {:?}", begun.elapsed());
    known.expect_nothing();
}
