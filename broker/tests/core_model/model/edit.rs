//! T50 and T51: second thoughts about a task; and why it is where it is.

use agentcom_broker::core::command::{
    Generation, Rejection, Reply, Start, State, TaskChange, TaskId, Why,
};

use super::agent::Trust;
use super::park::Asked;
use super::task::{Due, Wait};
use super::{Clocks, Model, Outcome, Task};

impl Model {
    pub(super) fn edit(
        &mut self,
        id: TaskId,
        version: Option<u32>,
        change: &TaskChange,
    ) -> Outcome {
        let task = self.known(id)?;
        let (state, generation) = (task.state, Generation(task.generation));
        if task.is_over() {
            return Err(Rejection::Terminal { task: id, state });
        }
        if let Some(named) = version.filter(|named| *named != task.version) {
            return Err(Rejection::OtherVersion { task: id, named, found: task.version });
        }
        let is_barred = match state {
            State::Offered | State::Running => change.key.is_some() || change.start.is_some(),
            State::Parked => change.start.is_some(),
            _ => false,
        };
        if is_barred {
            return Err(Rejection::InvalidState { task: id, state, generation });
        }
        self.change(id, |task, at| task.edit(change, at));
        Ok(Reply::Done { task: id, state: self.tasks[&id].state, duplicate: false })
    }

    pub(super) fn why(&self, id: TaskId) -> Outcome {
        let task = self.known(id)?;
        let mut reasons = match task.state {
            State::Held => {
                let edges = task.after.iter();
                let reasons = edges.map(|edge| match edge.is_blocked {
                    true => Why::BlockedBy { task: edge.task },
                    false => Why::WaitsFor { task: edge.task },
                });
                reasons.collect()
            }
            State::Scheduled => {
                vec![Why::NotDue { due_ms: task.wait.expect("it waits").due() }]
            }
            State::Ready => self.why_ready(id),
            State::Offered | State::Running => {
                vec![Why::HeldBy { agent: task.agent.clone().expect("somebody has it") }]
            }
            State::Parked => Vec::new(),
            State::Completed | State::Dead | State::Cancelled => vec![Why::Over],
        };
        if task.cancelling.is_some() {
            reasons.push(Why::Stopping);
        }
        if let Some(parking) = &task.parking {
            let is_open =
                |asked: &&Asked| asked.answer.is_none() && parking.keys.contains(&asked.key);
            let open = task.questions.iter().filter(is_open);
            reasons.extend(open.map(|asked| Why::Unanswered { key: asked.key.clone() }));
            let tasks = self.children_of(id).count();
            if parking.children && tasks > 0 {
                reasons.push(Why::Children { tasks });
            }
        }
        Ok(Reply::Why { task: id, state: task.state, reasons })
    }

    fn why_ready(&self, id: TaskId) -> Vec<Why> {
        let task = &self.tasks[&id];
        let queue = task.spec.queue.clone();
        let mut reasons = Vec::new();
        let (settings, leases) = (self.settings(&queue), self.counts(&queue).leased());
        if settings.paused {
            reasons.push(Why::Paused { queue: queue.clone() });
        }
        if let Some(max) = settings.leases_max.filter(|max| leases >= *max) {
            reasons.push(Why::QueueLimit { queue: queue.clone(), leases, max });
        }
        if let (Some(rate), Some(reopens)) = (settings.rate, self.reopens.get(&queue)) {
            reasons.push(Why::Rate {
                queue: queue.clone(),
                grants: rate.grants,
                period_ms: rate.period_ms,
                wait_ms: reopens.saturating_sub(self.tick),
            });
        }
        for limit in task.spec.limits.iter() {
            let (name, max) = (limit.name.clone(), limit.max);
            let leases = u32::try_from(self.leases_under(&name)).expect("few");
            if leases >= max {
                reasons.push(Why::Limit { name, leases, max });
            }
        }
        for limit in task.spec.rates.iter() {
            if let Some(opens) = self.rate_opens(limit) {
                reasons.push(Why::NamedRate {
                    name: limit.name.clone(),
                    grants: limit.rate.grants,
                    period_ms: limit.rate.period_ms,
                    wait_ms: opens - self.tick,
                });
            }
        }
        if let Some((agent, span)) = task.window.clone() {
            let until_ms = span.map(|(length, anchor)| length + anchor);
            reasons.push(Why::ForOne { agent, until_ms });
        }
        // Whether an agent has room is asked for the first of those that are alike.
        let first = self.tasks.iter().filter(|(_, one)| task.is_alike(one));
        let first = first.min_by_key(|(id, one)| one.place(**id)).map_or(id, |(id, _)| *id);
        let [mut agents, mut declined, mut silent, mut limited, mut busy, mut full] = [0; 6];
        for (name, agent) in &self.agents {
            if agent.session.is_none() || !agent.fits(&task.spec) {
                continue;
            }
            agents += 1;
            if task.excluded.contains(name) {
                declined += 1;
            } else if matches!(agent.trust, Trust::Suspect { .. }) {
                silent += 1;
            } else if self.withheld.contains_key(name) {
                limited += 1;
            } else if !self.is_idle(name) {
                busy += 1;
            } else if !self.has_room(name, &task.spec) || self.is_kept_from(name, first) {
                full += 1;
            }
        }
        reasons.push(match agents {
            0 => Why::NobodyFits { queue },
            _ => Why::NobodyIdle { agents, declined, silent, limited, busy, full },
        });
        let goes_first = |(other, one): &(&TaskId, &Task)| {
            task.is_alike(one) && one.place(**other) < task.place(id)
        };
        let tasks = self.tasks.iter().filter(goes_first).count();
        if tasks > 0 {
            reasons.push(Why::Behind { tasks });
        }
        reasons
    }
}

