//! T1-T5: submit, alone and in batches, with edges and keys.

use std::collections::BTreeSet;

use agentcom_broker::core::command::{
    After, AfterTask, Dedup, DedupMode, Generation, Name, Rejection, Start, State, Submit,
    Submitted, TaskId,
};

use super::park::Parent;
use super::task::{Edge, Wait};
use super::{Model, Task};

/// A key that counts, or may count again.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(super) task: TaskId,
    pub(super) mode: DedupMode,
    pub(super) anchor: u64,
    /// When it counts no more by itself.
    pub(super) until: Option<u64>,
    pub(super) ended: Option<(State, u64)>,
}

impl Key {
    pub(super) fn window_ms(&self) -> Option<u64> {
        match self.mode {
            DedupMode::Return(window_ms) | DedupMode::Reject(window_ms) => Some(window_ms),
            _ => None,
        }
    }
}

/// The first of the batch that this one repeats.
fn twin(batch: &[Submit], position: usize) -> Option<usize> {
    let submit = &batch[position];
    let key = &submit.dedup.as_ref()?.key;
    (0..position).find(|earlier| {
        let other = &batch[*earlier];
        other.spec.queue == submit.spec.queue
            && other
                .dedup
                .as_ref()
                .is_some_and(|dedup| dedup.key == *key && dedup.mode != DedupMode::WhileRunning)
    })
}

/// Positions that this one waits for; a repetition waits for nothing of its own.
fn waits_for(batch: &[Submit], position: usize) -> Vec<usize> {
    if twin(batch, position).is_some() {
        return Vec::new();
    }
    let positions = batch[position].after.iter().filter_map(|after| match after.task {
        AfterTask::InBatch(other) => Some(other),
        AfterTask::Kept(_) => None,
    });
    positions.collect()
}

/// Whether a task of a batch waits for itself, by way of others or directly.
pub(crate) fn is_in_cycle(batch: &[Submit], position: usize) -> bool {
    let mut reached = BTreeSet::new();
    let mut frontier = vec![position];
    while let Some(at) = frontier.pop() {
        for next in waits_for(batch, at) {
            let next = twin(batch, next).unwrap_or(next);
            if reached.insert(next) {
                frontier.push(next);
            }
        }
    }
    reached.contains(&position)
}

impl Model {
    fn key_of(&self, submit: &Submit) -> Option<&Key> {
        let dedup = submit.dedup.as_ref()?;
        let key = self.keys.get(&(submit.spec.queue.clone(), dedup.key.clone()))?;
        let state = self.tasks.get(&key.task).map(|task| task.state);
        let is_open = state.is_some_and(|state| !state.is_terminal());
        let counts = match key.mode {
            DedupMode::Return(_) | DedupMode::Reject(_) => true,
            DedupMode::Replace | DedupMode::UntilDone => is_open,
            DedupMode::Debounce { .. } => state == Some(State::Scheduled),
            DedupMode::WhileRunning => matches!(state, Some(State::Offered | State::Running)),
        };
        counts.then_some(key)
    }

    pub(super) fn check_batch(&self, batch: &[Submit]) -> Result<(), Rejection> {
        for (position, submit) in batch.iter().enumerate() {
            let queue = &submit.spec.queue;
            let so_far = batch[..=position].iter().filter(|other| other.spec.queue == *queue);
            self.check_room(queue, so_far.count() as u64)?;
            for After { task, .. } in &submit.after {
                if let AfterTask::Kept(task) = *task
                    && !self.tasks.contains_key(&task)
                {
                    return Err(Rejection::UnknownDependency { task });
                }
            }
            if let Some(Dedup { key, mode: DedupMode::Reject(_) }) = &submit.dedup {
                let (key, queue) = (key.clone(), queue.clone());
                if let Some(known) = self.key_of(submit) {
                    return Err(Rejection::Exists { task: known.task, key, queue });
                }
                if twin(batch, position).is_some() {
                    return Err(Rejection::Twin { position: position + 1, key, queue });
                }
            }
        }
        for position in 0..batch.len() {
            let beyond = waits_for(batch, position).into_iter().find(|at| *at >= batch.len());
            if let Some(beyond) = beyond {
                return Err(Rejection::NotInBatch { position: beyond + 1, tasks: batch.len() });
            }
        }
        match (0..batch.len()).find(|position| is_in_cycle(batch, *position)) {
            Some(position) => Err(Rejection::Cycle { position: position + 1 }),
            None => Ok(()),
        }
    }

