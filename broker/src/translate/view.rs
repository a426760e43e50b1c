//! Tasks, queues and events as JSON, the same through every door. Keys without a value are left
//! out. Bytes that are UTF-8 are text under their plain key; others are base64 under the key with
//! `_base64` behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::headers;
use crate::core::command::{
    AfterEnd, AfterView, Answer, ConfigView, Generation, Missed, Name, Offer, Overlap,
    QuestionView, QueueView, Resource, Schedule, ScheduleView, State, TaskEvent, TaskId, TaskView,
    TokenView, When, Why,
};

/// Everything about a task.
#[must_use]
pub fn task(view: &TaskView) -> Value {
    let mut fields = Map::new();
    fields.insert("task".into(), view.task.0.into());
    fields.insert("queue".into(), view.queue.as_str().into());
    insert_name(&mut fields, "key", view.key.as_ref());
    fields.insert("state".into(), view.state.as_str().into());
    fields.insert("generation".into(), view.generation.0.into());
    fields.insert("seq".into(), view.event_seq.into());
    fields.insert("priority".into(), view.band.into());
    fields.insert("needs".into(), texts(&view.needs));
    if !view.resources.is_empty() {
        fields.insert("uses".into(), uses(&view.resources));
    }
    if let Some((agent, until_ms)) = &view.window {
        fields.insert("assign_to".into(), agent.as_str().into());
        if let Some(until_ms) = until_ms {
            fields.insert("assign_until_ms".into(), (*until_ms).into());
        }
    }
    fields.insert("attempts".into(), view.attempts.into());
    fields.insert("attempts_max".into(), view.attempts_max.into());
    fields.insert("lost".into(), view.lost.into());
    for (key, count) in [
        ("offers_expired", view.offers_expired),
        ("declines", view.declines),
        ("releases", view.releases),
        ("redrives", view.redrives),
    ] {
        if count > 0 {
            fields.insert(key.into(), count.into());
        }
    }
    if !view.excluded.is_empty() {
        fields.insert("excluded".into(), texts(&view.excluded));
    }
    fields.insert("submitted_ms".into(), view.submitted_ms.into());
    fields.insert("updated_ms".into(), view.updated_ms.into());
    if let Some(due_ms) = view.due_ms {
        fields.insert("due_ms".into(), due_ms.into());
    }
    if !view.after.is_empty() {
        let edges: Vec<Value> = view.after.iter().map(edge).collect();
        fields.insert("after".into(), edges.into());
    }
    insert_name(&mut fields, "agent", view.agent.as_ref());
    if view.version > 0 {
        fields.insert("version".into(), view.version.into());
    }
    if let Some(parent) = view.parent {
        fields.insert("parent".into(), parent.0.into());
    }
    if view.is_waiting {
        fields.insert("waiting".into(), true.into());
    }
    if !view.questions.is_empty() {
        let questions = view.questions.iter().map(question);
        fields.insert("questions".into(), questions.collect::<Vec<Value>>().into());
    }
    if view.is_cancelling {
        fields.insert("cancelling".into(), true.into());
    }
    insert_bytes(&mut fields, "payload", &view.payload);
    if let Some(bytes) = &view.headers {
        fields.insert("headers".into(), headers::shown(bytes));
    }
    if view.progress_seq > 0 {
        fields.insert("progress_seq".into(), view.progress_seq.into());
    }
    if let Some(progress) = &view.progress {
        insert_bytes(&mut fields, "progress", progress);
    }
    if let Some(result) = &view.result {
        insert_bytes(&mut fields, "result", result);
    }
    insert_errors(&mut fields, view);
    if let Some(dead) = view.dead {
        fields.insert("dead".into(), dead.as_str().into());
    }
    if let Some(reason) = &view.cancelled {
        fields.insert("cancelled".into(), (**reason).into());
    }
    Value::Object(fields)
}

fn insert_errors(fields: &mut Map<String, Value>, view: &TaskView) {
    let Some(newest) = view.errors.last() else { return };
    fields.insert("error".into(), (*newest.error).into());
    let failure = |failure: &crate::core::command::Failure| {
        json!({
            "generation": failure.generation.0,
            "agent": failure.agent.as_str(),
            "at_ms": failure.at_ms,
            "error": *failure.error,
        })
    };
    let failures: Vec<Value> = view.errors.iter().map(failure).collect();
    fields.insert("errors".into(), failures.into());
}

