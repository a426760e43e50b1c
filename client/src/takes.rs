//! Items of a `QUEUE TAKE` on their way: they come one by one before the answer that ends it.
//!
//! An item is a lease, and a lease that nobody holds keeps the task from others until it runs out.
//! So whatever arrives for a take that was dropped or gave up is handed back at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::answer::names;
use crate::push::Offer;
use crate::shared::Shared;

/// What has arrived, by the tag of its take.
#[derive(Debug, Default)]
pub(crate) struct Takes {
    arrived: Mutex<HashMap<u32, Vec<Offer>>>,
}

/// A take under way. Dropping it hands back what has arrived and was not collected.
#[derive(Debug)]
pub(crate) struct Taking<'a> {
    shared: &'a Shared,
    tag: u32,
}

impl Takes {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Vec<Offer>>> {
        self.arrived.lock().expect("no method panics while it holds the lock")
    }
}

impl<'a> Taking<'a> {
    /// Expect items under `tag`.
    pub(crate) fn begin(shared: &'a Shared, tag: u32) -> Taking<'a> {
        shared.takes.lock().insert(tag, Vec::new());
        Taking { shared, tag }
    }

    /// The items, once the answer is there.
    pub(crate) fn collect(self) -> Vec<Offer> {
        self.shared.takes.lock().remove(&self.tag).unwrap_or_default()
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let left = self.shared.takes.lock().remove(&self.tag);
        left.iter().flatten().for_each(|offer| hand_back(self.shared, offer));
    }
}

/// An item came in.
pub(crate) fn arrived(shared: &Shared, tag: &str, offer: Offer) {
    let mut takes = shared.takes.lock();
    match tag.parse().ok().and_then(|tag: u32| takes.get_mut(&tag)) {
        Some(items) => items.push(offer),
        None => {
            drop(takes);
            hand_back(shared, &offer);
        }
    }
}

/// Nobody wants it: the next consumer gets it, and no attempt is used up.
pub(crate) fn hand_back(shared: &Shared, offer: &Offer) {
    let [task, generation] = names(offer.task, offer.generation);
    shared.tell(["TASK", "RELEASE"], &[&task, &generation], None);
}
