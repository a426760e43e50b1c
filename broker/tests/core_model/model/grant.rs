//! T9: who got what, judged; and consumers that take.

use std::cmp::Reverse;
use std::sync::Arc;

use agentcom_broker::core::command::{
    Generation, LeaseLimit, Name, Offer, Push, RateLimit, Rejection, Reply, RequestId, SessionId,
    Spec, State, Take, TaskId,
};

use agentcom_broker::core::limits::{Order, Rate};

use super::task::Due;
use super::{Model, Outcome, Task};

/// A grant that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) task: TaskId,
    pub(crate) generation: u64,
    pub(crate) agent: Name,
    /// It was taken, for so long.
    pub(crate) fixed_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct WaitingTake {
    pub(super) request: RequestId,
    pub(super) take: Take,
    pub(super) consumer: Name,
    pub(super) until: u64,
}

impl Model {
    /// I-7: while something could be granted, what happened next has to be a grant.
    pub(super) fn explain_grants(&mut self) -> Result<(), String> {
        loop {
            let offered =
                self.grantable().find_map(|id| Some((id, self.idle_for(id).next()?.clone())));
            let taken = self.next_taker();
            if offered.is_none() && taken.is_none() {
                return Ok(());
            }
            let Some(grant) = self.seen.pop_front() else {
                return Err(match offered {
                    Some((id, name)) => format!("{name} idles beside {id:?}"),
                    None => format!("{taken:?} waits beside a task that it could take"),
                });
            };
            if grant.fixed_ms.is_none() {
                self.judge_offer(&grant)?;
            } else {
                self.judge_taken(&grant)?;
            }
        }
    }

    /// Ready tasks of open queues, below their limits.
    fn grantable(&self) -> impl Iterator<Item = TaskId> {
        let ready = self.tasks.iter().filter(|(_, task)| task.state == State::Ready);
        ready.filter(|(_, task)| self.may_go(task)).map(|(id, _)| *id)
    }

    /// I-11: neither its queue nor a limit of its own is full.
    fn may_go(&self, task: &Task) -> bool {
        let is_full = |limit: &LeaseLimit| self.leases_under(&limit.name) >= limit.max as usize;
        self.is_open(&task.spec.queue)
            && !task.spec.limits.iter().any(is_full)
            && !task.spec.rates.iter().any(|limit| self.rate_opens(limit).is_some())
    }

    /// When a rate lets tasks go on, if they have to wait.
    pub(super) fn rate_opens(&self, limit: &RateLimit) -> Option<u64> {
        let Rate { grants, period_ms } = limit.rate;
        let granted = self.rate_grants.get(limit).map_or(&[][..], |granted| granted);
        let oldest = granted.len().checked_sub(grants as usize).map(|first| granted[first]);
        // What was granted before a restart is not known.
        let opens = oldest.or(self.was_restarted.then_some(0)).map(|oldest| oldest + period_ms);
        opens.max(self.shut.get(limit).copied()).filter(|opens| *opens > self.tick)
    }

    pub(super) fn leases_under(&self, name: &Name) -> usize {
        let has = |task: &&Task| task.spec.limits.iter().any(|limit| limit.name == *name);
        self.tasks.values().filter(|task| task.is_leased()).filter(has).count()
    }

    /// I-8. Which key of a fair queue goes first is not judged here; within a key it is.
    fn goes_before(&self, first: TaskId, second: TaskId) -> bool {
        let (one, other) = (&self.tasks[&first], &self.tasks[&second]);
        let kind = |task: &Task| {
            let Spec { queue, key, needs, labels, .. } = task.spec.clone();
            (queue, key, needs, labels, task.spec.resources().to_vec())
        };
        let is_fair = self.settings(&one.spec.queue).order == Order::Fair;
        (!is_fair || kind(one) == kind(other)) && one.place(first) < other.place(second)
    }

    fn suits(&self, name: &Name, id: TaskId) -> bool {
        let task = &self.tasks[&id];
        self.agents[name].suits(name, task)
            && self.has_room(name, &task.spec)
            && !self.is_kept_from(name, id)
    }

