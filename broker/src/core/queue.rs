//! Which task goes next? The ready tasks, in lanes.
//!
//! ```text
//!   lane = (queue, needs, excluded agents, band)      place = (virtual deadline, task id)
//!
//!   heads   12.0s:7     12.3s:9     611s:2            one place a lane, soonest first
//!             |           |           |
//!   lanes   [7 8 11]    [9 10]      [2 3 4 5 6]       every lane in the order of places
//! ```
//!
//! All tasks of a lane suit exactly the same agents. So to find work for an agent it is enough to
//! look at heads, and a task that nobody suits never stands in the way of one that somebody does:
//! the cost depends on the number of lanes, not on how many tasks wait. A task that was declined
//! moves to a lane of its own kind, because the agents it excludes are part of the key.
//!
//! The *virtual deadline* is the time a task became eligible plus the offset of its band. Better
//! bands overtake, but only what became eligible within that offset: nothing starves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::command::{Name, TaskId};
use super::record::TaskRow;

/// What all tasks of a lane have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    /// Where they wait.
    pub(super) queue: Name,
    /// What an agent must be able to do.
    pub(super) needs: Arc<[Name]>,
    /// Agents that declined.
    pub(super) excluded: Arc<[Name]>,
    band: u8,
}

impl LaneKey {
    /// The lane that this task belongs to.
    pub(super) fn of(row: &TaskRow) -> LaneKey {
        LaneKey {
            queue: row.queue.clone(),
            needs: row.needs.clone(),
            excluded: row.excluded.clone(),
            band: row.band,
        }
    }
}

/// Position in the order of waiting tasks: sooner virtual deadline first, then arrival, which is
/// what ids are numbered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    deadline_ms: u64,
    /// The task that stands there.
    pub(super) task: TaskId,
}

impl Place {
    /// Where a task stands according to its row.
    pub(super) fn of(row: &TaskRow) -> Place {
        Place { deadline_ms: row.place_ms, task: row.task }
    }
}

/// How much later than an urgent task one of `band` is due, in milliseconds. The first four are
/// the bands of the legacy hub (urgent, high, normal, low): strict order between tasks of one
/// minute, no starvation beyond an hour. Each further band is an hour more patient.
pub(super) fn band_offset_ms(band: u8) -> u64 {
    const MINUTE_MS: u64 = 60_000;
    match band {
        0 => 0,
        1 => MINUTE_MS,
        2 => 10 * MINUTE_MS,
        further => u64::from(further - 2) * 60 * MINUTE_MS,
    }
}

/// All ready tasks, and how many tasks of each queue are open.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    lanes: HashMap<LaneKey, BTreeSet<Place>>,
    heads: BTreeMap<Place, LaneKey>,
    open: HashMap<Name, usize>,
}

impl Backlog {
    /// Open tasks of a queue, ready or not.
    pub(super) fn open_tasks(&self, queue: &Name) -> usize {
        self.open.get(queue).copied().unwrap_or(0)
    }

    /// One more task of `queue` is open.
    pub(super) fn count_opened(&mut self, queue: &Name) {
        *self.open.entry(queue.clone()).or_insert(0) += 1;
    }

    /// One less.
    pub(super) fn count_closed(&mut self, queue: &Name) {
        let open = self.open.get_mut(queue).expect("a task is counted as long as it is open");
        *open -= 1;
        if *open == 0 {
            self.open.remove(queue);
        }
    }

    /// Put a ready task in its place. Returns its lane if that was empty: only then can there be
    /// an idle agent for it, because nobody idles beside a lane that suits him.
    pub(super) fn push(&mut self, row: &TaskRow) -> Option<LaneKey> {
        let place = Place::of(row);
        let key = LaneKey::of(row);
        let lane = self.lanes.entry(key.clone()).or_default();
        let was_empty = lane.is_empty();
        if let Some(head) = lane.first()
            && place < *head
        {
            self.heads.remove(head);
        }
        lane.insert(place);
        if lane.first() == Some(&place) {
            self.heads.insert(place, key.clone());
        }
        was_empty.then_some(key)
    }

    /// Take the head of a lane out.
    pub(super) fn pop(&mut self, key: &LaneKey) -> Option<TaskId> {
        let lane = self.lanes.get_mut(key)?;
        let head = lane.pop_first()?;
        let key = self.heads.remove(&head)?;
        match lane.first() {
            Some(next) => {
                self.heads.insert(*next, key);
            }
            None => {
                self.lanes.remove(&key);
            }
        }
        Some(head.task)
    }

    /// The lane whose head goes first among those that `suits` accepts.
    pub(super) fn best(&self, suits: impl Fn(&LaneKey) -> bool) -> Option<&LaneKey> {
        self.heads.values().find(|key| suits(key))
    }

    /// Is anything ready in this lane?
    pub(super) fn has(&self, key: &LaneKey) -> bool {
        self.lanes.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Generation;
    use super::super::record::Phase;
    use super::*;

    fn row(task: u64, queue: &str, band: u8, eligible_ms: u64) -> TaskRow {
        TaskRow {
            task: TaskId(task),
            queue: Name::parse(queue).unwrap(),
            needs: Arc::default(),
            band,
            attempts_max: 1,
            lease_ms: 1,
            phase: Phase::Ready,
            generation: Generation(0),
            place_ms: eligible_ms + band_offset_ms(band),
            attempts: 0,
            lost: 0,
            offers_expired: 0,
            declines: 0,
            excluded: Arc::default(),
            last_end: None,
            error: None,
            submitted_ms: 0,
            updated_ms: 0,
        }
    }

    /// The order in which the tasks leave, taken from all queues but `shunned`.
    fn check(rows: &[TaskRow], shunned: &str, expected: &[u64]) {
        let mut backlog = Backlog::default();
        for row in rows {
            backlog.push(row);
        }
        let mut order = Vec::new();
        while let Some(key) = backlog.best(|key| key.queue.as_str() != shunned).cloned() {
            order.push(backlog.pop(&key).unwrap().0);
        }
        assert_eq!(order, expected);
    }

    #[test]
    fn equal_tasks_leave_in_the_order_of_arrival() {
        check(&[row(2, "q", 2, 0), row(1, "q", 2, 0), row(3, "q", 2, 0)], "", &[1, 2, 3]);
    }

    #[test]
    fn a_better_band_overtakes_within_its_offset_and_not_beyond() {
        check(&[row(1, "q", 1, 0), row(2, "q", 0, 59_999)], "", &[2, 1]);
        check(&[row(1, "q", 1, 0), row(2, "q", 0, 60_001)], "", &[1, 2]);
    }

    #[test]
    fn a_task_that_comes_back_with_its_old_place_goes_first_again() {
        check(&[row(5, "q", 0, 100), row(1, "q", 0, 3)], "", &[1, 5]);
    }

    #[test]
    fn a_lane_that_does_not_suit_is_not_in_the_way() {
        check(&[row(1, "a", 0, 0), row(2, "b", 0, 1), row(3, "a", 0, 2)], "a", &[2]);
    }

    #[test]
    fn offsets_never_fall_from_band_to_band() {
        for band in 1..=u8::MAX {
            assert!(band_offset_ms(band) > band_offset_ms(band - 1), "band {band}");
        }
    }

    #[test]
    fn only_the_first_task_of_an_empty_lane_asks_for_agents() {
        let mut backlog = Backlog::default();
        assert!(backlog.push(&row(1, "q", 0, 0)).is_some());
        assert!(backlog.push(&row(2, "q", 0, 0)).is_none());
        assert!(backlog.push(&row(3, "q", 1, 0)).is_some());
    }
}
