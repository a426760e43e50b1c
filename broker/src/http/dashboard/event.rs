//! What happened, as frames of the dashboard: the contract's 5.1.

use serde_json::{Value, json};

use crate::board::{Step, Stepped};
use crate::core::command::PresenceEvent;
use crate::http::handlers::unix_ms;
use crate::http::{alerts, task_view, upkeep};
use crate::lookout::Sight;
use crate::translate::{alert, message};
use crate::upkeep::Notice;

/// The events for a sight; one completion is two: the agent's word, and the queue's.
pub(super) fn events(sight: &Sight) -> Vec<Value> {
    match sight {
        Sight::Task(stepped, _) => task(stepped),
        Sight::Presence(PresenceEvent::Joined(view)) => {
            let agent = message::agent(view);
            vec![json!({"type": "agent_joined", "agent_id": agent["agent_id"],
                "name": agent["name"], "capabilities": agent["capabilities"]})]
        }
        Sight::Presence(PresenceEvent::Changed(view)) => {
            let status = view.profile.status.as_deref();
            vec![json!({"type": "status_changed", "agent_id": view.agent.as_str(),
                "status": status})]
        }
        Sight::Presence(PresenceEvent::Left(agent)) => {
            vec![json!({"type": "agent_left", "agent_id": agent.as_str()})]
        }
        Sight::Alert(change) => vec![alert::change(change, &alerts::task_name)],
        Sight::Upkeep(notice) => upkept(notice).into_iter().collect(),
        Sight::Acknowledged(rule) => {
            vec![json!({"type": "alert_acknowledged", "rule_id": rule.as_str()})]
        }
    }
}

fn upkept(notice: &Notice) -> Option<Value> {
    match notice {
        Notice::BackedUp(view) => {
            let tables: Vec<&str> = view.tables.iter().map(|table| table.table).collect();
            Some(json!({"type": "backup_complete", "timestamp": unix_ms(),
                "tables_backed_up": tables}))
        }
        Notice::Compacted(run) => {
            let mut frame = upkeep::compaction(run);
            frame["type"] = "compaction_complete".into();
            Some(frame)
        }
        Notice::CompactionFailed(reason) => {
            let (table, reason) = reason.split_once(": ").unwrap_or(("", reason));
            Some(json!({"type": "compaction_failed", "timestamp": unix_ms(),
                "failures": [{"table": table, "reason": reason}]}))
        }
        Notice::Backup(_) | Notice::BackupFailed(_) | Notice::Room(_) => None,
    }
}

fn task(stepped: &Stepped) -> Vec<Value> {
    let agent = stepped.agent.as_ref().map(|agent| agent.as_str());
    let event = |word: &str, agent: Option<&str>| {
        json!({"type": "task_event", "task_id": task_view::legacy_id(stepped.task),
            "event": word, "agent_id": agent, "timestamp": stepped.at_ms})
    };
    let of_queue = |word| vec![event(word, None)];
    let after_agent = |word, then| vec![event(word, agent), event(then, None)];
    match stepped.step {
        Step::Submitted => of_queue("task_submitted"),
        Step::Assigned => of_queue("task_assigned"),
        Step::Accepted => vec![event("task_accepted", agent)],
        Step::Progressed => vec![event("task_progress", agent)],
        Step::Completed => after_agent("task_complete", "task_completed"),
        Step::Failed => after_agent("task_failed", "task_retried"),
        Step::Died { has_failed: true } => after_agent("task_failed", "task_dead_letter"),
        Step::Died { has_failed: false } => of_queue("task_dead_letter"),
        Step::Reclaimed => of_queue("task_reclaimed"),
        Step::Redriven => of_queue("task_retried"),
        Step::Cancelled => of_queue("task_cancelled"),
    }
}

/// The frame for a report in which an agent says what it does right now, if it is one.
pub(super) fn execution(sight: &Sight) -> Option<Value> {
    let Sight::Task(stepped, Some(report)) = sight else { return None };
    let report: Value = serde_json::from_slice(report).ok()?;
    let said = report.get("execution_event")?.as_object()?;
    let mut frame = json!({"type": "execution_event",
        "task_id": task_view::legacy_id(stepped.task)});
    for key in ["event_type", "text", "tokens_so_far", "model", "timestamp"] {
        frame[key] = said.get(key).cloned().unwrap_or_default();
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{Name, TaskId};

    fn stepped(step: Step) -> Stepped {
        let agent = Some(Name::parse("ada").unwrap());
        Stepped { task: TaskId(1), step, agent, at_ms: 5, took_ms: None }
    }

    #[test]
    fn what_an_agent_says_has_its_name_and_what_the_queue_does_has_none() {
        let words = |step| -> Vec<(String, bool)> {
            let events = task(&stepped(step));
            let word = |event: &Value| event["event"].as_str().unwrap().to_owned();
            events.iter().map(|event| (word(event), event["agent_id"] == "ada")).collect()
        };
        for (step, expected) in [
            (Step::Submitted, &[("task_submitted", false)][..]),
            (Step::Assigned, &[("task_assigned", false)]),
            (Step::Accepted, &[("task_accepted", true)]),
            (Step::Progressed, &[("task_progress", true)]),
            (Step::Completed, &[("task_complete", true), ("task_completed", false)]),
            (Step::Failed, &[("task_failed", true), ("task_retried", false)]),
            (
                Step::Died { has_failed: true },
                &[("task_failed", true), ("task_dead_letter", false)],
            ),
            (Step::Died { has_failed: false }, &[("task_dead_letter", false)]),
            (Step::Reclaimed, &[("task_reclaimed", false)]),
            (Step::Redriven, &[("task_retried", false)]),
            (Step::Cancelled, &[("task_cancelled", false)]),
        ] {
            let expected: Vec<(String, bool)> =
                expected.iter().map(|(word, is_hers)| ((*word).to_owned(), *is_hers)).collect();
            assert_eq!(words(step), expected);
        }
    }

    #[test]
    fn only_a_report_with_an_execution_event_is_shown_at_once() {
        let report =
            |text: &str| Sight::Task(stepped(Step::Progressed), Some(text.as_bytes().into()));
        let shown = execution(&report(
            r#"{"execution_event": {"event_type": "text", "text": "<b>", "secret": 1}}"#,
        ));
        assert_eq!(
            shown,
            Some(json!({"type": "execution_event", "task_id": "task-0000000000000001",
                "event_type": "text", "text": "<b>", "tokens_so_far": null, "model": null,
                "timestamp": null}))
        );
        for other in ["", "{}", r#"{"execution_event": 1}"#, "[1]"] {
            assert_eq!(execution(&report(other)), None, "{other}");
        }
    }
}
