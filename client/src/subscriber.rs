//! A subscription as a stream of messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::client::Client;
use crate::error::{UnsubscribeError, UnsubscribeErrorKind};
use crate::message::Message;

/// A [`Stream`] of the messages of one subscription, made by [`Client::subscribe`].
///
/// It survives reconnects: messages published while the connection was down are missed, and the
/// stream goes on. It ends after [`Subscriber::unsubscribe`], after its limit, or when the client
/// closes. Dropping it unsubscribes. Taking the next message is cancel-safe.
///
/// Messages that are not taken in time wait, up to
/// [`crate::ConnectOptions::subscription_capacity`]; more are dropped, with
/// [`crate::Event::SlowConsumer`].
#[derive(Debug)]
pub struct Subscriber {
    sid: u32,
    receiver: mpsc::Receiver<Message>,
    client: Client,
    /// Held until the stream has ended, for [`Client::drain`] to wait for.
    stream: Option<TaskTrackerToken>,
}

impl Subscriber {
    pub(crate) fn new(sid: u32, receiver: mpsc::Receiver<Message>, client: Client) -> Subscriber {
        let stream = Some(client.shared().streams.token());
        Subscriber { sid, receiver, client, stream }
    }

    /// The subscription's number, as in [`crate::Event::SlowConsumer`].
    #[must_use]
    pub fn sid(&self) -> u64 {
        u64::from(self.sid)
    }

    /// End the subscription now. Messages that are here already can still be taken; then the
    /// stream ends. Cancel-safe: it never waits.
    ///
    /// # Errors
    /// [`UnsubscribeErrorKind::Closed`] when the client is closed, and the subscription with it.
    pub async fn unsubscribe(&mut self) -> Result<(), UnsubscribeError> {
        self.open()?;
        self.end();
        Ok(())
    }

    /// End the subscription after `unsub_after` messages, counted from its start. Cancel-safe: it
    /// never waits.
    ///
    /// # Errors
    /// [`UnsubscribeErrorKind::Closed`] when the client is closed, and the subscription with it.
    pub async fn unsubscribe_after(&mut self, unsub_after: u64) -> Result<(), UnsubscribeError> {
        self.open()?;
        let shared = self.client.shared();
        let mut subscriptions = shared.subscriptions();
        let max = subscriptions.limit(self.sid, unsub_after).then_some(unsub_after);
        shared.outbound.append_if_up(|out| out.unsubscribe(self.sid, max));
        Ok(())
    }

    /// End the subscription without losing what is on its way: the server sends nothing new, what
    /// it sent before comes in, and then the stream ends. Take messages until it does.
    /// Cancel-safe: it never waits.
    ///
    /// # Errors
    /// [`UnsubscribeErrorKind::Closed`] when the client is closed, and the subscription with it.
    pub async fn drain(&mut self) -> Result<(), UnsubscribeError> {
        self.open()?;
        self.client.drain_subscriptions(vec![self.sid]);
        Ok(())
    }

    fn open(&self) -> Result<(), UnsubscribeError> {
        if self.client.shared().outbound.is_closed() {
            return Err(UnsubscribeErrorKind::Closed.into());
        }
        Ok(())
    }

    fn end(&self) {
        let shared = self.client.shared();
        let mut subscriptions = shared.subscriptions();
        if subscriptions.remove(self.sid) {
            shared.outbound.append_if_up(|out| out.unsubscribe(self.sid, None));
        }
    }
}

impl Stream for Subscriber {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.receiver.poll_recv(cx);
        if matches!(next, Poll::Ready(None)) {
            self.stream = None;
        }
        next
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.end();
    }
}

/// The next event of the broker's, as what it says in JSON. Only the broker publishes where it is
/// used, so what is something else is passed over.
pub(crate) fn poll_json<T: DeserializeOwned>(
    subscriber: &mut Subscriber,
    context: &mut Context<'_>,
) -> Poll<Option<T>> {
    loop {
        match Pin::new(&mut *subscriber).poll_next(context) {
            Poll::Ready(Some(message)) => {
                if let Ok(event) = serde_json::from_slice(&message.payload) {
                    return Poll::Ready(Some(event));
                }
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
    }
}
