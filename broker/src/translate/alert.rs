//! Alerts and their thresholds, as JSON: the shapes of the contract's 8.5.

use serde_json::{Map, Value, json};

use crate::board::alerts::{Alert, Change, PastAlert};
use crate::board::rules::{Count, Finding, Thresholds};
use crate::core::command::TaskId;

/// How a door calls a task.
pub type TaskName<'a> = &'a dyn Fn(TaskId) -> Value;

/// An alert; `task_name` is how the door calls a task.
#[must_use]
pub fn alert(alert: &Alert, task_name: TaskName<'_>) -> Value {
    let details = match &alert.finding {
        Finding::QueueGrowing { steps, depth } => {
            json!({"consecutive_increases": steps, "current_depth": depth})
        }
        Finding::HighFailureRate { outcomes } => json!({
            "failure_rate_pct": tenths(outcomes.failure_pct()),
            "failed": outcomes.failed + outcomes.dead,
            "total_tasks": outcomes.total(),
        }),
        Finding::StuckTasks { tasks, for_ms } => {
            let task_ids: Vec<Value> = tasks.iter().copied().map(task_name).collect();
            json!({"task_ids": task_ids, "stuck_duration_ms": for_ms})
        }
        Finding::NoAgentsOnline { known } => json!({"total_agents": known}),
        Finding::HighErrorRate(Count { found, max })
        | Finding::ErrorBurst(Count { found, max }) => json!({"failed": found, "threshold": max}),
        Finding::TableSize { table, bytes: Count { found, max } } => {
            json!({"table": table, "file_size_bytes": found, "threshold": max})
        }
        Finding::DeadLetters(Count { found, max }) => {
            json!({"dead_letter": found, "threshold": max})
        }
        Finding::QueueBacklog(Count { found, max }) => {
            json!({"current_depth": found, "threshold": max})
        }
        Finding::AgentDisconnects(Count { found, max }) => {
            json!({"disconnects": found, "threshold": max})
        }
        Finding::BackupStale { age_ms: Count { found, max } } => {
            json!({"age_ms": found, "threshold": max})
        }
        Finding::DiskFilling { used_pct, max_pct } => {
            json!({"used_pct": tenths(*used_pct), "threshold": max_pct})
        }
        Finding::DiskScarce { free_bytes } => json!({"free_bytes": free_bytes}),
    };
    json!({
        "rule_id": alert.rule.as_str(),
        "severity": alert.rule.severity().as_str(),
        "message": alert.finding.to_string(),
        "details": details,
        "fired_at": alert.fired_ms,
        "acknowledged": alert.is_acknowledged,
    })
}

/// An alert that is over.
#[must_use]
pub fn past(past: &PastAlert, task_name: TaskName<'_>) -> Value {
    let mut value = alert(&past.alert, task_name);
    value["cleared_at"] = past.cleared_ms.into();
    value
}

/// What a check changed, as an event.
#[must_use]
pub fn change(change: &Change, task_name: TaskName<'_>) -> Value {
    match change {
        Change::Fired(fired) => json!({"type": "alert_fired", "data": alert(fired, task_name)}),
        Change::Cleared(rule) => json!({"type": "alert_cleared", "rule_id": rule.as_str()}),
    }
}

/// A share with one decimal.
#[must_use]
pub fn tenths(share: f64) -> f64 {
    (share * 10.0).round() / 10.0
}

/// All thresholds.
#[must_use]
pub fn thresholds_json(thresholds: &Thresholds) -> Value {
    let cooldowns: Map<String, Value> = thresholds
        .cooldowns_ms
        .iter()
        .map(|(rule, ms)| (rule.as_str().to_owned(), (*ms).into()))
        .collect();
    json!({
        "check_interval_ms": thresholds.check_interval_ms,
        "queue_growing_checks": thresholds.queue_growing_checks,
        "failure_rate_pct": thresholds.failure_rate_pct,
        "stuck_task_ms": thresholds.stuck_task_ms,
        "error_count_hour": thresholds.error_count_hour,
        "table_size_bytes": thresholds.table_size_bytes,
        "dead_letter_count": thresholds.dead_letter_count,
        "queued_tasks_count": thresholds.queued_tasks_count,
        "error_rate_per_minute": thresholds.error_rate_per_minute,
        "agent_disconnects_per_hour": thresholds.agent_disconnects_per_hour,
        "backup_stale_ms": thresholds.backup_stale_ms,
        "disk_used_pct": thresholds.disk_used_pct,
        "cooldowns": cooldowns,
    })
}

/// The thresholds that were set, and the defaults for what is not set or makes no sense.
#[must_use]
pub fn thresholds(set: &Value) -> Thresholds {
    let mut thresholds = Thresholds::default();
    let number = |key: &str| set.get(key).and_then(Value::as_u64);
    if let Some(checks) = number("queue_growing_checks") {
        thresholds.queue_growing_checks = usize::try_from(checks).unwrap_or(usize::MAX);
    }
    for (key, threshold) in [
        ("check_interval_ms", &mut thresholds.check_interval_ms),
        ("stuck_task_ms", &mut thresholds.stuck_task_ms),
        ("error_count_hour", &mut thresholds.error_count_hour),
        ("table_size_bytes", &mut thresholds.table_size_bytes),
        ("dead_letter_count", &mut thresholds.dead_letter_count),
        ("queued_tasks_count", &mut thresholds.queued_tasks_count),
        ("error_rate_per_minute", &mut thresholds.error_rate_per_minute),
        ("agent_disconnects_per_hour", &mut thresholds.agent_disconnects_per_hour),
        ("backup_stale_ms", &mut thresholds.backup_stale_ms),
    ] {
        *threshold = number(key).unwrap_or(*threshold);
    }
    for (key, threshold) in [
        ("failure_rate_pct", &mut thresholds.failure_rate_pct),
        ("disk_used_pct", &mut thresholds.disk_used_pct),
    ] {
        *threshold = set.get(key).and_then(Value::as_f64).unwrap_or(*threshold);
    }
    for (rule, cooldown_ms) in &mut thresholds.cooldowns_ms {
        let set = set.get("cooldowns").and_then(|cooldowns| cooldowns.get(rule.as_str()));
        if let Some(ms) = set.and_then(Value::as_u64) {
            *cooldown_ms = ms;
        }
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::rules::Rule;

    #[test]
    fn what_is_not_set_has_its_default_and_all_of_it_is_read_again() {
        let set = json!({"error_count_hour": 3, "disk_used_pct": 90, "dead_letter_count": 0, "failure_rate_pct": 12.5, "stuck_task_ms": "x",
            "cooldowns": {"high_error_rate": 1, "unknown": 2}, "other": null});
        let read = thresholds(&set);
        let default = Thresholds::default();
        assert_eq!((read.error_count_hour, read.failure_rate_pct), (3, 12.5));
        assert_eq!((read.dead_letter_count, read.disk_used_pct), (0, 90.0));
        assert_eq!(read.stuck_task_ms, default.stuck_task_ms);
        assert_eq!(read.cooldowns_ms[&Rule::HighErrorRate], 1);
        assert_eq!(read.cooldowns_ms[&Rule::QueueGrowing], 300_000);
        assert_eq!(thresholds(&thresholds_json(&read)), read);
        assert_eq!(thresholds(&json!([1])), default);
    }
}
