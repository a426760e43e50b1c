//! Every connection of the broker, by place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::outlet::Outlet;

/// Who is connected. Places are small numbers, used again after a connection is over, so that
/// per-connection tables can be plain vectors.
#[derive(Debug, Default)]
pub struct Registry {
    places: Mutex<Places>,
    admitted: AtomicUsize,
    refused: AtomicUsize,
}

/// Connections at once that are only there to be told that there is no room. Their descriptors are
/// taken from the store's reserve, so a crowd beyond it is hung up on without a word.
const REFUSED_MAX: usize = 32;

#[derive(Debug, Default)]
struct Places {
    outlets: Vec<Option<Arc<Outlet>>>,
    free: Vec<usize>,
    next_id: u64,
}

impl Registry {
    /// Nobody.
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        let places = self.places.lock();
        places.outlets.len() - places.free.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Let one more in, unless `connections_max` are in. To be called before the connection is
    /// entered, so that a crowd at the door is counted while it waits for its workers.
    pub fn admit(&self, connections_max: usize) -> bool {
        let is_room = |admitted| (admitted < connections_max).then_some(admitted + 1);
        self.admitted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_room).is_ok()
    }

    /// Whether one that was not admitted may stay for the moment that it takes to tell it so.
    pub fn admit_to_refuse(&self) -> bool {
        let is_room = |refused| (refused < REFUSED_MAX).then_some(refused + 1);
        self.refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_room).is_ok()
    }

    /// One is gone that was admitted, or only to be refused.
    pub fn dismiss(&self, was_welcome: bool) {
        let count = if was_welcome { &self.admitted } else { &self.refused };
        count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Find a place for a connection; `make` is given its place and its number.
    pub fn enter(&self, make: impl FnOnce(usize, u64) -> Outlet) -> Arc<Outlet> {
        let mut places = self.places.lock();
        places.next_id += 1;
        let id = places.next_id;
        let index = places.free.pop().unwrap_or(places.outlets.len());
        let outlet = Arc::new(make(index, id));
        if index == places.outlets.len() {
            places.outlets.push(None);
        }
        places.outlets[index] = Some(Arc::clone(&outlet));
        outlet
    }

    /// Give the place of a connection back.
    pub fn leave(&self, outlet: &Outlet) {
        let mut places = self.places.lock();
        places.outlets[outlet.index()] = None;
        places.free.push(outlet.index());
    }

    /// Everybody who is connected now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Outlet>> {
        self.places.lock().outlets.iter().flatten().cloned().collect()
    }
}
