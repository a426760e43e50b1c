//! Persist, then speak: the thread that owns the core and the store.
//!
//! ```text
//!   doors --send--> inbox ==all that waits==> turn: apply, apply, apply   (core)
//!                                               append the records        (store)
//!                                               one sync
//!                                               reply, deliver, event     (voice)
//! ```
//!
//! While one turn syncs, the inbox gathers for the next: under load a sync is shared by hundreds
//! of requests, and an idle broker answers the first one at once. On a slow disk a turn waits for a
//! moment for those that were just answered; on a fast one their answers are left to others to send
//! while the next turn syncs (`gather.rs`). Requests are applied before timers, so a heart-beat that
//! already waits here saves the leases it is for.
//!
//! When the store fails, the loop goes on and answers every request that needs it with the
//! reason. It does not try again by itself; whoever runs the broker watches [`Durable::health`]
//! and exits or starts anew.
//!
//! `turn.rs` is one turn without the thread, `clock.rs` the time that the core sees.

pub mod clock;
mod gather;
pub mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use self::clock::Clock;
use self::gather::{Gather, MOMENT};
use self::turn::{Committer, Voice};
use crate::core::command::{Command, Request, Tick};
use crate::core::limits::{BANDS_COUNTED, CoreConfig};
use crate::metrics::{Histogram, Times};
use crate::store::{Store, StoreError};

/// Requests that may wait for the next turn. 16,384: what a fast disk commits in some 50 ms. More
/// would only mean longer waits; the sender is told at once and can slow down.
pub const INBOX_REQUESTS_MAX: usize = 16_384;

/// Silence after which the store is told that nothing follows for now.
const REST: Duration = Duration::from_millis(100);

/// Bytes of payloads and results that may wait for the next turn. 64 MiB: a second of a fast disk,
/// and the same again is in the turn that is being committed.
pub const INBOX_BYTES_MAX: usize = 64 << 20;

/// A handle to the durable plane; clones are the same plane.
#[derive(Clone)]
pub struct Durable {
    shared: Arc<Shared>,
}

/// Why a request was not taken in. It was not applied and will not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Try again later.
    #[error("{requests} requests with {bytes} bytes wait for the disk already")]
    Full {
        /// Requests that wait.
        requests: usize,
        /// Bytes of their bodies.
        bytes: usize,
    },
    /// The broker is going down.
    #[error("the broker is stopping")]
    Stopped,
}

/// How the durable plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It commits.
    Healthy,
    /// It answers, but commits nothing any more. Restarting the process is the way back.
    Refusing {
        /// A sentence for people.
        reason: Arc<str>,
    },
    /// It was stopped and everything it took in is on disk.
    Stopped,
}

/// What the loop did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Batches that were synced.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Requests taken in and applied.
    pub requests: u64,
    /// Rows or bodies that could not be read.
    pub damaged: u64,
    /// Rows of open tasks that the start left out because they are damaged.
    pub damaged_rows: u64,
    /// Tasks that are not over, after the newest turn.
    pub tasks_open: u64,
    /// Messages that have a place somewhere.
    pub messages: u64,
    /// Mailboxes in which something waits.
    pub mailboxes: u64,
    /// Tasks in the dead letters.
    pub tasks_dead: u64,
    /// Tasks that somebody holds.
    pub leases: u64,
    /// Tasks that nobody has yet, by band; the last number is that band and all behind it.
    pub queued: [u64; BANDS_COUNTED],
    /// Requests that wait for work or for the end of a task.
    pub waiting: u64,
}

/// [`Figures`], written by the loop and read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) damaged_rows: AtomicU64,
    pub(crate) tasks_open: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) mailboxes: AtomicU64,
    pub(crate) tasks_dead: AtomicU64,
    pub(crate) leases: AtomicU64,
    pub(crate) queued: [AtomicU64; BANDS_COUNTED],
    pub(crate) waiting: AtomicU64,
    /// What it takes to encode a batch, to write it and to flush it.
    pub(crate) commit: Histogram,
    /// What it takes to write it and to flush it.
    pub(crate) sync: Histogram,
}

struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    health: Mutex<Health>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inbox {
    requests: Vec<Request>,
    /// Of their bodies.
    bytes: usize,
    /// The loop wants to know when so many requests wait, and not before.
    wanted: usize,
    closed: bool,
}

impl Durable {
    /// Restore the core from `store` and start the commit thread. Returns when the core is whole,
    /// so listen for clients only afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or is damaged; nothing was started then.
    ///
    /// # Panics
    /// If the operating system gives no thread.
    pub fn start(
        config: CoreConfig,
        store: impl Store + 'static,
        voice: impl Voice + 'static,
    ) -> Result<Durable, StoreError> {
        Durable::start_with_clock(config, store, voice, Clock::start())
    }

