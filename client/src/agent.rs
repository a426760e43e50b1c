//! Agents talk: messages to one, to all and to channels, and the mailbox of whoever was away.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Granted, Terms, option, word};
use crate::client::Client;
use crate::operation_error::{TalkError, Trouble};

/// Speaks for one agent; made by [`Client::agent`].
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use agentcom_client::Recipient;
/// let alice = client.agent("alice");
/// alice.send("bob", "are you there?").await?;
/// alice.send(Recipient::Channel("dev"), "hello everybody").await?;
/// for message in alice.mailbox(0).await? {
///     println!("{}: {}", message.from, message.payload);
///     alice.ack(message.seq).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Agent {
    client: Client,
    name: String,
}

/// To whom a message goes. A text is the name of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipient<'a> {
    /// To one agent, whether it is there or not.
    Agent(&'a str),
    /// To whoever subscribed to this channel.
    Channel(&'a str),
    /// To everybody.
    Everybody,
}

/// A message from agent to agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AgentMessage {
    /// Its id: 16 hexadecimal digits.
    pub id: String,
    /// Its number, which is its place in every mailbox and in the history; 0 if it was overheard
    /// ([`crate::Channel::listen`]).
    #[serde(default)]
    pub seq: u64,
    /// Who sent it.
    pub from: String,
    /// The agent that it was sent to, or `broadcast`; `None` if it was sent to a channel, or to
    /// everybody without saying so.
    pub to: Option<String>,
    /// The channel that it was sent to.
    pub channel: Option<String>,
    /// What it is for: `chat`, `request`, `response`, `status`, `ping`, `task` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says: an object. A text was sent as `{"text":"..."}`.
    pub payload: Value,
    /// The id of the message that it answers.
    pub reply_to: Option<String>,
    /// When it was sent, in milliseconds since 1970.
    #[serde(rename = "timestamp")]
    pub sent_ms: u64,
}

/// A message that was sent, and is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// Its number in its channel, if it went to one.
    pub channel_seq: Option<u64>,
}

/// A message to be sent; made by [`Agent::send`], sent by awaiting it. To be dropped is to have
/// sent it or not.
#[derive(Clone, Debug)]
#[must_use = "a message is sent when this is awaited"]
pub struct MessageBuilder {
    client: Client,
    to: String,
    options: Vec<String>,
    payload: Bytes,
    mistake: Option<String>,
}

impl AgentMessage {
    /// The text that it says, if it says one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.payload.get("text").and_then(Value::as_str)
    }

    pub(crate) fn parse_several(json: &[u8]) -> Result<Vec<AgentMessage>, Trouble> {
        #[derive(Deserialize)]
        struct Json {
            messages: Vec<AgentMessage>,
        }
        let Json { messages } = serde_json::from_slice(json).map_err(Trouble::protocol)?;
        Ok(messages)
    }
}

impl<'a> From<&'a str> for Recipient<'a> {
    fn from(agent: &'a str) -> Recipient<'a> {
        Recipient::Agent(agent)
    }
}

impl fmt::Display for Recipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Agent(agent) => f.write_str(agent),
            Recipient::Channel(channel) => write!(f, "#{channel}"),
            Recipient::Everybody => f.write_str("broadcast"),
        }
    }
}

impl Agent {
    pub(crate) fn new(client: Client, name: String) -> Agent {
        Agent { client, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Send a message. Await the returned [`MessageBuilder`]: when it is ready, the message is on
    /// disk. The payload is a JSON object of up to 64 KiB, or any text.
    pub fn send<'a>(
        &self,
        to: impl Into<Recipient<'a>>,
        payload: impl Into<Bytes>,
    ) -> MessageBuilder {
        MessageBuilder {
            client: self.client.clone(),
            to: to.into().to_string(),
            options: vec![option("from", &self.name)],
            payload: payload.into(),
            mistake: word("the agent", &self.name).err().map(|_| self.name.clone()),
        }
    }

    /// What waits for it behind the number `after`, oldest first; at most 100. It stays until
    /// [`Agent::ack`]. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn mailbox(&self, after: u64) -> Result<Vec<AgentMessage>, TalkError> {
        let after = option("after", after);
        let arguments = [word("the agent", &self.name)?, &after];
        let granted = ask(&self.client, ["MAILBOX", "POLL"], &arguments).await?;
        Ok(AgentMessage::parse_several(&granted.body)?)
    }

    /// Drop what waits for it up to the number `up_to`. To call it again is harmless.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn ack(&self, up_to: u64) -> Result<(), TalkError> {
        let up_to = up_to.to_string();
        ask(&self.client, ["MAILBOX", "ACK"], &[word("the agent", &self.name)?, &up_to]).await?;
        Ok(())
    }
}

impl MessageBuilder {
    /// What it is for: `chat` (the default), `request`, `response`, `status`, `ping`, `task` or
    /// `system`.
    pub fn kind(self, kind: &str) -> MessageBuilder {
        self.set("type", kind)
    }

    /// The id of the message that it answers.
    pub fn reply_to(self, id: &str) -> MessageBuilder {
        self.set("reply_to", id)
    }

    fn set(mut self, key: &'static str, value: &str) -> MessageBuilder {
        match word(key, value) {
            Ok(value) => self.options.push(option(key, value)),
            Err(_) => self.mistake = Some(value.to_owned()),
        }
        self
    }

    async fn post(self) -> Result<Sent, TalkError> {
        if let Some(mistake) = self.mistake {
            let sentence = format!("{mistake:?} must be one word without blanks");
            return Err(Trouble::invalid(sentence).into());
        }
        let mut arguments = vec![word("the recipient", &self.to)?];
        arguments.extend(self.options.iter().map(String::as_str));
        let shared = self.client.shared();
        let verb = ["MESSAGE", "SEND"];
        let granted = shared.ask(verb, &arguments, Some(&self.payload), Terms::default()).await?;
        let id = granted.field("id").ok_or_else(|| Trouble::protocol("the answer has no id"))?;
        let channel_seq = granted.field("seq").and_then(|seq| seq.parse().ok());
        Ok(Sent { id: id.to_owned(), channel_seq })
    }
}

impl IntoFuture for MessageBuilder {
    type Output = Result<Sent, TalkError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.post())
    }
}

pub(crate) async fn ask(
    client: &Client,
    verb: [&str; 2],
    arguments: &[&str],
) -> Result<Granted, Trouble> {
    client.shared().ask(verb, arguments, None, Terms::default()).await
}
