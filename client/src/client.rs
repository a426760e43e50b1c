//! The handle that users clone: publish, subscribe, request, flush, drain.

use std::sync::Arc;
use std::time::Duration;

use agentcom_protocol::{Filter, ServerInfo, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::agent::{Agent, AgentMessage};
use crate::channel::{Channel, ChannelView};
use crate::connection::Connection;
use crate::error::{
    ConnectError, DrainError, DrainErrorKind, FlushError, FlushErrorKind, PublishError,
    PublishErrorKind, RequestError, RequestErrorKind, SubscribeError, SubscribeErrorKind,
};
use crate::event::{Event, State};
use crate::headers::HeaderMap;
use crate::history::{History, PresentAgent};
use crate::message::Message;
use crate::operation_error::{QueueError, TalkError};
use crate::options::ConnectOptions;
use crate::outbound::{Pong, Refusal};
use crate::queue::{self, Queue};
use crate::queue_view::QueueView;
use crate::request::Request;
use crate::server_addr::ServerAddr;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::statistics::Statistics;
use crate::subscriber::Subscriber;
use crate::tasks::Tasks;
use crate::worker_builder::WorkerBuilder;

/// A connection to a broker. Clone it freely: all clones share one connection, which closes when
/// the last of them (and of the subscribers and workers made from them) is dropped.
///
/// What is published travels at most once: a message that was handed to the socket when the
/// connection broke may be lost. Use [`Client::tasks`] for what must not be.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    _closing: Arc<DropGuard>,
}

impl Client {
    pub(crate) async fn connect(
        options: ConnectOptions,
        servers: Vec<ServerAddr>,
    ) -> Result<Client, ConnectError> {
        let retry = options.retry_on_initial_connect;
        let shared = Arc::new(Shared::new(options));
        let mut connection = Connection::new(Arc::clone(&shared), servers);
        let established = if retry { None } else { Some(connection.connect_once().await?) };
        if let Some(established) = &established {
            shared.set_info(established.info.clone());
        }
        let mut status = shared.watch_status();
        // From here on, dropping the handle (or this very call) ends the task.
        let closing = Arc::new(shared.closing.clone().drop_guard());
        let client = Client { shared, _closing: closing };
        tokio::spawn(connection.run(established));
        if !retry {
            // The task marks the link as up with its first step.
            let _ = status.wait_for(|status| status.state != State::Pending).await;
        }
        Ok(client)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Send a message to all who subscribe to `subject`.
    ///
    /// Returns as soon as the message is in the outbound buffer; [`Client::flush`] says when the
    /// server has it. While connected and the socket is behind, it waits. Cancel-safe: a dropped
    /// call has either taken the whole message or nothing.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::PublishError> {
    /// client.publish("orders.new", "42".into()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PublishErrorKind`]: the message was not taken.
    pub async fn publish<S: AsRef<str>>(
        &self,
        subject: S,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.publish_parts(subject.as_ref(), None, None, &payload).await
    }

    /// [`Client::publish`] with headers.
    ///
    /// # Errors
    /// [`PublishErrorKind`]: the message was not taken.
    pub async fn publish_with_headers<S: AsRef<str>>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.publish_parts(subject.as_ref(), None, Some(&headers), &payload).await
    }

    /// [`Client::publish`] with a subject for answers.
    ///
    /// # Errors
    /// [`PublishErrorKind`]: the message was not taken.
    pub async fn publish_with_reply<S: AsRef<str>, R: AsRef<str>>(
        &self,
        subject: S,
        reply: R,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.publish_parts(subject.as_ref(), Some(reply.as_ref()), None, &payload).await
    }

    /// [`Client::publish`] with a subject for answers, and headers.
    ///
    /// # Errors
    /// [`PublishErrorKind`]: the message was not taken.
    pub async fn publish_with_reply_and_headers<S: AsRef<str>, R: AsRef<str>>(
        &self,
        subject: S,
        reply: R,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.publish_parts(subject.as_ref(), Some(reply.as_ref()), Some(&headers), &payload).await
    }

