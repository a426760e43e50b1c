//! Web push: people are told on their devices what went wrong, without a page that is open (the
//! contract's 8.6).
//!
//! ```text
//! sight, health --> note ---> a letter for each subscriber ---> seal ---> courier ---> push service
//!                   (pure)    (queue; the oldest is dropped)    (pure)
//! ```
//!
//! Nothing waits for a push service, and a letter that does not arrive is not sent again: most of
//! what people are told of is told again while it lasts.

pub mod courier;
pub mod endpoint;
pub mod note;
pub mod seal;
pub mod subscribers;
pub mod vapid;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, interval_at};

use crate::board::Health;
use crate::commit::clock::unix_ms;
use crate::lookout::Sight;
use crate::metrics::{Counter, Reading};
use crate::private_file;

use courier::{Courier, CourierError};
use subscribers::{Subscriber, Subscribers};
use vapid::Vapid;

/// Letters that are under way at once. Four: a push service that hangs does not keep up the others,
/// and few connections are open to any of them.
const COURIERS: usize = 4;
/// How often the health of the broker is looked at: once a minute, as in the hub.
const HEALTH_EVERY: Duration = Duration::from_secs(60);

/// What web push goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Browsers that are told.
    pub subscriptions_max: usize,
    /// Letters that wait for couriers.
    pub waiting_max: usize,
    /// For one letter to arrive.
    pub timeout: Duration,
    /// Whether push services may be on this machine.
    pub allow_loopback: bool,
    /// Whom push services write to if something is wrong: a URL.
    pub contact: String,
    /// The private and the public key in base64url; the pair of the data folder if they are not
    /// set.
    pub keys: Option<(String, String)>,
}

/// Web push cannot begin. The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Other users of the machine have had access to it.
    #[error(
        "{} has mode {mode:03o}, so other users may know what is secret in it; delete it and let \
         browsers subscribe again, or run `chmod 600` on it if you are sure", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else is in the file.
    #[error("{} cannot be understood; delete it and let browsers subscribe again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The keys that are set belong to different pairs.
    #[error("the VAPID keys that are set are no pair; set both, or neither for a pair of its own")]
    NoPair,
    /// The file system refused.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
}

/// Why a browser is not told from now on.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// Its push service cannot be sent to.
    #[error(transparent)]
    Courier(#[from] CourierError),
    /// There are too many.
    #[error("{max} browsers are subscribed, and no more are allowed")]
    Full {
        /// The limit.
        max: usize,
    },
    /// It would be forgotten with the next start.
    #[error("the subscription cannot be kept: {0}")]
    NotKept(io::Error),
}

/// A note on its way to one browser.
struct Letter {
    subscriber: Arc<Subscriber>,
    text: Arc<str>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: Counter,
    failed: Counter,
    gone: Counter,
    dropped: Counter,
    missed: Counter,
}

/// Who is told, and what is on its way to them.
pub struct Push {
    vapid: Vapid,
    contact: String,
    file: PathBuf,
    subscribers: Mutex<Subscribers>,
    /// Held by whoever changes them, so that no change is lost to another one.
    changing: tokio::sync::Mutex<()>,
    letters: Mutex<VecDeque<Letter>>,
    waiting_max: usize,
    has_letter: Notify,
    courier: Courier,
    counts: Counts,
}

impl Push {
    /// Web push of the broker whose data is in `data_dir`, which is there.
    ///
    /// # Errors
    /// [`PushError`], a sentence for the operator.
    pub fn open(data_dir: &Path, settings: Settings) -> Result<Push, PushError> {
        let vapid = match &settings.keys {
            Some((private, public)) => Vapid::of_keys(private, public).ok_or(PushError::NoPair)?,
            None => Vapid::open(data_dir)?,
        };
        let Settings { subscriptions_max, waiting_max, timeout, allow_loopback, contact, .. } =
            settings;
        let subscribers = Subscribers::open(data_dir, subscriptions_max, allow_loopback)?;
        Ok(Push {
            vapid,
            contact,
            file: data_dir.join(subscribers::FILE),
            subscribers: Mutex::new(subscribers),
            changing: tokio::sync::Mutex::default(),
            letters: Mutex::default(),
            waiting_max,
            has_letter: Notify::new(),
            courier: Courier::new(timeout, allow_loopback),
            counts: Counts::default(),
        })
    }

