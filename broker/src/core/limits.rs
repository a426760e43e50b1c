//! Every number the task machine is tuned by, with the reason for its default.
//!
//! The core reads no file and no environment: whoever starts it hands it one [`CoreConfig`].
//! Limits on what a client may send (sizes of payloads, numbers of names) belong to the doors.

use super::command::TaskId;

/// Settings of the task machine. [`CoreConfig::default`] is what a broker runs with when nobody
/// asked for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreConfig {
    /// How long an agent may look at an offer, in milliseconds. 10 s: a program answers in
    /// milliseconds, so this is only ever used up by one that hangs, and a task that waits ten
    /// seconds for its second agent has not lost a noticeable part of its life.
    pub offer_ms: u64,
    /// How long the leases of an agent outlive its connection, in milliseconds. 15 s: covers a
    /// dropped TCP connection and a client's first few reconnection attempts.
    pub grace_ms: u64,
    /// Least time that a lease still has after a restart of the broker, in milliseconds. 30 s:
    /// every agent reconnects at once, with its own back-off, and none did anything wrong.
    pub restart_grace_ms: u64,
    /// Waiting time between attempts.
    pub backoff: Backoff,
    /// Offers that may go unanswered before the task is dead; at least 1. 10: an unanswered offer
    /// silences its agent, so ten of them mean ten agents, or one that came back to life ten times.
    pub offers_max: u32,
    /// Agents that may decline before the task is dead; at least 1. 10: each decline rules that
    /// agent out, so this is also the longest exclusion list that a task can carry.
    pub declines_max: u32,
    /// Holders that may vanish before the task is dead; at least 1. 5: a task that killed five
    /// agents is more likely the cause than the victim.
    pub lost_max: u32,
    /// Open tasks that one queue may hold. A million: rows of open tasks are in memory (about
    /// 0.4 kB each), so a runaway submitter is stopped well before the process is.
    pub queue_tasks_max: usize,
}

impl Default for CoreConfig {
    fn default() -> CoreConfig {
        CoreConfig {
            offer_ms: 10_000,
            grace_ms: 15_000,
            restart_grace_ms: 30_000,
            backoff: Backoff::default(),
            offers_max: 10,
            declines_max: 10,
            lost_max: 5,
            queue_tasks_max: 1_000_000,
        }
    }
}

/// Longest error text that is kept with a task, in bytes; the rest is cut off. A row is written
/// on every change of its task, so what is in it has to stay small.
pub const ERROR_BYTES_MAX: usize = 4096;

/// Most of a progress report that is kept to be shown, in bytes; its event carries all of it. It
/// stays in memory while the task runs, and there may be many of those.
pub const PROGRESS_BYTES_MAX: usize = 4096;

/// Exponential back-off with full jitter, drawn from the task and the attempt instead of a random
/// generator: the same history waits equally long on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait before the second attempt, in milliseconds; 0 retries at once. 1 s: most
    /// failures that a retry can cure are gone by then.
    pub base_ms: u64,
    /// Each further attempt may wait this many times longer. 2, as everywhere.
    pub factor: u64,
    /// No wait is longer, in milliseconds. 5 min: after that, people look.
    pub cap_ms: u64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { base_ms: 1_000, factor: 2, cap_ms: 300_000 }
    }
}

impl Backoff {
    /// How long `task` waits after its failed attempt number `attempt` (1 for the first), in
    /// milliseconds: anything from 0 to the exponential bound, both included.
    #[must_use]
    pub fn delay_ms(&self, task: TaskId, attempt: u32) -> u64 {
        let growth = self.factor.saturating_pow(attempt.saturating_sub(1));
        let bound = self.base_ms.saturating_mul(growth).min(self.cap_ms);
        scramble(task.0 ^ u64::from(attempt).rotate_right(16)) % bound.saturating_add(1)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs, unrelated outputs.
fn scramble(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(attempt: u32) -> u64 {
        (0..2_000).map(|task| Backoff::default().delay_ms(TaskId(task), attempt)).max().unwrap()
    }

    #[test]
    fn delay_stays_below_its_bound_and_nearly_reaches_it() {
        for (attempt, bound) in [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000)] {
            let longest = longest(attempt);
            assert!(longest <= bound, "attempt {attempt}: {longest} > {bound}");
            assert!(longest > bound / 10 * 9, "attempt {attempt}: {longest} of {bound}");
        }
    }

    #[test]
    fn a_huge_attempt_number_is_capped_not_wrapped() {
        assert!(longest(u32::MAX) <= 300_000);
    }

    #[test]
    fn no_base_means_no_wait() {
        let backoff = Backoff { base_ms: 0, ..Backoff::default() };
        assert_eq!(backoff.delay_ms(TaskId(7), 3), 0);
    }
}
