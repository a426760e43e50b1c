//! An agent that does tasks.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::DropGuard;

use crate::answer::{word, word_list};
use crate::client::Client;
use crate::desk::{Desk, Next, SharedDesk};
use crate::error::{TaskError, WorkerError, WorkerErrorKind};
use crate::event::State;
use crate::job::{Failure, Job};
use crate::session::{Session, attach, start_error};

/// How a worker is to work; made by [`Client::worker`], ends in [`WorkerBuilder::start`].
#[derive(Clone, Debug)]
#[must_use = "a worker works after `start`"]
pub struct WorkerBuilder {
    client: Client,
    agent: String,
    can: Vec<String>,
    queues: Vec<String>,
    credit: usize,
    drain_timeout: Duration,
}

impl WorkerBuilder {
    pub(crate) fn new(client: Client, agent: String) -> WorkerBuilder {
        WorkerBuilder {
            client,
            agent,
            can: Vec::new(),
            queues: Vec::new(),
            credit: 1,
            drain_timeout: Duration::from_secs(30),
        }
    }

    /// Capabilities: it gets tasks that need these, some of these, or none. Default: none.
    pub fn can<I: IntoIterator<Item: Into<String>>>(mut self, capabilities: I) -> WorkerBuilder {
        self.can = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Queues to work on. Default: all.
    pub fn queues<I: IntoIterator<Item: Into<String>>>(mut self, queues: I) -> WorkerBuilder {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// How many tasks it may hold at once, 1 to 1000. Default: 1.
    pub fn credit(mut self, credit: usize) -> WorkerBuilder {
        self.credit = credit;
        self
    }

    /// How long [`Worker::run_until`] and [`Worker::drain`] wait for running jobs. Default: 30
    /// seconds, the default lease.
    pub fn drain_timeout(mut self, timeout: Duration) -> WorkerBuilder {
        self.drain_timeout = timeout;
        self
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
        let arguments = self.arguments().map_err(start_error)?;
        let shared = self.client.shared();
        let pushes = shared.pushes.take().ok_or(WorkerErrorKind::AlreadyStarted)?;
        let mut status = shared.watch_status();
        let is_settled = |state| matches!(state, State::Connected | State::Closed);
        let connected = status.wait_for(|status| is_settled(status.state)).await;
        let link = connected.map_or(0, |status| status.link);
        attach(shared, &arguments, link).await.map(drop).map_err(start_error)?;

        let desk = Arc::new(Desk::new(self.client.clone(), link));
        let stopping = tokio_util::sync::CancellationToken::new();
        let session =
            Session { desk: Arc::clone(&desk), pushes, arguments, stopping: stopping.clone() };
        tokio::spawn(session.run());
        Ok(Worker {
            desk,
            accepting: None,
            credit: self.credit,
            drain_timeout: self.drain_timeout,
            stopping: Some(stopping.drop_guard()),
        })
    }

    fn arguments(&self) -> Result<Vec<String>, TaskError> {
        let mut arguments = vec![word("the agent's name", &self.agent)?.to_owned()];
        arguments.extend(word_list("a capability", &self.can)?.map(|can| format!("can={can}")));
        let queues = word_list("a queue", &self.queues)?;
        arguments.extend(queues.map(|queues| format!("queues={queues}")));
        arguments.push(format!("credit={}", self.credit));
        Ok(arguments)
    }
}

/// An agent at work. Take jobs one by one with [`Worker::next`], or hand each to a function with
/// [`Worker::run`].
///
/// After a lost connection it goes on by itself: the broker is told again, jobs that run keep
/// running, and no job is begun twice. Dropping it takes no new work; jobs that run stay alive
/// until they are answered.
pub struct Worker {
    desk: SharedDesk,
    /// A job whose acceptance is on its way.
    accepting: Option<Accepting>,
    credit: usize,
    drain_timeout: Duration,
    /// Dropped when the worker stops.
    stopping: Option<DropGuard>,
}

type Accepting = Pin<Box<dyn Future<Output = (Job, Result<(), TaskError>)> + Send>>;

impl Worker {
    /// Accept the next offer. `None` when the worker was stopped; an error is the last thing
    /// before `None`.
    ///
    /// Offers that nobody takes go to other agents after some seconds, so it is no harm to call
    /// this only when there is time for a job. Cancel-safe: an acceptance that is on its way when
    /// the call is dropped is picked up by the next call.
    ///
    /// ```no_run
    /// # async fn example(mut worker: agentcom_client::Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(job) = worker.next().await {
    ///     let job = job?;
    ///     job.complete(job.payload().to_ascii_uppercase()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Job, WorkerError>> {
        loop {
            if let Some(accepting) = &mut self.accepting {
                let (job, accepted) = accepting.await;
                self.accepting = None;
                match accepted {
                    Ok(()) => return Some(Ok(job)),
                    Err(error) => {
                        tracing::info!(task = %job.task(), %error, "an offer was gone");
                    }
                }
            }
            match self.desk.next() {
                Next::Offer(offer, revoked) => {
                    let job = Job::new(Arc::clone(&self.desk), offer, revoked);
                    self.accepting = Some(Box::pin(async move {
                        let accepted = job.accept().await;
                        (job, accepted)
                    }));
                }
                Next::Wait => self.desk.offered.notified().await,
                Next::Ended(error) => return error.map(Err),
            }
        }
    }

    /// Run `handler` on each job, as many at once as the credit allows, until the worker is
    /// replaced or the client closes. What the handler returns is the job's answer.
    ///
    /// ```no_run
    /// # async fn example(worker: agentcom_client::Worker) -> Result<(), agentcom_client::WorkerError> {
    /// worker.run(|job| async move { Ok(job.payload().to_ascii_uppercase()) }).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WorkerErrorKind`]: why the worker cannot go on. Jobs that ran were finished first.
    pub async fn run<F, Fut, R>(self, handler: F) -> Result<(), WorkerError>
    where
        F: FnMut(Job) -> Fut,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        self.run_until(pending(), handler).await
    }

