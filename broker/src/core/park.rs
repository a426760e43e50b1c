//! Waiting for a person, and for parts of oneself. The half of [`Core`] for T23 and T29-T34.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Core;
use super::command::{
    Answer, DeadReason, Name, Now, Park, ParkTimeout, Push, Rejection, Reply, Spawn, State, TaskId,
};
use super::limits::{CHILDREN_MAX, DEPTH_MAX, QUESTION_BYTES_MAX, QUESTIONS_MAX};
use super::record::{Asked, Parent, Parking, TaskRow};
use super::task::Task;

/// Open tasks that are parts of others.
#[derive(Debug, Default)]
pub(super) struct Children {
    by_parent: HashMap<TaskId, Vec<TaskId>>,
}

impl Children {
    /// `child` is a part of `parent`.
    pub(super) fn add(&mut self, parent: TaskId, child: TaskId) {
        self.by_parent.entry(parent).or_default().push(child);
    }

    /// `child` is over.
    pub(super) fn remove(&mut self, parent: TaskId, child: TaskId) {
        if let Some(children) = self.by_parent.get_mut(&parent) {
            children.retain(|other| *other != child);
            if children.is_empty() {
                self.by_parent.remove(&parent);
            }
        }
    }

    /// The open parts of a task.
    pub(super) fn of(&self, parent: TaskId) -> &[TaskId] {
        self.by_parent.get(&parent).map_or(&[], Vec::as_slice)
    }
}

