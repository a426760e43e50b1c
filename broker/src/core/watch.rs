//! Whoever wants to know what becomes of one task: to watch it, or to wait for its end.
//!
//! A watcher is answered with the task as it is and hears of every event behind that. One that
//! comes back names the last event that it knows and hears of the later ones first, as far as they
//! are remembered; where they are not, the numbers show it, and the answer is the truth.

use hashbrown::HashMap;

use super::Core;
use super::command::{Now, Push, Rejection, Reply, RequestId, SessionId, TaskId, Tick, WatchId};
use super::live::Live;
use super::record::TaskRow;
use super::timers::Timer;

/// Everybody who is interested in a single task.
#[derive(Debug, Default)]
pub(super) struct Audience {
    awaits: HashMap<RequestId, Awaiting>,
    sessions: HashMap<SessionId, Interests>,
}

/// What one session is interested in.
#[derive(Debug, Default)]
struct Interests {
    watched: Vec<TaskId>,
    awaits: Vec<RequestId>,
}

/// Somebody who waits for the end of a task.
#[derive(Debug)]
struct Awaiting {
    session: Option<SessionId>,
    task: TaskId,
    until: Tick,
}

impl Audience {
    /// How many wait for the end of a task.
    pub(super) fn len(&self) -> usize {
        self.awaits.len()
    }

    /// Who waits for the end of a task.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.awaits.keys().copied()
    }

    fn add_await(&mut self, request: RequestId, awaiting: Awaiting) {
        if let Some(session) = awaiting.session {
            self.sessions.entry(session).or_default().awaits.push(request);
        }
        self.awaits.insert(request, awaiting);
    }

    fn take_await(&mut self, request: RequestId) -> Option<Awaiting> {
        let awaiting = self.awaits.remove(&request)?;
        if let Some(session) = awaiting.session {
            self.lose_interest(session, |interests| {
                interests.awaits.retain(|waiting| *waiting != request);
            });
        }
        Some(awaiting)
    }

    fn lose_interest(&mut self, session: SessionId, lose: impl FnOnce(&mut Interests)) {
        if let Some(interests) = self.sessions.get_mut(&session) {
            lose(interests);
            if interests.watched.is_empty() && interests.awaits.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }

    fn unwatch(&mut self, session: SessionId, task: TaskId) {
        self.lose_interest(session, |interests| interests.watched.retain(|other| *other != task));
    }
}

impl Core {
    /// Answer with the task once it is over. `None`: that is not yet.
    pub(super) fn wait_for(
        &mut self,
        request: RequestId,
        session: Option<SessionId>,
        id: TaskId,
        timeout_ms: u64,
        rows: Vec<TaskRow>,
        now: Now,
    ) -> Option<Result<Reply, Rejection>> {
        if !self.tasks.has(id) || timeout_ms == 0 {
            return Some(self.show(id, &rows));
        }
        if self.waiting() >= self.config.waiting_max {
            let what = "the number of requests that wait";
            let max = self.config.waiting_max as u64;
            return Some(Err(Rejection::LimitReached { what, max }));
        }
        let until = now.tick.after(timeout_ms);
        let task = self.tasks.get_mut(id).expect("looked up above");
        task.live().awaits.push(request);
        self.audience.add_await(request, Awaiting { session, task: id, until });
        self.deadlines.set(until, Timer::Await(request));
        None
    }

    /// The wait for the end of a task was long enough: answer with the task as it is.
    pub(super) fn stop_waiting(&mut self, request: RequestId) {
        let Some(Awaiting { task: id, until, .. }) = self.audience.take_await(request) else {
            return;
        };
        self.deadlines.clear(until, Timer::Await(request));
        if let Some(live) = self.tasks.get_mut(id).and_then(|task| task.live.as_mut()) {
            live.awaits.retain(|waiting| *waiting != request);
        }
        let outcome = self.show(id, &[]);
        self.reply(request, outcome);
    }

    pub(super) fn watch(
        &mut self,
        request: RequestId,
        watch: WatchId,
        session: SessionId,
        id: TaskId,
        from: Option<u64>,
        rows: &[TaskRow],
    ) {
        let interests = self.audience.sessions.get(&session);
        let watched = interests.map_or(0, |interests| interests.watched.len());
        if watched >= self.config.watches_max {
            let what = "the number of tasks that a session watches";
            let max = self.config.watches_max as u64;
            return self.reply(request, Err(Rejection::LimitReached { what, max }));
        }
        let outcome = self.show(id, rows);
        self.reply(request, outcome);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let live = task.live();
        live.watches.push((watch, session));
        let known = from.unwrap_or(u64::MAX);
        let later = live.events.iter().filter(|event| event.seq > known);
        let pushes: Vec<Push> =
            later.map(|event| Push::Event { watch, event: event.clone() }).collect();
        self.audience.sessions.entry(session).or_default().watched.push(id);
        for push in pushes {
            self.deliver(session, push);
        }
    }

    pub(super) fn unwatch(&mut self, session: SessionId, id: TaskId) -> Reply {
        if let Some(live) = self.tasks.get_mut(id).and_then(|task| task.live.as_mut()) {
            live.watches.retain(|(_, watcher)| *watcher != session);
        }
        self.audience.unwatch(session, id);
        Reply::Noted
    }

    /// The session is over: nothing is pushed to it any more, and it waits for nothing.
    pub(super) fn forget_audience(&mut self, session: SessionId) {
        let Some(Interests { watched, awaits }) = self.audience.sessions.remove(&session) else {
            return;
        };
        for request in awaits {
            self.stop_waiting(request);
        }
        for id in watched {
            if let Some(live) = self.tasks.get_mut(id).and_then(|task| task.live.as_mut()) {
                live.watches.retain(|(_, watcher)| *watcher != session);
            }
        }
    }

    /// A task is over: whoever waited for that is answered, and nobody watches it any more.
    pub(super) fn dismiss(&mut self, id: TaskId, live: &Live, row: &TaskRow) {
        for request in &live.awaits {
            if let Some(awaiting) = self.audience.take_await(*request) {
                self.deadlines.clear(awaiting.until, Timer::Await(*request));
                self.reply(*request, Ok(Reply::Task(Box::new(row.view(None, None)))));
            }
        }
        for (_, session) in &live.watches {
            self.audience.unwatch(*session, id);
        }
    }
}
