//! Second thoughts about a task. The half of [`Core`] for T50 and T51.

use std::sync::Arc;

use super::Core;
use super::command::{Now, Rejection, Reply, Spec, State, TaskChange, TaskId};
use super::record::TaskRow;
use super::submit::wait_of;

impl Core {
    pub(super) fn edit(
        &mut self,
        id: TaskId,
        version: Option<u32>,
        change: &TaskChange,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        let Some(task) = self.tasks.get(id) else {
            let state = self.over(id, rows)?.state();
            return Err(Rejection::Terminal { task: id, state });
        };
        let (state, found) = (task.row.state(), task.row.details().version);
        if let Some(named) = version.filter(|named| *named != found) {
            return Err(Rejection::OtherVersion { task: id, named, found });
        }
        let is_leased = matches!(state, State::Offered | State::Running);
        let is_parked = state == State::Parked;
        if is_leased && change.key.is_some() || (is_leased || is_parked) && change.start.is_some() {
            let generation = task.row.generation;
            return Err(Rejection::InvalidState { task: id, state, generation });
        }
        let former = task.row.spec.clone();
        let spec = self.specs.share(Arc::new(changed(&former, change)));
        let start = change.start.map(|start| wait_of(start, now));
        self.change(id, now, |task, _, at| task.edit(spec, start, at));
        let holder = self.tasks[id].row.holder().map(|holder| holder.agent.clone());
        if let Some(agent) = holder
            && let Some(known) = self.agents.find(&agent)
            && let Some(ends) = self.lease_ends(id, known)
        {
            self.watch_leases(&agent, ends);
        }
        let state = self.tasks[id].row.state();
        Ok(Reply::Done { task: id, state, duplicate: false })
    }
}

fn changed(spec: &Spec, change: &TaskChange) -> Spec {
    let mut spec = spec.clone();
    let patience = &mut spec.patience;
    patience.lease_ms = change.lease_ms.unwrap_or(patience.lease_ms);
    patience.attempt_ms = change.attempt_ms.unwrap_or(patience.attempt_ms);
    patience.progress_ms = change.progress_ms.or(patience.progress_ms);
    patience.queue_ms = change.queue_ms.or(patience.queue_ms);
    patience.total_ms = change.total_ms.or(patience.total_ms);
    spec.band = change.band.unwrap_or(spec.band);
    spec.attempts_max = change.attempts_max.unwrap_or(spec.attempts_max);
    if let Some(key) = &change.key {
        spec.key = Some(key.clone());
    }
    spec
}
