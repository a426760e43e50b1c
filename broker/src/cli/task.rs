//! `agentcom task`: submit durable tasks, follow them, and call them off.

use std::time::Duration;

use agentcom_client::{
    After, AwaitErrorKind, ShowError, Submitted, TaskId, TaskList, TaskState, TaskView, Tasks,
    WhyReason,
};
use futures_util::StreamExt as _;
use serde_json::json;

use super::output::Output;
use super::submission::{Submission, pair};
use super::{Common, Outcome, body, duration, view};

// Commands of `task`. Not a doc comment: clap would print it as the description of `task`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Submit a task, and print its number once it is on disk
    Submit(Box<Submit>),
    /// Show what became of a task
    Show(Id),
    /// List tasks that are not over, or in one state
    Ls(List),
    /// Say why a task is where it is
    Why(Id),
    /// Print what happens to a task until it is over
    Watch(Watch),
    /// Wait until a task is over, and print its result
    Await(Await),
    /// Call a task off; whoever works on it is asked to stop
    Cancel(Cancel),
    /// Give a dead task another life
    Retry(Retry),
}

/// Which task.
#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// Its number
    #[arg(value_name = "ID")]
    task: TaskId,
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
    /// Tests that an agent's labels must pass, such as os=linux or mem>=16
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// What it uses of its agent's capacity, such as gpu:1; may be given several times
    #[arg(long, value_delimiter = ',', value_name = "NAME:AMOUNT", value_parser = pair)]
    uses: Vec<(String, u32)>,
    /// Tests that a good agent's labels pass, such as ssd or 5:mem>=16
    #[arg(long, value_delimiter = ',', value_name = "[WEIGHT:]TEST")]
    prefer: Vec<String>,
    /// The agent that it is for
    #[arg(long, value_name = "AGENT")]
    assign_to: Option<String>,
    /// How long it is for that agent alone; for ever if absent
    #[arg(long, requires = "assign_to", value_parser = duration::parse)]
    assign_for: Option<Duration>,
    /// How long the agent that set it aside goes before others when it goes on
    #[arg(long, value_parser = duration::parse)]
    sticky: Option<Duration>,
    /// How long an agent may be silent before the task goes to another
    #[arg(long, value_parser = duration::parse)]
    lease: Option<Duration>,
    /// How long one attempt may take
    #[arg(long, value_parser = duration::parse)]
    attempt_timeout: Option<Duration>,
    /// How long it may take from now to its end
    #[arg(long, value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// A task that has to end first: its number, alone or with :any, :cancel or :fail behind it
    #[arg(long, value_delimiter = ',', value_name = "ID", value_parser = after)]
    after: Vec<After>,
    #[command(flatten)]
    submission: Submission,
}

/// Arguments of `task ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only those in this state: held, scheduled, ready, offered, running, parked, completed, dead
    /// or cancelled
    #[arg(long)]
    state: Option<TaskState>,
    /// Those that are completed or cancelled
    #[arg(long, conflicts_with = "state")]
    done: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// Arguments of `task watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    id: Id,
    /// Go on behind the event with this number
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
}

/// Arguments of `task await`.
#[derive(Debug, clap::Args)]
pub(crate) struct Await {
    #[command(flatten)]
    id: Id,
    /// How long to wait; for ever if absent
    #[arg(long, value_parser = duration::parse)]
    timeout: Option<Duration>,
}

/// Arguments of `task cancel`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    id: Id,
    /// Why, for people
    #[arg(long, default_value = "")]
    reason: String,
    /// How long its agent may take to stop
    #[arg(long, value_parser = duration::parse)]
    grace: Option<Duration>,
}

/// Arguments of `task retry`.
#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    id: Id,
    /// Not before this has passed
    #[arg(long, value_parser = duration::parse)]
    delay: Option<Duration>,
}

/// Tasks asked for at once: the most that the broker lists.
const PAGE: usize = 1_000;
/// One wait of `task await` without a timeout.
const WAIT: Duration = Duration::from_secs(3_600);

/// Run a command of `task`.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    match command {
        Command::Submit(arguments) => submit(*arguments, common, output).await,
        Command::Show(Id { task }) => {
            let found = common.connect().await?.tasks().show(task).await?;
            output.result(&view::task_text(&found, output), &view::task_json(&found))?;
            Ok(())
        }
        Command::Ls(List { queue, state, done, limit }) => {
            let tasks = common.connect().await?.tasks();
            let list = || {
                let list = queue.iter().fold(tasks.list(), |list, queue| list.queue(queue));
                let list = state.iter().fold(list, |list, state| list.state(*state));
                if done { list.done() } else { list }
            };
            view::tasks(&pages(list, limit).await?, output)
        }
        Command::Why(Id { task }) => {
            let why = common.connect().await?.tasks().why(task).await?;
            let mut lines = vec![output.title(&format!("task {task} is {}", why.state))];
            lines.extend(why.reasons.iter().map(|reason| reason.sentence.clone()));
            let reason =
                |reason: &WhyReason| json!({"code": reason.code, "sentence": reason.sentence});
            let reasons: Vec<_> = why.reasons.iter().map(reason).collect();
            let json = json!({"task": task.0, "state": why.state.as_str(), "reasons": reasons});
            output.result(&lines.join("\n"), &json)?;
            Ok(())
        }
        Command::Watch(Watch { id, from }) => {
            watch(&common.connect_for_long().await?.tasks(), id.task, from, output).await
        }
        Command::Await(Await { id, timeout }) => {
            wait(&common.connect_for_long().await?.tasks(), id.task, timeout, output).await
        }
        Command::Cancel(Cancel { id: Id { task }, reason, grace }) => {
            let tasks = common.connect().await?.tasks();
            tasks.cancel(task, &reason, grace).await?;
            let state = tasks.show(task).await?.state;
            let text = match state {
                TaskState::Cancelled => format!("task {task} is cancelled"),
                _ => format!("task {task} is {state}; its agent was asked to stop"),
            };
            output.result(&text, &json!({"task": task.0, "state": state.as_str()}))?;
            Ok(())
        }
        Command::Retry(Retry { id: Id { task }, delay }) => {
            let tasks = common.connect().await?.tasks();
            tasks.redrive(task, delay.unwrap_or_default()).await?;
            output.result(&format!("task {task} has another life"), &json!({"task": task.0}))?;
            Ok(())
        }
    }
}

