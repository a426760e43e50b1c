//! What a holder does with its lease, and what time does to it.
//!
//! The half of [`Core`] that deals with leased tasks. Whether an operation may act is decided by
//! `fence.rs`, what it does to the task by `task.rs`; here the two are connected with the agent's
//! side of the lease.
//!
//! An accepted lease lasts until its agent was silent for `lease_ms`, or away for the grace
//! period. There is one deadline per agent, not per lease: it is set to the soonest moment at
//! which any of its leases *could* end, and when it comes, the leases are looked at and it is set
//! again. An agent that speaks only writes down the time.

use super::agent::{Agent, Presence};
use super::command::{
    Action, LeaseOp, Name, Now, Push, Rejection, Reply, SessionId, State, TaskId, Tick,
};
use super::fence::{self, Verdict};
use super::limits::PROGRESS_BYTES_MAX;
use super::record::{BodyKind, Loaded, Phase, Record};
use super::task::{Failure, Task};
use super::{Core, Timer};

impl Core {
    /// T10-T13, T20, T25, T26, for an open task or one that is shown in `loaded`.
    pub(super) fn lease_op(
        &mut self,
        op: LeaseOp,
        loaded: Option<Loaded>,
        now: Now,
    ) -> Result<Reply, Rejection> {
        let id = op.task;
        let agent = self.agents.speaker(op.session).ok_or(Rejection::NotAttached)?.clone();
        let open = self.tasks.get(&id).map(|task| &task.row);
        let row = open.or(loaded.as_ref().map(|loaded| &loaded.row));
        let row = row.ok_or(Rejection::NotFound { task: id })?;
        if let Verdict::Replayed(state) = fence::judge(row, &op, &agent)? {
            return Ok(Reply::Done { task: id, state, duplicate: true });
        }
        self.agents.see(&agent, now.tick);
        let state = self.act(id, op.action, &agent, now);
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// Do what the fence let through; gives the state that follows.
    fn act(&mut self, id: TaskId, action: Action, agent: &Name, now: Now) -> State {
        let at = self.moment(now);
        let digest = fence::ending(&action).map_or(0, |(_, digest)| digest);
        match action {
            Action::Accept => {
                self.accept(id, agent, now);
                State::Running
            }
            Action::Progress { data } => {
                if self.task(id).row.state() == State::Offered {
                    self.accept(id, agent, now);
                }
                let kept = &data[..data.len().min(PROGRESS_BYTES_MAX)];
                self.task(id).progress = Some(kept.into());
                self.announce(id, Some(data));
                State::Running
            }
            Action::Complete { result } => {
                self.persist(Record::Body { task: id, kind: BodyKind::Result, bytes: result });
                self.task(id).complete(digest, at);
                self.end_lease(id, agent, now)
            }
            Action::Fail { error, retryable, retry_after_ms } => {
                let failure = Failure { error: &error, retryable, retry_after_ms, digest };
                let task = self.tasks.get_mut(&id).expect("a leased task is open");
                task.fail(&failure, &self.config, at);
                self.end_lease(id, agent, now)
            }
            Action::Decline { .. } => {
                let task = self.tasks.get_mut(&id).expect("a leased task is open");
                task.decline(digest, &self.config, at);
                self.end_lease(id, agent, now)
            }
        }
    }

    /// T10. From here on the lease lasts as long as its agent gives signs of life.
    fn accept(&mut self, id: TaskId, agent: &Name, now: Now) {
        let at = self.moment(now);
        self.stop_timer(id);
        let task = self.task(id);
        task.accept(at);
        let ends = Tick(now.tick.0.saturating_add(task.row.lease_ms)).max(task.lease_floor);
        self.watch(agent, ends);
        self.persist_task(id);
        self.announce(id, None);
    }

    /// The task has left its lease already; free the agent and settle the task.
    fn end_lease(&mut self, id: TaskId, agent: &Name, now: Now) -> State {
        self.stop_timer(id);
        self.agents.release(agent, id);
        self.forget_if_gone(agent);
        let state = self.task(id).row.state();
        self.settle(id, now);
        state
    }

    /// T13.
    pub(super) fn handle_offer_expired(&mut self, id: TaskId, now: Now) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.timer = None;
        if let Phase::Offered(holder) = &task.row.phase {
            let agent = holder.agent.clone();
            self.agents.suspect(&agent);
            self.revoke(id, &agent, now);
        }
    }

