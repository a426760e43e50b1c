//! Agents, and the sessions that speak for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentcom_broker::core::command::{
    Attach, Continued, Epoch, LabelOp, LabelTest, Name, Push, Rejection, Reply, Resource,
    SessionId, SessionView, Spec, State, Stopped, TaskId,
};
use agentcom_broker::core::limits::{SUSPICION_MS, SUSPICION_MS_MAX};

use super::task::Due;
use super::{Model, Outcome, Task};

#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(super) identity: Arc<str>,
    /// Who speaks for it; nobody since it went away.
    pub(super) session: Option<SessionId>,
    pub(super) away_until: u64,
    pub(super) seen: u64,
    pub(super) capabilities: Vec<Name>,
    pub(super) labels: Vec<(Name, Arc<str>)>,
    pub(super) capacity: Vec<Resource>,
    pub(super) queues: Vec<Name>,
    pub(super) credit: u32,
    pub(super) trust: Trust,
    /// Number of its newest grant.
    pub(super) granted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Trusted,
    Suspect { strikes: u32, until: u64 },
    Tried { strikes: u32 },
}

impl Agent {
    pub(super) fn remembered(identity: Arc<str>) -> Agent {
        Agent {
            identity,
            session: None,
            away_until: 0,
            seen: 0,
            capabilities: Vec::new(),
            labels: Vec::new(),
            capacity: Vec::new(),
            queues: Vec::new(),
            credit: 0,
            trust: Trust::Trusted,
            granted: 0,
        }
    }

    pub(super) fn suits(&self, name: &Name, task: &Task) -> bool {
        let is_other = task.window.as_ref().is_some_and(|(only, _)| only != name);
        self.fits(&task.spec) && !task.excluded.contains(name) && !is_other
    }

    pub(super) fn fits(&self, spec: &Spec) -> bool {
        (self.queues.is_empty() || self.queues.contains(&spec.queue))
            && spec.needs.iter().all(|need| self.capabilities.contains(need))
            && spec.labels.iter().all(|test| self.passes(test))
            && self.has(spec, |_| 0)
    }

    /// Whether what a task uses is there, beside what is used of it.
    pub(super) fn has(&self, spec: &Spec, used: impl Fn(&Name) -> u32) -> bool {
        spec.resources().iter().all(|wanted| {
            let own = self.capacity.iter().find(|own| own.name == wanted.name);
            own.is_some_and(|own| used(&wanted.name) + wanted.amount <= own.amount)
        })
    }

    /// How much of what a task prefers it has.
    pub(super) fn score(&self, spec: &Spec) -> u32 {
        let prefer = spec.placement.iter().flat_map(|placement| placement.prefer.iter());
        prefer.filter(|it| self.passes(&it.test)).map(|it| it.weight).sum()
    }

    fn passes(&self, test: &LabelTest) -> bool {
        let found = self.labels.iter().find(|(label, _)| *label == test.label);
        let Some((_, value)) = found else { return test.op == LabelOp::NotEqual };
        let numbers = (value.parse::<i64>(), test.value.parse::<i64>());
        let (is_less, is_equal) = match numbers {
            (Ok(value), Ok(wanted)) => (value < wanted, value == wanted),
            _ => (**value < *test.value, *value == test.value),
        };
        match test.op {
            LabelOp::Equal => is_equal,
            LabelOp::NotEqual => !is_equal,
            LabelOp::Less => is_less,
            LabelOp::AtMost => is_less || is_equal,
            LabelOp::Greater => !is_less && !is_equal,
            LabelOp::AtLeast => !is_less,
            LabelOp::Exists => true,
        }
    }
}

impl Model {
    pub(crate) fn speaker(&self, session: SessionId) -> Option<Name> {
        let speaks = |agent: &Agent| agent.session == Some(session);
        self.agents.iter().find(|(_, agent)| speaks(agent)).map(|(name, _)| name.clone())
    }

    /// Who speaks for an agent that is known.
    pub(crate) fn identity(&self, name: &Name) -> Option<Arc<str>> {
        self.agents.get(name).map(|agent| agent.identity.clone())
    }

