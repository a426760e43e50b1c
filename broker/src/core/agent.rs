//! Who works here? Agents, the sessions that speak for them, and the leases they hold.
//!
//! A lease belongs to an *agent*; a session only speaks for it. So a connection may break and
//! come back, and the work goes on. An agent is remembered while a session speaks for it or it
//! holds a lease, and forgotten after that.
//!
//! An agent *idles* when it is present, not suspect, and has credit left. One that let an offer or
//! a lease run out is suspect until it speaks again: without that, it would be the first to be
//! offered the same task once more.
//!
//! This file knows who could take a lease; which task it should be is the backlog's business.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::command::{Attach, Name, SessionId, TaskId, Tick};
use super::queue::LaneKey;
use super::record::Holder;

/// One agent, as long as it is remembered.
#[derive(Debug)]
pub(super) struct Agent {
    /// Who authenticated as this agent.
    pub(super) identity: Arc<str>,
    /// Is a session speaking for it?
    pub(super) presence: Presence,
    /// Last sign of life.
    pub(super) seen: Tick,
    /// Its leases.
    pub(super) leases: BTreeSet<TaskId>,
    /// The deadline at which its leases are looked at next, if one is set.
    pub(super) watch: Option<Tick>,
    capabilities: Vec<Name>,
    queues: Vec<Name>,
    credit: u32,
    suspect: bool,
    /// When it was granted something last, in grants of the whole core.
    granted: u64,
}

/// Whether an agent can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// This session speaks for it.
    Present(SessionId),
    /// Nobody does; at this time its leases are revoked.
    Away(Tick),
}

impl Agent {
    /// An agent that holds leases from before a restart.
    fn remembered(identity: Arc<str>, now: Tick) -> Agent {
        Agent {
            identity,
            presence: Presence::Away(now),
            seen: now,
            leases: BTreeSet::new(),
            watch: None,
            capabilities: Vec::new(),
            queues: Vec::new(),
            credit: 0,
            suspect: false,
            granted: 0,
        }
    }

    /// The session that speaks for it.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.presence {
            Presence::Present(session) => Some(session),
            Presence::Away(_) => None,
        }
    }

    fn is_idle(&self) -> bool {
        let present = matches!(self.presence, Presence::Present(_));
        present && !self.suspect && self.leases.len() < self.credit as usize
    }

    fn suits(&self, name: &Name, lane: &LaneKey) -> bool {
        let has = |need| self.capabilities.binary_search(need).is_ok();
        (self.queues.is_empty() || self.queues.contains(&lane.queue))
            && lane.needs.iter().all(has)
            && lane.excluded.binary_search(name).is_err()
    }
}

/// All agents that are remembered.
#[derive(Debug, Default)]
pub(super) struct Agents {
    by_name: HashMap<Name, Agent>,
    sessions: HashMap<SessionId, Name>,
    /// Who idles, longest without a grant first.
    idle: BTreeSet<(u64, Name)>,
    /// Who began to idle since the last [`take_roused`](Agents::take_roused).
    roused: VecDeque<Name>,
    grants: u64,
}

impl Agents {
    /// The agent this session speaks for.
    pub(super) fn speaker(&self, session: SessionId) -> Option<&Name> {
        self.sessions.get(&session)
    }

    /// One agent.
    pub(super) fn find(&self, name: &Name) -> Option<&Agent> {
        self.by_name.get(name)
    }

    /// Set or forget the deadline at which the leases of `name` are looked at; gives the old one.
    pub(super) fn set_watch(&mut self, name: &Name, watch: Option<Tick>) -> Option<Tick> {
        let agent = self.by_name.get_mut(name)?;
        std::mem::replace(&mut agent.watch, watch)
    }

