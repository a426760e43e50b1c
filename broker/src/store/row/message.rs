//! Values about messages, in their first version.

use bincode::{BorrowDecode, Encode};

use super::{code, name, value, whole, write};
use crate::core::command::{Destination, Message, MessageId, MessageKind, NewChannel, Post};
use crate::core::record::ChannelRow;

/// A message; its id is in the key.
#[derive(Encode, BorrowDecode)]
struct MessageV1<'a> {
    from: &'a str,
    to: DestinationV1<'a>,
    channel_seq: u64,
    sent_ms: u64,
    kind: u8,
    label: Option<&'a str>,
    reply_to: Option<&'a str>,
    payload: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
enum DestinationV1<'a> {
    Agent(&'a str),
    Broadcast { is_named: bool },
    Channel(&'a str),
}

/// A channel; its name is in the key.
#[derive(Encode, BorrowDecode)]
struct ChannelV1<'a> {
    description: &'a str,
    created_ms: u64,
    created_by: Option<&'a str>,
}

/// Append the content of a message's value.
pub(in crate::store) fn encode(message: &Message, content: &mut Vec<u8>) -> Result<(), String> {
    let Post { from, to, kind, payload, label, reply_to } = &message.post;
    let stored = MessageV1 {
        from: from.as_str(),
        to: match to {
            Destination::Agent(agent) => DestinationV1::Agent(agent.as_str()),
            Destination::Broadcast { is_named } => DestinationV1::Broadcast { is_named: *is_named },
            Destination::Channel(channel) => DestinationV1::Channel(channel.as_str()),
        },
        channel_seq: message.channel_seq,
        sent_ms: message.sent_ms,
        kind: code(&MessageKind::ALL, kind),
        label: label.as_deref(),
        reply_to: reply_to.as_deref(),
        payload,
    };
    write(stored, content)
}

/// The message in `content`.
pub(in crate::store) fn decode(id: MessageId, content: &[u8]) -> Result<Message, String> {
    let stored: MessageV1<'_> = whole(content)?;
    let to = match stored.to {
        DestinationV1::Agent(agent) => Destination::Agent(name(agent)?),
        DestinationV1::Broadcast { is_named } => Destination::Broadcast { is_named },
        DestinationV1::Channel(channel) => Destination::Channel(name(channel)?),
    };
    let post = Post {
        from: name(stored.from)?,
        to,
        kind: value(&MessageKind::ALL, stored.kind, "kind of message")?,
        payload: stored.payload.into(),
        label: stored.label.map(Into::into),
        reply_to: stored.reply_to.map(Into::into),
    };
    let (channel_seq, sent_ms) = (stored.channel_seq, stored.sent_ms);
    Ok(Message { id, channel_seq, sent_ms, post })
}

/// Append the content of a channel's value.
pub(in crate::store) fn encode_channel(
    row: &ChannelRow,
    content: &mut Vec<u8>,
) -> Result<(), String> {
    let stored = ChannelV1 {
        description: &row.made.description,
        created_ms: row.created_ms,
        created_by: row.made.by.as_ref().map(|by| by.as_str()),
    };
    write(stored, content)
}

/// The channel in `content`.
pub(in crate::store) fn decode_channel(
    channel: &str,
    content: &[u8],
) -> Result<ChannelRow, String> {
    let stored: ChannelV1<'_> = whole(content)?;
    let made = NewChannel {
        name: name(channel)?,
        description: stored.description.into(),
        by: stored.created_by.map(name).transpose()?,
    };
    Ok(ChannelRow { made, created_ms: stored.created_ms })
}