    pub(crate) fn leases_of(&self, name: &Name) -> Vec<TaskId> {
        self.open().filter(|(_, task)| task.is_held_by(name)).map(|(id, _)| id).collect()
    }

    pub(super) fn is_idle(&self, name: &Name) -> bool {
        let agent = &self.agents[name];
        let credit = match agent.trust {
            Trust::Trusted => agent.credit,
            Trust::Suspect { .. } => 0,
            Trust::Tried { .. } => agent.credit.min(1),
        };
        let has_credit = self.leases_of(name).len() < credit as usize;
        agent.session.is_some() && has_credit && !self.withheld.contains_key(name)
    }

    /// Everybody for whom somebody speaks.
    pub(super) fn present(&self) -> BTreeSet<Name> {
        let here = self.agents.iter().filter(|(_, agent)| agent.session.is_some());
        here.map(|(name, _)| name.clone()).collect()
    }

    /// How much of something the leases of an agent use.
    fn used(&self, name: &Name, resource: &Name) -> u32 {
        let leases = self.open().filter(|(_, task)| task.is_held_by(name));
        let used = leases.flat_map(|(_, task)| task.spec.resources());
        used.filter(|used| used.name == *resource).map(|used| used.amount).sum()
    }

    pub(super) fn has_room(&self, name: &Name, spec: &Spec) -> bool {
        self.agents[name].has(spec, |resource| self.used(name, resource))
    }

    /// Who keeps room for a task that needs more than is left: always the same of all that would
    /// have it sooner or later.
    pub(super) fn keeper(&self, id: TaskId) -> Option<&Name> {
        let is_willing = |name: &Name, agent: &Agent| {
            let is_silent = matches!(agent.trust, Trust::Suspect { .. });
            let is_left_alone = is_silent || self.withheld.contains_key(name);
            agent.session.is_some() && agent.credit > 0 && !is_left_alone
        };
        let mut willing: Vec<(&Name, &Agent)> =
            self.agents.iter().filter(|(name, agent)| is_willing(name, agent)).collect();
        let start = id.0.checked_rem(willing.len() as u64)?;
        willing.rotate_left(start as usize);
        let suits = |(name, agent): &&(&Name, &Agent)| agent.suits(name, &self.tasks[&id]);
        willing.iter().find(suits).map(|(name, _)| *name)
    }

    pub(super) fn idle_agents(&self) -> impl Iterator<Item = &Name> {
        self.agents.keys().filter(|name| self.is_idle(name))
    }

    /// An agent is remembered while somebody speaks for it or it holds something.
    pub(super) fn forget_agents(&mut self) {
        let is_gone = |(name, agent): (&Name, &Agent)| {
            (agent.session.is_none() && self.leases_of(name).is_empty()).then(|| name.clone())
        };
        let gone: Vec<Name> = self.agents.iter().filter_map(is_gone).collect();
        for name in gone {
            self.agents.remove(&name);
        }
    }

    pub(super) fn agent(&mut self, name: &Name) -> &mut Agent {
        self.agents.get_mut(name).expect("a known agent")
    }

    /// T19.
    pub(super) fn see(&mut self, name: &Name) {
        self.agent(name).seen = self.tick;
    }

    pub(super) fn trust(&mut self, name: &Name) {
        self.see(name);
        self.agent(name).trust = Trust::Trusted;
    }

    /// Nothing more for an agent that asked too much, until then.
    pub(super) fn withhold(&mut self, name: &Name, for_ms: u64) {
        let until = self.withheld.entry(name.clone()).or_default();
        *until = (self.tick + for_ms).max(*until);
    }

    /// T13: nothing more for it until it speaks, or is tried after ever longer whiles.
    pub(super) fn suspect(&mut self, name: &Name) {
        let tick = self.tick;
        let agent = self.agent(name);
        let strikes = match agent.trust {
            Trust::Trusted => 1,
            Trust::Tried { strikes } => strikes + 1,
            Trust::Suspect { .. } => return,
        };
        let longer = SUSPICION_MS << (strikes - 1).min(16);
        agent.trust = Trust::Suspect { strikes, until: tick + longer.min(SUSPICION_MS_MAX) };
    }