    /// Let a session speak for an agent, and say which other session did so far. The identity
    /// must have been compared before.
    pub(super) fn attach(&mut self, attach: Attach, now: Tick) -> Option<SessionId> {
        let Attach { session, agent: name, identity, capabilities, queues, credit } = attach;
        let agent = self
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Agent::remembered(identity.clone(), now));
        let former = agent.session().filter(|&former| former != session);
        self.idle.remove(&(agent.granted, name.clone()));
        agent.identity = identity;
        agent.presence = Presence::Present(session);
        agent.seen = now;
        agent.suspect = false;
        agent.capabilities = capabilities;
        agent.queues = queues;
        agent.credit = credit;
        if let Some(former) = former {
            self.sessions.remove(&former);
        }
        self.sessions.insert(session, name.clone());
        self.review(&name);
        former
    }

    /// The session is over. Its agent, if it spoke for one, stays as long as it holds leases, at
    /// most until `until`.
    pub(super) fn detach(&mut self, session: SessionId, until: Tick) -> Option<Name> {
        let name = self.sessions.remove(&session)?;
        let agent = self.by_name.get_mut(&name)?;
        agent.presence = Presence::Away(until);
        self.review(&name);
        Some(name)
    }

    /// A sign of life.
    pub(super) fn see(&mut self, name: &Name, now: Tick) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        agent.seen = now;
        if agent.suspect {
            agent.suspect = false;
            self.review(name);
        }
    }

    /// It let an offer or a lease run out: no more offers until it speaks.
    pub(super) fn suspect(&mut self, name: &Name) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        agent.suspect = true;
        self.review(name);
    }

    /// Lease `task` to an agent; gives the holder to write into the row.
    pub(super) fn grant(&mut self, name: &Name, task: TaskId) -> Option<Holder> {
        let agent = self.by_name.get_mut(name)?;
        self.idle.remove(&(agent.granted, name.clone()));
        self.grants += 1;
        agent.granted = self.grants;
        agent.leases.insert(task);
        let identity = agent.identity.clone();
        self.review(name);
        Some(Holder { agent: name.clone(), identity })
    }

    /// Take over a lease from before a restart; its agent is away until at least `until`.
    pub(super) fn adopt(&mut self, holder: &Holder, task: TaskId, now: Tick, until: Tick) {
        let agent = self
            .by_name
            .entry(holder.agent.clone())
            .or_insert_with(|| Agent::remembered(holder.identity.clone(), now));
        if let Presence::Away(end) = &mut agent.presence {
            *end = until.max(*end);
        }
        agent.leases.insert(task);
    }

    /// The lease is over.
    pub(super) fn release(&mut self, name: &Name, task: TaskId) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        agent.leases.remove(&task);
        self.review(name);
    }

    /// Forget an agent that nobody speaks for and that holds nothing; gives the deadline to clear.
    pub(super) fn forget_if_gone(&mut self, name: &Name) -> Option<Tick> {
        let agent = self.by_name.get(name)?;
        if agent.session().is_some() || !agent.leases.is_empty() {
            return None;
        }
        self.by_name.remove(name)?.watch
    }

    /// One agent that began to idle. Call until `None`.
    pub(super) fn take_roused(&mut self) -> Option<Name> {
        self.roused.pop_front()
    }

    /// Could this agent take a lease?
    pub(super) fn is_idle(&self, name: &Name) -> bool {
        self.by_name.get(name).is_some_and(Agent::is_idle)
    }

    /// Could this agent do the tasks of this lane?
    pub(super) fn suits(&self, name: &Name, lane: &LaneKey) -> bool {
        self.by_name.get(name).is_some_and(|agent| agent.suits(name, lane))
    }

    /// The idle agent for this lane that has been without a grant for longest.
    pub(super) fn idle_for(&self, lane: &LaneKey) -> Option<&Name> {
        let mut idle = self.idle.iter().map(|(_, name)| name);
        idle.find(|name| self.by_name.get(*name).is_some_and(|agent| agent.suits(name, lane)))
    }

    /// Bring the idle list in line with what changed about one agent.
    fn review(&mut self, name: &Name) {
        let Some(agent) = self.by_name.get(name) else { return };
        let entry = (agent.granted, name.clone());
        if !agent.is_idle() {
            self.idle.remove(&entry);
        } else if self.idle.insert(entry) {
            self.roused.push_back(name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn attach(session: u64, agent: &str, credit: u32) -> Attach {
        Attach {
            session: SessionId(session),
            agent: name(agent),
            identity: "login".into(),
            capabilities: vec![],
            queues: vec![],
            credit,
        }
    }

    #[test]
    fn credit_is_spent_by_leases_and_comes_back() {
        let mut agents = Agents::default();
        agents.attach(attach(1, "a", 1), Tick(0));
        assert_eq!(agents.take_roused(), Some(name("a")));
        agents.grant(&name("a"), TaskId(1)).unwrap();
        assert!(!agents.is_idle(&name("a")));
        agents.release(&name("a"), TaskId(1));
        assert_eq!(agents.take_roused(), Some(name("a")));
    }

    #[test]
    fn a_suspect_idles_again_as_soon_as_it_speaks() {
        let mut agents = Agents::default();
        agents.attach(attach(1, "a", 1), Tick(0));
        agents.suspect(&name("a"));
        assert!(!agents.is_idle(&name("a")));
        agents.see(&name("a"), Tick(1));
        assert!(agents.is_idle(&name("a")));
    }

    #[test]
    fn the_newer_session_speaks_and_the_older_one_does_not() {
        let mut agents = Agents::default();
        assert_eq!(agents.attach(attach(1, "a", 1), Tick(0)), None);
        assert_eq!(agents.attach(attach(2, "a", 1), Tick(0)), Some(SessionId(1)));
        assert_eq!(agents.speaker(SessionId(1)), None);
        assert_eq!(agents.detach(SessionId(1), Tick(9)), None);
        assert!(agents.is_idle(&name("a")));
    }

    #[test]
    fn an_agent_without_session_and_lease_is_forgotten() {
        let mut agents = Agents::default();
        agents.attach(attach(1, "a", 1), Tick(0));
        agents.grant(&name("a"), TaskId(1)).unwrap();
        agents.detach(SessionId(1), Tick(9));
        agents.forget_if_gone(&name("a"));
        assert!(agents.find(&name("a")).is_some());
        agents.release(&name("a"), TaskId(1));
        agents.forget_if_gone(&name("a"));
        assert!(agents.find(&name("a")).is_none());
    }
}
