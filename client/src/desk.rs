//! What a worker has on its desk: offers that wait to be taken, and jobs that run.
//!
//! ```text
//!            OFFER               next()                answered, dropped
//! (broker) --------> waiting --------------> running -------------------> gone
//!                       |                       |
//!                       +------- REVOKED -------+--> gone, and its job is told
//! ```
//!
//! A task is on the desk at most once per generation, so a repeated offer never runs it twice.
//! The desk is shared by the worker, its jobs and its session; it knows no sockets.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::answer::{Granted, Terms, names};
use crate::client::Client;
use crate::error::WorkerError;
use crate::operation_error::{Trouble, TroubleKind};
use crate::push::Offer;
use crate::resume::Resumed;
use crate::stop_signal::{Cancellation, StopSignal};

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    inner: Mutex<Inner>,
    /// An offer waits, or the session ended.
    pub(crate) offered: Notify,
    /// A job began or ended.
    pub(crate) changed: Notify,
    /// How many jobs run.
    running: watch::Sender<usize>,
    attachment: watch::Sender<Attachment>,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Offer>,
    running: HashMap<u64, Running>,
    /// Why the session ended, until the worker has passed it on.
    ended: Option<WorkerError>,
}

#[derive(Debug)]
struct Running {
    generation: u64,
    lease: Duration,
    signal: Arc<StopSignal>,
}

/// Whether the broker knows that this connection is the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Since the connection with this number.
    On(u64),
    /// For good.
    Ended,
}

/// What the worker can do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Accept this; the signal says when it is to stop.
    Offer(Offer, Arc<StopSignal>),
    /// Nothing waits.
    Wait,
    /// There will be no more, and why if that is bad.
    Ended(Option<WorkerError>),
}

/// What an offer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits now, or did before.
    Waits,
    /// It runs already: the broker has to be told again.
    Runs,
}

impl Desk {
    pub(crate) fn new(client: Client, link: u64) -> Desk {
        Desk {
            client,
            inner: Mutex::new(Inner {
                waiting: VecDeque::new(),
                running: HashMap::new(),
                ended: None,
            }),
            offered: Notify::new(),
            changed: Notify::new(),
            running: watch::Sender::new(0),
            attachment: watch::Sender::new(Attachment::On(link)),
        }
    }

    /// Put an offer on the desk. One of an earlier generation of its task is over.
    pub(crate) fn offer(&self, offer: Offer) -> Offered {
        let mut inner = self.lock();
        if let Some(running) = inner.running.get(&offer.task) {
            if running.generation >= offer.generation {
                return Offered::Runs;
            }
            running.signal.revoke();
            inner.running.remove(&offer.task);
            self.running.send_replace(inner.running.len());
        }
        match inner.waiting.iter_mut().find(|waiting| waiting.task == offer.task) {
            Some(waiting) => *waiting = offer,
            None => inner.waiting.push_back(offer),
        }
        drop(inner);
        self.offered.notify_one();
        Offered::Waits
    }

    /// A lease is gone: its job is told.
    pub(crate) fn revoke(&self, task: u64, generation: u64) {
        let mut inner = self.lock();
        inner.waiting.retain(|offer| (offer.task, offer.generation) != (task, generation));
        if let Some(running) = inner.running.get(&task)
            && running.generation == generation
        {
            running.signal.revoke();
            self.remove(inner, task);
        }
    }

    /// A job is asked to stop.
    pub(crate) fn cancel(&self, task: u64, generation: u64, cancellation: Cancellation) {
        if let Some(running) = self.lock().running.get(&task)
            && running.generation == generation
        {
            running.signal.cancel(cancellation);
        }
    }

    /// What the broker says of the leases that it was told about after a reconnect.
    pub(crate) fn resume(&self, resumed: &Resumed) {
        for &(task, generation) in &resumed.stopped {
            self.revoke(task, generation);
        }
        for &(task, generation) in &resumed.continued {
            if resumed.cancelling.contains(&task) {
                // Nobody says a second time why, nor how long there is.
                self.cancel(task, generation, Cancellation::default());
            }
        }
    }

    /// Every lease on the desk, whether it waits or runs.
    pub(crate) fn holding(&self) -> Vec<(u64, u64)> {
        let inner = self.lock();
        let waiting = inner.waiting.iter().map(|offer| (offer.task, offer.generation));
        let running = inner.running.iter().map(|(task, running)| (*task, running.generation));
        waiting.chain(running).collect()
    }

