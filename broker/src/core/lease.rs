//! What a holder does with its lease, and what silence does to it.
//!
//! The half of [`Core`] that deals with leased tasks. Whether an operation may act is decided by
//! `fence.rs`, what it does to the task by `task.rs`; here the two are connected with the agent's
//! side of the lease.
//!
//! An accepted lease lasts until its agent was silent for `lease_ms`, or away for the grace
//! period. There is one deadline per agent, not per lease: it is set to the soonest moment at
//! which any of its leases *could* end, and when it comes, the leases are looked at and it is set
//! again. An agent that speaks only writes down the time. (A lease that was *taken* has a timer
//! of its own instead, and does not care what becomes of its agent.)

use super::agent::{Agent, Presence};
use super::command::{
    Action, DeadReason, LeaseOp, Name, Now, Push, Rejection, Reply, Retry, State, TaskId, Tick,
};
use super::fence::{self, Verdict};
use super::limits::{CHECKPOINT_BYTES_MAX, CoreConfig};
use super::live::Due;
use super::record::{BodyKind, Phase, Record, TaskRow};
use super::task::{Failed, Moment, Task};
use super::timers::Timer;
use super::{Core, Step};

impl Core {
    /// T10-T13, T20-T28, T38 and T40, for an open task or one that is shown in `rows`.
    pub(super) fn lease_op(
        &mut self,
        op: LeaseOp,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        let id = op.task;
        let agent = self.agents.speaker(op.session).ok_or(Rejection::NotAttached)?.clone();
        // Whatever comes of it, the agent does something.
        self.agents.see(&agent, now.tick);
        self.agents.trust(&agent);
        let row = match self.tasks.get(id) {
            Some(task) => &task.row,
            None => self.over(id, rows)?,
        };
        match fence::judge(row, &op, &agent, self.config.releases_max)? {
            Verdict::Replayed(state) => Ok(Reply::Done { task: id, state, duplicate: true }),
            Verdict::Numbered(seq) => Ok(Reply::Numbered { task: id, seq, duplicate: true }),
            Verdict::Act => self.act(op, &agent, rows, now),
        }
    }

