//! What was said before, and who is here.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde::Deserialize;

use crate::agent::{AgentMessage, Recipient, ask};
use crate::answer::{option, word};
use crate::client::Client;
use crate::operation_error::{TalkError, Trouble};

/// Messages that were sent to agents and to all; made by [`Client::history`], asked for by awaiting
/// it. The broker remembers the newest 10,000. Cancel-safe.
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::TalkError> {
/// for message in client.history().from("alice").limit(10).await? {
///     println!("{} {}", message.id, message.payload);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "messages are looked up when this is awaited"]
pub struct History {
    client: Client,
    options: Vec<(&'static str, String)>,
}

/// An agent that is here over the WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PresentAgent {
    /// Its name among agents.
    #[serde(rename = "agent_id")]
    pub agent: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// What it does, in its own words.
    pub status: Option<String>,
    /// What it can do, in its own words.
    pub capabilities: Vec<String>,
    /// When it came, in milliseconds since 1970.
    #[serde(rename = "connected_at")]
    pub connected_ms: u64,
}

impl History {
    pub(crate) fn new(client: Client) -> History {
        History { client, options: Vec::new() }
    }

    /// Only what this agent sent.
    pub fn from(self, agent: &str) -> History {
        self.set("from", agent.to_owned())
    }

    /// Only what was sent to this agent, or to everybody by that word.
    pub fn to<'a>(self, to: impl Into<Recipient<'a>>) -> History {
        let to = to.into().to_string();
        self.set("to", to)
    }

    /// Only what was not sent before this time, in milliseconds since 1970.
    pub fn since_ms(self, start_ms: u64) -> History {
        self.set("start_ms", start_ms.to_string())
    }

    /// Only what was not sent after this time, in milliseconds since 1970.
    pub fn until_ms(self, end_ms: u64) -> History {
        self.set("end_ms", end_ms.to_string())
    }

    /// Only what is behind this number. Default: from the oldest on.
    pub fn after(self, seq: u64) -> History {
        self.set("after", seq.to_string())
    }

    /// At most so many, 1 to 200, the oldest ones. Default: 50.
    pub fn limit(self, messages: usize) -> History {
        self.set("limit", messages.to_string())
    }

    fn set(mut self, key: &'static str, value: String) -> History {
        self.options.push((key, value));
        self
    }

    async fn send(self) -> Result<Vec<AgentMessage>, TalkError> {
        let options = self.options.iter().map(|(key, value)| Ok(option(key, word(key, value)?)));
        let options: Vec<String> = options.collect::<Result<_, Trouble>>()?;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let granted = ask(&self.client, ["MESSAGE", "HISTORY"], &options).await?;
        Ok(AgentMessage::parse_several(&granted.body)?)
    }
}

impl IntoFuture for History {
    type Output = Result<Vec<AgentMessage>, TalkError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The messages of the thread that a message is in, oldest first.
pub(crate) async fn thread(client: &Client, id: &str) -> Result<Vec<AgentMessage>, Trouble> {
    let granted = ask(client, ["MESSAGE", "THREAD"], &[word("the message", id)?]).await?;
    AgentMessage::parse_several(&granted.body)
}

/// Who is here over the WebSocket.
pub(crate) async fn present(client: &Client) -> Result<Vec<PresentAgent>, Trouble> {
    #[derive(Deserialize)]
    struct Json {
        agents: Vec<PresentAgent>,
    }
    let granted = ask(client, ["PRESENCE", "LIST"], &[]).await?;
    let Json { agents } = serde_json::from_slice(&granted.body).map_err(Trouble::protocol)?;
    Ok(agents)
}
