//! The one place where real time becomes a [`Tick`]; and the time of processors.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::core::command::{Now, Tick};

/// Counts from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Monotone time.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_millis()).expect("584 million years"))
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall_ms = u64::try_from(wall.as_millis()).expect("584 million years");
        Now { tick: self.tick(), wall_ms }
    }

    /// How long until `tick` begins; zero if it is over.
    #[must_use]
    pub fn until(&self, tick: Tick) -> Duration {
        Duration::from_millis(tick.0.saturating_sub(self.tick().0))
    }
}

/// Time that a processor has spent on the calling thread so far.
#[must_use]
pub fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Whether all of the time up to a deadline is over. Ticks are rounded down: the deadline, and so the
/// moment that it counts from. In the deadline's own millisecond a part of the time may be left.
pub(super) fn is_over(deadline: Tick, now: Tick) -> bool {
    deadline < now
}
