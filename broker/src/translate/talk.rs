//! Requests about messages, mailboxes, channels, who is here, and the settings that all share.

use std::sync::Arc;

use agentcom_protocol::Verb;
use serde_json::{Map, Value};

use super::command::Asker;
use super::fields::{Fields, Range, wrong};
use super::message::{HISTORY_LIMIT, HISTORY_LIMIT_MAX, Payload, TooLong};
use super::{Invalid, message, setting};
use crate::core::command::{
    Command, ConfigCommand, Destination, HistoryQuery, MessageCommand, MessageId, MessageKind,
    Name, NewChannel, Post, ThreadPart, channel_name,
};

/// Under which key of a payload a text stands that is no JSON object.
const TEXT: &str = "text";

pub(super) fn command(
    verb: Verb,
    fields: Fields<'_>,
    asker: &Asker<'_>,
) -> Result<Command, Invalid> {
    let command = match verb {
        Verb::MessageSend => MessageCommand::Post(Box::new(post(fields, asker)?)),
        Verb::MessageHistory => MessageCommand::History(history(fields)?),
        Verb::MessageThread => {
            MessageCommand::Thread { message: message_id(fields)?, part: part(fields)? }
        }
        Verb::MailboxPoll => MessageCommand::Poll {
            agent: speaker(fields, "agent", asker)?,
            after: fields.number("after", Range::ID)?.unwrap_or(0),
        },
        Verb::MailboxAck => MessageCommand::Ack {
            agent: speaker(fields, "agent", asker)?,
            up_to: fields.needed("up_to", Range::ID)?,
        },
        Verb::ChannelCreate => {
            let (name, description) = (channel(fields)?, description(fields)?);
            let by = speaker(fields, "agent", asker)?;
            let made = NewChannel { name, description, by: Some(by) };
            MessageCommand::CreateChannel(Box::new(made))
        }
        Verb::ChannelShow => MessageCommand::ShowChannel { channel: channel(fields)? },
        Verb::ChannelList => MessageCommand::ListChannels,
        Verb::ChannelSubscribe => {
            let (channel, agent) = (channel(fields)?, speaker(fields, "agent", asker)?);
            MessageCommand::Subscribe { channel, agent }
        }
        Verb::ChannelUnsubscribe => {
            let (channel, agent) = (channel(fields)?, speaker(fields, "agent", asker)?);
            MessageCommand::Unsubscribe { channel, agent }
        }
        Verb::ChannelHistory => MessageCommand::ChannelHistory {
            channel: channel(fields)?,
            after: fields.number("after", Range::ID)?.unwrap_or(0),
            limit: limit(fields)?,
        },
        _ => MessageCommand::ListPresent,
    };
    Ok(Command::Message(Box::new(command)))
}

/// Requests about the settings that all share.
pub(super) fn config(verb: Verb, fields: Fields<'_>) -> Result<Command, Invalid> {
    Ok(Command::Config(match verb {
        Verb::ConfigGet => ConfigCommand::Get { key: fields.needed_name("key")? },
        Verb::ConfigSet => {
            let (key, value) = (fields.needed_name("key")?, fields.body("value")?);
            setting::check(&key, &value)?;
            ConfigCommand::Set { key, value, version: fields.number("version", Range::ID)? }
        }
        _ => ConfigCommand::List,
    }))
}

/// The agent for whom is spoken: the one whose token the connection showed, and no other; the one
/// that is named, if it showed none. The operator's name is the operator's.
fn speaker(fields: Fields<'_>, key: &'static str, asker: &Asker<'_>) -> Result<Name, Invalid> {
    let named = fields.name(key)?;
    match (&asker.agent, named) {
        (Some(own), None) => Ok(own.clone()),
        (Some(_), Some(named)) => asker.check_speaker(key, &named).map(|()| named),
        (None, Some(named)) if message::is_operator(&named) && !asker.is_operator() => {
            Err(wrong(key, named.as_str(), "the name of an agent; this one is the operator's"))
        }
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Invalid::Missing {
            field: key,
            allowed: "the name of the agent for whom you speak".into(),
        }),
    }
}

