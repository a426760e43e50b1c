//! Shares for the keys of a queue.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with the same cost for each
//! grant: every key has a virtual time that is raised by each of its grants, the less the larger
//! its weight, and the key with the least goes next. A key that had no work comes back with the virtual time of the last grant, so
//! it has saved nothing up.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Backlog, LaneId};
use crate::core::command::{Name, Spec};
use crate::core::limits::{Order, QueueSettings};

/// What a grant costs a key of weight 1. Large, so that a large weight still divides it.
const COST: u64 = 1 << 20;

/// Queues whose keys get shares.
#[derive(Debug, Default)]
pub(super) struct FairQueues {
    by_name: HashMap<Name, FairQueue>,
}

#[derive(Debug, Default)]
struct FairQueue {
    /// Virtual time at which the last grant began.
    now: u64,
    /// Of keys that have not the weight 1, sorted by key.
    weights: Arc<[(Name, u32)]>,
    keys: HashMap<Option<Name>, Key>,
}

/// One key that has work or is ahead of the others.
#[derive(Debug, Default)]
struct Key {
    time: u64,
    lanes: Vec<LaneId>,
}

impl FairQueue {
    /// What a grant costs a key.
    fn cost(&self, key: Option<&Name>) -> u64 {
        let weight = key.and_then(|key| {
            let found = self.weights.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
            Some(self.weights[found].1)
        });
        COST / u64::from(weight.unwrap_or(1))
    }
}

impl FairQueues {
    /// The rank of a lane of this kind: the virtual time of its key.
    pub(super) fn rank(&self, spec: &Spec) -> u64 {
        let Some(queue) = self.by_name.get(&spec.queue) else { return 0 };
        match queue.keys.get(&spec.key) {
            // It may be behind the last grant if nobody was there for it; its lanes stay together.
            Some(key) if !key.lanes.is_empty() => key.time,
            Some(key) => key.time.max(queue.now),
            None => queue.now,
        }
    }

    pub(super) fn add_lane(&mut self, spec: &Spec, id: LaneId) {
        let rank = self.rank(spec);
        let Some(queue) = self.by_name.get_mut(&spec.queue) else { return };
        let key = queue.keys.entry(spec.key.clone()).or_default();
        if key.lanes.is_empty() {
            key.time = rank;
        }
        key.lanes.push(id);
    }

    pub(super) fn remove_lane(&mut self, spec: &Spec, id: LaneId) {
        let Some(queue) = self.by_name.get_mut(&spec.queue) else { return };
        if let Some(key) = queue.keys.get_mut(&spec.key) {
            key.lanes.retain(|other| *other != id);
        }
        // Who is not ahead has nothing to be remembered for.
        let now = queue.now;
        queue.keys.retain(|_, key| !key.lanes.is_empty() || key.time > now);
    }
}

impl Backlog {
    /// Give the keys of a queue shares, or not any more.
    pub(in crate::core) fn set_order(&mut self, queue: &Name, settings: &QueueSettings) {
        let is_fair = settings.order == Order::Fair;
        if let Some(fair) = self.fair.by_name.get_mut(queue).filter(|_| is_fair) {
            fair.weights = settings.weights.clone();
            return;
        }
        if is_fair == self.fair.by_name.contains_key(queue) {
            return;
        }
        let lanes = self.of_queue(queue);
        if is_fair {
            let weights = settings.weights.clone();
            let fair = FairQueue { weights, ..FairQueue::default() };
            self.fair.by_name.insert(queue.clone(), fair);
            for &id in &lanes {
                let spec = self.lane(id).spec.clone();
                self.fair.add_lane(&spec, id);
            }
        } else {
            self.fair.by_name.remove(queue);
            for id in lanes {
                self.change_shown(id, |lane| lane.rank = 0);
            }
        }
    }

    /// A task of this kind was granted: its key has had a share more.
    pub(super) fn charge_key(&mut self, spec: &Spec) {
        let Some(queue) = self.fair.by_name.get_mut(&spec.queue) else { return };
        let cost = queue.cost(spec.key.as_ref());
        let key = queue.keys.entry(spec.key.clone()).or_default();
        let start = key.time.max(queue.now);
        queue.now = start;
        key.time = start + cost;
        let (rank, lanes) = (key.time, key.lanes.clone());
        for id in lanes {
            self.change_shown(id, |lane| lane.rank = rank);
        }
    }
}
