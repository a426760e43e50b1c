//! When something is done that nobody asked for. Pure: times come in, decisions go out.

use std::time::Duration;

/// After a start without any backup. Five minutes: whoever only looks what this is needs none.
const FIRST_MS: u64 = 300_000;

/// After a backup that failed. An hour: what is wrong is seldom gone sooner.
const AGAIN_MS: u64 = 3_600_000;

/// How long a compaction is put off while the broker is busy. Six hours: then the quiet ones are
/// over anyway.
const PUT_OFF_MS: u64 = 6 * 3_600_000;

const DAY_MS: u64 = 86_400_000;

/// What is done when. Times are of the wall clock, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Between two backups; zero: never.
    pub(super) backup_every: Duration,
    /// Since midnight (UTC); `None`: never.
    pub(super) compact_at: Option<Duration>,
    /// When the broker started.
    pub(super) started_ms: u64,
    /// When the newest backup was made.
    pub(super) backup_ms: Option<u64>,
    /// When the last one failed, if nothing came of it since.
    pub(super) failed_ms: Option<u64>,
    /// When a compaction began, or would have if it had been time.
    pub(super) compacted_ms: u64,
}

impl Schedule {
    /// Whether it is time for a backup.
    pub(super) fn wants_backup(&self, now_ms: u64) -> bool {
        let every = ms(self.backup_every);
        let since = |then_ms: u64| now_ms.saturating_sub(then_ms);
        let is_due = match self.backup_ms {
            Some(backup_ms) => since(backup_ms) >= every,
            None => since(self.started_ms) >= every.min(FIRST_MS),
        };
        every > 0
            && is_due
            && self.failed_ms.is_none_or(|failed_ms| since(failed_ms) >= AGAIN_MS.min(every))
    }

    /// Whether it is time for a compaction.
    pub(super) fn wants_compaction(&self, now_ms: u64, is_busy: bool) -> bool {
        let Some(at) = self.compact_at else { return false };
        // The last time of day that was reached.
        let passed = now_ms.saturating_sub(ms(at)) % DAY_MS;
        let due_ms = now_ms.saturating_sub(passed);
        self.compacted_ms < due_ms && (!is_busy || passed >= PUT_OFF_MS)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    /// Noon of some day.
    const START: u64 = 20_000 * DAY_MS + 12 * HOUR;

    fn schedule() -> Schedule {
        Schedule {
            backup_every: Duration::from_millis(DAY_MS),
            compact_at: Some(Duration::from_millis(3 * HOUR)),
            started_ms: START,
            backup_ms: None,
            failed_ms: None,
            compacted_ms: START,
        }
    }

    #[test]
    fn a_backup_is_due_a_day_after_the_newest_one_whenever_the_broker_started() {
        let first = schedule();
        assert!(!first.wants_backup(START + FIRST_MS - 1));
        assert!(first.wants_backup(START + FIRST_MS));
        let later = Schedule { backup_ms: Some(START - 20 * HOUR), ..schedule() };
        assert!(!later.wants_backup(START + 4 * HOUR - 1));
        assert!(later.wants_backup(START + 4 * HOUR));
        let never = Schedule { backup_every: Duration::ZERO, ..later };
        assert!(!never.wants_backup(START + 400 * HOUR));
    }

    #[test]
    fn what_failed_is_tried_again_after_a_while() {
        let failed = Schedule { failed_ms: Some(START + 2 * HOUR), ..schedule() };
        assert!(!failed.wants_backup(START + 3 * HOUR - 1));
        assert!(failed.wants_backup(START + 3 * HOUR));
    }

    #[test]
    fn a_compaction_is_once_a_day_and_waits_for_a_quiet_time() {
        let night = START + 15 * HOUR;
        let schedule = schedule();
        assert!(!schedule.wants_compaction(night - 1, false));
        assert!(schedule.wants_compaction(night, false));
        assert!(!schedule.wants_compaction(night + PUT_OFF_MS - 1, true));
        assert!(schedule.wants_compaction(night + PUT_OFF_MS, true));
        let done = Schedule { compacted_ms: night, ..schedule.clone() };
        assert!(!done.wants_compaction(night + DAY_MS - 1, false));
        assert!(done.wants_compaction(night + DAY_MS, false));
        assert!(!Schedule { compact_at: None, ..schedule }.wants_compaction(night, false));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_due() {
        let early = Schedule { backup_ms: Some(START + DAY_MS), ..schedule() };
        assert!(!early.wants_backup(START));
        assert!(!schedule().wants_compaction(0, false));
    }
}
