//! Entries taken from a queue, and their answers.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::answer::{Granted, Terms, milliseconds, names, option, word};
use crate::client::Client;
use crate::operation_error::{LeaseError, ReportError, SettleError, Trouble, TroubleKind};
use crate::push::Offer;
use crate::takes::Taking;
use crate::tasks::TaskId;

/// Longest time for which one question to the broker waits.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// An entry to be taken: set what differs from the defaults, then await it; the answer is `None`
/// if there was none. Made by [`crate::Queue::lease`].
///
/// Cancel-safe: an entry that was on its way when the call is dropped is handed back at once, and
/// uses up no attempt. After a lost connection it goes on waiting on the next one.
#[derive(Clone, Debug)]
#[must_use = "an entry is taken when this is awaited"]
pub struct LeaseBuilder {
    client: Client,
    queue: String,
    lease: Duration,
    wait: Duration,
}

/// Several entries to be taken at once; made by [`LeaseBuilder::max`]. Cancel-safe, as
/// [`LeaseBuilder`].
#[derive(Clone, Debug)]
#[must_use = "entries are taken when this is awaited"]
pub struct LeasesBuilder {
    single: LeaseBuilder,
    max: usize,
}

impl LeaseBuilder {
    pub(crate) fn new(client: Client, queue: String, lease: Duration) -> LeaseBuilder {
        LeaseBuilder { client, queue, lease, wait: Duration::ZERO }
    }

    /// How long to wait for an entry if there is none. Default: not at all.
    pub fn wait(mut self, wait: Duration) -> LeaseBuilder {
        self.wait = wait;
        self
    }

    /// Take up to so many at once, 1 to 100; the answer is a list. It waits for the first only.
    pub fn max(self, entries: usize) -> LeasesBuilder {
        LeasesBuilder { single: self, max: entries }
    }

    async fn take(self, max: usize) -> Result<Vec<Lease>, Trouble> {
        let deadline = Instant::now() + self.wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(offers) = self.take_once(max, left.min(WAIT_MAX)).await? else { continue };
            // The broker also ends a wait early when the connection begins to speak for an agent.
            if !offers.is_empty() || Instant::now() >= deadline {
                let lease = |offer| Lease::new(self.client.clone(), offer);
                return Ok(offers.into_iter().map(lease).collect());
            }
        }
    }

    /// `None`: the connection was lost, and there is a new one.
    async fn take_once(&self, max: usize, wait: Duration) -> Result<Option<Vec<Offer>>, Trouble> {
        let shared = self.client.shared();
        let options = [
            option("max", max),
            option("wait_ms", milliseconds(wait)),
            option("lease_ms", milliseconds(self.lease)),
            option("consumer", shared.consumer()),
        ];
        let mut arguments = vec![word("the queue", &self.queue)?];
        arguments.extend(options.iter().map(String::as_str));
        let tag = shared.answers.key();
        let link = shared.link_settled().await?;
        let taking = Taking::begin(shared, tag);
        let terms = Terms { link: Some(link), ..Terms::patient(wait) };
        match shared.ask_tagged(tag, ["QUEUE", "TAKE"], &arguments, None, terms).await {
            Ok(_) => Ok(Some(taking.collect())),
            Err(trouble) if trouble.kind == TroubleKind::Disconnected => {
                shared.link_after(link).await?;
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

impl IntoFuture for LeaseBuilder {
    type Output = Result<Option<Lease>, LeaseError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.take(1).await?.pop()) })
    }
}

impl IntoFuture for LeasesBuilder {
    type Output = Result<Vec<Lease>, LeaseError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.single.take(self.max).await?) })
    }
}

/// An entry of a queue in the hands of this client, until it is answered or its time is over.
///
/// The time runs whatever becomes of the connection: after a reconnect, the answer counts all the
/// same. [`Lease::extend`] it where the work takes longer. When the last clone is dropped without
/// an answer, the attempt counts as failed and the entry is tried again.
///
/// A client that also works as an agent ([`Client::worker`]) should start to before it takes its
/// first entry: a connection speaks for one name, and leases stay with the name that took them.
#[derive(Clone, Debug)]
pub struct Lease {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    offer: Offer,
    answered: AtomicBool,
}

impl Lease {
    fn new(client: Client, offer: Offer) -> Lease {
        Lease { inner: Arc::new(Inner { client, offer, answered: AtomicBool::new(false) }) }
    }

    /// Which task it is.
    #[must_use]
    pub fn task(&self) -> TaskId {
        TaskId(self.inner.offer.task)
    }

    /// How often the task changed hands: with the task's number, it names this lease for ever.
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