    /// [`Worker::run`] until `shutdown` is ready: then no new work is taken, and what runs has
    /// [`WorkerBuilder::drain_timeout`] to finish. Jobs that do not are aborted and go back to
    /// the broker for another attempt.
    ///
    /// Dropping the call aborts the handlers, with the same effect.
    ///
    /// # Errors
    /// [`WorkerErrorKind`]: why the worker cannot go on. Jobs that ran were finished first.
    pub async fn run_until<F, Fut, R>(
        mut self,
        shutdown: impl Future<Output = ()>,
        mut handler: F,
    ) -> Result<(), WorkerError>
    where
        F: FnMut(Job) -> Fut,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        let mut running = JoinSet::new();
        tokio::pin!(shutdown);
        let end = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                Some(_) = running.join_next(), if !running.is_empty() => {}
                next = self.next(), if running.len() < self.credit => match next {
                    Some(Ok(job)) => {
                        let handling = handler(job.clone());
                        running.spawn(answer(job, handling));
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            }
        };
        // An acceptance on its way is work taken already.
        if let Some(accepting) = self.accepting.take()
            && let (job, Ok(())) = accepting.await
        {
            let handling = handler(job.clone());
            running.spawn(answer(job, handling));
        }
        let finishing = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain_timeout, finishing).await.is_err() {
            tracing::warn!(jobs = running.len(), "jobs were aborted at the drain deadline");
            running.shutdown().await;
        }
        self.drain().await;
        end
    }

    /// Take no new work, wait until the jobs taken before are answered (at most
    /// [`WorkerBuilder::drain_timeout`]), and tell the broker. Offers that were not taken go to
    /// other agents.
    pub async fn drain(mut self) {
        self.accepting = None;
        self.stopping = None;
        if tokio::time::timeout(self.drain_timeout, self.desk.ended()).await.is_err() {
            tracing::warn!("jobs are still without an answer at the drain deadline");
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("credit", &self.credit).finish_non_exhaustive()
    }
}

/// Let the handler work, then answer with what it returned, unless it answered by itself.
async fn answer<R: Into<Bytes>>(job: Job, handling: impl Future<Output = Result<R, Failure>>) {
    let outcome = handling.await;
    if job.is_answered() || job.is_cancelled() {
        return;
    }
    let answered = match outcome {
        Ok(result) => job.complete(result).await,
        Err(failure) => job.fail(failure).await,
    };
    if let Err(error) = answered {
        tracing::warn!(task = %job.task(), %error, "the answer to a task did not count");
    }
}