    /// What browsers subscribe for: a point of P-256 in base64url.
    #[must_use]
    pub fn public_key(&self) -> &str {
        self.vapid.public()
    }

    /// Whether push services may be on this machine.
    #[must_use]
    pub fn allows_loopback(&self) -> bool {
        self.courier.allows_loopback()
    }

    /// Tell `subscriber` from now on. Returns when that is durable.
    ///
    /// # Errors
    /// [`SubscribeError`]; it is not told then.
    pub async fn subscribe(&self, subscriber: Subscriber) -> Result<(), SubscribeError> {
        self.courier.addresses(&subscriber.endpoint).await?;
        let added = self.change(|subscribers| subscribers.add(subscriber)).await;
        match added.map_err(SubscribeError::NotKept)? {
            true => Ok(()),
            false => Err(SubscribeError::Full { max: self.subscribers.lock().max() }),
        }
    }

    /// Tell everybody `note`, soon.
    pub fn tell(&self, note: &Value) {
        let subscribers = self.subscribers.lock().all().to_vec();
        let text: Arc<str> = note.to_string().into();
        let mut letters = self.letters.lock();
        for subscriber in subscribers {
            if letters.len() >= self.waiting_max {
                letters.pop_front();
                self.counts.dropped.add(1);
            }
            letters.push_back(Letter { subscriber, text: Arc::clone(&text) });
            self.has_letter.notify_one();
        }
    }

    /// Counts and levels, for `/metrics`.
    #[must_use]
    pub fn readings(&self) -> [Reading; 7] {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let gauge = |name, meaning, value| Reading { kind: "gauge", name, meaning, value };
        let counter = |name, meaning, counter: &Counter| Reading {
            kind: "counter",
            name,
            meaning,
            value: counter.value(),
        };
        let (subscribers, letters) =
            (count(self.subscribers.lock().all().len()), count(self.letters.lock().len()));
        let counts = &self.counts;
        [
            gauge("push_subscriptions", "browsers that are told what went wrong", subscribers),
            gauge("push_waiting", "messages that wait for push services", letters),
            counter("push_sent_total", "messages that push services took", &counts.sent),
            counter(
                "push_failed_total",
                "messages that push services did not take",
                &counts.failed,
            ),
            counter("push_gone_total", "subscriptions that are over", &counts.gone),
            counter(
                "push_dropped_total",
                "messages that were too many for the push services to keep up with",
                &counts.dropped,
            ),
            counter(
                "push_missed_total",
                "events that nobody was told of because they came too fast",
                &counts.missed,
            ),
        ]
    }

    /// Change who is told, first in the file. Gives what `change` says: whether there is a change.
    async fn change(&self, change: impl FnOnce(&mut Subscribers) -> bool) -> io::Result<bool> {
        let _changing = self.changing.lock().await;
        let mut subscribers = self.subscribers.lock().clone();
        if !change(&mut subscribers) {
            return Ok(false);
        }
        let (path, text) = (self.file.clone(), subscribers.to_json().to_string());
        let kept = tokio::task::spawn_blocking(move || private_file::write(&path, &text));
        kept.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        *self.subscribers.lock() = subscribers;
        Ok(true)
    }

    /// The next letter for somebody who still wants it.
    async fn next(&self) -> Letter {
        loop {
            let letter = self.letters.lock().pop_front();
            match letter {
                Some(letter) if self.subscribers.lock().has(&letter.subscriber) => return letter,
                Some(_) => {}
                None => self.has_letter.notified().await,
            }
        }
    }

