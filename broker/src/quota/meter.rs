//! So much a minute: a bucket of tokens in one atomic number (the generic cell rate algorithm). A
//! bucket holds a minute's worth and begins full.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::command::Tick;

/// A minute, in the nanoseconds that meters count in: what a bucket holds.
const MINUTE: u64 = 60_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// A meter. Unset, it lets everything pass.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// What one unit takes to be filled in again; 0: nothing is counted.
    interval: AtomicU64,
    /// When the bucket will be full again, if nothing more is taken.
    full_at: AtomicU64,
}

impl Meter {
    /// So many units a minute; 0: as many as somebody likes.
    pub(super) fn set(&self, a_minute: u64) {
        let interval = MINUTE.checked_div(a_minute).map_or(0, |interval| interval.max(1));
        self.interval.store(interval, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.interval.load(Ordering::Relaxed) > 0
    }

    /// Take `units`, whether or not they are there.
    pub(super) fn charge(&self, units: u64, now: Tick) {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 {
            return;
        }
        let now = nanoseconds(now);
        let taken = units.saturating_mul(interval);
        let add = |full_at: u64| Some(full_at.max(now).saturating_add(taken));
        // Never refused.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// In how many milliseconds there will be one unit.
    pub(super) fn wait_ms(&self, now: Tick) -> u64 {
        match self.interval.load(Ordering::Relaxed) {
            0 => 0,
            interval => {
                let now = nanoseconds(now);
                wait_ms(self.full_at.load(Ordering::Relaxed).max(now), interval, now)
            }
        }
    }

    /// Take one unit if it is there.
    ///
    /// # Errors
    /// In how many milliseconds it will be.
    pub(super) fn take(&self, now: Tick) -> Result<(), u64> {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 {
            return Ok(());
        }
        let now = nanoseconds(now);
        let add = |full_at: u64| {
            let full_at = full_at.max(now);
            (wait_ms(full_at, interval, now) == 0).then(|| full_at.saturating_add(interval))
        };
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(|_| ()).map_err(|full_at| wait_ms(full_at, interval, now))
    }

    /// Whether the bucket is full.
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        self.full_at.load(Ordering::Relaxed) <= nanoseconds(now)
    }
}

fn nanoseconds(now: Tick) -> u64 {
    now.0.saturating_mul(MILLISECOND)
}

/// In how many milliseconds a bucket that is full at `full_at` has one unit.
fn wait_ms(full_at: u64, interval: u64, now: u64) -> u64 {
    let has_one_at = full_at.saturating_add(interval).saturating_sub(MINUTE);
    has_one_at.saturating_sub(now).div_ceil(MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(a_minute: u64) -> Meter {
        let meter = Meter::default();
        meter.set(a_minute);
        meter
    }

    const NOW: u64 = 1_000_000;

    #[test]
    fn as_many_in_a_row_as_a_minute_allows_and_then_evenly() {
        let meter = meter(3);
        let take = |later_ms| meter.take(Tick(NOW + later_ms));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(20_000));
        assert_eq!(take(19_999), Err(1));
        assert_eq!(take(20_000), Ok(()));
        assert_eq!(take(20_000), Err(20_000), "what was refused was not taken");
        assert_eq!([take(200_000), take(200_000), take(200_000)], [Ok(()); 3]);
        assert!(take(200_000).is_err(), "no more than a minute's worth is ever there");
    }

    #[test]
    fn a_debt_is_paid_before_there_is_more() {
        let meter = meter(60_000);
        meter.charge(59_000, Tick(NOW));
        assert_eq!(meter.wait_ms(Tick(NOW)), 0);
        meter.charge(2_000, Tick(NOW));
        assert_eq!(meter.wait_ms(Tick(NOW)), 1_001);
        assert_eq!(meter.take(Tick(NOW + 1_000)), Err(1));
        assert_eq!(meter.take(Tick(NOW + 1_001)), Ok(()));
        assert!(!meter.is_idle(Tick(NOW + 60_000)));
        assert!(meter.is_idle(Tick(NOW + 61_001)));
    }

    #[test]
    fn nothing_is_counted_unless_it_is_set_and_nothing_overflows() {
        let meter = Meter::default();
        meter.charge(u64::MAX, Tick(u64::MAX));
        assert_eq!((meter.is_set(), meter.wait_ms(Tick(NOW))), (false, 0));
        meter.set(u64::MAX);
        meter.charge(u64::MAX, Tick(NOW));
        assert!(meter.wait_ms(Tick(NOW)) > 0);
        assert!(meter.take(Tick(0)).is_err());
    }

    #[test]
    fn those_who_take_at_once_get_no_more_than_there_is() {
        let meter = meter(1_000);
        let taken = std::thread::scope(|threads| {
            let take = || (0..1_000).filter(|_| meter.take(Tick(NOW)).is_ok()).count();
            let takers = [(); 4].map(|()| threads.spawn(take));
            takers.map(|taker| taker.join().unwrap()).iter().sum::<usize>()
        });
        assert_eq!(taken, 1_000);
    }
}
