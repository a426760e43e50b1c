//! What a holder does with its lease: the checks of 2.4 in their order, then the row.

use agentcom_broker::core::command::{
    Action, Generation, LeaseOp, Park, Progress, Push, Rejection, Reply, Retry, State, TaskId,
};

use super::task::{Due, LeaseEnd};
use super::{Clocks, Model, Outcome, Task};

/// The operations that end a lease, as a conflict names them.
fn ending(action: &Action) -> Option<&'static str> {
    match action {
        Action::Accept
        | Action::Progress { .. }
        | Action::Busy { .. }
        | Action::Checkpoint { .. }
        | Action::Extend { .. }
        | Action::Spawn(_) => None,
        Action::Park(park) => (park.hold_ms == 0).then_some("park"),
        Action::Decline { .. } => Some("decline"),
        Action::Complete { .. } | Action::Ack => Some("complete"),
        Action::Fail { .. } => Some("fail"),
        Action::Release { .. } => Some("release"),
        Action::CancelAck { .. } => Some("cancel_ack"),
    }
}

impl Model {
    pub(super) fn lease(&mut self, op: &LeaseOp) -> Outcome {
        let id = op.task;
        let agent = self.speaker(op.session).ok_or(Rejection::NotAttached)?;
        self.trust(&agent);
        let task = self.known(id)?;
        let (state, current) = (task.state, Generation(task.generation));
        if let Some(end) = &task.end
            && (end.generation, &end.agent) == (op.generation.0, &agent)
        {
            if end.action == op.action {
                return Ok(Reply::Done { task: id, state: end.outcome, duplicate: true });
            }
            let recorded = ending(&end.action).expect("it ended the lease");
            return Err(Rejection::Conflict { task: id, generation: op.generation, recorded });
        }
        let invalid = Err(Rejection::InvalidState { task: id, state, generation: current });
        if !task.is_leased() {
            return invalid;
        }
        if op.generation != current {
            let found = op.generation;
            return Err(Rejection::StaleGeneration { task: id, found, current, state });
        }
        if !task.is_held_by(&agent) {
            return Err(Rejection::NotOwner { task: id, agent });
        }
        let is_running = state == State::Running;
        let is_cancelling = task.cancelling.is_some();
        let releases_max = self.config.releases_max;
        let numbered = |seq| Ok(Reply::Numbered { task: id, seq, duplicate: true });
        match &op.action {
            Action::Accept if is_running => {
                return Ok(Reply::Done { task: id, state, duplicate: true });
            }
            Action::Decline { .. } if is_running => return invalid,
            Action::CancelAck { .. } if !is_cancelling => return invalid,
            Action::Release { .. } if task.releases >= releases_max && !is_cancelling => {
                let what = "the number of times a task is handed back";
                return Err(Rejection::LimitReached { what, max: releases_max.into() });
            }
            Action::Progress { seq: Some(seq), .. } if *seq <= task.progress_seq => {
                return numbered(*seq);
            }
            Action::Progress { seq: Some(found), .. } if *found > task.progress_seq + 1 => {
                let (found, expected) = (*found, task.progress_seq + 1);
                return Err(Rejection::Gap { task: id, found, expected });
            }
            Action::Checkpoint { seq: Some(seq), .. } if *seq < task.next_checkpoint() => {
                return numbered(*seq);
            }
            Action::Checkpoint { seq: Some(found), .. } if *found > task.next_checkpoint() => {
                let (found, expected) = (*found, task.next_checkpoint());
                return Err(Rejection::Gap { task: id, found, expected });
            }
            _ => {}
        }
        match &op.action {
            Action::Park(park) => self.check_park(id, park)?,
            Action::Spawn(spawn) => self.check_batch(&spawn.children)?,
            _ => {}
        }
        // T11.
        let is_end = ending(&op.action).is_some() && !matches!(op.action, Action::Park(_));
        if state == State::Offered && !is_end {
            self.change(id, |task, at| {
                task.timers.remove(&Due::Offer);
                task.state = State::Running;
                task.begin_attempt(at.tick);
            });
        }
        if let Action::Spawn(spawn) = &op.action {
            return self.spawn(id, spawn);
        }
        Ok(self.act(op, is_cancelling))
    }

