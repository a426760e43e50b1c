//! What a user may publish and subscribe to.

use agentcom_tests::{Broker, MODERN, Options, User};

use super::Then::Stays;
use super::{Cases, check, check_on};

const ALICE: &str = r#"{"verbose":false,"pedantic":false,"user":"alice","pass":"pw"}"#;
const BOB: &str = r#"{"verbose":false,"pedantic":false,"user":"bob","pass":"pb"}"#;

/// Alice has limits, Bob has none.
fn broker() -> Broker {
    let alice = User::new("alice", "pw")
        .publish(&["a.>", "open.*"], &["a.secret"])
        .subscribe(&["a.>", "_INBOX.>"], &["a.secret", "a.hidden.>"]);
    Broker::start(Options::default().user(alice).user(User::new("bob", "pb")))
}

#[test]
fn a_forbidden_publish_is_refused_and_reaches_nobody() {
    let cases: &Cases = &[
        ("allowed", "PUB a.b 0\r\n\r\nPUB open.x 0\r\n\r\n", Stays("")),
        (
            "denied in spite of a wider allow",
            "PUB a.secret 2\r\nhi\r\n",
            Stays("-ERR 'Permissions Violation for Publish to \"a.secret\"'\r\n"),
        ),
        (
            "not allowed",
            "PUB b 2\r\nhi\r\n",
            Stays("-ERR 'Permissions Violation for Publish to \"b\"'\r\n"),
        ),
        (
            "the pattern needs one more token",
            "PUB a 2\r\nhi\r\n",
            Stays("-ERR 'Permissions Violation for Publish to \"a\"'\r\n"),
        ),
        (
            "the pattern needs one token less",
            "PUB open.x.y 2\r\nhi\r\n",
            Stays("-ERR 'Permissions Violation for Publish to \"open.x.y\"'\r\n"),
        ),
    ];
    let broker = broker();
    let mut spy = broker.connect(BOB);
    spy.send("SUB > 1\r\n");
    spy.flush();
    check_on(&broker, ALICE, cases);
    spy.expect("MSG a.b 1 0\r\n\r\nMSG open.x 1 0\r\n\r\n");
    spy.expect_nothing();
}

#[test]
fn a_forbidden_subscription_is_refused_and_receives_nothing() {
    check_on(
        &broker(),
        ALICE,
        &[
            ("allowed", "SUB a.b 1\r\nSUB a.> 2\r\nSUB _INBOX.x.* 3\r\n", Stays("")),
            (
                "not allowed",
                "SUB b 1\r\n",
                Stays("-ERR 'Permissions Violation for Subscription to \"b\"'\r\n"),
            ),
            (
                "wider than what is allowed",
                "SUB > 1\r\nPUB a.b 0\r\n\r\n",
                Stays("-ERR 'Permissions Violation for Subscription to \">\"'\r\n"),
            ),
            (
                "denied in spite of a wider allow",
                "SUB a.secret 1\r\n",
                Stays("-ERR 'Permissions Violation for Subscription to \"a.secret\"'\r\n"),
            ),
            (
                "within a denied pattern",
                "SUB a.hidden.* 1\r\n",
                Stays("-ERR 'Permissions Violation for Subscription to \"a.hidden.*\"'\r\n"),
            ),
            (
                "in a queue group",
                "SUB a.secret q 1\r\n",
                Stays(concat!(
                    "-ERR 'Permissions Violation for Subscription to ",
                    "\"a.secret\" using queue \"q\"'\r\n"
                )),
            ),
            (
                "its sid stays free",
                "SUB b 1\r\nSUB a.b 1\r\nPUB a.b 0\r\n\r\n",
                Stays(
                    "-ERR 'Permissions Violation for Subscription to \"b\"'\r\nMSG a.b 1 0\r\n\r\n",
                ),
            ),
        ],
    );
}

#[test]
fn a_denied_subject_is_held_back_under_a_wider_subscription() {
    let broker = broker();
    let mut alice = broker.connect(ALICE);
    alice.send("SUB a.> 1\r\nSUB a.* workers 2\r\n");
    alice.flush();
    let mut bob = broker.connect(BOB);
    for subject in ["a.secret", "a.hidden.x", "a.secret"] {
        bob.send(format!("PUB {subject} 0\r\n\r\n"));
    }
    bob.flush();
    alice.expect_nothing();
    bob.send("PUB a.secrets 0\r\n\r\nPUB a.hidden 0\r\n\r\n");
    bob.flush();
    let got = String::from_utf8(alice.read_to_pong()).unwrap();
    for line in ["MSG a.secrets 1 0", "MSG a.secrets 2 0", "MSG a.hidden 1 0", "MSG a.hidden 2 0"] {
        assert_eq!(got.matches(line).count(), 1, "{line} in {got:?}");
    }
}

#[test]
fn a_queue_group_passes_over_a_member_that_may_not_see_the_message() {
    let broker = broker();
    let mut alice = broker.connect(ALICE);
    alice.send("SUB a.> workers 1\r\n");
    alice.flush();
    let mut bob = broker.connect(BOB);
    bob.send("SUB a.> workers 1\r\n");
    for _ in 0..50 {
        bob.send("PUB a.secret 0\r\n\r\n");
        bob.expect("MSG a.secret 1 0\r\n\r\n");
    }
    alice.expect_nothing();
}

#[test]
fn a_second_connect_brings_the_limits_of_the_user_it_names() {
    let broker = broker();
    let mut wire = broker.connect(BOB);
    wire.send(format!("SUB > 1\r\nPUB b 0\r\n\r\nCONNECT {ALICE}\r\n"));
    wire.expect("MSG b 1 0\r\n\r\n");
    wire.expect_nothing();
    wire.send("PUB b 0\r\n\r\nSUB > 1\r\n");
    wire.expect_error("Permissions Violation for Publish to \"b\"");
    wire.expect_error("Permissions Violation for Subscription to \">\"");
}

#[test]
fn a_reply_on_a_prefix_of_the_brokers_own_is_refused() {
    check(
        MODERN,
        &[
            (
                "_R_.",
                "PUB a _R_.x 0\r\n\r\n",
                Stays("-ERR 'Permissions Violation for Publish with Reply of \"_R_.x\"'\r\n"),
            ),
            (
                "_GR_.",
                "PUB a _GR_.x 0\r\n\r\n",
                Stays("-ERR 'Permissions Violation for Publish with Reply of \"_GR_.x\"'\r\n"),
            ),
            (
                "$JS.ACK.",
                "PUB a $JS.ACK.x 0\r\n\r\n",
                Stays("-ERR 'Permissions Violation for Publish with Reply of \"$JS.ACK.x\"'\r\n"),
            ),
            ("_INBOX.", "PUB a _INBOX.x 0\r\n\r\n", Stays("")),
        ],
    );
}
