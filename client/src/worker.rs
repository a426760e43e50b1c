//! An agent that does tasks.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::Client;
use crate::desk::{Next, SharedDesk};
use crate::error::WorkerError;
use crate::job::Job;
use crate::job_error::JobError;
use crate::operation_error::SettleError;
use crate::worker_builder::WorkerBuilder;

/// How long handing back what did not finish may take. Long enough for an answer, and the broker
/// takes the leases away anyway once the connection is gone.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// An agent at work. Take jobs one by one with [`Worker::next`], or hand each to a function with
/// [`Worker::run`].
///
/// After a lost connection it goes on by itself: the broker is told what still runs, jobs that are
/// still this worker's go on, those that are not are cancelled, and none is begun twice. Dropping
/// it takes no new work; jobs that run stay alive until they are answered.
pub struct Worker {
    desk: SharedDesk,
    /// A job whose acceptance is on its way.
    accepting: Option<Accepting>,
    concurrency: usize,
    drain_timeout: Duration,
    stopping: CancellationToken,
    /// Stops the worker when it is dropped.
    _guard: DropGuard,
}

type Accepting = Pin<Box<dyn Future<Output = (Job, Result<(), SettleError>)> + Send>>;

/// Stops a [`Worker`] from elsewhere; made by [`Worker::handle`].
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    desk: SharedDesk,
    stopping: CancellationToken,
}

impl Worker {
    pub(crate) fn new(
        desk: SharedDesk,
        concurrency: usize,
        drain_timeout: Duration,
        stopping: CancellationToken,
    ) -> Worker {
        let guard = stopping.clone().drop_guard();
        Worker { desk, accepting: None, concurrency, drain_timeout, stopping, _guard: guard }
    }

    /// Work on tasks under the name `agent`; the same as [`Client::worker`].
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::WorkerError> {
    /// use agentcom_client::Worker;
    /// Worker::builder(&client, "alice")
    ///     .can(["gpu"])
    ///     .queues(["resize"])
    ///     .concurrency(4)
    ///     .run(|job| async move { Ok(job.payload().to_ascii_uppercase()) })
    ///     .await
    /// # }
    /// ```
    pub fn builder(client: &Client, agent: impl Into<String>) -> WorkerBuilder {
        client.worker(agent)
    }

    /// A handle to stop it with while it runs.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle { desk: Arc::clone(&self.desk), stopping: self.stopping.clone() }
    }

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
                Next::Offer(offer, signal) => {
                    let job = Job::new(Arc::clone(&self.desk), offer, signal);
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

    /// Run `handler` on each job, as many at once as [`WorkerBuilder::concurrency`] allows, until
    /// the worker is replaced, the client closes, or [`WorkerHandle::shutdown`]. What the handler
    /// returns is the job's answer.
    ///
    /// ```no_run
    /// # async fn example(worker: agentcom_client::Worker) -> Result<(), agentcom_client::WorkerError> {
    /// worker.run(|job| async move { Ok(job.payload().to_ascii_uppercase()) }).await
    /// # }
    /// ```
    ///
    /// Dropping the call aborts the handlers; their attempts count as failed.
    ///
    /// # Errors
    /// [`crate::WorkerErrorKind`]: why the worker cannot go on. Jobs that ran were finished first.
    pub async fn run<F, Fut, R>(self, handler: F) -> Result<(), WorkerError>
    where
        F: FnMut(Job) -> Fut,
        Fut: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        self.run_until(pending(), handler).await
    }

    /// [`Worker::run`] with JSON on both sides: the payload becomes an `I`, and what the handler
    /// returns becomes the result. A payload that is no `I` fails the task for good.
    ///
    /// ```no_run
    /// # async fn example(worker: agentcom_client::Worker) -> Result<(), agentcom_client::WorkerError> {
    /// #[derive(serde::Deserialize)]
    /// struct Sum { a: u32, b: u32 }
    /// worker.run_json(|_job, Sum { a, b }| async move { Ok(a + b) }).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn run_json<I, O, F, Fut>(self, mut handler: F) -> Result<(), WorkerError>
    where
        I: DeserializeOwned,
        O: Serialize,
        F: FnMut(Job, I) -> Fut,
        Fut: Future<Output = Result<O, JobError>> + Send + 'static,
    {
        self.run(move |job| {
            let handling =
                serde_json::from_slice(job.payload()).map(|input| handler(job.clone(), input));
            async move {
                let is_no_json =
                    |error| JobError::fatal(format!("the payload does not fit: {error}"));
                let output = handling.map_err(is_no_json)?.await?;
                serde_json::to_vec(&output)
                    .map_err(|error| JobError::fatal(format!("the result is no JSON: {error}")))
            }
        })
        .await
    }

