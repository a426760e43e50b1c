//! Queues: what is set, and what stands there, counted whenever somebody asks.

use agentcom_broker::core::command::{
    Name, QueueChange, QueueCounts, QueueView, Rejection, Reply, State, TaskId,
};
use agentcom_broker::core::limits::{BANDS_COUNTED, QueueSettings};

use super::{Model, Outcome};

impl Model {
    pub(super) fn settings(&self, queue: &Name) -> QueueSettings {
        self.queues.get(queue).cloned().unwrap_or_default()
    }

    pub(super) fn counts(&self, queue: &Name) -> QueueCounts {
        let count = |state| {
            let there = self.tasks.values().filter(|task| task.spec.queue == *queue);
            there.filter(|task| task.state == state).count() as u64
        };
        QueueCounts {
            held: count(State::Held),
            scheduled: count(State::Scheduled),
            ready: count(State::Ready),
            offered: count(State::Offered),
            running: count(State::Running),
            parked: count(State::Parked),
            dead: count(State::Dead),
        }
    }

    /// Tasks that nobody has yet, by band.
    pub(crate) fn queued(&self) -> [u64; BANDS_COUNTED] {
        let mut queued = [0; BANDS_COUNTED];
        for task in self.tasks.values() {
            if matches!(task.state, State::Held | State::Scheduled | State::Ready) {
                queued[usize::from(task.spec.band).min(BANDS_COUNTED - 1)] += 1;
            }
        }
        queued
    }

    /// Whether something of it may be granted.
    pub(super) fn is_open(&self, queue: &Name) -> bool {
        let settings = self.settings(queue);
        let leased = self.counts(queue).leased();
        let is_stopped = settings.paused || settings.leases_max.is_some_and(|max| leased >= max);
        !is_stopped && !self.reopens.contains_key(queue)
    }

    /// I-11: a queue with a rate pauses when a period has as many grants as it may.
    pub(super) fn count_grant(&mut self, queue: &Name) {
        let Some(rate) = self.settings(queue).rate else { return };
        let granted = self.granted.entry(queue.clone()).or_default();
        granted.push(self.tick);
        let latest: Vec<u64> = granted.iter().rev().take(rate.grants as usize).copied().collect();
        let opens = latest.last().map_or(0, |oldest| oldest + rate.period_ms);
        if latest.len() == rate.grants as usize && opens > self.tick {
            self.reopens.insert(queue.clone(), opens);
        }
    }

    fn queue_view(&self, queue: &Name) -> QueueView {
        let (settings, counts) = (self.settings(queue), self.counts(queue));
        QueueView { queue: queue.clone(), settings, counts }
    }

    /// A queue is there while it has tasks, dead letters or settings of its own.
    pub(crate) fn queue_views(&self) -> Vec<QueueView> {
        let mut names: Vec<Name> = self.queues.keys().cloned().collect();
        names.extend(self.tasks.values().map(|task| task.spec.queue.clone()));
        names.sort();
        names.dedup();
        let views = names.iter().map(|name| self.queue_view(name));
        let is_there = |view: &QueueView| {
            view.counts != QueueCounts::default() || view.settings != QueueSettings::default()
        };
        views.filter(is_there).collect()
    }

    pub(super) fn show_queue(&self, queue: &Name) -> Outcome {
        let found = self.queue_views().into_iter().find(|view| view.queue == *queue);
        let none = || Rejection::NoQueue { queue: queue.clone() };
        found.map(|view| Reply::Queue(Box::new(view))).ok_or_else(none)
    }

    pub(super) fn set_queue(&mut self, queue: &Name, change: &QueueChange) -> Reply {
        let settings = self.queues.entry(queue.clone()).or_default();
        if let Some(paused) = change.paused {
            settings.paused = paused;
        }
        if let Some(max) = change.leases_max {
            settings.leases_max = Some(max).filter(|max| *max > 0);
        }
        if let Some(rate) = change.rate
            && rate != settings.rate
        {
            settings.rate = rate;
            self.granted.remove(queue);
            self.reopens.remove(queue);
        }
        if let Some(order) = change.order {
            settings.order = order;
        }
        if let Some(weights) = &change.weights {
            settings.weights = weights.clone();
        }
        if let Some(keep_ms) = change.keep_ms {
            settings.keep_ms = keep_ms;
        }
        if let Some(keep_ms) = change.keep_dead_ms {
            settings.keep_dead_ms = Some(keep_ms).filter(|keep_ms| *keep_ms > 0);
        }
        Reply::Queue(Box::new(self.queue_view(queue)))
    }

    /// The ready tasks of a queue in the order in which they go.
    pub(super) fn ready_of(&self, queue: &Name) -> Vec<TaskId> {
        let ready = self.tasks.iter().filter(|(_, task)| task.state == State::Ready);
        let mut ready: Vec<_> = ready.filter(|(_, task)| task.spec.queue == *queue).collect();
        ready.sort_by_key(|(id, task)| task.place(**id));
        ready.into_iter().map(|(id, _)| *id).collect()
    }

    /// Whether so many more tasks may be open.
    pub(super) fn check_room(&self, queue: &Name, more: u64) -> Result<(), Rejection> {
        let tasks_max = self.config.queue_tasks_max;
        if self.counts(queue).open() + more > tasks_max {
            return Err(Rejection::QueueFull { queue: queue.clone(), tasks_max });
        }
        let max = self.config.open_tasks_max;
        if self.open().count() as u64 + more > max {
            return Err(Rejection::LimitReached { what: "the number of open tasks", max });
        }
        Ok(())
    }

    pub(super) fn purge(&mut self, queue: &Name, limit: usize) -> Reply {
        let waiting = self.open().filter(|(_, task)| task.spec.queue == *queue);
        let waiting = waiting.filter(|(_, task)| {
            matches!(task.state, State::Held | State::Scheduled | State::Parked)
        });
        let mut tasks = self.ready_of(queue);
        tasks.extend(waiting.map(|(id, _)| id));
        tasks.truncate(limit);
        for id in &tasks {
            self.change(*id, |task, _| task.call_off("purged".into()));
            self.tasks.remove(id);
        }
        let left = self.counts(queue);
        let left = left.held + left.scheduled + left.ready + left.parked;
        Reply::Purged { tasks: tasks.len() as u64, left }
    }
}
