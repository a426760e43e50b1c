//! Which browsers are told: a bounded set, kept in the data folder beside the key pair that they
//! subscribed for. Not with the shared settings: those are shown to whoever lists them, and an
//! endpoint is nobody else's business.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::PushError;
use super::endpoint::{Endpoint, URL_BYTES_MAX};
use super::seal::Recipient;
use crate::private_file::{self, Unusable};

/// Name of the file in the data folder.
pub const FILE: &str = "push.json";

/// What one subscription takes in the file at most: its URL, escaped, and two keys.
const SUBSCRIBER_BYTES_MAX: usize = 6 * URL_BYTES_MAX + 256;

/// A browser that wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Where to send.
    pub endpoint: Endpoint,
    /// Whom to seal for.
    pub recipient: Recipient,
}

/// Everybody who wants to be told.
#[derive(Clone, Debug)]
pub(super) struct Subscribers {
    all: Vec<Arc<Subscriber>>,
    max: usize,
}

impl Subscribers {
    /// Those in `data_dir`. Whoever may not be sent to any more is left out.
    pub(super) fn open(
        data_dir: &Path,
        max: usize,
        allow_loopback: bool,
    ) -> Result<Subscribers, PushError> {
        let path = data_dir.join(FILE);
        let malformed = || PushError::Malformed { path: path.clone() };
        let bytes_max = max.saturating_mul(SUBSCRIBER_BYTES_MAX);
        let text = match private_file::read(&path, bytes_max) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Subscribers { all: Vec::new(), max }),
            Err(Unusable::Exposed(mode)) => return Err(PushError::Exposed { path, mode }),
            Err(Unusable::Malformed(_)) => return Err(malformed()),
            Err(Unusable::Io(source)) => return Err(PushError::Io { path, source }),
        };
        let kept: Vec<Value> = serde_json::from_str(&text).map_err(|_| malformed())?;
        let usable = kept.iter().filter_map(|kept| read(kept, allow_loopback)).map(Arc::new);
        let all: Vec<_> = usable.take(max).collect();
        if all.len() < kept.len() {
            let lost = kept.len() - all.len();
            tracing::warn!(lost, "push subscriptions that may not be sent to are left out");
        }
        Ok(Subscribers { all, max })
    }

    /// Take in `subscriber`, in place of what was there for its endpoint. Gives whether there was
    /// room.
    pub(super) fn add(&mut self, subscriber: Subscriber) -> bool {
        let same = |other: &Arc<Subscriber>| other.endpoint == subscriber.endpoint;
        match self.all.iter().position(same) {
            Some(place) => self.all[place] = Arc::new(subscriber),
            None if self.all.len() < self.max => self.all.push(Arc::new(subscriber)),
            None => return false,
        }
        true
    }

    /// Forget `subscriber`, unless it has subscribed anew since. Gives whether it was there.
    pub(super) fn remove(&mut self, subscriber: &Arc<Subscriber>) -> bool {
        let before = self.all.len();
        self.all.retain(|other| !Arc::ptr_eq(other, subscriber));
        self.all.len() < before
    }

    /// Whether `subscriber` still wants to be told.
    pub(super) fn has(&self, subscriber: &Arc<Subscriber>) -> bool {
        self.all.iter().any(|other| Arc::ptr_eq(other, subscriber))
    }

    pub(super) fn all(&self) -> &[Arc<Subscriber>] {
        &self.all
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// As they are kept: as browsers write them.
    pub(super) fn to_json(&self) -> Value {
        let written = self.all.iter().map(|subscriber| {
            let (p256dh, auth) = subscriber.recipient.keys();
            let keys = json!({"p256dh": p256dh, "auth": auth});
            json!({"endpoint": subscriber.endpoint.url(), "keys": keys})
        });
        written.collect()
    }
}

fn read(kept: &Value, allow_loopback: bool) -> Option<Subscriber> {
    let key = |name: &str| kept.get("keys")?.get(name)?.as_str();
    let endpoint = Endpoint::parse(kept.get("endpoint")?.as_str()?, allow_loopback).ok()?;
    let recipient = Recipient::parse(key("p256dh")?, key("auth")?).ok()?;
    Some(Subscriber { endpoint, recipient })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    fn subscriber(url: &str, auth: &str) -> Subscriber {
        let endpoint = Endpoint::parse(url, true).unwrap();
        Subscriber { endpoint, recipient: Recipient::parse(PUBLIC, auth).unwrap() }
    }

    const OLD: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const NEW: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn open(folder: &Path, max: usize, allow_loopback: bool) -> Subscribers {
        Subscribers::open(folder, max, allow_loopback).unwrap()
    }

    #[test]
    fn one_too_many_is_refused_and_a_known_endpoint_is_not_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut subscribers = open(folder.path(), 2, true);
        assert!(subscribers.add(subscriber("https://a.example/1", OLD)));
        assert!(subscribers.add(subscriber("https://a.example/2", OLD)));
        assert!(!subscribers.add(subscriber("https://a.example/3", OLD)));
        let old = Arc::clone(&subscribers.all()[0]);
        assert!(subscribers.add(subscriber("https://a.example/1", NEW)));
        assert_eq!(subscribers.all().len(), 2);
        // What was for the old keys is of no use, and its end is not the end of the new ones.
        assert!(!subscribers.has(&old) && !subscribers.remove(&old));
        let new = Arc::clone(&subscribers.all()[0]);
        assert!(subscribers.remove(&new));
        assert!(subscribers.add(subscriber("https://a.example/3", OLD)));
    }

    #[test]
    fn who_is_kept_is_there_again_unless_it_may_not_be_sent_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut subscribers = open(folder.path(), 3, true);
        for url in ["https://a.example/1", "http://127.0.0.1:9/", "https://a.example/2"] {
            assert!(subscribers.add(subscriber(url, OLD)));
        }
        let text = subscribers.to_json().to_string();
        private_file::write(&folder.path().join(FILE), &text).unwrap();
        assert_eq!(open(folder.path(), 3, true).all(), subscribers.all());
        assert_eq!(open(folder.path(), 3, false).all().len(), 2);
        assert_eq!(open(folder.path(), 1, false).all().len(), 1);
        private_file::write(&folder.path().join(FILE), "[").unwrap();
        assert!(Subscribers::open(folder.path(), 3, true).is_err());
    }
}
