//! Back from the dead letters, and out of the books. The half of [`Core`] for T46-T48.

use super::Core;
use super::command::{AfterEnd, Effect, Now, Rejection, Reply, State, TaskId};
use super::record::{Edge, Record, TaskRow};
use super::task::Task;
use super::{is_dead, is_success};

impl Core {
    /// T46.
    pub(super) fn redrive(
        &mut self,
        id: TaskId,
        delay_ms: u64,
        mut rows: Vec<TaskRow>,
        now: Now,
    ) -> Result<Reply, Rejection> {
        let row = self.take_dead(id, &mut rows)?;
        self.check_room(&row.spec.queue, 1)?;
        let edges = &row.details().after;
        let edges = edges.iter().map(|edge| self.edge_again(*edge, &rows));
        let after: Vec<Edge> =
            edges.filter_map(Result::transpose).collect::<Result<Vec<Edge>, Rejection>>()?;
        self.raise(row);
        for edge in &after {
            self.dependents.add(edge.task, id);
        }
        self.change(id, now, |task, _, at| task.redrive(after, delay_ms, at));
        self.unblock_dependents(id, now);
        let state = self.tasks[id].row.state();
        self.revive_dedup(id);
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// T47.
    pub(super) fn discard(
        &mut self,
        id: TaskId,
        mut rows: Vec<TaskRow>,
        now: Now,
    ) -> Result<Reply, Rejection> {
        let row = self.take_dead(id, &mut rows)?;
        self.raise(row);
        self.change(id, now, |task, _, at| task.discard(at));
        Ok(Reply::Done { task: id, state: State::Cancelled, duplicate: false })
    }

    /// T48, for those of `rows` whose time has come.
    pub(super) fn retire(
        &mut self,
        tasks: &[TaskId],
        next_ms: Option<u64>,
        rows: Vec<TaskRow>,
        now: Now,
    ) -> Reply {
        if let Some(next_ms) = next_ms {
            self.retire_at(next_ms);
        }
        let mut count = 0;
        for row in rows {
            let Some(end) = row.end() else { continue };
            if !tasks.contains(&row.task) || end.expires_ms.is_none_or(|at| at > now.wall_ms) {
                continue;
            }
            if is_dead(&row) {
                let now = self.now.tick;
                self.queues.count(&row.spec.queue, row.task, Some(State::Dead), None, now);
            }
            self.persist(forget(&row));
            count += 1;
        }
        Reply::Purged { tasks: count, left: 0 }
    }

    /// Retention of something may be over.
    pub(super) fn handle_retire(&mut self, now: Now) {
        self.retire_armed = None;
        self.effects.push_back(Effect::Retire { until_ms: now.wall_ms });
    }

    fn take_dead(&self, id: TaskId, rows: &mut Vec<TaskRow>) -> Result<TaskRow, Rejection> {
        let invalid = |row: &TaskRow| Rejection::InvalidState {
            task: id,
            state: row.state(),
            generation: row.generation,
        };
        if let Some(open) = self.tasks.get(id) {
            return Err(invalid(&open.row));
        }
        let Some(position) = rows.iter().position(|row| row.task == id) else {
            return Err(self.unknown(id));
        };
        if !is_dead(&rows[position]) {
            return Err(invalid(&rows[position]));
        }
        Ok(rows.swap_remove(position))
    }

    /// Take a dead task into memory; the caller leads it on at once.
    fn raise(&mut self, mut row: TaskRow) {
        let expires_ms = row.end().and_then(|end| end.expires_ms);
        self.persist(Record::LeftDead { task: row.task, expires_ms });
        row.spec = self.specs.share(row.spec);
        if let Some(parent) = row.details().parent {
            self.children.add(parent.task, row.task);
        }
        self.admit(Task::open(row));
    }

    /// What has become of an edge while its task was dead; `None` if it is satisfied.
    fn edge_again(&self, edge: Edge, rows: &[TaskRow]) -> Result<Option<Edge>, Rejection> {
        if self.tasks.has(edge.task) {
            return Ok(Some(Edge { is_blocked: false, ..edge }));
        }
        let Some(row) = rows.iter().find(|row| row.task == edge.task) else {
            return Err(Rejection::UnknownDependency { task: edge.task });
        };
        let is_satisfied = edge.on == AfterEnd::Any || is_success(row.state());
        Ok((!is_satisfied).then_some(Edge { is_blocked: true, ..edge }))
    }
}

/// The record that takes a task with all that it carries out of the store.
pub(super) fn forget(row: &TaskRow) -> Record {
    Record::Forget {
        task: row.task,
        shelf: row.shelf(),
        has_result: row.details().has_result,
        has_checkpoint: row.details().checkpoint_seq.is_some(),
        has_headers: row.spec.has_headers,
        expires_ms: row.end().and_then(|end| end.expires_ms),
    }
}
