//! What happens, as log lines: the events of the hub's telemetry (the contract's 9 and the seed),
//! for whoever counts by lines. They are of the target `telemetry` and the level debug, so a broker
//! writes them if it is asked to (`--log-level info,telemetry=debug`) and looks at one flag if not.
//! The same figures without lines are in `/metrics`.

use serde_json::{Value, json};
use tracing::Level;

use crate::board::{Step, Stepped};
use crate::core::command::{Destination, Message, Name, PresenceEvent, TaskEvent};
use crate::upkeep::Notice;

/// The field that the JSON of log lines makes their message.
pub const FIELD: &str = "telemetry";

/// Write the line of an event, if anybody wants it.
macro_rules! event {
    ($name:expr, $measurements:expr, $metadata:expr) => {
        if tracing::enabled!(target: "telemetry", Level::DEBUG) {
            let line = line($name, $measurements, $metadata);
            tracing::debug!(target: "telemetry", telemetry = %line);
        }
    };
}

fn line(name: &str, measurements: Value, metadata: Value) -> Value {
    json!({"telemetry_event": format!("agent_com.{name}"), "measurements": measurements,
        "metadata": metadata})
}

/// Something happened to a task.
pub fn task(event: &TaskEvent, stepped: &Stepped) {
    event!(
        match stepped.step {
            Step::Submitted => "task.submit",
            Step::Assigned => "task.assign",
            Step::Accepted => "task.accept",
            Step::Progressed => "task.progress",
            Step::Completed => "task.complete",
            Step::Failed => "task.fail",
            Step::Died { .. } => "task.dead_letter",
            Step::Reclaimed => "task.reclaim",
            Step::Redriven => "task.retry",
            Step::Cancelled => "task.cancel",
        },
        match stepped.step {
            Step::Assigned => {
                json!({"count": 1, "wait_ms": event.at_ms.saturating_sub(event.submitted_ms)})
            }
            _ => match stepped.took_ms {
                Some(took_ms) => json!({"count": 1, "duration_ms": took_ms}),
                None => json!({"count": 1}),
            },
        },
        json!({
            "task_id": event.task.0,
            "agent_id": stepped.agent.as_ref().map(Name::as_str),
            "queue": event.queue.as_str(),
            "generation": event.generation.0,
        })
    );
}

/// Somebody came or went; that somebody changed is no event.
pub fn presence(event: &PresenceEvent) {
    let (name, agent) = match event {
        PresenceEvent::Joined(view) => ("agent.connect", &view.agent),
        PresenceEvent::Left(agent) => ("agent.disconnect", agent),
        PresenceEvent::Changed(_) => return,
    };
    event!(name, json!({"count": 1}), json!({"agent_id": agent.as_str()}));
}

/// A message was kept, for so many receivers.
pub fn message(message: &Message, receivers: usize) {
    let post = &message.post;
    let (name, to) = match &post.to {
        Destination::Agent(agent) => ("message.routed", Some(agent.as_str())),
        Destination::Channel(channel) => ("message.routed", Some(channel.as_str())),
        Destination::Broadcast { .. } => ("message.broadcast", None),
    };
    event!(
        name,
        json!({"count": 1, "receivers": receivers}),
        json!({"from": post.from.as_str(), "to": to, "message_id": message.id.0})
    );
}

/// Something was done with what is kept.
pub fn upkeep(notice: &Notice) {
    let (name, measurements, metadata) = match notice {
        Notice::BackedUp(view) => (
            "dets.backup.stop",
            json!({"bytes": view.bytes, "records": view.records}),
            json!({"backup": view.name.as_str(), "table_count": view.tables.len()}),
        ),
        Notice::BackupFailed(reason) => {
            ("dets.backup.exception", json!({}), json!({"error": &**reason}))
        }
        Notice::Compacted(run) => {
            ("dets.compaction.stop", json!({}), json!({"table_count": run.tables.len()}))
        }
        Notice::CompactionFailed(reason) => {
            ("dets.compaction.exception", json!({}), json!({"error": &**reason}))
        }
        Notice::Backup(_) | Notice::Room(_) => return,
    };
    event!(name, measurements, metadata);
}
