//! Messages, channels and who is here, as JSON: the same keys at every door.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::core::command::{
    ChannelView, Destination, Message, MessageReply, Name, PresenceEvent, PresenceView,
};

/// Largest payload of a message, in bytes of JSON: messages say where things are; they are not
/// the things.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Longest reference to another message, in characters: twice what any id of ours has.
const REPLY_TO_CHARS_MAX: usize = 128;
/// Longest text under `channel` in a payload by which the history can be searched, in characters.
const LABEL_CHARS_MAX: usize = 64;
/// Longest description of a channel, in characters.
const DESCRIPTION_CHARS_MAX: usize = 4096;
/// Messages of a history in one answer, unless another number is asked for.
pub const HISTORY_LIMIT: u64 = 50;
/// The same, at most.
pub const HISTORY_LIMIT_MAX: u64 = 200;
/// The word that means everybody.
pub const BROADCAST: &str = "broadcast";
/// The name under which the operator speaks; no agent can have it.
pub const OPERATOR: &str = "operator";

/// Whether a name is the operator's.
#[must_use]
pub fn is_operator(name: &Name) -> bool {
    name.as_str() == OPERATOR
}

/// Something is longer than it may be. Each door says it in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// As long as it is.
    pub found: usize,
    /// As long as it may be.
    pub max: usize,
    /// What is counted.
    pub unit: &'static str,
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// JSON.
    pub json: Arc<[u8]>,
    /// The text by which the message can be searched.
    pub label: Option<Arc<str>>,
}

/// A payload that a message may carry.
///
/// # Errors
/// [`TooLong`]
pub fn payload(object: Map<String, Value>) -> Result<Payload, TooLong> {
    let label = object.get("channel").and_then(Value::as_str);
    let label = label.filter(|label| label.chars().count() <= LABEL_CHARS_MAX).map(Into::into);
    let json = Value::Object(object).to_string().into_bytes();
    let (found, max) = (json.len(), PAYLOAD_BYTES_MAX);
    match found <= max {
        true => Ok(Payload { json: json.into(), label }),
        false => Err(TooLong { found, max, unit: "bytes of JSON" }),
    }
}

/// A reference to another message, whatever that is called.
///
/// # Errors
/// [`TooLong`]
pub fn reply_to(text: &str) -> Result<Arc<str>, TooLong> {
    at_most(REPLY_TO_CHARS_MAX, text)
}

/// The description of a channel.
///
/// # Errors
/// [`TooLong`]
pub fn description(text: &str) -> Result<Arc<str>, TooLong> {
    at_most(DESCRIPTION_CHARS_MAX, text)
}

fn at_most(max: usize, text: &str) -> Result<Arc<str>, TooLong> {
    let found = text.chars().count();
    match found <= max {
        true => Ok(text.into()),
        false => Err(TooLong { found, max, unit: "characters" }),
    }
}

/// A message.
#[must_use]
pub fn message(message: &Message) -> Map<String, Value> {
    let post = &message.post;
    let mut fields = Map::new();
    fields.insert("id".into(), message.id.to_string().into());
    fields.insert("from".into(), post.from.as_str().into());
    let to = match &post.to {
        Destination::Agent(agent) => Some(agent.as_str()),
        Destination::Broadcast { is_named: true } => Some(BROADCAST),
        Destination::Broadcast { is_named: false } | Destination::Channel(_) => None,
    };
    fields.insert("to".into(), to.into());
    if let Destination::Channel(channel) = &post.to {
        fields.insert("channel".into(), channel.as_str().into());
    }
    fields.insert("type".into(), post.kind.as_str().into());
    // It was JSON when it came.
    let payload = serde_json::from_slice(&post.payload).unwrap_or_default();
    fields.insert("payload".into(), payload);
    fields.insert("reply_to".into(), post.reply_to.as_deref().into());
    fields.insert("timestamp".into(), message.sent_ms.into());
    fields
}

/// A message with its place in a mailbox or in the history.
#[must_use]
pub fn numbered(message: &Message) -> Value {
    let mut fields = self::message(message);
    fields.insert("seq".into(), message.id.0.into());
    Value::Object(fields)
}

/// A message as it waits in a mailbox: one to a channel says so in its payload, too.
#[must_use]
pub fn mail(message: &Message) -> Value {
    let mut mail = numbered(message);
    if let Destination::Channel(channel) = &message.post.to
        && let Some(payload) = mail["payload"].as_object_mut()
    {
        payload.insert("channel".into(), channel.as_str().into());
    }
    mail
}

/// A message in the history of a channel.
#[must_use]
pub fn in_channel(message: &Message) -> Value {
    json!({
        "seq": message.channel_seq,
        "message": self::message(message),
        "stored_at": message.sent_ms,
    })
}

/// A channel in a list.
#[must_use]
pub fn listed(view: &ChannelView) -> Value {
    json!({
        "name": view.name.as_str(),
        "description": *view.description,
        "subscriber_count": view.subscriber_count,
        "created_at": view.created_ms,
    })
}

/// Everything about a channel.
#[must_use]
pub fn channel(view: &ChannelView) -> Value {
    let mut shown = listed(view);
    shown["subscribers"] = names(&view.subscribers).into();
    shown["created_by"] = view.created_by.as_ref().map(|by| by.as_str()).into();
    shown
}

/// An agent that is here.
#[must_use]
pub fn agent(view: &PresenceView) -> Value {
    let capabilities: Vec<&str> = view.profile.capabilities.iter().map(|text| &**text).collect();
    json!({
        "agent_id": view.agent.as_str(),
        "name": view.profile.name.as_deref(),
        "status": view.profile.status.as_deref(),
        "capabilities": capabilities,
        "connected_at": view.connected_ms,
    })
}

/// Somebody came, went, or says something else of itself.
#[must_use]
pub fn presence(event: &PresenceEvent) -> Value {
    match event {
        PresenceEvent::Joined(view) => json!({"type": "agent_joined", "agent": agent(view)}),
        PresenceEvent::Changed(view) => json!({"type": "status_changed", "agent": agent(view)}),
        PresenceEvent::Left(agent) => json!({"type": "agent_left", "agent_id": agent.as_str()}),
    }
}

/// An answer.
#[must_use]
pub fn answer(reply: &MessageReply) -> Value {
    let all =
        |found: &[Arc<Message>]| -> Vec<Value> { found.iter().map(|one| numbered(one)).collect() };
    match reply {
        MessageReply::Posted { id, channel_seq: 0 } => json!({"id": id.to_string()}),
        MessageReply::Posted { id, channel_seq } => {
            json!({"id": id.to_string(), "seq": channel_seq})
        }
        MessageReply::Found(found) => json!({"messages": all(&found.messages)}),
        MessageReply::Thread { root, found } => {
            json!({"root": root.to_string(), "messages": all(&found.messages)})
        }
        MessageReply::Channel(view) => channel(view),
        MessageReply::Channels(views) => {
            json!({"channels": views.iter().map(listed).collect::<Vec<Value>>()})
        }
        MessageReply::Changed { is_new } => json!({"changed": is_new}),
        MessageReply::Names(found) => json!({"channels": names(found)}),
        MessageReply::Joined(view) => agent(view),
        MessageReply::Present(views) => {
            json!({"agents": views.iter().map(agent).collect::<Vec<Value>>()})
        }
    }
}

fn names(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}