fn post(fields: Fields<'_>, asker: &Asker<'_>) -> Result<Post, Invalid> {
    let from = speaker(fields, "from", asker)?;
    let to = fields.text("to")?.ok_or(Invalid::Missing {
        field: "to",
        allowed: "an agent, #channel, or broadcast".into(),
    })?;
    let payload = payload(fields)?;
    Ok(Post {
        from,
        to: destination(to)?,
        kind: fields.text("type")?.map_or(Ok(MessageKind::default()), kind)?,
        label: payload.label,
        payload: payload.json,
        reply_to: reply_to(fields)?,
    })
}

/// One agent by its name, a channel behind `#`, or all by that word.
fn destination(to: &str) -> Result<Destination, Invalid> {
    match to.strip_prefix('#') {
        Some(_) => channel_of("to", to).map(Destination::Channel),
        None if to == message::BROADCAST => Ok(Destination::Broadcast { is_named: true }),
        None => super::fields::name("to", to).map(Destination::Agent),
    }
}

/// An object as it is, and anything else as its text.
fn payload(fields: Fields<'_>) -> Result<Payload, Invalid> {
    let object = match fields {
        Fields::Json(map) => map.get("payload").and_then(Value::as_object).cloned(),
        Fields::Words(request) => serde_json::from_slice(request.body).ok(),
    };
    let payload = match object {
        Some(object) => object,
        None => {
            let text = fields.body("payload")?;
            let text = std::str::from_utf8(&text);
            let text = text.map_err(|_| wrong("payload", "not UTF-8", "a JSON object, or text"))?;
            Map::from_iter([(TEXT.to_owned(), text.into())])
        }
    };
    message::payload(payload).map_err(|error| too_long("payload", error))
}

fn too_long(field: &'static str, TooLong { found, max, unit }: TooLong) -> Invalid {
    wrong(field, &format!("{found} {unit}"), &format!("up to {max} of them"))
}

fn kind(found: &str) -> Result<MessageKind, Invalid> {
    let words = || MessageKind::ALL.map(MessageKind::as_str).join(", ");
    MessageKind::parse(found).ok_or_else(|| wrong("type", found, &words()))
}

fn reply_to(fields: Fields<'_>) -> Result<Option<Arc<str>>, Invalid> {
    let reply_to = fields.text("reply_to")?.map(message::reply_to).transpose();
    reply_to.map_err(|error| too_long("reply_to", error))
}

fn message_id(fields: Fields<'_>) -> Result<MessageId, Invalid> {
    let allowed = "the id of a message: 16 hexadecimal digits";
    let found = fields.text("message")?;
    let found = found.ok_or(Invalid::Missing { field: "message", allowed: allowed.into() })?;
    MessageId::parse(found).ok_or_else(|| wrong("message", found, allowed))
}

fn part(fields: Fields<'_>) -> Result<ThreadPart, Invalid> {
    match fields.text("part")? {
        None | Some("whole") => Ok(ThreadPart::Whole),
        Some("replies") => Ok(ThreadPart::Replies),
        Some(found) => Err(wrong("part", found, "whole or replies")),
    }
}

fn history(fields: Fields<'_>) -> Result<HistoryQuery, Invalid> {
    Ok(HistoryQuery {
        from: fields.name("from")?,
        to: fields.text("to")?.map(destination).transpose()?,
        label: fields.text("label")?.map(Into::into),
        start_ms: fields.number("start_ms", Range::WALL)?,
        end_ms: fields.number("end_ms", Range::WALL)?,
        after: fields.number("after", Range::ID)?.unwrap_or(0),
        limit: limit(fields)?,
    })
}

fn limit(fields: Fields<'_>) -> Result<usize, Invalid> {
    let limit = fields.number("limit", Range::count(1, HISTORY_LIMIT_MAX))?;
    Ok(usize::try_from(limit.unwrap_or(HISTORY_LIMIT)).expect("limits are small"))
}

