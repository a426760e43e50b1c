//! Tasks, events and queues as text for people and as JSON for programs. The JSON has the keys of
//! the broker's own.

use agentcom_client::{AfterEnd, AfterView, Failure, QueueView, TaskEvent, TaskView};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::output::{Output, insert_bytes};
use super::table::Table;
use super::{Outcome, time};

/// Everything about a task, a line for each thing that there is to say.
pub(crate) fn task_text(view: &TaskView, output: &Output) -> String {
    let mut lines = vec![output.title(&format!("task {} is {}", view.task, view.state))];
    let mut line = |name: &str, value: String| lines.push(format!("{name:<11} {value}"));
    line("queue", view.queue.clone());
    line("attempts", format!("{} of {} failed", view.attempts, view.attempts_max));
    line("priority", view.priority.0.to_string());
    line("submitted", time::relative(view.submitted_ms));
    line("changed", time::relative(view.updated_ms));
    if let Some(due_ms) = view.due_ms {
        line("due", time::relative(due_ms));
    }
    if let Some(key) = &view.key {
        line("key", key.clone());
    }
    if !view.needs.is_empty() {
        line("needs", view.needs.join(", "));
    }
    if !view.uses.is_empty() {
        let uses = view.uses.iter().map(|(name, amount)| format!("{amount} {name}"));
        line("uses", uses.collect::<Vec<String>>().join(", "));
    }
    if let Some(agent) = &view.assign_to {
        let until = view.assign_until_ms.map(time::relative);
        let until = until.map_or_else(String::new, |until| format!("; for any {until}"));
        line("only for", format!("{agent}{until}"));
    }
    if !view.after.is_empty() {
        let edges: Vec<String> = view.after.iter().map(edge_text).collect();
        line("after", edges.join(", "));
    }
    if let Some(agent) = &view.agent {
        line("agent", agent.clone());
    }
    if view.is_cancelling {
        line("cancelling", "its agent was asked to stop".to_owned());
    }
    for (name, count) in troubles(view) {
        if count > 0 {
            line(name, count.to_string());
        }
    }
    if let Some(dead) = &view.dead {
        line("given up", dead.clone());
    }
    if let Some(cancelled) = &view.cancelled {
        line("called off", cancelled.clone());
    }
    for (name, value) in &view.headers {
        line("header", format!("{name}: {value}"));
    }
    for (name, bytes) in byte_fields(view) {
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            line(name, String::from_utf8_lossy(bytes).into_owned());
        }
    }
    for Failure { generation, agent, at_ms, error, .. } in &view.failures {
        let when = time::relative(*at_ms);
        line("failed", format!("{when}, generation {generation}, {agent}: {error}"));
    }
    lines.join("\n")
}

/// What went wrong on the way, by name.
fn troubles(view: &TaskView) -> [(&'static str, u32); 5] {
    [
        ("lost", view.lost),
        ("unanswered", view.offers_expired),
        ("declined", view.declines),
        ("handed back", view.releases),
        ("redriven", view.redrives),
    ]
}

fn edge_text(edge: &AfterView) -> String {
    let what = match edge.end {
        AfterEnd::Any => ":any",
        AfterEnd::SuccessElseCancel => ":cancel",
        AfterEnd::SuccessElseFail => ":fail",
        AfterEnd::SuccessElseBlock => "",
    };
    let blocked = if edge.is_blocked { " (ended badly)" } else { "" };
    format!("{}{what}{blocked}", edge.task)
}

/// What agents and submitters wrote, by its key.
fn byte_fields(view: &TaskView) -> [(&'static str, Option<&Bytes>); 4] {
    [
        ("payload", Some(&view.payload)),
        ("progress", view.progress.as_ref()),
        ("result", view.result.as_ref()),
        ("error", view.error.as_ref()),
    ]
}

/// Everything about a task.
pub(crate) fn task_json(view: &TaskView) -> Value {
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("task", json!(view.task.0));
    insert("queue", json!(view.queue));
    insert("state", json!(view.state.as_str()));
    insert("generation", json!(view.generation));
    insert("seq", json!(view.event_seq));
    insert("priority", json!(view.priority.0));
    insert("needs", json!(view.needs));
    insert("attempts", json!(view.attempts));
    insert("attempts_max", json!(view.attempts_max));
    insert("lost", json!(view.lost));
    insert("submitted_ms", json!(view.submitted_ms));
    insert("updated_ms", json!(view.updated_ms));
    for (key, count) in [
        ("offers_expired", view.offers_expired),
        ("declines", view.declines),
        ("releases", view.releases),
        ("redrives", view.redrives),
    ] {
        if count > 0 {
            insert(key, json!(count));
        }
    }
    for (key, text) in [
        ("key", &view.key),
        ("agent", &view.agent),
        ("dead", &view.dead),
        ("cancelled", &view.cancelled),
        ("assign_to", &view.assign_to),
    ] {
        if let Some(text) = text {
            insert(key, json!(text));
        }
    }
    if let Some(due_ms) = view.due_ms {
        insert("due_ms", json!(due_ms));
    }
    if let Some(until_ms) = view.assign_until_ms {
        insert("assign_until_ms", json!(until_ms));
    }
    if !view.uses.is_empty() {
        insert("uses", json!(view.uses));
    }
    if !view.headers.is_empty() {
        insert("headers", json!(view.headers));
    }
    if view.is_cancelling {
        insert("cancelling", json!(true));
    }
    if !view.after.is_empty() {
        insert("after", view.after.iter().map(edge_json).collect());
    }
    if !view.failures.is_empty() {
        insert("errors", view.failures.iter().map(failure_json).collect());
    }
    for (name, bytes) in byte_fields(view) {
        if let Some(bytes) = bytes {
            insert_bytes(&mut object, name, bytes);
        }
    }
    Value::Object(object)
}

fn edge_json(edge: &AfterView) -> Value {
    let mut value = match edge.end {
        AfterEnd::Any => json!({"task": edge.task.0, "on": "any"}),
        AfterEnd::SuccessElseBlock => {
            json!({"task": edge.task.0, "on": "success", "else": "block"})
        }
        AfterEnd::SuccessElseCancel => {
            json!({"task": edge.task.0, "on": "success", "else": "cancel"})
        }
        AfterEnd::SuccessElseFail => json!({"task": edge.task.0, "on": "success", "else": "fail"}),
    };
    if edge.is_blocked {
        value["blocked"] = json!(true);
    }
    value
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "generation": failure.generation,
        "agent": failure.agent,
        "at_ms": failure.at_ms,
        "error": failure.error,
    })
}

