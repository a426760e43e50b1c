//! Tasks that are still to be done. One that an agent has on the hub begins again here: nobody goes
//! on with it across hubs. Those that are done, and dead letters, stay where they are.

use std::collections::BTreeSet;
use std::time::Duration;

use agentcom_client::{Dedup, SubmitErrorKind, Submitted, TaskId};
use serde_json::{Map, Value};

use super::Import;
use super::hub::Hub;
use super::tally::{Fate, Tally};

/// The queue of tasks that came over HTTP.
const QUEUE: &str = "default";
/// A task that was submitted is not submitted again for so long, whatever became of the journal.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long an accepted lease lasts without a sign of life, and how long an attempt may take: what
/// tasks that come over HTTP have.
const LEASE: Duration = Duration::from_secs(30);
/// What an agent is told of a task, as the HTTP door keeps it.
const KEPT: [&str; 12] = [
    "description",
    "metadata",
    "repo",
    "branch",
    "file_hints",
    "success_criteria",
    "verification_steps",
    "max_verification_retries",
    "goal_id",
    "priority",
    "max_retries",
    "needed_capabilities",
];

pub(super) async fn bring(hub: &Hub, import: &mut Import) -> Result<[Tally; 2], String> {
    let mut tasks = hub.tasks().await?;
    let mut dead = Tally::of("dead letters");
    hub.dead_letters().await?.iter().for_each(|_| dead.count(Fate::Left));
    // What others wait for comes first, as on the hub.
    tasks.sort_by_key(|task| (task["created_at"].as_u64(), text(task, "id").to_owned()));
    let mut tally = Tally::of("tasks");
    let bar = import.progress.bar("tasks", tasks.len());
    let is_open = |task: &&Value| ["queued", "assigned"].contains(&text(task, "status"));
    let open: BTreeSet<String> =
        tasks.iter().filter(is_open).map(|task| text(task, "id").to_owned()).collect();
    for task in &tasks {
        let fate = match is_open(&task) {
            true => submit(task, &open, import).await?,
            false => Fate::Left,
        };
        tally.count(fate);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok([tally, dead])
}

fn text<'a>(task: &'a Value, key: &str) -> &'a str {
    task.get(key).and_then(Value::as_str).unwrap_or_default()
}

async fn submit(
    task: &Value,
    open: &BTreeSet<String>,
    import: &mut Import,
) -> Result<Fate, String> {
    let id = text(task, "id").to_owned();
    let key = format!("task:{id}");
    if import.journal.find(&key).is_some() {
        return Ok(Fate::Known);
    }
    let Some(broker) = import.broker.clone() else { return Ok(Fate::Left) };
    let payload: Map<String, Value> = KEPT
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), task.get(key)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    let mut builder = broker
        .tasks()
        .submit(QUEUE)
        .payload(Value::Object(payload).to_string())
        .priority(u8::try_from(task["priority"].as_u64().unwrap_or(2)).unwrap_or(u8::MAX))
        .attempts(
            u32::try_from(task["max_retries"].as_i64().unwrap_or(3).clamp(1, 10)).unwrap_or(3),
        )
        .lease(LEASE)
        .dedup(format!("hub-{id}"), Dedup::Return(REMEMBERED));
    match task["metadata"].get("assign_to").and_then(Value::as_str) {
        // Whoever is named gets it, whatever it can do.
        Some(agent) => builder = builder.assign_to(agent),
        None => {
            let needs = task["needed_capabilities"].as_array();
            let needs = needs.into_iter().flatten().filter_map(Value::as_str);
            builder = builder.needs(needs);
        }
    }
    for other in task["depends_on"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let here = import.journal.find(&format!("task:{other}"));
        match here.and_then(|here| here.parse::<TaskId>().ok()) {
            Some(here) => builder = builder.after(here),
            None if open.contains(other) => {
                return Ok(Fate::Refused(format!(
                    "task {id} waits for {other}, which is not here"
                )));
            }
            // It is done.
            None => {}
        }
    }
    match builder.await {
        Ok(Submitted { task, .. }) => {
            import.journal.note(key, &task.to_string())?;
            Ok(Fate::Imported)
        }
        Err(error) if is_refusal(&error.kind()) => {
            Ok(Fate::Refused(format!("task {id}: {}", crate::cli::chain(&error))))
        }
        Err(error) => Err(format!("a task could not be kept: {}", crate::cli::chain(&error))),
    }
}

fn is_refusal(kind: &SubmitErrorKind) -> bool {
    matches!(kind, SubmitErrorKind::Invalid | SubmitErrorKind::MaxPayloadExceeded)
}