    /// [`Worker::run`] until `shutdown` is ready. Then no new work is taken, and what runs has
    /// [`WorkerBuilder::drain_timeout`] to finish. What does not is aborted and handed back: another
    /// agent gets it, and no attempt is used up.
    ///
    /// # Errors
    /// [`crate::WorkerErrorKind`]: why the worker cannot go on. Jobs that ran were finished first.
    pub async fn run_until<F, Fut, R>(
        mut self,
        shutdown: impl Future<Output = ()>,
        mut handler: F,
    ) -> Result<(), WorkerError>
    where
        F: FnMut(Job) -> Fut,
        Fut: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Bytes> + Send + 'static,
    {
        let mut running = JoinSet::new();
        let stopping = self.stopping.clone();
        tokio::pin!(shutdown);
        let end = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                () = stopping.cancelled() => break Ok(()),
                Some(_) = running.join_next(), if !running.is_empty() => {}
                next = self.next(), if running.len() < self.concurrency => match next {
                    Some(Ok(job)) => {
                        let handling = handler(job.clone());
                        running.spawn(handle(job, handling));
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            }
        };
        self.stopping.cancel();
        // An acceptance on its way is work taken already.
        if let Some(accepting) = self.accepting.take()
            && let (job, Ok(())) = accepting.await
        {
            let handling = handler(job.clone());
            running.spawn(handle(job, handling));
        }
        let finishing = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain_timeout, finishing).await.is_err() {
            tracing::warn!(jobs = running.len(), "jobs were aborted at the drain deadline");
            // Nothing may work on a task that somebody else can get.
            let leases = self.desk.abandon();
            running.shutdown().await;
            release(&self.desk, leases).await;
        }
        leave(&self.desk).await;
        end
    }

    /// Take no new work, wait until the jobs taken before are answered (at most
    /// [`WorkerBuilder::drain_timeout`]), hand back those that are not, and tell the broker. Offers
    /// that were not taken go to other agents.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        self.accepting = None;
        if tokio::time::timeout(self.drain_timeout, self.desk.idle()).await.is_err() {
            tracing::warn!("jobs are still without an answer at the drain deadline");
            let leases = self.desk.abandon();
            release(&self.desk, leases).await;
        }
        leave(&self.desk).await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}

impl WorkerHandle {
    /// Stop the worker, and wait until it has: no new work is taken, what runs has
    /// [`WorkerBuilder::drain_timeout`] to finish, and what does not is handed back.
    ///
    /// Cancel-safe: the worker stops all the same.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.desk.ended().await;
    }
}

/// Let the handler work, then answer with what it returned.
async fn handle<R: Into<Bytes>>(job: Job, handling: impl Future<Output = Result<R, JobError>>) {
    let outcome = handling.await.map(Into::into);
    if let Err(error) = job.answer(outcome).await {
        tracing::warn!(task = %job.task(), %error, "the answer to a task did not count");
    }
}

/// Hand back what did not finish.
async fn release(desk: &SharedDesk, leases: Vec<(u64, u64)>) {
    if tokio::time::timeout(RELEASE_TIMEOUT, desk.release(leases)).await.is_err() {
        tracing::warn!("the broker could not be told which tasks are handed back");
    }
}

/// Let the session say goodbye.
async fn leave(desk: &SharedDesk) {
    if tokio::time::timeout(RELEASE_TIMEOUT, desk.ended()).await.is_err() {
        tracing::warn!("the broker could not be told that the worker stopped");
    }
}
