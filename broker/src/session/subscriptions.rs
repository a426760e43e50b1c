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
    bytes: usize,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn get(&self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        self.places.find(self.hasher.hash_one(sid), |found| found.sid() == sid)
    }

    /// Keep `subscription`, in the place of one with the same sid if there is one.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) {
        self.remove(subscription.sid());
        self.bytes += subscription.weight();
        match self.entry(subscription.sid()) {
            Entry::Occupied(_) => unreachable!("the sid was just given up"),
            Entry::Vacant(place) => {
                place.insert(subscription);
            }
        }
    }

    pub(super) fn remove(&mut self, sid: &[u8]) {
        if let Entry::Occupied(place) = self.entry(sid) {
            let (subscription, _) = place.remove();
            self.bytes -= subscription.weight();
        }
    }

    /// Forget those that ended by themselves.
    pub(super) fn forget_ended(&mut self) {
        self.places.retain(|subscription| !subscription.is_ended());
        self.bytes = self.places.iter().map(|subscription| subscription.weight()).sum();
    }

    /// All of them; none is left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<Subscription>> {
        self.bytes = 0;
        std::mem::take(&mut self.places).into_iter()
    }

    fn entry(&mut self, sid: &[u8]) -> Entry<'_, Arc<Subscription>> {
        let Subscriptions { places, hasher, .. } = self;
        let hash = hasher.hash_one(sid);
        places.entry(hash, |found| found.sid() == sid, |found| hasher.hash_one(found.sid()))
    }
}