    /// Whether an agent keeps its room for a task that goes before this one and waited for long
    /// enough: the first of its kind, and one that would use up the same.
    pub(super) fn is_kept_from(&self, name: &Name, id: TaskId) -> bool {
        let task = &self.tasks[&id];
        let class = |task: &Task| {
            let Spec { queue, needs, labels, .. } = task.spec.clone();
            (queue, needs, labels, task.spec.resources().to_vec())
        };
        let uses_same = |other: &Task| {
            let mut used = other.spec.resources().iter();
            used.any(|used| task.spec.resources().iter().any(|own| own.name == used.name))
        };
        let agent = &self.agents[name];
        let starved: Vec<TaskId> = self
            .grantable()
            .filter(|other| agent.suits(name, &self.tasks[other]))
            .filter(|other| !self.has_room(name, &self.tasks[other].spec))
            .collect();
        starved.iter().any(|id_of_other| {
            let other = &self.tasks[id_of_other];
            let place = other.place(*id_of_other);
            let is_first = !starved.iter().any(|third| {
                let one = &self.tasks[third];
                class(one) == class(other) && one.place(*third) < place
            });
            is_first
                && place < task.place(id)
                && uses_same(other)
                && self.age.saturating_sub(other.eligible) >= self.config.starve_ms
                && self.keeper(*id_of_other) == Some(name)
        })
    }

    fn idle_for(&self, id: TaskId) -> impl Iterator<Item = &Name> {
        self.idle_agents().filter(move |name| self.suits(name, id))
    }

    /// I-2, I-5, I-8, I-11, I-23, I-24: may this agent have it, and does nothing go before it?
    fn judge_offer(&mut self, grant: &Grant) -> Result<(), String> {
        let Grant { task: id, generation, agent: name, .. } = grant;
        let task = self.tasks.get(id).ok_or(format!("{grant:?} of an unknown task"))?;
        if task.state != State::Ready || task.generation + 1 != *generation {
            return Err(format!("{grant:?} while {task:?}"));
        }
        if !self.may_go(task) {
            return Err(format!("{grant:?} although its queue is paused, or a limit is reached"));
        }
        if !self.agents.contains_key(name) || !self.idle_for(*id).any(|idle| idle == name) {
            return Err(format!("{grant:?}, who cannot take it: {:?}", self.agents.get(name)));
        }
        let first = self.grantable().filter(|other| self.suits(name, *other));
        if let Some(first) = first.into_iter().find(|other| self.goes_before(*other, *id)) {
            return Err(format!("{grant:?} before {first:?}"));
        }
        self.judge_turn(*id, name)?;
        self.grant(grant);
        let offer_ends = self.tick + self.config.offer_ms;
        self.change(*id, |task, _| {
            task.state = State::Offered;
            task.timers.insert(Due::Offer, offer_ends);
        });
        let session = self.agents[name].session.expect("only a present agent idles");
        let offer = self.offer(*id);
        self.push(session, Push::Offer(offer));
        Ok(())
    }

    /// 2.9: a single new task goes to whoever it prefers, and of those to the one that idled for
    /// longest without a grant.
    fn judge_turn(&self, id: TaskId, name: &Name) -> Result<(), String> {
        let is_only = self.grantable().count() == 1;
        if !is_only || !self.idle_before.contains(name) {
            return Ok(());
        }
        let spec = &self.tasks[&id].spec;
        let rank = |name: &Name| {
            let agent = &self.agents[name];
            (Reverse(agent.score(spec)), agent.granted, name.clone())
        };
        let idle = self.idle_for(id).filter(|idle| self.idle_before.contains(*idle));
        match idle.min_by_key(|idle| rank(idle)) {
            Some(first) if first != name => {
                Err(format!("{id:?} went to {name}, and {first} has waited longer"))
            }
            _ => Ok(()),
        }
    }

    fn grant(&mut self, grant: &Grant) {
        self.grants += 1;
        let grants = self.grants;
        let agent = self.agent(&grant.agent);
        agent.granted = grants;
        let identity = agent.identity.clone();
        let event_seq = self.tasks[&grant.task].event_seq;
        let spec = self.tasks[&grant.task].spec.clone();
        self.count_grant(&spec.queue);
        for limit in spec.rates.iter() {
            self.rate_grants.entry(limit.clone()).or_default().push(self.tick);
        }
        let task = self.tasks.get_mut(&grant.task).expect("a granted task");
        task.generation = grant.generation;
        task.agent = Some(grant.agent.clone());
        task.identity = identity;
        task.fixed_ms = grant.fixed_ms;
        task.floor = 0;
        task.remembered_from.get_or_insert(event_seq + 1);
    }

    fn offer(&self, id: TaskId) -> Offer {
        let task = &self.tasks[&id];
        Offer {
            task: id,
            generation: Generation(task.generation),
            queue: task.spec.queue.clone(),
            attempt: task.attempts + 1,
            offer_ms: if task.fixed_ms.is_some() { 0 } else { self.config.offer_ms },
            lease_ms: task.fixed_ms.unwrap_or(task.spec.patience.lease_ms),
            progress_seq: task.progress_seq,
            checkpoint_seq: task.checkpoint.as_ref().map(|(seq, _)| *seq),
            answers: task.answers(),
            payload: task.payload.clone(),
            // Filled in at the end of the turn, like the payload.
            headers: task.spec.has_headers.then(Arc::default),
            checkpoint: task.checkpoint.as_ref().map(|(_, bytes)| bytes.clone()),
        }
    }

