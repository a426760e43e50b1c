//! Header blocks, receivers that do not take them, and the no-responders reply built on them.

use agentcom_tests::{Broker, MODERN, Options, QUIET};

use super::Then::{Closes, Stays};
use super::{check, check_on};

#[test]
fn a_header_block_is_delivered_as_it_came() {
    check(
        MODERN,
        &[
            (
                "names and values",
                "SUB a 1\r\nHPUB a 27 29\r\nNATS/1.0\r\nA: 1\r\na:2\r\nA:\r\n\r\nhi\r\n",
                Stays("HMSG a 1 27 29\r\nNATS/1.0\r\nA: 1\r\na:2\r\nA:\r\n\r\nhi\r\n"),
            ),
            (
                "reply and status line",
                "SUB a 1\r\nHPUB a b 21 21\r\nNATS/1.0 100 idle\r\n\r\n\r\n",
                Stays("HMSG a 1 b 21 21\r\nNATS/1.0 100 idle\r\n\r\n\r\n"),
            ),
            (
                "no header block at all",
                "SUB a 1\r\nHPUB a 5 7\r\nHELLOhi\r\n",
                Stays("HMSG a 1 5 7\r\nHELLOhi\r\n"),
            ),
            (
                "empty body",
                "SUB a 1\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
                Stays("HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n"),
            ),
            (
                "header size 0 makes a plain message",
                "SUB a 1\r\nHPUB a b 0 1\r\nx\r\n",
                Stays("MSG a 1 b 1\r\nx\r\n"),
            ),
            (
                "header size 0 and no body",
                "SUB a 1\r\nHPUB a 0 0\r\n\r\n",
                Stays("MSG a 1 0\r\n\r\n"),
            ),
        ],
    );
}

#[test]
fn a_receiver_without_headers_gets_the_body_alone() {
    let broker = Broker::start(Options::default());
    let mut modern = broker.connect(MODERN);
    let mut plain = broker.connect(QUIET);
    for wire in [&mut modern, &mut plain] {
        wire.send("SUB a 1\r\n");
        wire.flush();
    }
    modern.send(
        "HPUB a b 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    );
    modern.expect("HMSG a 1 b 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n");
    modern.expect("HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    plain.expect("MSG a 1 b 2\r\nhi\r\nMSG a 1 0\r\n\r\n");
    plain.send("PUB a 2\r\nhi\r\n");
    modern.expect("MSG a 1 2\r\nhi\r\n");
}

/// A reply from the broker itself: 32 bytes and the subject.
const NOBODY: &str = "HMSG inbox.1 9 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n";

#[test]
fn a_request_that_nobody_takes_is_answered_by_the_broker() {
    let ask = "PUB nobody inbox.1 2\r\nhi\r\n";
    let cases = [
        ("subscribed to the reply", "SUB inbox.1 9\r\n", NOBODY),
        ("subscribed with a wildcard", "SUB inbox.* 9\r\n", NOBODY),
        ("not subscribed to the reply", "SUB inbox.2 9\r\n", ""),
        ("subscribed in a queue group", "SUB inbox.1 q 9\r\n", ""),
        (
            "somebody takes it",
            "SUB inbox.1 9\r\nSUB nobody 8\r\n",
            "MSG nobody 8 inbox.1 2\r\nhi\r\n",
        ),
    ];
    let broker = Broker::start(Options::default());
    for (name, before, answer) in cases {
        let mut wire = broker.connect(MODERN).case(name);
        wire.send(format!("{before}{ask}"));
        wire.expect(answer);
        wire.expect_nothing();
    }
}

#[test]
fn without_no_responders_a_lost_request_is_silent() {
    let broker = Broker::start(Options::default());
    let ask = "SUB inbox.1 9\r\nPUB nobody inbox.1 2\r\nhi\r\n";
    let headers_only = r#"{"verbose":false,"headers":true}"#;
    check_on(&broker, headers_only, &[("not asked for", ask, Stays(""))]);
    let no_reply = "SUB inbox.1 9\r\nPUB nobody 2\r\nhi\r\n";
    check_on(&broker, MODERN, &[("no reply subject", no_reply, Stays(""))]);
    let elsewhere = &mut broker.connect(MODERN);
    elsewhere.send("SUB inbox.1 9\r\n");
    elsewhere.flush();
    let ask_only = "PUB nobody inbox.1 2\r\nhi\r\n";
    check_on(&broker, MODERN, &[("another connection has the inbox", ask_only, Stays(""))]);
    elsewhere.expect_nothing();
}

#[test]
fn a_publisher_that_does_not_hear_itself_counts_as_nobody() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(
        r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"echo":false}"#,
    );
    wire.send("SUB inbox.1 9\r\nSUB nobody 8\r\nPUB nobody inbox.1 2\r\nhi\r\n");
    wire.expect(NOBODY);
    wire.expect_nothing();
}

#[test]
fn a_request_with_headers_gets_the_same_answer() {
    check(
        MODERN,
        &[
            (
                "HPUB",
                "SUB inbox.1 9\r\nHPUB nobody inbox.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
                Stays(NOBODY),
            ),
            (
                "header size over the total",
                "SUB inbox.1 9\r\nHPUB nobody inbox.1 15 14\r\nNATS/1.0\r\n\r\nhi\r\n",
                Closes(""),
            ),
        ],
    );
}
