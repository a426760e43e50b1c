//! When does something have to happen? One ordered set: it knows *when*, never *what*.
//!
//! A key may stand in it several times. Whoever sets a deadline remembers the time, because that
//! is what it takes to clear it again; or leaves it there and knows better when it comes.

use std::collections::BTreeSet;

/// Keys, soonest first; equal times in the order of the keys. `T` is a point in time.
#[derive(Debug)]
pub(super) struct Deadlines<T, K> {
    due: BTreeSet<(T, K)>,
}

impl<T: Ord + Copy, K: Ord> Deadlines<T, K> {
    /// Nothing is due, ever.
    pub(super) fn new() -> Deadlines<T, K> {
        Deadlines { due: BTreeSet::new() }
    }

    /// Hand out `key` once `at` has come.
    pub(super) fn set(&mut self, at: T, key: K) {
        self.due.insert((at, key));
    }

    /// Do not hand out `key` at `at` after all.
    pub(super) fn clear(&mut self, at: T, key: K) {
        self.due.remove(&(at, key));
    }

    /// One key whose time has come, if any. Call until `None`.
    pub(super) fn pop_due(&mut self, now: T) -> Option<K> {
        let (at, _) = self.due.first()?;
        if now < *at {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// The soonest time of all.
    pub(super) fn next(&self) -> Option<T> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_at_its_tick_and_not_one_before() {
        let mut deadlines = Deadlines::new();
        deadlines.set(10, "b");
        deadlines.set(5, "a");
        assert_eq!(deadlines.next(), Some(5));
        assert_eq!(deadlines.pop_due(4), None);
        assert_eq!(deadlines.pop_due(5), Some("a"));
        assert_eq!(deadlines.pop_due(9), None);
        assert_eq!(deadlines.pop_due(10), Some("b"));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_cleared_key_never_comes() {
        let mut deadlines = Deadlines::new();
        deadlines.set(5, "a");
        deadlines.clear(5, "a");
        assert_eq!(deadlines.pop_due(99), None);
    }
}
