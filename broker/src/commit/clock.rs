//! The time that the core sees: it stands still while the broker does.
//!
//! A broker that was stopped (SIGSTOP, a moved virtual machine, a disk that hung) could not hear
//! its agents. Their leases must not pay for that. So the core's clock is not the time that passed
//! but the time during which the loop was able to listen: the loop looks at it on every turn, and
//! of a gap between two looks at most [`GAP_COUNTED_MAX`] counts. Every timer is then late by the
//! length of the stall, and none is early by more than a tick: a tick is a millisecond that has
//! begun when a request sets a timer, and one that is over when the timer fires.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::core::command::{Now, Tick};

/// Longest gap between two looks that counts as time. Half of one second, the shortest lease: a
/// lease is never charged more than half of itself for a time in which nobody listened.
pub const GAP_COUNTED_MAX: Duration = Duration::from_millis(500);

/// Longest sleep of a loop that has a deadline. Half of the gap that counts, so that an ordinary
/// late wake-up is not taken for a stall.
pub const NAP_MAX: Duration = Duration::from_millis(250);

/// Turns the machine's time into the core's.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// Machine time at the last look.
    looked: Duration,
    /// Core time at the last look.
    counted: Duration,
}

/// Where a clock has its time from.
#[derive(Debug)]
enum Source {
    Machine(Instant),
    Virtual(VirtualClock),
}

/// Time that passes only when somebody says so, for tests. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    passed: Arc<Mutex<Duration>>,
    /// Wall clock at the start, since the Unix epoch.
    started: Duration,
}

impl VirtualClock {
    /// A clock that stands at the machine's wall clock.
    #[must_use]
    pub fn start() -> VirtualClock {
        VirtualClock { passed: Arc::default(), started: wall() }
    }

    /// Let time pass.
    pub fn advance(&self, time: Duration) {
        *self.passed.lock() += time;
    }

    fn passed(&self) -> Duration {
        *self.passed.lock()
    }
}

/// The wall clock, for people: milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> u64 {
    ms(wall())
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Source {
    fn elapsed(&self) -> Duration {
        match self {
            Source::Machine(started) => started.elapsed(),
            Source::Virtual(clock) => clock.passed(),
        }
    }
}

impl Clock {
    /// A clock that shows tick 0 now.
    #[must_use]
    pub fn start() -> Clock {
        Clock::of(Source::Machine(Instant::now()))
    }

    /// A clock that somebody else winds.
    #[must_use]
    pub fn wound_by(clock: VirtualClock) -> Clock {
        Clock::of(Source::Virtual(clock))
    }

    fn of(source: Source) -> Clock {
        Clock { source, looked: Duration::ZERO, counted: Duration::ZERO }
    }

    /// Look at the clock.
    pub fn observe(&mut self) -> Now {
        let elapsed = self.source.elapsed();
        match &self.source {
            Source::Machine(_) => Now { tick: self.advance(elapsed), wall_ms: ms(wall()) },
            // Nobody stalls in a time that is made.
            Source::Virtual(clock) => {
                let wall_ms = ms(clock.started + elapsed);
                self.skip_idle();
                Now { tick: self.advance(elapsed), wall_ms }
            }
        }
    }

    /// The loop slept on purpose, because no timer was set: that was not a stall.
    pub fn skip_idle(&mut self) {
        let now = self.source.elapsed();
        self.counted += now.saturating_sub(self.looked);
        self.looked = now;
    }

    /// How long to wait for `tick`, as far as one can tell.
    #[must_use]
    pub fn until(&self, tick: Tick) -> Duration {
        let since = self.source.elapsed().saturating_sub(self.looked);
        Duration::from_millis(tick.0).saturating_sub(self.counted + since)
    }

    fn advance(&mut self, now: Duration) -> Tick {
        let gap = now.saturating_sub(self.looked);
        self.looked = now;
        self.counted += gap.min(GAP_COUNTED_MAX);
        Tick(ms(self.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stall_only_the_counted_part_passes() {
        let mut clock = Clock::start();
        assert_eq!(clock.advance(Duration::from_millis(200)), Tick(200));
        assert_eq!(clock.advance(Duration::from_millis(700)), Tick(700));
        assert_eq!(clock.advance(Duration::from_secs(60)), Tick(1_200));
        assert_eq!(clock.advance(Duration::from_millis(60_100)), Tick(1_300));
    }

    #[test]
    fn a_virtual_clock_shows_all_the_time_that_was_let_pass() {
        let virtual_clock = VirtualClock::start();
        let mut clock = Clock::wound_by(virtual_clock.clone());
        let before = clock.observe();
        assert_eq!(before.tick, Tick(0));
        virtual_clock.advance(Duration::from_secs(3600));
        let after = clock.observe();
        assert_eq!((after.tick, after.wall_ms - before.wall_ms), (Tick(3_600_000), 3_600_000));
        assert_eq!(clock.until(Tick(3_600_001)), Duration::from_millis(1));
    }

    #[test]
    fn a_clock_that_is_asked_twice_at_once_does_not_move() {
        let mut clock = Clock::start();
        clock.advance(Duration::from_millis(10));
        assert_eq!(clock.advance(Duration::from_millis(10)), Tick(10));
        assert_eq!(clock.advance(Duration::from_millis(9)), Tick(10));
    }
}
