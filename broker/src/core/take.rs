//! Consumers that fetch: plain queues, seen as lease n, ack, nack.
//!
//! A take grants and accepts in one step (T9, T10). The lease has a length of its own and lasts
//! that long whatever becomes of the connection; it can be extended.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::Core;
use super::command::{
    Attach, Name, Now, Offer, Rejection, Reply, RequestId, SessionId, Take, TaskId, Tick,
};
use super::timers::Timer;

/// Consumers that wait for work, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Takes {
    by_queue: HashMap<Name, VecDeque<Waiting>>,
    by_session: HashMap<SessionId, Vec<RequestId>>,
    queues: HashMap<RequestId, Name>,
}

/// One consumer that waits.
#[derive(Debug)]
struct Waiting {
    request: RequestId,
    take: Take,
    until: Tick,
}

impl Takes {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Who waits.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.queues.keys().copied()
    }

    fn add(&mut self, request: RequestId, take: Take, until: Tick) {
        self.queues.insert(request, take.queue.clone());
        self.by_session.entry(take.session).or_default().push(request);
        let waiting = Waiting { request, take, until };
        self.by_queue.entry(waiting.take.queue.clone()).or_default().push_back(waiting);
    }

    fn remove(&mut self, request: RequestId) -> Option<Waiting> {
        let queue = self.queues.remove(&request)?;
        let line = self.by_queue.get_mut(&queue)?;
        let position = line.iter().position(|waiting| waiting.request == request)?;
        let waiting = line.remove(position);
        if line.is_empty() {
            self.by_queue.remove(&queue);
        }
        let session = waiting.as_ref()?.take.session;
        if let Some(theirs) = self.by_session.get_mut(&session) {
            theirs.retain(|other| *other != request);
            if theirs.is_empty() {
                self.by_session.remove(&session);
            }
        }
        waiting
    }

    fn of_session(&self, session: SessionId) -> Vec<RequestId> {
        self.by_session.get(&session).cloned().unwrap_or_default()
    }

    /// The queues in which a session waits for work.
    pub(super) fn queues_of(&self, session: SessionId) -> Vec<Name> {
        let requests = self.of_session(session);
        requests.iter().filter_map(|request| self.queues.get(request).cloned()).collect()
    }

    fn of_queue(&self, queue: &Name) -> Vec<RequestId> {
        self.by_queue.get(queue).into_iter().flatten().map(|waiting| waiting.request).collect()
    }

    fn find(&self, request: RequestId) -> Option<&Take> {
        let line = self.by_queue.get(self.queues.get(&request)?)?;
        line.iter().find(|waiting| waiting.request == request).map(|waiting| &waiting.take)
    }
}

impl Core {
    /// Take what there is; if there is nothing, wait for the first task. `None`: it waits.
    pub(super) fn take(
        &mut self,
        request: RequestId,
        mut take: Take,
        now: Now,
    ) -> Option<Result<Reply, Rejection>> {
        if take.wait_ms > 0 && self.waiting() >= self.config.waiting_max {
            let what = "the number of requests that wait";
            let max = self.config.waiting_max as u64;
            return Some(Err(Rejection::LimitReached { what, max }));
        }
        match self.consumer(&take, now) {
            Ok(consumer) => take.consumer = consumer,
            Err(rejection) => return Some(Err(rejection)),
        }
        let offers = self.grant_taken(&take, now);
        if !offers.is_empty() || take.wait_ms == 0 {
            return Some(Ok(Reply::Taken(offers)));
        }
        let until = now.tick.after(take.wait_ms);
        self.takes.add(request, take, until);
        self.deadlines.set(until, Timer::Take(request));
        None
    }

    /// The agent that the session speaks for; from now on, if it spoke for none so far.
    fn consumer(&mut self, take: &Take, now: Now) -> Result<Name, Rejection> {
        if let Some(speaker) = self.agents.speaker(take.session).cloned() {
            self.agents.see(&speaker, now.tick);
            self.agents.trust(&speaker);
            return Ok(speaker);
        }
        let agent = take.consumer.clone();
        if self.agents.find(&agent).is_some_and(|known| known.identity != take.identity) {
            return Err(Rejection::NameTaken { agent });
        }
        let attach = Attach {
            session: take.session,
            agent: agent.clone(),
            identity: take.identity.clone(),
            capabilities: Vec::new(),
            labels: Vec::new(),
            capacity: Vec::new(),
            queues: Vec::new(),
            credit: 0,
            holding: Vec::new(),
        };
        self.speak_for(attach, now);
        Ok(agent)
    }

    fn grant_taken(&mut self, take: &Take, now: Now) -> Vec<Offer> {
        let mut offers = Vec::new();
        while offers.len() < take.max as usize {
            let Some(id) = self.best_taken(take) else { break };
            self.grant_one_taken(id, take, now);
            offers.push(self.offer(id));
        }
        offers
    }

    fn best_taken(&mut self, take: &Take) -> Option<TaskId> {
        let profile = self.agents.find(&take.consumer)?.profile()?;
        let candidate = self.candidate(&take.consumer)?;
        let is_held_back = candidate.is_held_back();
        let classes = self.eligible.classes(profile);
        let best = self.backlog.best_of(&take.queue, classes, &candidate);
        if is_held_back {
            self.held_back.insert(take.consumer.clone());
        }
        best
    }

    fn grant_one_taken(&mut self, id: TaskId, take: &Take, now: Now) {
        let spec = &self.tasks[id].row.spec;
        let fixed_ms = Some(take.lease_ms.unwrap_or(spec.patience.lease_ms));
        let holder = self.agents.grant(&take.consumer, id, spec.resources(), fixed_ms);
        let holder = holder.expect("a consumer is known while its session waits");
        self.change(id, now, |task, _, at| task.take(holder, at));
    }

    /// Something of this queue may be granted: whoever has waited longest goes first.
    pub(super) fn serve_takes(&mut self, queue: &Name, now: Now) {
        for request in self.takes.of_queue(queue) {
            let Some(take) = self.takes.find(request).cloned() else { continue };
            let offers = self.grant_taken(&take, now);
            if !offers.is_empty() {
                self.stop_take(request, offers);
            }
        }
    }

    /// An agent may have more room than before; perhaps it waits for work, too.
    pub(super) fn serve_takes_of(&mut self, agent: &Name, now: Now) {
        if self.takes.len() == 0 {
            return;
        }
        let Some(session) = self.session_of(agent) else { return };
        for queue in self.takes.queues_of(session) {
            self.serve_takes(&queue, now);
        }
    }

    /// The wait is over without work.
    pub(super) fn stop_taking(&mut self, request: RequestId) {
        self.stop_take(request, Vec::new());
    }

    /// Whoever asked on this session has no use for work any more.
    pub(super) fn stop_takes_of(&mut self, session: SessionId) {
        for request in self.takes.of_session(session) {
            self.stop_take(request, Vec::new());
        }
    }

    fn stop_take(&mut self, request: RequestId, offers: Vec<Offer>) {
        if let Some(waiting) = self.takes.remove(request) {
            self.deadlines.clear(waiting.until, Timer::Take(request));
            self.reply(request, Ok(Reply::Taken(offers)));
        }
    }
}
