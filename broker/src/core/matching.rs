//! Who does what? The half of [`Core`] that grants (T9).

use std::cell::RefCell;
use std::sync::Arc;

use super::Core;
use super::agent::Agent;
use super::backlog::Taker;
use super::command::{Name, Now, Offer, Push, Resource, Spec, TaskId};
use super::eligible::Profile;
use super::lane::{Lane, Place};
use super::live::Due;
use super::park::answers_of;

/// An agent for which something is looked for.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    name: &'a Name,
    agent: &'a Agent,
    profile: &'a Profile,
    /// Tasks that it keeps its room for.
    kept: Vec<(Place, Arc<Spec>)>,
}

impl Candidate<'_> {
    /// Whether some tasks are kept from it for the sake of others.
    pub(super) fn is_held_back(&self) -> bool {
        !self.kept.is_empty()
    }
}

impl Taker for Candidate<'_> {
    fn name(&self) -> &Name {
        self.name
    }

    fn has_room(&self, spec: &Spec) -> bool {
        spec.resources().iter().all(|Resource { name, amount }| {
            let capacity = u64::from(self.profile.capacity_of(name));
            self.agent.used(name) + u64::from(*amount) <= capacity
        })
    }

    fn may_take(&self, place: Place, spec: &Spec) -> bool {
        !self.kept.iter().any(|(before, kept)| *before < place && uses_same(kept, spec))
    }
}

fn uses_same(one: &Spec, other: &Spec) -> bool {
    let mut used = other.resources().iter();
    used.any(|used| one.resources().iter().any(|resource| resource.name == used.name))
}

impl Core {
    /// Give out all work that can be given out. Afterwards no ready task stands beside an idle
    /// agent that suits it. Only agents that began to idle or have more room, and lanes that were
    /// empty or closed, can make a new pair, so nothing else is looked at. Every agent takes the
    /// best that there is for it.
    pub(super) fn match_agents(&mut self, now: Now) {
        while let Some(agent) = self.agents.take_roused() {
            self.serve(&agent, now);
        }
        let held_back = std::mem::take(&mut self.held_back);
        for id in std::mem::take(&mut self.filled) {
            let mut queue = None;
            while let Some(lane) = self.backlog.grantable(id) {
                queue = Some(lane.spec.queue.clone());
                let held_back = RefCell::new(Vec::new());
                let has_room = |agent: &Name| self.has_room(agent, lane, &held_back);
                let agent = self.agents.idle_for(lane, &self.eligible, has_room);
                self.held_back.extend(held_back.into_inner());
                let Some(agent) = agent else { break };
                if !self.grant_best(&agent, now) {
                    break;
                }
            }
            if let Some(queue) = queue {
                self.serve_takes(&queue, now);
            }
        }
        // What they kept room for may have gone. They idled before, so what is new was not theirs
        // before anybody else's.
        for agent in held_back {
            self.serve(&agent, now);
        }
    }

    /// Give an agent all that it can take.
    fn serve(&mut self, agent: &Name, now: Now) {
        while self.agents.is_idle(agent) && self.grant_best(agent, now) {}
        self.serve_takes_of(agent, now);
    }

    /// Whether an agent could take the first task of a lane, and not only one that uses less; who
    /// is held back is noted.
    pub(super) fn has_room(
        &self,
        agent: &Name,
        lane: &Lane,
        held_back: &RefCell<Vec<Name>>,
    ) -> bool {
        if lane.spec.resources().is_empty() {
            return true;
        }
        // That there is no room is found out fast, and mostly it is so where many idle.
        let candidate = self.unbound(agent).filter(|candidate| candidate.has_room(&lane.spec));
        let Some(candidate) = candidate.map(|candidate| self.bound(candidate)) else {
            return false;
        };
        if candidate.is_held_back() {
            held_back.borrow_mut().push(agent.clone());
        }
        lane.first().is_some_and(|place| candidate.may_take(place, &lane.spec))
    }