impl Task {
    /// Whether another one is ready and suits exactly the same agents.
    fn is_alike(&self, other: &Task) -> bool {
        let only = |task: &Task| task.window.as_ref().map(|(agent, _)| agent.clone());
        other.state == State::Ready
            && (&other.spec, &other.excluded) == (&self.spec, &self.excluded)
            && only(other) == only(self)
    }

    fn edit(&mut self, change: &TaskChange, at: &Clocks) {
        let old = self.spec.clone();
        let patience = &mut self.spec.patience;
        patience.lease_ms = change.lease_ms.unwrap_or(patience.lease_ms);
        patience.attempt_ms = change.attempt_ms.unwrap_or(patience.attempt_ms);
        patience.progress_ms = change.progress_ms.or(patience.progress_ms);
        patience.queue_ms = change.queue_ms.or(patience.queue_ms);
        patience.total_ms = change.total_ms.or(patience.total_ms);
        self.spec.band = change.band.unwrap_or(self.spec.band);
        self.spec.attempts_max = change.attempts_max.unwrap_or(self.spec.attempts_max);
        if change.key.is_some() {
            self.spec.key.clone_from(&change.key);
        }
        self.version += 1;
        let (old, new) = (old.patience, self.spec.patience);
        self.limit(Due::Attempt, Some(old.attempt_ms), Some(new.attempt_ms), at);
        self.limit(Due::Progress, old.progress_ms, new.progress_ms, at);
        self.limit(Due::Total, old.total_ms, new.total_ms, at);
        if !self.was_accepted {
            self.limit(Due::Queue, old.queue_ms, new.queue_ms, at);
        }
        if let Some(parking) = &mut self.parking {
            parking.attempt_left =
                (parking.attempt_left + new.attempt_ms).saturating_sub(old.attempt_ms);
        }
        let Some(start) = change.start else { return };
        self.timers.remove(&Due::Start);
        let wait = Wait::of(start, at.wall);
        match (self.state, wait) {
            (State::Held, wait) => self.start = wait,
            (State::Scheduled | State::Ready, Some(wait)) => {
                self.close_window();
                self.schedule(wait, at);
            }
            (State::Scheduled, None) => {
                self.ready_anew(at);
                self.open_window(at);
            }
            _ => {}
        }
    }

    /// T51: a limit counts from where the old one did; a new one from where it would have, as far
    /// as the wall clock can tell.
    fn limit(&mut self, due: Due, old_ms: Option<u64>, new_ms: Option<u64>, at: &Clocks) {
        let Some(new_ms) = new_ms else { return };
        let at = match (old_ms, self.timer(due)) {
            (Some(old_ms), Some(timer)) => (timer + new_ms).saturating_sub(old_ms),
            (None, _) if matches!(due, Due::Total | Due::Queue) => {
                let since = self.redriven.unwrap_or(self.submitted);
                at.tick + new_ms.saturating_sub(at.wall.saturating_sub(since))
            }
            (None, _) if self.state == State::Running && self.parking.is_none() => at.tick + new_ms,
            _ => return,
        };
        self.timers.insert(due, at);
    }
}

impl Wait {
    pub(super) fn of(start: Start, wall: u64) -> Option<Wait> {
        match start {
            Start::Now | Start::In(0) => None,
            Start::In(delay_ms) => Some(Wait::For { delay_ms, anchor: wall, keeps_place: false }),
            Start::At(due) => (due > wall).then_some(Wait::Until(due)),
        }
    }
}
