//! Tasks: what became of them, how long that took, and how often it went wrong.

use std::collections::VecDeque;

use hashbrown::HashMap;
use hdrhistogram::Histogram;

use super::agents::Agents;
use super::window::{Hour, Minute};
use crate::core::command::{Name, State, TaskEvent, TaskId};

/// Completions that are shown one by one.
pub const COMPLETIONS_MAX: usize = 100;
/// Durations of the last hour that percentiles are taken of; the newest ones. 10,000: 160 kB.
const DURATIONS_MAX: usize = 10_000;
/// Silent tasks that are named.
const STUCK_MAX: usize = 100;
const HOUR_MS: u64 = 3_600_000;
/// Significant digits of the durations since the start.
const DIGITS: u8 = 2;

/// What happened to a task, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is new.
    Submitted,
    /// An agent was given it.
    Assigned,
    /// The agent took it on.
    Accepted,
    /// The agent reported on it.
    Progressed,
    /// It is done.
    Completed,
    /// The attempt failed; there will be another.
    Failed,
    /// It is a dead letter now.
    Died {
        /// Because an attempt failed.
        has_failed: bool,
    },
    /// It was taken back from an agent, or given back.
    Reclaimed,
    /// It came back from the dead letters.
    Redriven,
    /// It was cancelled.
    Cancelled,
}

/// A step of a task, and who took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Which task.
    pub task: TaskId,
    /// What happened.
    pub step: Step,
    /// The agent that did it or had the task.
    pub agent: Option<Name>,
    /// Wall clock.
    pub at_ms: u64,
    /// From the grant in milliseconds, if the step ended a lease whose beginning was seen.
    pub took_ms: Option<u64>,
}

/// A task that was completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which.
    pub task: TaskId,
    /// Who did it.
    pub agent: Option<Name>,
    /// Wall clock.
    pub at_ms: u64,
    /// From grant to completion in milliseconds, if both were seen.
    pub duration_ms: Option<u64>,
}

/// How long tasks took from grant to completion, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half took no longer.
    pub p50: u64,
    /// Nine of ten took no longer.
    pub p90: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// On average.
    pub mean: u64,
}

/// How attempts ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Tasks that were completed.
    pub completed: u64,
    /// Attempts that failed and are repeated.
    pub failed: u64,
    /// Tasks that became dead letters.
    pub dead: u64,
}

impl Outcomes {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.completed + self.failed + self.dead
    }

    /// The bad ones among all, in per cent.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn failure_pct(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => (self.failed + self.dead) as f64 * 100.0 / total as f64,
        }
    }
}

#[derive(Debug)]
struct Lease {
    agent: Name,
    since_ms: u64,
    /// When its task last changed.
    touched_ms: u64,
    is_accepted: bool,
}

/// What was seen of tasks.
#[derive(Debug)]
pub struct Work {
    /// Tasks that agents have, as far as their grant was seen. As many as there are leases.
    leases: HashMap<TaskId, Lease>,
    completions: VecDeque<Completion>,
    /// When the durations of the last hour were over, and how long they were.
    durations: VecDeque<(u64, u64)>,
    all_durations: Histogram<u64>,
    completed: Hour,
    failed: Hour,
    dead: Hour,
    /// Attempts that failed, whatever became of the task.
    failed_attempts: Minute,
    ever: Outcomes,
}

impl Default for Work {
    fn default() -> Self {
        let all_durations = Histogram::new(DIGITS).expect("2 digits are allowed");
        let (completed, failed, dead) = (Hour::default(), Hour::default(), Hour::default());
        let (leases, completions, durations) = Default::default();
        let (failed_attempts, ever) = (Minute::default(), Outcomes::default());
        Work {
            leases,
            completions,
            durations,
            all_durations,
            completed,
            failed,
            dead,
            failed_attempts,
            ever,
        }
    }
}