    #[inline]
    async fn publish_parts(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
    ) -> Result<(), PublishError> {
        for subject in [Some(subject), reply].into_iter().flatten() {
            Subject::parse(subject.as_bytes()).map_err(|error| {
                PublishError::with_source(PublishErrorKind::InvalidSubject, error)
            })?;
        }
        // The header block counts too; the server says so if only that makes it too large.
        let (bytes, bytes_max) = (payload.len(), self.shared.payload_bytes_max());
        if bytes > bytes_max {
            return Err(PublishError::with_source(
                PublishErrorKind::MaxPayloadExceeded,
                format!("{bytes} bytes, and {bytes_max} are allowed"),
            ));
        }
        self.shared.outbound.publish(subject, reply, headers, payload).await.map_err(
            |refusal| match refusal {
                Refusal::Full | Refusal::LinkChanged => PublishErrorKind::BufferFull.into(),
                Refusal::Closed => PublishErrorKind::Closed.into(),
                Refusal::Header(error) => {
                    PublishError::with_source(PublishErrorKind::InvalidHeaders, error)
                }
            },
        )?;
        Statistics::add(&self.shared.statistics.out_messages, 1);
        Statistics::add(&self.shared.statistics.out_bytes, bytes as u64);
        Ok(())
    }

    /// Get every message published to `subject`, in which `*` stands for one token and a last `>`
    /// for one or more. Cancel-safe: it never waits.
    ///
    /// What this client publishes afterwards already reaches the subscription; to know that the
    /// server has it before *others* publish, [`Client::flush`].
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::SubscribeError> {
    /// use futures_util::StreamExt;
    /// let mut orders = client.subscribe("orders.>").await?;
    /// while let Some(message) = orders.next().await {
    ///     println!("{}: {} bytes", message.subject, message.payload.len());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeErrorKind`]. That the server does not permit it comes later, as
    /// [`Event::ServerError`].
    pub async fn subscribe<S: AsRef<str>>(&self, subject: S) -> Result<Subscriber, SubscribeError> {
        self.subscribe_parts(subject.as_ref(), None)
    }

    /// [`Client::subscribe`] as a member of a queue group: each message goes to one member.
    /// Cancel-safe: it never waits.
    ///
    /// # Errors
    /// [`SubscribeErrorKind`].
    pub async fn queue_subscribe<S: AsRef<str>>(
        &self,
        subject: S,
        queue_group: String,
    ) -> Result<Subscriber, SubscribeError> {
        let is_word = |c: char| !c.is_whitespace() && !c.is_control();
        if queue_group.is_empty() || !queue_group.chars().all(is_word) {
            return Err(SubscribeErrorKind::InvalidQueueName.into());
        }
        self.subscribe_parts(subject.as_ref(), Some(&queue_group))
    }

    fn subscribe_parts(
        &self,
        filter: &str,
        queue: Option<&str>,
    ) -> Result<Subscriber, SubscribeError> {
        Filter::parse(filter.as_bytes()).map_err(|error| {
            SubscribeError::with_source(SubscribeErrorKind::InvalidSubject, error)
        })?;
        let (sender, receiver) = mpsc::channel(self.shared.options.subscription_capacity);
        let mut subscriptions = self.shared.subscriptions();
        let sid = subscriptions.add(filter, queue, sender).ok_or(SubscribeErrorKind::Closed)?;
        self.shared.outbound.append_if_up(|out| out.subscribe(filter, queue, sid));
        drop(subscriptions);
        Ok(Subscriber::new(sid, receiver, self.clone()))
    }

    /// Send a message and wait for one answer, for at most
    /// [`ConnectOptions::request_timeout`].
    ///
    /// Cancel-safe for this client: a dropped request leaves nothing behind, but it may have been
    /// sent and may be handled.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::RequestError> {
    /// let answer = client.request("time", "".into()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RequestErrorKind`]; nobody listening is [`RequestErrorKind::NoResponders`], at once.
    pub async fn request<S: AsRef<str>>(
        &self,
        subject: S,
        payload: Bytes,
    ) -> Result<Message, RequestError> {
        self.send_request(subject, Request::new().payload(payload)).await
    }

    /// [`Client::request`] with headers.
    ///
    /// # Errors
    /// [`RequestErrorKind`].
    pub async fn request_with_headers<S: AsRef<str>>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, RequestError> {
        self.send_request(subject, Request::new().headers(headers).payload(payload)).await
    }

    /// [`Client::request`] with everything a [`Request`] can say.
    ///
    /// # Errors
    /// [`RequestErrorKind`].
    pub async fn send_request<S: AsRef<str>>(
        &self,
        subject: S,
        request: Request,
    ) -> Result<Message, RequestError> {
        let timeout = request.timeout.unwrap_or(self.shared.options.request_timeout);
        let asking = self.ask(subject.as_ref(), request);
        let answer = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, asking)
                .await
                .map_err(|_| RequestError::new(RequestErrorKind::TimedOut))??,
            None => asking.await?,
        };
        if answer.is_no_responders() {
            return Err(RequestErrorKind::NoResponders.into());
        }
        Ok(answer)
    }

    async fn ask(&self, subject: &str, request: Request) -> Result<Message, RequestError> {
        let Request { payload, headers, inbox, .. } = request;
        if let Some(inbox) = inbox {
            let mut answers = self
                .subscribe(&inbox)
                .await
                .map_err(|error| RequestError::with_source(RequestErrorKind::Other, error))?;
            // It ends with the subscriber in any case.
            let _ = answers.unsubscribe_after(1).await;
            self.publish_parts(subject, Some(&inbox), headers.as_ref(), &payload).await?;
            return answers.next().await.ok_or_else(|| RequestErrorKind::Closed.into());
        }
        let key = self.shared.requests.key();
        let mut ticket = self.shared.requests.ticket(key);
        let inbox = self.shared.request_inbox(key);
        self.publish_parts(subject, Some(&inbox), headers.as_ref(), &payload).await?;
        ticket.answered().await.ok_or_else(|| RequestErrorKind::Closed.into())
    }

    /// A subject that nobody else uses, for answers.
    #[must_use]
    pub fn new_inbox(&self) -> String {
        self.shared.new_inbox()
    }

    /// Wait until the server has handled everything that was sent before. While disconnected it
    /// waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// [`FlushErrorKind::Disconnected`] when the connection breaks meanwhile.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let (sender, receiver) = oneshot::channel();
        let pinged = self.shared.outbound.ping(Pong::Flush(sender));
        if pinged.is_err() {
            return Err(FlushErrorKind::Closed.into());
        }
        receiver.await.map_err(|_| match self.shared.outbound.is_closed() {
            true => FlushErrorKind::Closed.into(),
            false => FlushErrorKind::Disconnected.into(),
        })
    }

    /// Close without losing anything: end all subscriptions, wait until their streams have been
    /// taken to their end (at most [`ConnectOptions::drain_timeout`]), send what is left, close.
    ///
    /// Publishing stays possible until the streams have ended, for handlers to answer. Not
    /// cancel-safe: a dropped call may leave the subscriptions ended and the client open.
    ///
    /// # Errors
    /// [`DrainErrorKind`]. The client is closed all the same.
    pub async fn drain(&self) -> Result<(), DrainError> {
        if self.shared.outbound.is_closed() {
            return Err(DrainErrorKind::Closed.into());
        }
        self.shared.events.raise(Event::Draining);
        let sids = self.shared.subscriptions().sids();
        self.drain_subscriptions(sids);
        let ending = async {
            self.shared.streams.wait().await;
            self.flush().await
        };
        let drained = tokio::time::timeout(self.shared.options.drain_timeout, ending).await;
        self.shared.closing.cancel();
        let mut status = self.shared.watch_status();
        let _ = status.wait_for(|status| status.state == State::Closed).await;
        match drained {
            Ok(flushed) => flushed
                .map_err(|error| DrainError::with_source(DrainErrorKind::Disconnected, error)),
            Err(_) => Err(DrainErrorKind::TimedOut.into()),
        }
    }

    /// The server sends nothing new to these; what is on its way still comes in.
    pub(crate) fn drain_subscriptions(&self, sids: Vec<u32>) {
        let mut subscriptions = self.shared.subscriptions();
        if self.shared.outbound.link().is_none() {
            for sid in sids {
                subscriptions.remove(sid);
            }
            return;
        }
        self.shared.outbound.append_if_up(|out| {
            for &sid in &sids {
                out.unsubscribe(sid, None);
            }
        });
        drop(subscriptions);
        // Closed meanwhile: then the subscriptions are gone already.
        let _ = self.shared.outbound.ping(Pong::Drained(sids));
    }

    /// Drop the connection and make a new one, as if it had been lost. Cancel-safe: it never
    /// waits.
    pub fn force_reconnect(&self) {
        self.shared.reconnect.notify_one();
    }

    /// What the server last said of itself; all defaults before the first connection.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        (*self.shared.info()).clone()
    }

    /// The largest header block and payload together that the server takes, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.shared.payload_bytes_max()
    }

    /// How long requests wait by default.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.shared.options.request_timeout
    }

    /// The state of the connection now. It may be another one by the time it is looked at.
    #[must_use]
    pub fn connection_state(&self) -> State {
        self.shared.status().state
    }

    /// Counters since the start.
    #[must_use]
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.shared.statistics)
    }

    /// Durable tasks: submit them, look at them, call them off. Needs an AgentCom broker.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        Tasks::new(self.clone())
    }

    /// Speak for the agent of this name: send messages, and read its mailbox. A connection that
    /// showed an agent's token ([`crate::ConnectOptions::token`]) speaks for that agent only.
    /// Needs an AgentCom broker.
    #[must_use]
    pub fn agent(&self, name: impl Into<String>) -> Agent {
        Agent::new(self.clone(), name.into())
    }

    /// Look at what was said before. Await the returned [`History`]. Needs an AgentCom broker.
    pub fn history(&self) -> History {
        History::new(self.clone())
    }

    /// The messages of the thread that the message with this id is in, oldest first. Needs an
    /// AgentCom broker. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn thread(&self, id: &str) -> Result<Vec<AgentMessage>, TalkError> {
        Ok(crate::history::thread(self, id).await?)
    }

    /// The agents that are here over the WebSocket, in the order of their names. Needs an AgentCom
    /// broker. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn present_agents(&self) -> Result<Vec<PresentAgent>, TalkError> {
        Ok(crate::history::present(self).await?)
    }

    /// The channel of this name. Needs an AgentCom broker.
    #[must_use]
    pub fn channel(&self, name: impl Into<String>) -> Channel {
        Channel::new(self.clone(), name.into())
    }

    /// All channels, in the order of their names. Needs an AgentCom broker. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn channels(&self) -> Result<Vec<ChannelView>, TalkError> {
        Ok(crate::channel::list(self).await?)
    }

    /// The settings that all share. Needs an AgentCom broker.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::new(self.clone())
    }

    /// The durable queue of this name: put entries into it and take them out. Needs an AgentCom
    /// broker.
    #[must_use]
    pub fn queue(&self, name: impl Into<String>) -> Queue {
        Queue::new(self.clone(), name.into())
    }

    /// Durable queues behind the name `after`, in the order of their names, at most `limit` (1 to
    /// 1,000). Needs an AgentCom broker. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::QueueErrorKind`].
    pub async fn queues(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<QueueView>, QueueError> {
        Ok(queue::list(self, after, limit).await?)
    }

    /// Work on tasks under the name `agent`. Needs an AgentCom broker.
    pub fn worker(&self, agent: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder::new(self.clone(), agent.into())
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> RequestError {
        let kind = match error.kind() {
            PublishErrorKind::InvalidSubject => RequestErrorKind::InvalidSubject,
            PublishErrorKind::MaxPayloadExceeded => RequestErrorKind::MaxPayloadExceeded,
            PublishErrorKind::Closed => RequestErrorKind::Closed,
            PublishErrorKind::InvalidHeaders | PublishErrorKind::BufferFull => {
                RequestErrorKind::Other
            }
        };
        RequestError::with_source(kind, error)
    }
}
