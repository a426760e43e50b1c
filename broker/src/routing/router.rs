//! All subscriptions of the broker, shared by its threads.
//!
//! Routes worked out from it are cached elsewhere. Each carries a [`Stamp`]; a change of
//! subscriptions makes the stamps of those routes stale that it may concern, and no others: a
//! filter that starts with a literal token bumps the generation of that token's bucket, one that
//! starts with a wildcard bumps the generation that everyone looks at. So the inbox of a request
//! does not throw away the routes of orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::index::{Index, Keyed};
use super::route::Route;
use super::subscription::Subscription;
use agentcom_protocol::{Filter, Subject, tokens};

/// Which subscriptions exist.
#[derive(Debug)]
pub struct Router {
    index: RwLock<Index<Arc<Subscription>>>,
    generations: Generations,
}

/// When a route was worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bucket: u8,
    bucket_generation: u64,
    wildcard_generation: u64,
}

#[derive(Debug)]
struct Generations {
    wildcard: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// First tokens share a generation if their hashes meet; 256 keeps meetings rare for the handful
/// of first tokens that a system has, in 2 KiB.
const BUCKETS: usize = 256;

impl Router {
    /// Nobody subscribed.
    #[must_use]
    pub fn new() -> Router {
        let generations = Generations {
            wildcard: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Router { index: RwLock::new(Index::new()), generations }
    }

    /// Subscriptions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.read().len()
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every subscription. Whoever wants to subscribe waits meanwhile.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Subscription>> {
        self.index.read().iter().cloned().collect()
    }

    /// Messages published from now on reach `subscription`.
    pub fn subscribe(&self, subscription: &Arc<Subscription>) {
        let filter = subscription.filter();
        let mut index = self.index.write();
        index.insert(filter, Arc::clone(subscription));
        self.generations.bump(filter);
    }

    /// Messages published from now on do not reach `subscription`. Harmless if repeated.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        subscription.end();
        let filter = subscription.filter();
        let mut index = self.index.write();
        if index.remove(filter, subscription) {
            self.generations.bump(filter);
        }
    }

    /// End many subscriptions at once, as a connection that is over does. The lock is given up now
    /// and then, so that others are not kept waiting for the last of a hundred thousand.
    pub fn unsubscribe_all(&self, subscriptions: impl Iterator<Item = Arc<Subscription>>) {
        const TURN: usize = 256;
        let mut ended: Vec<Arc<Subscription>> = subscriptions.collect();
        ended.iter().for_each(|subscription| subscription.end());
        ended.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        ended.dedup_by(|a, b| a.key() == b.key());
        for turn in ended.chunks(TURN) {
            let mut index = self.index.write();
            for subscription in turn {
                let filter = subscription.filter();
                index.retain(filter, |found| !found.is_ended());
                self.generations.bump(filter);
            }
        }
    }

    /// Routes of `subject` that were worked out before are not used again.
    pub fn forget(&self, subject: &[u8]) {
        let first = subject.split(|&byte| byte == b'.').next().unwrap_or_default();
        self.generations.buckets[usize::from(bucket(first))].fetch_add(1, Ordering::Release);
    }

    pub(super) fn route(&self, subject: &[u8]) -> Route {
        let stamp = self.generations.stamp(subject);
        let subject = match Subject::parse(subject) {
            Ok(subject) => subject,
            Err(error) => return Route::nowhere(stamp, &error),
        };
        let mut found = Vec::new();
        self.index.read().matching(subject.as_str(), &mut found);
        Route::new(stamp, subject, found)
    }

    #[inline]
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        let bucket = &self.generations.buckets[usize::from(stamp.bucket)];
        bucket.load(Ordering::Acquire) == stamp.bucket_generation
            && self.generations.wildcard.load(Ordering::Acquire) == stamp.wildcard_generation
    }
}

impl Default for Router {
    fn default() -> Router {
        Router::new()
    }
}

impl Generations {
    fn bump(&self, filter: Filter<'_>) {
        let first = tokens(filter.as_str()).next().unwrap_or_default();
        let generation = match first {
            "*" | ">" => &self.wildcard,
            token => &self.buckets[usize::from(bucket(token.as_bytes()))],
        };
        generation.fetch_add(1, Ordering::Release);
    }

    /// Taken before the index is read, so that a change in between makes the route stale.
    fn stamp(&self, subject: &[u8]) -> Stamp {
        let first = subject.split(|&byte| byte == b'.').next().unwrap_or_default();
        let bucket = bucket(first);
        Stamp {
            bucket,
            bucket_generation: self.buckets[usize::from(bucket)].load(Ordering::Acquire),
            wildcard_generation: self.wildcard.load(Ordering::Acquire),
        }
    }
}

/// FNV-1a, folded to one byte.
fn bucket(token: &[u8]) -> u8 {
    let hash = token
        .iter()
        .fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_le_bytes();
    a ^ b ^ c ^ d
}
