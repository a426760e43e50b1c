//! Request to command, reply to JSON. No rule of the broker lives here.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::messages::ask;
use super::{DurableCalls, HttpError, HttpState, task_body, task_view};
pub(super) use crate::commit::clock::unix_ms;
use crate::core::command::{
    self, Command, MessageCommand, MessageReply, PresenceView, Rejection, Reply, TaskId,
};
use crate::translate::message;
use crate::translate::trace::Trace;

/// `GET /health`: whether the broker is there, and how many agents are.
pub(super) async fn health<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    let agents = (state.agents_connected)();
    let body = json!({"status": "ok", "service": "agent_com", "agents_connected": agents});
    reply(StatusCode::OK, &body)
}

/// `POST /api/tasks`: the HTTP spelling of `TASK SUBMIT`.
pub(super) async fn submit_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    headers: HeaderMap,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let mut submit = task_body::submit(&fields, &caller.name(), &state.settings, unix_ms())?;
    let headers =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    if let Some(trace) = Trace::of(headers) {
        trace.mark_task(&mut submit);
    }
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
    let view = existing_task(&state, id).await?;
    let mut shown = task_view::legacy(&view);
    let since = state.lookout.look(|board| board.assigned_ms(view.task));
    shown["assigned_at"] = since.into();
    Ok(reply(StatusCode::OK, &shown))
}

/// The task of a path. The hub deleted what was cancelled, so that is not there.
///
/// # Errors
/// [`HttpError::TaskNotFound`]
pub(super) async fn existing_task<D: DurableCalls>(
    state: &HttpState<D>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Box<command::TaskView>, HttpError> {
    let (id, task) = named(id)?;
    match state.durable.call(Command::Show { task }).await {
        Ok(Reply::Task(view)) if view.state != command::State::Cancelled => Ok(view),
        Ok(_) | Err(Rejection::NotFound { .. } | Rejection::Gone { .. }) => {
            Err(HttpError::TaskNotFound(id))
        }
        Err(rejection) => Err(rejection.into()),
    }
}

/// `POST /api/tasks/:id/retry`: the HTTP spelling of `DEAD REDRIVE`.
pub(super) async fn retry_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(..): CallerBody,
) -> Result<Response, HttpError> {
    let (id, task) = named(id)?;
    let redriven = state.durable.call(Command::Redrive { task, delay_ms: 0 }).await;
    match redriven {
        Ok(_) => {}
        // Whatever is not dead is not there, for this purpose.
        Err(
            Rejection::NotFound { .. }
            | Rejection::Gone { .. }
            | Rejection::Terminal { .. }
            | Rejection::InvalidState { .. },
        ) => return Err(HttpError::TaskNotFound(id)),
        Err(rejection) => return Err(rejection.into()),
    }
    let Reply::Task(view) = state.durable.call(Command::Show { task }).await? else {
        unreachable!("show shows a task")
    };
    let task_id = task_view::legacy_id(task);
    let body = json!({"status": "requeued", "task_id": task_id, "priority": view.band});
    Ok(reply(StatusCode::OK, &body))
}

/// `POST /api/tasks/:id/cancel`: the HTTP spelling of `TASK CANCEL`.
pub(super) async fn cancel_task<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    let (id, task) = named(id)?;
    let before = match state.durable.call(Command::Show { task }).await {
        Ok(Reply::Task(view)) => view.state,
        Err(Rejection::NotFound { .. } | Rejection::Gone { .. }) => {
            return Err(HttpError::TaskNotFound(id));
        }
        Err(rejection) => return Err(rejection.into()),
        Ok(other) => unreachable!("show answered {other:?}"),
    };
    let reason = format!("cancelled by {}", caller.name()).into();
    match state.durable.call(Command::Cancel { task, reason, grace_ms: None }).await {
        Ok(_) => {
            let body = json!({"status": "cancelled", "task_id": task_view::legacy_id(task),
                "previous_status": task_view::status(before)});
            Ok(reply(StatusCode::OK, &body))
        }
        Err(Rejection::NotFound { .. } | Rejection::Gone { .. }) => {
            Err(HttpError::TaskNotFound(id))
        }
        Err(rejection) => Err(rejection.into()),
    }
}

/// The task of the path: as it was spelled, and its number.
fn named(id: Result<Path<String>, PathRejection>) -> Result<(String, TaskId), HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    match task_view::parse_id(&id) {
        Some(task) => Ok((id, task)),
        None => Err(HttpError::TaskNotFound(id)),
    }
}

/// `GET /api/agents`: who is here. For everybody.
pub(super) async fn agents<D: DurableCalls>(
    State(state): State<HttpState<D>>,
) -> Result<Response, HttpError> {
    let mut agents = Vec::new();
    for view in present(&state).await? {
        let (fsm, _) = work(&state, &view).await?;
        let mut agent = message::agent(&view);
        agent["fsm_state"] = fsm.into();
        agents.push(agent);
    }
    Ok(reply(StatusCode::OK, &json!({ "agents": agents })))
}

/// `GET /api/agents/states`: who is here, and at what.
pub(super) async fn agent_states<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
) -> Result<Response, HttpError> {
    let mut agents = Vec::new();
    for view in present(&state).await? {
        agents.push(agent_at_work(&state, &view).await?);
    }
    Ok(reply(StatusCode::OK, &json!({ "agents": agents })))
}

/// `GET /api/agents/:id/state`: at what one of them is.
pub(super) async fn agent_state<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let found = present(&state).await?.into_iter().find(|view| view.agent.as_str() == id);
    let view = found.ok_or(HttpError::AgentAbsent)?;
    let mut agent = agent_at_work(&state, &view).await?;
    agent["last_state_change"] = view.seen_ms.into();
    Ok(reply(StatusCode::OK, &agent))
}

/// Who is here.
pub(super) async fn present<D: DurableCalls>(
    state: &HttpState<D>,
) -> Result<Vec<PresenceView>, HttpError> {
    match ask(&state.durable, MessageCommand::ListPresent).await? {
        Some(MessageReply::Present(views)) => Ok(views),
        other => unreachable!("a list answered {other:?}"),
    }
}

/// The state of an agent in the words of the hub, and the task that it has.
async fn work<D: DurableCalls>(
    state: &HttpState<D>,
    view: &PresenceView,
) -> Result<(&'static str, Option<TaskId>), HttpError> {
    let held = state.durable.call(Command::Holds { agent: view.agent.clone() }).await?;
    let Reply::Holding(leases) = held else { unreachable!("leases were asked for") };
    let Some((task, _)) = leases.first().copied() else { return Ok(("idle", None)) };
    let fsm = match state.durable.call(Command::Show { task }).await {
        Ok(Reply::Task(view)) if view.state == command::State::Offered => "assigned",
        _ => "working",
    };
    Ok((fsm, Some(task)))
}

async fn agent_at_work<D: DurableCalls>(
    state: &HttpState<D>,
    view: &PresenceView,
) -> Result<Value, HttpError> {
    let (fsm, task) = work(state, view).await?;
    let capabilities: Vec<Value> =
        view.profile.capabilities.iter().map(|name| json!({ "name": **name })).collect();
    Ok(json!({
        "agent_id": view.agent.as_str(),
        "fsm_state": fsm,
        "current_task_id": task.map(task_view::legacy_id),
        "capabilities": capabilities,
        "flags": [],
        "connected_at": view.connected_ms,
        "name": view.profile.name.as_deref(),
    }))
}

/// Everything else.
pub(super) async fn not_found() -> HttpError {
    HttpError::NotFound
}
