//! The load generator of AgentCom, and the method behind its figures.
//!
//! Two questions. How much processor time does a server spend on one message, compared with
//! nats-server doing the same work in the same minute? And how many tasks does it keep safe on
//! the disk, compared with JetStream, Redis and beanstalkd? Everything speaks raw protocols over
//! sockets and depends on no crate of the broker, so a mistake there cannot hide here.
//!
//! ```text
//!  compare ---> server     start a fresh process, read its processor time and memory
//!     |    \--> scenario   the catalogue: what is measured, under which name
//!     |    |         |
//!     v    |         +--> flow, exchange, slow, scale    drive one scenario
//!  report  |                   |
//!          |                   +--> fleet > link > inbound, outbound    move bytes
//!          \--> durable    the same for tasks, with a catalogue and connections of its own
//! ```
//!
//! [`legacy`] loads the doors of the AgentCom v2 hub, over WebSockets and [`rest`].
//!
//! [`yardstick`] is the other end: a server without a broker's duties, which shows what the
//! system calls and the bytes alone cost. `README.md` says how to run it and read the figures.

pub mod compare;
pub mod framings;
pub mod scenario;

pub mod figure;
pub mod report;

pub mod process;
pub mod program;
pub mod server;

pub mod exchange;
pub mod flow;
pub mod scale;
pub mod slow;

pub mod fleet;
pub mod frame;
pub mod inbound;
pub mod link;
pub mod outbound;

pub mod durable;

pub mod legacy;
pub mod rest;

pub mod yardstick;
