//! Limits on grants in a time that tasks of several kinds have in common.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::{Backlog, LaneId};
use crate::core::command::{RateLimit, Spec, Tick};
use crate::core::rate::RateWindow;

/// Every rate that counts, and which lanes have it.
#[derive(Debug, Default)]
pub(super) struct Rates {
    gates: HashMap<RateLimit, Gate>,
    now: Tick,
    /// What was granted before this is not known.
    started: Option<Tick>,
    /// When which rate has to be looked at again.
    alarms: BTreeSet<(Tick, RateLimit)>,
}

/// One rate.
#[derive(Debug, Default)]
struct Gate {
    window: RateWindow,
    lanes: Vec<LaneId>,
    /// Nothing is granted before that, whatever was granted so far.
    shut_until: Tick,
    /// When its tasks may go on, if they have to wait.
    opens: Option<Tick>,
    /// When it is looked at again, if anything of it still counts.
    armed: Option<Tick>,
}

impl Gate {
    fn review(&mut self, limit: &RateLimit, now: Tick) {
        let shut = Some(self.shut_until).filter(|until| *until > now);
        self.opens = self.window.opens(limit.rate, now).max(shut);
    }

    /// When it is as if nothing had ever been granted, if that is not now.
    fn clears(&self, limit: &RateLimit, now: Tick) -> Option<Tick> {
        self.window.clears(limit.rate, now).max(self.opens)
    }
}

impl Rates {
    /// Whether a rate of this kind of task is used up.
    pub(super) fn block(&self, spec: &Spec) -> bool {
        spec.rates.iter().any(|limit| self.opens(limit).is_some())
    }

    fn opens(&self, limit: &RateLimit) -> Option<Tick> {
        match self.gates.get(limit) {
            Some(gate) => gate.opens,
            None => self.spent(limit).map(|started| started.after(limit.rate.period_ms)),
        }
    }

    /// The start, if what may have been granted before it still counts for this rate.
    fn spent(&self, limit: &RateLimit) -> Option<Tick> {
        self.started.filter(|started| started.after(limit.rate.period_ms) > self.now)
    }

    fn gate(&mut self, limit: &RateLimit) -> &mut Gate {
        if !self.gates.contains_key(limit) {
            let mut gate = Gate::default();
            // Not a window full of grants: they would take memory for every rate that waits.
            if let Some(started) = self.spent(limit) {
                gate.shut_until = started.after(limit.rate.period_ms);
                gate.review(limit, self.now);
            }
            self.gates.insert(limit.clone(), gate);
            self.arm(limit);
        }
        self.gates.get_mut(limit).expect("put there above")
    }

    /// See to it that a gate is looked at when that has a consequence.
    fn arm(&mut self, limit: &RateLimit) {
        let Some(gate) = self.gates.get_mut(limit) else { return };
        let at = gate.opens.or_else(|| gate.clears(limit, self.now));
        if let Some(at) = at
            && gate.armed.is_none_or(|armed| at < armed)
        {
            if let Some(later) = gate.armed.replace(at) {
                self.alarms.remove(&(later, limit.clone()));
            }
            self.alarms.insert((at, limit.clone()));
        }
    }

    pub(super) fn add_lane(&mut self, spec: &Spec, id: LaneId) {
        for limit in spec.rates.iter() {
            self.gate(limit).lanes.push(id);
        }
    }

    pub(super) fn remove_lane(&mut self, spec: &Spec, id: LaneId) {
        for limit in spec.rates.iter() {
            if let Some(gate) = self.gates.get_mut(limit) {
                gate.lanes.retain(|other| *other != id);
                // One with grants that count is looked at again.
                if gate.lanes.is_empty() && gate.armed.is_none() {
                    self.gates.remove(limit);
                }
            }
        }
    }
}

impl Backlog {
    /// Time went on to this; gives the lanes of which something may be granted again.
    pub(in crate::core) fn tell_time(&mut self, now: Tick) -> Vec<LaneId> {
        self.rates.now = now;
        let mut opened = Vec::new();
        while let Some((at, _)) = self.rates.alarms.first()
            && *at <= now
        {
            let (_, limit) = self.rates.alarms.pop_first().expect("looked at above");
            opened.extend(self.reopen_rate(&limit));
        }
        opened
    }

    /// When it has to be told the time, even if nothing else happens.
    pub(in crate::core) fn next_alarm(&self) -> Option<Tick> {
        self.rates.alarms.first().map(|(at, _)| *at)
    }

    /// After a restart: take every rate for used up.
    pub(in crate::core) fn spend_rates(&mut self) {
        self.rates.started = Some(self.rates.now);
        self.rates.alarms.clear();
        let gates: Vec<(RateLimit, Gate)> = self.rates.gates.drain().collect();
        for (limit, gate) in gates {
            self.rates.gate(&limit).lanes.clone_from(&gate.lanes);
            self.review_lanes(gate.lanes);
        }
    }

    /// When tasks with this rate may go on, if they have to wait.
    pub(in crate::core) fn rate_opens(&self, limit: &RateLimit) -> Option<Tick> {
        self.rates.opens(limit)
    }

    /// Grant no task with a rate of this kind before that.
    pub(in crate::core) fn shut_rates(&mut self, spec: &Spec, until: Tick) {
        let now = self.rates.now;
        for limit in spec.rates.iter() {
            let gate = self.rates.gate(limit);
            gate.shut_until = gate.shut_until.max(until);
            gate.review(limit, now);
            let lanes = gate.lanes.clone();
            self.rates.arm(limit);
            self.review_lanes(lanes);
        }
    }

    /// A task of this kind was granted.
    pub(super) fn count_rates(&mut self, spec: &Spec) {
        let now = self.rates.now;
        for limit in spec.rates.iter() {
            let gate = self.rates.gate(limit);
            gate.window.count(limit.rate, now);
            gate.review(limit, now);
            let lanes = gate.lanes.clone();
            self.rates.arm(limit);
            self.review_lanes(lanes);
        }
    }

    fn reopen_rate(&mut self, limit: &RateLimit) -> Vec<LaneId> {
        let now = self.rates.now;
        let Some(gate) = self.rates.gates.get_mut(limit) else { return Vec::new() };
        gate.armed = None;
        gate.review(limit, now);
        let lanes = gate.lanes.clone();
        if lanes.is_empty() && gate.clears(limit, now).is_none() {
            self.rates.gates.remove(limit);
            return Vec::new();
        }
        self.rates.arm(limit);
        self.review_lanes(lanes)
    }
}
