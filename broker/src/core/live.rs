//! What is known of a task only while the broker runs: its timers, its newest events, and who
//! is interested in it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::command::{RequestId, SessionId, TaskEvent, Tick, WatchId};

/// A tick that does not come.
pub(super) const NEVER: Tick = Tick(u64::MAX);

/// What is known of a task only while the broker runs.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Its own timers.
    timers: Timers,
    /// Newest report of the present holder.
    pub(super) progress: Option<Arc<[u8]>>,
    /// Its lease does not end before this, however silent the agent (set by a restart).
    pub(super) lease_floor: Tick,
    /// Its newest events, oldest first.
    pub(super) events: VecDeque<TaskEvent>,
    /// Who is told of its events.
    pub(super) watches: Vec<(WatchId, SessionId)>,
    /// Who waits for its end.
    pub(super) awaits: Vec<RequestId>,
}

/// What a timer of a task is about. Of several that are due at once the first of these goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// T45: its total time is over.
    Total,
    /// T44: nobody took it in time.
    Queue,
    /// T8: its wait is over.
    Start,
    /// T13: the offer was not answered.
    Offer,
    /// T40: its holder had time enough to stop.
    Cancel,
    /// T27: the attempt took too long.
    Attempt,
    /// T27: nothing was reported for too long.
    Progress,
    /// T18: a lease that was taken is over.
    Lease,
    /// T31: its holder waited long enough.
    Hold,
    /// T34: it was set aside for long enough.
    Park,
    /// It was for one agent alone for long enough.
    Window,
}

impl Due {
    /// Every timer.
    pub(super) const ALL: [Due; 11] = [
        Due::Total,
        Due::Queue,
        Due::Start,
        Due::Offer,
        Due::Cancel,
        Due::Attempt,
        Due::Progress,
        Due::Lease,
        Due::Hold,
        Due::Park,
        Due::Window,
    ];
    /// Those that end with a lease.
    pub(super) const OF_LEASE: [Due; 6] =
        [Due::Offer, Due::Cancel, Due::Attempt, Due::Progress, Due::Lease, Due::Hold];
}

#[derive(Debug)]
struct Timers {
    /// By [`Due`].
    at: [Tick; Due::ALL.len()],
    /// The deadline at which the task is looked at next.
    armed: Tick,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { at: [NEVER; Due::ALL.len()], armed: NEVER }
    }
}

impl Live {
    /// The deadline at which it is looked at next; [`NEVER`] if none is set.
    pub(super) fn armed(&self) -> Tick {
        self.timers.armed
    }

    /// Set that deadline. Gives the one before.
    pub(super) fn arm(&mut self, at: Tick) -> Tick {
        std::mem::replace(&mut self.timers.armed, at)
    }

    /// When a timer is due; [`NEVER`] if it is not set.
    pub(super) fn timer(&self, due: Due) -> Tick {
        self.timers.at[due as usize]
    }

    /// Set a timer, or take it away with [`NEVER`].
    pub(super) fn set(&mut self, due: Due, at: Tick) {
        self.timers.at[due as usize] = at;
    }

    /// Bytes of reports in its events.
    pub(super) fn event_bytes(&self) -> usize {
        self.events.iter().map(event_bytes).sum()
    }
}

/// Bytes of the report in an event.
pub(super) fn event_bytes(event: &TaskEvent) -> usize {
    event.progress.as_ref().map_or(0, |progress| progress.data.len())
}
