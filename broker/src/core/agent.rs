//! Who works here? Agents, the sessions that speak for them, and the leases they hold.
//!
//! A lease belongs to an *agent*; a session only speaks for it. So a connection may break and
//! come back, and the work goes on. An agent is remembered while a session speaks for it or it
//! holds a lease, and forgotten after that.
//!
//! An agent *idles* when it is present, trusted, and has credit left. One that let an offer or a
//! lease run out is suspect until it *does* something: its library may go on answering pings while
//! it hangs, and it would be the first to be offered the same task once more. An agent that lost
//! an offer through no fault of its own would wait for ever, though; so after a while, longer each
//! time, a suspect is tried with a single task. An agent that asks too much of a door is offered
//! nothing for a while, whatever it does.
//!
//! This file knows who could take a lease; which task it should be is the backlog's business.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::bits::Bits;
use super::command::{Attach, Name, Resource, SessionId, TaskId, Tick, Why};
use super::eligible::{Eligible, Profile, ProfileId};
use super::lane::Lane;
use super::limits::{SUSPICION_MS, SUSPICION_MS_MAX};
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
    /// What kind of agent it is, while a session speaks for it.
    profile: Option<ProfileId>,
    credit: u32,
    /// It is among those that will take more.
    is_listed: bool,
    /// What its leases use up, of what they use anything of.
    used: Vec<(Name, u64)>,
    trust: Trust,
    /// It is offered nothing for a while.
    is_withheld: bool,
    /// When it was granted something last, in grants of the whole core.
    granted: u64,
    /// What is written into the rows of its leases; one copy for all of them.
    holder: Option<Arc<Holder>>,
}

/// Whether an agent can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// This session speaks for it.
    Present(SessionId),
    /// Nobody does; at this time its leases are revoked.
    Away(Tick),
}

/// Whether an agent can be expected to do something about an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It did something since its last omission.
    Trusted,
    /// It let so many offers or leases run out in a row, and is left alone until then.
    Suspect { strikes: u32, until: Tick },
    /// It was left alone for long enough to be tried with one task.
    Tried { strikes: u32 },
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
            profile: None,
            credit: 0,
            is_listed: false,
            used: Vec::new(),
            trust: Trust::Trusted,
            is_withheld: false,
            granted: 0,
            holder: None,
        }
    }

    fn holder(&mut self, name: &Name) -> Arc<Holder> {
        let identity = &self.identity;
        let holder = self.holder.get_or_insert_with(|| {
            let identity = identity.clone();
            Arc::new(Holder { agent: name.clone(), identity, fixed_ms: None })
        });
        holder.clone()
    }

    /// The session that speaks for it.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.presence {
            Presence::Present(session) => Some(session),
            Presence::Away(_) => None,
        }
    }

    /// What kind of agent it is, while a session speaks for it.
    pub(super) fn profile(&self) -> Option<ProfileId> {
        self.profile
    }

    /// How much of something its leases use.
    pub(super) fn used(&self, resource: &Name) -> u64 {
        self.used.iter().find(|(name, _)| name == resource).map_or(0, |(_, used)| *used)
    }

    /// Whether its leases use anything.
    pub(super) fn is_laden(&self) -> bool {
        !self.used.is_empty()
    }

    /// Whether it can be expected to take more, if not now then when it has finished something.
    fn is_willing(&self) -> bool {
        let is_silent = matches!(self.trust, Trust::Suspect { .. });
        self.session().is_some() && self.credit > 0 && !is_silent && !self.is_withheld
    }

    fn load(&mut self, resources: &[Resource]) {
        for Resource { name, amount } in resources {
            match self.used.iter_mut().find(|(known, _)| known == name) {
                Some((_, used)) => *used += u64::from(*amount),
                None => self.used.push((name.clone(), u64::from(*amount))),
            }
        }
    }

    fn unload(&mut self, resources: &[Resource]) {
        for Resource { name, amount } in resources {
            for (known, used) in &mut self.used {
                if known == name {
                    *used -= u64::from(*amount);
                }
            }
        }
        self.used.retain(|(_, used)| *used > 0);
    }

    fn is_idle(&self) -> bool {
        let credit = match self.trust {
            Trust::Trusted => self.credit,
            Trust::Suspect { .. } => 0,
            Trust::Tried { .. } => self.credit.min(1),
        };
        self.session().is_some() && self.leases.len() < credit as usize && !self.is_withheld
    }
}

