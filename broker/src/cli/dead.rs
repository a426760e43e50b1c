//! `agentcom dead`: tasks that were given up, and what becomes of them.

use std::time::Duration;

use agentcom_client::{TaskId, TaskList, TaskState, TaskView, Tasks};
use serde_json::json;

use super::output::Output;
use super::task::pages;
use super::{Common, Outcome, duration, view};

// Commands of `dead`. Not a doc comment: clap would print it as the description of `dead`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List dead tasks
    Ls {
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Show a dead task, with all its failures
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        task: TaskId,
    },
    /// Give dead tasks another life
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Not before this has passed
        #[arg(long, value_parser = duration::parse)]
        delay: Option<Duration>,
    },
    /// Give dead tasks up for good: nothing of them is kept
    Purge(Which),
}

/// Dead tasks that have something in common.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Those of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Those that are dead for this reason, such as failed, timeout or lost
    #[arg(long)]
    reason: Option<String>,
}

/// Which dead tasks.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["tasks", "queue", "reason", "all"]))]
pub(crate) struct Which {
    /// Their numbers
    #[arg(value_name = "ID", conflicts_with_all = ["queue", "reason", "all"])]
    tasks: Vec<TaskId>,
    #[command(flatten)]
    filter: Filter,
    /// All there are
    #[arg(long)]
    all: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// What is done with each.
#[derive(Clone, Copy)]
enum Deed {
    Redrive(Duration),
    Discard,
}

/// Run a command of `dead`.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    let tasks = common.connect().await?.tasks();
    match command {
        Command::Ls { filter, limit } => {
            let found = pages(|| filter.list(&tasks), limit).await?;
            view::tasks(&found, output)
        }
        Command::Show { task } => {
            let found = dead(&tasks, task).await?;
            output.result(&view::task_text(&found, output), &view::task_json(&found))?;
            Ok(())
        }
        Command::Redrive { which, delay } => {
            all(&tasks, which, Deed::Redrive(delay.unwrap_or_default()), output).await
        }
        Command::Purge(which) => all(&tasks, which, Deed::Discard, output).await,
    }
}

impl Filter {
    fn list(&self, tasks: &Tasks) -> TaskList {
        let list = self.queue.iter().fold(tasks.list_dead(), |list, queue| list.queue(queue));
        self.reason.iter().fold(list, |list, reason| list.reason(reason))
    }
}

async fn all(tasks: &Tasks, which: Which, deed: Deed, output: &Output) -> Outcome {
    let Which { tasks: mut ids, filter, dry_run, .. } = which;
    if ids.is_empty() {
        // All of them first: what is done with one changes the list.
        let found = pages(|| filter.list(tasks), u64::MAX).await?;
        ids = found.iter().map(|view| view.task).collect();
    }
    let done = match deed {
        Deed::Redrive(_) => "redriven",
        Deed::Discard => "discarded",
    };
    for task in ids {
        let text = if dry_run {
            let found = dead(tasks, task).await?;
            let why = found.dead.as_deref().unwrap_or("given up");
            format!("task {task} ({why}, queue {}) would be {done}", found.queue)
        } else {
            match deed {
                Deed::Redrive(delay) => tasks.redrive(task, delay).await?,
                Deed::Discard => tasks.discard(task).await?,
            }
            format!("task {task} is {done}")
        };
        let mut json = json!({"task": task.0, "deed": done});
        if dry_run {
            json["dry_run"] = json!(true);
        }
        output.result(&text, &json)?;
    }
    Ok(())
}

/// A task that is dead.
async fn dead(
    tasks: &Tasks,
    task: TaskId,
) -> Result<TaskView, Box<dyn std::error::Error + Send + Sync>> {
    let found = tasks.show(task).await?;
    if found.state == TaskState::Dead {
        return Ok(found);
    }
    Err(format!("task {task} is not dead, it is {}", found.state).into())
}
