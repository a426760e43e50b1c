//! Whether all is well, in words: the conditions of the contract's 5.2, and those of the tables.

use super::rules::rises;
use super::{Facts, Outcomes};
use crate::core::command::{StoreView, TaskId};

/// Samples in a row that may not rise.
const GROWING_SAMPLES: usize = 3;
/// Failures among the attempts of an hour beyond which it is critical, in per cent.
const FAILURE_PCT_MAX: f64 = 50.0;
/// Wrong frames of an hour that are nothing to worry about.
const MISTAKES_MAX: u64 = 50;
/// A backup older than this is stale. Two days, as in the hub.
pub(super) const STALE_MS: u64 = 48 * HOUR_MS;
/// More of a table should not be useless. Half, as in the hub.
const FRAGMENTATION_MAX: f64 = 0.5;
const HOUR_MS: u64 = 3_600_000;

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

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.is_critical && self.conditions.is_empty()
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

/// What is not well about the tables.
#[derive(Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// The newest backup is too old, or there is none.
    pub is_stale: bool,
    /// Tables of which too much is useless.
    pub fragmented: Vec<&'static str>,
    /// Hours since the newest backup.
    pub backup_hours: Option<u64>,
}

impl StoreHealth {
    /// How the tables of `view` are at `now_ms` (wall clock).
    #[must_use]
    pub fn of(view: &StoreView, now_ms: u64) -> StoreHealth {
        let age_ms = view.backup_ms.map(|backup_ms| now_ms.saturating_sub(backup_ms));
        let fragmented = view.tables.iter().filter(|table| table.fragmentation > FRAGMENTATION_MAX);
        StoreHealth {
            is_stale: age_ms.is_none_or(|age_ms| age_ms > STALE_MS),
            fragmented: fragmented.map(|table| table.size.table).collect(),
            backup_hours: age_ms.map(|age_ms| age_ms / HOUR_MS),
        }
    }

    /// In one word of the hub.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.is_stale, !self.fragmented.is_empty()) {
            (false, false) => "healthy",
            (true, true) => "unhealthy",
            _ => "warning",
        }
    }

    /// The sentences of the hub for it.
    #[must_use]
    pub fn conditions(&self) -> Vec<String> {
        let stale = self.is_stale.then(|| match self.backup_hours {
            None => "DETS backup: never run".to_owned(),
            Some(hours) => format!("DETS backup stale: last backup {hours}h ago"),
        });
        let tables = self.fragmented.join(", ");
        let fragmented = format!("DETS fragmentation >50%: {tables}");
        stale.into_iter().chain((!tables.is_empty()).then_some(fragmented)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Levels;
    use super::*;
    use crate::core::command::{TableHealth, TableView};

    #[test]
    fn everything_that_is_not_well_is_said() {
        let facts = Facts {
            now_ms: 0,
            depths: vec![1, 1, 2, 3],
            of_hour: Outcomes { completed: 1, failed: 1, dead: 1 },
            failed_of_minute: 0,
            departures_of_hour: 0,
            stuck: vec![TaskId(10)],
            agents_here: 0,
            agents_known: 2,
            levels: Levels::default(),
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

    #[track_caller]
    fn check(backup_ms: Option<u64>, fragmentation: f64, expected: &[&str]) {
        let size = TableView { table: "task_queue", records: 1, bytes: 1 };
        let tables = vec![TableHealth { size, fragmentation }];
        let view = StoreView { tables, backup_ms, compactions: Vec::new() };
        assert_eq!(StoreHealth::of(&view, 100 * HOUR_MS).conditions(), expected);
    }

    #[test]
    fn what_is_not_well_is_said_at_the_edges_of_the_hub() {
        check(None, 0.0, &["DETS backup: never run"]);
        check(Some(52 * HOUR_MS), 0.5, &[]);
        check(Some(52 * HOUR_MS - 1), 0.0, &["DETS backup stale: last backup 48h ago"]);
        check(Some(100 * HOUR_MS), 0.51, &["DETS fragmentation >50%: task_queue"]);
    }
}
