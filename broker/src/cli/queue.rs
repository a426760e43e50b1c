//! `agentcom queue`: put entries into durable queues, take them out, and look after them.

use std::time::Duration;

use agentcom_client::{Lease, Queue, QueueErrorKind, QueueSettings, QueueView};
use serde_json::{Map, json};

use super::output::{Output, insert_bytes};
use super::settings::Settings;
use super::submission::Submission;
use super::table::Table;
use super::{Common, Outcome, body, duration, time, view};

// Commands of `queue`. Not a doc comment: clap would print it as the description of `queue`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the queues that have entries or settings
    Ls,
    /// Show a queue: its settings, and how many tasks stand where
    Show(Name),
    /// Put an entry into a queue, and print its number once it is on disk
    Put(Put),
    /// Take entries out of a queue: each is acknowledged once it is printed
    Take(Take),
    /// Change settings of a queue: limits, shares of keys, how long entries are kept
    Set(Settings),
    /// Give no entry of a queue to anybody; they may still be put
    Pause(Name),
    /// Give entries of a queue out again
    Resume(Name),
    /// Cancel and forget the entries of a queue that nobody holds
    Purge(Removal),
    /// Purge a queue and reset its settings, so that nothing of it is left
    Rm(Removal),
}

/// Which queue.
#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Its name
    queue: String,
}

/// Arguments of `queue put`.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The queue
    queue: String,
    /// The body; from stdin if absent or -
    body: Option<String>,
    #[command(flatten)]
    submission: Submission,
}

/// Arguments of `queue take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// The queue
    queue: String,
    /// Take up to so many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    max: u64,
    /// How long to wait for the first one
    #[arg(long, value_parser = duration::parse)]
    wait: Option<Duration>,
}

/// Arguments of `queue purge` and `queue rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Removal {
    /// The queue
    queue: String,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// How long an entry is held until it is printed.
const LEASE: Duration = Duration::from_secs(30);
/// Queues asked for at once: the most that the broker lists.
const PAGE: usize = 1_000;
/// How long completed tasks of a new queue are kept (docs/protocol.md).
const KEEP_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Run a command of `queue`.
pub(crate) async fn run(command: Command, common: &Common, output: &Output) -> Outcome {
    let client = common.connect().await?;
    match command {
        Command::Ls => {
            let mut queues: Vec<QueueView> = Vec::new();
            loop {
                let after = queues.last().map(|last| last.queue.clone());
                let page = client.queues(after.as_deref(), PAGE).await?;
                let is_last = page.len() < PAGE;
                queues.extend(page);
                if is_last {
                    break;
                }
            }
            list(&queues, output)
        }
        Command::Show(Name { queue }) => {
            let found = client.queue(queue).show().await?;
            output.result(&show(&found, output), &view::queue_json(&found))?;
            Ok(())
        }
        Command::Put(Put { queue, body, submission }) => {
            let body = body::read(body.as_deref())?;
            let task = submission.apply(client.queue(queue).enqueue(body));
            super::task::kept(task.await?, output)
        }
        Command::Take(Take { queue, max, wait }) => {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            let leases = client.queue(queue).lease(LEASE).wait(wait.unwrap_or_default());
            let leases = leases.max(max).await?;
            if leases.is_empty() {
                return Err("the queue has no entry to take".into());
            }
            take(leases, output).await
        }
        Command::Set(settings) => {
            let queue = client.queue(&settings.queue);
            let nothing = "nothing to change; `agentcom queue set --help` lists the settings";
            queue.set(settings.changes().ok_or(nothing)?).await?;
            match queue.show().await {
                // All as by default, and without entries it is not there.
                Err(error) if error.kind() == QueueErrorKind::NoQueue => {
                    let text = format!("queue {} is as every other", queue.name());
                    output.result(&text, &json!({"queue": queue.name()}))?;
                    Ok(())
                }
                found => {
                    let found = found?;
                    output.result(&show(&found, output), &view::queue_json(&found))?;
                    Ok(())
                }
            }
        }
        Command::Pause(Name { queue }) => {
            client.queue(&queue).pause().await?;
            output.result(&format!("queue {queue} is paused"), &json!({"paused": true}))?;
            Ok(())
        }
        Command::Resume(Name { queue }) => {
            client.queue(&queue).resume().await?;
            output.result(&format!("queue {queue} is not paused"), &json!({"paused": false}))?;
            Ok(())
        }
        Command::Purge(Removal { queue, dry_run }) => {
            purge(&client.queue(queue), dry_run, output).await
        }
        Command::Rm(Removal { queue, dry_run }) => {
            let queue = client.queue(queue);
            purge(&queue, dry_run, output).await?;
            if dry_run { Ok(()) } else { reset(&queue, output).await }
        }
    }
}

