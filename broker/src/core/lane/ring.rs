//! Places in order, in eight bytes each.
//!
//! Tasks that wait in one lane became eligible within days of each other and have numbers not too
//! far apart, so a place is kept as its distance from one that all have in common. A place for
//! which that does not do is not taken in.

use std::collections::VecDeque;

use super::Place;
use crate::core::command::TaskId;

/// Places in order. The first is not marked.
#[derive(Debug, Default)]
pub(super) struct Ring {
    base: Base,
    entries: VecDeque<Entry>,
    marked: usize,
}

/// What distances are counted from.
#[derive(Clone, Copy, Debug, Default)]
struct Base {
    deadline_ms: u64,
    task: u64,
}

/// A place, and whether its task left from the middle: the topmost bit of the time says so.
#[derive(Clone, Copy, Debug)]
struct Entry {
    after_ms: u32,
    number: u32,
}

const GONE: u32 = 1 << 31;

impl Base {
    /// With this place in the middle of all numbers: tasks that come back have lower ones.
    fn of(place: Place) -> Base {
        Base { deadline_ms: place.deadline_ms, task: place.task.0.wrapping_sub(1 << 31) }
    }

    fn entry(self, place: Place) -> Option<Entry> {
        let after_ms = u32::try_from(place.deadline_ms.checked_sub(self.deadline_ms)?).ok()?;
        let number = u32::try_from(place.task.0.wrapping_sub(self.task)).ok()?;
        (after_ms < GONE).then_some(Entry { after_ms, number })
    }

    fn place(self, entry: Entry) -> Place {
        Place {
            deadline_ms: self.deadline_ms + u64::from(entry.after_ms & !GONE),
            task: TaskId(self.task.wrapping_add(u64::from(entry.number))),
        }
    }
}

impl Entry {
    fn is_gone(self) -> bool {
        self.after_ms & GONE != 0
    }
}

impl Ring {
    /// Its first place.
    pub(super) fn first(&self) -> Option<Place> {
        self.entries.front().map(|entry| self.base.place(*entry))
    }

    /// Its places in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        let entries = self.entries.iter().filter(|entry| !entry.is_gone());
        entries.map(|entry| self.base.place(*entry))
    }

    /// Put a place behind all others. `false` if it does not belong there, or is too far away.
    pub(super) fn push(&mut self, place: Place) -> bool {
        match self.entries.back() {
            None => self.base = Base::of(place),
            Some(last) if self.base.place(*last) >= place => return false,
            Some(_) => {}
        }
        let entry = self.base.entry(place).or_else(|| self.rebase(place));
        self.entries.extend(entry);
        entry.is_some()
    }

    /// Count distances from the first place, if `place` can be reached from there.
    fn rebase(&mut self, place: Place) -> Option<Entry> {
        let base = Base::of(self.first()?);
        let entry = base.entry(place)?;
        let moved = |entry: &Entry| {
            let moved = base.entry(self.base.place(*entry))?;
            Some(Entry { after_ms: moved.after_ms | (entry.after_ms & GONE), ..moved })
        };
        self.entries = self.entries.iter().map(moved).collect::<Option<_>>()?;
        self.base = base;
        Some(entry)
    }

    /// Take a place out, if it is there.
    pub(super) fn remove(&mut self, place: Place) {
        if self.first() == Some(place) {
            self.entries.pop_front();
            while self.entries.front().is_some_and(|front| front.is_gone()) {
                self.entries.pop_front();
                self.marked -= 1;
            }
            self.shrink();
        } else if let Ok(position) =
            self.entries.binary_search_by_key(&place, |entry| self.base.place(*entry))
            && !self.entries[position].is_gone()
        {
            self.entries[position].after_ms |= GONE;
            self.marked += 1;
            if self.marked > self.entries.len() / 2 {
                self.entries.retain(|entry| !entry.is_gone());
                self.marked = 0;
                self.shrink();
            }
        }
    }

    /// A backlog that was worked off does not go on to occupy memory.
    fn shrink(&mut self) {
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(deadline_ms: u64, task: u64) -> Place {
        Place { deadline_ms, task: TaskId(task) }
    }

    #[track_caller]
    fn check(ring: &Ring, places: &[Place]) {
        assert_eq!(ring.iter().collect::<Vec<_>>(), places);
        assert_eq!(ring.first(), places.first().copied());
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 8);
    }

    #[test]
    fn places_stand_in_order_and_only_behind_the_last() {
        let mut ring = Ring::default();
        assert!(ring.push(place(10, 5)));
        assert!(ring.push(place(10, 6)));
        assert!(!ring.push(place(10, 4)), "goes before both");
        assert!(!ring.push(place(10, 6)), "is there");
        assert!(ring.push(place(11, 1)));
        check(&ring, &[place(10, 5), place(10, 6), place(11, 1)]);
    }

    #[test]
    fn a_place_that_is_too_far_away_is_not_taken_in() {
        const FAR_MS: u64 = 1 << 31;
        const FAR: u64 = 1 << 31;
        let mut ring = Ring::default();
        assert!(ring.push(place(7, FAR)));
        assert!(!ring.push(place(7 + FAR_MS, FAR + 1)));
        assert!(ring.push(place(6 + FAR_MS, FAR + 1)));
        assert!(!ring.push(place(6 + FAR_MS, 2 * FAR)));
        assert!(ring.push(place(6 + FAR_MS, 2 * FAR - 1)));
        check(&ring, &[place(7, FAR), place(6 + FAR_MS, FAR + 1), place(6 + FAR_MS, 2 * FAR - 1)]);
        assert!(!ring.push(place(7 + FAR_MS, 2 * FAR)));
        ring.remove(place(7, FAR));
        assert!(ring.push(place(7 + FAR_MS, 2 * FAR)), "counted from the second now");
        ring.remove(place(6 + FAR_MS, 2 * FAR - 1));
        check(&ring, &[place(6 + FAR_MS, FAR + 1), place(7 + FAR_MS, 2 * FAR)]);
    }

    #[test]
    fn numbers_may_be_lower_than_the_first() {
        let mut ring = Ring::default();
        let lowest = 5_u64.wrapping_sub(1 << 31);
        assert!(ring.push(place(1, 5)));
        assert!(ring.push(place(2, 1)));
        assert!(ring.push(place(3, lowest)));
        check(&ring, &[place(1, 5), place(2, 1), place(3, lowest)]);
    }

    #[test]
    fn what_left_from_the_middle_stays_gone_when_the_base_moves() {
        let mut ring = Ring::default();
        for at in 0..5 {
            assert!(ring.push(place(at, at)));
        }
        ring.remove(place(2, 2));
        ring.remove(place(0, 0));
        assert!(ring.push(place(1 << 31, 9)));
        let rest = [place(1, 1), place(3, 3), place(4, 4), place(1 << 31, 9)];
        check(&ring, &rest);
        ring.remove(place(2, 2));
        check(&ring, &rest);
    }
}
