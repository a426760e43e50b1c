//! Request to command, reply to JSON. No rule of the broker lives here.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::{DurableCalls, HttpError, HttpState, task_body, task_view};
use crate::core::command::{self, Command, Rejection, Reply};

/// `GET /health`: whether the broker is there, and how many agents are.
pub(super) async fn health<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    let agents = (state.agents_connected)();
    let body = json!({"status": "ok", "service": "agent_com", "agents_connected": agents});
    reply(StatusCode::OK, &body)
}

/// `GET /metrics`: what is counted, for the operator.
pub(super) async fn metrics<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    caller.admin()?;
    Ok(([(header::CONTENT_TYPE, TEXT)], (state.metrics)()).into_response())
}

/// `POST /api/tasks`: the HTTP spelling of `TASK SUBMIT`.
pub(super) async fn submit_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(_, fields): CallerBody,
) -> Result<Response, HttpError> {
    let submit = task_body::submit(&fields, state.settings.payload_bytes_max)?;
    let priority = submit.spec.band;
    let kept = state.durable.call(Command::Submit(Box::new(submit))).await;
    let kept = kept.map_err(|rejection| match rejection {
        Rejection::UnknownDependency { task } => task_body::unknown_dependency(task),
        other => other.into(),
    })?;
    let Reply::Submitted(kept) = kept else { unreachable!("submit keeps a task") };
    let task_id = task_view::legacy_id(kept.task);
    let body = json!({"status": "queued", "task_id": task_id, "priority": priority,
        "created_at": unix_ms()});
    Ok(reply(StatusCode::CREATED, &body))
}

/// `GET /api/tasks/:id`: the HTTP spelling of `TASK SHOW`.
pub(super) async fn show_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let task = task_view::parse_id(&id).ok_or_else(|| HttpError::TaskNotFound(id.clone()))?;
    match state.durable.call(Command::Show { task }).await {
        // The hub deleted what was cancelled.
        Ok(Reply::Task(view)) if view.state == command::State::Cancelled => {
            Err(HttpError::TaskNotFound(id))
        }
        Ok(Reply::Task(view)) => Ok(reply(StatusCode::OK, &task_view::legacy(&view))),
        Err(Rejection::NotFound { .. } | Rejection::Gone { .. }) => {
            Err(HttpError::TaskNotFound(id))
        }
        Err(rejection) => Err(rejection.into()),
        Ok(other) => unreachable!("show answered {other:?}"),
    }
}

/// Everything else.
pub(super) async fn not_found() -> HttpError {
    HttpError::NotFound
}

/// The wall clock, for people: the core keeps its own time of the submit.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