    /// How long it lasts, from when it was taken.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.inner.offer.lease
    }

    /// What was put into the queue.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.inner.offer.payload
    }

    /// What the submitter said about the payload ([`crate::TaskBuilder::header`]).
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.inner.offer.headers
    }

    /// Done: the entry is forgotten. After a lost connection it is said again on the next one, and
    /// an entry that is forgotten by then counts as acknowledged.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]: it does not count; somebody else has the entry, or will.
    pub async fn ack(&self) -> Result<(), SettleError> {
        let settled = self.settle(["QUEUE", "ACK"], &[]).await;
        self.answered(settled)
    }

    /// Not done: another attempt, if there are any left, after `delay`.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]: it does not count.
    pub async fn nack(&self, delay: Duration) -> Result<(), SettleError> {
        let delay_ms = option("delay_ms", milliseconds(delay));
        let settled = self.settle(["QUEUE", "NACK"], &[&delay_ms]).await;
        self.answered(settled)
    }

    /// [`Lease::nack`] with the reason, which is kept with the entry.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]: it does not count.
    pub async fn nack_with_error(&self, delay: Duration, error: &str) -> Result<(), SettleError> {
        let Offer { task, generation, .. } = self.inner.offer;
        let delay_ms = milliseconds(delay);
        let body = json!({"task": task, "generation": generation, "delay_ms": delay_ms,
            "error": error});
        let client = &self.inner.client;
        let mut settled = client.ask_in_json("QUEUE.NACK", &body).await;
        if settled.as_ref().is_err_and(|trouble| trouble.code() == Some("not_attached")) {
            self.speak().await?;
            settled = client.ask_in_json("QUEUE.NACK", &body).await;
        }
        self.answered(settled)
    }

    /// Hand it back unharmed: somebody else gets it at once, and no attempt is used up.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::SettleErrorKind`]: it does not count.
    pub async fn release(&self) -> Result<(), SettleError> {
        let settled = self.settle(["TASK", "RELEASE"], &[]).await;
        self.answered(settled)
    }

    /// Keep it for so long from now, 1 s to 1 day. Cancel-safe: a dropped call may or may not have
    /// arrived.
    ///
    /// # Errors
    /// [`crate::ReportErrorKind`]: drop the work.
    pub async fn extend(&self, lease: Duration) -> Result<(), ReportError> {
        let lease_ms = milliseconds(lease).to_string();
        self.settle(["QUEUE", "EXTEND"], &[&lease_ms]).await?;
        Ok(())
    }

    /// Say something about the lease, for as long as it takes: after a lost connection the same is
    /// said again on the next one, once that speaks for the name that took it.
    async fn settle(&self, verb: [&str; 2], options: &[&str]) -> Result<(), Trouble> {
        let shared = self.inner.client.shared();
        let [task, generation] = names(self.inner.offer.task, self.inner.offer.generation);
        let mut arguments = vec![task.as_str(), generation.as_str()];
        arguments.extend(options);
        let mut link = shared.link_settled().await?;
        let (mut was_lost, mut has_spoken) = (false, false);
        loop {
            let trouble = match shared.ask(verb, &arguments, None, Terms::on_link(link)).await {
                Ok(_) => return Ok(()),
                Err(trouble) => trouble,
            };
            match (&trouble.kind, trouble.code()) {
                (TroubleKind::Disconnected, _) => {
                    link = shared.link_after(link).await?;
                    (was_lost, has_spoken) = (true, false);
                }
                (_, Some("not_attached")) if !has_spoken => {
                    self.speak().await?;
                    has_spoken = true;
                }
                (_, Some("gone" | "not_found")) if was_lost && verb == ["QUEUE", "ACK"] => {
                    return Ok(());
                }
                _ => return Err(trouble),
            }
        }
    }

    /// Have the connection speak for the name that took the lease. The broker has no verb just for
    /// that; taking from a queue that nobody uses does it.
    async fn speak(&self) -> Result<Granted, Trouble> {
        let shared = self.inner.client.shared();
        let consumer = shared.consumer();
        let arguments = [&*shared.unused_name(), &*option("consumer", &consumer)];
        shared.ask_repeatedly(["QUEUE", "TAKE"], &arguments, Terms::default()).await
    }

    fn answered(&self, settled: Result<(), Trouble>) -> Result<(), SettleError> {
        if !settled.as_ref().is_err_and(Trouble::is_passing) {
            self.inner.answered.store(true, Ordering::Release);
        }
        Ok(settled?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.answered.get_mut() {
            let [task, generation] = names(self.offer.task, self.offer.generation);
            let error = b"the consumer dropped the lease without an answer";
            let arguments = [&*task, &*generation, "class=retry"];
            self.client.shared().tell(["TASK", "FAIL"], &arguments, Some(error));
        }
    }
}
