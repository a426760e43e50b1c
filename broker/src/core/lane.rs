//! Ready tasks that suit exactly the same agents, in the order in which they go.
//!
//! Tasks become eligible one after the other, so they arrive in order and a ring is enough. Those
//! that come back with their old place are few and stand in a set beside it. A task that leaves
//! from the middle of the ring is marked, and the marks are swept when they are half of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::backlog::band_offset_ms;
use super::command::{Name, Spec, TaskId};
use super::eligible::ClassId;
use super::record::TaskRow;

/// Position in the order of waiting tasks: sooner virtual deadline first, then arrival, which is
/// what ids are numbered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    deadline_ms: u64,
    /// The task that stands there.
    pub(super) task: TaskId,
}

impl Place {
    /// The virtual time from which it could be granted, for a task of this band.
    pub(super) fn eligible_ms(self, band: u8) -> u64 {
        self.deadline_ms.saturating_sub(band_offset_ms(band))
    }

    /// Where a task stands according to its row.
    pub(super) fn of(row: &TaskRow) -> Place {
        Place { deadline_ms: row.place_ms, task: row.task }
    }
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// What its tasks ask for.
    pub(super) spec: Arc<Spec>,
    /// Agents that declined.
    excluded: Arc<[Name]>,
    /// The only agent that may have them now.
    pub(super) only: Option<Name>,
    /// The kind of work.
    pub(super) class: ClassId,
    /// Its place among the lanes of its class, before that of its tasks: the virtual time of its
    /// key in a queue that is fair.
    pub(super) rank: u64,
    /// A limit of its tasks is reached.
    pub(super) is_blocked: bool,
    /// In order; the first is not marked.
    ring: VecDeque<Entry>,
    marked: usize,
    /// Those that stand before the end of the ring.
    returned: BTreeSet<Place>,
}

/// A place, and whether its task left from the middle: the topmost bit of the deadline says so,
/// which no deadline has.
#[derive(Clone, Copy, Debug)]
struct Entry(Place);

const GONE: u64 = 1 << 63;

impl Entry {
    fn place(self) -> Place {
        Place { deadline_ms: self.0.deadline_ms & !GONE, ..self.0 }
    }

    fn is_gone(self) -> bool {
        self.0.deadline_ms & GONE != 0
    }

    fn mark(&mut self) {
        self.0.deadline_ms |= GONE;
    }
}

impl Lane {
    /// A lane without tasks.
    pub(super) fn new(
        spec: Arc<Spec>,
        excluded: Arc<[Name]>,
        only: Option<Name>,
        class: ClassId,
    ) -> Lane {
        let (ring, returned) = (VecDeque::new(), BTreeSet::new());
        let (rank, is_blocked) = (0, false);
        Lane { spec, excluded, only, class, rank, is_blocked, ring, marked: 0, returned }
    }

    /// Whether this agent may have its tasks, if it fits.
    pub(super) fn admits(&self, agent: &Name) -> bool {
        self.only.as_ref().is_none_or(|only| only == agent) && !self.has_declined(agent)
    }

    /// Whether this agent declined its tasks.
    pub(super) fn has_declined(&self, agent: &Name) -> bool {
        self.excluded.binary_search(agent).is_ok()
    }

    /// The task that goes next.
    pub(super) fn first(&self) -> Option<Place> {
        let ring = self.ring.front().map(|entry| entry.place());
        match (ring, self.returned.first().copied()) {
            (Some(ring), Some(returned)) => Some(ring.min(returned)),
            (ring, returned) => ring.or(returned),
        }
    }

    /// How many of its tasks go before this one.
    pub(super) fn ahead_of(&self, row: &TaskRow) -> usize {
        let place = Place::of(row);
        self.iter().take_while(|other| *other < place).count()
    }

    /// Put a task in.
    pub(super) fn insert(&mut self, place: Place) {
        if self.ring.back().is_none_or(|last| last.place() < place) {
            self.ring.push_back(Entry(place));
        } else {
            self.returned.insert(place);
        }
    }

    /// Take a task out.
    pub(super) fn remove(&mut self, place: Place) {
        if self.ring.front().is_some_and(|front| front.place() == place) {
            self.ring.pop_front();
            while self.ring.front().is_some_and(|front| front.is_gone()) {
                self.ring.pop_front();
                self.marked -= 1;
            }
            self.shrink();
        } else if !self.returned.remove(&place)
            && let Ok(position) = self.ring.binary_search_by_key(&place, |entry| entry.place())
        {
            self.ring[position].mark();
            self.marked += 1;
            if self.marked > self.ring.len() / 2 {
                self.ring.retain(|entry| !entry.is_gone());
                self.marked = 0;
                self.shrink();
            }
        }
    }

    /// Its tasks in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        let mut ring = self.ring.iter().filter(|entry| !entry.is_gone()).map(|entry| entry.place());
        let mut returned = self.returned.iter().copied();
        let (mut one, mut other) = (ring.next(), returned.next());
        std::iter::from_fn(move || match (one, other) {
            (Some(from_ring), Some(from_returned)) if from_returned < from_ring => {
                std::mem::replace(&mut other, returned.next())
            }
            (Some(_), _) => std::mem::replace(&mut one, ring.next()),
            (None, _) => std::mem::replace(&mut other, returned.next()),
        })
    }

    /// A backlog that was worked off does not go on to occupy memory.
    fn shrink(&mut self) {
        if self.ring.capacity() > 64 && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::task::tests::spec;
    use super::*;

    fn place(deadline_ms: u64) -> Place {
        Place { deadline_ms, task: TaskId(deadline_ms) }
    }

    proptest! {
        /// Whatever goes in and out, a lane is an ordered set.
        #[test]
        fn a_lane_is_an_ordered_set(steps in prop::collection::vec((0u64..40, 0u8..3), 0..200)) {
            let mut lane = Lane::new(spec("q", 0), Arc::default(), None, 0);
            let mut model = BTreeSet::new();
            for (number, kind) in steps {
                match kind {
                    0 => {
                        if let Some(first) = model.pop_first() {
                            lane.remove(first);
                        }
                    }
                    1 if model.remove(&place(number)) => lane.remove(place(number)),
                    _ => {
                        if model.insert(place(number)) {
                            lane.insert(place(number));
                        }
                    }
                }
                prop_assert_eq!(lane.first(), model.first().copied());
                prop_assert!(lane.iter().eq(model.iter().copied()));
                prop_assert!(lane.ring.len() <= 2 * model.len() + 1);
            }
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
