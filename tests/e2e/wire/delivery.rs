//! Who gets a message, how often, and in which order.

use agentcom_tests::{Broker, Options, QUIET};

use super::Then::Stays;
use super::check;

#[test]
fn a_message_goes_to_every_subscription_that_matches() {
    let broker = Broker::start(Options::default());
    let mut publisher = broker.connect(QUIET);
    let mut one = broker.connect(QUIET);
    let mut other = broker.connect(QUIET);
    one.send("SUB a.b 1\r\n");
    one.flush();
    other.send("SUB a.* 7\r\nSUB a.c 8\r\n");
    other.flush();

    publisher.send("PUB a.b reply 5\r\nhello\r\n");
    publisher.expect_nothing();
    one.expect("MSG a.b 1 reply 5\r\nhello\r\n");
    other.expect("MSG a.b 7 reply 5\r\nhello\r\n");
    one.expect_nothing();
    other.expect_nothing();
}

#[test]
fn two_subscriptions_of_one_client_get_a_copy_each() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(QUIET);
    wire.send("SUB a 1\r\nSUB a 2\r\nPUB a 0\r\n\r\n");
    let mut sids = [wire.expect_line(), wire.expect_line()];
    sids.sort();
    assert_eq!(sids, ["MSG a 1 0\r\n", "MSG a 2 0\r\n"]);
    wire.expect_nothing();
}

#[test]
fn echo_false_keeps_own_messages_away_and_no_others() {
    let broker = Broker::start(Options::default());
    let mut shy = broker.connect(r#"{"verbose":false,"echo":false}"#);
    let mut other = broker.connect(QUIET);
    shy.send("SUB a 1\r\nPUB a 3\r\nown\r\n");
    shy.expect_nothing();
    other.send("SUB a 1\r\nPUB a 5\r\nother\r\n");
    other.expect("MSG a 1 5\r\nother\r\n");
    shy.expect("MSG a 1 5\r\nother\r\n");
    shy.send("PUB a 3\r\nown\r\n");
    shy.expect_nothing();
    other.expect("MSG a 1 3\r\nown\r\n");
}

#[test]
fn a_subscriber_gets_one_publishers_messages_in_order_across_subjects() {
    const MESSAGES: usize = 3000;
    let broker = Broker::start(Options::default());
    let mut publisher = broker.connect(QUIET);
    let mut subscriber = broker.connect(QUIET);
    subscriber.send("SUB > 1\r\n");
    subscriber.flush();

    let mut expected = String::new();
    for number in 0..MESSAGES {
        let (subject, payload) = (["a", "b.c", "d"][number % 3], format!("{number:06}"));
        publisher.send(format!("PUB {subject} 6\r\n{payload}\r\n"));
        expected += &format!("MSG {subject} 1 6\r\n{payload}\r\n");
    }
    subscriber.expect(expected);
}

#[test]
fn what_was_published_before_hanging_up_is_delivered() {
    let broker = Broker::start(Options::default());
    let mut subscriber = broker.connect(QUIET);
    subscriber.send("SUB a 1\r\n");
    subscriber.flush();
    for _ in 0..20 {
        let mut publisher = broker.connect(QUIET);
        publisher.send("PUB a 2\r\nhi\r\nPUB a 10\r\nhalf");
        drop(publisher);
        subscriber.expect("MSG a 1 2\r\nhi\r\n");
    }
    subscriber.expect_nothing();
}

#[test]
fn a_duplicate_sid_leaves_the_first_subject_bound() {
    check(
        QUIET,
        &[(
            "duplicate sid",
            "SUB a 1\r\nSUB b 1\r\nPUB b 1\r\nb\r\nPUB a 1\r\na\r\n",
            Stays("MSG a 1 1\r\na\r\n"),
        )],
    );
}

#[test]
fn unsub_ends_a_subscription_now_or_after_a_number_of_messages() {
    check(
        QUIET,
        &[
            ("now", "SUB a 1\r\nUNSUB 1\r\nPUB a 0\r\n\r\n", Stays("")),
            ("unknown sid", "UNSUB 9\r\n", Stays("")),
            ("unknown sid with a number", "UNSUB 9 5\r\n", Stays("")),
            (
                "one just inside, one just outside",
                "SUB a 1\r\nUNSUB 1 2\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n",
                Stays("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"),
            ),
            (
                "counts from the start of the subscription",
                "SUB a 1\r\nPUB a 1\r\n1\r\nUNSUB 1 2\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n",
                Stays("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"),
            ),
            (
                "already reached",
                "SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nUNSUB 1 2\r\nPUB a 1\r\n3\r\n",
                Stays("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"),
            ),
            ("zero means now", "SUB a 1\r\nUNSUB 1 0\r\nPUB a 0\r\n\r\n", Stays("")),
            ("no number means now", "SUB a 1\r\nUNSUB 1 x\r\nPUB a 0\r\n\r\n", Stays("")),
            (
                "the sid is free again",
                "SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\nPUB b 0\r\n\r\n",
                Stays("MSG b 1 0\r\n\r\n"),
            ),
        ],
    );
}

#[test]
fn a_closed_connection_takes_its_subscriptions_with_it() {
    let broker = Broker::start(Options::default());
    let mut gone = broker.connect(QUIET);
    gone.send("SUB a q 1\r\n");
    gone.flush();
    gone.finish();
    gone.expect_closed();
    let mut here = broker.connect(QUIET);
    here.send("SUB a q 1\r\n");
    for _ in 0..50 {
        here.send("PUB a 0\r\n\r\n");
        here.expect("MSG a 1 0\r\n\r\n");
    }
}