    /// An agent that somebody speaks for, as one for which work is looked for.
    pub(super) fn candidate<'a>(&'a self, name: &'a Name) -> Option<Candidate<'a>> {
        self.unbound(name).map(|candidate| self.bound(candidate))
    }

    fn unbound<'a>(&'a self, name: &'a Name) -> Option<Candidate<'a>> {
        let agent = self.agents.find(name)?;
        let profile = self.eligible.profile(agent.profile()?);
        Some(Candidate { name, agent, profile, kept: Vec::new() })
    }

    /// The same with what it keeps room for.
    ///
    /// A task that needs more than an agent has left is overtaken by those that need less. Once
    /// that lasted for long enough, one of the agents that could do it, always the same one, takes
    /// nothing more that uses up what the task waits for, unless it goes first anyway.
    fn bound<'a>(&'a self, mut candidate: Candidate<'a>) -> Candidate<'a> {
        let Some(profile) = candidate.agent.profile().filter(|_| candidate.agent.is_laden()) else {
            return candidate;
        };
        let virtual_ms = self.moment(self.now).virtual_ms;
        let classes = self.eligible.classes(profile);
        for (place, lane) in self.backlog.without_room(classes, &candidate) {
            let waited_ms = virtual_ms.saturating_sub(place.eligible_ms(lane.spec.band));
            if waited_ms >= self.config.starve_ms && self.is_kept_by(place, lane, candidate.name) {
                candidate.kept.push((place, lane.spec.clone()));
            }
        }
        candidate
    }

    /// Whether it is this agent that keeps room for a task.
    fn is_kept_by(&self, place: Place, lane: &Lane, agent: &Name) -> bool {
        let profiles = self.eligible.profiles(lane.class);
        self.agents.keeper(place.task, profiles, lane) == Some(agent)
    }

    /// Grant this idle agent what goes first among all that it could do, if there is anything.
    fn grant_best(&mut self, agent: &Name, now: Now) -> bool {
        let Some(candidate) = self.candidate(agent) else { return false };
        let is_held_back = candidate.is_held_back();
        let profile = candidate.agent.profile().expect("a candidate has one");
        let best = self.backlog.best(self.eligible.classes(profile), &candidate);
        if is_held_back {
            self.held_back.insert(agent.clone());
        }
        best.inspect(|&task| self.grant(task, agent, now)).is_some()
    }

    /// T9. The grant is logged before the offer goes out, so a generation that an agent has seen
    /// is on disk and never given to another.
    fn grant(&mut self, id: TaskId, agent: &Name, now: Now) {
        let spec = &self.tasks[id].row.spec;
        let holder = self.agents.grant(agent, id, spec.resources(), None);
        let holder = holder.expect("only an agent that idles is matched");
        let session = self.agents.find(agent).and_then(Agent::session);
        self.change(id, now, |task, config, at| task.grant(holder, config.offer_ms, at));
        if let Some(session) = session {
            let push = Push::Offer(self.offer(id));
            self.deliver(session, push);
        }
    }

    /// What its holder is told of a leased task.
    pub(super) fn offer(&self, id: TaskId) -> Offer {
        let task = &self.tasks[id];
        let (row, details) = (&task.row, task.row.details());
        let lease_ms = row.spec.patience.lease_ms;
        let is_offered = task.timer(Due::Offer) != super::live::NEVER;
        Offer {
            task: id,
            generation: row.generation,
            queue: row.spec.queue.clone(),
            attempt: task.attempt(),
            offer_ms: if is_offered { self.config.offer_ms } else { 0 },
            lease_ms: row.holder().and_then(|holder| holder.fixed_ms).unwrap_or(lease_ms),
            progress_seq: details.progress_seq,
            checkpoint_seq: details.checkpoint_seq,
            answers: answers_of(row),
            payload: Arc::default(),
            headers: row.spec.has_headers.then(Arc::default),
            checkpoint: None,
        }
    }
}
