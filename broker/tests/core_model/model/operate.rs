//! What operators and submitters do with tasks: T35-T37, T43, T46, T47.

use std::sync::Arc;

use agentcom_broker::core::command::{
    AfterEnd, DeadReason, Generation, Push, Rejection, Reply, State, TaskId,
};

use super::task::{Cancelling, Due, Edge};
use super::{Model, Outcome};

impl Model {
    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        reason: &Arc<str>,
        grace_ms: Option<u64>,
    ) -> Outcome {
        let grace_ms = grace_ms.unwrap_or(self.config.cancel_ms);
        let tick = self.tick;
        let task = self.known(id)?;
        match task.state {
            state if state.is_terminal() => return Err(Rejection::Terminal { task: id, state }),
            State::Running if task.cancelling.is_some() => {
                let due = task.timer(Due::Cancel).expect("it is to stop");
                if tick + grace_ms < due {
                    self.change(id, |task, at| task.hurry(grace_ms, at));
                }
            }
            State::Running => {
                self.ask_to_stop(id, reason.clone(), grace_ms, false);
            }
            State::Offered => self.take_away(id, |task, _| {
                task.generation += 1;
                task.call_off(reason.clone());
            }),
            _ => self.change(id, |task, _| task.call_off(reason.clone())),
        }
        Ok(Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false })
    }

    /// T37, T45.
    pub(super) fn ask_to_stop(
        &mut self,
        id: TaskId,
        reason: Arc<str>,
        grace_ms: u64,
        is_deadline: bool,
    ) {
        self.change(id, |task, at| {
            let (reason, anchor) = (reason.clone(), at.wall);
            task.cancelling = Some(Cancelling { reason, is_deadline, grace_ms, anchor });
            task.timers.insert(Due::Cancel, at.tick + grace_ms);
        });
        let task = &self.tasks[&id];
        let generation = Generation(task.generation);
        let holder = task.agent.as_ref().expect("a running task");
        if let Some(session) = self.agents.get(holder).and_then(|agent| agent.session) {
            self.push(session, Push::Cancel { task: id, generation, grace_ms, reason });
        }
    }

    pub(super) fn reclaim(&mut self, id: TaskId) -> Outcome {
        let task = self.known(id)?;
        if !task.is_leased() {
            let (state, generation) = (task.state, Generation(task.generation));
            return Err(Rejection::InvalidState { task: id, state, generation });
        }
        self.take_away(id, |task, _| task.reclaim());
        Ok(Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false })
    }

    fn check_dead(&self, id: TaskId) -> Result<(), Rejection> {
        let task = self.known(id)?;
        if task.state == State::Dead {
            return Ok(());
        }
        let (state, generation) = (task.state, Generation(task.generation));
        Err(Rejection::InvalidState { task: id, state, generation })
    }

    pub(super) fn redrive(&mut self, id: TaskId, delay_ms: u64) -> Outcome {
        self.check_dead(id)?;
        let task = &self.tasks[&id];
        self.check_room(&task.spec.queue, 1)?;
        let mut after = Vec::new();
        for edge in &task.after {
            let unknown = Rejection::UnknownDependency { task: edge.task };
            let other = self.tasks.get(&edge.task).ok_or(unknown)?;
            let is_met =
                other.is_over() && (edge.on == AfterEnd::Any || other.state == State::Completed);
            if !is_met {
                after.push(Edge { is_blocked: other.is_over(), ..*edge });
            }
        }
        self.change(id, |task, at| task.redrive(after, delay_ms, at));
        self.unblock_dependents(id);
        self.revive_key(id);
        Ok(Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false })
    }

    pub(super) fn discard(&mut self, id: TaskId) -> Outcome {
        self.check_dead(id)?;
        self.change(id, |task, _| task.call_off("discarded".into()));
        Ok(Reply::Done { task: id, state: State::Cancelled, duplicate: false })
    }

    /// T45.
    pub(super) fn end_total(&mut self, id: TaskId) {
        let task = &self.tasks[&id];
        match task.state {
            State::Running if task.cancelling.is_some() => {}
            State::Running => {
                let grace_ms = self.config.cancel_ms;
                self.ask_to_stop(id, "its total time is over".into(), grace_ms, true);
            }
            State::Offered => self.take_away(id, |task, _| {
                task.generation += 1;
                task.die(DeadReason::Deadline);
            }),
            _ => self.change(id, |task, _| task.die(DeadReason::Deadline)),
        }
    }
}
