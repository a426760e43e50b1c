//! The rules of alerts: what is looked at, from where on it is wrong, and how that is said. Those of
//! the contract's 8.5, those of the seed, and two about the disk.

use std::collections::BTreeMap;
use std::fmt;

use super::{DiskLevel, Facts, Outcomes};
use crate::core::command::TaskId;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Ever more tasks wait.
    QueueGrowing,
    /// Too large a part of the attempts fails.
    HighFailureRate,
    /// Agents have tasks of which nothing was heard for long.
    StuckTasks,
    /// Agents are known, and none is here.
    NoAgentsOnline,
    /// Too many attempts of an hour fail.
    HighErrorRate,
    /// A table is large.
    TableSize,
    /// Many tasks are dead letters.
    DeadLetters,
    /// Many tasks wait.
    QueueBacklog,
    /// Many attempts fail at once.
    ErrorBurst,
    /// Agents lose their connections again and again.
    AgentDisconnects,
    /// There is no backup that is new enough.
    BackupStale,
    /// The disk fills up.
    DiskFilling,
    /// The disk is almost full: nothing new is taken in.
    DiskScarce,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Somebody has to do something.
    Critical,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 13] = [
        Rule::QueueGrowing,
        Rule::HighFailureRate,
        Rule::StuckTasks,
        Rule::NoAgentsOnline,
        Rule::HighErrorRate,
        Rule::TableSize,
        Rule::DeadLetters,
        Rule::QueueBacklog,
        Rule::ErrorBurst,
        Rule::AgentDisconnects,
        Rule::BackupStale,
        Rule::DiskFilling,
        Rule::DiskScarce,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::QueueGrowing => "queue_growing",
            Rule::HighFailureRate => "high_failure_rate",
            Rule::StuckTasks => "stuck_tasks",
            Rule::NoAgentsOnline => "no_agents_online",
            Rule::HighErrorRate => "high_error_rate",
            Rule::TableSize => "table_size",
            Rule::DeadLetters => "dead_letters",
            Rule::QueueBacklog => "queue_backlog",
            Rule::ErrorBurst => "error_burst",
            Rule::AgentDisconnects => "agent_disconnects",
            Rule::BackupStale => "backup_stale",
            Rule::DiskFilling => "disk_filling",
            Rule::DiskScarce => "disk_scarce",
        }
    }

    /// The rule of a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.as_str() == text)
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Rule::StuckTasks | Rule::NoAgentsOnline | Rule::DiskScarce => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    /// Checks in a row that must find nothing before its alert is over: a queue that grows in steps
    /// is one alert and not many.
    pub(super) fn calm_checks(self) -> u32 {
        if self == Rule::QueueGrowing { 3 } else { 1 }
    }

    /// How long its alert is not repeated unless something else was set, in milliseconds.
    fn cooldown_ms(self) -> u64 {
        match self {
            _ if self.severity() == Severity::Critical => 0,
            Rule::HighFailureRate => 10 * MINUTE_MS,
            Rule::TableSize | Rule::BackupStale | Rule::DiskFilling => 60 * MINUTE_MS,
            _ => 5 * MINUTE_MS,
        }
    }
}

impl Severity {
    /// Its word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// When a rule finds something. What is not set has the value of the contract or of the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Time between checks, in milliseconds.
    pub check_interval_ms: u64,
    /// Minutes in a row by the end of which more tasks waited than before.
    pub queue_growing_checks: usize,
    /// Part of the attempts of an hour that may fail, in per cent.
    pub failure_rate_pct: f64,
    /// How long nothing may be heard of a task that an agent has, in milliseconds.
    pub stuck_task_ms: u64,
    /// Attempts of an hour that may fail.
    pub error_count_hour: u64,
    /// Bytes of a table.
    pub table_size_bytes: u64,
    /// Tasks that may be dead letters.
    pub dead_letter_count: u64,
    /// Tasks that may wait.
    pub queued_tasks_count: u64,
    /// Attempts of a minute that may fail.
    pub error_rate_per_minute: u64,
    /// Agents that may go in an hour.
    pub agent_disconnects_per_hour: u64,
    /// Age of the newest backup, in milliseconds.
    pub backup_stale_ms: u64,
    /// How full the disk may be, in per cent.
    pub disk_used_pct: f64,
    /// How long an active alert that nobody acknowledged is not repeated, in milliseconds.
    pub cooldowns_ms: BTreeMap<Rule, u64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            check_interval_ms: 30_000,
            queue_growing_checks: 3,
            failure_rate_pct: 50.0,
            stuck_task_ms: 300_000,
            error_count_hour: 10,
            table_size_bytes: 100_000_000,
            dead_letter_count: 10,
            queued_tasks_count: 50,
            error_rate_per_minute: 20,
            agent_disconnects_per_hour: 10,
            backup_stale_ms: super::health::STALE_MS,
            disk_used_pct: 85.0,
            cooldowns_ms: Rule::ALL.map(|rule| (rule, rule.cooldown_ms())).into(),
        }
    }
}