    /// Take every offer that waits off the desk.
    pub(crate) fn clear_waiting(&self) -> Vec<Offer> {
        self.lock().waiting.drain(..).collect()
    }

    /// Take the oldest offer; it counts as running from now on.
    pub(crate) fn next(&self) -> Next {
        let mut inner = self.lock();
        if *self.attachment.borrow() == Attachment::Ended {
            return Next::Ended(inner.ended.take());
        }
        let Some(offer) = inner.waiting.pop_front() else { return Next::Wait };
        let (generation, lease) = (offer.generation, offer.lease);
        let signal = Arc::new(StopSignal::default());
        let running = Running { generation, lease, signal: Arc::clone(&signal) };
        inner.running.insert(offer.task, running);
        self.running.send_replace(inner.running.len());
        drop(inner);
        self.changed.notify_one();
        Next::Offer(offer, signal)
    }

    /// A job has its answer.
    pub(crate) fn finish(&self, task: u64, generation: u64) {
        let inner = self.lock();
        if inner.running.get(&task).is_some_and(|running| running.generation == generation) {
            self.remove(inner, task);
        }
    }

    /// How often a sign of life is needed: three in the shortest lease, so that two may be lost.
    /// `None` while nothing runs.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.lock().running.values().map(|running| running.lease / 3).min()
    }

    /// The broker knows the worker on connection `link`.
    pub(crate) fn attached(&self, link: u64) {
        self.attachment.send_replace(Attachment::On(link));
    }

    pub(crate) fn attachment(&self) -> Attachment {
        *self.attachment.borrow()
    }

    /// Wait until nothing runs any more.
    pub(crate) async fn idle(&self) {
        // The desk itself holds the sender.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    /// Wait until no session speaks for this desk any more.
    pub(crate) async fn ended(&self) {
        let mut attachment = self.attachment.subscribe();
        let _ = attachment.wait_for(|attachment| *attachment == Attachment::Ended).await;
    }

    /// The session is over. Jobs that run have lost their leases.
    pub(crate) fn end(&self, error: Option<WorkerError>) {
        let mut inner = self.lock();
        inner.ended = error;
        inner.waiting.clear();
        for (_, running) in inner.running.drain() {
            running.signal.revoke();
        }
        self.running.send_replace(0);
        self.attachment.send_replace(Attachment::Ended);
        drop(inner);
        self.offered.notify_one();
    }

    /// Tell every job that runs to drop its work; what it says from now on does not count. Their
    /// leases stay on the desk.
    pub(crate) fn abandon(&self) -> Vec<(u64, u64)> {
        let inner = self.lock();
        let abandoned = inner.running.iter().map(|(task, running)| {
            running.signal.revoke();
            (*task, running.generation)
        });
        abandoned.collect()
    }

    /// Hand these leases back: another agent gets the tasks, and no attempt is used up.
    pub(crate) async fn release(&self, leases: Vec<(u64, u64)>) {
        for (task, generation) in leases {
            let [word, words] = names(task, generation);
            let released = self.settle(["TASK", "RELEASE"], &[&word, &words], None).await;
            if let Err(trouble) = released {
                tracing::warn!(task, ?trouble, "a task could not be handed back");
            }
            self.finish(task, generation);
        }
    }

    /// Tell the broker something about a held task, for as long as it takes: after a lost
    /// connection the same is said again on the next one, which the broker recognises.
    pub(crate) async fn settle(
        &self,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
    ) -> Result<Granted, Trouble> {
        let shared = self.client.shared();
        let mut attachment = self.attachment.subscribe();
        loop {
            let link = match *attachment.borrow_and_update() {
                Attachment::On(link) => link,
                Attachment::Ended if shared.outbound.is_closed() => {
                    return Err(TroubleKind::Closed.into());
                }
                Attachment::Ended => {
                    return Err(TroubleKind::Declined("not_owner".to_owned()).into());
                }
            };
            let asked = shared.ask(verb, arguments, body, Terms::on_link(link)).await;
            match asked {
                Err(trouble) if trouble.kind == TroubleKind::Disconnected => {
                    let again = attachment.wait_for(|found| *found != Attachment::On(link));
                    // The desk itself holds the sender.
                    let _ = again.await;
                }
                settled => return settled,
            }
        }
    }

    fn remove(&self, mut inner: MutexGuard<'_, Inner>, task: u64) {
        inner.running.remove(&task);
        self.running.send_replace(inner.running.len());
        drop(inner);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no method panics while it holds the desk")
    }
}

/// A desk that several parts of a worker share.
pub(crate) type SharedDesk = Arc<Desk>;
