//! What an admin tells one agent over HTTP.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::error::reply;
use super::form::Form;
use super::handlers::{present, unix_ms};
use super::messages::ask;
use super::{DurableCalls, HttpError, HttpState, schemas, task_body, task_view};
use crate::core::command::{Command, MessageCommand, Name, Rejection, Reply};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 2_000;

/// `POST /api/admin/agents/:id/restart`: ask an agent to start itself again.
pub(super) async fn restart<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let mut form = Form::new(&fields);
    let reason = form.text("reason", REASON_CHARS_MAX).unwrap_or("admin_commanded").to_owned();
    form.finish()?;
    let absent = || HttpError::AgentNotConnected(id.clone());
    let agent = Name::parse(&id).map_err(|_| absent())?;
    let command = MessageCommand::Restart { agent, reason: reason.as_str().into() };
    match ask(&state.durable, command).await {
        Ok(_) => {
            let body = json!({"status": "restart_commanded", "agent_id": id, "reason": reason});
            Ok(reply(StatusCode::OK, &body))
        }
        Err(Rejection::NotPresent { .. }) => Err(absent()),
        Err(rejection) => Err(rejection.into()),
    }
}

/// `POST /api/admin/push-task`: a task for one agent that is here. It is kept like any other, so
/// that it can be completed; the hub kept none.
pub(super) async fn push_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let mut form = Form::new(&fields);
    let id = form.required_text("agent_id", Name::LENGTH_MAX).unwrap_or_default().to_owned();
    if form.field("description").is_none() {
        form.required("description");
    }
    form.check_types(schemas::fields_of("post_admin_push_task"));
    form.finish()?;
    let mut task = Map::new();
    for key in ["description", "metadata"] {
        task.extend(fields.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    task.insert("assign_to".to_owned(), Value::from(id.as_str()));
    task.insert("priority".to_owned(), "urgent".into());
    let submit = task_body::submit(&task, &caller.name(), &state.settings, unix_ms())?;
    if !present(&state).await?.iter().any(|view| view.agent.as_str() == id) {
        return Err(HttpError::AgentNotConnected(id));
    }
    let Reply::Submitted(kept) = state.durable.call(Command::Submit(Box::new(submit))).await?
    else {
        unreachable!("submit keeps a task")
    };
    let task_id = task_view::legacy_id(kept.task);
    let body = json!({"status": "pushed", "task_id": task_id, "agent_id": id});
    Ok(reply(StatusCode::OK, &body))
}
