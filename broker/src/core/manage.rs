//! Queues as their operators see them. The half of [`Core`] that sets, shows and empties them.

use super::Core;
use super::command::{
    Name, Now, QueueChange, QueueCounts, QueueView, Rejection, Reply, TaskId, TaskView, Tick,
};
use super::record::Record;
use super::timers::Timer;

impl Core {
    /// Change what is set about a queue, which need not be there yet.
    pub(super) fn set_queue(&mut self, queue: Name, change: &QueueChange) -> Reply {
        let mut settings = self.queues.settings(&queue);
        let QueueChange { paused, leases_max, rate, order, weights, keep_ms, keep_dead_ms } =
            change;
        if let Some(paused) = paused {
            settings.paused = *paused;
        }
        if let Some(max) = leases_max {
            settings.leases_max = (*max > 0).then_some(*max);
        }
        if let Some(rate) = rate {
            settings.rate = *rate;
        }
        if let Some(order) = order {
            settings.order = *order;
        }
        if let Some(weights) = weights {
            settings.weights = weights.clone();
        }
        self.backlog.set_order(&queue, &settings);
        if let Some(keep_ms) = keep_ms {
            settings.keep_ms = *keep_ms;
        }
        if let Some(keep_ms) = keep_dead_ms {
            settings.keep_dead_ms = (*keep_ms > 0).then_some(*keep_ms);
        }
        let former = self.reopens(&queue);
        self.persist(Record::Queue { queue: queue.clone(), settings: settings.clone() });
        let counts = self.queues.find(&queue).map(|queue| queue.counts).unwrap_or_default();
        let is_open = self.queues.set(&queue, settings.clone());
        if let Some(at) = former.filter(|_| self.reopens(&queue).is_none()) {
            self.deadlines.clear(at, Timer::Rate(queue.clone()));
        }
        self.open_queue(&queue, is_open);
        Reply::Queue(Box::new(QueueView { queue, settings, counts }))
    }

    /// When the rate of a queue lets it go on, if it has to wait for that.
    pub(super) fn reopens(&self, queue: &Name) -> Option<Tick> {
        self.queues.find(queue).and_then(|queue| queue.reopens)
    }

    pub(super) fn show_queue(&self, queue: Name) -> Result<Reply, Rejection> {
        match self.queues.find(&queue) {
            Some(found) => Ok(Reply::Queue(Box::new(found.view(&queue)))),
            None => Err(Rejection::NoQueue { queue }),
        }
    }

    pub(super) fn peek(&self, queue: &Name, limit: usize) -> Reply {
        let first = self.backlog.first_of(queue, limit);
        let view = |task: &TaskId| -> TaskView { self.tasks[*task].row.view(None, None) };
        Reply::Tasks(first.iter().map(view).collect())
    }

    /// Cancel and forget what nobody holds.
    pub(super) fn purge(&mut self, queue: &Name, limit: usize, now: Now) -> Reply {
        let mut tasks = self.backlog.first_of(queue, limit);
        if let Some(queue) = self.queues.find(queue) {
            let left = limit - tasks.len();
            tasks.extend(queue.waiting.iter().take(left));
        }
        for &id in &tasks {
            self.end_and_forget(id, now, |task, _, at| task.cancel("purged".into(), at));
        }
        let counts = self.queues.find(queue).map(|queue| queue.counts).unwrap_or_default();
        let QueueCounts { held, scheduled, ready, parked, .. } = counts;
        Reply::Purged { tasks: tasks.len() as u64, left: held + scheduled + ready + parked }
    }
}
