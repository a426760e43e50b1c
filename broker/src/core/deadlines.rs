//! When does something have to happen? One ordered set: it knows *when*, never *what*.
//!
//! A key may stand in it several times. Whoever sets a deadline remembers the time, because that
//! is what it takes to clear it again.

use std::collections::BTreeSet;

use super::command::Tick;

/// Keys, soonest first; equal times in the order of the keys.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    due: BTreeSet<(Tick, K)>,
}

impl<K: Ord> Deadlines<K> {
    /// Nothing is due, ever.
    pub(super) fn new() -> Deadlines<K> {
        Deadlines { due: BTreeSet::new() }
    }

    /// Hand out `key` once `at` has come.
    pub(super) fn set(&mut self, at: Tick, key: K) {
        self.due.insert((at, key));
    }

    /// Do not hand out `key` at `at` after all.
    pub(super) fn clear(&mut self, at: Tick, key: K) {
        self.due.remove(&(at, key));
    }

    /// One key whose time has come, if any. Call until `None`.
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<K> {
        let (at, _) = self.due.first()?;
        if now < *at {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// The soonest time of all.
    pub(super) fn next(&self) -> Option<Tick> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_at_its_tick_and_not_one_before() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Tick(10), "b");
        deadlines.set(Tick(5), "a");
        assert_eq!(deadlines.next(), Some(Tick(5)));
        assert_eq!(deadlines.pop_due(Tick(4)), None);
        assert_eq!(deadlines.pop_due(Tick(5)), Some("a"));
        assert_eq!(deadlines.pop_due(Tick(9)), None);
        assert_eq!(deadlines.pop_due(Tick(10)), Some("b"));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_cleared_key_never_comes() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Tick(5), "a");
        deadlines.clear(Tick(5), "a");
        assert_eq!(deadlines.pop_due(Tick(99)), None);
    }
}
