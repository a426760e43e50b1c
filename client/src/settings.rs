//! Settings that all share, with a version each, so that nobody overwrites what somebody else said
//! meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Terms, option, word};
use crate::client::Client;
use crate::error::SubscribeError;
use crate::operation_error::{SettingError, Trouble};
use crate::subscriber::{Subscriber, poll_json};

/// The settings that all share; made by [`Client::settings`].
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), agentcom_client::SettingError> {
/// let settings = client.settings();
/// let version = settings.get("motd").await?.map_or(0, |found| found.version);
/// settings.set_if("motd", "hello", version).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    client: Client,
}

/// A setting as it was when the broker answered.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value; a text if it is no JSON.
    pub value: Value,
    /// Raised by one with every change, from 1.
    pub version: u64,
}

/// What is set from now on; made by [`Settings::watch`]. A stream.
#[derive(Debug)]
pub struct SettingWatch(Subscriber);

impl Settings {
    pub(crate) fn new(client: Client) -> Settings {
        Settings { client }
    }

    /// One of them; `None` if it was never set. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::SettingErrorKind`].
    pub async fn get(&self, key: &str) -> Result<Option<Setting>, SettingError> {
        Ok(self.ask("GET", &[word("the key", key)?], None).await?.pop())
    }

    /// Set one of them, whatever it is now. Gives it with its new version.
    ///
    /// # Errors
    /// [`crate::SettingErrorKind`].
    pub async fn set(&self, key: &str, value: impl Into<Bytes>) -> Result<Setting, SettingError> {
        let set = self.ask("SET", &[word("the key", key)?], Some(&value.into())).await?;
        Ok(one(set)?)
    }

    /// Set one of them if that is its version still; 0 if it was never set. Gives it with its new
    /// version.
    ///
    /// # Errors
    /// [`crate::SettingErrorKind`], such as `OtherVersion`.
    pub async fn set_if(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        version: u64,
    ) -> Result<Setting, SettingError> {
        let version = option("version", version);
        let arguments = [word("the key", key)?, &version];
        Ok(one(self.ask("SET", &arguments, Some(&value.into())).await?)?)
    }

    /// All of them, in the order of their names. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::SettingErrorKind`].
    pub async fn list(&self) -> Result<Vec<Setting>, SettingError> {
        Ok(self.ask("LIST", &[], None).await?)
    }

    /// Hear of every setting that is set from now on. What is set while there is no connection is
    /// missed.
    ///
    /// # Errors
    /// [`crate::SubscribeErrorKind`].
    pub async fn watch(&self) -> Result<SettingWatch, SubscribeError> {
        Ok(SettingWatch(self.client.subscribe("$AC.EVENT.CONFIG").await?))
    }

    async fn ask(
        &self,
        action: &str,
        arguments: &[&str],
        body: Option<&[u8]>,
    ) -> Result<Vec<Setting>, Trouble> {
        #[derive(Deserialize)]
        struct Json {
            settings: Vec<Setting>,
        }
        let shared = self.client.shared();
        let granted = shared.ask(["CONFIG", action], arguments, body, Terms::default()).await?;
        let Json { settings } = serde_json::from_slice(&granted.body).map_err(Trouble::protocol)?;
        Ok(settings)
    }
}

fn one(mut settings: Vec<Setting>) -> Result<Setting, Trouble> {
    settings.pop().ok_or_else(|| Trouble::protocol("the answer has no setting"))
}

impl Stream for SettingWatch {
    type Item = Setting;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Setting>> {
        poll_json(&mut self.get_mut().0, context)
    }
}