impl Work {
    /// Note what happened to a task; `None` if nothing that anybody counts.
    pub(super) fn note(&mut self, event: &TaskEvent, agents: &mut Agents) -> Option<Stepped> {
        let step = step(event);
        let (task, at_ms) = (event.task, event.at_ms);
        let ended = self.note_lease(event, agents);
        let took_ms = ended.as_ref().map(|lease| at_ms.saturating_sub(lease.since_ms));
        let former = ended.map(|lease| lease.agent);
        let agent = event.agent.clone().or(former);
        if let Some(seen) = agent.as_ref().and_then(|agent| agents.get_mut(agent)) {
            seen.active_ms = seen.active_ms.max(at_ms);
        }
        match step? {
            Step::Completed => {
                let agent = agent.clone();
                self.complete(Completion { task, agent, at_ms, duration_ms: took_ms }, agents);
            }
            Step::Failed => {
                self.failed_attempts.add(at_ms, 1);
                self.failed.add(at_ms, 1);
                self.ever.failed += 1;
            }
            Step::Died { has_failed } => {
                self.failed_attempts.add(at_ms, u64::from(has_failed));
                self.dead.add(at_ms, 1);
                self.ever.dead += 1;
            }
            _ => {}
        }
        step.map(|step| Stepped { task, step, agent, at_ms, took_ms })
    }

    /// Who has the task; gives the lease that is over.
    fn note_lease(&mut self, event: &TaskEvent, agents: &mut Agents) -> Option<Lease> {
        let is_leased = matches!(event.state, State::Offered | State::Running);
        if !is_leased {
            let lease = self.leases.remove(&event.task)?;
            if let Some(seen) = agents.get_mut(&lease.agent) {
                seen.end(event.task, event.at_ms, lease.is_accepted);
            }
            return Some(lease);
        }
        let agent = event.agent.as_ref()?;
        let lease = self.leases.entry(event.task).or_insert_with(|| {
            if let Some(seen) = agents.meet(agent, event.at_ms) {
                seen.start(event.task, event.at_ms);
            }
            let (since_ms, touched_ms) = (event.at_ms, event.at_ms);
            Lease { agent: agent.clone(), since_ms, touched_ms, is_accepted: false }
        });
        lease.touched_ms = event.at_ms;
        if event.state == State::Running && !lease.is_accepted {
            lease.is_accepted = true;
            if let Some(seen) = agents.get_mut(agent) {
                seen.accept(event.task, event.at_ms);
            }
        }
        None
    }

    fn complete(&mut self, completion: Completion, agents: &mut Agents) {
        let at_ms = completion.at_ms;
        self.completed.add(at_ms, 1);
        self.ever.completed += 1;
        let seen = completion.agent.as_ref().and_then(|agent| agents.get_mut(agent));
        let duration_ms = completion.duration_ms;
        if let Some(seen) = seen {
            seen.completed.add(at_ms, 1);
            seen.completed_ms.add(at_ms, duration_ms.unwrap_or(0));
        }
        if let Some(duration_ms) = duration_ms {
            self.all_durations.saturating_record(duration_ms);
            self.durations.push_back((at_ms, duration_ms));
            let is_old = |(ended_ms, _): &(u64, u64)| ended_ms + HOUR_MS < at_ms;
            while self.durations.len() > DURATIONS_MAX || self.durations.front().is_some_and(is_old)
            {
                self.durations.pop_front();
            }
        }
        self.completions.push_back(completion);
        if self.completions.len() > COMPLETIONS_MAX {
            self.completions.pop_front();
        }
    }

    /// Tasks that agents have and of which nothing was heard for longer than `silent_ms`, those
    /// submitted first; at most 100.
    #[must_use]
    pub fn stuck(&self, now_ms: u64, silent_ms: u64) -> Vec<TaskId> {
        let is_silent = |lease: &Lease| now_ms.saturating_sub(lease.touched_ms) > silent_ms;
        let stuck = self.leases.iter().filter(|(_, lease)| is_silent(lease));
        let mut stuck: Vec<TaskId> = stuck.map(|(task, _)| *task).collect();
        stuck.sort_unstable();
        stuck.truncate(STUCK_MAX);
        stuck
    }

    /// Since when an agent has a task, if one has it; wall clock.
    #[must_use]
    pub fn assigned_ms(&self, task: TaskId) -> Option<u64> {
        self.leases.get(&task).map(|lease| lease.since_ms)
    }

    /// The newest completions, the newest first; at most [`COMPLETIONS_MAX`].
    pub fn completions(&self) -> impl Iterator<Item = &Completion> {
        self.completions.iter().rev()
    }

    /// How attempts ended in the last hour.
    #[must_use]
    pub fn of_hour(&self, now_ms: u64) -> Outcomes {
        Outcomes {
            completed: self.completed.total(now_ms),
            failed: self.failed.total(now_ms),
            dead: self.dead.total(now_ms),
        }
    }

    /// Attempts of the last minute that failed.
    #[must_use]
    pub fn failed_of_minute(&self, now_ms: u64) -> u64 {
        self.failed_attempts.total(now_ms)
    }