impl Core {
    /// Whether a holder may ask this.
    pub(super) fn check_park(&self, id: TaskId, park: &Park) -> Result<(), Rejection> {
        let known = &self.tasks[id].row.details().questions;
        let mut count = known.len();
        for question in &park.questions {
            let size = question.default.as_ref().map_or(0, |default| default.len());
            check_size(question.text.len().max(size))?;
            match known.iter().find(|asked| asked.key == question.key) {
                Some(asked) if asked.text != question.text => {
                    return Err(Rejection::OtherQuestion { task: id, key: question.key.clone() });
                }
                Some(_) => {}
                None => count += 1,
            }
        }
        if count > QUESTIONS_MAX {
            let (what, max) = ("the number of questions of a task", QUESTIONS_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        Ok(())
    }

    /// T29, T31: the holder waits, with the task or without it; or goes on, if all is there.
    pub(super) fn park(
        &mut self,
        id: TaskId,
        park: Park,
        now: Now,
        remember: impl FnOnce(&mut Task),
    ) -> Reply {
        let keys: Vec<Name> = park.questions.iter().map(|question| question.key.clone()).collect();
        let has_children = park.children && !self.children.of(id).is_empty();
        let state = self.change(id, now, |task, _, at| {
            task.ask(park.questions);
            let is_answered = |key| task.answer(key).is_some();
            if has_children || !keys.iter().all(is_answered) {
                let parking = Parking {
                    keys: keys.clone(),
                    children: park.children,
                    hold_ms: park.hold_ms,
                    park_ms: park.park_ms,
                    on_timeout: park.on_timeout,
                    anchor_ms: at.wall_ms,
                    attempt_left_ms: 0,
                    is_escalated: false,
                };
                task.wait_for_answers(parking, at);
                if park.hold_ms == 0 {
                    task.park(at);
                    remember(task);
                    return task.row.state();
                }
            }
            task.note(at);
            task.row.state()
        });
        let task = &self.tasks[id];
        let answer = |key: Name| {
            let value = task.answer(&key)?.clone();
            Some(Answer { key, value })
        };
        let answers = keys.into_iter().filter_map(answer).collect();
        Reply::Parked { task: id, state, answers }
    }

    /// T33, then T30 or T32 if that was the last answer.
    pub(super) fn answer(
        &mut self,
        id: TaskId,
        key: Name,
        value: Arc<[u8]>,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Reply, Rejection> {
        check_size(value.len())?;
        let Some(task) = self.tasks.get(id) else {
            let state = self.over(id, rows)?.state();
            return Err(Rejection::Terminal { task: id, state });
        };
        let asked = task.row.details().questions.iter().find(|asked| asked.key == key);
        match asked.map(|asked| asked.answer.clone()) {
            None => return Err(Rejection::NoQuestion { task: id, key }),
            Some(Some(value)) => return Err(Rejection::Answered { task: id, key, value }),
            Some(None) => {}
        }
        self.change(id, now, |task, _, at| task.take_answer(&key, value, at));
        self.go_on_if_satisfied(id, now);
        let state = self.tasks[id].row.state();
        Ok(Reply::Done { task: id, state, duplicate: false })
    }

    /// T30, T32.
    fn go_on_if_satisfied(&mut self, id: TaskId, now: Now) {
        let Some(task) = self.tasks.get(id) else { return };
        let Some(parking) = &task.row.details().parking else { return };
        let has_children = parking.children && !self.children.of(id).is_empty();
        if has_children || !parking.keys.iter().all(|key| task.answer(key).is_some()) {
            return;
        }
        if task.row.state() == State::Parked {
            return self.unpark(id, now);
        }
        self.change(id, now, |task, _, at| task.go_on(at));
        let row = &self.tasks[id].row;
        let (generation, answers) = (row.generation, answers_of(row));
        let session = row.holder().and_then(|holder| self.session_of(&holder.agent));
        if let Some(session) = session {
            self.deliver(session, Push::Answered { task: id, generation, answers });
        }
    }

    /// T34.
    pub(super) fn handle_park_timeout(&mut self, id: TaskId, now: Now) {
        let details = self.tasks[id].row.details();
        let on_timeout = details.parking.as_ref().map_or(ParkTimeout::Fail, |it| it.on_timeout);
        let keys = details.parking.as_ref().map_or(&[][..], |parking| &parking.keys);
        let open = |asked: &&Asked| asked.answer.is_none() && keys.contains(&asked.key);
        let has_defaults =
            details.questions.iter().filter(open).all(|asked| asked.default.is_some());
        let is_escalated = details.parking.as_ref().is_some_and(|parking| parking.is_escalated);
        match on_timeout {
            ParkTimeout::Default if has_defaults => {
                self.tasks.get_mut(id).expect("a timer of an open task").take_defaults();
                self.unpark(id, now);
            }
            ParkTimeout::Escalate if !is_escalated => {
                self.change(id, now, |task, _, at| task.escalate(at));
            }
            ParkTimeout::Default | ParkTimeout::Fail | ParkTimeout::Escalate => {
                self.change(id, now, |task, _, at| task.give_up(DeadReason::ParkTimeout, at));
            }
            ParkTimeout::Cancel => {
                let reason = "nobody answered in time".into();
                self.change(id, now, |task, _, at| task.cancel(reason, at));
            }
        }
    }

    /// T32.
    fn unpark(&mut self, id: TaskId, now: Now) {
        let former = self.tasks[id].row.details().former.as_ref();
        let is_here = former.is_some_and(|former| self.session_of(former).is_some());
        self.change(id, now, |task, _, at| task.unpark(|_| is_here, at));
    }

    /// T23: all of them or none. Nothing about the parent changes.
    pub(super) fn check_spawn(&self, id: TaskId, spawn: &Spawn) -> Result<Parent, Rejection> {
        let row = &self.tasks[id].row;
        let depth = row.details().parent.map_or(0, |parent| parent.depth) + 1;
        if depth > DEPTH_MAX {
            let (what, max) = ("the number of parents in a row", DEPTH_MAX.into());
            return Err(Rejection::LimitReached { what, max });
        }
        if self.children.of(id).len() + spawn.children.len() > CHILDREN_MAX {
            let (what, max) = ("the number of open children of a task", CHILDREN_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        let (generation, ends_with_parent) = (row.generation, spawn.end_with_parent);
        Ok(Parent { task: id, generation, depth, ends_with_parent })
    }

    /// A task is over: its parent may have waited for that, and its own parts may end with it.
    pub(super) fn tell_family(&mut self, id: TaskId, parent: Option<TaskId>, now: Now) {
        if let Some(parent) = parent {
            self.go_on_if_satisfied(parent, now);
        }
        for child in self.children.of(id).to_vec() {
            let row = self.tasks.get(child).map(|child| &child.row);
            let parent = row.and_then(|row| row.details().parent);
            if parent.is_some_and(|parent| parent.ends_with_parent) {
                let reason = format!("task {}, which it is a part of, is over", id.0);
                self.cancel_open(child, reason.into(), None, now);
            }
        }
    }
}

/// Every answer that there is to what a task asked.
pub(super) fn answers_of(row: &TaskRow) -> Vec<Answer> {
    let answer = |asked: &Asked| {
        let value = asked.answer.clone()?;
        Some(Answer { key: asked.key.clone(), value })
    };
    row.details().questions.iter().filter_map(answer).collect()
}

fn check_size(bytes: usize) -> Result<(), Rejection> {
    if bytes > QUESTION_BYTES_MAX {
        let (what, max) = ("the size of a question or answer", QUESTION_BYTES_MAX as u64);
        return Err(Rejection::LimitReached { what, max });
    }
    Ok(())
}
