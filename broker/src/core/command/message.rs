//! Messages from agent to agent: mailboxes, channels, history and threads, and who is here.

use std::fmt;
use std::sync::Arc;

use super::{Name, SessionId};

/// One message, for ever. Assigned by the core in the order of sending, never reused; the same
/// number is its place in every mailbox and in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The id in `text`: 16 lowercase hexadecimal digits, as [`Display`](fmt::Display) writes them.
    #[must_use]
    pub fn parse(text: &str) -> Option<MessageId> {
        let is_id =
            text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| u64::from_str_radix(text, 16).ok().map(MessageId)).flatten()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a message is for; the broker treats all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageKind {
    /// Anything.
    #[default]
    Chat,
    /// It wants an answer.
    Request,
    /// It is one.
    Response,
    /// News of the sender.
    Status,
    /// Are you there?
    Ping,
    /// It is about a task.
    Task,
    /// It is about the system.
    System,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [MessageKind; 7] = [
        MessageKind::Chat,
        MessageKind::Request,
        MessageKind::Response,
        MessageKind::Status,
        MessageKind::Ping,
        MessageKind::Task,
        MessageKind::System,
    ];

    /// Its word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Chat => "chat",
            MessageKind::Request => "request",
            MessageKind::Response => "response",
            MessageKind::Status => "status",
            MessageKind::Ping => "ping",
            MessageKind::Task => "task",
            MessageKind::System => "system",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<MessageKind> {
        MessageKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one agent, whether anybody knows it or not.
    Agent(Name),
    /// To everybody.
    Broadcast {
        /// The sender said so with the word `broadcast`, and not by naming nobody.
        is_named: bool,
    },
    /// To whoever subscribed to a channel.
    Channel(Name),
}

/// The name of a channel as all its spellings: without `#` in front, in lower case, without
/// characters other than `a-z`, `0-9`, `-` and `_`. `None` if nothing is left of it, or more than
/// 64 characters.
#[must_use]
pub fn channel_name(spelling: &str) -> Option<Name> {
    let lower = spelling.trim_start_matches('#').to_lowercase();
    let is_kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    Name::parse(&lower.chars().filter(is_kept).collect::<String>()).ok()
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Who sends it.
    pub from: Name,
    /// To whom.
    pub to: Destination,
    /// What for.
    pub kind: MessageKind,
    /// A JSON object.
    pub payload: Arc<[u8]>,
    /// The text under `channel` in the payload, by which the history can be searched.
    pub label: Option<Arc<str>>,
    /// What the sender calls the message that this one answers; checked against nothing.
    pub reply_to: Option<Arc<str>>,
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub id: MessageId,
    /// Its number in its channel, from 1; 0 if it went to none.
    pub channel_seq: u64,
    /// Wall clock when it was sent.
    pub sent_ms: u64,
    /// What was sent.
    pub post: Post,
}

/// Messages that were asked for. They leave the core as numbers; the commit loop fetches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Which, in order.
    pub ids: Vec<MessageId>,
    /// The same, but for those that were dropped in the very same moment.
    pub messages: Vec<Arc<Message>>,
}

impl Found {
    /// These, to be fetched.
    #[must_use]
    pub fn of(ids: Vec<MessageId>) -> Found {
        Found { ids, messages: Vec::new() }
    }
}

/// Which messages of the history. All tests have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Sent by this agent.
    pub from: Option<Name>,
    /// To this agent, or to all by that word.
    pub to: Option<Destination>,
    /// With this text under `channel` in the payload.
    pub label: Option<Arc<str>>,
    /// Not sent before, by the wall clock.
    pub start_ms: Option<u64>,
    /// Not sent after, by the wall clock.
    pub end_ms: Option<u64>,
    /// Only those behind this number.
    pub after: u64,
    /// At most so many, the oldest ones.
    pub limit: usize,
}

/// Which part of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadPart {
    /// Its root and everything below that.
    Whole,
    /// What answers the message itself.
    Replies,
    /// Only where it begins.
    Root,
}

/// A channel to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChannel {
    /// Its name.
    pub name: Name,
    /// For people.
    pub description: Arc<str>,
    /// Who makes it; `None` for the operator.
    pub by: Option<Name>,
}

/// A channel as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its name.
    pub name: Name,
    /// For people.
    pub description: Arc<str>,
    /// Wall clock when it was made.
    pub created_ms: u64,
    /// Who made it; `None` for the operator.
    pub created_by: Option<Name>,
    /// Who hears what is sent there, the newest first; none in lists.
    pub subscribers: Vec<Name>,
    /// How many those are.
    pub subscriber_count: usize,
}

/// An agent says that it is here, and how it wants to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where it can be reached.
    pub session: SessionId,
    /// Who it is.
    pub agent: Name,
    /// What others see of it.
    pub profile: Profile,
}

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What it wants to be called.
    pub name: Option<Arc<str>>,
    /// What it does, in its own words.
    pub status: Option<Arc<str>>,
    /// What it can do, in its own words.
    pub capabilities: Arc<[Arc<str>]>,
}