/// What a rule found. Its text is for people.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Of [`Rule::QueueGrowing`].
    QueueGrowing {
        /// Minutes in a row.
        steps: usize,
        /// Tasks that wait now.
        depth: u64,
    },
    /// Of [`Rule::HighFailureRate`].
    HighFailureRate {
        /// Attempts of the last hour.
        outcomes: Outcomes,
    },
    /// Of [`Rule::StuckTasks`].
    StuckTasks {
        /// Some of them.
        tasks: Vec<TaskId>,
        /// For how long, at least; in milliseconds.
        for_ms: u64,
    },
    /// Of [`Rule::NoAgentsOnline`].
    NoAgentsOnline {
        /// Agents that were here since the start.
        known: usize,
    },
    /// Of [`Rule::HighErrorRate`].
    HighErrorRate(Count),
    /// Of [`Rule::TableSize`].
    TableSize {
        /// The largest one.
        table: &'static str,
        /// Its bytes.
        bytes: Count,
    },
    /// Of [`Rule::DeadLetters`].
    DeadLetters(Count),
    /// Of [`Rule::QueueBacklog`].
    QueueBacklog(Count),
    /// Of [`Rule::ErrorBurst`].
    ErrorBurst(Count),
    /// Of [`Rule::AgentDisconnects`].
    AgentDisconnects(Count),
    /// Of [`Rule::BackupStale`].
    BackupStale {
        /// For how long there was none, in milliseconds.
        age_ms: Count,
    },
    /// Of [`Rule::DiskFilling`].
    DiskFilling {
        /// How full it is, in per cent.
        used_pct: f64,
        /// As much is allowed.
        max_pct: f64,
    },
    /// Of [`Rule::DiskScarce`].
    DiskScarce {
        /// What is left.
        free_bytes: u64,
    },
}

/// How many there are of what should not be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// As many as were found.
    pub found: u64,
    /// As many are allowed.
    pub max: u64,
}

impl Count {
    /// If there are too many. Of what is `active` already there are too many until a tenth less
    /// than allowed is left, so that an alert does not come and go.
    fn beyond(found: u64, max: u64, active: bool) -> Option<Count> {
        let limit = if active { max - max / 10 } else { max };
        (found > limit).then_some(Count { found, max })
    }
}

/// Like [`Count::beyond`], of what is no whole number.
fn is_beyond(found: f64, max: f64, active: bool) -> bool {
    found > if active { max * 0.9 } else { max }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::QueueGrowing { steps, depth } => {
                write!(f, "The queue grew for {steps} minutes in a row; {depth} tasks wait")
            }
            Finding::HighFailureRate { outcomes } => {
                let (pct, failed) = (outcomes.failure_pct(), outcomes.failed + outcomes.dead);
                let total = outcomes.total();
                write!(
                    f,
                    "{pct:.1} % of the attempts of the last hour failed ({failed} of {total})"
                )
            }
            Finding::StuckTasks { tasks, for_ms } => {
                let (count, seconds) = (tasks.len(), for_ms / 1_000);
                write!(f, "{count} assigned tasks were not heard of for more than {seconds} s")
            }
            Finding::NoAgentsOnline { known } => {
                write!(f, "None of the {known} known agents is connected")
            }
            Finding::HighErrorRate(Count { found, max }) => {
                write!(f, "{found} attempts failed in the last hour; {max} are allowed")
            }
            Finding::TableSize { table, bytes: Count { found, max } } => {
                write!(f, "The table {table} has {found} bytes; {max} are expected")
            }
            Finding::DeadLetters(Count { found, max }) => {
                write!(f, "{found} tasks are dead letters; {max} are expected")
            }
            Finding::QueueBacklog(Count { found, max }) => {
                write!(f, "{found} tasks wait; {max} are expected")
            }
            Finding::ErrorBurst(Count { found, max }) => {
                write!(f, "{found} attempts failed in the last minute; {max} are allowed")
            }
            Finding::AgentDisconnects(Count { found, max }) => {
                write!(f, "Agents went {found} times in the last hour; {max} times are expected")
            }
            Finding::BackupStale { age_ms: Count { found, max } } => {
                let (hours, allowed) = (found / HOUR_MS, max / HOUR_MS);
                write!(f, "There was no backup for {hours} hours; {allowed} are allowed")
            }
            Finding::DiskFilling { used_pct, max_pct } => {
                write!(f, "{used_pct:.1} % of the disk are in use; {max_pct:.1} % are expected")
            }
            Finding::DiskScarce { free_bytes } => {
                write!(
                    f,
                    "The disk is almost full, with {free_bytes} bytes free: new tasks and messages are refused"
                )
            }
        }
    }
}

