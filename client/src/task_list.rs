//! Looking at many tasks, and at why one does not move.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde::Deserialize;

use crate::answer::{Terms, option, word};
use crate::client::Client;
use crate::operation_error::{ShowError, Trouble};
use crate::task_view::{TaskState, TaskView};
use crate::tasks::TaskId;

/// Tasks to be listed, in the order of their numbers; made by [`crate::Tasks::list`] and
/// [`crate::Tasks::list_dead`], asked for by awaiting it. Cancel-safe.
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::ShowError> {
/// use agentcom_client::TaskState;
/// let tasks = client.tasks();
/// let mut page = tasks.list().queue("resize").state(TaskState::Running).await?;
/// while let Some(next) = page.next {
///     page = tasks.list().queue("resize").state(TaskState::Running).after(next).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "tasks are listed when this is awaited"]
pub struct TaskList {
    client: Client,
    family: &'static str,
    options: Vec<(&'static str, String)>,
}

/// Some of the tasks of a list, without their payloads and results.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where the list goes on ([`TaskList::after`]); `None` if this was all.
    pub next: Option<TaskId>,
}

impl TaskList {
    pub(crate) fn new(client: Client, family: &'static str) -> TaskList {
        TaskList { client, family, options: Vec::new() }
    }

    /// Only those of this queue. Default: of all.
    pub fn queue(self, queue: impl Into<String>) -> TaskList {
        self.set("queue", queue.into())
    }

    /// Only those in this state. Default: all that are not over. Not for
    /// [`crate::Tasks::list_dead`].
    pub fn state(self, state: TaskState) -> TaskList {
        self.set("state", state.as_str().to_owned())
    }

    /// Those that are completed or cancelled, instead of those that are not over. Not for
    /// [`crate::Tasks::list_dead`].
    pub fn done(self) -> TaskList {
        self.set("done", "true".to_owned())
    }

    /// Only those that are dead for this reason. Only for [`crate::Tasks::list_dead`].
    pub fn reason(self, reason: impl Into<String>) -> TaskList {
        self.set("reason", reason.into())
    }

    /// Only those behind this one. Default: from the beginning.
    pub fn after(self, task: TaskId) -> TaskList {
        self.set("after", task.to_string())
    }

    /// At most so many, 1 to 1,000. Default: 100.
    pub fn limit(self, tasks: usize) -> TaskList {
        self.set("limit", tasks.to_string())
    }

    fn set(mut self, key: &'static str, value: String) -> TaskList {
        self.options.push((key, value));
        self
    }

    async fn send(self) -> Result<TaskPage, ShowError> {
        let options = self.options.iter().map(|(key, value)| Ok(option(key, word(key, value)?)));
        let options: Vec<String> = options.collect::<Result<_, Trouble>>()?;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let shared = self.client.shared();
        let granted = shared.ask([self.family, "LIST"], &options, None, Terms::default()).await?;
        let (tasks, next) = TaskView::parse_several(&granted.body)?;
        Ok(TaskPage { tasks, next })
    }
}

impl IntoFuture for TaskList {
    type Output = Result<TaskPage, ShowError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Why a task is where it is ([`crate::Tasks::why`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Why {
    /// Where it is.
    pub state: TaskState,
    /// All that keeps it there.
    pub reasons: Vec<WhyReason>,
}

/// One thing that keeps a task where it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct WhyReason {
    /// For programs.
    pub code: String,
    /// For people.
    pub sentence: String,
}

impl Why {
    pub(crate) fn parse(json: &[u8]) -> Result<Why, Trouble> {
        #[derive(Deserialize)]
        struct Json {
            state: String,
            reasons: Vec<WhyReason>,
        }
        let Json { state, reasons } = serde_json::from_slice(json).map_err(Trouble::protocol)?;
        Ok(Why { state: TaskState::from_word(&state), reasons })
    }
}
