//! Tasks that wait for tasks: T6 and T7.

use agentcom_broker::core::command::{AfterEnd, DeadReason, State, TaskId};

use super::Model;
use super::task::Edge;

impl Model {
    /// Whoever waits for a task that ended is led on, and whoever waits for that one.
    pub(super) fn tell_dependents(&mut self) {
        while let Some((other, only)) = self.ended.pop_front() {
            let waits = |id: TaskId| {
                let task = &self.tasks[&id];
                task.state == State::Held && task.after.iter().any(|edge| edge.task == other)
            };
            let dependents: Vec<TaskId> = match only {
                Some(id) => vec![id],
                None => self.tasks.keys().copied().collect(),
            };
            let dependents: Vec<TaskId> = dependents
                .into_iter()
                .filter(|id| self.tasks.contains_key(id))
                .filter(|id| waits(*id))
                .collect();
            for id in dependents {
                self.follow_edges(id, other);
            }
            if only.is_none() {
                self.tell_family(other, self.parents.get(&other).copied());
            }
        }
    }

    fn follow_edges(&mut self, id: TaskId, other: TaskId) {
        // What was completed and not kept, or purged, is over all the same.
        let ending = self.endings.get(&other).copied().expect("it ended");
        let task = self.tasks.get_mut(&id).expect("it waits");
        let is_met = |edge: &Edge| {
            edge.task == other && (edge.on == AfterEnd::Any || ending == State::Completed)
        };
        task.after.retain(|edge| !is_met(edge));
        if task.after.is_empty() {
            return self.change(id, |task, at| match task.start.take() {
                Some(start) if start.due() > at.wall => task.schedule(start, at),
                _ => {
                    task.ready_anew(at);
                    task.open_window(at);
                }
            });
        }
        let Some(edge) = task.after.iter().find(|edge| edge.task == other) else { return };
        match edge.on {
            AfterEnd::Any => unreachable!("any end meets it"),
            AfterEnd::SuccessElseBlock => self.change(id, |task, _| task.mark(other, true)),
            AfterEnd::SuccessElseCancel => {
                let (other, ending) = (other.0, ending.as_str());
                let reason = format!("task {other}, which it waited for, is {ending}");
                self.change(id, |task, _| task.call_off(reason.into()));
            }
            AfterEnd::SuccessElseFail => {
                self.change(id, |task, _| task.die(DeadReason::DependencyFailed));
            }
        }
    }

    /// T46: nobody is blocked by an open task.
    pub(super) fn unblock_dependents(&mut self, other: TaskId) {
        let blocked = |edge: &Edge| edge.task == other && edge.is_blocked;
        let dependents: Vec<TaskId> = self
            .open()
            .filter(|(_, task)| task.after.iter().any(blocked))
            .map(|(id, _)| id)
            .collect();
        for id in dependents {
            self.change(id, |task, _| task.mark(other, false));
        }
    }
}

impl super::Task {
    fn mark(&mut self, other: TaskId, is_blocked: bool) {
        for edge in self.after.iter_mut().filter(|edge| edge.task == other) {
            edge.is_blocked = is_blocked;
        }
    }
}
