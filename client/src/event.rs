//! What happens to a connection, and who is told.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

/// Something happened to the connection. See [`crate::ConnectOptions::event_callback`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection came up: the first one, or after [`Event::Disconnected`].
    Connected,
    /// The connection was lost; the client is trying to get it back.
    Disconnected,
    /// The server is about to stop. The client reconnects when it does.
    LameDuckMode,
    /// [`crate::Client::drain`] began.
    Draining,
    /// The client is closed for good.
    Closed,
    /// The subscription with this number lost at least one message because nobody took them in
    /// time. Raised once until the subscriber has caught up.
    SlowConsumer(u64),
    /// The server sent an error, for example a permissions violation.
    ServerError(String),
    /// An attempt to connect failed, for this reason.
    ClientError(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected => f.write_str("connected"),
            Event::Disconnected => f.write_str("disconnected"),
            Event::LameDuckMode => f.write_str("the server is about to stop"),
            Event::Draining => f.write_str("draining"),
            Event::Closed => f.write_str("closed"),
            Event::SlowConsumer(sid) => write!(f, "subscription {sid} is too slow"),
            Event::ServerError(text) => write!(f, "server error: {text}"),
            Event::ClientError(text) => write!(f, "client error: {text}"),
        }
    }
}

/// The state of the connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There was no connection yet ([`crate::ConnectOptions::retry_on_initial_connect`]).
    Pending,
    /// Up.
    Connected,
    /// Lost; the client is trying to get it back.
    Disconnected,
    /// Closed for good.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Pending => "pending",
            State::Connected => "connected",
            State::Disconnected => "disconnected",
            State::Closed => "closed",
        })
    }
}

/// What a user registers: called with one event after another.
pub(crate) type EventCallback =
    Arc<dyn Fn(Event) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The way from the connection to the user's callback. A callback that falls behind loses events
/// rather than holding up the connection.
#[derive(Debug)]
pub(crate) struct Events {
    sender: Option<mpsc::Sender<Event>>,
}

/// Events that wait for a slow callback. A connection has a handful of them in its life; 128 is
/// what async-nats keeps.
const EVENTS_MAX: usize = 128;

impl Events {
    /// Start the task that calls `callback`; it ends with this value.
    pub(crate) fn start(callback: Option<EventCallback>) -> Events {
        let sender = callback.map(|callback| {
            let (sender, mut receiver) = mpsc::channel(EVENTS_MAX);
            tokio::spawn(async move {
                while let Some(event) = receiver.recv().await {
                    callback(event).await;
                }
            });
            sender
        });
        Events { sender }
    }

    pub(crate) fn raise(&self, event: Event) {
        tracing::debug!(%event, "event");
        if let Some(sender) = &self.sender
            && sender.try_send(event).is_err()
        {
            tracing::warn!("an event was dropped because the event callback is too slow");
        }
    }
}
