//! Ready tasks that suit exactly the same agents, in the order in which they go.
//!
//! Tasks become eligible one after the other, so they arrive in order and a ring is enough. Those
//! that come back with their old place are few and stand in a set beside it. A task that leaves
//! from the middle of the ring is marked, and the marks are swept when they are half of it.

mod ring;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::ring::Ring;
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
    ring: Ring,
    /// Those that stand before the end of the ring, or too far behind it.
    returned: BTreeSet<Place>,
}

impl Lane {
    /// A lane without tasks.
    pub(super) fn new(
        spec: Arc<Spec>,
        excluded: Arc<[Name]>,
        only: Option<Name>,
        class: ClassId,
    ) -> Lane {
        let (ring, returned) = (Ring::default(), BTreeSet::new());
        let (rank, is_blocked) = (0, false);
        Lane { spec, excluded, only, class, rank, is_blocked, ring, returned }
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
        match (self.ring.first(), self.returned.first().copied()) {
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
        if !self.ring.push(place) {
            self.returned.insert(place);
        }
    }

    /// Take a task out.
    pub(super) fn remove(&mut self, place: Place) {
        if !self.returned.remove(&place) {
            self.ring.remove(place);
        }
    }

    /// Its tasks in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        let mut ring = self.ring.iter();
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::task::tests::spec;
    use super::*;

    fn place(number: u64) -> Place {
        Place { deadline_ms: number, task: TaskId(number) }
    }

    proptest! {
        /// Whatever goes in and out, near and far, a lane is an ordered set.
        #[test]
        fn a_lane_is_an_ordered_set(
            steps in prop::collection::vec((0u64..40, 0u8..3), 0..200),
            far in prop::sample::select(vec![0, 28, 30]),
        ) {
            let mut lane = Lane::new(spec("q", 0), Arc::default(), None, 0);
            let mut model = BTreeSet::new();
            for (number, kind) in steps {
                let number = number << far;
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
}
