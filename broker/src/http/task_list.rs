//! Lists of tasks over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::reply;
use super::query::{Parameters, Raw};
use super::{DurableCalls, HttpError, HttpState, task_view};
use crate::core::command::{Command, List, Reply, State as TaskState, TaskView};
use crate::core::record::Shelf;

/// Tasks in one answer, the oldest ones: what a legacy client holds in memory, and no more.
const TASKS_MAX: usize = 1_000;
/// Tasks that are read at once.
const PAGE: usize = 200;

/// `GET /api/tasks`: tasks that are no dead letters, in the order of priority and age.
pub(super) async fn list<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
    query: Raw,
) -> Result<Response, HttpError> {
    let parameters = Parameters::of(query);
    let shelves: &[Shelf] = match parameters.text("status") {
        None => &[Shelf::Open, Shelf::Done],
        Some("queued" | "assigned") => &[Shelf::Open],
        Some("completed") => &[Shelf::Done],
        Some(_) => &[],
    };
    // A word that is no priority asks for nothing.
    let named = ["urgent", "high", "normal", "low"];
    let priority = parameters.text("priority");
    let band = priority.and_then(|word| named.iter().position(|name| *name == word));
    let is_wanted = |task: &TaskView, shown: &Value| {
        let same = |name: &str, key: &str| {
            parameters.text(name).is_none_or(|text| shown[key].as_str() == Some(text))
        };
        // The hub deleted what was cancelled.
        task.state != TaskState::Cancelled
            && same("status", "status")
            && same("assigned_to", "assigned_to")
            && same("goal_id", "goal_id")
            && band.is_none_or(|band| usize::from(task.band) == band)
    };
    let mut tasks = Vec::new();
    for shelf in shelves {
        gather(&state, *shelf, &is_wanted, &mut tasks).await?;
    }
    tasks.sort_by_key(|task| (task["priority"].as_u64(), task["created_at"].as_u64()));
    Ok(reply(StatusCode::OK, &json!({"count": tasks.len(), "tasks": tasks})))
}

/// `GET /api/tasks/dead-letter`: those that are.
pub(super) async fn dead<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
) -> Result<Response, HttpError> {
    let mut tasks = Vec::new();
    gather(&state, Shelf::Dead, &|_, _| true, &mut tasks).await?;
    Ok(reply(StatusCode::OK, &json!({"count": tasks.len(), "tasks": tasks})))
}

/// The oldest tasks of a shelf that are wanted.
async fn gather<D: DurableCalls>(
    state: &HttpState<D>,
    shelf: Shelf,
    is_wanted: &(dyn Fn(&TaskView, &Value) -> bool + Sync),
    tasks: &mut Vec<Value>,
) -> Result<(), HttpError> {
    let mut after = None;
    loop {
        let page = List { after, has_bodies: true, ..List::of(shelf, PAGE) };
        let Reply::Listed { tasks: found, next } = state.durable.call(Command::List(page)).await?
        else {
            unreachable!("a list is a list")
        };
        for view in found {
            let shown = task_view::legacy(&view);
            if is_wanted(&view, &shown) {
                tasks.push(shown);
            }
            if tasks.len() == TASKS_MAX {
                return Ok(());
            }
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}
