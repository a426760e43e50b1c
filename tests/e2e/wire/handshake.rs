//! How a connection begins: INFO, CONNECT, the first PONG, and what CONNECT may ask for.

use agentcom_tests::{Broker, MODERN, Options, QUIET};
use serde_json::Value;

use super::Then::{Closes, Stays};
use super::check;

#[test]
fn info_says_what_every_client_needs() {
    let broker = Broker::start(Options::default().limit("payload_bytes_max", 65_536));
    let wire = broker.connect_raw();
    let info = wire.info();
    assert!(wire.info_line().ends_with("} "), "a blank stands before CRLF: {}", wire.info_line());

    for field in ["server_id", "server_name", "host"] {
        assert!(info[field].is_string(), "{field} in {info}");
    }
    assert_eq!(info["proto"], 1);
    assert_eq!(info["headers"], true);
    assert_eq!(info["max_payload"], 65_536);
    assert_eq!(info["port"], broker.tcp().port());
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert!(info["client_id"].as_u64() > Some(0), "client_id in {info}");
    // nats.js never connects without x.y.z, and takes less than 2.10 for an old server.
    let version = info["version"].as_str().expect("a version");
    let numbers: Vec<u32> = version
        .split(['.', '-'])
        .take(3)
        .map(|part| part.parse().unwrap_or_else(|_| panic!("x.y.z, not {version}")))
        .collect();
    assert!(numbers.len() == 3 && numbers >= vec![2, 10, 0], "at least 2.10.0, not {version}");
    // A field that is there is believed: no credentials and no TLS are asked for.
    for field in ["auth_required", "tls_required", "tls_available"] {
        assert_ne!(info[field], true, "{field} in {info}");
    }
}

#[test]
fn every_connection_has_its_own_client_id() {
    let broker = Broker::start(Options::default());
    assert_ne!(broker.connect_raw().info()["client_id"], broker.connect_raw().info()["client_id"]);
}

#[test]
fn info_asks_for_credentials_when_they_are_needed() {
    let broker = Broker::start(Options::default().token("secret"));
    assert_eq!(broker.connect_raw().info()["auth_required"], true);
}

#[test]
fn the_first_pong_comes_before_the_second_info() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect_raw();
    wire.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    wire.expect("PONG\r\n");
    let line = wire.expect_line();
    let info: Value = serde_json::from_str(line.strip_prefix("INFO ").expect("INFO")).unwrap();
    assert_eq!(info["connect_info"], true);
    assert_eq!(info["client_id"], wire.info()["client_id"]);
    wire.expect_nothing();
}

#[test]
fn a_client_of_protocol_0_gets_one_info_only() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect_raw();
    wire.send("CONNECT {\"verbose\":false,\"protocol\":0}\r\nPING\r\n");
    wire.expect("PONG\r\n");
    wire.expect_nothing();
}

#[test]
fn what_connect_may_ask_for() {
    const INVALID: &str = "-ERR 'invalid client protocol'\r\n";
    let cases = [
        ("protocol 0", r#"{"verbose":false,"protocol":0}"#, Stays("")),
        ("protocol 2", r#"{"verbose":false,"protocol":2}"#, Closes(INVALID)),
        ("protocol -1", r#"{"verbose":false,"protocol":-1}"#, Closes(INVALID)),
        (
            "no responders without headers",
            r#"{"verbose":false,"no_responders":true}"#,
            Closes("-ERR 'no responders requires headers support'\r\n"),
        ),
        (
            "an account",
            r#"{"verbose":false,"account":"a"}"#,
            Closes("-ERR 'Authorization Violation'\r\n"),
        ),
        (
            "a new account",
            r#"{"verbose":false,"account":"a","new_account":true}"#,
            Closes("-ERR 'Authorization Violation'\r\n"),
        ),
        ("unknown fields of any type", r#"{"verbose":false,"x":{"y":[1,null]},"z":""}"#, Stays("")),
        (
            "nulls and credentials that nobody asked for",
            r#"{"verbose":false,"user":null,"auth_token":"t","nkey":null,"jwt":null}"#,
            Stays(""),
        ),
        (
            "TLS, which is the client's own business",
            r#"{"verbose":false,"tls_required":true}"#,
            Stays(""),
        ),
        ("nothing", "{}", Stays("+OK\r\n")),
        ("blanks", "  { \"verbose\" : false } ", Stays("")),
    ];
    let broker = Broker::start(Options::default());
    for (name, json, then) in cases {
        let mut wire = broker.connect_raw().case(name);
        wire.send(format!("CONNECT {json}\r\n"));
        then.happens(&mut wire);
    }
}

#[test]
fn verbose_answers_every_operation_but_ping() {
    check(
        r#"{"verbose":true,"pedantic":false,"headers":true}"#,
        &[
            ("SUB", "SUB a 1\r\n", Stays("+OK\r\n")),
            ("UNSUB", "SUB a 1\r\nUNSUB 1\r\n", Stays("+OK\r\n+OK\r\n")),
            ("PUB", "PUB a 2\r\nhi\r\n", Stays("+OK\r\n")),
            ("HPUB", "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", Stays("+OK\r\n")),
            ("PING", "PING\r\n", Stays("PONG\r\n")),
            ("PONG", "PONG\r\n", Stays("")),
            (
                "the answer comes before one's own message",
                "SUB a 1\r\nPUB a 2\r\nhi\r\n",
                Stays("+OK\r\n+OK\r\nMSG a 1 2\r\nhi\r\n"),
            ),
        ],
    );
}

#[test]
fn without_connect_a_client_is_verbose_pedantic_and_hears_itself() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect_raw();
    wire.send("SUB a.* 1\r\nPUB a.b 2\r\nhi\r\n");
    wire.expect("+OK\r\n+OK\r\nMSG a.b 1 2\r\nhi\r\n");
    wire.send("PUB a.* 0\r\n\r\n");
    let answer = String::from_utf8(wire.read_to_pong()).unwrap();
    assert!(answer.contains("-ERR 'Invalid Publish Subject'\r\n"), "{answer}");
    assert!(answer.contains("MSG a.* 1 0\r\n\r\n"), "{answer}");
}

#[test]
fn pedantic_complains_of_a_publish_subject_and_routes_it_all_the_same() {
    check(
        r#"{"verbose":false,"pedantic":true}"#,
        &[
            (
                "wildcard",
                "SUB a.* 1\r\nPUB a.* 2\r\nhi\r\n",
                Stays("-ERR 'Invalid Publish Subject'\r\nMSG a.* 1 2\r\nhi\r\n"),
            ),
            ("empty token", "PUB a..b 0\r\n\r\n", Stays("-ERR 'Invalid Publish Subject'\r\n")),
            ("literal", "PUB a.b 0\r\n\r\n", Stays("")),
        ],
    );
}

#[test]
fn a_second_connect_drops_the_subscriptions_and_takes_the_new_options() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(MODERN);
    wire.send("SUB a 1\r\nCONNECT {\"verbose\":true,\"protocol\":1}\r\nPUB a 2\r\nhi\r\n");
    wire.expect("+OK\r\n+OK\r\n");
    wire.expect_nothing();
    wire.send("SUB a 2\r\nPUB a 2\r\nhi\r\n");
    wire.expect("+OK\r\n+OK\r\nMSG a 2 2\r\nhi\r\n");
}

#[test]
fn a_second_connect_keeps_what_it_does_not_name() {
    check(
        QUIET,
        &[("still quiet", "CONNECT {}\r\nSUB a 1\r\nPUB a 0\r\n\r\n", Stays("MSG a 1 0\r\n\r\n"))],
    );
}
