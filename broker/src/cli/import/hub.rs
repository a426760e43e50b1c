//! The hub's REST interface, as its documents describe it. Nothing is changed there.

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Messages that are asked for at once: the hub gives no more.
const PAGE: usize = 200;

/// A hub that answers.
#[derive(Debug)]
pub(super) struct Hub {
    address: Url,
    client: reqwest::Client,
    token: Option<String>,
}

/// A channel and who listens there, the newest first.
#[derive(Debug, Deserialize)]
pub(super) struct HubChannel {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) created_by: Option<String>,
    #[serde(default)]
    pub(super) subscribers: Vec<String>,
}

/// A message.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HubMessage {
    pub(super) id: String,
    pub(super) from: String,
    #[serde(default)]
    pub(super) to: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) payload: Map<String, Value>,
    #[serde(default)]
    pub(super) reply_to: Option<String>,
    #[serde(default)]
    pub(super) seq: u64,
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<HubMessage>,
}

impl Hub {
    pub(super) fn new(address: &str, token: Option<String>) -> Result<Hub, String> {
        let wrong = || format!("--hub {address} is no address; give one such as http://hub:4000");
        let parsed = Url::parse(address).map_err(|_| wrong())?;
        if parsed.scheme() != "http" || parsed.cannot_be_a_base() {
            return Err(wrong());
        }
        Ok(Hub { address: parsed, client: reqwest::Client::new(), token })
    }

    /// Every channel.
    pub(super) async fn channels(&self) -> Result<Vec<HubChannel>, String> {
        #[derive(Deserialize)]
        struct Channels {
            channels: Vec<HubChannel>,
        }
        let listed: Channels = self.get(&["api", "channels"], &[]).await?;
        let mut channels = Vec::new();
        for channel in listed.channels {
            channels.push(self.get(&["api", "channels", &channel.name], &[]).await?);
        }
        Ok(channels)
    }

    /// What was said in a channel, oldest first.
    pub(super) async fn channel_history(&self, channel: &str) -> Result<Vec<HubMessage>, String> {
        #[derive(Deserialize)]
        struct Entry {
            message: HubMessage,
        }
        #[derive(Deserialize)]
        struct Entries {
            messages: Vec<Entry>,
        }
        let path = ["api", "channels", channel, "history"];
        let found: Entries = self.get(&path, &[("limit", PAGE.to_string())]).await?;
        Ok(found.messages.into_iter().map(|entry| entry.message).collect())
    }

    /// What was sent to agents and to all, oldest first.
    pub(super) async fn history(&self) -> Result<Vec<HubMessage>, String> {
        let mut messages: Vec<HubMessage> = Vec::new();
        loop {
            let cursor = messages.last().map_or(0, |message| message.seq);
            let query = [("cursor", cursor.to_string()), ("limit", PAGE.to_string())];
            let page: Messages = self.get(&["api", "messages"], &query).await?;
            let is_last = page.messages.len() < PAGE;
            messages.extend(page.messages);
            if is_last {
                return Ok(messages);
            }
        }
    }

    /// What waits for an agent, oldest first; with the agent's own token.
    pub(super) async fn mailbox(
        &self,
        agent: &str,
        token: &str,
    ) -> Result<Vec<HubMessage>, String> {
        let query = [("token", token.to_owned())];
        let found: Messages = self.get_as(&["api", "mailbox", agent], &query, None).await?;
        Ok(found.messages)
    }

    /// Every task but the dead letters.
    pub(super) async fn tasks(&self) -> Result<Vec<Value>, String> {
        self.tasks_at(&["api", "tasks"]).await
    }

    /// The dead letters.
    pub(super) async fn dead_letters(&self) -> Result<Vec<Value>, String> {
        self.tasks_at(&["api", "tasks", "dead-letter"]).await
    }

    async fn tasks_at(&self, path: &[&str]) -> Result<Vec<Value>, String> {
        #[derive(Deserialize)]
        struct Tasks {
            tasks: Vec<Value>,
        }
        let found: Tasks = self.get(path, &[]).await?;
        Ok(found.tasks)
    }

    async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, String> {
        self.get_as(path, query, self.token.as_deref()).await
    }

    async fn get_as<T: for<'de> Deserialize<'de>>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        token: Option<&str>,
    ) -> Result<T, String> {
        let mut address = self.address.clone();
        // Checked when the address was taken.
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let shown = address.clone();
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.get(address);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            format!("the hub does not answer {shown}: {}", crate::cli::chain(&error))
        };
        let answer = request.send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map_err(failed),
            StatusCode::UNAUTHORIZED => {
                Err(format!("the hub wants a token for {shown}; give one with --hub-token"))
            }
            status => Err(format!("the hub answers {shown} with {status}")),
        }
    }
}