fn question(question: &QuestionView) -> Value {
    let mut fields = Map::new();
    fields.insert("key".into(), question.key.as_str().into());
    insert_bytes(&mut fields, "text", &question.text);
    if let Some(answer) = &question.answer {
        insert_bytes(&mut fields, "answer", answer);
    }
    Value::Object(fields)
}

/// Answers to questions of a task: text, or an object with `base64`.
#[must_use]
pub(super) fn answers(answers: &[Answer]) -> Value {
    let answer = |answer: &Answer| {
        let value = match std::str::from_utf8(&answer.value) {
            Ok(text) => text.into(),
            Err(_) => json!({ "base64": BASE64.encode(&answer.value) }),
        };
        (answer.key.as_str().to_owned(), value)
    };
    Value::Object(answers.iter().map(answer).collect())
}

/// What a holder that set its task aside is answered.
#[must_use]
pub(super) fn parked(task: TaskId, state: State, found: &[Answer]) -> Value {
    json!({ "task": task.0, "state": state.as_str(), "answers": answers(found) })
}

/// Why a task is where it is.
#[must_use]
pub(super) fn why(task: TaskId, state: State, reasons: &[Why]) -> Value {
    let reasons: Vec<Value> = reasons.iter().map(reason).collect();
    json!({ "task": task.0, "state": state.as_str(), "reasons": reasons })
}

fn reason(why: &Why) -> Value {
    let mut fields = match why {
        Why::WaitsFor { task } | Why::BlockedBy { task } => json!({ "task": task.0 }),
        Why::NotDue { due_ms } => json!({ "due_ms": due_ms }),
        Why::Paused { queue } | Why::NobodyFits { queue } => json!({ "queue": queue.as_str() }),
        Why::QueueLimit { queue, leases, max } => {
            json!({ "queue": queue.as_str(), "leases": leases, "max": max })
        }
        Why::Rate { queue, grants, period_ms, wait_ms } => {
            let queue = queue.as_str();
            json!({"queue": queue, "rate_max": grants, "rate_ms": period_ms, "wait_ms": wait_ms})
        }
        Why::NamedRate { name, grants, period_ms, wait_ms } => {
            let name = name.as_str();
            json!({"name": name, "rate_max": grants, "rate_ms": period_ms, "wait_ms": wait_ms})
        }
        Why::ForOne { agent, until_ms: None } => json!({ "agent": agent.as_str() }),
        Why::ForOne { agent, until_ms: Some(until_ms) } => {
            json!({ "agent": agent.as_str(), "until_ms": until_ms })
        }
        Why::Limit { name, leases, max } => {
            json!({ "name": name.as_str(), "leases": leases, "max": max })
        }
        Why::NobodyIdle { agents, declined, silent, limited, busy, full } => json!({
            "agents": agents,
            "declined": declined,
            "silent": silent,
            "limited": limited,
            "busy": busy,
            "full": full,
        }),
        Why::Behind { tasks } | Why::Children { tasks } => json!({ "tasks": tasks }),
        Why::HeldBy { agent } => json!({ "agent": agent.as_str() }),
        Why::Unanswered { key } => json!({ "key": key.as_str() }),
        Why::Stopping | Why::Over => json!({}),
    };
    fields["code"] = why.code().into();
    fields["sentence"] = why.to_string().into();
    fields
}

fn edge(edge: &AfterView) -> Value {
    let (on, otherwise) = match edge.on {
        AfterEnd::Any => ("any", None),
        AfterEnd::SuccessElseBlock => ("success", Some("block")),
        AfterEnd::SuccessElseCancel => ("success", Some("cancel")),
        AfterEnd::SuccessElseFail => ("success", Some("fail")),
    };
    let mut fields = json!({ "task": edge.task.0, "on": on });
    if let Some(otherwise) = otherwise {
        fields["else"] = otherwise.into();
    }
    if edge.is_blocked {
        fields["blocked"] = true.into();
    }
    fields
}