    /// Do what the fence let through.
    fn act(
        &mut self,
        op: LeaseOp,
        agent: &Name,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        let LeaseOp { task: id, generation, action, .. } = op;
        if let Action::Checkpoint { data, .. } = &action
            && data.len() > CHECKPOINT_BYTES_MAX
        {
            let (what, max) = ("the number of bytes of a checkpoint", CHECKPOINT_BYTES_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        let parent = match &action {
            Action::Park(park) => self.check_park(id, park).map(|()| None)?,
            Action::Spawn(spawn) => {
                let parent = self.check_spawn(id, spawn)?;
                self.check_batch(&spawn.children, rows)?;
                Some(parent)
            }
            _ => None,
        };
        let end = fence::ending(&action);
        // T11. What ends the lease for sure needs no acceptance of its own first.
        let is_end = end.is_some() && !matches!(action, Action::Park(_));
        if self.tasks[id].row.state() == State::Offered && !is_end {
            self.accept(id, agent, now);
        }
        let is_cancelling = self.tasks[id].row.details().cancelling.is_some();
        let remember = |task: &mut Task| {
            if let Some((verb, digest)) = end {
                task.remember(generation, agent.clone(), verb, digest);
            }
        };
        match action {
            Action::Accept => {}
            Action::Progress { data, .. } => return Ok(self.report(id, data, now)),
            Action::Checkpoint { seq, data } => return Ok(self.checkpoint(id, seq, data, now)),
            Action::Busy { for_ms } => self.adjust(id, |task| {
                if task.timer(Due::Progress) != super::live::NEVER {
                    task.set(Due::Progress, now.tick.after(for_ms));
                }
            }),
            Action::Extend { lease_ms } => self.adjust(id, |task| {
                if task.row.holder().is_some_and(|holder| holder.fixed_ms.is_some()) {
                    task.set(Due::Lease, now.tick.after(lease_ms));
                }
            }),
            Action::Ack => {
                self.end_and_forget(id, now, |task, _, at| task.complete(at));
                let state = State::Completed;
                return Ok(Reply::Done { task: id, state, duplicate: false });
            }
            Action::Complete { result } => {
                self.persist(Record::Body { task: id, kind: BodyKind::Result, bytes: result });
                return Ok(self.end(id, now, |task, _, at| {
                    task.complete(at);
                    remember(task);
                }));
            }
            Action::CancelAck { result } => {
                self.persist(Record::Body { task: id, kind: BodyKind::Result, bytes: result });
                return Ok(self.end(id, now, |task, _, at| {
                    task.stop(true, at);
                    remember(task);
                }));
            }
            Action::Spawn(spawn) => {
                let children = self.submit_all(spawn.children, parent, rows, now)?;
                return Ok(Reply::SubmittedBatch(children));
            }
            Action::Fail { .. } | Action::Release { .. } | Action::Park(_) if is_cancelling => {
                return Ok(self.end(id, now, |task, _, at| {
                    task.stop(false, at);
                    remember(task);
                }));
            }
            Action::Fail { error, retry } => {
                let reason = match retry {
                    Retry::Never => DeadReason::NonRetryable,
                    Retry::Backoff { .. } | Retry::In(_) | Retry::Throttled(_) => {
                        DeadReason::Failed
                    }
                };
                if let Retry::Throttled(for_ms) = retry {
                    let spec = self.tasks[id].row.spec.clone();
                    self.backlog.shut_rates(&spec, now.tick.after(for_ms));
                }
                return Ok(self.end(id, now, |task, config, at| {
                    task.fail(&Failed { error: &error, retry, reason }, config, at);
                    remember(task);
                }));
            }
            Action::Park(park) => return Ok(self.park(id, park, now, remember)),
            Action::Release { delay_ms } => {
                return Ok(self.end(id, now, |task, _, at| {
                    task.release(delay_ms, at);
                    remember(task);
                }));
            }
            Action::Decline { retry_after_ms, .. } => {
                return Ok(self.end(id, now, |task, config, at| {
                    task.decline(retry_after_ms, config, at);
                    remember(task);
                }));
            }
        }
        Ok(Reply::Done { task: id, state: State::Running, duplicate: false })
    }

    /// An arrow that ends the lease; tells the state that follows.
    fn end(
        &mut self,
        id: TaskId,
        now: Now,
        arrow: impl FnOnce(&mut Task, &CoreConfig, Moment),
    ) -> Reply {
        let state = self.change(id, now, |task, config, at| {
            arrow(task, config, at);
            task.row.state()
        });
        Reply::Done { task: id, state, duplicate: false }
    }

    /// T10. From here on the lease lasts as long as its agent gives signs of life.
    fn accept(&mut self, id: TaskId, agent: &Name, now: Now) {
        let ends = self.change(id, now, |task, _, at| {
            task.accept(at);
            let floor = task.live().lease_floor;
            at.tick.after(task.row.spec.patience.lease_ms).max(floor)
        });
        self.watch_leases(agent, ends);
    }

    /// T20.
    fn report(&mut self, id: TaskId, data: std::sync::Arc<[u8]>, now: Now) -> Reply {
        let at = self.moment(now);
        let from = Some(self.tasks[id].row.state());
        let progress = self.task(id).report(data, at);
        let seq = progress.seq;
        self.persist_task(id);
        self.announce(id, Step { from, has_failed: false }, Some(progress));
        self.arm(id);
        Reply::Numbered { task: id, seq, duplicate: false }
    }

    /// T22.
    fn checkpoint(
        &mut self,
        id: TaskId,
        seq: Option<u64>,
        bytes: std::sync::Arc<[u8]>,
        now: Now,
    ) -> Reply {
        let at = self.moment(now);
        let task = self.task(id);
        let next = task.row.details().checkpoint_seq.map_or(1, |last| last + 1);
        let seq = seq.unwrap_or(next);
        task.checkpoint(seq, at);
        self.persist(Record::Body { task: id, kind: BodyKind::Checkpoint, bytes });
        self.persist_task(id);
        self.arm(id);
        Reply::Numbered { task: id, seq, duplicate: false }
    }

    /// Move a timer of a leased task; nothing else about it changes.
    fn adjust(&mut self, id: TaskId, set: impl FnOnce(&mut Task)) {
        set(self.task(id));
        self.arm(id);
    }

    /// T18, for the leases of `agent` that have run out; then set its deadline again.
    pub(super) fn handle_watch(&mut self, agent: &Name, now: Now) {
        let due = self.agents.set_watch(agent, None);
        let Some(known) = self.agents.find(agent) else { return };
        let mut leases: Vec<(Tick, TaskId)> =
            known.leases.iter().filter_map(|&id| Some((self.lease_ends(id, known)?, id))).collect();
        leases.sort_unstable();
        // Set lazily: a sign of life came since. Who looks late may find that this lease has run out
        // all the same; but then something else may have come before.
        if let Some(&(ends, _)) = leases.first()
            && due.is_some_and(|due| due < ends)
        {
            return self.watch_leases(agent, ends);
        }
        for (ends, id) in leases {
            if ends > now.tick {
                return self.watch_leases(agent, ends);
            }
            // It may have been the child of one before, which ended with that.
            if self.tasks.get(id).and_then(|task| task.row.holder()).is_some() {
                self.suspect(agent, now);
                self.revoke(id, now);
                self.tell_dependents(now);
            }
        }
    }

    /// When a lease of `agent` ends if nothing more is heard. An offer to an agent that is present
    /// has a timer of its own, and so has a lease that was taken.
    pub(super) fn lease_ends(&self, id: TaskId, agent: &Agent) -> Option<Tick> {
        let task = self.tasks.get(id)?;
        let floor = task.live.as_ref().map_or(Tick(0), |live| live.lease_floor);
        let silent = agent.seen.after(task.row.spec.patience.lease_ms).max(floor);
        match (&task.row.phase, agent.presence) {
            (Phase::Running(holder), _) if holder.fixed_ms.is_some() => None,
            (Phase::Running(_), Presence::Present(_)) => Some(silent),
            (Phase::Running(_), Presence::Away(until)) => Some(silent.min(until)),
            (_, Presence::Away(until)) => Some(until),
            (_, Presence::Present(_)) => None,
        }
    }

    /// T13, T17, T18, T40: take a lease away from its agent, whatever it was doing.
    pub(super) fn revoke(&mut self, id: TaskId, now: Now) {
        self.take_away(id, now, lose_lease);
    }

    /// An arrow by which the broker ends a lease; its agent is told, if it can be.
    pub(super) fn take_away(
        &mut self,
        id: TaskId,
        now: Now,
        arrow: impl FnOnce(&mut Task, &CoreConfig, Moment),
    ) -> State {
        let row = &self.tasks[id].row;
        let generation = row.generation;
        let agent = row.holder().expect("only a leased task is taken away").agent.clone();
        let session = self.agents.find(&agent).and_then(Agent::session);
        let state = self.change(id, now, |task, config, at| {
            arrow(task, config, at);
            task.row.state()
        });
        if let Some(session) = session {
            self.deliver(session, Push::Revoked { task: id, generation, state });
        }
        state
    }

    /// An agent let an offer or a lease run out.
    pub(super) fn suspect(&mut self, agent: &Name, now: Now) {
        if let Some(until) = self.agents.suspect(agent, now.tick) {
            self.deadlines.set(until, Timer::Trial(agent.clone()));
        }
    }

    /// An agent is offered nothing until then.
    pub(super) fn withhold(&mut self, agent: &Name, until: Tick) {
        let said = self.agents.withhold(agent, until);
        if let Some(said) = said {
            self.deadlines.clear(said, Timer::Amnesty(agent.clone()));
        }
        let until = until.max(said.unwrap_or_default());
        self.deadlines.set(until, Timer::Amnesty(agent.clone()));
    }

    /// Look at the leases of `agent` at `at` at the latest.
    pub(super) fn watch_leases(&mut self, agent: &Name, at: Tick) {
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
        self.tasks.get_mut(id).expect("a leased task is open")
    }
}

/// What becomes of a leased task whose agent is not there any more.
pub(super) fn lose_lease(task: &mut Task, config: &CoreConfig, at: Moment) {
    if task.row.state() == State::Offered {
        task.expire_offer(config, at);
    } else if task.row.details().cancelling.is_some() {
        task.stop_by_force(at);
    } else {
        task.lose(config, at);
    }
}