    /// T18, for the leases of `agent` that have run out; then set its deadline again.
    pub(super) fn handle_watch(&mut self, agent: &Name, now: Now) {
        self.agents.set_watch(agent, None);
        let Some(known) = self.agents.find(agent) else { return };
        let leases: Vec<(Tick, TaskId)> =
            known.leases.iter().filter_map(|&id| Some((self.lease_ends(id, known)?, id))).collect();
        let mut next: Option<Tick> = None;
        for (ends, id) in leases {
            if ends <= now.tick {
                self.agents.suspect(agent);
                self.revoke(id, agent, now);
            } else {
                next = Some(next.map_or(ends, |next| next.min(ends)));
            }
        }
        if let Some(next) = next {
            self.watch(agent, next);
        }
    }

    /// When a lease of `agent` ends if nothing more is heard; an offer to an agent that is present
    /// has a timer of its own.
    fn lease_ends(&self, id: TaskId, agent: &Agent) -> Option<Tick> {
        let Task { row, lease_floor, .. } = &**self.tasks.get(&id)?;
        let silent = Tick(agent.seen.0.saturating_add(row.lease_ms)).max(*lease_floor);
        match (&row.phase, agent.presence) {
            (Phase::Running(_), Presence::Present(_)) => Some(silent),
            (Phase::Running(_), Presence::Away(until)) => Some(silent.min(until)),
            (_, Presence::Away(until)) => Some(until),
            (_, Presence::Present(_)) => None,
        }
    }

    /// Take a lease away from its agent, whatever it was doing.
    fn revoke(&mut self, id: TaskId, agent: &Name, now: Now) {
        let at = self.moment(now);
        let session = self.agents.find(agent).and_then(Agent::session);
        let task = self.tasks.get_mut(&id).expect("a leased task is open");
        let generation = task.row.generation;
        match task.row.state() {
            State::Offered => task.expire_offer(&self.config, at),
            _ => task.lose(&self.config, at),
        }
        let state = self.end_lease(id, agent, now);
        if let Some(session) = session {
            self.deliver(session, Push::Revoked { task: id, generation, state });
        }
    }

    /// A session took over: it hears of every lease of its agent, under the same generation, so
    /// it can go on or start over without a second grant.
    pub(super) fn offer_again(&mut self, agent: &Name, session: SessionId, now: Now) {
        let Some(known) = self.agents.find(agent) else { return };
        for id in known.leases.clone() {
            match self.task(id).row.state() {
                State::Offered => self.start_offer(id, now.tick.0 + self.config.offer_ms),
                _ => {
                    let lease_ms = self.task(id).row.lease_ms;
                    self.watch(agent, Tick(now.tick.0.saturating_add(lease_ms)));
                }
            }
            self.deliver_offer(id, session);
        }
    }

    /// Look at the leases of `agent` at `at` at the latest.
    pub(super) fn watch(&mut self, agent: &Name, at: Tick) {
        let Some(known) = self.agents.find(agent) else { return };
        if known.watch.is_some_and(|set| set <= at) {
            return;
        }
        if let Some(later) = self.agents.set_watch(agent, Some(at)) {
            self.deadlines.clear(later, Timer::Watch(agent.clone()));
        }
        self.deadlines.set(at, Timer::Watch(agent.clone()));
    }

    /// Forget an agent that nobody speaks for and that holds nothing.
    pub(super) fn forget_if_gone(&mut self, agent: &Name) {
        if let Some(at) = self.agents.forget_if_gone(agent) {
            self.deadlines.clear(at, Timer::Watch(agent.clone()));
        }
    }

    /// A task that is leased, and therefore open.
    fn task(&mut self, id: TaskId) -> &mut Task {
        self.tasks.get_mut(&id).expect("a leased task is open")
    }
}
