//! T23 and T29-T34: questions, answers, and tasks that are parts of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentcom_broker::core::command::{
    Answer, DeadReason, Generation, Name, Park, ParkTimeout, Push, Question, QuestionView,
    Rejection, Reply, Spawn, State, TaskId,
};

use super::task::Due;
use super::{Clocks, Model, Outcome, Task};

/// A question of a task.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Name,
    text: Arc<[u8]>,
    default: Option<Arc<[u8]>>,
    pub(crate) answer: Option<Arc<[u8]>>,
}

/// What a holder waits for, with its task or without it.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    pub(super) keys: Vec<Name>,
    pub(super) children: bool,
    pub(super) hold_ms: u64,
    pub(super) park_ms: u64,
    on_timeout: ParkTimeout,
    pub(super) anchor: u64,
    pub(super) attempt_left: u64,
    pub(super) is_escalated: bool,
}

/// The task that another one is a part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    pub(super) task: TaskId,
    pub(super) ends_with_parent: bool,
}

impl Asked {
    pub(super) fn view(&self) -> QuestionView {
        QuestionView { key: self.key.clone(), text: self.text.clone(), answer: self.answer.clone() }
    }
}

impl Task {
    fn ask(&mut self, questions: &[Question]) {
        for Question { key, text, default } in questions {
            if !self.questions.iter().any(|asked| asked.key == *key) {
                let (key, text, default) = (key.clone(), text.clone(), default.clone());
                self.questions.push(Asked { key, text, default, answer: None });
            }
        }
    }

    fn answer_to(&self, key: &Name) -> Option<Arc<[u8]>> {
        self.questions.iter().find(|asked| asked.key == *key)?.answer.clone()
    }

    pub(super) fn answers(&self) -> Vec<Answer> {
        let answer =
            |asked: &Asked| Some(Answer { key: asked.key.clone(), value: asked.answer.clone()? });
        self.questions.iter().filter_map(answer).collect()
    }

    /// T29: its holder waits with it; the clocks of the attempt stand still.
    fn wait_with_holder(&mut self, park: &Park, at: &Clocks) {
        let left = self.timer(Due::Attempt).map(|due| due.saturating_sub(at.tick));
        let former = self.parking.as_ref().map(|parking| parking.attempt_left);
        self.timers.remove(&Due::Attempt);
        self.timers.remove(&Due::Progress);
        self.timers.insert(Due::Hold, at.tick + park.hold_ms);
        self.parking = Some(Parking {
            keys: park.questions.iter().map(|question| question.key.clone()).collect(),
            children: park.children,
            hold_ms: park.hold_ms,
            park_ms: park.park_ms,
            on_timeout: park.on_timeout,
            anchor: at.wall,
            attempt_left: former.or(left).expect("an accepted task has one of them"),
            is_escalated: false,
        });
    }

    /// T31.
    pub(super) fn park(&mut self, at: &Clocks) {
        let mut parking = self.parking.take().expect("it waits");
        self.remember_former();
        self.free();
        self.generation += 1;
        self.agent = None;
        self.state = State::Parked;
        self.timers.insert(Due::Park, at.tick + parking.park_ms);
        parking.anchor = at.wall;
        self.parking = Some(parking);
    }

    /// T32.
    fn unpark(&mut self, here: &BTreeSet<Name>, at: &Clocks) {
        self.keep_for_former(|former| here.contains(former), at);
        self.parking = None;
        self.timers.remove(&Due::Park);
        self.state = State::Ready;
    }

    /// T30.
    fn go_on(&mut self, at: &Clocks) {
        let parking = self.parking.take().expect("it waits");
        self.timers.remove(&Due::Hold);
        self.timers.insert(Due::Attempt, at.tick + parking.attempt_left);
        self.prove_progress(at.tick);
    }
}

impl Model {
    fn has_children(&self, id: TaskId) -> bool {
        self.children_of(id).next().is_some()
    }

    pub(super) fn children_of(&self, id: TaskId) -> impl Iterator<Item = TaskId> {
        let is_child = move |task: &Task| task.parent.is_some_and(|parent| parent.task == id);
        self.open().filter(move |(_, task)| is_child(task)).map(|(id, _)| id)
    }

    /// A key that was seen before has to repeat its question.
    pub(super) fn check_park(&self, id: TaskId, park: &Park) -> Result<(), Rejection> {
        let asked = &self.tasks[&id].questions;
        let is_other = |question: &&Question| {
            asked.iter().any(|asked| asked.key == question.key && asked.text != question.text)
        };
        match park.questions.iter().find(is_other) {
            Some(Question { key, .. }) => {
                Err(Rejection::OtherQuestion { task: id, key: key.clone() })
            }
            None => Ok(()),
        }
    }

