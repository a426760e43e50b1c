//! Everything worth showing about one task, as the broker shows it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use crate::after::AfterEnd;
use crate::operation_error::Trouble;
use crate::tasks::{Priority, TaskId};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Waits for other tasks.
    Held,
    /// Waits for a time (a delay, or the back-off after a failure).
    Scheduled,
    /// Waits for an agent.
    Ready,
    /// Offered to an agent that has not accepted it yet.
    Offered,
    /// An agent works on it.
    Running,
    /// Set aside by its agent until somebody answers a question or other tasks end.
    Parked,
    /// Done.
    Completed,
    /// Given up; [`TaskView::dead`] says why.
    Dead,
    /// Called off; [`TaskView::cancelled`] says why.
    Cancelled,
    /// A state that this client does not know.
    Unknown,
}

/// Every state that has a name.
const STATES: [(TaskState, &str); 9] = [
    (TaskState::Held, "held"),
    (TaskState::Scheduled, "scheduled"),
    (TaskState::Ready, "ready"),
    (TaskState::Offered, "offered"),
    (TaskState::Running, "running"),
    (TaskState::Parked, "parked"),
    (TaskState::Completed, "completed"),
    (TaskState::Dead, "dead"),
    (TaskState::Cancelled, "cancelled"),
];

impl TaskState {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, TaskState::Completed | TaskState::Dead | TaskState::Cancelled)
    }

    /// The state's name, as the broker spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("unknown", |(_, word)| word)
    }

    pub(crate) fn from_word(word: &str) -> TaskState {
        let found = STATES.iter().find(|(_, name)| *name == word);
        found.map_or(TaskState::Unknown, |(state, _)| *state)
    }
}

impl FromStr for TaskState {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<TaskState, UnknownState> {
        match TaskState::from_word(word) {
            TaskState::Unknown => Err(UnknownState { found: word.to_owned() }),
            state => Ok(state),
        }
    }
}

/// A word that is no [`TaskState`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no state of a task")]
pub struct UnknownState {
    found: String,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// Whose work it is.
    pub key: Option<String>,
    /// Where it is in its life.
    pub state: TaskState,
    /// How often it changed hands.
    pub generation: u64,
    /// Number of its newest event: where to go on watching from.
    pub event_seq: u64,
    /// How urgent it is.
    pub priority: Priority,
    /// Capabilities that an agent must have.
    pub needs: Vec<String>,
    /// What it uses of its agent's capacity.
    pub uses: BTreeMap<String, u32>,
    /// The agent that it is for alone.
    pub assign_to: Option<String>,
    /// Until when it is for that agent alone, in milliseconds since 1970 (UTC); for ever if absent.
    pub assign_until_ms: Option<u64>,
    /// Who has it now, or had it last.
    pub agent: Option<String>,
    /// Attempts that failed.
    pub attempts: u32,
    /// Attempts that it may take.
    pub attempts_max: u32,
    /// How often the agent that had it went silent.
    pub lost: u32,
    /// Offers that nobody answered.
    pub offers_expired: u32,
    /// Agents that declined it.
    pub declines: u32,
    /// How often it was handed back.
    pub releases: u32,
    /// How often it came back from the dead.
    pub redrives: u32,
    /// Agents that it is not offered to.
    pub excluded: Vec<String>,
    /// When it was submitted, in milliseconds since 1970 (UTC).
    pub submitted_ms: u64,
    /// When it last changed, in milliseconds since 1970 (UTC).
    pub updated_ms: u64,
    /// While it is scheduled: for when, in milliseconds since 1970 (UTC).
    pub due_ms: Option<u64>,
    /// Tasks that it waits for.
    pub after: Vec<AfterView>,
    /// Its agent was asked to stop.
    pub is_cancelling: bool,
    /// The bytes that were submitted.
    pub payload: Bytes,
    /// What was submitted about them.
    pub headers: BTreeMap<String, String>,
    /// What its agent last reported.
    pub progress: Option<Bytes>,
    /// The number of that report; 0 if there was none.
    pub progress_seq: u64,
    /// What came of it.
    pub result: Option<Bytes>,
    /// What the last failed attempt said.
    pub error: Option<Bytes>,
    /// Its failures, oldest first, as far as they are remembered.
    pub failures: Vec<Failure>,
    /// Why it was given up.
    pub dead: Option<String>,
    /// Why it was called off, in somebody's words.
    pub cancelled: Option<String>,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// Under which generation.
    pub generation: u64,
    /// Who had it.
    pub agent: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// In the words of the agent, or of the broker if its time ran out.
    pub error: String,
}

/// An edge to another task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AfterView {
    /// The other task.
    pub task: TaskId,
    /// What is waited for.
    pub end: AfterEnd,
    /// The other task ended badly, so this one does not run.
    pub is_blocked: bool,
}