    async fn carry(&self, Letter { subscriber, text }: Letter) {
        let endpoint = &subscriber.endpoint;
        let origin = endpoint.origin();
        let sealed = subscriber.recipient.seal(text.as_bytes());
        let header = self.vapid.authorization(&origin, &self.contact, unix_ms() / 1_000);
        let (Ok(sealed), Ok(header)) = (sealed, header) else {
            self.counts.failed.add(1);
            tracing::warn!("a push message is not sent: the system has no randomness");
            return;
        };
        match self.courier.deliver(endpoint, &header, sealed).await {
            Ok(()) => self.counts.sent.add(1),
            Err(error @ CourierError::Gone(_)) => {
                self.counts.gone.add(1);
                tracing::info!(service = endpoint.host(), %error, "a push subscription is over");
                if let Err(error) = self.change(|all| all.remove(&subscriber)).await {
                    tracing::warn!(%error, "the end of a push subscription was not kept");
                }
            }
            Err(error) => {
                self.counts.failed.add(1);
                tracing::warn!(service = endpoint.host(), %error, "a push message did not arrive");
            }
        }
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Tell of what happens, and carry letters, for ever. `health` looks how all is now.
pub async fn go(
    push: Arc<Push>,
    sights: broadcast::Receiver<Sight>,
    health: impl AsyncFn() -> Health,
) {
    let carry = async || {
        loop {
            push.carry(push.next().await).await;
        }
    };
    let couriers = futures_util::future::join_all((0..COURIERS).map(|_| carry()));
    let watch = follow(&push, sights);
    let look = look_after(&push, health);
    tokio::join!(couriers, watch, look);
}

/// Tell of what happens.
async fn follow(push: &Push, mut sights: broadcast::Receiver<Sight>) {
    loop {
        match sights.recv().await {
            Ok(sight) => {
                if let Some(note) = note::of_sight(&sight) {
                    push.tell(&note);
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => push.counts.missed.add(missed),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Tell when the health turns bad.
async fn look_after(push: &Push, health: impl AsyncFn() -> Health) {
    let mut rounds = interval_at(Instant::now() + HEALTH_EVERY, HEALTH_EVERY);
    let mut was_well = true;
    loop {
        rounds.tick().await;
        let now = health().await;
        if let Some(note) = note::of_health(was_well, &now) {
            push.tell(&note);
        }
        was_well = now.is_well();
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint::Endpoint;
    use super::seal::Recipient;
    use super::*;

    fn push(data_dir: &Path, waiting_max: usize) -> Push {
        let settings = Settings {
            subscriptions_max: 2,
            waiting_max,
            timeout: Duration::from_secs(20),
            allow_loopback: true,
            contact: "mailto:a@b.example".to_owned(),
            keys: None,
        };
        Push::open(data_dir, settings).unwrap()
    }

    fn subscriber(path: &str) -> Subscriber {
        let public = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let recipient = Recipient::parse(public, "BTBZMqHH6r4Tts7J_aSIgg").unwrap();
        let endpoint = Endpoint::parse(&format!("http://127.0.0.1:1/{path}"), true).unwrap();
        Subscriber { endpoint, recipient }
    }

    fn reading(push: &Push, name: &str) -> u64 {
        push.readings().iter().find(|reading| reading.name == name).unwrap().value
    }

    #[tokio::test]
    async fn the_oldest_messages_are_dropped_when_too_many_wait() {
        let folder = tempfile::tempdir().unwrap();
        let push = push(folder.path(), 3);
        push.tell(&Value::from("nobody hears"));
        for path in ["a", "b"] {
            push.subscribe(subscriber(path)).await.unwrap();
        }
        let full = push.subscribe(subscriber("c")).await.unwrap_err();
        assert!(matches!(full, SubscribeError::Full { max: 2 }), "{full}");
        for text in ["1", "2"] {
            push.tell(&Value::from(text));
        }
        assert_eq!((reading(&push, "push_waiting"), reading(&push, "push_dropped_total")), (3, 1));
        let next = push.next().await;
        assert_eq!((next.subscriber.endpoint.target(), &*next.text), ("/b", "\"1\""));
    }

    #[tokio::test]
    async fn what_is_for_somebody_who_left_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let push = push(folder.path(), 10);
        for path in ["a", "b"] {
            push.subscribe(subscriber(path)).await.unwrap();
        }
        push.tell(&Value::from("x"));
        let first = push.letters.lock()[0].subscriber.clone();
        assert!(push.subscribers.lock().remove(&first));
        assert_eq!(push.next().await.subscriber.endpoint.target(), "/b");
    }

    #[tokio::test]
    async fn subscriptions_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let before = push(folder.path(), 10);
        before.subscribe(subscriber("a")).await.unwrap();
        let after = push(folder.path(), 10);
        assert_eq!(reading(&after, "push_subscriptions"), 1);
        assert_eq!(after.public_key(), before.public_key());
    }

    #[tokio::test]
    async fn whoever_cannot_be_kept_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let push = push(folder.path(), 10);
        folder.close().unwrap();
        let error = push.subscribe(subscriber("a")).await.unwrap_err();
        assert!(matches!(error, SubscribeError::NotKept(_)), "{error}");
        assert_eq!(reading(&push, "push_subscriptions"), 0);
    }
}
