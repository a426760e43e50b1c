//! What time does, and what a restart does to time.

use std::collections::BTreeSet;

use agentcom_broker::core::command::{
    DeadReason, Name, RateLimit, RequestId, Retry, State, TaskId,
};

use super::agent::{Agent, Trust};
use super::task::{Due, Wait};
use super::{Model, Task};

/// What is due. Of several at once, the first in this order goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Task(TaskId, Due),
    /// The lease of a task, as far as it depends on its agent.
    Lease(Name, TaskId),
    Trial(Name),
    /// An agent was offered nothing for long enough.
    Amnesty(Name),
    Await(RequestId),
    Take(RequestId),
    Key(Name, Name),
    Rate(Name),
    NamedRate(RateLimit),
}

impl Model {
    fn alarms(&self) -> Vec<(u64, Alarm)> {
        let mut alarms = Vec::new();
        for (id, task) in self.open() {
            let rests = |due: Due| due == Due::Queue && task.is_leased();
            let timers = task.timers.iter().filter(|(due, _)| !rests(**due));
            alarms.extend(timers.map(|(due, at)| (*at, Alarm::Task(id, *due))));
            if let Some(at) = self.lease_ends(task) {
                let holder = task.agent.clone().expect("a leased task");
                alarms.push((at, Alarm::Lease(holder, id)));
            }
        }
        for (name, agent) in &self.agents {
            if let Trust::Suspect { until, .. } = agent.trust {
                alarms.push((until, Alarm::Trial(name.clone())));
            }
        }
        let withheld = self.withheld.iter();
        alarms.extend(withheld.map(|(name, until)| (*until, Alarm::Amnesty(name.clone()))));
        alarms.extend(self.awaits.iter().map(|one| (one.until, Alarm::Await(one.request))));
        alarms.extend(self.takes.iter().map(|one| (one.until, Alarm::Take(one.request))));
        for ((queue, key), known) in &self.keys {
            alarms.extend(known.until.map(|at| (at, Alarm::Key(queue.clone(), key.clone()))));
        }
        let rates = self.reopens.iter();
        alarms.extend(rates.map(|(queue, at)| (*at, Alarm::Rate(queue.clone()))));
        let ready = self.open().filter(|(_, task)| task.state == State::Ready);
        let limits: BTreeSet<&RateLimit> =
            ready.flat_map(|(_, task)| task.spec.rates.iter()).collect();
        for limit in limits {
            let opens = self.rate_opens(limit);
            alarms.extend(opens.map(|at| (at, Alarm::NamedRate(limit.clone()))));
        }
        alarms.sort();
        alarms
    }

    /// T18: when silence, or absence, ends the lease of a task.
    fn lease_ends(&self, task: &Task) -> Option<u64> {
        if !task.is_leased() || task.fixed_ms.is_some() {
            return None;
        }
        let agent = &self.agents[task.agent.as_ref().expect("a leased task")];
        let is_running = task.state == State::Running;
        let silent = (agent.seen + task.spec.patience.lease_ms).max(task.floor);
        match agent.session {
            Some(_) => is_running.then_some(silent),
            None if is_running => Some(silent.min(agent.away_until)),
            None => Some(agent.away_until),
        }
    }

    /// Tasks that wait for the wall clock, soonest first.
    fn wall_alarms(&self) -> Vec<(u64, TaskId)> {
        let wait = |(id, task): (TaskId, &Task)| match task.wait {
            Some(Wait::Until(wall)) => Some((wall, id)),
            _ => None,
        };
        let mut alarms: Vec<(u64, TaskId)> = self.open().filter_map(wait).collect();
        alarms.sort_unstable();
        alarms
    }

