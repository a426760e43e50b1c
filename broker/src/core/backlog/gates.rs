//! Limits on leases that tasks of several kinds have in common.

use hashbrown::HashMap;

use super::{Backlog, LaneId};
use crate::core::command::{Name, Spec};

/// How many leases there are under each limit, and which lanes wait for it.
#[derive(Debug, Default)]
pub(super) struct Limits {
    leases: HashMap<Name, u32>,
    lanes: HashMap<Name, Vec<LaneId>>,
}

impl Limits {
    /// Whether a limit of this kind of task is reached.
    fn block(&self, spec: &Spec) -> bool {
        spec.limits.iter().any(|limit| self.leases(&limit.name) >= limit.max)
    }

    /// How many leases there are under a limit.
    pub(super) fn leases(&self, limit: &Name) -> u32 {
        self.leases.get(limit).copied().unwrap_or(0)
    }

    pub(super) fn add_lane(&mut self, spec: &Spec, id: LaneId) {
        for limit in spec.limits.iter() {
            self.lanes.entry(limit.name.clone()).or_default().push(id);
        }
    }

    pub(super) fn remove_lane(&mut self, spec: &Spec, id: LaneId) {
        for limit in spec.limits.iter() {
            if let Some(lanes) = self.lanes.get_mut(&limit.name) {
                lanes.retain(|other| *other != id);
                if lanes.is_empty() {
                    self.lanes.remove(&limit.name);
                }
            }
        }
    }

    pub(super) fn take(&mut self, spec: &Spec) {
        for limit in spec.limits.iter() {
            *self.leases.entry(limit.name.clone()).or_default() += 1;
        }
    }

    pub(super) fn give_back(&mut self, spec: &Spec) {
        for limit in spec.limits.iter() {
            let leases =
                self.leases.get_mut(&limit.name).expect("a lease is counted until it ends");
            *leases -= 1;
            if *leases == 0 {
                self.leases.remove(&limit.name);
            }
        }
    }
}

impl Backlog {
    /// Change how many leases there are under the limits of one kind of task; gives the lanes of
    /// which something may be granted again.
    pub(super) fn review_limits(
        &mut self,
        spec: &Spec,
        change: impl FnOnce(&mut Limits),
    ) -> Vec<LaneId> {
        if spec.limits.is_empty() {
            return Vec::new();
        }
        change(&mut self.limits);
        let waiting = |limits: &Limits, name| limits.lanes.get(name).cloned().unwrap_or_default();
        let lanes: Vec<LaneId> =
            spec.limits.iter().flat_map(|limit| waiting(&self.limits, &limit.name)).collect();
        self.review_lanes(lanes)
    }

    /// Whether a limit or a rate of this kind of task is reached.
    pub(super) fn blocks(&self, spec: &Spec) -> bool {
        self.limits.block(spec) || self.rates.block(spec)
    }

    /// Block these lanes or not any more; gives those of which something may be granted again,
    /// soonest first.
    pub(super) fn review_lanes(&mut self, mut lanes: Vec<LaneId>) -> Vec<LaneId> {
        lanes.sort_unstable();
        lanes.dedup();
        lanes.retain(|&id| {
            let lane = self.lane(id);
            let (was_blocked, is_blocked) = (lane.is_blocked, self.blocks(&lane.spec));
            if was_blocked != is_blocked {
                self.change_shown(id, |lane| lane.is_blocked = is_blocked);
            }
            was_blocked && self.is_shown(id)
        });
        lanes.sort_by_key(|&id| self.lane(id).first());
        lanes
    }
}
