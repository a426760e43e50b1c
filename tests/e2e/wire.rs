//! The NATS client protocol, rule by rule, as a client sees it on the socket.
//!
//! Each module is a part of that protocol: what a line looks like, how a connection begins, where
//! messages go, and what the broker says when a client goes too far. All of it but the binary framing
//! holds for nats-server too (see the documentation of the crate, "The oracle").

mod auth;
mod binary;
mod delivery;
mod grammar;
mod handshake;
mod headers;
mod limits;
mod permissions;
mod queue_groups;
mod subjects;

use agentcom_tests::{Broker, Options, Wire};

/// What became of the connection, and what the client heard first.
#[derive(Clone, Copy)]
enum Then {
    Stays(&'static str),
    Closes(&'static str),
}

impl Then {
    #[track_caller]
    fn happens(self, wire: &mut Wire) {
        match self {
            Self::Stays(answer) => {
                wire.expect(answer);
                wire.expect_nothing();
            }
            Self::Closes(answer) => wire.expect_end(answer),
        }
    }
}

/// Each case in a connection of its own: its name, what the client sends, what comes of it.
type Cases = [(&'static str, &'static str, Then)];

/// Try `cases` on a broker with default settings.
#[track_caller]
fn check(connect: &str, cases: &Cases) {
    check_on(&Broker::start(Options::default()), connect, cases);
}

#[track_caller]
fn check_on(broker: &Broker, connect: &str, cases: &Cases) {
    for (name, sent, then) in cases {
        let mut wire = broker.connect(connect).case(name);
        wire.send(sent);
        then.happens(&mut wire);
    }
}
