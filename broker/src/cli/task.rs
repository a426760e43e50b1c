//! `agentcom task`: submit durable tasks and look at them.

use std::time::Duration;

use agentcom_client::{Priority, TaskId, TaskView};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::output::{Output, insert_bytes};
use super::{Common, Outcome, body, duration};

// Commands of `task`. Not a doc comment: clap would print it as the description of `task`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Submit a task, and print its number once it is on disk
    Submit(Submit),
    /// Show what became of a task
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        task: TaskId,
    },
}

/// Arguments of `task submit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    /// The queue it waits in
    queue: String,
    /// The body; from stdin if absent or -
    body: Option<String>,
    /// Capabilities that an agent must have to get it
    #[arg(long, value_delimiter = ',')]
    needs: Vec<String>,
    /// How urgent it is: urgent, high, normal, low, or 0 to 255, lower first
    #[arg(long, value_parser = priority)]
    priority: Option<Priority>,
    /// How often it may fail before it is dead
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: Option<u32>,
    /// How long an agent may be silent before the task goes to another
    #[arg(long, value_parser = duration::parse)]
    lease: Option<Duration>,
}

/// Run a command of `task`.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    match command {
        Command::Submit(arguments) => submit(arguments, common, output).await,
        Command::Show { task } => {
            let view = common.connect().await?.tasks().show(task).await?;
            output.result(&view_text(&view, output), &view_json(&view))?;
            Ok(())
        }
    }
}

async fn submit(arguments: Submit, common: &Common, output: &Output) -> Outcome {
    let Submit { queue, body, needs, priority, attempts, lease } = arguments;
    let body = body::read(body.as_deref())?;
    let client = common.connect().await?;
    let mut submit = client.tasks().submit(queue, body).needs(needs);
    if let Some(priority) = priority {
        submit = submit.priority(priority);
    }
    if let Some(attempts) = attempts {
        submit = submit.attempts(attempts);
    }
    if let Some(lease) = lease {
        submit = submit.lease(lease);
    }
    let task = submit.await?;
    output.result(&task.to_string(), &json!({"task": task.0}))?;
    Ok(())
}

fn priority(text: &str) -> Result<Priority, String> {
    match text {
        "urgent" => Ok(Priority::URGENT),
        "high" => Ok(Priority::HIGH),
        "normal" => Ok(Priority::NORMAL),
        "low" => Ok(Priority::LOW),
        _ => text
            .parse()
            .map(Priority)
            .map_err(|_| format!("{text:?} is none of urgent, high, normal, low, 0 to 255")),
    }
}

fn view_text(view: &TaskView, output: &Output) -> String {
    let mut lines = vec![output.title(&format!("task {} is {}", view.task, view.state))];
    lines.push(format!("queue       {}", view.queue));
    lines.push(format!("attempts    {} of {} failed", view.attempts, view.attempts_max));
    lines.push(format!("priority    {}", view.priority.0));
    if !view.needs.is_empty() {
        lines.push(format!("needs       {}", view.needs.join(", ")));
    }
    if let Some(agent) = &view.agent {
        lines.push(format!("agent       {agent}"));
    }
    if let Some(dead) = &view.dead {
        lines.push(format!("given up    {dead}"));
    }
    for (name, bytes) in byte_fields(view) {
        if let Some(bytes) = bytes {
            lines.push(format!("{name:<11} {}", String::from_utf8_lossy(bytes)));
        }
    }
    lines.join("\n")
}

/// What agents and submitters wrote, by its key.
fn byte_fields(view: &TaskView) -> [(&'static str, Option<&Bytes>); 4] {
    [
        ("payload", Some(&view.payload)),
        ("progress", view.progress.as_ref()),
        ("result", view.result.as_ref()),
        ("error", view.error.as_ref()),
    ]
}

/// The same keys as in the broker's own JSON.
fn view_json(view: &TaskView) -> Value {
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("task", json!(view.task.0));
    insert("queue", json!(view.queue));
    insert("state", json!(view.state.to_string()));
    insert("generation", json!(view.generation));
    insert("priority", json!(view.priority.0));
    insert("needs", json!(view.needs));
    insert("attempts", json!(view.attempts));
    insert("attempts_max", json!(view.attempts_max));
    insert("lost", json!(view.lost));
    insert("submitted_ms", json!(view.submitted_ms));
    insert("updated_ms", json!(view.updated_ms));
    if let Some(agent) = &view.agent {
        insert("agent", json!(agent));
    }
    if let Some(dead) = &view.dead {
        insert("dead", json!(dead));
    }
    for (name, bytes) in byte_fields(view) {
        if let Some(bytes) = bytes {
            insert_bytes(&mut object, name, bytes);
        }
    }
    Value::Object(object)
}
