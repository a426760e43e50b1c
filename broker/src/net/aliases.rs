//! The numbers that one client gave to subjects, for those who deliver to it. A number is given
//! once and never changed, so a route may remember it for as long as the route is current.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

/// Subject to number. The subjects are shared with the client's session.
#[derive(Debug, Default)]
pub struct Aliases {
    numbers: RwLock<HashMap<Arc<[u8]>, u16>>,
}

/// What an alias costs beside its subject, about: its places here and in the session, and a
/// reference count.
const PLACE_BYTES: usize = 96;

impl Aliases {
    /// Memory that an alias for `subject` takes, about, in bytes.
    #[must_use]
    pub fn weight(subject: &[u8]) -> usize {
        subject.len() + PLACE_BYTES
    }

    /// Note that `subject` may be called `number`.
    pub fn insert(&self, subject: Arc<[u8]>, number: u16) {
        self.numbers.write().insert(subject, number);
    }

    /// What `subject` may be called; 0 if it has no number.
    #[must_use]
    pub fn number(&self, subject: &[u8]) -> u16 {
        self.numbers.read().get(subject).copied().unwrap_or(0)
    }
}
