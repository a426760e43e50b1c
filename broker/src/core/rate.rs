//! At most so many grants in any stretch of time of one length.
//!
//! The times of the last grants are kept, as many as are allowed: the next one has to be a whole
//! period behind the oldest of them. That is exact whatever the pattern, unlike a bucket that
//! refills, which lets twice as many through around the moment it is full.

use std::collections::VecDeque;

use super::command::Tick;
use super::limits::Rate;

/// When the last tasks under a rate were granted.
#[derive(Debug, Default)]
pub(super) struct RateWindow {
    /// Oldest first; no more than the rate allows.
    grants: VecDeque<Tick>,
}

impl RateWindow {
    /// A window in which everything was granted just now. What happened before a restart is not
    /// known.
    pub(super) fn spent(rate: Rate, now: Tick) -> RateWindow {
        RateWindow { grants: std::iter::repeat_n(now, rate.grants as usize).collect() }
    }

    /// A task was granted.
    pub(super) fn count(&mut self, rate: Rate, now: Tick) {
        if self.grants.len() >= rate.grants as usize {
            self.grants.pop_front();
        }
        self.grants.push_back(now);
    }

    /// When none of the grants counts any more, if that is not now.
    pub(super) fn clears(&self, rate: Rate, now: Tick) -> Option<Tick> {
        self.grants.back().map(|newest| newest.after(rate.period_ms)).filter(|at| *at > now)
    }

    /// When the next task may be granted, if that is not now.
    pub(super) fn opens(&self, rate: Rate, now: Tick) -> Option<Tick> {
        let oldest = self.grants.front().filter(|_| self.grants.len() >= rate.grants as usize)?;
        let opens = oldest.after(rate.period_ms);
        (opens > now).then_some(opens)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { grants: 2, period_ms: 10 };

    #[test]
    fn the_third_grant_waits_for_a_period_behind_the_first() {
        let mut window = RateWindow::default();
        for at in [0, 7] {
            assert_eq!(window.opens(RATE, Tick(at)), None);
            window.count(RATE, Tick(at));
        }
        assert_eq!(window.opens(RATE, Tick(9)), Some(Tick(10)));
        assert_eq!(window.opens(RATE, Tick(10)), None);
        window.count(RATE, Tick(10));
        assert_eq!(window.opens(RATE, Tick(10)), Some(Tick(17)));
    }

    #[test]
    fn after_a_restart_a_whole_period_passes() {
        let window = RateWindow::spent(RATE, Tick(3));
        assert_eq!(window.opens(RATE, Tick(12)), Some(Tick(13)));
        assert_eq!(window.opens(RATE, Tick(13)), None);
    }

    proptest! {
        #[test]
        fn no_period_has_more_grants_than_allowed(
            waits in prop::collection::vec(0u64..6, 1..200),
            grants in 1u32..5,
            period_ms in 1u64..20,
        ) {
            let rate = Rate { grants, period_ms };
            let (mut window, mut now, mut granted) = (RateWindow::default(), 0, Vec::new());
            for wait in waits {
                now += wait;
                if window.opens(rate, Tick(now)).is_none() {
                    window.count(rate, Tick(now));
                    granted.push(now);
                } else {
                    let within = granted.iter().filter(|at| **at + period_ms > now).count();
                    prop_assert_eq!(within, grants as usize, "nobody waits for nothing");
                }
            }
            for (at, first) in granted.iter().enumerate() {
                let within = granted[at..].iter().take_while(|at| **at < first + period_ms);
                prop_assert!(within.count() <= grants as usize);
            }
        }
    }
}
