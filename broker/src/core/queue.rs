//! Queues: what was set about them, and how many tasks stand where.
//!
//! A queue is there while it has tasks, dead letters or settings of its own. Counting is done
//! when a task moves, so that showing it costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Name, QueueCounts, QueueView, State, TaskId, Tick};
use super::limits::{BANDS_COUNTED, QueueSettings};
use super::rate::RateWindow;
use super::record::TaskRow;

/// One queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What was set.
    pub(super) settings: QueueSettings,
    /// What stands there.
    pub(super) counts: QueueCounts,
    /// Its held, scheduled and parked tasks; the ready ones are in the backlog.
    pub(super) waiting: BTreeSet<TaskId>,
    /// Its last grants, if it has a rate.
    window: RateWindow,
    /// When its rate lets the next task be granted, if that has to wait.
    pub(super) reopens: Option<Tick>,
}

impl Queue {
    /// Whether something of it may be granted.
    pub(super) fn is_open(&self) -> bool {
        let is_full = |max| self.counts.leased() >= max;
        let is_stopped = self.settings.paused || self.settings.leases_max.is_some_and(is_full);
        !is_stopped && self.reopens.is_none()
    }

    fn count_grant(&mut self, now: Tick) {
        if let Some(rate) = self.settings.rate {
            self.window.count(rate, now);
            self.reopens = self.window.opens(rate, now);
        }
    }

    fn is_forgettable(&self) -> bool {
        self.counts == QueueCounts::default() && self.settings == QueueSettings::default()
    }
}

/// All queues that are there, in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_name: BTreeMap<Name, Queue>,
    totals: QueueCounts,
    /// Tasks that nobody has yet, by band.
    queued: [u64; BANDS_COUNTED],
}

impl Queues {
    /// One queue, if it is there.
    pub(super) fn find(&self, name: &Name) -> Option<&Queue> {
        self.by_name.get(name)
    }

    /// What is set about a queue, whether it is there or not.
    pub(super) fn settings(&self, name: &Name) -> QueueSettings {
        self.find(name).map_or_else(QueueSettings::default, |queue| queue.settings.clone())
    }

    /// Change what is set about a queue. Gives whether it may grant now.
    pub(super) fn set(&mut self, name: &Name, settings: QueueSettings) -> bool {
        let queue = self.by_name.entry(name.clone()).or_default();
        if queue.settings.rate != settings.rate {
            (queue.window, queue.reopens) = (RateWindow::default(), None);
        }
        queue.settings = settings;
        let is_open = queue.is_open();
        self.forget_if_empty(name);
        is_open
    }

    /// The rate of a queue lets it go on. Gives whether it may grant now.
    pub(super) fn reopen(&mut self, name: &Name) -> bool {
        self.by_name.get_mut(name).is_none_or(|queue| {
            queue.reopens = None;
            queue.is_open()
        })
    }

    /// After a restart: take every rate for used up, and give the queues of which nothing may be
    /// granted, with when their rate lets them go on.
    pub(super) fn close(&mut self, now: Tick) -> Vec<(Name, Option<Tick>)> {
        let mut closed = Vec::new();
        for (name, queue) in &mut self.by_name {
            if let Some(rate) = queue.settings.rate {
                queue.window = RateWindow::spent(rate, now);
                queue.reopens = queue.window.opens(rate, now);
            }
            if !queue.is_open() {
                closed.push((name.clone(), queue.reopens));
            }
        }
        closed
    }

    /// A task moved from one state to another; `None` is outside. Gives whether its queue may
    /// grant now.
    pub(super) fn count(
        &mut self,
        name: &Name,
        task: TaskId,
        from: Option<State>,
        to: Option<State>,
        now: Tick,
    ) -> bool {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.clone(), Queue::default());
        }
        let queue = self.by_name.get_mut(name).expect("put there above");
        for counts in [&mut queue.counts, &mut self.totals] {
            if let Some(count) = from.and_then(|state| count_of(counts, state)) {
                *count -= 1;
            }
            if let Some(count) = to.and_then(|state| count_of(counts, state)) {
                *count += 1;
            }
        }
        if from == Some(State::Ready) && matches!(to, Some(State::Offered | State::Running)) {
            queue.count_grant(now);
        }
        let waits = |state| matches!(state, Some(State::Held | State::Scheduled | State::Parked));
        if waits(from) {
            queue.waiting.remove(&task);
        }
        if waits(to) {
            queue.waiting.insert(task);
        }
        let is_open = queue.is_open();
        self.forget_if_empty(name);
        is_open
    }

    /// A task is where it belongs: it counts if nobody has it yet.
    pub(super) fn enqueue(&mut self, row: &TaskRow) {
        if let Some(band) = band_queued(row) {
            self.queued[band] += 1;
        }
    }

    /// A task leaves from where it is, or its band changes.
    pub(super) fn unqueue(&mut self, row: &TaskRow) {
        if let Some(band) = band_queued(row) {
            self.queued[band] -= 1;
        }
    }

    /// Tasks that nobody has yet, by band.
    pub(super) fn queued(&self) -> [u64; BANDS_COUNTED] {
        self.queued
    }

    /// Tasks of all queues, by where they stand.
    pub(super) fn totals(&self) -> QueueCounts {
        self.totals
    }

    /// Queues behind a name, in order.
    pub(super) fn list(&self, after: Option<&Name>, limit: usize) -> Vec<QueueView> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        let range = self.by_name.range::<Name, _>((start, Unbounded));
        range.take(limit).map(|(name, queue)| queue.view(name)).collect()
    }

    fn forget_if_empty(&mut self, name: &Name) {
        if self.by_name.get(name).is_some_and(Queue::is_forgettable) {
            self.by_name.remove(name);
        }
    }
}

