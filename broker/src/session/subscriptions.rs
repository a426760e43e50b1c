//! What one client is subscribed to, by its own names.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::routing::Subscription;

/// Subscriptions by sid. The sid is the subscription's own, so a place costs one pointer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    places: HashTable<Arc<Subscription>>,
    hasher: DefaultHashBuilder,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn get(&self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        self.places.find(self.hasher.hash_one(sid), |found| found.sid() == sid)
    }

    /// Keep `subscription`, in the place of one with the same sid if there is one.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) {
        match self.entry(subscription.sid()) {
            Entry::Occupied(mut place) => *place.get_mut() = subscription,
            Entry::Vacant(place) => {
                place.insert(subscription);
            }
        }
    }

    pub(super) fn remove(&mut self, sid: &[u8]) {
        if let Entry::Occupied(place) = self.entry(sid) {
            place.remove();
        }
    }

    /// Forget those that ended by themselves.
    pub(super) fn forget_ended(&mut self) {
        self.places.retain(|subscription| !subscription.is_ended());
    }

    /// All of them; none is left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<Subscription>> {
        std::mem::take(&mut self.places).into_iter()
    }

    fn entry(&mut self, sid: &[u8]) -> Entry<'_, Arc<Subscription>> {
        let Subscriptions { places, hasher } = self;
        let hash = hasher.hash_one(sid);
        places.entry(hash, |found| found.sid() == sid, |found| hasher.hash_one(found.sid()))
    }
}
