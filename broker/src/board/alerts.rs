//! Alerts: what is wrong, since when, and whether somebody knows. The rules of the contract's 8.5.
//!
//! ```text
//! quiet --(the condition holds)--> active --(acknowledged)--> known
//!   ^                                |                          |
//!   +-------(a check finds it gone)--+--------------------------+
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::{Facts, Outcomes};
use crate::core::command::TaskId;

/// Checks in a row that must find the queue calm before its alert is over: a queue that grows in
/// steps is one alert and not many.
const CALM_CHECKS: u32 = 3;

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
    /// Too many attempts fail.
    HighErrorRate,
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
    pub const ALL: [Rule; 5] = [
        Rule::QueueGrowing,
        Rule::HighFailureRate,
        Rule::StuckTasks,
        Rule::NoAgentsOnline,
        Rule::HighErrorRate,
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
            Rule::StuckTasks | Rule::NoAgentsOnline => Severity::Critical,
            Rule::QueueGrowing | Rule::HighFailureRate | Rule::HighErrorRate => Severity::Warning,
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

/// When a rule finds something. What is not set has the contract's value.
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
    /// How long an active alert that nobody acknowledged is not repeated, in milliseconds.
    pub cooldowns_ms: BTreeMap<Rule, u64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        let cooldowns_ms = [
            (Rule::QueueGrowing, 300_000),
            (Rule::HighFailureRate, 600_000),
            (Rule::StuckTasks, 0),
            (Rule::NoAgentsOnline, 0),
            (Rule::HighErrorRate, 300_000),
        ];
        Thresholds {
            check_interval_ms: 30_000,
            queue_growing_checks: 3,
            failure_rate_pct: 50.0,
            stuck_task_ms: 300_000,
            error_count_hour: 10,
            cooldowns_ms: cooldowns_ms.into(),
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
    HighErrorRate {
        /// Attempts of the last hour that failed.
        failed: u64,
        /// As many are allowed.
        max: u64,
    },
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
            Finding::HighErrorRate { failed, max } => {
                write!(f, "{failed} attempts failed in the last hour; {max} are allowed")
            }
        }
    }
}

/// An alert that is not over.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Of which rule.
    pub rule: Rule,
    /// What the newest check found.
    pub finding: Finding,
    /// When it fired first; wall clock.
    pub fired_ms: u64,
    /// Somebody knows.
    pub is_acknowledged: bool,
}

/// What a check changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An alert fired, for the first time or again.
    Fired(Alert),
    /// It is over.
    Cleared(Rule),
}

#[derive(Debug)]
struct Active {
    alert: Alert,
    /// When it fired last.
    repeated_ms: u64,
    calm_checks: u32,
}

/// All alerts that are not over.
#[derive(Debug, Default)]
pub struct Alerts(BTreeMap<Rule, Active>);

impl Alerts {
    /// Look at every rule. Gives what changed, in the order of the rules.
    pub(super) fn check(&mut self, facts: &Facts, thresholds: &Thresholds) -> Vec<Change> {
        let look = |rule| self.look(rule, facts, thresholds);
        Rule::ALL.into_iter().filter_map(look).collect()
    }

    fn look(&mut self, rule: Rule, facts: &Facts, thresholds: &Thresholds) -> Option<Change> {
        let now_ms = facts.now_ms;
        let Some(finding) = find(rule, facts, thresholds) else {
            let active = self.0.get_mut(&rule)?;
            active.calm_checks += 1;
            if rule == Rule::QueueGrowing && active.calm_checks < CALM_CHECKS {
                return None;
            }
            self.0.remove(&rule);
            return Some(Change::Cleared(rule));
        };
        let Some(active) = self.0.get_mut(&rule) else {
            let alert = Alert { rule, finding, fired_ms: now_ms, is_acknowledged: false };
            let active = Active { alert: alert.clone(), repeated_ms: now_ms, calm_checks: 0 };
            self.0.insert(rule, active);
            return Some(Change::Fired(alert));
        };
        active.calm_checks = 0;
        active.alert.finding = finding;
        let cooldown_ms = thresholds.cooldowns_ms.get(&rule).copied().unwrap_or(0);
        let is_due = now_ms.saturating_sub(active.repeated_ms) >= cooldown_ms;
        if active.alert.is_acknowledged || !is_due {
            return None;
        }
        active.repeated_ms = now_ms;
        Some(Change::Fired(active.alert.clone()))
    }

    /// Somebody knows. Gives whether there is such an alert.
    pub fn acknowledge(&mut self, rule: Rule) -> bool {
        let active = self.0.get_mut(&rule);
        active.map(|active| active.alert.is_acknowledged = true).is_some()
    }

    /// All of them, in the order of the rules.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.0.values().map(|active| &active.alert)
    }
}

fn find(rule: Rule, facts: &Facts, thresholds: &Thresholds) -> Option<Finding> {
    match rule {
        Rule::QueueGrowing => {
            let steps = thresholds.queue_growing_checks.max(1);
            let depth = facts.depths.last().copied()?;
            rises(&facts.depths, steps).then_some(Finding::QueueGrowing { steps, depth })
        }
        Rule::HighFailureRate => {
            let outcomes = facts.of_hour;
            let is_high = outcomes.failure_pct() > thresholds.failure_rate_pct;
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
            let (failed, max) = (facts.of_hour.failed, thresholds.error_count_hour);
            (failed > max).then_some(Finding::HighErrorRate { failed, max })
        }
    }
}

