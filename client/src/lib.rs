//! Client for the AgentCom broker, and for any NATS server.
//!
//! It has the names and the argument order of `async-nats`, so its users change one import; and it
//! adds durable tasks ([`Client::tasks`]) and agents that do them ([`Client::worker`]), which need
//! an AgentCom broker.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use futures_util::StreamExt;
//!
//! let client = agentcom_client::connect("127.0.0.1:4222").await?;
//! let mut orders = client.subscribe("orders.>").await?;
//! client.publish("orders.new", "42".into()).await?;
//! let order = orders.next().await;
//!
//! let task = client.tasks().submit("emails", "welcome 42".into()).await?;
//! # Ok(()) }
//! ```
//!
//! What it promises:
//!
//! - **Messages travel at most once.** A message handed to the socket when the connection breaks
//!   may be lost; one that still waited is sent on the next connection.
//! - **Tasks are never lost.** When a submit or an answer returns without an error, it is on the
//!   broker's disk.
//! - **Nothing grows without bound.** A publisher waits for a slow socket, a full buffer is an
//!   error while disconnected, and a slow subscriber loses messages with an event.
//! - **It reconnects by itself**, with every subscription and worker.
//!
//! It does not speak TLS, nor JetStream.

mod answer;
mod client;
mod connection;
mod desk;
mod error;
mod event;
mod handshake;
mod headers;
mod inbound;
mod job;
mod message;
mod options;
mod outbound;
mod push;
mod replies;
mod request;
mod server_addr;
mod session;
mod shared;
mod statistics;
mod subject;
mod subscriber;
mod subscriptions;
mod task_view;
mod tasks;
mod wire;
mod worker;

pub use agentcom_protocol::{Extension, ServerInfo};
pub use client::Client;
pub use error::{
    ConnectError, ConnectErrorKind, DrainError, DrainErrorKind, Error, FlushError, FlushErrorKind,
    PublishError, PublishErrorKind, RequestError, RequestErrorKind, SubscribeError,
    SubscribeErrorKind, TaskError, TaskErrorKind, UnsubscribeError, UnsubscribeErrorKind,
    WorkerError, WorkerErrorKind,
};
pub use event::{Event, State};
pub use headers::HeaderMap;
pub use job::{Failure, Job};
pub use message::Message;
pub use options::ConnectOptions;
pub use request::Request;
pub use server_addr::{ServerAddr, ToServerAddrs};
pub use statistics::Statistics;
pub use subject::Subject;
pub use subscriber::Subscriber;
pub use task_view::{TaskState, TaskView};
pub use tasks::{Priority, Submit, TaskId, Tasks};
pub use worker::{Worker, WorkerBuilder};

/// Connect with the default [`ConnectOptions`] to the first of `addrs` that answers.
///
/// An address is `host`, `host:port` or `nats://user:password@host:port`; several are separated by
/// commas or come in a list. Cancel-safe: a dropped call leaves no connection behind.
///
/// # Errors
/// [`ConnectErrorKind`] of the last address tried.
pub async fn connect(addrs: impl ToServerAddrs) -> Result<Client, ConnectError> {
    ConnectOptions::new().connect(addrs).await
}
