//! Whether all is well, in words: the conditions of the contract's 5.2.

use super::alerts::rises;
use super::{Facts, Outcomes};
use crate::core::command::TaskId;

/// Samples in a row that may not rise.
const GROWING_SAMPLES: usize = 3;
/// Failures among the attempts of an hour beyond which it is critical, in per cent.
const FAILURE_PCT_MAX: f64 = 50.0;
/// Wrong frames of an hour that are nothing to worry about.
const MISTAKES_MAX: u64 = 50;

/// How all is, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// One sentence for each thing that is not well.
    pub conditions: Vec<String>,
    /// Whether it cannot wait.
    pub is_critical: bool,
}

impl Health {
    /// In one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.is_critical, self.conditions.is_empty()) {
            (true, _) => "critical",
            (false, false) => "warning",
            (false, true) => "ok",
        }
    }

    /// How all is, if `absent` agents are not here and clients made so many `mistakes` in an hour.
    /// A task is called what `task_name` calls it.
    #[must_use]
    pub fn of(
        facts: &Facts,
        absent: &[&str],
        mistakes: u64,
        task_name: impl Fn(TaskId) -> String,
    ) -> Health {
        let mut health = Health::default();
        let conditions = &mut health.conditions;
        if !absent.is_empty() {
            conditions.push(format!("Agent offline: {}", absent.join(", ")));
        }
        if rises(&facts.depths, GROWING_SAMPLES - 1) {
            let last = &facts.depths[facts.depths.len() - GROWING_SAMPLES..];
            let steps: Vec<String> = last.iter().map(u64::to_string).collect();
            conditions.push(format!("Queue growing: {}", steps.join(" -> ")));
        }
        let Outcomes { completed, failed, dead } = facts.of_hour;
        if facts.of_hour.failure_pct() > FAILURE_PCT_MAX {
            let (bad, total) = (failed + dead, completed + failed + dead);
            conditions.push(format!("High failure rate: {bad}/{total} tasks failed this hour"));
            health.is_critical = true;
        }
        if !facts.stuck.is_empty() {
            let names: Vec<String> = facts.stuck.iter().copied().map(task_name).collect();
            health.conditions.push(format!("Stuck tasks: {}", names.join(", ")));
        }
        if mistakes > MISTAKES_MAX {
            let text = format!("High validation failures: {mistakes} this hour");
            health.conditions.push(text);
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_not_well_is_said() {
        let facts = Facts {
            now_ms: 0,
            depths: vec![1, 1, 2, 3],
            of_hour: Outcomes { completed: 1, failed: 1, dead: 1 },
            stuck: vec![TaskId(10)],
            agents_here: 0,
            agents_known: 2,
        };
        let name = |task: TaskId| format!("t{}", task.0);
        let health = Health::of(&facts, &["ada", "bob"], 51, name);
        assert_eq!(health.as_str(), "critical");
        assert_eq!(
            health.conditions,
            [
                "Agent offline: ada, bob",
                "Queue growing: 1 -> 2 -> 3",
                "High failure rate: 2/3 tasks failed this hour",
                "Stuck tasks: t10",
                "High validation failures: 51 this hour",
            ]
        );
        let (depths, stuck) = (vec![1, 2, 2], Vec::new());
        let calm = Facts { depths, of_hour: Outcomes::default(), stuck, ..facts };
        assert_eq!(Health::of(&calm, &[], 50, name).as_str(), "ok");
        assert_eq!(Health::of(&calm, &["ada"], 0, name).as_str(), "warning");
    }
}
