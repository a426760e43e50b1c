//! Whoever wants to know what becomes of one task.

use agentcom_broker::core::command::{Push, Rejection, RequestId, SessionId, TaskId, WatchId};

use super::{Model, Outcome, Pushed};

#[derive(Clone, Debug)]
pub(crate) struct WaitingAwait {
    pub(super) request: RequestId,
    pub(super) session: Option<SessionId>,
    pub(super) task: TaskId,
    pub(super) until: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Watching {
    pub(super) watch: WatchId,
    pub(super) session: SessionId,
    pub(super) task: TaskId,
}

impl Model {
    pub(super) fn wait_for(
        &mut self,
        request: RequestId,
        session: Option<SessionId>,
        id: TaskId,
        timeout_ms: u64,
    ) -> Option<Outcome> {
        let is_open = self.tasks.get(&id).is_some_and(|task| !task.is_over());
        if !is_open || timeout_ms == 0 {
            return Some(self.show(id));
        }
        if let Err(rejection) = self.check_waiting() {
            return Some(Err(rejection));
        }
        let until = self.tick + timeout_ms;
        self.awaits.push(WaitingAwait { request, session, task: id, until });
        None
    }

    pub(super) fn answer_awaits(&mut self, id: TaskId) {
        self.stop_awaits(|one| one.task == id);
    }

    pub(super) fn stop_awaits_of(&mut self, session: SessionId) {
        self.stop_awaits(|one| one.session == Some(session));
    }

    fn stop_awaits(&mut self, is_over: impl Fn(&WaitingAwait) -> bool) {
        let over = self.awaits.iter().filter(|one| is_over(one));
        let over: Vec<RequestId> = over.map(|one| one.request).collect();
        for request in over {
            self.stop_await(request);
        }
    }

    pub(super) fn stop_await(&mut self, request: RequestId) {
        let position = self.awaits.iter().position(|one| one.request == request);
        let WaitingAwait { task, .. } = self.awaits.remove(position.expect("it waits"));
        let outcome = self.show(task);
        self.reply(request, outcome);
    }

    pub(super) fn watch(
        &mut self,
        request: RequestId,
        watch: WatchId,
        session: SessionId,
        id: TaskId,
        from: Option<u64>,
    ) {
        let max = self.config.watches_max;
        let outcome = if self.watches.iter().filter(|one| one.session == session).count() >= max {
            let what = "the number of tasks that a session watches";
            Err(Rejection::LimitReached { what, max: max as u64 })
        } else {
            self.show(id)
        };
        let is_watched = outcome.is_ok() && !self.tasks[&id].is_over();
        self.reply(request, outcome);
        if !is_watched {
            return;
        }
        let events_max = self.config.events_max as u64;
        let task = self.tasks.get_mut(&id).expect("shown above");
        let remembered = task.remembered_from.get_or_insert(task.event_seq + 1);
        let remembered = (*remembered).max((task.event_seq + 1).saturating_sub(events_max));
        let from = from.unwrap_or(u64::MAX);
        for event in task.events.iter().filter(|event| event.seq > from) {
            let is_optional = event.seq < remembered;
            let push = Push::Event { watch, event: event.clone() };
            self.said.pushes.push(Pushed { session, push, is_optional });
        }
        self.watches.push(Watching { watch, session, task: id });
    }
}