/// Whether each of the last `steps` steps went up.
pub(super) fn rises(depths: &[u64], steps: usize) -> bool {
    let last = depths.len().checked_sub(steps + 1).map(|start| &depths[start..]);
    last.is_some_and(|last| last.windows(2).all(|pair| pair[0] < pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            now_ms: 1_000_000,
            depths: Vec::new(),
            of_hour: Outcomes::default(),
            stuck: Vec::new(),
            agents_here: 1,
            agents_known: 1,
        }
    }

    fn names(changes: &[Change]) -> Vec<String> {
        let name = |change: &Change| match change {
            Change::Fired(alert) => format!("+{}", alert.rule.as_str()),
            Change::Cleared(rule) => format!("-{}", rule.as_str()),
        };
        changes.iter().map(name).collect()
    }

    /// What a check of `facts` so much later finds.
    fn check(alerts: &mut Alerts, facts: &Facts, later_ms: u64) -> Vec<String> {
        let facts = Facts { now_ms: facts.now_ms + later_ms, ..facts.clone() };
        names(&alerts.check(&facts, &Thresholds::default()))
    }

    #[test]
    fn every_rule_fires_beyond_its_threshold_and_not_at_it() {
        let outcomes = |completed, failed, dead| Outcomes { completed, failed, dead };
        for (bad, good, rule) in [
            (
                Facts { depths: vec![9, 1, 2, 3, 4], ..facts() },
                Facts { depths: vec![1, 2, 3, 3], ..facts() },
                Rule::QueueGrowing,
            ),
            (
                Facts { of_hour: outcomes(4, 4, 1), ..facts() },
                Facts { of_hour: outcomes(4, 4, 0), ..facts() },
                Rule::HighFailureRate,
            ),
            (Facts { stuck: vec![TaskId(7)], ..facts() }, facts(), Rule::StuckTasks),
            (
                Facts { agents_here: 0, ..facts() },
                Facts { agents_here: 0, agents_known: 0, ..facts() },
                Rule::NoAgentsOnline,
            ),
            (
                Facts { of_hour: outcomes(20, 11, 0), ..facts() },
                Facts { of_hour: outcomes(20, 10, 0), ..facts() },
                Rule::HighErrorRate,
            ),
        ] {
            let mut alerts = Alerts::default();
            assert_eq!(check(&mut alerts, &good, 0), [""; 0], "{rule:?}");
            assert_eq!(check(&mut alerts, &bad, 0), [format!("+{}", rule.as_str())]);
            assert_eq!(Rule::parse(rule.as_str()), Some(rule));
        }
        let few = Facts { depths: vec![1, 2, 3], ..facts() };
        assert_eq!(check(&mut Alerts::default(), &few, 0), [""; 0], "too few samples");
    }

    #[test]
    fn a_warning_repeats_after_its_cooldown_a_critical_one_always() {
        let mut alerts = Alerts::default();
        let bad = Outcomes { completed: 100, failed: 50, dead: 0 };
        let bad = Facts { of_hour: bad, agents_here: 0, ..facts() };
        assert_eq!(check(&mut alerts, &bad, 0), ["+no_agents_online", "+high_error_rate"]);
        assert_eq!(check(&mut alerts, &bad, 299_999), ["+no_agents_online"]);
        assert_eq!(check(&mut alerts, &bad, 300_000), ["+no_agents_online", "+high_error_rate"]);
        assert_eq!(check(&mut alerts, &bad, 300_001), ["+no_agents_online"]);
        let fired: Vec<u64> = alerts.iter().map(|alert| alert.fired_ms).collect();
        assert_eq!(fired, [1_000_000, 1_000_000], "it says since when");
    }

    #[test]
    fn whoever_knows_is_not_told_again_until_it_is_over() {
        let mut alerts = Alerts::default();
        assert!(!alerts.acknowledge(Rule::NoAgentsOnline));
        let bad = Facts { agents_here: 0, ..facts() };
        check(&mut alerts, &bad, 0);
        assert!(alerts.acknowledge(Rule::NoAgentsOnline));
        assert_eq!(check(&mut alerts, &bad, 1), [""; 0]);
        assert_eq!(check(&mut alerts, &facts(), 2), ["-no_agents_online"]);
        assert_eq!(check(&mut alerts, &facts(), 3), [""; 0]);
        assert_eq!(check(&mut alerts, &bad, 4), ["+no_agents_online"]);
        assert!(alerts.iter().all(|alert| !alert.is_acknowledged));
    }

    #[test]
    fn a_queue_is_calm_after_three_checks_in_a_row() {
        let mut alerts = Alerts::default();
        let (grows, calm) = (Facts { depths: vec![1, 2, 3, 4], ..facts() }, facts());
        assert_eq!(check(&mut alerts, &grows, 0), ["+queue_growing"]);
        for facts in [&calm, &calm, &grows, &calm, &calm] {
            assert_eq!(check(&mut alerts, facts, 1), [""; 0]);
        }
        assert_eq!(check(&mut alerts, &calm, 1), ["-queue_growing"]);
    }
}
