//! Durable tasks from the submitter's side.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::answer::{Terms, milliseconds, option, word};
use crate::client::Client;
use crate::graph::Graph;
use crate::operation_error::{AwaitError, CancelError, DeadError, ShowError, Trouble, TroubleKind};
use crate::task_builder::TaskBuilder;
use crate::task_list::{TaskList, Why};
use crate::task_view::{Failure, TaskState, TaskView};
use crate::watch::WatchBuilder;

/// The number of a task. The broker never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<TaskId, Self::Err> {
        text.parse().map(TaskId)
    }
}

/// How urgent a task is: lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// Before everything else.
    pub const URGENT: Priority = Priority(0);
    /// Before normal work.
    pub const HIGH: Priority = Priority(1);
    /// What a task has that says nothing.
    pub const NORMAL: Priority = Priority(2);
    /// After normal work.
    pub const LOW: Priority = Priority(3);
}

impl From<u8> for Priority {
    fn from(value: u8) -> Priority {
        Priority(value)
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done; this is its result.
    Completed(Bytes),
    /// It was given up.
    Dead {
        /// Why, as one word of the broker's.
        reason: String,
        /// Its failures, oldest first, as far as they are remembered.
        failures: Vec<Failure>,
    },
    /// It was called off.
    Cancelled {
        /// Why, in somebody's words.
        reason: String,
        /// What its agent had when it stopped.
        result: Option<Bytes>,
    },
}

impl Outcome {
    /// How a task ended; `None` if it did not.
    #[must_use]
    pub fn of(view: TaskView) -> Option<Outcome> {
        match view.state {
            TaskState::Completed => Some(Outcome::Completed(view.result.unwrap_or_default())),
            TaskState::Dead => Some(Outcome::Dead {
                reason: view.dead.unwrap_or_default(),
                failures: view.failures,
            }),
            TaskState::Cancelled => Some(Outcome::Cancelled {
                reason: view.cancelled.unwrap_or_default(),
                result: view.result,
            }),
            _ => None,
        }
    }
}

/// Longest time for which one question to the broker waits.
const AWAIT_MAX: Duration = Duration::from_secs(3600);

/// Submits tasks, looks at them and calls them off; made by [`Client::tasks`].
#[derive(Clone, Debug)]
pub struct Tasks {
    client: Client,
}

impl Tasks {
    pub(crate) fn new(client: Client) -> Tasks {
        Tasks { client }
    }

    /// Have a task done by some agent that works on `queue`. Await the returned [`TaskBuilder`]:
    /// when it is ready, the task is on disk.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::SubmitError> {
    /// use std::time::Duration;
    /// use agentcom_client::Priority;
    /// let kept = client
    ///     .tasks()
    ///     .submit("resize")
    ///     .payload("cat.png")
    ///     .needs(["gpu"])
    ///     .priority(Priority::HIGH)
    ///     .delay(Duration::from_secs(60))
    ///     .await?;
    /// println!("task {}", kept.task);
    /// # Ok(()) }
    /// ```
    pub fn submit(&self, queue: impl Into<String>) -> TaskBuilder {
        TaskBuilder::new(self.client.clone(), queue.into())
    }

    /// Have several tasks kept together or not at all. Add them, then await the returned
    /// [`Graph`].
    pub fn graph(&self) -> Graph {
        Graph::new(self.client.clone())
    }

    /// What became of a task. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::ShowErrorKind`].
    pub async fn show(&self, task: impl Into<TaskId>) -> Result<TaskView, ShowError> {
        let task = task.into().to_string();
        let shared = self.client.shared();
        let granted = shared.ask(["TASK", "SHOW"], &[&task], None, Terms::default()).await?;
        Ok(TaskView::parse(&granted.body)?)
    }

    /// Tasks that are not over, or of one state; say which, then await the returned [`TaskList`].
    pub fn list(&self) -> TaskList {
        TaskList::new(self.client.clone(), "TASK")
    }

    /// Tasks that were given up; say which, then await the returned [`TaskList`].
    pub fn list_dead(&self) -> TaskList {
        TaskList::new(self.client.clone(), "DEAD")
    }

    /// Why a task is where it is: what it waits for, and what could be done about it. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::ShowErrorKind`].
    pub async fn why(&self, task: impl Into<TaskId>) -> Result<Why, ShowError> {
        let task = task.into().to_string();
        let shared = self.client.shared();
        let granted = shared.ask(["TASK", "WHY"], &[&task], None, Terms::default()).await?;
        Ok(Why::parse(&granted.body)?)
    }

