//! Tasks as legacy clients see them: ids with a prefix, four states, every key always there.

use serde_json::{Map, Value, json};

use super::tier;

use crate::core::command::{DeadReason, State, TaskId, TaskView};
use crate::translate::trace;

/// `task-` and 16 hex digits.
pub(super) fn legacy_id(task: TaskId) -> String {
    format!("task-{:016x}", task.0)
}

/// The task meant by a legacy id or by a plain number, as on the other doors.
pub(super) fn parse_id(text: &str) -> Option<TaskId> {
    match text.strip_prefix("task-") {
        Some(hex) if hex.len() == 16 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u64::from_str_radix(hex, 16).ok().map(TaskId)
        }
        None if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse().ok().map(TaskId),
        _ => None,
    }
}

/// What stands under `key` in a task as it was submitted, or what the hub put there if nothing did.
pub(super) fn as_submitted(submitted: &Map<String, Value>, key: &str) -> Value {
    match submitted.get(key) {
        Some(value) if !value.is_null() => value.clone(),
        _ => match key {
            "metadata" => json!({}),
            "file_hints" | "success_criteria" | "verification_steps" => json!([]),
            "skip_verification" => json!(false),
            "max_verification_retries" => json!(5),
            _ => Value::Null,
        },
    }
}

/// `view` with the keys of the legacy hub, and a few of ours beside them. Keys whose meaning is
/// not built yet have the hub's defaults.
pub(super) fn legacy(view: &TaskView) -> Value {
    let needs: Vec<&str> = view.needs.iter().map(|name| name.as_str()).collect();
    let submitted: Map<String, Value> = serde_json::from_slice(&view.payload).unwrap_or_default();
    let description = submitted.get("description").and_then(Value::as_str).unwrap_or_default();
    let tier = tier::of(description, &submitted);
    let was_assigned = view.generation.0 > 0;
    let result = view.result.as_deref().map(bytes);
    let of_result = |key: &str| result.as_ref().and_then(|result| result.get(key)).cloned();
    let after: Vec<String> = view.after.iter().map(|edge| legacy_id(edge.task)).collect();
    let kept = |key| as_submitted(&submitted, key);
    let mut shown = json!({
        "id": legacy_id(view.task),
        "description": description,
        "metadata": kept("metadata"),
        "priority": view.band,
        "status": status(view.state),
        "assigned_to": view.agent.as_ref().map(|agent| agent.as_str()),
        "assigned_at": null,
        "generation": view.generation.0,
        "retry_count": view.attempts,
        "max_retries": view.attempts_max,
        "needed_capabilities": needs,
        "last_error": last_error(view),
        "complete_by": kept("complete_by"),
        "tokens_used": of_result("tokens_used"),
        "submitted_by": kept("submitted_by"),
        "created_at": view.submitted_ms,
        "updated_at": view.updated_ms,
        "history": history(view),
        "repo": kept("repo"),
        "branch": kept("branch"),
        "file_hints": kept("file_hints"),
        "success_criteria": kept("success_criteria"),
        "verification_steps": kept("verification_steps"),
        "complexity": tier.complexity(),
        "verification_report": of_result("verification_report"),
        "verification_history": of_result("verification_history").unwrap_or_else(|| json!([])),
        "max_verification_retries": kept("max_verification_retries"),
        "routing_decision": was_assigned.then(|| tier.routing_decision()),
        "depends_on": after,
        "goal_id": kept("goal_id"),
        "result": result,
        "queue": view.queue.as_str(),
        "state": view.state.as_str(),
        "lost": view.lost,
        "progress": view.progress.as_deref().map(bytes),
        "dead": view.dead.map(|reason| reason.as_str()),
    });
    if let Some(parent) = trace::parent(view.headers.as_deref()) {
        shown[trace::PARENT] = parent.into();
    }
    shown
}

/// Why the newest attempt failed, or why there was none.
fn last_error(view: &TaskView) -> Option<&str> {
    match view.dead {
        Some(DeadReason::Expired) => Some("ttl_expired"),
        _ => view.errors.last().map(|failure| &*failure.error),
    }
}

/// What is known of the past of a task, the newest first. The hub wrote down each step; here it is
/// what the task itself says: its failures, and how it stands.
fn history(view: &TaskView) -> Vec<Value> {
    let item = |event: &str, at_ms: u64, details: Value| json!({"event": event, "timestamp": at_ms, "details": details});
    let mut items = vec![item("queued", view.submitted_ms, "submitted".into())];
    // What the last attempt died of is told as that.
    let of_end = [DeadReason::Failed, DeadReason::NonRetryable, DeadReason::Timeout];
    let has_end = view.dead.is_some_and(|reason| of_end.contains(&reason));
    let retried = view.errors.len().saturating_sub(usize::from(has_end));
    for failure in &view.errors[..retried] {
        items.push(item("retry", failure.at_ms, (*failure.error).into()));
    }
    let agent = view.agent.as_ref().map(|agent| agent.as_str());
    let now = match view.state {
        State::Offered | State::Running => {
            let details = json!({"agent_id": agent, "generation": view.generation.0});
            Some(("assigned", details))
        }
        State::Completed => Some(("completed", json!({"agent_id": agent}))),
        State::Dead => Some(("dead_letter", last_error(view).into())),
        _ => None,
    };
    items.extend(now.map(|(event, details)| item(event, view.updated_ms, details)));
    items.reverse();
    items
}

/// The hub knew four states; ours are finer.
pub(super) fn status(state: State) -> &'static str {
    match state {
        State::Held | State::Scheduled | State::Ready => "queued",
        State::Offered | State::Running | State::Parked => "assigned",
        State::Completed => "completed",
        State::Dead => "dead_letter",
        State::Cancelled => "cancelled",
    }
}

/// Bytes of an agent: the JSON they are, or else text with what is not UTF-8 replaced.
fn bytes(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_understood_in_both_spellings_and_in_no_other() {
        for id in [0, 1, 0xabc, u64::MAX] {
            assert_eq!(parse_id(&legacy_id(TaskId(id))), Some(TaskId(id)));
            assert_eq!(parse_id(&id.to_string()), Some(TaskId(id)));
        }
        for text in [
            "",
            "task-",
            "task-1",
            "task-000000000000000g",
            "task-+00000000000000f",
            "task-00000000000000001",
            "+1",
            "-1",
            "18446744073709551616",
            "stats",
        ] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_result_is_json_where_it_is_and_text_where_it_is_not() {
        assert_eq!(bytes(br#"{"status":"ok"}"#), json!({"status": "ok"}));
        assert_eq!(bytes(b"done."), json!("done."));
        assert_eq!(bytes(b"a\xffb"), json!("a\u{fffd}b"));
    }
}
