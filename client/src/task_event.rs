//! Something that happened to a task.

use bytes::Bytes;

use crate::task_view::{TaskState, TaskView};
use crate::tasks::TaskId;

/// A task changed, or its holder reported on it. Items of a [`crate::Watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskEvent {
    /// Which task.
    pub task: TaskId,
    /// 1 for the submit, then one more each time. A gap means that events in between are not
    /// remembered any more; this one is the state that followed.
    pub seq: u64,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// Its state since then.
    pub state: TaskState,
    /// Its generation since then.
    pub generation: u64,
    /// Who did it, or holds it.
    pub agent: Option<String>,
    /// The report, if that is what happened.
    pub progress: Option<Progress>,
    /// The task that it waits for and that ended badly: it will not run unless that one does.
    pub blocked_by: Option<TaskId>,
    /// It was set aside for too long already; somebody should look after it before it is given up.
    pub is_escalated: bool,
}

/// One report on running work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// 1 for the first report on the task, then one more each time.
    pub seq: u64,
    /// What its holder sent.
    pub data: Bytes,
}

impl TaskEvent {
    /// The event in a frame whose body lies in `chunk`.
    pub(crate) fn slice(
        chunk: &Bytes,
        task: u64,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> TaskEvent {
        let field =
            |key: &str| fields.iter().find(|(found, _)| *found == key).map(|&(_, value)| value);
        let number = |key: &str| field(key).and_then(|value| value.parse().ok());
        TaskEvent {
            task: TaskId(task),
            seq: number("seq").unwrap_or(0),
            at_ms: number("at_ms").unwrap_or(0),
            state: field("state").map_or(TaskState::Unknown, TaskState::from_word),
            generation: number("generation").unwrap_or(0),
            agent: field("agent").map(str::to_owned),
            progress: number("progress_seq")
                .map(|seq| Progress { seq, data: chunk.slice_ref(body) }),
            blocked_by: number("blocked_by").map(TaskId),
            is_escalated: field("escalated") == Some("true"),
        }
    }

    /// What a task that was shown says of its newest event, which may have been missed.
    pub(crate) fn newest_of(view: &TaskView) -> TaskEvent {
        TaskEvent {
            task: view.task,
            seq: view.event_seq,
            at_ms: view.updated_ms,
            state: view.state,
            generation: view.generation,
            agent: view.agent.clone(),
            progress: None,
            blocked_by: view.after.iter().find(|after| after.is_blocked).map(|after| after.task),
            is_escalated: false,
        }
    }
}