    /// T29, T31. The holder goes on if all is there.
    pub(super) fn park(
        &mut self,
        id: TaskId,
        park: &Park,
        remember: impl FnOnce(&mut Task),
    ) -> Reply {
        let waits_for_children = park.children && self.has_children(id);
        self.change(id, |task, at| {
            task.ask(&park.questions);
            let is_open = |question: &Question| task.answer_to(&question.key).is_none();
            if waits_for_children || park.questions.iter().any(is_open) {
                task.wait_with_holder(park, at);
                if park.hold_ms == 0 {
                    task.park(at);
                    remember(task);
                }
            }
        });
        let task = &self.tasks[&id];
        let answer = |question: &Question| {
            let key = question.key.clone();
            Some(Answer { value: task.answer_to(&key)?, key })
        };
        let answers = park.questions.iter().filter_map(answer).collect();
        Reply::Parked { task: id, state: task.state, answers }
    }

    /// T33.
    pub(super) fn answer(&mut self, id: TaskId, key: &Name, value: &Arc<[u8]>) -> Outcome {
        let task = self.known(id)?;
        if task.is_over() {
            return Err(Rejection::Terminal { task: id, state: task.state });
        }
        let key = key.clone();
        match task.questions.iter().find(|asked| asked.key == key).map(|asked| &asked.answer) {
            None => return Err(Rejection::NoQuestion { task: id, key }),
            Some(Some(value)) => {
                return Err(Rejection::Answered { task: id, key, value: value.clone() });
            }
            Some(None) => {}
        }
        self.change(id, |task, _| {
            let asked = task.questions.iter_mut().find(|asked| asked.key == key);
            asked.expect("found above").answer = Some(value.clone());
        });
        self.go_on_if_satisfied(id);
        Ok(Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false })
    }

    /// T30, T32.
    fn go_on_if_satisfied(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id).filter(|task| !task.is_over()) else { return };
        let Some(parking) = &task.parking else { return };
        let has_all = parking.keys.iter().all(|key| task.answer_to(key).is_some());
        if !has_all || parking.children && self.has_children(id) {
            return;
        }
        if task.state == State::Parked {
            let here = self.present();
            return self.change(id, |task, at| task.unpark(&here, at));
        }
        self.change(id, |task, at| task.go_on(at));
        let task = &self.tasks[&id];
        let (generation, answers) = (Generation(task.generation), task.answers());
        let holder = task.agent.as_ref().expect("somebody waits with it");
        if let Some(session) = self.agents.get(holder).and_then(|agent| agent.session) {
            self.push(session, Push::Answered { task: id, generation, answers });
        }
    }

    /// T34.
    pub(super) fn end_parking(&mut self, id: TaskId) {
        let here = self.present();
        self.change(id, |task, at| {
            let parking = task.parking.clone().expect("it is parked");
            let is_open =
                |asked: &Asked| asked.answer.is_none() && parking.keys.contains(&asked.key);
            let has_defaults =
                task.questions.iter().filter(|one| is_open(one)).all(|one| one.default.is_some());
            match parking.on_timeout {
                ParkTimeout::Default if has_defaults => {
                    for asked in task.questions.iter_mut().filter(|asked| is_open(asked)) {
                        asked.answer = asked.default.clone();
                    }
                    task.unpark(&here, at);
                }
                ParkTimeout::Escalate if !parking.is_escalated => {
                    task.timers.insert(Due::Park, at.tick + parking.park_ms);
                    let anchor = at.wall;
                    task.parking = Some(Parking { anchor, is_escalated: true, ..parking });
                }
                ParkTimeout::Default | ParkTimeout::Fail | ParkTimeout::Escalate => {
                    task.die(DeadReason::ParkTimeout);
                }
                ParkTimeout::Cancel => task.call_off("nobody answered in time".into()),
            }
        });
    }

    /// T23.
    pub(super) fn spawn(&mut self, id: TaskId, spawn: &Spawn) -> Outcome {
        let parent = Parent { task: id, ends_with_parent: spawn.end_with_parent };
        self.submit_parts(&spawn.children, Some(parent)).map(Reply::SubmittedBatch)
    }

    /// A task is over: its parent may have waited for that, and its parts may end with it.
    pub(super) fn tell_family(&mut self, id: TaskId, parent: Option<TaskId>) {
        if let Some(parent) = parent {
            self.go_on_if_satisfied(parent);
        }
        let children: Vec<TaskId> = self.children_of(id).collect();
        for child in children {
            let is_open = self.tasks.get(&child).is_some_and(|task| !task.is_over());
            let parent = self.tasks.get(&child).and_then(|task| task.parent);
            if is_open && parent.is_some_and(|parent| parent.ends_with_parent) {
                let reason = format!("task {}, which it is a part of, is over", id.0);
                self.cancel(child, &reason.into(), None).expect("it is open");
            }
        }
    }
}
