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
    /// At most so many that have this limit are held at once, such as repo:1
    #[arg(long = "limit", value_delimiter = ',', value_name = "NAME:HELD", value_parser = pair)]
    limits: Vec<(String, u32)>,
    /// At most so many that have this rate are handed out in a time, such as api:60/1m
    #[arg(long = "rate", value_delimiter = ',', value_name = "NAME:TASKS/TIME", value_parser = rate)]
    rates: Vec<(String, u32, Duration)>,
    /// Something about the body, such as Content-Type:text/plain; may be given several times
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
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
        let Submission { priority, attempts, delay, limits, rates, headers, key, .. } = self;
        let Submission { dedup, dedup_mode, dedup_for, .. } = self;
        for (name, leases) in limits {
            task = task.limit(name, leases);
        }
        for (name, tasks, per) in rates {
            task = task.rate(name, tasks, per);
        }
        for (name, value) in headers {
            task = task.header(name, value);
        }
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

/// `gpu:2`
pub(crate) fn pair(text: &str) -> Result<(String, u32), String> {
    let pair = text.split_once(':').and_then(|(name, number)| {
        Some((name.to_owned(), number.parse().ok().filter(|number| *number > 0)?))
    });
    pair.ok_or_else(|| format!("{text:?} is no name with a number behind it, such as gpu:2"))
}

/// `api:60/1m`
fn rate(text: &str) -> Result<(String, u32, Duration), String> {
    let rate = text.split_once(':').and_then(|(name, rate)| {
        let (tasks, per) = rate.split_once('/')?;
        Some((name.to_owned(), tasks.parse().ok()?, duration::parse(per).ok()?))
    });
    rate.ok_or_else(|| format!("{text:?} is no name:tasks/time, such as api:60/1m"))
}

/// `Content-Type:text/plain`
fn header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    pair.ok_or_else(|| format!("{text:?} is no name:value"))
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