/// The JSON. Bytes are text where they are UTF-8, and base64 under another key where not.
#[derive(Deserialize)]
struct Json {
    task: u64,
    queue: String,
    key: Option<String>,
    state: String,
    generation: u64,
    #[serde(default)]
    seq: u64,
    priority: u8,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    uses: BTreeMap<String, u32>,
    assign_to: Option<String>,
    assign_until_ms: Option<u64>,
    agent: Option<String>,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    attempts_max: u32,
    #[serde(default)]
    lost: u32,
    #[serde(default)]
    offers_expired: u32,
    #[serde(default)]
    declines: u32,
    #[serde(default)]
    releases: u32,
    #[serde(default)]
    redrives: u32,
    #[serde(default)]
    excluded: Vec<String>,
    #[serde(default)]
    submitted_ms: u64,
    #[serde(default)]
    updated_ms: u64,
    due_ms: Option<u64>,
    #[serde(default)]
    after: Vec<Edge>,
    #[serde(default)]
    cancelling: bool,
    payload: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    progress: Option<String>,
    progress_base64: Option<String>,
    #[serde(default)]
    progress_seq: u64,
    result: Option<String>,
    result_base64: Option<String>,
    error: Option<String>,
    error_base64: Option<String>,
    #[serde(default)]
    errors: Vec<Failure>,
    dead: Option<String>,
    cancelled: Option<String>,
}

#[derive(Deserialize)]
struct Edge {
    task: u64,
    on: String,
    #[serde(rename = "else")]
    otherwise: Option<String>,
    #[serde(default)]
    blocked: bool,
}

/// What shows several tasks.
#[derive(Deserialize)]
struct Several {
    tasks: Vec<Json>,
    next: Option<u64>,
}

impl TaskView {
    pub(crate) fn parse(json: &[u8]) -> Result<TaskView, Trouble> {
        let json: Json = serde_json::from_slice(json).map_err(Trouble::protocol)?;
        TaskView::try_from(json)
    }

    /// Tasks, and where their list goes on if it does.
    pub(crate) fn parse_several(json: &[u8]) -> Result<(Vec<TaskView>, Option<TaskId>), Trouble> {
        let several: Several = serde_json::from_slice(json).map_err(Trouble::protocol)?;
        let tasks: Result<_, Trouble> = several.tasks.into_iter().map(TaskView::try_from).collect();
        Ok((tasks?, several.next.map(TaskId)))
    }
}

impl TryFrom<Json> for TaskView {
    type Error = Trouble;

    fn try_from(json: Json) -> Result<TaskView, Trouble> {
        Ok(TaskView {
            task: TaskId(json.task),
            queue: json.queue,
            key: json.key,
            state: TaskState::from_word(&json.state),
            generation: json.generation,
            event_seq: json.seq,
            priority: Priority(json.priority),
            needs: json.needs,
            uses: json.uses,
            assign_to: json.assign_to,
            assign_until_ms: json.assign_until_ms,
            agent: json.agent,
            attempts: json.attempts,
            attempts_max: json.attempts_max,
            lost: json.lost,
            offers_expired: json.offers_expired,
            declines: json.declines,
            releases: json.releases,
            redrives: json.redrives,
            excluded: json.excluded,
            submitted_ms: json.submitted_ms,
            updated_ms: json.updated_ms,
            due_ms: json.due_ms,
            after: json.after.into_iter().map(AfterView::from).collect(),
            is_cancelling: json.cancelling,
            payload: bytes(json.payload, json.payload_base64)?.unwrap_or_default(),
            headers: json.headers,
            progress: bytes(json.progress, json.progress_base64)?,
            progress_seq: json.progress_seq,
            result: bytes(json.result, json.result_base64)?,
            error: bytes(json.error, json.error_base64)?,
            failures: json.errors,
            dead: json.dead,
            cancelled: json.cancelled,
        })
    }
}

impl From<Edge> for AfterView {
    fn from(edge: Edge) -> AfterView {
        let end = match (edge.on.as_str(), edge.otherwise.as_deref()) {
            ("any", _) => AfterEnd::Any,
            (_, Some("cancel")) => AfterEnd::SuccessElseCancel,
            (_, Some("fail")) => AfterEnd::SuccessElseFail,
            _ => AfterEnd::SuccessElseBlock,
        };
        AfterView { task: TaskId(edge.task), end, is_blocked: edge.blocked }
    }
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, Trouble> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(Bytes::from(text))),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map(|bytes| Some(Bytes::from(bytes))).map_err(Trouble::protocol)
        }
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
            "payload":"cat.png","progress_base64":"/w==","error":"no file","dead":"failed",
            "errors":[{"generation":1,"agent":"alice","at_ms":4,"error":"no file"}],
            "after":[{"task":3,"on":"success","else":"fail","blocked":true}],
            "later":{"unknown":1}}"#;
        let view = TaskView::parse(json).expect("a view");
        assert_eq!(&view.payload[..], b"cat.png");
        assert_eq!(view.progress.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(view.error.as_deref(), Some(&b"no file"[..]));
        assert_eq!((view.agent, view.result, view.state.is_final()), (None, None, true));
        assert_eq!(view.failures[0].agent, "alice");
        let after = &view.after[0];
        let expected = (TaskId(3), AfterEnd::SuccessElseFail, true);
        assert_eq!((after.task, after.end, after.is_blocked), expected);
    }

    #[test]
    fn a_state_of_a_later_broker_is_unknown_and_no_error() {
        let json = br#"{"task":1,"queue":"q","state":"dreaming","generation":1,"priority":2}"#;
        assert_eq!(TaskView::parse(json).expect("a view").state, TaskState::Unknown);
    }

    #[test]
    fn every_state_is_found_by_its_word() {
        for (state, word) in STATES {
            assert_eq!((TaskState::from_word(word), state.as_str()), (state, word));
        }
    }
}
