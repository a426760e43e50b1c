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
        /// How long a holder that is asked to stop may take, unless whoever asks says otherwise.
        /// 30 s: an agent finishes a step and writes down where it stood.
        "cancel_ms" cancel: Duration = Duration::from_millis(30_000), in 0..=DAY;
        /// How long a task may be overtaken by tasks that need less of an agent's capacity; then one
        /// agent keeps room for it. 30 s: most of what runs ends sooner, and keeping room costs.
        "starve_ms" starve: Duration = Duration::from_millis(30_000), in 0..=DAY;
        /// Times that a task may be handed back. 100: handing back costs no attempt, so this is
        /// what ends a task that everybody only passes on.
        "releases_max" releases_max: usize = 100, in 1..=1_000_000;
        /// Open tasks that one queue may hold. Two million: each takes a good 0.1 kB of memory, so
        /// a runaway submitter is stopped well before the process is.
        "queue_tasks_max" queue_tasks_max: usize = 2_000_000, in 1..=100_000_000;
        /// Open tasks of all queues together. Ten million, about 1.5 GB: many queues must not do
        /// what one cannot.
        "open_tasks_max" open_tasks_max: usize = 10_000_000, in 1..=100_000_000;
        /// Answers that may be waited for by AWAIT and TAKE. 65,536: no more connections are
        /// served than that.
        "waiting_max" waiting_max: usize = 65_536, in 1..=1_000_000;
        /// Tasks that one connection may watch. 256: who wants to follow more subscribes to the
        /// events of all.
        "watches_max" watches_max: usize = 256, in 1..=65_536;
    }
}