/// Why agents that could do a task do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// All that fit.
    pub(super) agents: usize,
    declined: usize,
    silent: usize,
    limited: usize,
    busy: usize,
    full: usize,
}

impl Census {
    /// The same, to show.
    pub(super) fn why(self) -> Why {
        let Census { agents, declined, silent, limited, busy, full } = self;
        Why::NobodyIdle { agents, declined, silent, limited, busy, full }
    }
}

/// All agents that are remembered.
#[derive(Debug, Default)]
pub(super) struct Agents {
    by_name: HashMap<Name, Agent>,
    sessions: HashMap<SessionId, Name>,
    /// Who is offered nothing until when, whether or not it is here: coming again changes nothing.
    withheld: HashMap<Name, Tick>,
    /// By profile: who idles, longest without a grant first.
    idle: Vec<BTreeSet<(u64, Name)>>,
    /// Profiles of which somebody idles.
    idle_profiles: Bits,
    /// Everybody who takes more, now or when it has finished something; sorted.
    willing: Vec<Name>,
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
    pub(super) fn attach(
        &mut self,
        attach: Attach,
        eligible: &mut Eligible,
        now: Tick,
    ) -> Option<SessionId> {
        let Attach { session, agent: name, identity, credit, .. } = attach;
        let (capabilities, labels) = (attach.capabilities, attach.labels);
        let (capacity, queues) = (attach.capacity, attach.queues);
        let profile = Profile { capabilities, labels, capacity, queues };
        let profile = eligible.add_profile(profile);
        self.rest(&name);
        let agent = self
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Agent::remembered(identity.clone(), now));
        let former = agent.session().filter(|&former| former != session);
        if let Some(profile) = agent.profile.replace(profile) {
            eligible.drop_profile(profile);
        }
        agent.identity = identity;
        agent.presence = Presence::Present(session);
        agent.seen = now;
        agent.trust = Trust::Trusted;
        agent.credit = credit;
        agent.is_withheld = self.withheld.contains_key(&name);
        if let Some(former) = former {
            self.sessions.remove(&former);
        }
        self.sessions.insert(session, name.clone());
        self.review(&name);
        former
    }

    /// The session is over. Its agent, if it spoke for one, stays as long as it holds leases, at
    /// most until `until`.
    pub(super) fn detach(
        &mut self,
        session: SessionId,
        eligible: &mut Eligible,
        until: Tick,
    ) -> Option<Name> {
        let name = self.sessions.remove(&session)?;
        self.rest(&name);
        let agent = self.by_name.get_mut(&name)?;
        agent.presence = Presence::Away(until);
        if let Some(profile) = agent.profile.take() {
            eligible.drop_profile(profile);
        }
        self.list_willing(&name);
        Some(name)
    }

    /// A sign of life.
    pub(super) fn see(&mut self, name: &Name, now: Tick) {
        if let Some(agent) = self.by_name.get_mut(name) {
            agent.seen = now;
        }
    }

    /// It did something about a task: more than a sign of life.
    pub(super) fn trust(&mut self, name: &Name) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        if agent.trust != Trust::Trusted {
            agent.trust = Trust::Trusted;
            self.review(name);
        }
    }

    /// It let an offer or a lease run out: no more offers until it does something, or until the
    /// time that is returned.
    pub(super) fn suspect(&mut self, name: &Name, now: Tick) -> Option<Tick> {
        let agent = self.by_name.get_mut(name)?;
        let strikes = match agent.trust {
            Trust::Trusted => 1,
            Trust::Tried { strikes } => strikes + 1,
            // One silence ran out several offers.
            Trust::Suspect { until, .. } => return Some(until),
        };
        let patience_ms = SUSPICION_MS.saturating_mul(1 << (strikes - 1).min(16));
        let until = now.after(patience_ms.min(SUSPICION_MS_MAX));
        agent.trust = Trust::Suspect { strikes, until };
        self.review(name);
        Some(until)
    }

    /// It asked too much of a door: no more offers until then, or until what was said before if that is
    /// later. Gives what was said before.
    pub(super) fn withhold(&mut self, name: &Name, until: Tick) -> Option<Tick> {
        let said = self.withheld.get(name).copied();
        self.withheld.insert(name.clone(), until.max(said.unwrap_or_default()));
        if let Some(agent) = self.by_name.get_mut(name) {
            agent.is_withheld = true;
            self.review(name);
        }
        said
    }

    /// It may be offered something again.
    pub(super) fn end_withholding(&mut self, name: &Name) {
        self.withheld.remove(name);
        if let Some(agent) = self.by_name.get_mut(name) {
            agent.is_withheld = false;
            self.review(name);
        }
    }

    /// It was left alone for a while; perhaps long enough.
    pub(super) fn try_again(&mut self, name: &Name, now: Tick) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        if let Trust::Suspect { strikes, until } = agent.trust
            && until <= now
        {
            agent.trust = Trust::Tried { strikes };
            self.review(name);
        }
    }

    /// Lease `task` to an agent, which uses so much of it, for so long if the lease was taken;
    /// gives the holder to write into the row.
    pub(super) fn grant(
        &mut self,
        name: &Name,
        task: TaskId,
        resources: &[Resource],
        fixed_ms: Option<u64>,
    ) -> Option<Arc<Holder>> {
        self.rest(name);
        self.grants += 1;
        let agent = self.by_name.get_mut(name)?;
        agent.granted = self.grants;
        agent.leases.insert(task);
        agent.load(resources);
        let holder = match fixed_ms {
            None => agent.holder(name),
            Some(_) => {
                let identity = agent.identity.clone();
                Arc::new(Holder { agent: name.clone(), identity, fixed_ms })
            }
        };
        self.list_idle(name);
        Some(holder)
    }

    /// Take over a lease from before a restart; its agent is away until at least `until`.
    pub(super) fn adopt(
        &mut self,
        holder: &Holder,
        task: TaskId,
        resources: &[Resource],
        now: Tick,
        until: Tick,
    ) {
        let agent = self
            .by_name
            .entry(holder.agent.clone())
            .or_insert_with(|| Agent::remembered(holder.identity.clone(), now));
        if let Presence::Away(end) = &mut agent.presence {
            *end = until.max(*end);
        }
        agent.leases.insert(task);
        agent.load(resources);
    }

    /// The lease is over.
    pub(super) fn release(&mut self, name: &Name, task: TaskId, resources: &[Resource]) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        agent.leases.remove(&task);
        agent.unload(resources);
        if resources.is_empty() {
            self.review(name);
        } else {
            // It may have idled before and had no room.
            self.list_idle(name);
            self.rouse(name.clone());
        }
    }

    /// Something may be there now for this agent that was not there for it before.
    pub(super) fn rouse(&mut self, name: Name) {
        self.roused.push_back(name);
    }

    /// Forget an agent that nobody speaks for and that holds nothing; gives the deadline to clear.
    pub(super) fn forget_if_gone(&mut self, name: &Name) -> Option<Tick> {
        let agent = self.by_name.get(name)?;
        if agent.session().is_some() || !agent.leases.is_empty() {
            return None;
        }
        self.by_name.remove(name)?.watch
    }

    /// One agent that began to idle or has more room. Call until `None`.
    pub(super) fn take_roused(&mut self) -> Option<Name> {
        self.roused.pop_front()
    }

    /// Could this agent take a lease?
    pub(super) fn is_idle(&self, name: &Name) -> bool {
        self.by_name.get(name).is_some_and(Agent::is_idle)
    }

    /// The one agent of these profiles that keeps room for a task of this lane: of all that will
    /// take it sooner or later the first behind the place that its number points at, so that
    /// different tasks have different keepers, and each the same as long as nobody comes or goes.
    pub(super) fn keeper(&self, task: TaskId, profiles: &Bits, lane: &Lane) -> Option<&Name> {
        let start = task.0.checked_rem(self.willing.len() as u64)?;
        let (before, from) = self.willing.split_at(start as usize);
        from.iter().chain(before).find(|name| {
            let profile = self.by_name[*name].profile;
            profile.is_some_and(|profile| profiles.has(profile)) && lane.admits(name)
        })
    }

    /// Of the agents with these profiles, how many could take a task of this lane now, if it was
    /// for all of them? `has_room` says so of one that idles.
    pub(super) fn census(
        &self,
        profiles: &Bits,
        lane: &Lane,
        has_room: impl Fn(&Name) -> bool,
    ) -> Census {
        let mut census = Census::default();
        for (name, agent) in &self.by_name {
            if !agent.profile.is_some_and(|profile| profiles.has(profile)) {
                continue;
            }
            census.agents += 1;
            if lane.has_declined(name) {
                census.declined += 1;
            } else if matches!(agent.trust, Trust::Suspect { .. }) {
                census.silent += 1;
            } else if agent.is_withheld {
                census.limited += 1;
            } else if !agent.is_idle() {
                census.busy += 1;
            } else if !has_room(name) {
                census.full += 1;
            }
        }
        census
    }

    /// Of the idle agents for this lane that have room, the one that its tasks prefer, and of
    /// equally good ones the one that has been without a grant for longest.
    pub(super) fn idle_for(
        &self,
        lane: &Lane,
        eligible: &Eligible,
        has_room: impl Fn(&Name) -> bool,
    ) -> Option<Name> {
        let fitting = eligible.profiles(lane.class);
        if let Some(only) = &lane.only {
            let agent = self.by_name.get(only).filter(|agent| agent.is_idle())?;
            let fits = agent.profile.is_some_and(|profile| fitting.has(profile));
            return (fits && lane.admits(only) && has_room(only)).then(|| only.clone());
        }
        let idle = fitting.and(&self.idle_profiles).filter_map(|profile| {
            let score = Reverse(eligible.score(profile, &lane.spec));
            let idle = self.idle[profile as usize].iter();
            let mut idle = idle.map(|(granted, name)| (score, *granted, name));
            idle.find(|(_, _, name)| lane.admits(name) && has_room(name))
        });
        idle.min().map(|(_, _, name)| name.clone())
    }

    /// Take an agent off the idle list, until it is reviewed.
    fn rest(&mut self, name: &Name) {
        let Some(agent) = self.by_name.get(name) else { return };
        let Some(profile) = agent.profile else { return };
        let Some(idle) = self.idle.get_mut(profile as usize) else { return };
        idle.remove(&(agent.granted, name.clone()));
        self.idle_profiles.set(profile, !idle.is_empty());
    }

    /// Bring the idle list in line with what changed about one agent, which may begin to idle.
    fn review(&mut self, name: &Name) {
        if self.list_idle(name) {
            self.roused.push_back(name.clone());
        }
    }

    /// Bring the list of the willing in line with one agent.
    fn list_willing(&mut self, name: &Name) {
        let Some(agent) = self.by_name.get_mut(name) else { return };
        let is_willing = agent.is_willing();
        if agent.is_listed == is_willing {
            return;
        }
        agent.is_listed = is_willing;
        match self.willing.binary_search(name) {
            Ok(position) => drop(self.willing.remove(position)),
            Err(position) => self.willing.insert(position, name.clone()),
        }
    }

    /// Bring the idle list in line with one agent; gives whether it was added.
    fn list_idle(&mut self, name: &Name) -> bool {
        self.list_willing(name);
        let Some(agent) = self.by_name.get(name) else { return false };
        let Some(profile) = agent.profile else { return false };
        if !agent.is_idle() {
            self.rest(name);
            return false;
        }
        if self.idle.len() <= profile as usize {
            self.idle.resize_with(profile as usize + 1, BTreeSet::new);
        }
        self.idle_profiles.set(profile, true);
        self.idle[profile as usize].insert((agent.granted, name.clone()))
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
            labels: vec![],
            capacity: vec![],
            queues: vec![],
            credit,
            holding: vec![],
        }
    }

    #[test]
    fn credit_is_spent_by_leases_and_comes_back() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        agents.attach(attach(1, "a", 1), &mut eligible, Tick(0));
        assert_eq!(agents.take_roused(), Some(name("a")));
        agents.grant(&name("a"), TaskId(1), &[], None).unwrap();
        assert!(!agents.is_idle(&name("a")));
        agents.release(&name("a"), TaskId(1), &[]);
        assert_eq!(agents.take_roused(), Some(name("a")));
    }

    #[test]
    fn a_suspect_idles_again_when_it_does_something_and_not_when_it_only_speaks() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        agents.attach(attach(1, "a", 2), &mut eligible, Tick(0));
        agents.suspect(&name("a"), Tick(0));
        agents.see(&name("a"), Tick(1));
        assert!(!agents.is_idle(&name("a")));
        agents.trust(&name("a"));
        assert!(agents.is_idle(&name("a")));
    }

    #[test]
    fn a_suspect_is_tried_with_one_task_after_ever_longer_whiles() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        agents.attach(attach(1, "a", 2), &mut eligible, Tick(0));
        let first = agents.suspect(&name("a"), Tick(0)).unwrap();
        assert_eq!(agents.suspect(&name("a"), Tick(1)), Some(first), "still the same silence");
        agents.try_again(&name("a"), Tick(first.0 - 1));
        assert!(!agents.is_idle(&name("a")));
        agents.try_again(&name("a"), first);
        assert!(agents.is_idle(&name("a")));
        agents.grant(&name("a"), TaskId(1), &[], None).unwrap();
        assert!(!agents.is_idle(&name("a")), "one task is enough to see");
        agents.release(&name("a"), TaskId(1), &[]);
        let second = agents.suspect(&name("a"), first).unwrap();
        assert_eq!(second.0 - first.0, 2 * first.0);
    }

    #[test]
    fn who_asks_too_much_is_offered_nothing_for_a_while_whatever_it_does() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        assert_eq!(agents.withhold(&name("a"), Tick(60)), None, "nobody knows it yet");
        agents.attach(attach(1, "a", 2), &mut eligible, Tick(0));
        assert!(!agents.is_idle(&name("a")));
        assert_eq!(agents.withhold(&name("a"), Tick(50)), Some(Tick(60)));
        assert_eq!(agents.withhold(&name("a"), Tick(70)), Some(Tick(60)), "not the shorter while");
        assert!(agents.find(&name("a")).is_some_and(|agent| !agent.is_willing()));
        agents.detach(SessionId(1), &mut eligible, Tick(1));
        agents.forget_if_gone(&name("a"));
        agents.attach(attach(2, "a", 2), &mut eligible, Tick(1));
        agents.trust(&name("a"));
        assert!(!agents.is_idle(&name("a")));
        while agents.take_roused().is_some() {}
        agents.end_withholding(&name("a"));
        assert_eq!(agents.take_roused(), Some(name("a")));
        assert!(agents.is_idle(&name("a")) && agents.withheld.is_empty());
    }

    #[test]
    fn the_newer_session_speaks_and_the_older_one_does_not() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        assert_eq!(agents.attach(attach(1, "a", 1), &mut eligible, Tick(0)), None);
        assert_eq!(agents.attach(attach(2, "a", 1), &mut eligible, Tick(0)), Some(SessionId(1)));
        assert_eq!(agents.speaker(SessionId(1)), None);
        assert_eq!(agents.detach(SessionId(1), &mut eligible, Tick(9)), None);
        assert!(agents.is_idle(&name("a")));
    }

    #[test]
    fn an_agent_without_session_and_lease_is_forgotten() {
        let (mut agents, mut eligible) = (Agents::default(), Eligible::default());
        agents.attach(attach(1, "a", 1), &mut eligible, Tick(0));
        agents.grant(&name("a"), TaskId(1), &[], None).unwrap();
        agents.detach(SessionId(1), &mut eligible, Tick(9));
        agents.forget_if_gone(&name("a"));
        assert!(agents.find(&name("a")).is_some());
        agents.release(&name("a"), TaskId(1), &[]);
        agents.forget_if_gone(&name("a"));
        assert!(agents.find(&name("a")).is_none());
    }
}