    /// How attempts ended since the start.
    #[must_use]
    pub fn ever(&self) -> Outcomes {
        self.ever
    }

    /// How long tasks took that were completed in the last hour.
    #[must_use]
    pub fn latency_of_hour(&self, now_ms: u64) -> Latency {
        let recent = self.durations.iter().filter(|(ended_ms, _)| ended_ms + HOUR_MS >= now_ms);
        let mut sorted: Vec<u64> = recent.map(|(_, duration_ms)| *duration_ms).collect();
        sorted.sort_unstable();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Latency::default();
        };
        // The contract's 6.8: sorted[floor(p * (n - 1))].
        let at = |per_cent: usize| sorted[per_cent * (sorted.len() - 1) / 100];
        let count = sorted.len() as u64;
        Latency {
            count,
            p50: at(50),
            p90: at(90),
            p99: at(99),
            min: *min,
            max: *max,
            mean: sorted.iter().sum::<u64>() / count,
        }
    }

    /// How long tasks took that were completed since the start; percentiles to two digits.
    #[must_use]
    pub fn latency_ever(&self) -> Latency {
        let all = &self.all_durations;
        if all.is_empty() {
            return Latency::default();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds")]
        let mean = all.mean() as u64;
        let at = |quantile| all.value_at_quantile(quantile);
        Latency {
            count: all.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            min: all.min(),
            max: all.max(),
            mean,
        }
    }
}