    fn act(&mut self, op: &LeaseOp, is_cancelling: bool) -> Reply {
        let (id, tick) = (op.task, self.tick);
        let task = self.tasks.get_mut(&id).expect("a leased task");
        match &op.action {
            Action::Accept | Action::Spawn(_) => {}
            Action::Progress { data, .. } => {
                task.progress_seq += 1;
                let seq = task.progress_seq;
                task.progress = Some(data.clone());
                task.prove_progress(tick);
                (task.updated, task.event_seq) = (self.wall, task.event_seq + 1);
                let from = Some(self.tasks[&id].state);
                self.announce(id, from, false, Some(Progress { seq, data: data.clone() }));
                return Reply::Numbered { task: id, seq, duplicate: false };
            }
            Action::Checkpoint { seq, data } => {
                let seq = seq.unwrap_or(task.next_checkpoint());
                task.checkpoint = Some((seq, data.clone()));
                task.prove_progress(tick);
                return Reply::Numbered { task: id, seq, duplicate: false };
            }
            Action::Busy { for_ms } => {
                if let Some(due) = task.timers.get_mut(&Due::Progress) {
                    *due = tick + for_ms;
                }
            }
            Action::Extend { lease_ms } => {
                if task.fixed_ms.is_some() {
                    task.timers.insert(Due::Lease, tick + lease_ms);
                }
            }
            Action::Ack => {
                self.change(id, |task, _| task.finish(State::Completed));
                self.tasks.remove(&id);
                return Reply::Done { task: id, state: State::Completed, duplicate: false };
            }
            Action::Complete { result } => self.end(op, |task, _| {
                task.result = Some(result.clone());
                task.finish(State::Completed);
            }),
            Action::CancelAck { result } => self.end(op, |task, _| {
                task.result = Some(result.clone());
                task.stop();
            }),
            Action::Park(Park { hold_ms: 1.., .. }) if is_cancelling => {
                self.change(id, |task, _| task.stop());
            }
            Action::Fail { .. } | Action::Release { .. } | Action::Park(_) if is_cancelling => {
                self.end(op, |task, _| task.stop());
            }
            Action::Park(park) => {
                let agent = task.agent.clone().expect("a leased task");
                let (generation, action) = (op.generation.0, op.action.clone());
                return self.park(id, park, |task| {
                    let outcome = task.state;
                    task.end = Some(LeaseEnd { generation, agent, action, outcome });
                });
            }
            Action::Fail { error, retry } => {
                if let Retry::Throttled(for_ms) = retry {
                    for limit in self.tasks[&id].spec.rates.iter() {
                        let until = self.shut.entry(limit.clone()).or_default();
                        *until = (*until).max(self.tick + for_ms);
                    }
                }
                self.end(op, |task, at| task.fail(id, error.clone(), *retry, false, at));
            }
            Action::Release { delay_ms } => self.end(op, |task, at| task.release(*delay_ms, at)),
            Action::Decline { retry_after_ms, .. } => {
                self.end(op, |task, at| task.decline(*retry_after_ms, at));
            }
        }
        Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false }
    }

    /// The holder itself ends its lease, and that is remembered.
    fn end(&mut self, op: &LeaseOp, arrow: impl FnOnce(&mut Task, &Clocks)) {
        self.change(op.task, |task, at| {
            let (generation, action) = (op.generation.0, op.action.clone());
            let agent = task.agent.clone().expect("a leased task");
            arrow(task, at);
            let outcome = task.state;
            task.end = Some(LeaseEnd { generation, agent, action, outcome });
        });
    }

    /// The broker ends a lease: its holder is told, if somebody speaks for it.
    pub(super) fn take_away(&mut self, id: TaskId, arrow: impl FnOnce(&mut Task, &Clocks)) {
        let task = &self.tasks[&id];
        let generation = Generation(task.generation);
        let holder = task.agent.clone().expect("a leased task");
        let session = self.agents.get(&holder).and_then(|agent| agent.session);
        self.change(id, arrow);
        let state = self.tasks[&id].state;
        if let Some(session) = session {
            self.push(session, Push::Revoked { task: id, generation, state });
        }
    }
}

impl Task {
    fn next_checkpoint(&self) -> u64 {
        self.checkpoint.as_ref().map_or(1, |(seq, _)| seq + 1)
    }
}
