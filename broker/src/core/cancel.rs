//! Calling tasks off, and taking them away. The half of [`Core`] for T35-T40 and T43.

use std::sync::Arc;

use super::Core;
use super::command::{Now, Push, Rejection, Reply, State, TaskId};
use super::live::Due;
use super::record::{Cancelling, TaskRow};

impl Core {
    /// T35-T37. What nobody holds is cancelled at once; a holder is asked to stop.
    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        reason: Arc<str>,
        grace_ms: Option<u64>,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        if !self.tasks.has(id) {
            let state = self.over(id, rows)?.state();
            return Err(Rejection::Terminal { task: id, state });
        }
        let state = self.cancel_open(id, reason, grace_ms, now);
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// The same for an open task; gives the state that follows.
    pub(super) fn cancel_open(
        &mut self,
        id: TaskId,
        reason: Arc<str>,
        grace_ms: Option<u64>,
        now: Now,
    ) -> State {
        let grace_ms = grace_ms.unwrap_or(self.config.cancel_ms);
        let row = &self.tasks[id].row;
        match row.state() {
            State::Running if row.details().cancelling.is_some() => {
                // Only ever sooner.
                if now.tick.after(grace_ms) < self.tasks[id].timer(Due::Cancel) {
                    self.change(id, now, |task, _, at| task.hurry(grace_ms, at));
                }
                State::Running
            }
            State::Running => {
                let (is_deadline, anchor_ms) = (false, now.wall_ms);
                let cancelling = Cancelling { reason, is_deadline, grace_ms, anchor_ms };
                self.ask_to_stop(id, cancelling, now);
                State::Running
            }
            State::Offered => self.take_away(id, now, |task, _, at| {
                task.row.generation.0 += 1;
                task.cancel(reason, at);
            }),
            _ => {
                self.change(id, now, |task, _, at| task.cancel(reason, at));
                State::Cancelled
            }
        }
    }

    /// T43.
    pub(super) fn reclaim(
        &mut self,
        id: TaskId,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        let row = match self.tasks.get(id) {
            Some(task) => &task.row,
            None => self.over(id, rows)?,
        };
        if row.holder().is_none() {
            let (state, generation) = (row.state(), row.generation);
            return Err(Rejection::InvalidState { task: id, state, generation });
        }
        let state = self.take_away(id, now, |task, _, at| {
            if task.row.details().cancelling.is_some() {
                task.stop_by_force(at);
            } else {
                task.reclaim(at);
            }
        });
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// T37, T45: tell the holder of running work to stop.
    pub(super) fn ask_to_stop(&mut self, id: TaskId, cancelling: Cancelling, now: Now) {
        let (grace_ms, reason) = (cancelling.grace_ms, cancelling.reason.clone());
        self.change(id, now, |task, _, at| task.ask_to_stop(cancelling, at));
        let row = &self.tasks[id].row;
        let generation = row.generation;
        let session = row.holder().and_then(|holder| self.session_of(&holder.agent));
        if let Some(session) = session {
            self.deliver(session, Push::Cancel { task: id, generation, grace_ms, reason });
        }
    }
}