/// What `rule` finds. Its alert may be `active` already.
pub(super) fn find(
    rule: Rule,
    facts: &Facts,
    thresholds: &Thresholds,
    active: bool,
) -> Option<Finding> {
    let levels = &facts.levels;
    match rule {
        Rule::QueueGrowing => {
            let steps = thresholds.queue_growing_checks.max(1);
            let depth = facts.depths.last().copied()?;
            rises(&facts.depths, steps).then_some(Finding::QueueGrowing { steps, depth })
        }
        Rule::HighFailureRate => {
            let outcomes = facts.of_hour;
            let is_high = is_beyond(outcomes.failure_pct(), thresholds.failure_rate_pct, active);
            is_high.then_some(Finding::HighFailureRate { outcomes })
        }
        Rule::StuckTasks => {
            let (tasks, for_ms) = (facts.stuck.clone(), thresholds.stuck_task_ms);
            (!tasks.is_empty()).then_some(Finding::StuckTasks { tasks, for_ms })
        }
        Rule::NoAgentsOnline => {
            let known = facts.agents_known;
            (facts.agents_here == 0 && known > 0).then_some(Finding::NoAgentsOnline { known })
        }
        Rule::HighErrorRate => {
            let count = Count::beyond(facts.of_hour.failed, thresholds.error_count_hour, active);
            count.map(Finding::HighErrorRate)
        }
        Rule::TableSize => {
            let (table, bytes) = levels.largest_table?;
            let bytes = Count::beyond(bytes, thresholds.table_size_bytes, active);
            bytes.map(|bytes| Finding::TableSize { table, bytes })
        }
        Rule::DeadLetters => {
            let count = Count::beyond(levels.dead, thresholds.dead_letter_count, active);
            count.map(Finding::DeadLetters)
        }
        Rule::QueueBacklog => {
            let count = Count::beyond(levels.queued, thresholds.queued_tasks_count, active);
            count.map(Finding::QueueBacklog)
        }
        Rule::ErrorBurst => {
            let max = thresholds.error_rate_per_minute;
            Count::beyond(facts.failed_of_minute, max, active).map(Finding::ErrorBurst)
        }
        Rule::AgentDisconnects => {
            let max = thresholds.agent_disconnects_per_hour;
            Count::beyond(facts.departures_of_hour, max, active).map(Finding::AgentDisconnects)
        }
        Rule::BackupStale => {
            let age_ms = facts.now_ms.saturating_sub(levels.backup_due_from_ms?);
            // Age only grows, and a new backup ends it: nothing comes and goes.
            let age_ms = Count::beyond(age_ms, thresholds.backup_stale_ms, false);
            age_ms.map(|age_ms| Finding::BackupStale { age_ms })
        }
        Rule::DiskFilling => {
            let (used_pct, max_pct) = (levels.disk?.used_pct, thresholds.disk_used_pct);
            let is_filling = is_beyond(used_pct, max_pct, active);
            is_filling.then_some(Finding::DiskFilling { used_pct, max_pct })
        }
        Rule::DiskScarce => {
            let DiskLevel { free_bytes, is_scarce, .. } = levels.disk?;
            is_scarce.then_some(Finding::DiskScarce { free_bytes })
        }
    }
}

/// Whether each of the last `steps` steps went up.
pub(super) fn rises(depths: &[u64], steps: usize) -> bool {
    let last = depths.len().checked_sub(steps + 1).map(|start| &depths[start..]);
    last.is_some_and(|last| last.windows(2).all(|pair| pair[0] < pair[1]))
}
