//! Everything worth showing about one task, as the broker shows it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use crate::error::{TaskError, TaskErrorKind};
use crate::tasks::{Priority, TaskId};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TaskState {
    /// Waits for a time (a delay, or the back-off after a failure).
    Scheduled,
    /// Waits for an agent.
    Ready,
    /// Offered to an agent that has not accepted it yet.
    Offered,
    /// An agent works on it.
    Running,
    /// Done.
    Completed,
    /// Given up; [`TaskView::dead`] says why.
    Dead,
    /// A state that this client does not know.
    #[serde(other)]
    Unknown,
}

impl TaskState {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, TaskState::Completed | TaskState::Dead)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskState::Scheduled => "scheduled",
            TaskState::Ready => "ready",
            TaskState::Offered => "offered",
            TaskState::Running => "running",
            TaskState::Completed => "completed",
            TaskState::Dead => "dead",
            TaskState::Unknown => "unknown",
        })
    }
}

/// A task as it was when the broker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskView {
    /// Its number.
    pub task: TaskId,
    /// Its queue.
    pub queue: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// How often it changed hands.
    pub generation: u64,
    /// How urgent it is.
    pub priority: Priority,
    /// Capabilities that an agent must have.
    pub needs: Vec<String>,
    /// Who has it now.
    pub agent: Option<String>,
    /// Attempts that failed.
    pub attempts: u32,
    /// Attempts that it may take.
    pub attempts_max: u32,
    /// How often the agent that had it went silent.
    pub lost: u32,
    /// When it was submitted, in milliseconds since 1970 (UTC).
    pub submitted_ms: u64,
    /// When it last changed, in milliseconds since 1970 (UTC).
    pub updated_ms: u64,
    /// The bytes that were submitted.
    pub payload: Bytes,
    /// What its agent last reported.
    pub progress: Option<Bytes>,
    /// What came of it.
    pub result: Option<Bytes>,
    /// What the last failed attempt said.
    pub error: Option<Bytes>,
    /// Why it was given up.
    pub dead: Option<String>,
}

/// The JSON. Bytes are text where they are UTF-8, and base64 under another key where not.
#[derive(Deserialize)]
struct Json {
    task: u64,
    queue: String,
    state: TaskState,
    generation: u64,
    priority: u8,
    #[serde(default)]
    needs: Vec<String>,
    agent: Option<String>,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    attempts_max: u32,
    #[serde(default)]
    lost: u32,
    #[serde(default)]
    submitted_ms: u64,
    #[serde(default)]
    updated_ms: u64,
    payload: Option<String>,
    payload_base64: Option<String>,
    progress: Option<String>,
    progress_base64: Option<String>,
    result: Option<String>,
    result_base64: Option<String>,
    error: Option<String>,
    error_base64: Option<String>,
    dead: Option<String>,
}

impl TaskView {
    pub(crate) fn parse(json: &[u8]) -> Result<TaskView, TaskError> {
        let json: Json = serde_json::from_slice(json)
            .map_err(|error| TaskError::with_source(TaskErrorKind::Protocol, error))?;
        Ok(TaskView {
            task: TaskId(json.task),
            queue: json.queue,
            state: json.state,
            generation: json.generation,
            priority: Priority(json.priority),
            needs: json.needs,
            agent: json.agent,
            attempts: json.attempts,
            attempts_max: json.attempts_max,
            lost: json.lost,
            submitted_ms: json.submitted_ms,
            updated_ms: json.updated_ms,
            payload: bytes(json.payload, json.payload_base64)?.unwrap_or_default(),
            progress: bytes(json.progress, json.progress_base64)?,
            result: bytes(json.result, json.result_base64)?,
            error: bytes(json.error, json.error_base64)?,
            dead: json.dead,
        })
    }
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, TaskError> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(Bytes::from(text))),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map(|bytes| Some(Bytes::from(bytes)))
            .map_err(|error| TaskError::with_source(TaskErrorKind::Protocol, error)),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_holds_text_and_bytes() {
        let json = br#"{"task":17,"queue":"q","state":"dead","generation":2,"priority":1,
            "needs":["gpu"],"attempts":3,"attempts_max":3,"lost":0,"submitted_ms":5,"updated_ms":6,
            "payload":"cat.png","progress_base64":"/w==","error":"no file","dead":"failed","later":{"unknown":1}}"#;
        let view = TaskView::parse(json).expect("a view");
        assert_eq!(&view.payload[..], b"cat.png");
        assert_eq!(view.progress.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(view.error.as_deref(), Some(&b"no file"[..]));
        assert_eq!((view.agent, view.result, view.state.is_final()), (None, None, true));
    }

    #[test]
    fn a_state_of_a_later_broker_is_unknown_and_no_error() {
        let json = br#"{"task":1,"queue":"q","state":"parked","generation":1,"priority":2}"#;
        assert_eq!(TaskView::parse(json).expect("a view").state, TaskState::Unknown);
    }
}
