//! Channels: what is said there goes to whoever subscribed, and stays for a while.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::Deserialize;

use crate::agent::{AgentMessage, ask};
use crate::answer::{Terms, option, word};
use crate::client::Client;
use crate::error::SubscribeError;
use crate::operation_error::{TalkError, Trouble};
use crate::subscriber::{Subscriber, poll_json};

/// One channel; made by [`Client::channel`]. [`crate::Agent::send`] sends to it.
#[derive(Clone, Debug)]
pub struct Channel {
    client: Client,
    name: String,
}

/// A channel as it was when the broker answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    #[serde(rename = "created_at")]
    pub created_ms: u64,
    /// Who made it; not in lists.
    pub created_by: Option<String>,
    /// Who subscribed, the newest first; empty in lists.
    #[serde(default)]
    pub subscribers: Vec<String>,
    /// How many those are.
    pub subscriber_count: u64,
}

/// What is said in a channel from now on; made by [`Channel::listen`]. A stream.
#[derive(Debug)]
pub struct Listener(Subscriber);

impl Channel {
    pub(crate) fn new(client: Client, name: String) -> Channel {
        Channel { client, name }
    }

    /// Its name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Make it, for an agent.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`], such as `ChannelExists`.
    pub async fn create(&self, agent: &str, description: &str) -> Result<(), TalkError> {
        let agent = option("agent", word("the agent", agent)?);
        let arguments = [self.word()?, &agent];
        let (verb, body) = (["CHANNEL", "CREATE"], Some(description.as_bytes()));
        self.client.shared().ask(verb, &arguments, body, Terms::default()).await?;
        Ok(())
    }

    /// Put what is said there into the mailbox of an agent, from now on. Gives whether that is new.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn subscribe(&self, agent: &str) -> Result<bool, TalkError> {
        self.change("SUBSCRIBE", agent).await
    }

    /// Do so no more. Gives whether that is new.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn unsubscribe(&self, agent: &str) -> Result<bool, TalkError> {
        self.change("UNSUBSCRIBE", agent).await
    }

    async fn change(&self, action: &str, agent: &str) -> Result<bool, TalkError> {
        let agent = option("agent", word("the agent", agent)?);
        let granted = ask(&self.client, ["CHANNEL", action], &[self.word()?, &agent]).await?;
        Ok(granted.field("changed") == Some("true"))
    }

    /// Everything about it. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn show(&self) -> Result<ChannelView, TalkError> {
        let granted = ask(&self.client, ["CHANNEL", "SHOW"], &[self.word()?]).await?;
        Ok(serde_json::from_slice(&granted.body).map_err(Trouble::protocol)?)
    }

    /// The newest messages there, oldest first; at most `limit` (1 to 200). Cancel-safe.
    ///
    /// # Errors
    /// [`crate::TalkErrorKind`].
    pub async fn history(&self, limit: usize) -> Result<Vec<AgentMessage>, TalkError> {
        let limit = option("limit", limit);
        let granted = ask(&self.client, ["CHANNEL", "HISTORY"], &[self.word()?, &limit]).await?;
        Ok(AgentMessage::parse_several(&granted.body)?)
    }

    /// Hear what is said there from now on, without a mailbox. What is said while there is no
    /// connection is missed; [`Channel::history`] has it.
    ///
    /// # Errors
    /// [`crate::SubscribeErrorKind`].
    pub async fn listen(&self) -> Result<Listener, SubscribeError> {
        let subject = format!("$AC.EVENT.CHANNEL.{}", self.name.trim_start_matches('#'));
        Ok(Listener(self.client.subscribe(subject).await?))
    }

    fn word(&self) -> Result<&str, Trouble> {
        word("the channel", &self.name)
    }
}

impl Stream for Listener {
    type Item = AgentMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AgentMessage>> {
        poll_json(&mut self.get_mut().0, context)
    }
}

/// All channels, in the order of their names.
pub(crate) async fn list(client: &Client) -> Result<Vec<ChannelView>, Trouble> {
    #[derive(Deserialize)]
    struct Json {
        channels: Vec<ChannelView>,
    }
    let granted = ask(client, ["CHANNEL", "LIST"], &[]).await?;
    let Json { channels } = serde_json::from_slice(&granted.body).map_err(Trouble::protocol)?;
    Ok(channels)
}
