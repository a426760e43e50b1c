//! Was this submitted before? The keys under which work is recognised (T4).

use hashbrown::HashMap;

use super::Core;
use super::command::{DedupMode, Name, Now, State, TaskId, Tick};
use super::record::{DedupRow, Record, TaskRow};
use super::timers::Timer;

/// All keys that may still count.
#[derive(Debug, Default)]
pub(super) struct Dedups {
    by_key: HashMap<(Name, Name), Known>,
}

#[derive(Debug)]
struct Known {
    row: DedupRow,
    /// When it counts no more by itself.
    until: Option<Tick>,
}

impl Dedups {
    /// The row of a key, whether it counts at the moment or not.
    pub(super) fn find(&self, queue: &Name, key: &Name) -> Option<&DedupRow> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(&(queue.clone(), key.clone())).map(|known| &known.row)
    }
}

/// How long a key of this mode counts by itself, in milliseconds.
fn window_ms(mode: DedupMode) -> Option<u64> {
    match mode {
        DedupMode::Return(window_ms) | DedupMode::Reject(window_ms) => Some(window_ms),
        DedupMode::Replace
        | DedupMode::Debounce { .. }
        | DedupMode::UntilDone
        | DedupMode::WhileRunning => None,
    }
}

impl Core {
    /// The task that has this key, if the key counts: how long it does was said by the first
    /// submit.
    pub(super) fn known_under(&self, queue: &Name, key: &Name) -> Option<&DedupRow> {
        let row = self.dedups.find(queue, key)?;
        let state = self.tasks.get(row.task).map(|task| task.row.state());
        let counts = match row.mode {
            DedupMode::Return(_) | DedupMode::Reject(_) => true,
            DedupMode::Replace | DedupMode::UntilDone => state.is_some(),
            DedupMode::Debounce { .. } => state == Some(State::Scheduled),
            DedupMode::WhileRunning => matches!(state, Some(State::Offered | State::Running)),
        };
        counts.then_some(row)
    }

    /// From now on `row.task` has the key.
    pub(super) fn set_dedup(&mut self, row: DedupRow, now: Now) {
        self.persist(Record::Dedup(row.clone()));
        self.learn_dedup(row, now);
    }

    /// The same, for a row that is in the store already.
    pub(super) fn learn_dedup(&mut self, row: DedupRow, now: Now) {
        let key = (row.queue.clone(), row.key.clone());
        let until = window_ms(row.mode).map(|window_ms| {
            let gone_ms = now.wall_ms.saturating_sub(row.anchor_ms);
            now.tick.after(window_ms.saturating_sub(gone_ms))
        });
        if let Some(until) = until {
            self.deadlines.set(until, Timer::Dedup(key.0.clone(), key.1.clone()));
        }
        self.dedups.by_key.insert(key, Known { row, until });
    }

    /// A key's window may be over; it may also have been set anew since.
    pub(super) fn expire_dedup(&mut self, queue: &Name, key: &Name, now: Now) {
        let known = self.dedups.by_key.get(&(queue.clone(), key.clone()));
        if known.is_some_and(|known| known.until.is_some_and(|until| until <= now.tick)) {
            self.drop_dedup(queue, key);
        }
    }

    /// A task is over; its key is free, or goes on to count for what was done.
    pub(super) fn free_dedup(&mut self, task: &TaskRow) {
        let Some(key) = &task.details().dedup else { return };
        let queue = &task.spec.queue;
        let Some(known) = self.dedups.by_key.get_mut(&(queue.clone(), key.clone())) else { return };
        if known.row.task != task.task {
            return;
        }
        if known.until.is_some() {
            known.row.ended = Some((task.state(), task.generation));
            let row = known.row.clone();
            self.persist(Record::Dedup(row));
        } else {
            self.drop_dedup(queue, key);
        }
    }

    /// A dead task is open again, and its key, if it still has one, stands for open work.
    pub(super) fn revive_dedup(&mut self, id: TaskId) {
        let row = &self.tasks[id].row;
        let Some(key) = row.details().dedup.clone() else { return };
        let Some(known) = self.dedups.by_key.get_mut(&(row.spec.queue.clone(), key)) else {
            return;
        };
        if known.row.task == id && known.row.ended.take().is_some() {
            let row = known.row.clone();
            self.persist(Record::Dedup(row));
        }
    }

    fn drop_dedup(&mut self, queue: &Name, key: &Name) {
        let (queue, key) = (queue.clone(), key.clone());
        if self.dedups.by_key.remove(&(queue.clone(), key.clone())).is_some() {
            self.persist(Record::DedupFreed { queue, key });
        }
    }
}
