//! Alerts: what is wrong, since when, and whether somebody knows.
//!
//! ```text
//! quiet --(the condition holds)--> active --(acknowledged)--> known
//!   ^                                |                          |
//!   +-------(a check finds it gone)--+--------------------------+
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::Facts;
use super::rules::{Finding, Rule, Thresholds, find};

/// Alerts that are over and remembered; the newest ones. 200: some days of a broker that is not
/// well, and 100 kB.
const PAST_MAX: usize = 200;

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

/// An alert that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct PastAlert {
    /// As it was.
    pub alert: Alert,
    /// When a check found it gone; wall clock.
    pub cleared_ms: u64,
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

/// All alerts: those that are not over, and the newest of those that are.
#[derive(Debug, Default)]
pub struct Alerts {
    active: BTreeMap<Rule, Active>,
    /// Newest first.
    past: VecDeque<PastAlert>,
}

impl Alerts {
    /// Look at every rule. Gives what changed, in the order of the rules.
    pub(super) fn check(&mut self, facts: &Facts, thresholds: &Thresholds) -> Vec<Change> {
        let look = |rule| self.look(rule, facts, thresholds);
        Rule::ALL.into_iter().filter_map(look).collect()
    }

    fn look(&mut self, rule: Rule, facts: &Facts, thresholds: &Thresholds) -> Option<Change> {
        let now_ms = facts.now_ms;
        let is_active = self.active.contains_key(&rule);
        let Some(finding) = find(rule, facts, thresholds, is_active) else {
            let active = self.active.get_mut(&rule)?;
            active.calm_checks += 1;
            if active.calm_checks < rule.calm_checks() {
                return None;
            }
            let over = self.active.remove(&rule)?;
            self.past.truncate(PAST_MAX - 1);
            self.past.push_front(PastAlert { alert: over.alert, cleared_ms: now_ms });
            return Some(Change::Cleared(rule));
        };
        let Some(active) = self.active.get_mut(&rule) else {
            let alert = Alert { rule, finding, fired_ms: now_ms, is_acknowledged: false };
            let active = Active { alert: alert.clone(), repeated_ms: now_ms, calm_checks: 0 };
            self.active.insert(rule, active);
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
        let active = self.active.get_mut(&rule);
        active.map(|active| active.alert.is_acknowledged = true).is_some()
    }

    /// Those that are not over, in the order of the rules.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.active.values().map(|active| &active.alert)
    }

    /// Those that are over, the newest first; at most 200.
    pub fn past(&self) -> impl Iterator<Item = &PastAlert> {
        self.past.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DiskLevel, Levels, Outcomes};
    use super::*;
    use crate::core::command::TaskId;