    /// The soonest time at which something has to happen, if the wall clock goes on as it should.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let mono = self.alarms().first().map(|(at, _)| *at);
        let wall =
            self.wall_alarms().first().map(|(at, _)| self.tick + at.saturating_sub(self.wall));
        mono.into_iter().chain(wall).min()
    }

    /// How many things would be due by then.
    pub(crate) fn due_by(&self, tick: u64) -> usize {
        let wall = self.wall + (tick - self.tick);
        self.alarms().iter().filter(|(at, _)| *at <= tick).count()
            + self.wall_alarms().iter().filter(|(at, _)| *at <= wall).count()
    }

    /// Everything that is due by now, soonest first.
    pub(super) fn fire_timers(&mut self) {
        while let Some((at, alarm)) = self.alarms().into_iter().next()
            && at <= self.tick
        {
            self.said.stirred = true;
            let silent = match &alarm {
                Alarm::Lease(agent, _) => Some(agent.clone()),
                _ => None,
            };
            self.fire(alarm);
            self.tell_dependents();
            // Silence is one event, whatever becomes due by what it ends.
            while let Some(alarm) = silent.as_ref().and_then(|agent| self.next_loss(agent)) {
                self.fire(alarm);
                self.tell_dependents();
            }
            self.forget_agents();
        }
        while let Some((at, id)) = self.wall_alarms().into_iter().next()
            && at <= self.wall
        {
            self.said.stirred = true;
            self.change(id, |task, at| task.due(at));
        }
    }

    /// The next lease of an agent that is over by now.
    fn next_loss(&self, agent: &Name) -> Option<Alarm> {
        let mut due = self.alarms().into_iter().take_while(|(at, _)| *at <= self.tick);
        due.find_map(|(_, alarm)| match &alarm {
            Alarm::Lease(other, _) if other == agent => Some(alarm),
            _ => None,
        })
    }

    fn fire(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Task(id, due) => self.fire_task(id, due),
            Alarm::Lease(agent, id) => {
                self.suspect(&agent);
                self.take_away(id, |task, at| task.lose(at));
            }
            Alarm::Trial(name) => {
                let agent = self.agent(&name);
                if let Trust::Suspect { strikes, .. } = agent.trust {
                    agent.trust = Trust::Tried { strikes };
                }
            }
            Alarm::Amnesty(name) => drop(self.withheld.remove(&name)),
            Alarm::Await(request) => self.stop_await(request),
            Alarm::Take(request) => self.stop_take(request),
            Alarm::NamedRate(limit) => unreachable!("{limit:?} is open once its time has come"),
            Alarm::Rate(queue) => {
                self.reopens.remove(&queue);
            }
            Alarm::Key(queue, key) => {
                self.keys.remove(&(queue, key));
            }
        }
    }

    fn fire_task(&mut self, id: TaskId, due: Due) {
        let task = self.tasks.get_mut(&id).expect("only open tasks have timers");
        task.timers.remove(&due);
        match due {
            Due::Total => self.end_total(id),
            Due::Queue => self.change(id, |task, _| task.die(DeadReason::Expired)),
            Due::Start => self.change(id, |task, at| task.due(at)),
            Due::Offer => {
                let agent = task.agent.clone().expect("an offered task");
                self.suspect(&agent);
                self.take_away(id, |task, at| task.lose(at));
            }
            Due::Cancel | Due::Lease => self.take_away(id, |task, at| task.lose(at)),
            Due::Hold => self.take_away(id, |task, at| {
                if task.cancelling.is_some() { task.lose(at) } else { task.park(at) }
            }),
            Due::Park => self.end_parking(id),
            Due::Window => self.change(id, |task, _| task.close_window()),
            Due::Attempt => self.time_out(id, "the attempt took longer than allowed"),
            Due::Progress => self.time_out(id, "no progress was reported for too long"),
        }
    }

    /// T27, T40.
    fn time_out(&mut self, id: TaskId, error: &str) {
        self.take_away(id, |task, at| {
            if task.cancelling.is_some() {
                task.lose(at);
            } else {
                let retry = Retry::Backoff { at_least_ms: 0 };
                task.fail(id, error.into(), retry, true, at);
            }
        });
    }

    /// The process dies and comes back: nobody is connected, and its clock starts anew. What was
    /// left of a wait is told by the wall clock; what was left of a lease by nobody.
    pub(crate) fn restart(&mut self) {
        self.tick = 0;
        self.started = self.wall;
        self.age = self.open().map(|(_, task)| task.eligible + 1).max().unwrap_or(0);
        self.next_task = self.task_bound;
        self.next_epoch = self.epoch_bound;
        self.takes.clear();
        self.awaits.clear();
        self.watches.clear();
        self.agents.clear();
        self.withheld.clear();
        self.rate_grants.clear();
        self.shut.clear();
        self.was_restarted = self.task_bound > 1;
        self.grants = 0;
        let (grace, offer, wall) = (self.config.restart_grace_ms, self.config.offer_ms, self.wall);
        for task in self.tasks.values_mut() {
            task.restart(grace, offer, wall);
            if !task.is_leased() {
                continue;
            }
            let length = match task.state {
                State::Offered => offer,
                _ => task.spec.patience.lease_ms,
            };
            let name = task.agent.clone().expect("a leased task");
            let agent = self.agents.entry(name);
            let agent = agent.or_insert_with(|| Agent::remembered(task.identity.clone()));
            agent.away_until = agent.away_until.max(length).max(grace);
        }
        // What was granted before is not known: a whole period passes.
        let rates = self.queues.iter().filter_map(|(queue, set)| Some((queue.clone(), set.rate?)));
        let rates: Vec<_> = rates.collect();
        self.granted = rates
            .iter()
            .map(|(queue, rate)| (queue.clone(), vec![0; rate.grants as usize]))
            .collect();
        self.reopens = rates.into_iter().map(|(queue, rate)| (queue, rate.period_ms)).collect();
        for key in self.keys.values_mut() {
            let gone = wall.saturating_sub(key.anchor);
            key.until = key.window_ms().map(|window_ms| window_ms.saturating_sub(gone));
        }
    }
}

impl Task {
    fn restart(&mut self, grace: u64, offer: u64, wall: u64) {
        self.progress = None;
        self.remembered_from = None;
        self.timers.clear();
        if self.is_over() {
            return;
        }
        let since = self.redriven.unwrap_or(self.submitted);
        self.start_patience(0, wall.saturating_sub(since));
        if self.was_accepted {
            self.timers.remove(&Due::Queue);
        }
        self.start_wait(0, wall);
        if let Some((_, Some((length, anchor)))) = &self.window {
            let gone = wall.saturating_sub(*anchor);
            self.timers.insert(Due::Window, length.saturating_sub(gone));
        }
        if self.is_leased() {
            self.floor = grace;
        }
        let wait = self.parking.take();
        match self.state {
            State::Offered => {
                self.timers.insert(Due::Offer, offer.max(grace));
            }
            State::Running => {
                self.begin_attempt(0);
                if let Some(fixed_ms) = self.fixed_ms {
                    self.timers.insert(Due::Lease, fixed_ms.max(grace));
                }
                if let Some(cancelling) = &self.cancelling {
                    let gone = wall.saturating_sub(cancelling.anchor);
                    self.timers.insert(Due::Cancel, cancelling.grace_ms.saturating_sub(gone));
                }
            }
            _ => {}
        }
        if let Some(parking) = wait {
            let gone = wall.saturating_sub(parking.anchor);
            self.timers.remove(&Due::Attempt);
            self.timers.remove(&Due::Progress);
            if self.state == State::Parked {
                self.timers.insert(Due::Park, parking.park_ms.saturating_sub(gone));
            } else {
                self.timers.insert(Due::Hold, parking.hold_ms.saturating_sub(gone));
            }
            self.parking = Some(parking);
        }
    }
}