async fn submit(arguments: Submit, common: &Common, output: &Output) -> Outcome {
    let body = body::read(arguments.body.as_deref())?;
    let client = common.connect().await?;
    let mut task = client.tasks().submit(arguments.queue).payload(body);
    task = task.needs(arguments.needs).labels(arguments.labels).prefer(arguments.prefer);
    for (resource, amount) in arguments.uses {
        task = task.uses(resource, amount);
    }
    task = match (arguments.assign_to, arguments.assign_for) {
        (Some(agent), Some(time)) => task.assign_to_for(agent, time),
        (Some(agent), None) => task.assign_to(agent),
        _ => task,
    };
    if let Some(sticky) = arguments.sticky {
        task = task.sticky(sticky);
    }
    if let Some(lease) = arguments.lease {
        task = task.lease(lease);
    }
    if let Some(timeout) = arguments.attempt_timeout {
        task = task.attempt_timeout(timeout);
    }
    if let Some(timeout) = arguments.timeout {
        task = task.total_timeout(timeout);
    }
    for after in arguments.after {
        task = task.after(after);
    }
    kept(arguments.submission.apply(task).await?, output)
}

/// The first `limit` tasks of a list, page by page.
pub(crate) async fn pages(
    list: impl Fn() -> TaskList,
    limit: u64,
) -> Result<Vec<TaskView>, ShowError> {
    let mut found: Vec<TaskView> = Vec::new();
    let mut page_list = list();
    loop {
        let left = usize::try_from(limit).unwrap_or(usize::MAX) - found.len();
        let page = page_list.limit(left.min(PAGE)).await?;
        found.extend(page.tasks);
        match page.next {
            Some(next) if (found.len() as u64) < limit => page_list = list().after(next),
            _ => return Ok(found),
        }
    }
}

/// Print the number of a task that is on disk.
pub(crate) fn kept(kept: Submitted, output: &Output) -> Outcome {
    let Submitted { task, state, existing, .. } = kept;
    let mut json = json!({"task": task.0, "state": state.as_str()});
    if existing {
        json["existing"] = json!(true);
    }
    output.result(&task.to_string(), &json)?;
    Ok(())
}

async fn watch(tasks: &Tasks, task: TaskId, from: Option<u64>, output: &Output) -> Outcome {
    let mut watching = tasks.watch(task);
    if let Some(from) = from {
        watching = watching.from(from);
    }
    let mut watch = watching.await?;
    if from.is_none() {
        let found = watch.view();
        let text = output.title(&format!("task {task} is {}", found.state));
        output.result(&text, &view::task_json(found))?;
    }
    while let Some(event) = watch.next().await {
        let event = event?;
        output.result(&view::event_text(&event), &view::event_json(&event))?;
    }
    Ok(())
}

/// A result is bytes for whoever reads our output; any other end is a failure.
async fn wait(tasks: &Tasks, task: TaskId, timeout: Option<Duration>, output: &Output) -> Outcome {
    loop {
        match tasks.await_result(task, timeout.unwrap_or(WAIT)).await {
            Err(error) if timeout.is_none() && error.kind() == AwaitErrorKind::NotOver => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let found = tasks.show(task).await?;
    match found.state {
        TaskState::Completed => {
            let result = found.result.clone().unwrap_or_default();
            output.bytes(&result, &view::task_json(&found))?;
            Ok(())
        }
        state => {
            if output.is_json() {
                output.result("", &view::task_json(&found))?;
            }
            let why = found.dead.or(found.cancelled).unwrap_or_default();
            Err(format!("task {task} is {state}: {why}").into())
        }
    }
}

fn after(text: &str) -> Result<After, String> {
    let (task, end) = text.split_once(':').unwrap_or((text, "block"));
    let task = task.parse::<TaskId>().map_err(|_| format!("{task:?} is no number of a task"))?;
    match end {
        "block" => Ok(After::from(task)),
        "any" => Ok(After::any(task)),
        "cancel" => Ok(After::from(task).else_cancel()),
        "fail" => Ok(After::from(task).else_fail()),
        _ => Err(format!("{end:?} is none of any, block, cancel, fail")),
    }
}