fn list(queues: &[QueueView], output: &Output) -> Outcome {
    if output.is_json() {
        for queue in queues {
            output.result("", &view::queue_json(queue))?;
        }
        return Ok(());
    }
    let headings = ["queue", "#ready", "#running", "#scheduled", "#held", "#dead", "state"];
    let mut table = Table::new(&headings);
    for queue in queues {
        let counts = [
            queue.ready,
            queue.offered + queue.running,
            queue.scheduled,
            queue.held + queue.parked,
            queue.dead,
        ];
        let state = if queue.paused { "paused" } else { "" };
        let cells = [queue.queue.clone()].into_iter();
        let cells = cells.chain(counts.map(|count| count.to_string()));
        table.row(cells.chain([state.to_owned()]));
    }
    output.table(&table)?;
    Ok(())
}

fn show(found: &QueueView, output: &Output) -> String {
    let state = if found.paused { ", paused" } else { "" };
    let mut lines = vec![output.title(&format!("queue {}{state}", found.queue))];
    for (name, count) in [
        ("ready", found.ready),
        ("offered", found.offered),
        ("running", found.running),
        ("scheduled", found.scheduled),
        ("held", found.held),
        ("parked", found.parked),
        ("dead", found.dead),
    ] {
        lines.push(format!("{name:<11} {count}"));
    }
    let leases = found.leases_max.map_or("no limit".to_owned(), |max| max.to_string());
    lines.push(format!("leases max  {leases}"));
    if let (Some(max), Some(period_ms)) = (found.rate_max, found.rate_ms) {
        let period = time::short(Duration::from_millis(period_ms));
        lines.push(format!("rate        {max} in {period}"));
    }
    lines.push(format!("order       {}", found.order));
    if !found.weights.is_empty() {
        let weights = found.weights.iter().map(|(key, weight)| format!("{key}={weight}"));
        lines.push(format!("weights     {}", weights.collect::<Vec<_>>().join(",")));
    }
    lines.push(format!("keep        {}", time::short(Duration::from_millis(found.keep_ms))));
    let keep_dead = match found.keep_dead_ms {
        0 => "for ever".to_owned(),
        ms => time::short(Duration::from_millis(ms)),
    };
    lines.push(format!("keep dead   {keep_dead}"));
    lines.join("\n")
}

/// Print each entry, then acknowledge it: whoever reads our output has it.
async fn take(leases: Vec<Lease>, output: &Output) -> Outcome {
    for lease in leases {
        let printed = print(&lease, output);
        if printed.is_err() {
            lease.release().await?;
        }
        printed?;
        lease.ack().await?;
    }
    Ok(())
}

fn print(lease: &Lease, output: &Output) -> std::io::Result<()> {
    let mut object = Map::new();
    object.insert("task".to_owned(), json!(lease.task().0));
    object.insert("queue".to_owned(), json!(lease.queue()));
    object.insert("attempt".to_owned(), json!(lease.attempt()));
    insert_bytes(&mut object, "payload", lease.payload());
    output.bytes(lease.payload(), &object.into())
}

async fn purge(queue: &Queue, is_dry: bool, output: &Output) -> Outcome {
    let name = queue.name();
    if is_dry {
        let QueueView { held, scheduled, ready, .. } = queue.show().await?;
        let tasks = held + scheduled + ready;
        let text = format!("{tasks} tasks of queue {name} would be cancelled and forgotten");
        output.result(&text, &json!({"queue": name, "tasks": tasks, "dry_run": true}))?;
        return Ok(());
    }
    let mut tasks = 0;
    loop {
        let purged = queue.purge().await?;
        tasks += purged.tasks;
        // Others may take what is left, or put more, at any time.
        if purged.left == 0 || purged.tasks == 0 {
            break;
        }
    }
    let text = format!("{tasks} tasks of queue {name} were cancelled and forgotten");
    output.result(&text, &json!({"queue": name, "tasks": tasks}))?;
    Ok(())
}

async fn reset(queue: &Queue, output: &Output) -> Outcome {
    let name = queue.name();
    let settings = QueueSettings::new()
        .leases_max(0)
        .rate(0, Duration::from_secs(1))
        .fair(false)
        .weights(Vec::<(String, u32)>::new())
        .keep(KEEP_DEFAULT)
        .keep_dead(Duration::ZERO);
    queue.set(settings).await?;
    queue.resume().await?;
    match queue.show().await {
        Err(error) if error.kind() == QueueErrorKind::NoQueue => {}
        Err(error) => return Err(error.into()),
        Ok(left) if left.open() + left.dead > 0 => {
            let (open, dead) = (left.open(), left.dead);
            return Err(format!(
                "queue {name} is not gone: {open} of its tasks are not over and {dead} are dead; \
                 wait for the first, redrive or purge the others, then remove it again"
            )
            .into());
        }
        Ok(_) => {}
    }
    output.result(&format!("queue {name} is gone"), &json!({"queue": name, "gone": true}))?;
    Ok(())
}