/// What happened to a task.
#[must_use]
pub fn event(event: &TaskEvent) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("task".into(), event.task.0.into());
    fields.insert("seq".into(), event.seq.into());
    fields.insert("at_ms".into(), event.at_ms.into());
    fields.insert("queue".into(), event.queue.as_str().into());
    fields.insert("state".into(), event.state.as_str().into());
    fields.insert("generation".into(), event.generation.0.into());
    insert_name(&mut fields, "agent", event.agent.as_ref());
    if let Some(progress) = &event.progress {
        fields.insert("progress_seq".into(), progress.seq.into());
        insert_bytes(&mut fields, "progress", &progress.data);
    }
    if let Some(blocked_by) = event.blocked_by {
        fields.insert("blocked_by".into(), blocked_by.0.into());
    }
    if event.is_escalated {
        fields.insert("escalated".into(), true.into());
    }
    fields
}

/// Everything about a queue.
#[must_use]
pub fn queue(view: &QueueView) -> Value {
    let mut fields = Map::new();
    fields.insert("queue".into(), view.queue.as_str().into());
    fields.insert("paused".into(), view.settings.paused.into());
    if let Some(max) = view.settings.leases_max {
        fields.insert("leases_max".into(), max.into());
    }
    if let Some(rate) = view.settings.rate {
        fields.insert("rate_max".into(), rate.grants.into());
        fields.insert("rate_ms".into(), rate.period_ms.into());
    }
    fields.insert("order".into(), view.settings.order.as_str().into());
    if !view.settings.weights.is_empty() {
        let weights = view.settings.weights.iter();
        let weights: Map<_, _> =
            weights.map(|(key, weight)| (key.to_string(), (*weight).into())).collect();
        fields.insert("weights".into(), weights.into());
    }
    fields.insert("keep_ms".into(), view.settings.keep_ms.into());
    fields.insert("keep_dead_ms".into(), view.settings.keep_dead_ms.unwrap_or(0).into());
    for (key, count) in [
        ("held", view.counts.held),
        ("scheduled", view.counts.scheduled),
        ("ready", view.counts.ready),
        ("offered", view.counts.offered),
        ("running", view.counts.running),
        ("parked", view.counts.parked),
        ("dead", view.counts.dead),
    ] {
        fields.insert(key.into(), count.into());
    }
    Value::Object(fields)
}

/// Several queues.
#[must_use]
pub fn queues(views: &[QueueView]) -> Value {
    json!({ "queues": views.iter().map(queue).collect::<Vec<Value>>() })
}

/// A token, as far as anybody may know it.
#[must_use]
pub fn token(view: &TokenView) -> Value {
    json!({
        "agent": view.agent.as_str(),
        "prefix": *view.prefix,
        "issued_ms": view.issued_ms,
    })
}

/// One setting that all share: its value as JSON if it is that, else as text.
#[must_use]
pub fn setting(view: &ConfigView) -> Value {
    let text = || String::from_utf8_lossy(&view.value).into_owned().into();
    let value: Value = serde_json::from_slice(&view.value).unwrap_or_else(|_| text());
    json!({ "key": view.key.as_str(), "value": value, "version": view.version })
}

/// Shared settings: their values are JSON where they can be, and text otherwise.
#[must_use]
pub fn config(views: &[ConfigView]) -> Value {
    json!({ "settings": views.iter().map(setting).collect::<Vec<Value>>() })
}

/// Leases, as a resume list has them.
#[must_use]
pub fn holding(leases: &[(TaskId, Generation)]) -> Value {
    let lease = |(task, generation): &(TaskId, Generation)| json!({ "task": task.0, "generation": generation.0 });
    json!({ "holding": leases.iter().map(lease).collect::<Vec<Value>>() })
}

/// Several tokens.
#[must_use]
pub fn tokens(views: &[TokenView]) -> Value {
    json!({ "tokens": views.iter().map(token).collect::<Vec<Value>>() })
}