/// An agent that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceView {
    /// Who.
    pub agent: Name,
    /// What it says of itself.
    pub profile: Profile,
    /// Wall clock when it came.
    pub connected_ms: u64,
    /// Wall clock when it was last heard of.
    pub seen_ms: u64,
}

/// Something that happened to who is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceEvent {
    /// Somebody came.
    Joined(PresenceView),
    /// Somebody says something else of itself.
    Changed(PresenceView),
    /// Somebody went.
    Left(Name),
}

/// What an agent that is here is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A message to the agent, to all, or to a channel of the agent.
    Message(Arc<Message>),
    /// Somebody else subscribed to a channel of the agent.
    Subscribed {
        /// Which channel.
        channel: Name,
        /// Who.
        agent: Name,
    },
    /// Somebody came, went, or says something else of itself.
    Presence(PresenceEvent),
    /// The agent is asked to start itself again.
    Restart {
        /// Why, for people.
        reason: Arc<str>,
    },
    /// The agent is here through a newer session from now on.
    Replaced,
}

/// Everything about messages that may be asked of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageCommand {
    /// Send a message.
    Post(Box<Post>),
    /// Look into the mailbox of an agent.
    Poll {
        /// Whose.
        agent: Name,
        /// Only what is behind this number.
        after: u64,
    },
    /// Empty the mailbox of an agent up to a number.
    Ack {
        /// Whose.
        agent: Name,
        /// The last number to go.
        up_to: u64,
    },
    /// Drop what has been in a mailbox for too long. Done by itself once an hour, too.
    Evict,
    /// Look at the messages that were sent to agents and to all.
    History(HistoryQuery),
    /// Look at messages that answer each other.
    Thread {
        /// Where to look.
        message: MessageId,
        /// How far.
        part: ThreadPart,
    },
    /// Make a channel.
    CreateChannel(Box<NewChannel>),
    /// Look at a channel.
    ShowChannel {
        /// Which.
        channel: Name,
    },
    /// Look at all channels, in the order of their names.
    ListChannels,
    /// Hear from now on what is sent to a channel.
    Subscribe {
        /// Which.
        channel: Name,
        /// Who.
        agent: Name,
    },
    /// Hear it no more.
    Unsubscribe {
        /// Which.
        channel: Name,
        /// Who.
        agent: Name,
    },
    /// Look at the channels of an agent.
    Subscriptions {
        /// Whose.
        agent: Name,
    },
    /// Look at what was sent to a channel.
    ChannelHistory {
        /// Which; nothing was ever sent to one that is not there.
        channel: Name,
        /// Only what is behind this number of the channel.
        after: u64,
        /// At most so many, the newest ones.
        limit: usize,
    },
    /// Be here from now on, in place of an earlier session of the same agent.
    Join(Join),
    /// Say something else of oneself.
    SetStatus {
        /// Of which agent.
        agent: Name,
        /// What it does now.
        status: Arc<str>,
    },
    /// Say that one is still here.
    See {
        /// Who.
        agent: Name,
    },
    /// Ask an agent that is here to start itself again.
    Restart {
        /// Which.
        agent: Name,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// Look at who is here, in the order of their names.
    ListPresent,
}

/// A granted request about messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageReply {
    /// The message is on its way, or waits where it was sent to.
    Posted {
        /// Its number.
        id: MessageId,
        /// Its number in its channel, if it went to one.
        channel_seq: u64,
    },
    /// Messages, in order.
    Found(Found),
    /// Messages of a thread.
    Thread {
        /// Where it begins.
        root: MessageId,
        /// Those that were asked for, oldest first.
        found: Found,
    },
    /// The channel as it is.
    Channel(ChannelView),
    /// All channels.
    Channels(Vec<ChannelView>),
    /// Whether that changed anything.
    Changed {
        /// It did.
        is_new: bool,
    },
    /// Names of channels.
    Names(Vec<Name>),
    /// The agent is here.
    Joined(PresenceView),
    /// Who is here.
    Present(Vec<PresenceView>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_channel_are_one_name() {
        for (spelling, name) in [
            ("dev", Some("dev")),
            ("##Dev Chat!", Some("devchat")),
            ("a#b_C-1", Some("ab_c-1")),
            ("a.b>*\r\n", Some("ab")),
            ("\u{dc}ber", Some("ber")),
            ("#", None),
            ("", None),
        ] {
            let found = channel_name(spelling);
            assert_eq!(found.as_ref().map(Name::as_str), name, "{spelling}");
        }
        assert_eq!(channel_name(&"x".repeat(65)), None);
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = MessageId(0xabc);
        assert_eq!(id.to_string(), "0000000000000abc");
        assert_eq!(MessageId::parse("0000000000000abc"), Some(id));
        for text in ["", "abc", "0000000000000ABC", "+000000000000abc", "00000000000000abc"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_kind_has_one_word() {
        for kind in MessageKind::ALL {
            assert_eq!(MessageKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(MessageKind::parse("Chat"), None);
    }
}
