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
use tokio_util::sync::CancellationToken;

use crate::answer::{Granted, Terms};
use crate::client::Client;
use crate::error::{TaskError, TaskErrorKind, WorkerError};
use crate::push::Offer;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    inner: Mutex<Inner>,
    /// An offer waits, or the session ended.
    pub(crate) offered: Notify,
    /// A job began or ended.
    pub(crate) changed: Notify,
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
    revoked: CancellationToken,
}

/// Whether the broker knows that this connection is the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Since the connection with this number.
    On(u64),
    /// For good.
    Ended,
}

/// Longest list of leases that are resumed. A line may have 4,096 bytes (docs/protocol.md), and the
/// worker's other words stand on it, too. What does not fit is lost and offered again; it takes
/// hundreds of leases to get there.
const HOLDING_BYTES_MAX: usize = 2_048;

/// What the worker can do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Accept this; the token says when it is revoked.
    Offer(Offer, CancellationToken),
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
            running.revoked.cancel();
            inner.running.remove(&offer.task);
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
            running.revoked.cancel();
            inner.running.remove(&task);
            drop(inner);
            self.changed.notify_one();
        }
    }

    /// Take the oldest offer; it counts as running from now on.
    pub(crate) fn next(&self) -> Next {
        let mut inner = self.lock();
        if *self.attachment.borrow() == Attachment::Ended {
            return Next::Ended(inner.ended.take());
        }
        let Some(offer) = inner.waiting.pop_front() else { return Next::Wait };
        let (generation, lease) = (offer.generation, offer.lease);
        let revoked = CancellationToken::new();
        let running = Running { generation, lease, revoked: revoked.clone() };
        inner.running.insert(offer.task, running);
        drop(inner);
        self.changed.notify_one();
        Next::Offer(offer, revoked)
    }

    /// A job has its answer.
    pub(crate) fn finish(&self, task: u64, generation: u64) {
        let mut inner = self.lock();
        if inner.running.get(&task).is_some_and(|running| running.generation == generation) {
            inner.running.remove(&task);
            drop(inner);
            self.changed.notify_one();
        }
    }

    /// The leases on the desk, as WORKER START takes them; `None` if there are none.
    pub(crate) fn holding(&self) -> Option<String> {
        let inner = self.lock();
        let running = inner.running.iter().map(|(&task, running)| (task, running.generation));
        let waiting = inner.waiting.iter().map(|offer| (offer.task, offer.generation));
        let mut list = String::new();
        for (task, generation) in running.chain(waiting) {
            let lease = format!("{task}:{generation}");
            if list.len() + lease.len() >= HOLDING_BYTES_MAX {
                break;
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&lease);
        }
        (!list.is_empty()).then_some(list)
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
            running.revoked.cancel();
        }
        self.attachment.send_replace(Attachment::Ended);
        drop(inner);
        self.offered.notify_one();
    }

    /// Tell the broker something about a held task, for as long as it takes: after a lost
    /// connection the same is said again on the next one, which the broker recognises.
    pub(crate) async fn settle(
        &self,
        verb: [&str; 2],
        arguments: &[&str],
        body: Option<&[u8]>,
    ) -> Result<Granted, TaskError> {
        let shared = self.client.shared();
        let mut attachment = self.attachment.subscribe();
        loop {
            let link = match *attachment.borrow_and_update() {
                Attachment::On(link) => link,
                Attachment::Ended if shared.outbound.is_closed() => {
                    return Err(TaskErrorKind::Closed.into());
                }
                Attachment::Ended => return Err(TaskErrorKind::NotOwner.into()),
            };
            let asked = shared.ask(verb, arguments, body, Terms { link: Some(link) }).await;
            match asked {
                Err(error) if error.kind() == TaskErrorKind::Disconnected => {
                    let again = attachment.wait_for(|found| *found != Attachment::On(link));
                    // The desk itself holds the sender.
                    let _ = again.await;
                }
                settled => return settled,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no method panics while it holds the desk")
    }
}

/// The words that name a held task on every line about it.
pub(crate) fn names(task: u64, generation: u64) -> [String; 2] {
    [task.to_string(), generation.to_string()]
}

/// A desk that several parts of a worker share.
pub(crate) type SharedDesk = Arc<Desk>;
