//! Client for the AgentCom broker, and for any NATS server.
//!
//! It has the names and the argument order of `async-nats`, so its users change one import; and it
//! adds durable queues ([`Client::queue`]), durable tasks ([`Client::tasks`]) and agents that do
//! them ([`Client::worker`]), which need an AgentCom broker.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use futures_util::StreamExt;
//!
//! let client = agentcom_client::connect("127.0.0.1:4222").await?;
//! let mut orders = client.subscribe("orders.>").await?;
//! client.publish("orders.new", "42".into()).await?;
//! let order = orders.next().await;
//!
//! // A queue: whoever comes takes what goes next.
//! let emails = client.queue("emails");
//! emails.enqueue("welcome 42").await?;
//! if let Some(lease) = emails.lease(Duration::from_secs(30)).await? {
//!     lease.ack().await?;
//! }
//!
//! // A task: the broker finds an agent that is able to do it.
//! let task = client.tasks().submit("resize").payload("cat.png").needs(["gpu"]).await?;
//! let outcome = client.tasks().await_result(task, Duration::from_secs(60)).await?;
//!
//! // An agent.
//! client
//!     .worker("alice")
//!     .can(["gpu"])
//!     .concurrency(4)
//!     .run(|job| async move { Ok(job.payload().to_ascii_uppercase()) })
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! What it promises:
//!
//! - **Messages travel at most once.** A message handed to the socket when the connection breaks
//!   may be lost; one that still waited is sent on the next connection.
//! - **Tasks are never lost.** When a submit or an answer returns without an error, it is on the
//!   broker's disk. An error says by its kind whether it may be there all the same.
//! - **Nothing grows without bound.** A publisher waits for a slow socket, a full buffer is an
//!   error while disconnected, and a slow subscriber loses messages with an event.
//! - **It reconnects by itself**, with every subscription, watch, lease and worker. A result that
//!   met a lost connection is sent again, and counts once.
//! - **Dropping a future is safe** unless its method says otherwise; every method that waits says
//!   what a dropped call leaves behind.
//!
//! It does not speak TLS, nor JetStream.

mod after;
mod agent;
mod answer;
mod api;
mod channel;
mod client;
mod connection;
mod desk;
mod error;
mod event;
mod graph;
mod handshake;
mod headers;
mod history;
mod inbound;
mod job;
mod job_error;
mod lease;
mod message;
mod operation_error;
mod options;
mod outbound;
mod push;
mod queue;
mod queue_view;
mod replies;
mod request;
mod resume;
mod server_addr;
mod session;
mod settings;
mod shared;
mod statistics;
mod stop_signal;
mod subject;
mod subscriber;
mod subscriptions;
mod takes;
mod task_builder;
mod task_event;
mod task_list;
mod task_view;
mod tasks;
mod watch;
mod watches;
mod wire;
mod worker;
mod worker_builder;

pub use after::{After, AfterEnd};
pub use agent::{Agent, AgentMessage, MessageBuilder, Recipient, Sent};
pub use agentcom_protocol::{Extension, ServerInfo};
pub use channel::{Channel, ChannelView, Listener};
pub use client::Client;
pub use error::{
    ConnectError, ConnectErrorKind, DrainError, DrainErrorKind, Error, FlushError, FlushErrorKind,
    PublishError, PublishErrorKind, RequestError, RequestErrorKind, SubscribeError,
    SubscribeErrorKind, UnsubscribeError, UnsubscribeErrorKind, WorkerError, WorkerErrorKind,
};
pub use event::{Event, State};
pub use graph::{Graph, GraphTasks};
pub use headers::HeaderMap;
pub use history::{History, PresentAgent};
pub use job::Job;
pub use job_error::JobError;
pub use lease::{Lease, LeaseBuilder, LeasesBuilder};
pub use message::Message;
pub use operation_error::{
    AwaitError, AwaitErrorKind, CancelError, CancelErrorKind, DeadError, DeadErrorKind, LeaseError,
    LeaseErrorKind, QueueError, QueueErrorKind, ReportError, ReportErrorKind, SettingError,
    SettingErrorKind, SettleError, SettleErrorKind, ShowError, ShowErrorKind, StartError,
    StartErrorKind, SubmitError, SubmitErrorKind, TalkError, TalkErrorKind,
};
pub use options::ConnectOptions;
pub use queue::Queue;
pub use queue_view::{Purged, QueueSettings, QueueView};
pub use request::Request;
pub use server_addr::{ServerAddr, ToServerAddrs};
pub use settings::{Setting, SettingWatch, Settings};
pub use statistics::Statistics;
pub use stop_signal::Cancellation;
pub use subject::Subject;
pub use subscriber::Subscriber;
pub use task_builder::{Dedup, Submitted, TaskBuilder};
pub use task_event::{Progress, TaskEvent};
pub use task_list::{TaskList, TaskPage, Why, WhyReason};
pub use task_view::{AfterView, Failure, TaskState, TaskView, UnknownState};
pub use tasks::{Outcome, Priority, TaskId, Tasks};
pub use watch::{Watch, WatchBuilder};
pub use worker::{Worker, WorkerHandle};
pub use worker_builder::WorkerBuilder;

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