    /// Wait until a task is over, for `timeout` at most. After a lost connection it goes on
    /// waiting on the next one. Cancel-safe.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use agentcom_client::Outcome;
    /// let kept = client.tasks().submit("shout").payload("hello").await?;
    /// match client.tasks().await_result(kept, Duration::from_secs(60)).await? {
    ///     Outcome::Completed(result) => println!("{} bytes", result.len()),
    ///     Outcome::Dead { reason, .. } => eprintln!("given up: {reason}"),
    ///     other => eprintln!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`crate::AwaitErrorKind`]; a task that is not over in time is
    /// [`crate::AwaitErrorKind::NotOver`].
    pub async fn await_result(
        &self,
        task: impl Into<TaskId>,
        timeout: Duration,
    ) -> Result<Outcome, AwaitError> {
        let task = task.into();
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let view = self.await_once(task, left.min(AWAIT_MAX)).await?;
            let state = view.state;
            if let Some(outcome) = Outcome::of(view) {
                return Ok(outcome);
            }
            if Instant::now() >= deadline {
                let kind = TroubleKind::Declined("not_over".to_owned());
                return Err(Trouble::with_source(kind, format!("task {task} is {state}")).into());
            }
        }
    }

    async fn await_once(&self, task: TaskId, timeout: Duration) -> Result<TaskView, Trouble> {
        let timeout_ms = option("timeout_ms", milliseconds(timeout));
        let arguments = [&*task.to_string(), &*timeout_ms];
        let terms = Terms::patient(timeout);
        let shared = self.client.shared();
        let granted = shared.ask_repeatedly(["TASK", "AWAIT"], &arguments, terms).await?;
        TaskView::parse(&granted.body)
    }

    /// Follow a task. Await the returned [`WatchBuilder`] for a stream of its events.
    pub fn watch(&self, task: impl Into<TaskId>) -> WatchBuilder {
        WatchBuilder::new(self.client.clone(), task.into())
    }

    /// Call a task off. What nobody works on is cancelled at once; an agent that works on it is
    /// asked to stop, and given `grace` to do so (`None`: what the broker gives). `reason` is for
    /// people, at most 256 characters, and may be empty. Gives the state that followed:
    /// [`TaskState::Running`] while an agent has yet to stop.
    ///
    /// A dropped call may or may not have arrived; to call again is harmless.
    ///
    /// # Errors
    /// [`crate::CancelErrorKind`].
    pub async fn cancel(
        &self,
        task: impl Into<TaskId>,
        reason: &str,
        grace: Option<Duration>,
    ) -> Result<(), CancelError> {
        let task = task.into();
        let grace_ms = grace.map(milliseconds);
        if word("the reason", reason).is_err() && !reason.is_empty() {
            // Only JSON has room for blanks.
            let body = json!({"task": task.0, "reason": reason, "grace_ms": grace_ms});
            return Ok(self.client.ask_in_json("TASK.CANCEL", &body).await?);
        }
        let mut arguments = vec![task.to_string()];
        arguments.extend(grace_ms.map(|grace_ms| option("grace_ms", grace_ms)));
        arguments.extend((!reason.is_empty()).then(|| option("reason", reason)));
        Ok(self.tell(["TASK", "CANCEL"], &arguments).await?)
    }

    /// Take a task away from the agent that holds it, whatever it does; another one gets it.
    ///
    /// A dropped call may or may not have arrived.
    ///
    /// # Errors
    /// [`crate::CancelErrorKind`].
    pub async fn reclaim(&self, task: impl Into<TaskId>) -> Result<(), CancelError> {
        Ok(self.tell(["TASK", "RECLAIM"], &[task.into().to_string()]).await?)
    }

    /// Give a dead task another life, not before `delay` has passed.
    ///
    /// A dropped call may or may not have arrived; to call again finds out.
    ///
    /// # Errors
    /// [`crate::DeadErrorKind`].
    pub async fn redrive(&self, task: impl Into<TaskId>, delay: Duration) -> Result<(), DeadError> {
        let delay_ms = option("delay_ms", milliseconds(delay));
        Ok(self.tell(["DEAD", "REDRIVE"], &[task.into().to_string(), delay_ms]).await?)
    }

    /// Give a dead task up for good.
    ///
    /// A dropped call may or may not have arrived; to call again finds out.
    ///
    /// # Errors
    /// [`crate::DeadErrorKind`].
    pub async fn discard(&self, task: impl Into<TaskId>) -> Result<(), DeadError> {
        Ok(self.tell(["DEAD", "DISCARD"], &[task.into().to_string()]).await?)
    }

    async fn tell(&self, verb: [&str; 2], arguments: &[String]) -> Result<(), Trouble> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.client.shared().ask(verb, &arguments, None, Terms::default()).await.map(drop)
    }
}
