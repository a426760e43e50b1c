//! How a worker is to work.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::answer::{option, word, word_list};
use crate::client::Client;
use crate::desk::Desk;
use crate::error::{WorkerError, WorkerErrorKind};
use crate::event::State;
use crate::job::Job;
use crate::job_error::JobError;
use crate::operation_error::Trouble;
use crate::session::{Greeting, Session, attach, start_error};
use crate::worker::Worker;

/// How a worker is to work; made by [`Client::worker`] or [`Worker::builder`], ends in
/// [`WorkerBuilder::run`], [`WorkerBuilder::run_json`] or [`WorkerBuilder::start`].
#[derive(Clone, Debug)]
#[must_use = "a worker works after `run` or `start`"]
pub struct WorkerBuilder {
    client: Client,
    agent: String,
    can: Vec<String>,
    labels: Vec<String>,
    capacity: Vec<String>,
    queues: Vec<String>,
    concurrency: usize,
    drain_timeout: Duration,
}

impl WorkerBuilder {
    pub(crate) fn new(client: Client, agent: String) -> WorkerBuilder {
        WorkerBuilder {
            client,
            agent,
            can: Vec::new(),
            labels: Vec::new(),
            capacity: Vec::new(),
            queues: Vec::new(),
            concurrency: 1,
            drain_timeout: Duration::from_secs(30),
        }
    }

    /// Capabilities: it gets tasks that need these, some of these, or none. Default: none.
    pub fn can<I: IntoIterator<Item: Into<String>>>(mut self, capabilities: I) -> WorkerBuilder {
        self.can = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Labels and their values, for tasks that test them. Default: none.
    ///
    /// ```no_run
    /// # fn example(client: agentcom_client::Client) {
    /// let worker = client.worker("alice").labels([("os", "linux"), ("mem", "16")]);
    /// # }
    /// ```
    pub fn labels<I, L, V>(mut self, labels: I) -> WorkerBuilder
    where
        I: IntoIterator<Item = (L, V)>,
        L: std::fmt::Display,
        V: std::fmt::Display,
    {
        let labels = labels.into_iter().map(|(label, value)| format!("{label}:{value}"));
        self.labels = labels.collect();
        self
    }

    /// How much it has of what tasks use up ([`crate::TaskBuilder::uses`]): it holds no more tasks
    /// at once than fit. Default: nothing.
    ///
    /// ```no_run
    /// # fn example(client: agentcom_client::Client) {
    /// let worker = client.worker("alice").capacity([("gpu", 2), ("mem", 64)]).concurrency(9);
    /// # }
    /// ```
    pub fn capacity<I, R>(mut self, resources: I) -> WorkerBuilder
    where
        I: IntoIterator<Item = (R, u32)>,
        R: std::fmt::Display,
    {
        let resources = resources.into_iter().map(|(name, amount)| format!("{name}:{amount}"));
        self.capacity = resources.collect();
        self
    }

    /// Queues to work on. Default: all.
    pub fn queues<I: IntoIterator<Item: Into<String>>>(mut self, queues: I) -> WorkerBuilder {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// How many tasks it may hold at once, 1 to 1000. Default: 1.
    pub fn concurrency(mut self, tasks: usize) -> WorkerBuilder {
        self.concurrency = tasks;
        self
    }

    /// How long a worker that shuts down waits for running jobs before it hands them back.
    /// Default: 30 seconds, the default lease.
    pub fn drain_timeout(mut self, timeout: Duration) -> WorkerBuilder {
        self.drain_timeout = timeout;
        self
    }

    /// [`WorkerBuilder::start`] and [`Worker::run`].
    ///
    /// # Errors
    /// [`WorkerErrorKind`].
    pub async fn run<F, Fut, R>(self, handler: F) -> Result<(), WorkerError>
    where
        F: FnMut(Job) -> Fut,
        Fut: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        self.start().await?.run(handler).await
    }

    /// [`WorkerBuilder::start`] and [`Worker::run_json`].
    ///
    /// # Errors
    /// [`WorkerErrorKind`].
    pub async fn run_json<I, O, F, Fut>(self, handler: F) -> Result<(), WorkerError>
    where
        I: DeserializeOwned,
        O: Serialize,
        F: FnMut(Job, I) -> Fut,
        Fut: Future<Output = Result<O, JobError>> + Send + 'static,
    {
        self.start().await?.run_json(handler).await
    }

    /// Tell the broker, which then offers work. While disconnected it waits for the
    /// next connection.
    ///
    /// Not cancel-safe: after a dropped call the broker may take the connection for a worker's,
    /// and starting again corrects that.
    ///
    /// # Errors
    /// [`WorkerErrorKind::NotSupported`] on a server that is no AgentCom broker;
    /// [`WorkerErrorKind::AlreadyStarted`] when the client has a worker already.
    pub async fn start(self) -> Result<Worker, WorkerError> {
        let greeting = self.greeting().map_err(start_error)?;
        let shared = self.client.shared();
        let pushes = shared.pushes.take().ok_or(WorkerErrorKind::AlreadyStarted)?;
        let mut status = shared.watch_status();
        let is_settled = |state| matches!(state, State::Connected | State::Closed);
        let connected = status.wait_for(|status| is_settled(status.state)).await;
        let link = connected.map_or(0, |status| status.link);
        attach(shared, &greeting, &[], link).await.map_err(start_error)?;
        shared.speak_for(&self.agent);

        let desk = Arc::new(Desk::new(self.client.clone(), link));
        let stopping = CancellationToken::new();
        let session =
            Session { desk: Arc::clone(&desk), pushes, greeting, stopping: stopping.clone() };
        tokio::spawn(session.run());
        Ok(Worker::new(desk, self.concurrency, self.drain_timeout, stopping))
    }

    fn greeting(&self) -> Result<Greeting, Trouble> {
        let mut about = vec![word("the agent's name", &self.agent)?.to_owned()];
        about.extend(word_list("a capability", &self.can)?.map(|can| option("can", can)));
        about.extend(word_list("a label", &self.labels)?.map(|labels| option("labels", labels)));
        let capacity = word_list("a resource", &self.capacity)?;
        about.extend(capacity.map(|capacity| option("capacity", capacity)));
        about.push(option("credit", self.concurrency));
        let queues = word_list("a queue", &self.queues)?.map(|queues| option("queues", queues));
        Ok(Greeting { about, queues })
    }
}
