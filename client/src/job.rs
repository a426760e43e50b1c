//! A task in the hands of this worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::desk::{SharedDesk, names};
use crate::error::{TaskError, TaskErrorKind};
use crate::push::Offer;
use crate::tasks::TaskId;

/// An accepted task. Answer it with [`Job::complete`] or [`Job::fail`]; when the last clone is
/// dropped without an answer (a handler that panics, for example), the attempt counts as failed
/// and the task is tried again.
///
/// While it is held, the client renews its lease. [`Job::cancelled`] says when the broker took it
/// away all the same.
#[derive(Clone, Debug)]
pub struct Job {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: SharedDesk,
    offer: Offer,
    revoked: CancellationToken,
    answered: AtomicBool,
}

impl Job {
    pub(crate) fn new(desk: SharedDesk, offer: Offer, revoked: CancellationToken) -> Job {
        Job { inner: Arc::new(Inner { desk, offer, revoked, answered: AtomicBool::new(false) }) }
    }

    /// Which task it is.
    #[must_use]
    pub fn task(&self) -> TaskId {
        TaskId(self.inner.offer.task)
    }

    /// How often the task changed hands: with the task's number, it names this attempt for ever.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.offer.generation
    }

    /// The queue it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.inner.offer.queue
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.offer.attempt
    }

    /// How long the broker bears silence about it.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.inner.offer.lease
    }

    /// What the submitter sent.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.inner.offer.payload
    }

    /// What an earlier attempt left to go on from, if it did.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Bytes> {
        self.inner.offer.checkpoint.as_ref()
    }

    /// Report on it; whoever shows the task sees the last report. Cancel-safe: a dropped report
    /// may or may not have arrived.
    ///
    /// # Errors
    /// [`TaskErrorKind::StaleGeneration`] or [`TaskErrorKind::NotOwner`]: drop the work.
    pub async fn progress(&self, data: impl Into<Bytes>) -> Result<(), TaskError> {
        let data = data.into();
        self.settle(["TASK", "PROGRESS"], &[], Some(&data)).await
    }

    /// Finish it with its result. When this returns, the result is on disk. After a lost
    /// connection it is said again on the next one.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`TaskErrorKind`]: the result does not count. With [`TaskErrorKind::TimedOut`] it may, and
    /// calling again finds out.
    pub async fn complete(&self, result: impl Into<Bytes>) -> Result<(), TaskError> {
        let result = result.into();
        let settled = self.settle(["TASK", "COMPLETE"], &[], Some(&result)).await;
        self.answered(settled)
    }

    /// Give this attempt up. Whether the task is tried again depends on the failure's class and
    /// the attempts that it has left.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`TaskErrorKind`], as for [`Job::complete`].
    pub async fn fail(&self, failure: Failure) -> Result<(), TaskError> {
        let options = failure.options();
        let options: Vec<&str> = options.iter().flatten().map(String::as_str).collect();
        let settled = self.settle(["TASK", "FAIL"], &options, Some(&failure.error)).await;
        self.answered(settled)
    }

    /// Wait until the broker takes the task away: it was cancelled, its lease ran out, or another
    /// session took over. Cancel-safe.
    ///
    /// ```no_run
    /// # async fn work() {}
    /// # async fn example(job: agentcom_client::Job) {
    /// tokio::select! {
    ///     () = work() => {}
    ///     () = job.cancelled() => {} // nobody waits for the result any more
    /// }
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        self.inner.revoked.cancelled().await;
    }

    /// Whether the broker took the task away.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.revoked.is_cancelled()
    }

    /// Whether it was answered, or nothing that is said about it counts any more.
    pub(crate) fn is_answered(&self) -> bool {
        self.inner.answered.load(Ordering::Acquire)
    }

    /// Tell the broker that the offer is taken.
    pub(crate) async fn accept(&self) -> Result<(), TaskError> {
        let accepted = self.settle(["TASK", "ACCEPT"], &[], None).await;
        match accepted {
            Err(error) if error.kind() != TaskErrorKind::TimedOut => self.answered(Err(error)),
            accepted => accepted,
        }
    }

    async fn settle(
        &self,
        verb: [&str; 2],
        options: &[&str],
        body: Option<&[u8]>,
    ) -> Result<(), TaskError> {
        let [task, generation] = names(self.inner.offer.task, self.inner.offer.generation);
        let mut arguments = vec![task.as_str(), generation.as_str()];
        arguments.extend(options);
        self.inner.desk.settle(verb, &arguments, body).await.map(drop)
    }

    /// Take the job off the desk, unless it is worth saying the same again.
    fn answered(&self, settled: Result<(), TaskError>) -> Result<(), TaskError> {
        let again = matches!(
            settled.as_ref().map_err(|error| error.kind()),
            Err(TaskErrorKind::TimedOut
                | TaskErrorKind::Unavailable
                | TaskErrorKind::MaxPayloadExceeded)
        );
        if !again {
            self.inner.answered.store(true, Ordering::Release);
            self.inner.desk.finish(self.inner.offer.task, self.inner.offer.generation);
        }
        settled
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (task, generation) = (self.offer.task, self.offer.generation);
        if !*self.answered.get_mut() && !self.revoked.is_cancelled() {
            let [task, generation] = names(task, generation);
            let error = b"the worker dropped the job without an answer";
            let shared = self.desk.client.shared();
            shared.tell(["TASK", "FAIL"], &[&task, &generation, "class=retry"], Some(error));
        }
        self.desk.finish(task, generation);
    }
}

/// Why an attempt failed, for the submitter, and whether another one can help.
///
/// Every error converts into one that is worth a retry, so `?` works in handlers.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    error: Bytes,
    is_fatal: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    /// Another attempt may succeed.
    #[must_use]
    pub fn retry(error: impl Into<Bytes>) -> Failure {
        Failure { error: error.into(), is_fatal: false, retry_after: None }
    }

    /// No further attempt can help: the task is dead at once.
    #[must_use]
    pub fn fatal(error: impl Into<Bytes>) -> Failure {
        Failure { error: error.into(), is_fatal: true, retry_after: None }
    }

    /// Not before this time has passed, in whole milliseconds. Default: the broker's back-off.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Failure {
        self.retry_after = Some(delay);
        self
    }

    fn options(&self) -> [Option<String>; 2] {
        let class = if self.is_fatal { "fatal" } else { "retry" };
        let after = self.retry_after.map(|after| format!("retry_after_ms={}", after.as_millis()));
        [Some(format!("class={class}")), after]
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Failure::retry(text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.is_fatal { "fatal" } else { "retry" };
        write!(f, "Failure({class}: {})", String::from_utf8_lossy(&self.error))
    }
}