fn channel(fields: Fields<'_>) -> Result<Name, Invalid> {
    let found = fields.text("channel")?;
    let missing = Invalid::Missing { field: "channel", allowed: CHANNEL.into() };
    channel_of("channel", found.ok_or(missing)?)
}

const CHANNEL: &str = "a name with 1 to 64 letters, digits, '-' or '_'";

fn channel_of(field: &'static str, found: &str) -> Result<Name, Invalid> {
    channel_name(found).ok_or_else(|| wrong(field, found, CHANNEL))
}

fn description(fields: Fields<'_>) -> Result<Arc<str>, Invalid> {
    let bytes = fields.body("description")?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| wrong("description", "not UTF-8", "text in UTF-8"))?;
    message::description(text).map_err(|error| too_long("description", error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::command::SessionId;

    fn asker<'a>(identity: &'a str, agent: Option<&str>) -> Asker<'a> {
        let agent = agent.map(|agent| Name::parse(agent).unwrap());
        Asker { session: SessionId(1), identity, agent, process: "p" }
    }

    fn sent(asker: &Asker<'_>, fields: &Value) -> Result<Post, String> {
        let fields = Fields::Json(fields.as_object().unwrap());
        match command(Verb::MessageSend, fields, asker) {
            Ok(Command::Message(command)) => match *command {
                MessageCommand::Post(post) => Ok(*post),
                other => panic!("{other:?}"),
            },
            Ok(other) => panic!("{other:?}"),
            Err(invalid) => Err(invalid.to_string()),
        }
    }

    #[test]
    fn whoever_showed_a_token_speaks_for_nobody_else() {
        let from = |asker: &Asker<'_>, from: Option<&str>| {
            let post = sent(asker, &json!({"to": "bob", "from": from}));
            post.map(|post| post.from.to_string())
        };
        let (alice, open) = (asker("agent:alice", Some("alice")), asker("anonymous", None));
        assert_eq!(from(&alice, None).as_deref(), Ok("alice"));
        assert_eq!(from(&alice, Some("alice")).as_deref(), Ok("alice"));
        let refused = from(&alice, Some("carol")).unwrap_err();
        assert!(refused.contains("alice, whose token this connection showed"), "{refused}");
        assert_eq!(from(&open, Some("carol")).as_deref(), Ok("carol"));
        assert!(from(&open, None).unwrap_err().contains("from is missing"));
        assert!(from(&open, Some("operator")).unwrap_err().contains("the operator's"));
        assert_eq!(from(&asker("operator", None), Some("operator")).as_deref(), Ok("operator"));
    }

    #[test]
    fn a_message_goes_to_an_agent_a_channel_or_all() {
        let open = asker("anonymous", None);
        let to = |to: &str| sent(&open, &json!({"to": to, "from": "a"})).map(|post| post.to);
        let name = |text: &str| Name::parse(text).unwrap();
        assert_eq!(to("bob"), Ok(Destination::Agent(name("bob"))));
        assert_eq!(to("#Dev Chat"), Ok(Destination::Channel(name("devchat"))));
        assert_eq!(to("broadcast"), Ok(Destination::Broadcast { is_named: true }));
        for wrong in ["", "#", "a b", "bob\r\n", "a>*"] {
            assert!(to(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_payload_is_an_object_or_becomes_one() {
        let open = asker("anonymous", None);
        let payload = |payload: Value| {
            let post = sent(&open, &json!({"to": "b", "from": "a", "payload": payload}));
            post.map(|post| String::from_utf8(post.payload.to_vec()).unwrap())
        };
        assert_eq!(payload(json!({"b": 1, "channel": "x"})).unwrap(), r#"{"b":1,"channel":"x"}"#);
        assert_eq!(payload(json!("hi")).unwrap(), r#"{"text":"hi"}"#);
        assert_eq!(payload(json!(null)).unwrap(), r#"{"text":""}"#);
        assert!(payload(json!(["hi"])).is_err());
        let large = "x".repeat(64 * 1024 - r#"{"text":""}"#.len());
        assert!(payload(json!(large)).is_ok());
        assert!(payload(json!(large + "x")).unwrap_err().contains("65537 bytes"));
    }
}
