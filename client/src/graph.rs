//! Tasks that are kept together or not at all, and that may wait for each other.

use std::collections::HashMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde_json::Value;

use crate::answer::Terms;
use crate::client::Client;
use crate::operation_error::{SubmitError, Trouble};
use crate::task_builder::TaskBuilder;
use crate::tasks::TaskId;

/// Tasks to be submitted at once: all of them are kept, or none. Made by [`crate::Tasks::graph`],
/// submitted by awaiting it. At most 1,000 tasks.
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::SubmitError> {
/// use agentcom_client::After;
/// let tasks = client.tasks();
/// let kept = tasks
///     .graph()
///     .task("fetch", tasks.submit("fetch").payload("https://example.com/cat.png"))
///     .task("resize", tasks.submit("resize").needs(["gpu"]).after("fetch"))
///     .task("clean-up", tasks.submit("files").after(After::any("resize")))
///     .await?;
/// println!("resized by task {}", kept["resize"]);
/// # Ok(()) }
/// ```
///
/// Not cancel-safe: when it is dropped after it was polled, all of the tasks or none may have been
/// submitted; and so with [`crate::SubmitErrorKind::Disconnected`] and
/// [`crate::SubmitErrorKind::TimedOut`].
#[derive(Clone, Debug)]
#[must_use = "the tasks are submitted when this is awaited"]
pub struct Graph {
    client: Client,
    tasks: Vec<(Option<String>, TaskBuilder)>,
}

/// The tasks of a [`Graph`] that are kept. Index it by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphTasks {
    ids: Vec<TaskId>,
    by_name: HashMap<String, TaskId>,
}

impl Graph {
    pub(crate) fn new(client: Client) -> Graph {
        Graph { client, tasks: Vec::new() }
    }

    /// Add a task under a name that others of the graph can wait for.
    pub fn task(mut self, name: impl Into<String>, task: TaskBuilder) -> Graph {
        self.tasks.push((Some(name.into()), task));
        self
    }

    /// Add a task that no other of the graph waits for.
    pub fn unnamed(mut self, task: TaskBuilder) -> Graph {
        self.tasks.push((None, task));
        self
    }

    async fn send(self) -> Result<GraphTasks, SubmitError> {
        let tasks = self.tasks.iter().map(|(name, task)| task.to_json(name.as_deref()));
        let body = Value::Array(tasks.collect()).to_string();
        let (shared, verb) = (self.client.shared(), ["TASK", "BATCH"]);
        let granted = shared.ask(verb, &[], Some(body.as_bytes()), Terms::default()).await?;
        let list = granted.field("tasks").unwrap_or_default();
        let ids: Option<Vec<TaskId>> = list.split(',').map(|task| task.parse().ok()).collect();
        let ids = ids.filter(|ids| ids.len() == self.tasks.len());
        let ids = ids.ok_or_else(|| Trouble::protocol("the answer does not name all tasks"))?;
        let names = self.tasks.into_iter().map(|(name, _)| name);
        let by_name = names.zip(&ids).filter_map(|(name, id)| Some((name?, *id))).collect();
        Ok(GraphTasks { ids, by_name })
    }
}

impl IntoFuture for Graph {
    type Output = Result<GraphTasks, SubmitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl GraphTasks {
    /// The task of this name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<TaskId> {
        self.by_name.get(name).copied()
    }

    /// All tasks, in the order in which they were added.
    #[must_use]
    pub fn ids(&self) -> &[TaskId] {
        &self.ids
    }
}

/// Panics if no task has the name, as an index does.
impl std::ops::Index<&str> for GraphTasks {
    type Output = TaskId;

    fn index(&self, name: &str) -> &TaskId {
        &self.by_name[name]
    }
}
