//! What an agent is sent over its WebSocket without having asked.

use serde_json::{Map, Value, json};

use crate::core::command::News;
use crate::core::command::{Destination, Message, Offer, Push, TaskId};
use crate::durable::Heard;
use crate::http::task_view::{as_submitted, legacy_id};
use crate::http::tier;
use crate::translate::{message, trace};

/// Keys of a task that its agent is told as they were submitted.
const AS_SUBMITTED: [&str; 9] = [
    "metadata",
    "repo",
    "branch",
    "file_hints",
    "success_criteria",
    "verification_steps",
    "skip_verification",
    "verification_timeout_ms",
    "max_verification_retries",
];

/// The frame for what was heard; `None` if legacy agents are not told of it.
pub(super) fn frame(heard: &Heard, now_ms: u64) -> Option<Value> {
    match heard {
        Heard::Push(Push::Offer(offer)) => Some(assign(offer, now_ms)),
        Heard::Push(Push::Cancel { task, .. }) => Some(cancelled(*task, now_ms)),
        Heard::Push(_) | Heard::News(News::Replaced) => None,
        Heard::News(News::Restart { reason }) => {
            Some(json!({"type": "restart_sidecar", "reason": **reason}))
        }
        Heard::News(News::Message(message)) => Some(said(message)),
        Heard::News(News::Subscribed { channel, agent }) => Some(json!({
            "type": "channel_agent_joined",
            "channel": channel.as_str(),
            "agent_id": agent.as_str(),
        })),
        Heard::News(News::Presence(event)) => Some(message::presence(event)),
    }
}

fn said(said: &Message) -> Value {
    let mut fields = message::message(said);
    let kind = match said.post.to {
        Destination::Channel(_) => "channel_message",
        _ => "message",
    };
    fields.remove("to");
    // `type` is the frame's own here.
    let message_type = fields.insert("type".into(), kind.into());
    fields.insert("message_type".into(), message_type.unwrap_or_default());
    Value::Object(fields)
}

fn cancelled(task: TaskId, now_ms: u64) -> Value {
    json!({"type": "task_cancelled", "task_id": legacy_id(task), "timestamp": now_ms})
}

fn assign(offer: &Offer, now_ms: u64) -> Value {
    // Tasks of other doors may carry anything: then that is the description.
    let submitted: Map<String, Value> = serde_json::from_slice(&offer.payload).unwrap_or_default();
    let description = match submitted.get("description") {
        Some(Value::String(text)) => text.clone(),
        _ => String::from_utf8_lossy(&offer.payload).into_owned(),
    };
    let tier = tier::of(&description, &submitted);
    let mut frame = Map::new();
    frame.insert("type".into(), "task_assign".into());
    frame.insert("task_id".into(), legacy_id(offer.task).into());
    frame.insert("description".into(), description.into());
    frame.insert("generation".into(), offer.generation.0.into());
    frame.insert("assigned_at".into(), now_ms.into());
    for key in AS_SUBMITTED {
        frame.insert(key.into(), as_submitted(&submitted, key));
    }
    frame.insert("complexity".into(), tier.complexity());
    frame.insert("routing_decision".into(), tier.routing_decision());
    if let Some(parent) = trace::parent(offer.headers.as_deref()) {
        frame.insert(trace::PARENT.into(), parent.into());
    }
    Value::Object(frame)
}