impl Queue {
    /// Everything worth showing.
    pub(super) fn view(&self, name: &Name) -> QueueView {
        QueueView { queue: name.clone(), settings: self.settings.clone(), counts: self.counts }
    }
}

/// Under which number a task is counted that nobody has yet.
fn band_queued(row: &TaskRow) -> Option<usize> {
    let is_queued = matches!(row.state(), State::Held | State::Scheduled | State::Ready);
    is_queued.then(|| usize::from(row.spec.band).min(BANDS_COUNTED - 1))
}

fn count_of(counts: &mut QueueCounts, state: State) -> Option<&mut u64> {
    match state {
        State::Held => Some(&mut counts.held),
        State::Scheduled => Some(&mut counts.scheduled),
        State::Ready => Some(&mut counts.ready),
        State::Offered => Some(&mut counts.offered),
        State::Running => Some(&mut counts.running),
        State::Parked => Some(&mut counts.parked),
        State::Dead => Some(&mut counts.dead),
        State::Completed | State::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Rate;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_queue_is_there_while_it_has_tasks_dead_letters_or_settings() {
        let mut queues = Queues::default();
        let (q, task) = (name("q"), TaskId(1));
        queues.count(&q, task, None, Some(State::Ready), Tick(0));
        queues.count(&q, task, Some(State::Ready), Some(State::Dead), Tick(0));
        assert_eq!((queues.totals().open(), queues.totals().dead), (0, 1));
        assert!(queues.find(&q).is_some());
        queues.set(&q, QueueSettings { paused: true, ..QueueSettings::default() });
        queues.count(&q, task, Some(State::Dead), None, Tick(0));
        assert!(queues.find(&q).is_some());
        queues.set(&q, QueueSettings::default());
        assert!(queues.find(&q).is_none());
    }

    #[test]
    fn a_full_queue_opens_again_when_a_lease_ends() {
        let mut queues = Queues::default();
        let (q, task) = (name("q"), TaskId(1));
        queues.set(&q, QueueSettings { leases_max: Some(1), ..QueueSettings::default() });
        assert!(queues.count(&q, task, None, Some(State::Ready), Tick(0)));
        assert!(!queues.count(&q, task, Some(State::Ready), Some(State::Offered), Tick(0)));
        assert!(!queues.count(&q, task, Some(State::Offered), Some(State::Running), Tick(0)));
        assert!(queues.count(&q, task, Some(State::Running), Some(State::Completed), Tick(0)));
    }

    #[test]
    fn a_queue_with_a_rate_closes_for_the_rest_of_the_period_and_counts_only_grants() {
        let mut queues = Queues::default();
        let q = name("q");
        let rate = Some(Rate { grants: 1, period_ms: 10 });
        queues.set(&q, QueueSettings { rate, ..QueueSettings::default() });
        let move_to = |queues: &mut Queues, from, to, at| {
            queues.count(&q, TaskId(1), Some(from), Some(to), Tick(at))
        };
        queues.count(&q, TaskId(1), None, Some(State::Ready), Tick(5));
        assert!(!move_to(&mut queues, State::Ready, State::Offered, 5));
        assert!(!move_to(&mut queues, State::Offered, State::Running, 6));
        assert!(!move_to(&mut queues, State::Running, State::Ready, 14));
        assert_eq!(queues.find(&q).unwrap().reopens, Some(Tick(15)));
        assert!(queues.reopen(&q));
        // Another rate begins with nothing used up.
        let rate = Some(Rate { grants: 1, period_ms: 100 });
        assert!(queues.set(&q, QueueSettings { rate, ..QueueSettings::default() }));
        assert_eq!(queues.close(Tick(0)), [(q.clone(), Some(Tick(100)))]);
    }

    #[test]
    fn lists_go_on_behind_a_name() {
        let mut queues = Queues::default();
        for text in ["c", "a", "b"] {
            queues.count(&name(text), TaskId(1), None, Some(State::Ready), Tick(0));
        }
        let names = |after: Option<&str>, limit| -> Vec<String> {
            let views = queues.list(after.map(name).as_ref(), limit);
            views.iter().map(|view| view.queue.to_string()).collect()
        };
        assert_eq!(names(None, 2), ["a", "b"]);
        assert_eq!(names(Some("b"), 2), ["c"]);
    }
}
