//! Sessions come and go; leases stay with the agent. The half of [`Core`] for T14-T19.

use super::Core;
use super::agent::Agent;
use super::command::{
    Attach, Continued, Generation, Name, Now, Push, Rejection, Reply, SessionId, SessionView,
    State, Stopped, TaskId,
};
use super::lease::lose_lease;
use super::live::Due;
use super::record::TaskRow;

/// Most leases in one resume list: an agent holds no more than the largest credit there is.
const HOLDING_MAX: usize = 1_000;

impl Core {
    /// T15-T17. What the agent still works on goes on; what it does not name, it has lost.
    pub(super) fn attach(&mut self, attach: Attach, now: Now) -> Result<Reply, Rejection> {
        if attach.holding.len() > HOLDING_MAX {
            let what = "the number of leases that a session resumes";
            return Err(Rejection::LimitReached { what, max: HOLDING_MAX as u64 });
        }
        let (agent, session) = (attach.agent.clone(), attach.session);
        if self.agents.find(&agent).is_some_and(|known| known.identity != attach.identity) {
            return Err(Rejection::NameTaken { agent });
        }
        let holding = attach.holding.clone();
        // One that only says something else about its agent than before has lost nothing.
        let is_new = self.agents.speaker(session) != Some(&agent);
        self.speak_for(attach, now);
        if is_new {
            self.drop_unnamed(&agent, &holding, now);
        }
        let mut continued = Vec::new();
        let mut stopped = Vec::new();
        for (task, generation) in holding {
            match self.resume(&agent, task, generation, now) {
                Some(lease) => continued.push(lease),
                None => {
                    let open = self.tasks.get(task);
                    let state = open.map(|task| task.row.state());
                    stopped.push(Stopped { task, generation, state });
                }
            }
        }
        // Its agent may be able to do more now than when it began to wait.
        for queue in self.takes.queues_of(session) {
            self.serve_takes(&queue, now);
        }
        let session = SessionView { agent, epoch: self.new_epoch() };
        Ok(Reply::Attached { session, continued, stopped })
    }

    /// Let a session speak for an agent whose identity was compared, and for no other.
    pub(super) fn speak_for(&mut self, attach: Attach, now: Now) {
        let session = attach.session;
        let speaker = self.agents.speaker(session);
        if speaker.is_some_and(|speaker| *speaker != attach.agent) {
            self.leave(session, now);
        }
        if let Some(former) = self.agents.attach(attach, &mut self.eligible, now.tick) {
            self.stop_takes_of(former);
            self.deliver(former, Push::Replaced);
        }
    }

    /// T14: a session speaks for its agent no more, whose leases have their grace period.
    pub(super) fn leave(&mut self, session: SessionId, now: Now) {
        self.stop_takes_of(session);
        let until = now.tick.after(self.config.grace_ms);
        let Some(agent) = self.agents.detach(session, &mut self.eligible, until) else { return };
        self.watch_leases(&agent, until);
        self.forget_if_gone(&agent);
    }

    /// T17: leases that the agent does not name are lost at once. Those that it took itself do not
    /// depend on its sessions.
    fn drop_unnamed(&mut self, agent: &Name, holding: &[(TaskId, Generation)], now: Now) {
        let Some(known) = self.agents.find(agent) else { return };
        let is_lost = |id: &TaskId| {
            let row = &self.tasks[*id].row;
            let is_fixed = row.holder().is_some_and(|holder| holder.fixed_ms.is_some());
            !is_fixed && !holding.contains(&(*id, row.generation))
        };
        let lost: Vec<TaskId> = known.leases.iter().copied().filter(is_lost).collect();
        for id in lost {
            self.change(id, now, lose_lease);
        }
    }

    /// T15: a lease goes on under its generation; `None` if the agent does not have it (T16).
    fn resume(
        &mut self,
        agent: &Name,
        id: TaskId,
        generation: Generation,
        now: Now,
    ) -> Option<Continued> {
        let offer_ms = self.config.offer_ms;
        let task = self.tasks.get_mut(id)?;
        let TaskRow { generation: current, spec, .. } = &task.row;
        let lease_ms = spec.patience.lease_ms;
        let holder = task.row.holder()?;
        if *current != generation || holder.agent != *agent {
            return None;
        }
        let is_fixed = holder.fixed_ms.is_some();
        if task.row.state() == State::Offered {
            task.set(Due::Offer, now.tick.after(offer_ms));
        } else if !is_fixed {
            self.watch_leases(agent, now.tick.after(lease_ms));
        }
        self.arm(id);
        let details = self.tasks[id].row.details();
        Some(Continued {
            task: id,
            generation,
            is_cancelling: details.cancelling.is_some(),
            progress_seq: details.progress_seq,
        })
    }

    /// What an agent holds, by task.
    pub(super) fn holds(&self, agent: &Name) -> Reply {
        let leases = self.agents.find(agent).into_iter().flat_map(|agent| &agent.leases);
        Reply::Holding(leases.map(|id| (*id, self.tasks[*id].row.generation)).collect())
    }

    /// The session that speaks for an agent.
    pub(super) fn session_of(&self, agent: &Name) -> Option<SessionId> {
        self.agents.find(agent).and_then(Agent::session)
    }
}