    pub(super) fn take(
        &mut self,
        request: RequestId,
        take: &Take,
    ) -> Result<Option<Outcome>, String> {
        if take.wait_ms > 0
            && let Err(rejection) = self.check_waiting()
        {
            return Ok(Some(Err(rejection)));
        }
        let consumer = match self.consumer(take.session, &take.consumer, &take.identity) {
            Ok(consumer) => consumer,
            Err(rejection) => return Ok(Some(Err(rejection))),
        };
        let offers = self.grant_taken(take, &consumer)?;
        if !offers.is_empty() || take.wait_ms == 0 {
            return Ok(Some(Ok(Reply::Taken(offers))));
        }
        let until = self.tick + take.wait_ms;
        self.takes.push(WaitingTake { request, take: take.clone(), consumer, until });
        Ok(None)
    }

    pub(super) fn check_waiting(&self) -> Result<(), Rejection> {
        let max = self.config.waiting_max;
        if self.takes.len() + self.awaits.len() >= max {
            let what = "the number of requests that wait";
            return Err(Rejection::LimitReached { what, max: max as u64 });
        }
        Ok(())
    }

    /// The task that a consumer gets next. Of a fair queue it may be any that nothing goes before.
    fn best_of(&self, queue: &Name, consumer: &Name) -> Option<TaskId> {
        let ready = self.ready_of(queue).into_iter();
        let ready = ready.filter(|id| self.may_go(&self.tasks[id]) && self.suits(consumer, *id));
        let ready: Vec<TaskId> = ready.collect();
        let is_first = |id: &TaskId| !ready.iter().any(|other| self.goes_before(*other, *id));
        let seen = self.seen.front().map(|grant| grant.task);
        let seen = seen.filter(|seen| ready.contains(seen) && is_first(seen));
        seen.or(ready.first().copied())
    }

    fn grant_taken(&mut self, take: &Take, consumer: &Name) -> Result<Vec<Offer>, String> {
        let mut offers = Vec::new();
        while offers.len() < take.max as usize {
            let Some(task) = self.best_of(&take.queue, consumer) else { break };
            let fixed_ms = take.lease_ms.unwrap_or(self.tasks[&task].spec.patience.lease_ms);
            let generation = self.tasks[&task].generation + 1;
            let (agent, fixed_ms) = (consumer.clone(), Some(fixed_ms));
            let grant = Grant { task, generation, agent, fixed_ms };
            let seen = self.seen.pop_front();
            if seen.as_ref() != Some(&grant) {
                return Err(format!("{grant:?} was to be taken, and then came {seen:?}"));
            }
            self.grant(&grant);
            self.change(task, |task, at| {
                task.state = State::Running;
                task.timers.insert(Due::Lease, at.tick + fixed_ms.expect("set above"));
                task.begin_attempt(at.tick);
            });
            offers.push(self.offer(task));
        }
        Ok(offers)
    }

    /// Of those that wait at a queue, the first for whom there is something.
    fn next_taker(&self) -> Option<RequestId> {
        let serves = |one: &&WaitingTake| self.best_of(&one.take.queue, &one.consumer).is_some();
        self.takes.iter().find(serves).map(|one| one.request)
    }

    fn judge_taken(&mut self, grant: &Grant) -> Result<(), String> {
        let task = self.tasks.get(&grant.task).ok_or(format!("{grant:?} of an unknown task"))?;
        let queue = task.spec.queue.clone();
        let serves = |one: &WaitingTake| {
            one.take.queue == queue && self.best_of(&queue, &one.consumer).is_some()
        };
        let first = self.takes.iter().position(serves);
        let first = first.ok_or(format!("{grant:?} was taken, and nobody waited for it"))?;
        let waiting = self.takes[first].clone();
        self.seen.push_front(grant.clone());
        let offers = self.grant_taken(&waiting.take, &waiting.consumer)?;
        self.takes.retain(|one| one.request != waiting.request);
        self.reply(waiting.request, Ok(Reply::Taken(offers)));
        Ok(())
    }

    pub(super) fn stop_take(&mut self, request: RequestId) {
        self.takes.retain(|one| one.request != request);
        self.reply(request, Ok(Reply::Taken(Vec::new())));
    }

    pub(super) fn stop_takes_of(&mut self, session: SessionId) {
        let theirs = self.takes.iter().filter(|one| one.take.session == session);
        let theirs: Vec<RequestId> = theirs.map(|one| one.request).collect();
        for request in theirs {
            self.stop_take(request);
        }
    }
}
