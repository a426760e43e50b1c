//! Edges between tasks: what has to end before a task may begin.

use std::fmt;

use serde_json::{Value, json};

use crate::operation_error::Trouble;
use crate::task_builder::Submitted;
use crate::tasks::TaskId;

/// Another task that has to end first. Anything that names a task converts into one that waits
/// for its success and is blocked if it ends badly.
///
/// ```
/// use agentcom_client::{After, TaskId};
/// let kept = After::from(TaskId(17));
/// let named = After::from("fetch").else_cancel();
/// let whatever_becomes_of_it = After::any("fetch");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    task: AfterTask,
    end: AfterEnd,
}

/// Which task has to end first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AfterTask {
    /// One that was submitted before.
    Kept(TaskId),
    /// One of the same [`crate::Graph`].
    Named(String),
}

/// What a task waits for, and what follows from a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterEnd {
    /// Any end will do.
    Any,
    /// Success; otherwise the task waits until the other one is redriven and succeeds.
    SuccessElseBlock,
    /// Success; otherwise the task is cancelled.
    SuccessElseCancel,
    /// Success; otherwise the task is dead.
    SuccessElseFail,
}

impl After {
    /// Any end will do.
    #[must_use]
    pub fn any(task: impl Into<After>) -> After {
        After { end: AfterEnd::Any, ..task.into() }
    }

    /// If the other task ends badly, cancel this one.
    #[must_use]
    pub fn else_cancel(self) -> After {
        After { end: AfterEnd::SuccessElseCancel, ..self }
    }

    /// If the other task ends badly, this one is dead.
    #[must_use]
    pub fn else_fail(self) -> After {
        After { end: AfterEnd::SuccessElseFail, ..self }
    }

    /// As one word of a list; only a graph can name tasks.
    pub(crate) fn to_word(&self) -> Result<String, Trouble> {
        let AfterTask::Kept(task) = &self.task else {
            return Err(Trouble::invalid(format!(
                "{self} is no number of a task; only tasks of a graph have names"
            )));
        };
        Ok(match self.end {
            AfterEnd::Any => format!("{task}:any"),
            AfterEnd::SuccessElseBlock => task.to_string(),
            AfterEnd::SuccessElseCancel => format!("{task}:cancel"),
            AfterEnd::SuccessElseFail => format!("{task}:fail"),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let task = match &self.task {
            AfterTask::Kept(task) => json!(task.0),
            AfterTask::Named(name) => json!(name),
        };
        match self.end {
            AfterEnd::Any => json!({"task": task, "on": "any"}),
            AfterEnd::SuccessElseBlock => task,
            AfterEnd::SuccessElseCancel => json!({"task": task, "else": "cancel"}),
            AfterEnd::SuccessElseFail => json!({"task": task, "else": "fail"}),
        }
    }
}

impl From<TaskId> for After {
    fn from(task: TaskId) -> After {
        After { task: AfterTask::Kept(task), end: AfterEnd::SuccessElseBlock }
    }
}

impl From<Submitted> for After {
    fn from(submitted: Submitted) -> After {
        After::from(submitted.task)
    }
}

impl From<&str> for After {
    fn from(name: &str) -> After {
        After { task: AfterTask::Named(name.to_owned()), end: AfterEnd::SuccessElseBlock }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            AfterTask::Kept(task) => write!(f, "task {task}"),
            AfterTask::Named(name) => write!(f, "{name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_has_a_word_and_a_json_form() {
        let kept = After::from(TaskId(17));
        for (after, word, json) in [
            (kept.clone(), "17", json!(17)),
            (After::any(TaskId(17)), "17:any", json!({"task": 17, "on": "any"})),
            (kept.clone().else_cancel(), "17:cancel", json!({"task": 17, "else": "cancel"})),
            (kept.else_fail(), "17:fail", json!({"task": 17, "else": "fail"})),
        ] {
            assert_eq!((after.to_word().expect("kept"), after.to_json()), (word.to_owned(), json));
        }
        let named = After::from("fetch");
        assert!(named.to_word().is_err());
        assert_eq!(named.to_json(), json!("fetch"));
    }
}
