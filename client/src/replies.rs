//! Who waits for which answer: requests by the last token of their inbox, our own verbs by tag.
//!
//! One list serves both. An entry leaves it when the answer comes, or when the one who waits goes
//! away (a timeout, a dropped future), so nothing piles up.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::oneshot;

/// Waiting receivers of one kind of answer.
#[derive(Debug)]
pub(crate) struct Replies<A> {
    waiting: Mutex<HashMap<u32, oneshot::Sender<A>>>,
    key_next: AtomicU32,
}

/// A place in the list: the answer, or its sender dropped when there will be none.
#[derive(Debug)]
pub(crate) struct Ticket<'a, A> {
    replies: &'a Replies<A>,
    key: u32,
    receiver: oneshot::Receiver<A>,
}

impl<A> Replies<A> {
    pub(crate) fn new() -> Replies<A> {
        Replies { waiting: Mutex::new(HashMap::new()), key_next: AtomicU32::new(1) }
    }

    /// A key that no one else has, for an answer that nobody waits for. Keys come round again after
    /// four thousand million, when nobody can be waiting for the first any more.
    pub(crate) fn key(&self) -> u32 {
        self.key_next.fetch_add(1, Ordering::Relaxed)
    }

    /// Wait under a key that was drawn for it.
    pub(crate) fn ticket(&self, key: u32) -> Ticket<'_, A> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(key, sender);
        Ticket { replies: self, key, receiver }
    }

    /// Hand an answer to whoever waits under `key`; `false` if nobody does.
    pub(crate) fn answer(&self, key: u32, answer: A) -> bool {
        let sender = self.lock().remove(&key);
        sender.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// No answer will come for those who wait now.
    pub(crate) fn abandon(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, oneshot::Sender<A>>> {
        self.waiting.lock().expect("no method panics while it holds the lock")
    }
}

impl<A> Ticket<'_, A> {
    /// The answer; `None` when there will be none. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> Option<A> {
        (&mut self.receiver).await.ok()
    }
}

impl<A> Drop for Ticket<'_, A> {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_its_ticket_and_no_other() {
        let replies = Replies::new();
        let keys = [replies.key(), replies.key()];
        let [mut a, mut b] = keys.map(|key| replies.ticket(key));
        assert!(replies.answer(keys[1], "b"));
        assert!(replies.answer(keys[0], "a"));
        assert_eq!((a.answered().await, b.answered().await), (Some("a"), Some("b")));
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_nothing_behind() {
        let replies = Replies::new();
        drop(replies.ticket(1));
        assert!(!replies.answer(1, ()));
        let mut ticket = replies.ticket(2);
        replies.abandon();
        assert_eq!(ticket.answered().await, None);
    }
}
