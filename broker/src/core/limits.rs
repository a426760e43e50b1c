//! Every number the task machine is tuned by, with the reason for its default.
//!
//! The core reads no file and no environment: whoever starts it hands it one [`CoreConfig`].
//! Limits on what a client may send (sizes of payloads, numbers of names) belong to the doors.

use std::sync::Arc;

use super::command::{Name, TaskId};
use super::record::Ending;

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
    /// How long a holder that is asked to stop may take, in milliseconds. 30 s: an agent finishes
    /// a step and writes down where it stood; who needs more says so in the request.
    pub cancel_ms: u64,
    /// Times that a task may be handed back before it is refused; at least 1. 100: handing back
    /// costs no attempt, so this is what ends a task that everybody only passes on.
    pub releases_max: u32,
    /// How long a task may be overtaken by tasks that need less of an agent's capacity, in
    /// milliseconds; then one agent that could do it takes no more of those. 30 s: most of what
    /// runs ends sooner, and an agent that waits for room does less than it could.
    pub starve_ms: u64,
    /// Open tasks that one queue may hold. Two million: open tasks are in memory (a good 0.1 kB
    /// each), so a runaway submitter is stopped well before the process is.
    pub queue_tasks_max: u64,
    /// Open tasks of all queues together. Ten million, about 1.5 GB: many queues must not do what
    /// one cannot.
    pub open_tasks_max: u64,
    /// Answers that may be waited for by `AWAIT` and `TAKE`. 65,536: each is a few words of
    /// memory, and no more connections are served than that.
    pub waiting_max: usize,
    /// Interests in single tasks that one session may have. 256: who wants to follow more
    /// subscribes to the events of all.
    pub watches_max: usize,
    /// Events of one open task that are remembered for a watcher that comes back. 32: an agent's
    /// connection is back within seconds.
    pub events_max: usize,
}

/// What can be set about one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Nothing is granted; everything else goes on.
    pub paused: bool,
    /// Most leases at once; `None` means no limit.
    pub leases_max: Option<u64>,
    /// Most grants in any stretch of time; `None` means no limit.
    pub rate: Option<Rate>,
    /// In which order its tasks go.
    pub order: Order,
    /// Shares of keys, if the order is fair, sorted by key; a key that is not named has 1. At most
    /// [`WEIGHTS_MAX`], each from 1 to [`WEIGHT_MAX`].
    pub weights: Arc<[(Name, u32)]>,
    /// How long completed and cancelled tasks are kept, in milliseconds. 7 days: long enough to
    /// look at what happened last week.
    pub keep_ms: u64,
    /// How long dead letters are kept, in milliseconds; `None` means until somebody decides about
    /// them, which is the default: they are what a person has to look at.
    pub keep_dead_ms: Option<u64>,
}

/// At most so many grants in any stretch of time of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate {
    /// Grants, at least one and at most [`RATE_GRANTS_MAX`].
    pub grants: u32,
    /// The length, in milliseconds; at most [`RATE_PERIOD_MS_MAX`].
    pub period_ms: u64,
}

/// Most keys of a queue that have a weight of their own. 64: customers that were promised more
/// than others, not all of them.
pub const WEIGHTS_MAX: usize = 64;

/// Largest weight. 1,000: beyond, a key of weight 1 would as good as never go.
pub const WEIGHT_MAX: u32 = 1_000;

/// Most grants that a rate may allow in its period. 10,000: their times are remembered, 80 kB for
/// a queue. Whoever wants more says it of a shorter period.
pub const RATE_GRANTS_MAX: u32 = 10_000;

/// Longest period of a rate. One hour: after a restart, so much time may pass before the queue
/// grants again.
pub const RATE_PERIOD_MS_MAX: u64 = 3_600_000;

/// In which order the tasks of a queue go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By priority and arrival, whatever their keys.
    #[default]
    Deadline,
    /// Every key gets its share of grants while it has work; by priority and arrival within a key.
    Fair,
}

impl Order {
    /// Every order.
    pub const ALL: [Order; 2] = [Order::Deadline, Order::Fair];

    /// The order's one name on the wire and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Deadline => "deadline",
            Order::Fair => "fair",
        }
    }
}

impl QueueSettings {
    /// When a task that ends now is forgotten; `None` means never.
    #[must_use]
    pub fn expires_ms(&self, how: &Ending, wall_ms: u64) -> Option<u64> {
        let keep_ms = match how {
            Ending::Dead(_) => self.keep_dead_ms,
            Ending::Completed | Ending::Cancelled(_) => Some(self.keep_ms),
        };
        keep_ms.map(|keep_ms| wall_ms.saturating_add(keep_ms))
    }
}

