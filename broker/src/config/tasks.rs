//! `[tasks]`: the numbers of the task machine that an operator may want to change.

use std::time::Duration;

use super::setting::settings;

/// Upper edge: a day. An offer or an absence that lasts longer is not one.
const DAY: u64 = 24 * 60 * 60 * 1000;

settings! {
    config => config.tasks, keys "tasks.";
    /// The numbers of the task machine that an operator may want to change.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tasks {
        /// How long an agent may look at an offer. 10 s: a program answers in milliseconds, so
        /// only one that hangs uses it up.
        "offer_ms" offer: Duration = Duration::from_millis(10_000), in 1..=DAY;
        /// How long the leases of an agent outlive its connection. 15 s: a dropped connection and
        /// the first few attempts to reconnect.
        "grace_ms" grace: Duration = Duration::from_millis(15_000), in 0..=DAY;
        /// How long every lease lasts at least after a restart of the broker. 30 s: all agents
        /// reconnect at once, and none did anything wrong.
        "restart_grace_ms" restart_grace: Duration = Duration::from_millis(30_000), in 0..=DAY;
        /// Open tasks that one queue may hold. A million: each takes some 0.4 kB of memory, so a
        /// runaway submitter is stopped well before the process is.
        "open_tasks_max" open_tasks_max: usize = 1_000_000, in 1..=100_000_000;
    }
}