    /// [`Durable::start`] in the time of `clock`.
    ///
    /// # Errors
    /// As [`Durable::start`].
    ///
    /// # Panics
    /// As [`Durable::start`].
    pub fn start_with_clock(
        config: CoreConfig,
        store: impl Store + 'static,
        voice: impl Voice + 'static,
        mut clock: Clock,
    ) -> Result<Durable, StoreError> {
        let counters = Arc::new(Counters::default());
        let committer =
            Committer::restore(config, store, voice, clock.observe())?.counting(counters.clone());
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            health: Mutex::new(Health::Healthy),
            counters,
            thread: Mutex::new(None),
        });
        let theirs = shared.clone();
        let thread = thread::Builder::new()
            .name("commit".into())
            .spawn(move || run(committer, clock, &theirs))
            .expect("the operating system gives a thread at start");
        *shared.thread.lock() = Some(thread);
        Ok(Durable { shared })
    }

    /// How long commits take.
    #[must_use]
    pub fn times(&self) -> [Times<'_>; 2] {
        let counters = &self.shared.counters;
        [
            Times {
                name: "commit_seconds",
                meaning: "to encode the records of a batch, to write them to the log and to flush it",
                histogram: &counters.commit,
            },
            Times {
                name: "sync_seconds",
                meaning: "to write a batch to the log and to flush it",
                histogram: &counters.sync,
            },
        ]
    }

    /// Hand in a request. It is answered through the voice, once, unless it is a tick.
    ///
    /// # Errors
    /// [`SendError`]; the request is gone then.
    pub fn send(&self, request: Request) -> Result<(), SendError> {
        let mut inbox = self.shared.inbox.lock();
        if inbox.closed {
            return Err(SendError::Stopped);
        }
        let (requests, bytes) = (inbox.requests.len(), inbox.bytes);
        let body_bytes = request.command.body_bytes();
        // A body of any size is taken in while nothing else waits.
        let is_over = requests > 0 && bytes + body_bytes > INBOX_BYTES_MAX;
        // An agent that is gone must be known to be gone; there is one such request a connection.
        let is_farewell = matches!(request.command, Command::Detach { .. });
        if (requests >= INBOX_REQUESTS_MAX || is_over) && !is_farewell {
            return Err(SendError::Full { requests, bytes });
        }
        inbox.bytes += body_bytes;
        inbox.requests.push(request);
        let waiting = inbox.requests.len();
        if waiting == inbox.wanted {
            self.shared.arrived.notify_one();
        }
        Ok(())
    }

    /// Take nothing in any more, commit and answer what waits, and return when that is done.
    pub fn stop(&self) {
        self.shared.inbox.lock().closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.shared.thread.lock().take()
            && thread.join().is_err()
        {
            self.shared.broke();
        }
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// What it did.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        Figures {
            commits: read(&counters.commits),
            records: read(&counters.records),
            requests: read(&counters.requests),
            damaged: read(&counters.damaged),
            damaged_rows: read(&counters.damaged_rows),
            tasks_open: read(&counters.tasks_open),
            messages: read(&counters.messages),
            mailboxes: read(&counters.mailboxes),
            tasks_dead: read(&counters.tasks_dead),
            leases: read(&counters.leases),
            queued: std::array::from_fn(|band| read(&counters.queued[band])),
            waiting: read(&counters.waiting),
        }
    }
}

impl Shared {
    /// Sleep until as many requests wait as are expected, for a moment at most, and then until any
    /// waits, `deadline` has come, or the inbox is closed; then take all that waits. Says whether the
    /// inbox is closed.
    fn wait(
        &self,
        requests: &mut Vec<Request>,
        deadline: Option<Instant>,
        gather: &mut Gather,
    ) -> bool {
        let mut inbox = self.inbox.lock();
        let target = gather.target(inbox.requests.len());
        if target > 1 {
            let moment_ends = Instant::now() + MOMENT;
            inbox.wanted = target;
            while inbox.requests.len() < target
                && !inbox.closed
                && !self.arrived.wait_until(&mut inbox, moment_ends).timed_out()
            {}
        }
        inbox.wanted = 1;
        while inbox.requests.is_empty() && !inbox.closed {
            match deadline {
                None => self.arrived.wait(&mut inbox),
                Some(deadline) => {
                    if self.arrived.wait_until(&mut inbox, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        gather.note(inbox.requests.len(), target);
        std::mem::swap(&mut inbox.requests, requests);
        inbox.bytes = 0;
        inbox.closed
    }

    fn broke(&self) {
        let reason = "the commit loop broke off; the log has the reason".into();
        *self.health.lock() = Health::Refusing { reason };
    }
}

/// Closes the inbox however the loop ends, so that nobody waits for it.
struct Farewell<'a>(&'a Shared);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        self.0.inbox.lock().closed = true;
        if thread::panicking() {
            self.0.broke();
        }
    }
}

fn run<S: Store, O: Voice>(mut committer: Committer<S, O>, mut clock: Clock, shared: &Shared) {
    let farewell = Farewell(shared);
    let mut requests = Vec::new();
    let mut gather = Gather::default();
    loop {
        let deadline = committer.next_deadline();
        let mut wake = deadline.map(|at| wake_at(&clock, at));
        if committer.is_restless() {
            let rest_at = Instant::now() + REST;
            wake = Some(wake.map_or(rest_at, |wake| wake.min(rest_at)));
        }
        let closed = shared.wait(&mut requests, wake, &mut gather);
        if requests.is_empty() {
            committer.rest();
        }
        if deadline.is_none() {
            clock.skip_idle();
        }
        committer.leave_sending(gather.overlaps());
        let spent = committer.turn(requests.drain(..), clock.observe());
        gather.learn(spent);
        if let Some(reason) = committer.refusing() {
            *shared.health.lock() = Health::Refusing { reason: reason.clone() };
        }
        if closed && shared.inbox.lock().requests.is_empty() {
            break;
        }
    }
    committer.close();
    let mut health = shared.health.lock();
    if *health == Health::Healthy {
        *health = Health::Stopped;
    }
    drop(health);
    drop(farewell);
}

/// When to wake for a deadline of the core: no later than the clock can tell a nap from a stall.
fn wake_at(clock: &Clock, deadline: Tick) -> Instant {
    Instant::now() + clock.until(deadline).min(clock::NAP_MAX)
}

#[cfg(test)]
pub(crate) mod tests;