impl Default for QueueSettings {
    fn default() -> QueueSettings {
        QueueSettings {
            paused: false,
            leases_max: None,
            rate: None,
            order: Order::Deadline,
            weights: Arc::default(),
            keep_ms: 7 * 24 * 3_600_000,
            keep_dead_ms: None,
        }
    }
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
            cancel_ms: 30_000,
            releases_max: 100,
            starve_ms: 30_000,
            queue_tasks_max: 2_000_000,
            open_tasks_max: 10_000_000,
            waiting_max: 65_536,
            watches_max: 256,
            events_max: 32,
        }
    }
}

/// Longest error text that is kept with a task, in bytes; the rest is cut off. A row is written
/// on every change of its task, so what is in it has to stay small.
pub const ERROR_BYTES_MAX: usize = 4096;

/// Failures that are kept with a task: the newest ones, of which only the last in full.
pub const FAILURES_MAX: usize = 8;

/// Longest text of a failure that is not the newest, in bytes.
pub const OLD_ERROR_BYTES_MAX: usize = 256;

/// Bands whose waiting tasks are counted apart: the four of the legacy hub. Those behind them count
/// as the last.
pub const BANDS_COUNTED: usize = 4;

/// Most tasks of one batch. 1,000: one turn of the commit loop takes it without keeping others
/// waiting for more than some milliseconds.
pub const BATCH_MAX: usize = 1_000;

/// Most edges of one task.
pub const EDGES_MAX: usize = 100;

/// Most questions of one task.
pub const QUESTIONS_MAX: usize = 16;

/// Longest question, default or answer, in bytes: they are part of the row.
pub const QUESTION_BYTES_MAX: usize = 4096;

/// Most schedules. 10,000: they are in memory with their payloads.
pub const SCHEDULES_MAX: usize = 10_000;

/// Longest payload of a schedule, in bytes.
pub const SCHEDULE_BYTES_MAX: usize = 64 << 10;

/// Most tokens of all agents. 100,000: a good 0.2 kB of memory each, and more agents than one
/// broker can serve.
pub const TOKENS_MAX: usize = 100_000;

/// Most tokens of one agent. 64: one for each place that it runs in.
pub const AGENT_TOKENS_MAX: usize = 64;

/// Most shared settings, and most bytes in one. 1,000 of 64 KiB: all of them are in memory.
pub const CONFIG_KEYS_MAX: usize = 1_000;
/// See [`CONFIG_KEYS_MAX`].
pub const CONFIG_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Messages that wait in one mailbox; the oldest one has to go for a newer one. 100, as in the
/// legacy hub: whoever stays away for longer has to catch up in another way.
pub const MAILBOX_MESSAGES_MAX: usize = 100;

/// The shared setting that says how long a message waits in a mailbox, in milliseconds.
pub const MAILBOX_TTL_MS: &str = "mailbox_ttl_ms";

/// How long a message waits in a mailbox unless it is set otherwise. 7 days, as in the legacy hub.
pub const MAILBOX_KEEP_MS: u64 = 7 * 24 * 3_600_000;

/// Mailboxes in which something waits. 100,000: one for each agent that can have a token.
pub const MAILBOXES_MAX: usize = 100_000;

/// Messages that the history remembers. 10,000, as in the legacy hub: about 2 MB of memory.
pub const HISTORY_MESSAGES_MAX: usize = 10_000;

/// Messages that a channel remembers. 200, as in the legacy hub.
pub const CHANNEL_MESSAGES_MAX: usize = 200;

/// Most channels. 1,000: their histories then take some 40 MB of memory at most.
pub const CHANNELS_MAX: usize = 1_000;

/// Most subscribers of a channel. 10,000: each message to it is as many entries of mailboxes.
pub const SUBSCRIBERS_MAX: usize = 10_000;

/// Most children of one task.
pub const CHILDREN_MAX: usize = 10_000;

/// Most parents in a row.
pub const DEPTH_MAX: u8 = 16;

/// Longest checkpoint, in bytes; it travels with every further offer of the task.
pub const CHECKPOINT_BYTES_MAX: usize = 64 << 10;

/// How long an agent that let an offer run out is left alone at first, in milliseconds, if it
/// does nothing meanwhile; doubled each time.
pub const SUSPICION_MS: u64 = 10_000;

/// Longest such time, in milliseconds.
pub const SUSPICION_MS_MAX: u64 = 300_000;

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