/// The word for a change of a task; `None` if nobody but the scheduler cares.
fn step(event: &TaskEvent) -> Option<Step> {
    use State::{Cancelled, Completed, Dead, Held, Offered, Ready, Running, Scheduled};
    if event.progress.is_some() {
        return Some(Step::Progressed);
    }
    let Some(from) = event.from else { return Some(Step::Submitted) };
    match (from, event.state) {
        (_, Completed) => Some(Step::Completed),
        (_, Cancelled) => Some(Step::Cancelled),
        (_, Dead) => Some(Step::Died { has_failed: event.has_failed }),
        (Dead, _) => Some(Step::Redriven),
        (Offered, Running) => Some(Step::Accepted),
        (Offered, Offered) | (Running, Running) => None,
        (_, Offered | Running) => Some(Step::Assigned),
        (_, Held | Scheduled | Ready) if event.has_failed => Some(Step::Failed),
        (Offered | Running, Held | Scheduled | Ready) => Some(Step::Reclaimed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::Generation;

    struct Desk {
        work: Work,
        agents: Agents,
        state: Option<State>,
        now_ms: u64,
    }

    impl Desk {
        fn new() -> Desk {
            let (work, agents) = (Work::default(), Agents::default());
            Desk { work, agents, state: None, now_ms: 1_000_000 }
        }

        fn event(&self, state: State) -> TaskEvent {
            let holds = matches!(state, State::Offered | State::Running | State::Completed);
            TaskEvent {
                task: TaskId(1),
                seq: 1,
                at_ms: self.now_ms,
                submitted_ms: self.now_ms,
                queue: Name::parse("q").unwrap(),
                from: self.state,
                state,
                has_failed: false,
                generation: Generation(0),
                agent: holds.then(ada),
                progress: None,
                blocked_by: None,
                is_escalated: false,
            }
        }

        fn go(&mut self, state: State) -> Option<Step> {
            self.note(self.event(state))
        }

        fn fail(&mut self, state: State) -> Option<Step> {
            self.note(TaskEvent { has_failed: true, ..self.event(state) })
        }

        /// Tasks that the agents have, and those that they accepted.
        fn load(&self) -> Vec<(u64, u64)> {
            let agents = self.agents.digest(self.now_ms);
            agents.iter().map(|agent| (agent.tasks, agent.running)).collect()
        }

        fn note(&mut self, event: TaskEvent) -> Option<Step> {
            let stepped = self.work.note(&event, &mut self.agents);
            self.state = Some(event.state).filter(|state| !state.is_terminal());
            self.now_ms += 10;
            stepped.map(|stepped| stepped.step)
        }
    }

    fn ada() -> Name {
        Name::parse("ada").unwrap()
    }

    #[test]
    fn a_task_that_fails_once_is_counted_with_both_attempts() {
        let mut desk = Desk::new();
        assert_eq!(desk.go(State::Ready), Some(Step::Submitted));
        assert_eq!(desk.go(State::Offered), Some(Step::Assigned));
        assert_eq!(desk.go(State::Running), Some(Step::Accepted));
        assert_eq!(desk.load(), [(1, 1)]);
        assert_eq!(desk.fail(State::Scheduled), Some(Step::Failed));
        assert_eq!(desk.load(), [(0, 0)]);
        assert_eq!(desk.go(State::Ready), None);
        assert_eq!(desk.go(State::Offered), Some(Step::Assigned));
        assert_eq!(desk.go(State::Ready), Some(Step::Reclaimed));
        assert_eq!(desk.go(State::Running), Some(Step::Assigned));
        assert_eq!(desk.go(State::Completed), Some(Step::Completed));
        let outcomes = Outcomes { completed: 1, failed: 1, dead: 0 };
        assert_eq!((desk.work.of_hour(desk.now_ms), desk.work.ever()), (outcomes, outcomes));
        assert!((outcomes.failure_pct() - 50.0).abs() < f64::EPSILON);
        let completion = desk.work.completions().next().unwrap();
        assert_eq!((completion.duration_ms, completion.agent.clone()), (Some(10), Some(ada())));
        let hour = desk.now_ms + 2 * HOUR_MS;
        assert_eq!(desk.work.of_hour(hour), Outcomes::default());
        assert_eq!(desk.work.latency_of_hour(hour), Latency::default());
        assert_eq!(desk.work.latency_ever().count, 1);
    }

    #[test]
    fn a_dead_letter_says_why_and_comes_back() {
        let mut desk = Desk::new();
        desk.go(State::Ready);
        desk.go(State::Running);
        assert_eq!(desk.fail(State::Dead), Some(Step::Died { has_failed: true }));
        desk.state = Some(State::Dead);
        assert_eq!(desk.go(State::Ready), Some(Step::Redriven));
        assert_eq!(desk.go(State::Dead), Some(Step::Died { has_failed: false }));
        desk.state = Some(State::Ready);
        assert_eq!(desk.go(State::Cancelled), Some(Step::Cancelled));
        assert_eq!(desk.work.ever().dead, 2);
    }

    #[test]
    fn a_completion_whose_grant_was_not_seen_has_no_duration() {
        let mut desk = Desk::new();
        desk.state = Some(State::Running);
        desk.go(State::Completed);
        assert_eq!(desk.work.completions().next().unwrap().duration_ms, None);
        assert_eq!(desk.work.latency_ever(), Latency::default());
    }

    #[test]
    fn a_task_is_stuck_until_its_agent_is_heard_of() {
        let mut desk = Desk::new();
        desk.go(State::Ready);
        desk.go(State::Running);
        let heard_ms = desk.now_ms - 10;
        assert_eq!(desk.work.assigned_ms(TaskId(1)), Some(heard_ms));
        assert_eq!(desk.work.stuck(heard_ms + 100, 100), []);
        assert_eq!(desk.work.stuck(heard_ms + 101, 100), [TaskId(1)]);
        desk.go(State::Running);
        assert_eq!(desk.work.stuck(heard_ms + 101, 100), []);
        desk.go(State::Completed);
        assert_eq!(desk.work.stuck(heard_ms + 10_000, 100), []);
    }

    #[test]
    fn percentiles_are_those_of_the_contract() {
        let mut desk = Desk::new();
        for duration_ms in [40, 10, 30, 20] {
            let done = Completion {
                task: TaskId(1),
                agent: None,
                at_ms: desk.now_ms,
                duration_ms: Some(duration_ms),
            };
            desk.work.complete(done, &mut desk.agents);
        }
        let expected = Latency { count: 4, p50: 20, p90: 30, p99: 30, min: 10, max: 40, mean: 25 };
        assert_eq!(desk.work.latency_of_hour(desk.now_ms), expected);
        assert_eq!(desk.work.latency_ever().p50, 20);
    }

    #[test]
    fn only_the_newest_completions_are_shown() {
        let mut desk = Desk::new();
        for number in 0..=COMPLETIONS_MAX as u64 {
            let (task, at_ms) = (TaskId(number), desk.now_ms);
            let done = Completion { task, agent: None, at_ms, duration_ms: None };
            desk.work.complete(done, &mut desk.agents);
        }
        let shown: Vec<u64> = desk.work.completions().map(|done| done.task.0).collect();
        assert_eq!((shown.len(), shown[0], shown[99]), (100, 100, 1));
    }
}