    fn facts() -> Facts {
        Facts {
            now_ms: 1_000_000,
            depths: Vec::new(),
            of_hour: Outcomes::default(),
            failed_of_minute: 0,
            departures_of_hour: 0,
            stuck: Vec::new(),
            agents_here: 1,
            agents_known: 1,
            levels: Levels::default(),
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

    /// The three points of every rule: facts that are just good, just bad, and good enough to end
    /// an alert.
    fn points() -> Vec<(Rule, [Facts; 3])> {
        let outcomes = |completed, failed, dead| Outcomes { completed, failed, dead };
        let hour = |of_hour| Facts { of_hour, ..facts() };
        let levels = |levels| Facts { levels, ..facts() };
        let table = |bytes| {
            levels(Levels { largest_table: Some(("task_queue", bytes)), ..Levels::default() })
        };
        let dead = |dead| levels(Levels { dead, ..Levels::default() });
        let queued = |queued| levels(Levels { queued, ..Levels::default() });
        let disk = |used_pct, is_scarce| {
            let disk = DiskLevel { free_bytes: 1, used_pct, is_scarce };
            levels(Levels { disk: Some(disk), ..Levels::default() })
        };
        let depths = |depths: &[u64]| Facts { depths: depths.into(), ..facts() };
        let backup = |age_ms: u64| Facts {
            now_ms: 1_000_000 + age_ms,
            levels: Levels { backup_due_from_ms: Some(1_000_000), ..Levels::default() },
            ..facts()
        };
        let here = |agents_here, agents_known| Facts { agents_here, agents_known, ..facts() };
        let two_days = 48 * 3_600_000;
        let burst = |failed_of_minute| Facts { failed_of_minute, ..facts() };
        let gone = |departures_of_hour| Facts { departures_of_hour, ..facts() };
        vec![
            (
                Rule::QueueGrowing,
                [depths(&[1, 2, 3, 3]), depths(&[9, 1, 2, 3, 4]), depths(&[1, 2, 3])],
            ),
            (
                Rule::HighFailureRate,
                [hour(outcomes(10, 9, 1)), hour(outcomes(10, 9, 2)), hour(outcomes(55, 9, 36))],
            ),
            (Rule::StuckTasks, [facts(), Facts { stuck: vec![TaskId(7)], ..facts() }, facts()]),
            (Rule::NoAgentsOnline, [here(0, 0), here(0, 1), here(1, 1)]),
            (
                Rule::HighErrorRate,
                [hour(outcomes(20, 10, 0)), hour(outcomes(20, 11, 0)), hour(outcomes(20, 9, 0))],
            ),
            (Rule::TableSize, [table(100_000_000), table(100_000_001), table(90_000_000)]),
            (Rule::DeadLetters, [dead(10), dead(11), dead(9)]),
            (Rule::QueueBacklog, [queued(50), queued(51), queued(45)]),
            (Rule::ErrorBurst, [burst(20), burst(21), burst(18)]),
            (Rule::AgentDisconnects, [gone(10), gone(11), gone(9)]),
            (Rule::BackupStale, [backup(two_days), backup(two_days + 1), backup(0)]),
            (Rule::DiskFilling, [disk(85.0, false), disk(85.1, false), disk(76.5, false)]),
            (Rule::DiskScarce, [disk(0.0, false), disk(0.0, true), disk(0.0, false)]),
        ]
    }

    #[test]
    fn every_rule_fires_beyond_its_threshold_and_not_at_it() {
        let rules: Vec<Rule> = points().iter().map(|(rule, _)| *rule).collect();
        assert_eq!(rules, Rule::ALL);
        for (rule, [good, bad, _]) in points() {
            let mut alerts = Alerts::default();
            assert_eq!(check(&mut alerts, &good, 0), [""; 0], "{rule:?}");
            assert_eq!(check(&mut alerts, &bad, 0), [format!("+{}", rule.as_str())]);
            assert_eq!(Rule::parse(rule.as_str()), Some(rule));
        }
    }

    #[test]
    fn what_is_active_ends_at_a_tenth_less_than_allowed() {
        for (rule, [good, bad, calm]) in points() {
            let mut alerts = Alerts::default();
            check(&mut alerts, &bad, 0);
            let is_level = matches!(
                rule,
                Rule::HighFailureRate
                    | Rule::HighErrorRate
                    | Rule::TableSize
                    | Rule::DeadLetters
                    | Rule::QueueBacklog
                    | Rule::ErrorBurst
                    | Rule::AgentDisconnects
                    | Rule::DiskFilling
            );
            if is_level {
                assert_eq!(check(&mut alerts, &good, 1), [""; 0], "{rule:?} flaps");
            }
            for _ in 1..rule.calm_checks() {
                assert_eq!(check(&mut alerts, &calm, 1), [""; 0]);
            }
            assert_eq!(check(&mut alerts, &calm, 1), [format!("-{}", rule.as_str())]);
        }
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
        let fired: Vec<u64> = alerts.active().map(|alert| alert.fired_ms).collect();
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
        assert!(alerts.active().all(|alert| !alert.is_acknowledged));
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

    #[test]
    fn what_is_over_is_remembered_newest_first_and_not_for_ever() {
        let mut alerts = Alerts::default();
        let bad = Facts { agents_here: 0, ..facts() };
        for round in 0..=PAST_MAX as u64 {
            check(&mut alerts, &bad, 2 * round);
            alerts.acknowledge(Rule::NoAgentsOnline);
            check(&mut alerts, &facts(), 2 * round + 1);
        }
        let past: Vec<&PastAlert> = alerts.past().collect();
        assert_eq!(past.len(), PAST_MAX);
        let newest = (past[0].alert.fired_ms, past[0].cleared_ms);
        assert_eq!(newest, (1_000_400, 1_000_401));
        assert!(past[0].alert.is_acknowledged);
        assert_eq!(past.last().unwrap().cleared_ms, 1_000_003, "the oldest is forgotten");
    }
}