/// Everything about a schedule.
#[must_use]
pub fn schedule(view: &ScheduleView) -> Value {
    let Schedule { name, when, spec, payload, missed, overlap, is_paused } = &view.schedule;
    let mut fields = Map::new();
    fields.insert("schedule".into(), name.as_str().into());
    fields.insert("queue".into(), spec.queue.as_str().into());
    match when {
        When::Cron(cron) => drop(fields.insert("cron".into(), cron.as_str().into())),
        When::Every { period_ms, offset_ms } => {
            fields.insert("every_ms".into(), (*period_ms).into());
            fields.insert("offset_ms".into(), (*offset_ms).into());
        }
    }
    let missed = match missed {
        Missed::Once => "once".to_owned(),
        Missed::Skip => "skip".to_owned(),
        Missed::All(max) => format!("all:{max}"),
    };
    fields.insert("missed".into(), missed.into());
    let overlap = match overlap {
        Overlap::Allow => "allow",
        Overlap::Skip => "skip",
        Overlap::Replace => "replace",
    };
    fields.insert("overlap".into(), overlap.into());
    fields.insert("paused".into(), (*is_paused).into());
    fields.insert("priority".into(), spec.band.into());
    fields.insert("needs".into(), texts(&spec.needs));
    if !spec.resources().is_empty() {
        fields.insert("uses".into(), uses(spec.resources()));
    }
    insert_name(&mut fields, "key", spec.key.as_ref());
    fields.insert("attempts_max".into(), spec.attempts_max.into());
    insert_bytes(&mut fields, "payload", payload);
    if let Some(next_ms) = view.next_ms {
        fields.insert("next_ms".into(), next_ms.into());
    }
    if let Some(task) = view.last_task {
        fields.insert("last_task".into(), task.0.into());
    }
    fields.insert("fired".into(), view.fired.into());
    fields.insert("skipped".into(), view.skipped.into());
    Value::Object(fields)
}

/// Several schedules.
#[must_use]
pub fn schedules(views: &[ScheduleView]) -> Value {
    json!({ "schedules": views.iter().map(schedule).collect::<Vec<Value>>() })
}

/// A page of a list, and where the next one begins.
#[must_use]
pub(super) fn listed(views: &[TaskView], next: Option<TaskId>) -> Value {
    let mut page = tasks(views);
    for view in page["tasks"].as_array_mut().into_iter().flatten() {
        // It was not read; that it is empty would be a lie.
        view.as_object_mut().map(|fields| fields.remove("payload"));
    }
    if let Some(next) = next {
        page["next"] = next.0.into();
    }
    page
}

/// Several tasks.
#[must_use]
pub fn tasks(views: &[TaskView]) -> Value {
    json!({ "tasks": views.iter().map(task).collect::<Vec<Value>>() })
}

/// Work that somebody is offered or took.
#[must_use]
pub(super) fn offer(offer: &Offer) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("task".into(), offer.task.0.into());
    fields.insert("generation".into(), offer.generation.0.into());
    fields.insert("queue".into(), offer.queue.as_str().into());
    fields.insert("attempt".into(), offer.attempt.into());
    if offer.offer_ms > 0 {
        fields.insert("offer_ms".into(), offer.offer_ms.into());
    }
    fields.insert("lease_ms".into(), offer.lease_ms.into());
    if offer.progress_seq > 0 {
        fields.insert("progress_seq".into(), offer.progress_seq.into());
    }
    if let Some(seq) = offer.checkpoint_seq {
        fields.insert("checkpoint_seq".into(), seq.into());
    }
    if let Some(checkpoint) = &offer.checkpoint {
        insert_bytes(&mut fields, "checkpoint", checkpoint);
    }
    if !offer.answers.is_empty() {
        fields.insert("answers".into(), answers(&offer.answers));
    }
    if let Some(bytes) = &offer.headers {
        fields.insert("headers".into(), headers::shown(bytes));
    }
    insert_bytes(&mut fields, "payload", &offer.payload);
    fields
}

/// Add bytes to an object.
pub(super) fn insert(object: &mut Value, key: &str, bytes: &[u8]) {
    if let Some(fields) = object.as_object_mut() {
        insert_bytes(fields, key, bytes);
    }
}

fn uses(resources: &[Resource]) -> Value {
    let uses = resources.iter().map(|used| (used.name.to_string(), used.amount.into()));
    Value::Object(uses.collect())
}

fn insert_name(fields: &mut Map<String, Value>, key: &str, name: Option<&Name>) {
    if let Some(name) = name {
        fields.insert(key.into(), name.as_str().into());
    }
}

fn insert_bytes(fields: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(key.to_owned(), text.into()),
        Err(_) => fields.insert(format!("{key}_base64"), BASE64.encode(bytes).into()),
    };
}

fn texts(names: &[Name]) -> Value {
    names.iter().map(|name| Value::from(name.as_str())).collect::<Vec<Value>>().into()
}
