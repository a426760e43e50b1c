//! Tasks that wait for tasks. The half of [`Core`] for T6 and T7.
//!
//! Every edge is looked at once, when the task at its other end is over: dependents are found by
//! the task that they wait for, and what ends because of that is put at the end of the list.

use hashbrown::HashMap;

use super::Core;
use super::command::{AfterEnd, DeadReason, Now, State, TaskId};
use super::is_success;
use super::record::Edge;

/// A task that ended, of which its dependents have not heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Which.
    pub(super) task: TaskId,
    /// In which state.
    pub(super) state: State,
    /// What it was a part of.
    pub(super) parent: Option<TaskId>,
    /// Only this one has not heard of it; `None`: nobody has.
    pub(super) only: Option<TaskId>,
}

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    by_task: HashMap<TaskId, Vec<TaskId>>,
}

impl Dependents {
    /// `dependent` waits for `task`. Several edges between the two are added one after the other
    /// and count once.
    pub(super) fn add(&mut self, task: TaskId, dependent: TaskId) {
        let dependents = self.by_task.entry(task).or_default();
        if dependents.last() != Some(&dependent) {
            dependents.push(dependent);
        }
    }

    /// `dependent` does not wait any more.
    pub(super) fn remove(&mut self, task: TaskId, dependent: TaskId) {
        if let Some(dependents) = self.by_task.get_mut(&task) {
            dependents.retain(|other| *other != dependent);
            if dependents.is_empty() {
                self.by_task.remove(&task);
            }
        }
    }

    /// In the order of their ids, as after a restart, however often they came and went.
    fn take(&mut self, task: TaskId) -> Vec<TaskId> {
        let mut dependents = self.by_task.remove(&task).unwrap_or_default();
        dependents.sort_unstable();
        dependents.dedup();
        dependents
    }

    fn of(&self, task: TaskId) -> Vec<TaskId> {
        self.by_task.get(&task).cloned().unwrap_or_default()
    }
}

impl Core {
    /// D: lead on everything that waited for a task that ended since this was called last.
    pub(super) fn tell_dependents(&mut self, now: Now) {
        while let Some(Ended { task, state, parent, only }) = self.ended.pop_front() {
            let dependents = match only {
                Some(dependent) => vec![dependent],
                None => self.dependents.take(task),
            };
            for dependent in dependents {
                self.follow_edge(dependent, task, state, now);
            }
            if only.is_none() {
                self.tell_family(task, parent, now);
            }
        }
    }

    /// The task at the other end of an edge ended in `state`.
    pub(super) fn follow_edge(&mut self, id: TaskId, other: TaskId, state: State, now: Now) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.row.state() != State::Held {
            return;
        }
        let edges = &mut task.row.details_mut().after;
        let is_met =
            |edge: &Edge| edge.task == other && (is_success(state) || edge.on == AfterEnd::Any);
        edges.retain(|edge| !is_met(edge));
        if edges.is_empty() {
            return self.change(id, now, |task, _, at| task.unhold(at));
        }
        let Some(edge) = edges.iter().find(|edge| edge.task == other).copied() else {
            return self.persist_task(id);
        };
        match edge.on {
            AfterEnd::Any => unreachable!("any end satisfies such an edge"),
            AfterEnd::SuccessElseBlock => {
                // It may come back from the dead letters.
                self.dependents.add(other, id);
                self.change(id, now, |task, _, at| task.block(other, true, at));
            }
            AfterEnd::SuccessElseCancel => {
                let reason =
                    format!("task {}, which it waited for, is {}", other.0, state.as_str());
                self.change(id, now, |task, _, at| task.cancel(reason.into(), at));
            }
            AfterEnd::SuccessElseFail => {
                self.change(id, now, |task, _, at| {
                    task.give_up(DeadReason::DependencyFailed, at);
                });
            }
        }
    }

    /// A dead task is open again: nobody is blocked by it any more.
    pub(super) fn unblock_dependents(&mut self, task: TaskId, now: Now) {
        for dependent in self.dependents.of(task) {
            let held = self.tasks.get(dependent).is_some_and(|dependent| {
                dependent.row.details().after.iter().any(|edge| edge.task == task)
            });
            if held {
                self.change(dependent, now, |held, _, at| held.block(task, false, at));
            }
        }
    }
}
