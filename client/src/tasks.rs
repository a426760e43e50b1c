//! Durable tasks from the submitter's side.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::answer::{Terms, word, word_list};
use crate::client::Client;
use crate::error::{TaskError, TaskErrorKind};
use crate::task_view::TaskView;

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

/// Submits tasks and looks at them; made by [`Client::tasks`].
#[derive(Clone, Debug)]
pub struct Tasks {
    client: Client,
}

impl Tasks {
    pub(crate) fn new(client: Client) -> Tasks {
        Tasks { client }
    }

    /// Have a task done by some agent that works on `queue`. Await the returned [`Submit`]: when
    /// it is ready, the task is on disk.
    ///
    /// ```no_run
    /// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::TaskError> {
    /// use agentcom_client::Priority;
    /// let task = client
    ///     .tasks()
    ///     .submit("resize", "cat.png".into())
    ///     .needs(["gpu"])
    ///     .priority(Priority::HIGH)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn submit(&self, queue: impl Into<String>, payload: Bytes) -> Submit {
        Submit {
            client: self.client.clone(),
            queue: queue.into(),
            payload,
            needs: Vec::new(),
            priority: None,
            attempts: None,
            lease: None,
        }
    }

    /// What became of a task. Cancel-safe.
    ///
    /// # Errors
    /// [`TaskErrorKind::NotFound`] when there is none of this number, and the errors of every
    /// task operation.
    pub async fn show(&self, task: TaskId) -> Result<TaskView, TaskError> {
        let task = task.to_string();
        let shared = self.client.shared();
        let granted = shared.ask(["TASK", "SHOW"], &[&task], None, Terms::default()).await?;
        TaskView::parse(&granted.body)
    }
}

/// A task to be submitted: set what differs from the defaults, then await it.
///
/// Not cancel-safe: when it is dropped after it was polled, the task may or may not have been
/// submitted; and so with [`TaskErrorKind::Disconnected`] and [`TaskErrorKind::TimedOut`].
#[derive(Clone, Debug)]
#[must_use = "a task is submitted when this is awaited"]
pub struct Submit {
    client: Client,
    queue: String,
    payload: Bytes,
    needs: Vec<String>,
    priority: Option<Priority>,
    attempts: Option<u32>,
    lease: Option<Duration>,
}

impl Submit {
    /// Capabilities that an agent must have to get it. Default: any agent may.
    pub fn needs<I: IntoIterator<Item: Into<String>>>(mut self, capabilities: I) -> Submit {
        self.needs = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// How urgent it is. Default: [`Priority::NORMAL`].
    pub fn priority(mut self, priority: impl Into<Priority>) -> Submit {
        self.priority = Some(priority.into());
        self
    }

    /// How often it may fail before it is dead, 1 to 100. Default: 3.
    pub fn attempts(mut self, attempts: u32) -> Submit {
        self.attempts = Some(attempts);
        self
    }

    /// How long an agent may be silent before the task goes to another, 1 s to 1 day, in whole
    /// milliseconds. Default: 30 seconds.
    pub fn lease(mut self, lease: Duration) -> Submit {
        self.lease = Some(lease);
        self
    }

    async fn send(self) -> Result<TaskId, TaskError> {
        let options = [
            word_list("a capability", &self.needs)?.map(|needs| format!("needs={needs}")),
            self.priority.map(|Priority(priority)| format!("priority={priority}")),
            self.attempts.map(|attempts| format!("attempts={attempts}")),
            self.lease.map(|lease| format!("lease_ms={}", lease.as_millis())),
        ];
        let mut arguments = vec![word("the queue", &self.queue)?];
        arguments.extend(options.iter().flatten().map(String::as_str));
        let shared = self.client.shared();
        let body = Some(&self.payload[..]);
        let granted = shared.ask(["TASK", "SUBMIT"], &arguments, body, Terms::default()).await?;
        let task = granted.field("task").and_then(|task| task.parse().ok());
        task.ok_or_else(|| {
            TaskError::with_source(TaskErrorKind::Protocol, "the answer names no task")
        })
    }
}

impl IntoFuture for Submit {
    type Output = Result<TaskId, TaskError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
