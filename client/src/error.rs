//! What can go wrong, one small kind per operation. (Those of tasks and queues are in
//! `operation_error.rs`.)
//!
//! Every failing method returns [`Error<Kind>`]: match on [`Error::kind`], print the error for a
//! sentence that says what to do, and walk [`std::error::Error::source`] for the cause. Nothing
//! here is a reason to panic.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};

/// An operation's failure: a kind to match on, and the cause where there is one.
pub struct Error<Kind> {
    kind: Kind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl<Kind> Error<Kind> {
    /// A failure without a further cause.
    pub(crate) fn new(kind: Kind) -> Error<Kind> {
        Error { kind, source: None }
    }

    /// A failure and what caused it.
    pub(crate) fn with_source(
        kind: Kind,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error<Kind> {
        Error { kind, source: Some(source.into()) }
    }
}

impl<Kind: Clone> Error<Kind> {
    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind.clone()
    }
}

/// One level: the kind's sentence. The cause is in `source()`, so a printed chain repeats nothing.
impl<Kind: Display> Display for Error<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.kind, f)
    }
}

impl<Kind: Debug> Debug for Error<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl<Kind: Debug + Display> StdError for Error<Kind> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl<Kind> From<Kind> for Error<Kind> {
    fn from(kind: Kind) -> Error<Kind> {
        Error::new(kind)
    }
}

/// Why no connection came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectErrorKind {
    /// The address is not `host`, `host:port` or `nats://[user:password@]host[:port]`.
    #[error("the server address is not host:port")]
    ServerParse,
    /// The host name has no address.
    #[error("the host name cannot be resolved; check its spelling and the network")]
    Dns,
    /// The operating system refused: nobody listens, no route, or the stream broke.
    #[error("the server cannot be reached; check that it runs and listens there")]
    Io,
    /// No handshake within [`crate::ConnectOptions::connection_timeout`].
    #[error(
        "the server did not finish the handshake in time; check the address or raise connection_timeout"
    )]
    TimedOut,
    /// The credentials are missing or wrong.
    #[error("the server refused the credentials; check user and password, or token")]
    AuthorizationViolation,
    /// The server insists on TLS.
    #[error(
        "the server requires TLS, which this client does not speak; connect inside the network"
    )]
    Tls,
    /// What answered does not speak the protocol, or declined with an error of its own.
    #[error("the server did not speak the NATS protocol as expected")]
    Protocol,
    /// The attempts allowed by [`crate::ConnectOptions::max_reconnects`] are used up.
    #[error("the attempts allowed by max_reconnects are used up")]
    MaxReconnects,
}

/// Why a message was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishErrorKind {
    /// Header block and payload together are over the server's `max_payload`.
    #[error("the payload is larger than the server allows; split it or raise max_payload")]
    MaxPayloadExceeded,
    /// The subject or the reply subject is malformed.
    #[error("the subject is malformed; use tokens without blanks, joined by single dots")]
    InvalidSubject,
    /// A header cannot be put on the wire.
    #[error("a header is malformed")]
    InvalidHeaders,
    /// The connection is down and the buffer for that time is full.
    #[error("disconnected, and the outbound buffer is full; wait for Event::Connected")]
    BufferFull,
    /// The client was closed or drained.
    #[error("the client is closed; connect again")]
    Closed,
}

/// Why a subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeErrorKind {
    /// The filter is malformed.
    #[error("the subject is malformed; `*` stands for one token and a last `>` for the rest")]
    InvalidSubject,
    /// The queue group's name is empty or holds blanks.
    #[error("the queue group name must be one word")]
    InvalidQueueName,
    /// The client was closed or drained.
    #[error("the client is closed; connect again")]
    Closed,
}

/// Why a subscription could not be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsubscribeErrorKind {
    /// The client was closed or drained; the subscription ended with it.
    #[error("the client is closed, and the subscription ended with it")]
    Closed,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestErrorKind {
    /// Nothing came back in time. The request may have been handled all the same.
    #[error("no answer in time; the request may have been handled all the same")]
    TimedOut,
    /// Nobody subscribes to the subject (status 503).
    #[error("nobody listens on the subject; start a responder or check the spelling")]
    NoResponders,
    /// The subject is malformed.
    #[error("the subject is malformed; use tokens without blanks, joined by single dots")]
    InvalidSubject,
    /// Header block and payload together are over the server's `max_payload`.
    #[error("the payload is larger than the server allows; split it or raise max_payload")]
    MaxPayloadExceeded,
    /// The client was closed or drained before the answer came.
    #[error("the client is closed; connect again")]
    Closed,
    /// The request could not be published for another reason: see the cause.
    #[error("the request could not be sent")]
    Other,
}

/// Why it is not known that the server has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlushErrorKind {
    /// The connection broke; what was in flight may be lost.
    #[error("the connection broke before the server confirmed; what was in flight may be lost")]
    Disconnected,
    /// The client was closed or drained.
    #[error("the client is closed; connect again")]
    Closed,
}

/// Why draining did not go to its end. The client is closed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainErrorKind {
    /// Some subscriber did not take its last messages in time.
    #[error("a subscriber did not take its last messages in time; poll each to its end")]
    TimedOut,
    /// The connection broke meanwhile.
    #[error("the connection broke while draining; what was in flight may be lost")]
    Disconnected,
    /// The client had been closed before.
    #[error("the client is closed already")]
    Closed,
}

/// Why a worker cannot work, or works no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerErrorKind {
    /// The server is no AgentCom broker: its INFO announces no worker verbs.
    #[error("this server has no workers; connect to an AgentCom broker")]
    NotSupported,
    /// This client has a worker already; one connection speaks for one agent.
    #[error("this client has a worker already; connect another client for another agent")]
    AlreadyStarted,
    /// A newer session took over the agent's name.
    #[error("another session works under this agent's name now; give each worker its own name")]
    Replaced,
    /// The agent's name belongs to another login.
    #[error("the agent's name belongs to another login; choose another")]
    NameTaken,
    /// The broker would not have the worker, or could not be asked: see the cause.
    #[error("the worker could not start")]
    Start,
    /// The client was closed or drained.
    #[error("the client is closed; connect again")]
    Closed,
}

/// [`ConnectErrorKind`] and its cause.
pub type ConnectError = Error<ConnectErrorKind>;
/// [`PublishErrorKind`] and its cause.
pub type PublishError = Error<PublishErrorKind>;
/// [`SubscribeErrorKind`] and its cause.
pub type SubscribeError = Error<SubscribeErrorKind>;
/// [`UnsubscribeErrorKind`] and its cause.
pub type UnsubscribeError = Error<UnsubscribeErrorKind>;
/// [`RequestErrorKind`] and its cause.
pub type RequestError = Error<RequestErrorKind>;
/// [`FlushErrorKind`] and its cause.
pub type FlushError = Error<FlushErrorKind>;
/// [`DrainErrorKind`] and its cause.
pub type DrainError = Error<DrainErrorKind>;
/// [`WorkerErrorKind`] and its cause.
pub type WorkerError = Error<WorkerErrorKind>;
