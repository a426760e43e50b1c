//! A bucket of tokens in one atomic number (the generic cell rate algorithm): so many units in a
//! row, and evenly so many a minute. A bucket begins full.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::command::Tick;

/// A minute, in the nanoseconds that meters count in.
const MINUTE: u64 = 60_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// What takes longer to be filled in never is: a year.
const INTERVAL_MAX: u64 = 525_600 * MINUTE;
/// The interval of a bucket into which nothing is filled.
const NEVER: u64 = u64::MAX;
/// What a unit of such a bucket counts.
const UNIT: u64 = 1_000_000;
/// No bucket holds more: 146 years, so that sums stay in range.
const WINDOW_MAX: u64 = 1 << 62;
/// A bucket is low when it holds less than one part in so many.
const LOW_BELOW: u64 = 5;

/// How much fits into a bucket, and how fast it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Nanoseconds until one unit is filled in; [`NEVER`].
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    window: u64,
}

impl Pace {
    /// So many units a minute, and in a row; `None` for 0, which is no limit.
    pub(super) fn a_minute(units: u64) -> Option<Pace> {
        let interval = MINUTE.checked_div(units)?.max(1);
        Some(Pace { interval, window: MINUTE })
    }

    /// `capacity` units in a row, and `per_minute` of them filled in; both at least 0.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a cast of a float stays in range, and a part in 2^52 may be rounded off"
    )]
    pub(super) fn new(capacity: f64, per_minute: f64) -> Pace {
        let interval = (MINUTE as f64 / per_minute).round() as u64;
        let interval = if interval > INTERVAL_MAX { NEVER } else { interval.max(1) };
        let unit = if interval == NEVER { UNIT } else { interval };
        let window = (capacity * unit as f64).round() as u64;
        Pace { interval, window: window.min(WINDOW_MAX) }
    }

    fn unit(self) -> u64 {
        if self.interval == NEVER { UNIT } else { self.interval }
    }

    /// What time it is for a bucket: always the same if nothing is ever filled in.
    fn time(self, now: Tick) -> u64 {
        if self.interval == NEVER { 0 } else { now.0.saturating_mul(MILLISECOND) }
    }

    /// In how many milliseconds a bucket that is full at `full_at` has one unit; `None`: never.
    fn wait_ms(self, full_at: u64, now: u64) -> Option<u64> {
        let has_one_at = full_at.saturating_add(self.unit()).saturating_sub(self.window);
        let wait = has_one_at.saturating_sub(now);
        (wait == 0 || self.interval != NEVER).then(|| wait.div_ceil(MILLISECOND))
    }

    fn left(self, full_at: u64, now: u64) -> Left {
        Left { filled: self.window.saturating_sub(full_at.saturating_sub(now)), pace: self }
    }
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// As a part of the window.
    filled: u64,
    pace: Pace,
}

impl Left {
    /// Whole units.
    pub(super) fn units(self) -> u64 {
        self.filled / self.pace.unit()
    }

    /// How many fit in.
    pub(super) fn capacity(self) -> u64 {
        self.pace.window / self.pace.unit()
    }

    /// Whether there is little left.
    pub(super) fn is_low(self) -> bool {
        self.filled < self.pace.window / LOW_BELOW
    }
}

/// A bucket. Unset, it lets everything pass.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// That of its pace; 0: nothing is counted.
    interval: AtomicU64,
    /// That of its pace.
    window: AtomicU64,
    /// When it will be full again, if nothing more is taken; 0 if nothing ever was.
    full_at: AtomicU64,
}

impl Meter {
    /// Count by this pace from now on, or not at all. What was taken so far counts. Gives whether
    /// that changes anything.
    pub(super) fn set(&self, pace: Option<Pace>) -> bool {
        let Pace { interval, window } = pace.unwrap_or(Pace { interval: 0, window: 0 });
        let before = self.interval.swap(interval, Ordering::Relaxed);
        let window_before = self.window.swap(window, Ordering::Relaxed);
        (before, window_before) != (interval, window)
    }

    /// Be full.
    pub(super) fn refill(&self) {
        self.full_at.store(0, Ordering::Relaxed);
    }

    fn pace(&self) -> Option<Pace> {
        let interval = self.interval.load(Ordering::Relaxed);
        let window = self.window.load(Ordering::Relaxed);
        (interval > 0).then_some(Pace { interval, window })
    }

    pub(super) fn is_set(&self) -> bool {
        self.interval.load(Ordering::Relaxed) > 0
    }

