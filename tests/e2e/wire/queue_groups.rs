//! Queue groups: one member of each group gets a message.

use agentcom_tests::{Broker, Options, QUIET, Wire, occurrences};

/// How many of `messages` published messages each of `members` got; each is "MSG a.b SID 0".
#[track_caller]
fn shares<const N: usize>(
    publisher: &mut Wire,
    members: [&mut Wire; N],
    messages: usize,
) -> [usize; N] {
    for _ in 0..messages {
        publisher.send("PUB a.b 0\r\n\r\n");
    }
    publisher.flush();
    members.map(|member| occurrences(&member.read_to_pong(), "MSG "))
}

#[track_caller]
fn subscribed(broker: &Broker, subscriptions: &str) -> Wire {
    let mut wire = broker.connect(QUIET);
    wire.send(subscriptions);
    wire.flush();
    wire
}

#[test]
fn each_message_goes_to_one_member_and_each_member_gets_some() {
    let broker = Broker::start(Options::default());
    let mut one = subscribed(&broker, "SUB a.b workers 1\r\n");
    let mut other = subscribed(&broker, "SUB a.b workers 1\r\n");
    let mut publisher = broker.connect(QUIET);
    let [first, second] = shares(&mut publisher, [&mut one, &mut other], 200);
    assert_eq!(first + second, 200);
    assert!(first > 0 && second > 0, "{first} and {second}");
}

#[test]
fn a_group_is_its_name_whatever_the_members_subscribed_with() {
    let broker = Broker::start(Options::default());
    let mut literal = subscribed(&broker, "SUB a.b workers 1\r\n");
    let mut wild = subscribed(&broker, "SUB a.* workers 1\r\n");
    let mut tail = subscribed(&broker, "SUB > workers 1\r\n");
    let mut publisher = broker.connect(QUIET);
    let got = shares(&mut publisher, [&mut literal, &mut wild, &mut tail], 300);
    assert_eq!(got.iter().sum::<usize>(), 300);
    assert!(got.iter().all(|&messages| messages > 0), "{got:?}");
}

#[test]
fn every_group_and_every_plain_subscription_gets_its_own_copy() {
    let broker = Broker::start(Options::default());
    let mut red = subscribed(&broker, "SUB a.b red 1\r\n");
    let mut blue = subscribed(&broker, "SUB a.b blue 1\r\n");
    let mut plain = subscribed(&broker, "SUB a.b 1\r\n");
    let mut publisher = broker.connect(QUIET);
    assert_eq!(shares(&mut publisher, [&mut red, &mut blue, &mut plain], 20), [20, 20, 20]);
}

#[test]
fn two_members_on_one_connection_are_two_members_of_one_group() {
    let broker = Broker::start(Options::default());
    let mut both = subscribed(&broker, "SUB a.b workers 1\r\nSUB a.* workers 2\r\n");
    let mut publisher = broker.connect(QUIET);
    assert_eq!(shares(&mut publisher, [&mut both], 20), [20]);
}

#[test]
fn a_member_that_does_not_hear_itself_is_passed_over() {
    let broker = Broker::start(Options::default());
    let mut member = subscribed(&broker, "SUB a.b workers 1\r\n");
    let mut publisher = broker.connect(r#"{"verbose":false,"pedantic":false,"echo":false}"#);
    publisher.send("SUB a.b workers 1\r\n");
    assert_eq!(shares(&mut publisher, [&mut member], 50), [50]);
}

#[test]
fn a_member_that_has_had_its_number_of_messages_is_out() {
    let broker = Broker::start(Options::default());
    let mut brief = subscribed(&broker, "SUB a.b workers 1\r\nUNSUB 1 3\r\n");
    let mut steady = subscribed(&broker, "SUB a.b workers 1\r\n");
    let mut publisher = broker.connect(QUIET);
    assert_eq!(shares(&mut publisher, [&mut brief, &mut steady], 200), [3, 197]);
}
