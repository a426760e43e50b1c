//! The shell of the TCP door: it moves bytes and waits, and decides nothing.
//!
//! Worker threads each run their own single-threaded runtime and own the connections that were
//! given to them: the thread that reads a socket also routes what it read and writes it to the
//! receivers' sockets itself, whichever thread owns them. A receiver's own task is woken only when
//! its socket would not take the bytes, or when the commit thread has better things to do than
//! to send (docs/decisions/0003).

mod aliases;
mod budget;
mod card;
mod clock;
mod connection;
mod framing;
mod listener;
mod outbox;
mod outlet;
mod registry;
mod worker;

pub use aliases::Aliases;
pub use budget::Budget;
pub use card::{Arrival, Card, Client, Traffic};
pub use clock::{Clock, processor_time};
pub use framing::Framing;
pub use listener::{Listener, descriptors_for_connections};
pub use outbox::{Letter, Outbox};
pub use outlet::{Cut, Outlet, OutletLimits};
pub use registry::Registry;
pub use worker::{NewConnection, Worker, WorkerHandle};
