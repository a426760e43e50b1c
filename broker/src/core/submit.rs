//! Work comes in. The half of [`Core`] for T1-T5.
//!
//! One task is a batch of one. Everything that can be refused is refused before anything changes;
//! then ids are given out in order, so that edges may point both ways, and the tasks are kept.

use std::sync::Arc;

use super::command::{
    After, AfterTask, Dedup, DedupMode, Generation, Name, Now, Rejection, Scarcity, Spec, Start,
    State, Submit, Submitted, TaskId,
};
use super::depend::Ended;
use super::limits::{BATCH_MAX, EDGES_MAX};
use super::record::{BodyKind, DedupRow, Edge, Parent, Record, TaskRow, Wait};
use super::task::Task;
use super::{Core, Step};

/// What becomes of one submit of a batch.
#[derive(Clone, Copy, Debug)]
struct Fate {
    task: TaskId,
    /// It was submitted before.
    existing: bool,
    /// And that is over already.
    ended: Option<(State, Generation)>,
}

/// Tasks outside the batch that a submit waits for.
pub(super) fn named_by(submit: &Submit) -> impl Iterator<Item = TaskId> {
    submit.after.iter().filter_map(|after| match after.task {
        AfterTask::Kept(task) => Some(task),
        AfterTask::InBatch(_) => None,
    })
}

impl Core {
    /// T1-T5: keep all of these or none.
    pub(super) fn submit_all(
        &mut self,
        batch: Vec<Submit>,
        parent: Option<Parent>,
        rows: &[TaskRow],
        now: Now,
    ) -> Result<Vec<Submitted>, Rejection> {
        self.check_batch(&batch, rows)?;
        let mut fates: Vec<Fate> = Vec::with_capacity(batch.len());
        for (position, submit) in batch.iter().enumerate() {
            let known = submit.dedup.as_ref().and_then(|dedup| {
                let row = self.known_under(&submit.spec.queue, &dedup.key)?;
                Some(Fate { task: row.task, existing: true, ended: row.ended })
            });
            let twin = || Some(Fate { existing: true, ..fates[twin_before(&batch, position)?] });
            let fate = known.or_else(twin).unwrap_or_else(|| Fate {
                task: self.new_task_id(),
                existing: false,
                ended: None,
            });
            fates.push(fate);
        }
        for (submit, fate) in batch.into_iter().zip(&fates) {
            if fate.existing {
                self.submit_again(fate.task, submit, now);
            } else {
                self.submit_one(fate.task, submit, parent, &fates, rows, now);
            }
        }
        Ok(fates.iter().map(|fate| self.submitted(*fate)).collect())
    }