    fn check_identity(&self, name: &Name, identity: &str) -> Result<(), Rejection> {
        let agent = self.agents.get(name);
        if agent.is_some_and(|agent| *agent.identity != *identity) {
            return Err(Rejection::NameTaken { agent: name.clone() });
        }
        Ok(())
    }

    /// T15-T17.
    pub(super) fn attach(&mut self, attach: &Attach) -> Outcome {
        let name = &attach.agent;
        self.check_identity(name, &attach.identity)?;
        // T17 is about an agent that comes back; this one may only have changed its mind.
        let was_here = self.speaker(attach.session).as_ref() == Some(name);
        self.speak_for(name, attach.session, &attach.identity);
        let agent = self.agent(name);
        agent.capabilities.clone_from(&attach.capabilities);
        agent.labels.clone_from(&attach.labels);
        agent.capacity.clone_from(&attach.capacity);
        agent.queues.clone_from(&attach.queues);
        agent.credit = attach.credit;
        for id in self.leases_of(name) {
            let task = &self.tasks[&id];
            let is_named = attach
                .holding
                .iter()
                .any(|(task_id, generation)| (*task_id, generation.0) == (id, task.generation));
            if !was_here && task.fixed_ms.is_none() && !is_named {
                self.change(id, |task, at| task.lose(at));
            }
        }
        let (mut continued, mut stopped) = (Vec::new(), Vec::new());
        for (id, generation) in attach.holding.iter().copied() {
            let offer_ends = self.tick + self.config.offer_ms;
            let open = self.tasks.get_mut(&id).filter(|task| !task.is_over());
            match open {
                Some(task) if task.is_held_by(name) && task.generation == generation.0 => {
                    if task.state == State::Offered {
                        task.timers.insert(Due::Offer, offer_ends);
                    }
                    let (is_cancelling, progress_seq) =
                        (task.cancelling.is_some(), task.progress_seq);
                    continued.push(Continued { task: id, generation, is_cancelling, progress_seq });
                }
                open => {
                    let state = open.map(|task| task.state);
                    stopped.push(Stopped { task: id, generation, state });
                }
            }
        }
        let epoch = Epoch(self.new_epoch());
        let session = SessionView { agent: name.clone(), epoch };
        Ok(Reply::Attached { session, continued, stopped })
    }

    /// The session that takes speaks for the consumer, unless it speaks for somebody already.
    pub(super) fn consumer(
        &mut self,
        session: SessionId,
        consumer: &Name,
        identity: &Arc<str>,
    ) -> Result<Name, Rejection> {
        if let Some(name) = self.speaker(session) {
            self.trust(&name);
            return Ok(name);
        }
        self.check_identity(consumer, identity)?;
        self.speak_for(consumer, session, identity);
        let agent = self.agent(consumer);
        agent.capabilities.clear();
        agent.labels.clear();
        agent.capacity.clear();
        agent.queues.clear();
        agent.credit = 0;
        Ok(consumer.clone())
    }

    fn speak_for(&mut self, name: &Name, session: SessionId, identity: &Arc<str>) {
        if self.speaker(session).is_some_and(|other| other != *name) {
            self.leave(session);
        }
        let new = || Agent::remembered(identity.clone());
        let agent = self.agents.entry(name.clone()).or_insert_with(new);
        let former = agent.session.replace(session).filter(|former| *former != session);
        self.trust(name);
        self.idle_before.remove(name);
        if let Some(former) = former {
            self.stop_takes_of(former);
            self.push(former, Push::Replaced);
        }
    }

    /// T14.
    pub(super) fn leave(&mut self, session: SessionId) {
        self.stop_takes_of(session);
        let until = self.tick + self.config.grace_ms;
        if let Some(name) = self.speaker(session) {
            let agent = self.agent(&name);
            agent.session = None;
            agent.away_until = until;
        }
        self.forget_agents();
    }
}