/// Tasks of a list, a line for each.
pub(crate) fn tasks(views: &[TaskView], output: &Output) -> Outcome {
    if output.is_json() {
        for view in views {
            let mut json = task_json(view);
            // Lists do not have it; that it is empty would be a lie.
            json.as_object_mut().map(|fields| fields.remove("payload"));
            output.result("", &json)?;
        }
        return Ok(());
    }
    let headings = ["#task", "queue", "state", "#prio", "#failed", "changed", "agent", "error"];
    let mut table = Table::new(&headings);
    for view in views {
        let error = view.failures.last().map_or("", |failure| failure.error.as_str());
        let error = error.lines().next().unwrap_or_default();
        table.row([
            view.task.to_string(),
            view.queue.clone(),
            view.dead.as_ref().map_or(view.state.to_string(), |dead| format!("dead: {dead}")),
            view.priority.0.to_string(),
            format!("{}/{}", view.attempts, view.attempts_max),
            time::relative(view.updated_ms),
            view.agent.clone().unwrap_or_default(),
            error.chars().take(ERROR_CHARS_MAX).collect(),
        ]);
    }
    output.table(&table)?;
    Ok(())
}

/// Enough of an error to recognise it by; `show` has all of it.
const ERROR_CHARS_MAX: usize = 60;

/// What happened to a task, in one line.
pub(crate) fn event_text(event: &TaskEvent) -> String {
    let mut line = format!("{:>4}  {:<9}", event.seq, event.state);
    if let Some(agent) = &event.agent {
        line.push_str(&format!("  by {agent}"));
    }
    if let Some(progress) = &event.progress {
        let report = String::from_utf8_lossy(&progress.data);
        line.push_str(&format!("  report {}: {report}", progress.seq));
    }
    if let Some(task) = event.blocked_by {
        line.push_str(&format!("  blocked by task {task}, which ended badly"));
    }
    if event.is_escalated {
        line.push_str("  escalated: its time was over once");
    }
    line.trim_end().to_owned()
}

/// What happened to a task.
pub(crate) fn event_json(event: &TaskEvent) -> Value {
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("task", json!(event.task.0));
    insert("seq", json!(event.seq));
    insert("at_ms", json!(event.at_ms));
    insert("state", json!(event.state.as_str()));
    insert("generation", json!(event.generation));
    if let Some(agent) = &event.agent {
        insert("agent", json!(agent));
    }
    if let Some(task) = event.blocked_by {
        insert("blocked_by", json!(task.0));
    }
    if event.is_escalated {
        insert("escalated", json!(true));
    }
    if let Some(progress) = &event.progress {
        insert("progress_seq", json!(progress.seq));
        insert_bytes(&mut object, "progress", &progress.data);
    }
    Value::Object(object)
}

/// Everything about a queue.
pub(crate) fn queue_json(view: &QueueView) -> Value {
    let mut value = json!({
        "queue": view.queue,
        "paused": view.paused,
        "keep_ms": view.keep_ms,
        "keep_dead_ms": view.keep_dead_ms,
        "held": view.held,
        "scheduled": view.scheduled,
        "ready": view.ready,
        "offered": view.offered,
        "running": view.running,
        "parked": view.parked,
        "dead": view.dead,
    });
    if let Some(leases_max) = view.leases_max {
        value["leases_max"] = json!(leases_max);
    }
    if let (Some(max), Some(period_ms)) = (view.rate_max, view.rate_ms) {
        (value["rate_max"], value["rate_ms"]) = (json!(max), json!(period_ms));
    }
    value["order"] = json!(view.order);
    if !view.weights.is_empty() {
        value["weights"] = json!(view.weights);
    }
    value
}
