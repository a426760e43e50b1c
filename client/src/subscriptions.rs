//! Who gets which message: the list of subscriptions by their number.
//!
//! It survives reconnects: a new connection is told all of it. It holds the sending end of each
//! subscriber's channel, and never waits: a full channel loses the message and says so once.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::message::Message;
use crate::subject::Subject;
use crate::wire::Wire;

/// The number of the one subscription behind all requests.
pub(crate) const INBOX_SID: u32 = 0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    by_sid: HashMap<u32, Subscription>,
    sid_next: u32,
    /// Filter of the inbox, once a request was made.
    inbox: Option<String>,
    closed: bool,
}

#[derive(Debug)]
struct Subscription {
    filter: Subject,
    queue: Option<String>,
    sender: mpsc::Sender<Message>,
    /// Messages that came in since its start, those dropped included.
    delivered: u64,
    /// It ends after this many.
    delivered_max: Option<u64>,
    /// It lost a message and has not taken one since.
    slow: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is in the subscriber's channel.
    Done,
    /// It was dropped: the first of its kind since the subscriber last kept up.
    DroppedFirst,
    /// It was dropped, as others before it.
    Dropped,
    /// Nobody wants it any more.
    Unknown,
}

impl Subscriptions {
    pub(crate) fn new() -> Subscriptions {
        Subscriptions { by_sid: HashMap::new(), sid_next: 1, inbox: None, closed: false }
    }

    /// Add a subscription; `None` after [`Subscriptions::close`].
    pub(crate) fn add(
        &mut self,
        filter: &str,
        queue: Option<&str>,
        sender: mpsc::Sender<Message>,
    ) -> Option<u32> {
        if self.closed {
            return None;
        }
        // Numbers come round again after four thousand million.
        while self.sid_next == INBOX_SID || self.by_sid.contains_key(&self.sid_next) {
            self.sid_next = self.sid_next.wrapping_add(1);
        }
        let sid = self.sid_next;
        self.sid_next = self.sid_next.wrapping_add(1);
        let subscription = Subscription {
            filter: Subject::from(filter),
            queue: queue.map(str::to_owned),
            sender,
            delivered: 0,
            delivered_max: None,
            slow: false,
        };
        self.by_sid.insert(sid, subscription);
        Some(sid)
    }

    /// Remember the inbox; `true` if it is new.
    pub(crate) fn open_inbox(&mut self, filter: impl FnOnce() -> String) -> bool {
        let is_new = self.inbox.is_none();
        if is_new {
            self.inbox = Some(filter());
        }
        is_new
    }

    /// Forget a subscription; its subscriber ends after what is in its channel. `true` if it was
    /// there.
    pub(crate) fn remove(&mut self, sid: u32) -> bool {
        self.by_sid.remove(&sid).is_some()
    }

    /// End a subscription after `max` messages since its start. `true` if it goes on until then.
    pub(crate) fn limit(&mut self, sid: u32, max: u64) -> bool {
        let Some(subscription) = self.by_sid.get_mut(&sid) else { return false };
        subscription.delivered_max = Some(max);
        let goes_on = subscription.delivered < max;
        if !goes_on {
            self.by_sid.remove(&sid);
        }
        goes_on
    }

    /// Numbers of all subscriptions.
    pub(crate) fn sids(&self) -> Vec<u32> {
        self.by_sid.keys().copied().collect()
    }

    /// What a subscription asks for.
    pub(crate) fn filter(&self, sid: u32) -> Option<&Subject> {
        self.by_sid.get(&sid).map(|subscription| &subscription.filter)
    }

    /// Hand a message to its subscriber.
    pub(crate) fn deliver(&mut self, sid: u32, message: Message) -> Delivery {
        let Some(subscription) = self.by_sid.get_mut(&sid) else { return Delivery::Unknown };
        subscription.delivered += 1;
        let delivery = match subscription.sender.try_send(message) {
            Ok(()) => {
                subscription.slow = false;
                Delivery::Done
            }
            Err(mpsc::error::TrySendError::Full(_)) if subscription.slow => Delivery::Dropped,
            Err(mpsc::error::TrySendError::Full(_)) => {
                subscription.slow = true;
                Delivery::DroppedFirst
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Delivery::Unknown,
        };
        if subscription.delivered_max.is_some_and(|max| subscription.delivered >= max) {
            self.by_sid.remove(&sid);
        }
        delivery
    }

    /// The frames that make all subscriptions again on a new connection.
    pub(crate) fn encode(&self, out: &mut Wire) {
        if let Some(filter) = &self.inbox {
            out.subscribe(filter, None, INBOX_SID);
        }
        for (&sid, subscription) in &self.by_sid {
            out.subscribe(&subscription.filter, subscription.queue.as_deref(), sid);
            if let Some(max) = subscription.delivered_max {
                out.unsubscribe(sid, Some(max - subscription.delivered));
            }
        }
    }

    /// End all subscriptions for good.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.inbox = None;
        self.by_sid.clear();
    }
}

/// The number in a subscription's word; ours are all decimal.
pub(crate) fn sid(word: &[u8]) -> Option<u32> {
    word.iter().try_fold(0u32, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let chunk = bytes::Bytes::new();
        Message::slice(&chunk, Subject::from("a"), None, None, b"")
    }

    #[test]
    fn a_slow_subscriber_loses_messages_and_is_named_once_until_it_catches_up() {
        let mut subscriptions = Subscriptions::new();
        let (sender, mut receiver) = mpsc::channel(1);
        let sid = subscriptions.add("a", None, sender).expect("open");
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::Done);
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::DroppedFirst);
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::Dropped);
        receiver.try_recv().expect("the first message");
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::Done);
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::DroppedFirst);
    }

    #[test]
    fn a_limit_counts_from_the_start_and_what_is_left_is_asked_for_again() {
        let mut subscriptions = Subscriptions::new();
        let (sender, mut receiver) = mpsc::channel(8);
        let sid = subscriptions.add("a", Some("q"), sender).expect("open");
        subscriptions.deliver(sid, message());
        assert!(subscriptions.limit(sid, 3));
        let mut wire = Wire::text(Vec::new());
        subscriptions.encode(&mut wire);
        assert_eq!(wire.bytes, b"SUB a q 1\r\nUNSUB 1 2\r\n");
        subscriptions.deliver(sid, message());
        subscriptions.deliver(sid, message());
        assert_eq!(subscriptions.deliver(sid, message()), Delivery::Unknown);
        for _ in 0..3 {
            receiver.try_recv().expect("three messages");
        }
        assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_limit_that_is_reached_already_ends_at_once() {
        let mut subscriptions = Subscriptions::new();
        let (sender, _receiver) = mpsc::channel(8);
        let sid = subscriptions.add("a", None, sender).expect("open");
        subscriptions.deliver(sid, message());
        assert!(!subscriptions.limit(sid, 1));
        assert!(!subscriptions.remove(sid));
    }

    #[test]
    fn only_decimal_words_are_numbers_of_ours() {
        assert_eq!((sid(b"0"), sid(b"120")), (Some(0), Some(120)));
        assert_eq!((sid(b"1x"), sid(b"99999999999999999999999")), (None, None));
    }
}
