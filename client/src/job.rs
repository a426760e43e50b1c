//! A task in the hands of this worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::answer::{Granted, milliseconds, names, option};
use crate::desk::SharedDesk;
use crate::job_error::JobError;
use crate::operation_error::{ReportError, SettleError, Trouble};
use crate::push::Offer;
use crate::stop_signal::{Cancellation, StopSignal};
use crate::tasks::TaskId;

/// An accepted task. Answer it with [`Job::complete`] or [`Job::fail`]; when the last clone is
/// dropped without an answer (a handler that panics, for example), the attempt counts as failed
/// and the task is tried again.
///
/// While it is held, the client renews its lease. [`Job::cancelled`] says when somebody called the
/// task off, or when the broker took it away.
#[derive(Clone, Debug)]
pub struct Job {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: SharedDesk,
    offer: Offer,
    signal: Arc<StopSignal>,
    answered: AtomicBool,
    /// Number of the next report; `None` while one is on its way, or when nobody knows whether the
    /// last one arrived.
    report_next: Mutex<Option<u64>>,
}

impl Job {
    pub(crate) fn new(desk: SharedDesk, offer: Offer, signal: Arc<StopSignal>) -> Job {
        let report_next = Mutex::new(Some(offer.progress_seq + 1));
        let answered = AtomicBool::new(false);
        Job { inner: Arc::new(Inner { desk, offer, signal, answered, report_next }) }
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

    /// What the submitter said about the payload ([`crate::TaskBuilder::header`]).
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.inner.offer.headers
    }

    /// Where an earlier attempt left off: what it last kept with [`Job::checkpoint`].
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<&Bytes> {
        self.inner.offer.checkpoint.as_ref()
    }

    /// Report on it; whoever shows or watches the task sees it. A sign of life too. Reports arrive
    /// in the order of the calls, and each once.
    ///
    /// Cancel-safe: a dropped report may or may not have arrived.
    ///
    /// # Errors
    /// [`crate::ReportErrorKind`]: drop the work.
    pub async fn progress(&self, data: impl Into<Bytes>) -> Result<(), ReportError> {
        let data = data.into();
        let mut next = self.inner.report_next.lock().await;
        let number = next.take().map(|number| option("seq", number));
        let options: Vec<&str> = number.as_deref().into_iter().collect();
        let verb = ["TASK", "PROGRESS"];
        let reported = match self.settle(verb, &options, Some(&data)).await {
            Err(trouble) if trouble.code() == Some("gap") => {
                self.settle(verb, &[], Some(&data)).await
            }
            reported => reported,
        };
        *next = Some(reported?.number("seq")? + 1);
        Ok(())
    }

    /// Keep where the work stands, at most 64 KiB, on disk: if this attempt does not finish, the
    /// next one finds it in [`Job::last_checkpoint`]. The last one counts.
    ///
    /// Cancel-safe: a dropped checkpoint may or may not have arrived.
    ///
    /// # Errors
    /// [`crate::ReportErrorKind`]: not kept. Unless it was too large, drop the work.
    pub async fn checkpoint(&self, data: impl Into<Bytes>) -> Result<(), ReportError> {
        let data = data.into();
        self.settle(["TASK", "CHECKPOINT"], &[], Some(&data)).await?;
        Ok(())
    }

    /// There will be no report for so long, 1 s to 1 day, and that is all right: for tasks with a
    /// [`crate::TaskBuilder::progress_timeout`]. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::ReportErrorKind`]: drop the work.
    pub async fn busy(&self, time: Duration) -> Result<(), ReportError> {
        let for_ms = milliseconds(time).to_string();
        self.settle(["TASK", "BUSY"], &[&for_ms], None).await?;
        Ok(())
    }

    /// Finish it with its result. When this returns, the result is on disk. After a lost
    /// connection it is said again on the next one.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]: the result does not count. With
    /// [`crate::SettleErrorKind::TimedOut`] it may, and calling again finds out.
    pub async fn complete(&self, result: impl Into<Bytes>) -> Result<(), SettleError> {
        let result = result.into();
        let settled = self.settle(["TASK", "COMPLETE"], &[], Some(&result)).await;
        self.answered(settled)
    }

