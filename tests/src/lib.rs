//! The harness for tests that need a real broker process: start it, talk to it, kill it.
//!
//! ```no_run
//! use agentcom_tests::{Broker, Options};
//!
//! let broker = Broker::start(Options::default().limit("payload_bytes_max", 64));
//! let mut wire = broker.connect(agentcom_tests::QUIET);
//! wire.send("SUB a 1\r\nPUB a 2\r\nhi\r\n");
//! wire.expect("MSG a 1 2\r\nhi\r\n");
//! wire.expect_nothing();
//! ```
//!
//! * [`Broker`] is one broker process on free ports in a folder of its own. Dropping it kills it.
//! * [`Wire`] is one raw connection: bytes out, operations in, every wait with a deadline.
//!   `tasks.rs` teaches it our own verbs.
//! * [`frames::Frames`] is the same in the binary framing.
//! * [`Said`] is what a command of `agentcom` said ([`Broker::run`], ...).
//! * [`Answer`] is what the HTTP door says to one request ([`Broker::http_get`], ...).
//! * [`Options`] is what a test may configure, independent of who reads it.
//!
//! Nothing here sleeps. A test proves that nothing arrives with a PING: what the broker answers
//! before the PONG is all there is.
//!
//! # Which broker
//!
//! The binary is the one in `AGENTCOM_BIN`, else `agentcom` beside the test executable's target
//! folder (`make build` puts it there).
//!
//! # The oracle
//!
//! Our text protocol is a superset of the NATS client protocol, so every test of NATS behaviour
//! can be tried on the original first: with `AGENTCOM_TEST_ORACLE=/path/to/nats-server` the same
//! tests run against nats-server (2.15 or later), which proves the tests rather than the broker.
//! Tests of what is ours alone begin with [`oracle::skips`]. All of it is in `oracle.rs`.

mod broker;
mod command_line;
mod disk;
mod faults;
pub mod frames;
mod http;
mod options;
pub mod oracle;
mod random;
mod socket;
mod tasks;
mod wait;
mod wire;

pub use broker::{Broker, Refusal};
pub use command_line::Said;
pub use disk::SmallDisk;
pub use faults::SyncFault;
pub use frames::Frames;
pub use http::Answer;
pub use options::{Options, User};
pub use random::Random;
pub use socket::Socket;
pub use tasks::Offer;
pub use wait::until;
pub use wire::{MODERN, QUIET, Wire, occurrences};
