//! Tasks and agents, as a client sees them on the socket.
//!
//! Each module is a part of it: what happens to a lease, who is offered what, who is refused, how
//! connections come and go, what a task waits for, who watches it, queues without agents, holders
//! that ask, what a mistake is answered, and the other two doors. None of it exists
//! in nats-server, so all of it is ours alone.

mod doors;
mod edges;
mod events;
mod fence;
mod json;
mod leases;
mod limits;
mod matching;
mod mistakes;
mod parks;
mod permissions;
mod queues;
mod sessions;
mod watching;

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle};

/// A broker with `options`; `None` where nats-server stands in for it.
fn broker_with(options: Options) -> Option<Broker> {
    let skips = oracle::skips("it has no tasks");
    (!skips).then(|| Broker::start(options))
}

/// A broker with default settings; `None` where nats-server stands in for it.
fn broker() -> Option<Broker> {
    broker_with(Options::default())
}

/// A connection that speaks for an agent; `words` are its name and options.
#[track_caller]
fn worker(broker: &Broker, words: &str) -> Wire {
    let mut wire = broker.connect(QUIET).case(words);
    wire.start_worker(words);
    wire
}