    /// Give this attempt up. Whether the task is tried again depends on the error's class and the
    /// attempts that it has left.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`], as for [`Job::complete`].
    pub async fn fail(&self, error: JobError) -> Result<(), SettleError> {
        let options = error.options();
        let options: Vec<&str> = options.iter().flatten().map(String::as_str).collect();
        let settled = self.settle(["TASK", "FAIL"], &options, Some(&error.error)).await;
        self.answered(settled)
    }

    /// Hand it back unharmed: another agent gets it, not before `delay` has passed, and no attempt
    /// is used up.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`], as for [`Job::complete`].
    pub async fn release(&self, delay: Duration) -> Result<(), SettleError> {
        let delay_ms = option("delay_ms", milliseconds(delay));
        let settled = self.settle(["TASK", "RELEASE"], &[&delay_ms], None).await;
        self.answered(settled)
    }

    /// The work stopped because somebody called the task off ([`Job::cancellation`]); what there
    /// is of a result is kept with it.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]; nobody called the task off is
    /// [`crate::SettleErrorKind::NotLeased`].
    pub async fn stopped(&self, result: impl Into<Bytes>) -> Result<(), SettleError> {
        let result = result.into();
        let settled = self.settle(["TASK", "STOPPED"], &[], Some(&result)).await;
        self.answered(settled)
    }

    /// Wait until the work should stop: somebody called the task off, its lease ran out, or another
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
        self.inner.signal.token().cancelled().await;
    }

    /// Whether the work should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.signal.token().is_cancelled()
    }

    /// What [`Job::cancelled`] waits for, to hand on.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        // A child, so that nobody stops the job by cancelling it.
        self.inner.signal.token().child_token()
    }

    /// Why and how fast somebody wants it stopped; `None` if nobody does, or if the broker just
    /// took it away.
    #[must_use]
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.inner.signal.cancellation()
    }

    /// Whether the broker took it away, so that no answer counts any more.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.inner.signal.is_revoked()
    }

    /// Whether it was answered, or nothing that is said about it counts any more.
    pub(crate) fn is_answered(&self) -> bool {
        self.inner.answered.load(Ordering::Acquire)
    }

    /// Tell the broker that the offer is taken.
    pub(crate) async fn accept(&self) -> Result<(), SettleError> {
        let accepted = self.settle(["TASK", "ACCEPT"], &[], None).await;
        if accepted.is_err() { self.answered(accepted) } else { Ok(()) }
    }

    /// Answer with what a handler returned, unless it answered by itself.
    pub(crate) async fn answer(&self, outcome: Result<Bytes, JobError>) -> Result<(), SettleError> {
        if self.is_answered() || self.is_revoked() {
            return Ok(());
        }
        match outcome {
            Ok(result) => self.complete(result).await,
            Err(_) if self.cancellation().is_some() => self.stopped(Bytes::new()).await,
            Err(error) => self.fail(error).await,
        }
    }

    async fn settle(
        &self,
        verb: [&str; 2],
        options: &[&str],
        body: Option<&[u8]>,
    ) -> Result<Granted, Trouble> {
        let [task, generation] = names(self.inner.offer.task, self.inner.offer.generation);
        let mut arguments = vec![task.as_str(), generation.as_str()];
        arguments.extend(options);
        self.inner.desk.settle(verb, &arguments, body).await
    }

    /// Take the job off the desk, unless it is worth saying the same, or something else, again.
    fn answered(&self, settled: Result<Granted, Trouble>) -> Result<(), SettleError> {
        let settled = settled.map(drop).map_err(|trouble| {
            let again = trouble.is_passing() || trouble.is_own_mistake();
            (again, SettleError::from(trouble))
        });
        if !matches!(settled, Err((true, _))) {
            self.inner.answered.store(true, Ordering::Release);
            self.inner.desk.finish(self.inner.offer.task, self.inner.offer.generation);
        }
        settled.map_err(|(_, error)| error)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What was revoked is off the desk, or is handed back by the worker that shuts down.
        if self.signal.is_revoked() {
            return;
        }
        let (task, generation) = (self.offer.task, self.offer.generation);
        if !*self.answered.get_mut() {
            let [task, generation] = names(task, generation);
            let shared = self.desk.client.shared();
            if self.signal.cancellation().is_some() {
                shared.tell(["TASK", "STOPPED"], &[&task, &generation], Some(b""));
            } else {
                let error = b"the worker dropped the job without an answer";
                shared.tell(["TASK", "FAIL"], &[&task, &generation, "class=retry"], Some(error));
            }
        }
        self.desk.finish(task, generation);
    }
}