    /// Take `units`, whether or not they are there.
    pub(super) fn charge(&self, units: u64, now: Tick) {
        let Some(pace) = self.pace() else { return };
        let (now, taken) = (pace.time(now), units.saturating_mul(pace.unit()));
        let add = |full_at: u64| Some(full_at.max(now).saturating_add(taken));
        // Never refused.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// In how many milliseconds there will be one unit.
    pub(super) fn wait_ms(&self, now: Tick) -> u64 {
        let Some(pace) = self.pace() else { return 0 };
        let now = pace.time(now);
        pace.wait_ms(self.full_at.load(Ordering::Relaxed).max(now), now).unwrap_or(u64::MAX)
    }

    /// Take one unit if it is there. Gives what is left; `None` if nothing is counted.
    ///
    /// # Errors
    /// In how many milliseconds it will be; `None`: never.
    pub(super) fn take(&self, now: Tick) -> Result<Option<Left>, Option<u64>> {
        let Some(pace) = self.pace() else { return Ok(None) };
        let now = pace.time(now);
        let add = |full_at: u64| {
            let full_at = full_at.max(now);
            (pace.wait_ms(full_at, now) == Some(0)).then(|| full_at.saturating_add(pace.unit()))
        };
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        match taken {
            Ok(before) => Ok(Some(pace.left(before.max(now).saturating_add(pace.unit()), now))),
            Err(full_at) => Err(pace.wait_ms(full_at.max(now), now)),
        }
    }

    /// What is left; `None` if nothing is counted, or nothing was ever taken.
    pub(super) fn left(&self, now: Tick) -> Option<Left> {
        let (pace, full_at) = (self.pace()?, self.full_at.load(Ordering::Relaxed));
        (full_at > 0).then(|| pace.left(full_at, pace.time(now)))
    }

    /// When the bucket will be full, in the milliseconds of [`Tick`].
    pub(super) fn full_at(&self) -> Tick {
        let full_at = self.full_at.load(Ordering::Relaxed);
        match self.pace() {
            Some(pace) if pace.interval == NEVER && full_at > 0 => Tick(u64::MAX),
            Some(_) => Tick(full_at.div_ceil(MILLISECOND)),
            None => Tick(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(a_minute: u64) -> Meter {
        let meter = Meter::default();
        meter.set(Pace::a_minute(a_minute));
        meter
    }

    const NOW: u64 = 1_000_000;

    /// Take one; how many are left.
    fn left(meter: &Meter, later_ms: u64) -> Result<u64, Option<u64>> {
        meter.take(Tick(NOW + later_ms)).map(|left| left.expect("it is set").units())
    }

    #[test]
    fn as_many_in_a_row_as_a_minute_allows_and_then_evenly() {
        let meter = meter(3);
        let take = |later_ms| left(&meter, later_ms);
        assert_eq!([take(0), take(0), take(0)], [Ok(2), Ok(1), Ok(0)]);
        assert_eq!(take(0), Err(Some(20_000)));
        assert_eq!(take(19_999), Err(Some(1)));
        assert_eq!(take(20_000), Ok(0));
        assert_eq!(take(20_000), Err(Some(20_000)), "what was refused was not taken");
        assert_eq!([take(200_000), take(200_000), take(200_000)], [Ok(2), Ok(1), Ok(0)]);
        assert!(take(200_000).is_err(), "no more than a minute's worth is ever there");
    }

    #[test]
    fn a_debt_is_paid_before_there_is_more() {
        let meter = meter(60_000);
        meter.charge(59_000, Tick(NOW));
        assert_eq!(meter.wait_ms(Tick(NOW)), 0);
        meter.charge(2_000, Tick(NOW));
        assert_eq!(meter.wait_ms(Tick(NOW)), 1_001);
        assert_eq!(left(&meter, 1_000), Err(Some(1)));
        assert_eq!(left(&meter, 1_001), Ok(0));
        assert_eq!(meter.full_at(), Tick(NOW + 61_001));
    }

    #[test]
    fn what_fits_in_and_what_is_filled_in_are_set_apart() {
        let meter = Meter::default();
        assert!(meter.set(Some(Pace::new(2.5, 6.0))));
        assert!(!meter.set(Some(Pace::new(2.5, 6.0))), "the same");
        assert_eq!(meter.left(Tick(NOW)), None, "nothing was taken");
        assert_eq!([left(&meter, 0), left(&meter, 0)], [Ok(1), Ok(0)]);
        assert_eq!(left(&meter, 0), Err(Some(5_000)), "half a unit is there");
        assert_eq!(left(&meter, 5_000), Ok(0));
        let full = meter.left(Tick(NOW + 30_000)).unwrap();
        assert_eq!((full.units(), full.capacity(), full.is_low()), (2, 2, false));
        meter.refill();
        assert_eq!(left(&meter, 5_000), Ok(1));
    }

    #[test]
    fn whoever_hammers_is_filled_all_the_same() {
        let meter = Meter::default();
        meter.set(Some(Pace::new(10.0, 10.0)));
        assert_eq!((0..10).filter_map(|_| left(&meter, 0).ok()).count(), 10);
        assert!((0..6_000).all(|later_ms| left(&meter, later_ms).is_err()));
        assert_eq!(left(&meter, 6_000), Ok(0));
        assert_eq!(left(&meter, 0), Err(Some(12_000)), "a clock that goes back fills nothing");
    }

    #[test]
    fn where_nothing_is_filled_in_what_was_taken_is_gone() {
        let meter = Meter::default();
        for (capacity, per_minute) in [(3.0, 0.0), (3.0, 1e-300)] {
            meter.set(Some(Pace::new(capacity, per_minute)));
            meter.refill();
            assert_eq!(meter.full_at(), Tick(0));
            let year = 31_536_000_000;
            assert_eq!([0, 1, 2].map(|years| left(&meter, years * year)), [Ok(2), Ok(1), Ok(0)]);
            assert_eq!(left(&meter, 9 * year), Err(None));
            assert_eq!(meter.full_at(), Tick(u64::MAX));
        }
        meter.set(Some(Pace::new(0.0, 60.0)));
        meter.refill();
        assert_eq!(left(&meter, 0), Err(Some(1_000)), "nothing fits in");
        meter.set(Some(Pace::new(1e300, 1e300)));
        assert!((0..100).all(|_| left(&meter, 0).is_ok()));
    }

    #[test]
    fn nothing_is_counted_unless_it_is_set_and_nothing_overflows() {
        let meter = Meter::default();
        meter.charge(u64::MAX, Tick(u64::MAX));
        assert_eq!((meter.is_set(), meter.wait_ms(Tick(NOW))), (false, 0));
        meter.set(Pace::a_minute(u64::MAX));
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