    pub(super) fn submit_parts(
        &mut self,
        batch: &[Submit],
        parent: Option<Parent>,
    ) -> Result<Vec<Submitted>, Rejection> {
        self.check_batch(batch)?;
        let mut ids: Vec<(TaskId, bool)> = Vec::new();
        for (position, submit) in batch.iter().enumerate() {
            let known = self.key_of(submit).map(|key| key.task);
            let known = known.or_else(|| Some(ids[twin(batch, position)?].0));
            ids.push(match known {
                Some(task) => (task, true),
                None => (self.new_task_id(), false),
            });
        }
        for (submit, (id, is_known)) in batch.iter().zip(&ids) {
            if *is_known {
                self.submit_again(*id, submit);
            } else {
                self.submit_one(*id, submit, &ids, parent);
            }
        }
        let submitted = |(task, existing): &(TaskId, bool)| {
            let now = self.tasks.get(task).map(|task| (task.state, task.generation));
            // Of a task that is forgotten, its key may still know the end.
            let then = || self.keys.values().find(|key| key.task == *task)?.ended;
            let (state, generation) = now.or_else(then).expect("it is known");
            let (generation, existing) = (Generation(generation), *existing);
            Submitted { task: *task, state, generation, existing }
        };
        Ok(ids.iter().map(submitted).collect())
    }

    fn submit_one(
        &mut self,
        id: TaskId,
        submit: &Submit,
        ids: &[(TaskId, bool)],
        parent: Option<Parent>,
    ) {
        let at = self.clocks();
        let mut task = Task::new(submit, &at);
        let start = match &submit.dedup {
            Some(Dedup { mode: DedupMode::Debounce { delay_ms, .. }, .. }) => Start::In(*delay_ms),
            _ => submit.start,
        };
        let wait = Wait::of(start, self.wall);
        if let Some(parent) = parent {
            task.parent = Some(parent);
            self.parents.insert(id, parent.task);
        }
        for After { task: other, on } in &submit.after {
            let other = match *other {
                AfterTask::Kept(other) => other,
                AfterTask::InBatch(position) => ids[position].0,
            };
            task.after.push(Edge { task: other, on: *on, is_blocked: false });
            let is_over =
                self.tasks.get(&other).map_or(self.endings.contains_key(&other), Task::is_over);
            if is_over {
                self.ended.push_back((other, Some(id)));
            }
        }
        if !task.after.is_empty() {
            task.state = State::Held;
            task.start = wait;
        } else if let Some(wait) = wait {
            task.schedule(wait, &at);
        } else {
            task.open_window(&at);
        }
        if let Some(Dedup { key, mode }) = &submit.dedup {
            task.key = Some(key.clone());
            let mut known =
                Key { task: id, mode: *mode, anchor: self.wall, until: None, ended: None };
            known.until = known.window_ms().map(|window_ms| self.tick + window_ms);
            self.keys.insert((submit.spec.queue.clone(), key.clone()), known);
        }
        self.tasks.insert(id, task);
        self.announce(id, None, false, None);
    }

    /// T4.
    fn submit_again(&mut self, id: TaskId, submit: &Submit) {
        let wall = self.wall;
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.is_over()) else { return };
        match submit.dedup.as_ref().map(|dedup| dedup.mode) {
            Some(DedupMode::Replace) if !task.is_leased() => {
                task.payload = submit.payload.clone();
                task.headers = submit.headers.clone();
                if submit.headers.is_some() && !task.spec.has_headers {
                    self.change(id, |task, _| task.spec.has_headers = true);
                }
            }
            Some(DedupMode::Debounce { delay_ms, max_ms }) if task.state == State::Scheduled => {
                let latest = (task.submitted + max_ms).saturating_sub(wall);
                let delay_ms = delay_ms.min(latest);
                let wait = Wait::For { delay_ms, anchor: wall, keeps_place: false };
                self.change(id, |task, at| task.schedule(wait, at));
            }
            _ => {}
        }
    }

    /// A task is over; its key is free, unless its window goes on.
    pub(super) fn free_key(&mut self, id: TaskId) {
        let Some(at) = self.own_key(id) else { return };
        let (state, generation) = (self.tasks[&id].state, self.tasks[&id].generation);
        let key = self.keys.get_mut(&at).expect("its own key");
        if key.until.is_some() {
            key.ended = Some((state, generation));
        } else {
            self.keys.remove(&at);
        }
    }

    /// T46: the key stands for open work again.
    pub(super) fn revive_key(&mut self, id: TaskId) {
        if let Some(at) = self.own_key(id) {
            self.keys.get_mut(&at).expect("its own key").ended = None;
        }
    }

    fn own_key(&self, id: TaskId) -> Option<(Name, Name)> {
        let task = &self.tasks[&id];
        let at = (task.spec.queue.clone(), task.key.clone()?);
        self.keys.get(&at).is_some_and(|key| key.task == id).then_some(at)
    }
}