    /// Everything that can be refused about a batch.
    pub(super) fn check_batch(&self, batch: &[Submit], rows: &[TaskRow]) -> Result<(), Rejection> {
        if batch.len() > BATCH_MAX {
            let (what, max) = ("the number of tasks of a batch", BATCH_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        for (position, submit) in batch.iter().enumerate() {
            if submit.after.len() > EDGES_MAX {
                let (what, max) = ("the number of tasks that one waits for", EDGES_MAX as u64);
                return Err(Rejection::LimitReached { what, max });
            }
            let queue = &submit.spec.queue;
            let same = |other: &&Submit| other.spec.queue == *queue;
            self.check_room(queue, batch[..=position].iter().filter(same).count() as u64)?;
            let is_known =
                |task: &TaskId| self.tasks.has(*task) || rows.iter().any(|row| row.task == *task);
            if let Some(task) = named_by(submit).find(|task| !is_known(task)) {
                return Err(Rejection::UnknownDependency { task });
            }
            if let Some(Dedup { key, mode: DedupMode::Reject(_) }) = &submit.dedup {
                let (key, queue) = (key.clone(), queue.clone());
                if let Some(row) = self.known_under(&queue, &key) {
                    return Err(Rejection::Exists { task: row.task, key, queue });
                }
                if twin_before(batch, position).is_some() {
                    return Err(Rejection::Twin { position: position + 1, key, queue });
                }
            }
        }
        check_cycles(batch)
    }

    /// Whether there is room on the disk for what nobody has asked for before. What is under way
    /// goes on without asking.
    pub(super) fn check_disk(&self) -> Result<(), Rejection> {
        match self.scarcity {
            None => Ok(()),
            Some(Scarcity { free_bytes, free_bytes_min }) => {
                Err(Rejection::NoRoom { free_bytes, free_bytes_min })
            }
        }
    }

    /// Whether so many more tasks may be open.
    pub(super) fn check_room(&self, queue: &Name, more: u64) -> Result<(), Rejection> {
        self.check_disk()?;
        let open = self.queues.find(queue).map_or(0, |queue| queue.counts.open());
        let tasks_max = self.config.queue_tasks_max;
        if open + more > tasks_max {
            return Err(Rejection::QueueFull { queue: queue.clone(), tasks_max });
        }
        let max = self.config.open_tasks_max;
        if self.queues.totals().open() + more > max {
            return Err(Rejection::LimitReached { what: "the number of open tasks", max });
        }
        Ok(())
    }

    fn submit_one(
        &mut self,
        id: TaskId,
        submit: Submit,
        parent: Option<Parent>,
        fates: &[Fate],
        rows: &[TaskRow],
        now: Now,
    ) {
        let Submit { spec, payload, headers, start, dedup, after } = submit;
        let queue = spec.queue.clone();
        let at = self.moment(now);
        let spec = self.specs.share(spec);
        let mut task = Task::submit(id, spec, at);
        let over = |task| rows.iter().find(|row| row.task == task).map(TaskRow::state);
        let mut edges: Vec<Edge> = Vec::with_capacity(after.len());
        for After { task, on } in after {
            let (task, ended) = match task {
                AfterTask::Kept(task) => (task, over(task)),
                AfterTask::InBatch(position) => {
                    let Fate { task, ended, .. } = fates[position];
                    (task, ended.map(|(state, _)| state))
                }
            };
            edges.push(Edge { task, on, is_blocked: false });
            match ended {
                Some(state) => {
                    self.ended.push_back(Ended { task, state, parent: None, only: Some(id) })
                }
                None => self.dependents.add(task, id),
            }
        }
        let delay = match &dedup {
            Some(Dedup { mode: DedupMode::Debounce { delay_ms, .. }, .. }) => Start::In(*delay_ms),
            _ => start,
        };
        let wait = wait_of(delay, now);
        if !edges.is_empty() {
            task.hold(edges, wait);
        } else if let Some(wait) = wait {
            task.schedule(wait, at);
        } else {
            task.open_window(at);
        }
        self.persist(Record::Body { task: id, kind: BodyKind::Payload, bytes: payload });
        if let Some(bytes) = headers {
            self.persist(Record::Body { task: id, kind: BodyKind::Headers, bytes });
        }
        if let Some(Dedup { key, mode }) = dedup {
            task.row.details_mut().dedup = Some(key.clone());
            let anchor_ms = now.wall_ms;
            self.set_dedup(DedupRow { queue, key, task: id, mode, anchor_ms, ended: None }, now);
        }
        if let Some(parent) = parent {
            task.row.details_mut().parent = Some(parent);
            self.children.add(parent.task, id);
        }
        self.admit(task);
        self.persist_task(id);
        self.announce(id, Step { from: None, has_failed: false }, None);
        self.settle(id, None);
    }

    /// T4: the task is there already; some modes change it.
    fn submit_again(&mut self, id: TaskId, submit: Submit, now: Now) {
        let Some(task) = self.tasks.get(id) else { return };
        let state = task.row.state();
        match submit.dedup.map(|dedup| dedup.mode) {
            Some(DedupMode::Replace) if !matches!(state, State::Offered | State::Running) => {
                self.replace(id, submit.payload, submit.headers, now);
            }
            Some(DedupMode::Debounce { delay_ms, max_ms }) if state == State::Scheduled => {
                let first_ms = task.row.submitted_ms;
                let latest_ms = first_ms.saturating_add(max_ms).saturating_sub(now.wall_ms);
                let (delay_ms, anchor_ms) = (delay_ms.min(latest_ms), now.wall_ms);
                let wait = Wait::For { delay_ms, anchor_ms, keeps_place: false };
                self.change(id, now, |task, _, at| task.postpone(wait, at));
            }
            _ => {}
        }
    }

    /// T4, *replace*: it carries something else now.
    fn replace(&mut self, id: TaskId, bytes: Arc<[u8]>, headers: Option<Arc<[u8]>>, now: Now) {
        self.persist(Record::Body { task: id, kind: BodyKind::Payload, bytes });
        let former = self.tasks[id].row.spec.clone();
        if headers.is_some() && !former.has_headers {
            let spec =
                self.specs.share(Arc::new(Spec { has_headers: true, ..Spec::clone(&former) }));
            self.change(id, now, |task, _, at| task.carry(spec, at));
        }
        // Where there are none any more, an empty body stands for that.
        if let Some(bytes) = headers.or_else(|| former.has_headers.then(Arc::default)) {
            self.persist(Record::Body { task: id, kind: BodyKind::Headers, bytes });
        }
    }

    fn submitted(&self, Fate { task, existing, ended }: Fate) -> Submitted {
        let open = self.tasks.get(task).map(|open| (open.row.state(), open.row.generation));
        let (state, generation) = open.or(ended).expect("what exists is open or has ended");
        Submitted { task, state, generation, existing }
    }
}

/// The position of an earlier submit of the batch that this one repeats.
fn twin_before(batch: &[Submit], position: usize) -> Option<usize> {
    let submit = &batch[position];
    let own = submit.dedup.as_ref()?;
    batch[..position].iter().position(|other| {
        let counts = |dedup: &Dedup| dedup.key == own.key && dedup.mode != DedupMode::WhileRunning;
        other.spec.queue == submit.spec.queue && other.dedup.as_ref().is_some_and(counts)
    })
}

/// What a task waits for that starts like this.
pub(super) fn wait_of(start: Start, now: Now) -> Option<Wait> {
    match start {
        Start::Now | Start::In(0) => None,
        Start::In(delay_ms) => {
            Some(Wait::For { delay_ms, anchor_ms: now.wall_ms, keeps_place: false })
        }
        Start::At(wall_ms) => (wall_ms > now.wall_ms).then_some(Wait::Until { wall_ms }),
    }
}

/// Only tasks of one batch can wait for each other in a circle, because nobody can name a task
/// that comes later. Kahn's way: take out what waits for nobody, until nothing is left or nothing
/// can be taken.
fn check_cycles(batch: &[Submit]) -> Result<(), Rejection> {
    // A repetition is the task that it repeats, and waits for nothing of its own.
    let twins: Vec<Option<usize>> =
        (0..batch.len()).map(|position| twin_before(batch, position)).collect();
    let inside = |position: usize| -> Vec<usize> {
        let after = if twins[position].is_some() { &[][..] } else { &batch[position].after };
        let positions = after.iter().filter_map(|after| match after.task {
            AfterTask::InBatch(other) => Some(twins.get(other).copied().flatten().unwrap_or(other)),
            AfterTask::Kept(_) => None,
        });
        positions.collect()
    };
    let mut waits: Vec<usize> = (0..batch.len()).map(|position| inside(position).len()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); batch.len()];
    for position in 0..batch.len() {
        for other in inside(position) {
            let Some(list) = dependents.get_mut(other) else {
                return Err(Rejection::NotInBatch { position: other + 1, tasks: batch.len() });
            };
            list.push(position);
        }
    }
    let mut free: Vec<usize> = (0..batch.len()).filter(|&position| waits[position] == 0).collect();
    while let Some(position) = free.pop() {
        for &dependent in &dependents[position] {
            waits[dependent] -= 1;
            if waits[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    let Some(mut member) = waits.iter().position(|&waits| waits > 0) else { return Ok(()) };
    // What is left waits for something that is left; who follows that for long enough is in a
    // circle.
    for _ in 0..batch.len() {
        let next = inside(member).into_iter().find(|&other| waits[other] > 0);
        member = next.expect("what is left waits for something that is left");
    }
    Err(Rejection::Cycle { position: member + 1 })
}
