//! Alerts over HTTP: those that are active and who knows of them (the contract's 2.7), and those that
//! were (the seed's).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::handlers::unix_ms;
use super::{DurableCalls, HttpError, HttpState, task_view};
use crate::board::alerts::{Alert, PastAlert};
use crate::board::rules::Rule;
use crate::core::command::TaskId;
use crate::translate::alert;

/// `GET /api/alerts`: what is wrong now. For everybody.
pub(super) async fn list<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    reply(StatusCode::OK, &json!({"alerts": active(&state), "timestamp": unix_ms()}))
}

/// `GET /api/admin/alerts`: what is wrong and what was, the newest first. `cleared_at` is null while
/// it is wrong.
pub(super) async fn history<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let past: Vec<PastAlert> = state.lookout.look(|board| board.alerts().past().cloned().collect());
    let mut alerts = active(&state);
    for active in &mut alerts {
        active["cleared_at"] = Value::Null;
    }
    alerts.extend(past.iter().map(|past| alert::past(past, &task_name)));
    Ok(reply(StatusCode::OK, &json!({"alerts": alerts, "timestamp": unix_ms()})))
}

/// What is wrong now.
pub(super) fn active<D>(state: &HttpState<D>) -> Vec<Value> {
    let active: Vec<Alert> = state.lookout.look(|board| board.alerts().active().cloned().collect());
    active.iter().map(|active| alert::alert(active, &task_name)).collect()
}

/// How a task is called here.
pub(super) fn task_name(task: TaskId) -> Value {
    task_view::legacy_id(task).into()
}

/// `POST /api/alerts/:rule_id/acknowledge`: somebody knows.
pub(super) async fn acknowledge<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let rule = Rule::parse(&id).filter(|rule| state.lookout.acknowledge(*rule));
    let rule = rule.ok_or(HttpError::AlertNotFound)?;
    let body = json!({"status": "acknowledged", "rule_id": rule.as_str()});
    Ok(reply(StatusCode::OK, &body))
}
