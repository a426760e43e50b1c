//! `[push]`: messages to the devices of people.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Config;
use super::setting::{Raw, Value, settings};
use crate::push;

/// Upper edge: ten minutes. Whoever needs longer is not told in time.
const TEN_MINUTES: u64 = 600_000;
/// Upper edge: each is looked at for every message.
const SUBSCRIPTIONS: u64 = 10_000;
/// Upper edge: some 100 MB of messages.
const WAITING: u64 = 1_000_000;

settings! {
    config => config.push, keys "push.";
    /// Messages to the devices of people who subscribed to them on the dashboard.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Push {
        /// Browsers that are told. 100: those of a team; each alert is sent to all of them.
        "subscriptions_max" subscriptions_max: usize = 100, in 0..=SUBSCRIPTIONS;
        /// Messages that wait for push services. 1,000: ten alerts for a hundred browsers; of more,
        /// the oldest are dropped.
        "waiting_max" waiting_max: usize = 1_000, in 1..=WAITING;
        /// For one message to be taken. 10 s: push services answer within a second, and four
        /// messages are under way at once.
        "timeout_ms" timeout: Duration = Duration::from_millis(10_000), in 1..=TEN_MINUTES;
        /// Whom a push service writes to if something is wrong with what it is sent, as
        /// mailto: or https: URL. That of the hub; some services want one that exists.
        "contact" contact: Contact = Contact("mailto:admin@agentcom.local".to_owned());
        /// The public half of the key pair by which push services know the broker: 65 bytes in
        /// base64url. The variable VAPID_PUBLIC_KEY of the hub counts where this is not set. None:
        /// the first start makes a pair and keeps it in vapid.pem in the data folder.
        "vapid_public_key" vapid_public_key: Option<String> = None;
        /// The private half: 32 bytes in base64url. Or VAPID_PRIVATE_KEY, as above.
        "vapid_private_key" vapid_private_key: Option<PrivateKey> = None;
        /// Whether push services may be at loopback addresses, over plain HTTP. Off: whoever
        /// subscribes says where to, and must not reach what only this machine can. For tests.
        "allow_loopback" allow_loopback: bool = false;
    }
}

/// An address of people for push services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact(String);

impl Value for Contact {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        let is_one = |text: &&str| text.starts_with("mailto:") || text.starts_with("https://");
        let text = raw.text().filter(is_one);
        text.map(|text| Contact(text.to_owned()))
            .ok_or_else(|| r#"a URL such as "mailto:admin@example.org""#.to_owned())
    }

    fn to_toml(&self) -> Option<String> {
        self.0.to_toml()
    }
}

/// A secret that is needed in plain.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl Value for PrivateKey {
    const SECRET: bool = true;

    fn parse(raw: &Raw, range: RangeInclusive<u64>) -> Result<Self, String> {
        String::parse(raw, range).map(PrivateKey)
    }

    fn to_toml(&self) -> Option<String> {
        "***".to_owned().to_toml()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Push {
    /// Whether the keys that are set are a pair, or none is set.
    pub(super) fn has_pair_or_none(&self) -> bool {
        match (&self.vapid_private_key, &self.vapid_public_key) {
            (None, None) => true,
            (Some(private), Some(public)) => {
                push::vapid::Vapid::of_keys(&private.0, public).is_some()
            }
            _ => false,
        }
    }
}

impl Config {
    /// What web push goes by.
    #[must_use]
    pub fn push(&self) -> push::Settings {
        let Push { vapid_private_key, vapid_public_key, .. } = &self.push;
        let private = vapid_private_key.as_ref().map(|key| key.0.clone());
        push::Settings {
            subscriptions_max: self.push.subscriptions_max,
            waiting_max: self.push.waiting_max,
            timeout: self.push.timeout,
            allow_loopback: self.push.allow_loopback,
            contact: self.push.contact.0.clone(),
            keys: private.zip(vapid_public_key.clone()),
        }
    }
}
