//! One subscription of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::index::Keyed;
use super::permissions::Permissions;
use crate::net::Outlet;
use agentcom_protocol::{Filter, tokens};

/// What a receiver wants, and where its bytes go. Shared by the connection that made it, the
/// router and every cached route; two subscriptions are equal only if they are the same one.
#[derive(Debug)]
pub struct Subscription {
    /// Where deliveries go.
    pub outlet: Arc<Outlet>,
    /// The filter, the sid and the name of the queue group, one behind the other: one allocation,
    /// because there may be millions.
    names: Box<[u8]>,
    filter_bytes: u32,
    sid_bytes: u32,
    has_queue: bool,
    /// Whether the receiver understands headers.
    pub headers: bool,
    /// Set when the filter reaches into what the receiver may not see.
    pub denied: Option<Arc<Permissions>>,
    delivered: AtomicU64,
    /// 0: no limit.
    max: AtomicU64,
    ended: AtomicBool,
}

/// Whether one more message may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Yes.
    More,
    /// Yes, and it is the last one.
    Last,
    /// No.
    Ended,
}

impl Subscription {
    /// A subscription without a limit.
    #[must_use]
    pub fn new(
        outlet: Arc<Outlet>,
        filter: Filter<'_>,
        sid: &[u8],
        queue: Option<&str>,
    ) -> Subscription {
        let filter = filter.as_str();
        Subscription {
            outlet,
            names: [filter.as_bytes(), sid, queue.unwrap_or_default().as_bytes()].concat().into(),
            filter_bytes: size(filter.as_bytes()),
            sid_bytes: size(sid),
            has_queue: queue.is_some(),
            headers: false,
            denied: None,
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// What is wanted.
    #[must_use]
    pub fn filter(&self) -> Filter<'_> {
        Filter::parse(&self.names[..self.filter_bytes as usize])
            .expect("a subscription is made from a checked filter")
    }

    /// The receiver's name for it.
    #[must_use]
    pub fn sid(&self) -> &[u8] {
        &self.names[self.filter_bytes as usize..][..self.sid_bytes as usize]
    }

    /// The sid of a receiver that speaks the binary framing, whose sids are numbers.
    pub(super) fn number(&self) -> u32 {
        let digits = std::str::from_utf8(self.sid()).ok();
        digits.and_then(|digits| digits.parse().ok()).expect("its session wrote digits of a u32")
    }

    /// Memory that it takes in all tables together, about, in bytes. A filter with wildcards may
    /// need a node for each of its tokens.
    #[must_use]
    pub fn weight(&self) -> usize {
        const NODE_BYTES: usize = 128;
        let filter = self.filter();
        let nodes = if filter.is_literal() { 0 } else { tokens(filter.as_str()).count() };
        2 * size_of::<Subscription>() + self.names.len() + nodes * NODE_BYTES
    }

    /// Its queue group.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        let name = &self.names[self.filter_bytes as usize + self.sid_bytes as usize..];
        let name = std::str::from_utf8(name).expect("it was made from text");
        self.has_queue.then_some(name)
    }

    /// End it after `max` messages, counted from its start. `true` if that many were already
    /// delivered: then the caller must remove it now.
    pub fn limit(&self, max: u64) -> bool {
        self.max.store(max, Ordering::SeqCst);
        self.delivered.load(Ordering::SeqCst) >= max
    }

    /// Take no more messages, whatever routes are still cached.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it takes no more messages.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether `subject`, which the filter matches, may be seen by the receiver.
    pub(super) fn may_receive(&self, subject: &str) -> bool {
        let queue = self.queue();
        self.denied.as_ref().is_none_or(|permissions| permissions.may_receive(subject, queue))
    }

    #[inline]
    pub(super) fn take(&self) -> Take {
        if self.ended.load(Ordering::Relaxed) {
            return Take::Ended;
        }
        let delivered = self.delivered.fetch_add(1, Ordering::SeqCst) + 1;
        match self.max.load(Ordering::SeqCst) {
            0 => Take::More,
            max if delivered < max => Take::More,
            max if delivered == max => Take::Last,
            _ => Take::Ended,
        }
    }
}

fn size(name: &[u8]) -> u32 {
    u32::try_from(name.len()).expect("a control line is far below 4 GiB")
}

impl Keyed for Arc<Subscription> {
    fn key(&self) -> &[u8] {
        &self.names[..self.filter_bytes as usize]
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Subscription) -> bool {
        std::ptr::eq(self, other)
    }
}
