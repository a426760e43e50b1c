//! Options that `task submit` and `queue put` share, and how they apply.

use std::time::Duration;

use agentcom_client::{Dedup, Priority, TaskBuilder};

use super::duration;

/// Options of whatever is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Submission {
    /// How urgent it is: urgent, high, normal, low, or 0 to 255, lower first
    #[arg(long, value_parser = priority)]
    priority: Option<Priority>,
    /// How often it may fail before it is dead
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: Option<u32>,
    /// Not before this has passed
    #[arg(long, value_parser = duration::parse)]
    delay: Option<Duration>,
    /// Whose work it is: keys of one queue get even shares
    #[arg(long)]
    key: Option<String>,
    /// A name under which the same work is recognised if it is submitted again
    #[arg(long, value_name = "NAME")]
    dedup: Option<String>,
    /// What happens then
    #[arg(long, value_enum, requires = "dedup", default_value_t = DedupMode::Return)]
    dedup_mode: DedupMode,
    /// How long the name is remembered, or with debounce the silence that is waited for
    #[arg(long, requires = "dedup", value_parser = duration::parse, default_value = "24h")]
    dedup_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DedupMode {
    /// The first one is the answer
    Return,
    /// It fails
    Reject,
    /// The first one gets the new body, while nobody has it
    Replace,
    /// The first one waits until nothing was submitted for a while
    Debounce,
    /// The first one is the answer until it is over
    UntilDone,
    /// The first one is the answer while somebody works on it
    WhileRunning,
}

/// A debounced task waits for so many silences at most.
const DEBOUNCES: u32 = 10;

impl Submission {
    /// `task` with these options.
    pub(crate) fn apply(self, mut task: TaskBuilder) -> TaskBuilder {
        let Submission { priority, attempts, delay, key, dedup, dedup_mode, dedup_for } = self;
        if let Some(priority) = priority {
            task = task.priority(priority);
        }
        if let Some(attempts) = attempts {
            task = task.attempts(attempts);
        }
        if let Some(delay) = delay {
            task = task.delay(delay);
        }
        if let Some(key) = key {
            task = task.key(key);
        }
        if let Some(name) = dedup {
            let mode = match dedup_mode {
                DedupMode::Return => Dedup::Return(dedup_for),
                DedupMode::Reject => Dedup::Reject(dedup_for),
                DedupMode::Replace => Dedup::Replace,
                DedupMode::Debounce => {
                    Dedup::Debounce { delay: dedup_for, max: dedup_for * DEBOUNCES }
                }
                DedupMode::UntilDone => Dedup::UntilDone,
                DedupMode::WhileRunning => Dedup::WhileRunning,
            };
            task = task.dedup(name, mode);
        }
        task
    }
}

fn priority(text: &str) -> Result<Priority, String> {
    match text {
        "urgent" => Ok(Priority::URGENT),
        "high" => Ok(Priority::HIGH),
        "normal" => Ok(Priority::NORMAL),
        "low" => Ok(Priority::LOW),
        _ => text
            .parse()
            .map(Priority)
            .map_err(|_| format!("{text:?} is none of urgent, high, normal, low, 0 to 255")),
    }
}
