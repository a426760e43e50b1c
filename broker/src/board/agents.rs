//! Agents: when they were here, what they said and heard, and how busy they are.

use std::collections::BTreeMap;

use super::window::{Day, Hour};
use crate::core::command::{Name, TaskId};

/// Agents that figures are kept of. 10,000: 10 MB. Beyond, those who are away longest are
/// forgotten.
pub(super) const AGENTS_MAX: usize = 10_000;
/// How many of them at once, so that not every newcomer has to look for one.
const FORGOTTEN_AT_ONCE: usize = AGENTS_MAX / 10;
/// How often that is tried. One second: if all are here, looking again at once finds nobody.
const FORGET_EVERY_MS: u64 = 1_000;

/// An agent at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDigest {
    /// Which.
    pub agent: Name,
    /// Since when it is here, if it is; wall clock.
    pub connected_ms: Option<u64>,
    /// When it last went; wall clock.
    pub left_ms: Option<u64>,
    /// When it last did anything; wall clock.
    pub active_ms: u64,
    /// Times it came.
    pub connections: u64,
    /// Messages that it sent in this hour and the 23 before.
    pub sent_of_day: u64,
    /// Messages that it sent in this hour.
    pub sent_of_hour: u64,
    /// Messages that reached it, or its mailbox, in this hour and the 23 before.
    pub received_of_day: u64,
    /// Milliseconds that it was here in this hour and the 23 before.
    pub connected_ms_of_day: u64,
    /// Tasks that it has.
    pub tasks: u64,
    /// Those that it accepted.
    pub running: u64,
    /// One of its tasks.
    pub task: Option<TaskId>,
    /// When it came, or its tasks last changed; wall clock.
    pub changed_ms: u64,
    /// Milliseconds that it had tasks in the last hour.
    pub busy_ms_of_hour: u64,
    /// Tasks that it completed in the last hour.
    pub completed_of_hour: u64,
    /// Milliseconds from grant to completion of those, together.
    pub completed_ms_of_hour: u64,
}

/// What was seen of one agent.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    connected_ms: Option<u64>,
    left_ms: Option<u64>,
    pub(super) active_ms: u64,
    connections: u64,
    /// Messages that it sent.
    pub sent: Day,
    /// Messages that reached it, or its mailbox.
    pub received: Day,
    /// Milliseconds that it was here, up to when it last went.
    connected: Day,
    tasks: u64,
    running: u64,
    task: Option<TaskId>,
    changed_ms: u64,
    /// Since when it has tasks; wall clock.
    busy_since_ms: u64,
    /// Milliseconds that it had some, up to when it last had none.
    busy: Hour,
    pub(super) completed: Hour,
    /// Milliseconds from grant to completion of those, together.
    pub(super) completed_ms: Hour,
}

impl Seen {
    fn digest(&self, agent: &Name, now_ms: u64) -> AgentDigest {
        AgentDigest {
            agent: agent.clone(),
            connected_ms: self.connected_ms,
            left_ms: self.left_ms,
            active_ms: self.active_ms,
            connections: self.connections,
            sent_of_day: self.sent.total(now_ms),
            sent_of_hour: self.sent.current(now_ms),
            received_of_day: self.received.total(now_ms),
            connected_ms_of_day: self.connected_ms_of_day(now_ms),
            tasks: self.tasks,
            running: self.running,
            task: self.task,
            changed_ms: self.changed_ms,
            busy_ms_of_hour: self.busy_ms_of_hour(now_ms),
            completed_of_hour: self.completed.total(now_ms),
            completed_ms_of_hour: self.completed_ms.total(now_ms),
        }
    }

    fn connected_ms_of_day(&self, now_ms: u64) -> u64 {
        let mut connected = self.connected.clone();
        connected.add_span(self.connected_ms.unwrap_or(now_ms), now_ms);
        connected.total(now_ms)
    }

    fn busy_ms_of_hour(&self, now_ms: u64) -> u64 {
        let mut busy = self.busy.clone();
        if self.tasks > 0 {
            busy.add_span(self.busy_since_ms, now_ms);
        }
        busy.total(now_ms)
    }

    pub(super) fn come(&mut self, now_ms: u64) {
        self.go(now_ms);
        self.connections += 1;
        self.connected_ms = Some(now_ms);
        (self.active_ms, self.changed_ms) = (now_ms, now_ms);
    }

    pub(super) fn go(&mut self, now_ms: u64) {
        if let Some(since_ms) = self.connected_ms.take() {
            self.connected.add_span(since_ms, now_ms);
            self.left_ms = Some(now_ms);
        }
    }

    pub(super) fn start(&mut self, task: TaskId, at_ms: u64) {
        if self.tasks == 0 {
            self.busy_since_ms = at_ms;
        }
        self.tasks += 1;
        (self.task, self.changed_ms) = (Some(task), at_ms);
    }

    pub(super) fn accept(&mut self, task: TaskId, at_ms: u64) {
        self.running += 1;
        (self.task, self.changed_ms) = (Some(task), at_ms);
    }

    pub(super) fn end(&mut self, task: TaskId, at_ms: u64, was_accepted: bool) {
        self.tasks = self.tasks.saturating_sub(1);
        self.running = self.running.saturating_sub(u64::from(was_accepted));
        self.task = self.task.filter(|other| *other != task);
        self.changed_ms = at_ms;
        if self.tasks == 0 {
            self.busy.add_span(self.busy_since_ms, at_ms);
        }
    }

    fn is_away(&self) -> bool {
        self.connected_ms.is_none() && self.tasks == 0
    }
}

/// Every agent of which there are figures, by name.
#[derive(Debug, Default)]
pub struct Agents {
    by_name: BTreeMap<Name, Seen>,
    /// When somebody was last to be forgotten.
    forgot_ms: Option<u64>,
}

impl Agents {
    /// One of them.
    #[must_use]
    pub fn get(&self, agent: &Name) -> Option<&Seen> {
        self.by_name.get(agent)
    }

    /// How many are here, and how many were here since the start.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let count = |is_counted: fn(&Seen) -> bool| {
            self.by_name.values().filter(|seen| is_counted(seen)).count()
        };
        (count(|seen| seen.connected_ms.is_some()), count(|seen| seen.connections > 0))
    }

    /// All of them at one moment, by name.
    #[must_use]
    pub fn digest(&self, now_ms: u64) -> Vec<AgentDigest> {
        self.by_name.iter().map(|(agent, seen)| seen.digest(agent, now_ms)).collect()
    }

    pub(super) fn get_mut(&mut self, agent: &Name) -> Option<&mut Seen> {
        self.by_name.get_mut(agent)
    }

    /// One of them, new if it has to be; `None` if there are too many already, and all are here.
    pub(super) fn meet(&mut self, agent: &Name, now_ms: u64) -> Option<&mut Seen> {
        if !self.by_name.contains_key(agent) {
            if self.by_name.len() >= AGENTS_MAX {
                self.forget(now_ms);
            }
            if self.by_name.len() >= AGENTS_MAX {
                return None;
            }
            self.by_name.insert(agent.clone(), Seen::default());
        }
        self.by_name.get_mut(agent)
    }

    /// Forget those who are away longest, unless that was tried just now.
    fn forget(&mut self, now_ms: u64) {
        if self.forgot_ms.is_some_and(|at_ms| now_ms < at_ms + FORGET_EVERY_MS) {
            return;
        }
        self.forgot_ms = Some(now_ms);
        let away = self.by_name.iter().filter(|(_, seen)| seen.is_away());
        let last_ms = |seen: &Seen| seen.active_ms.max(seen.left_ms.unwrap_or(0));
        let mut away: Vec<(u64, Name)> =
            away.map(|(name, seen)| (last_ms(seen), name.clone())).collect();
        away.sort_unstable();
        for (_, name) in away.into_iter().take(FORGOTTEN_AT_ONCE) {
            self.by_name.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        Name::parse(&format!("agent{number}")).unwrap()
    }

    #[test]
    fn whoever_is_away_longest_makes_room() {
        let mut agents = Agents::default();
        for number in 0..AGENTS_MAX {
            agents.meet(&name(number), 0).unwrap().come(0);
        }
        assert!(agents.meet(&name(AGENTS_MAX), 0).is_none(), "everybody is here");
        let leavers = FORGOTTEN_AT_ONCE + 1;
        for number in 0..leavers {
            let seen = agents.get_mut(&name(number)).unwrap();
            seen.go(1_000_000 - number as u64);
        }
        let now_ms = FORGET_EVERY_MS;
        assert!(agents.meet(&name(AGENTS_MAX), now_ms - 1).is_none(), "that was tried just now");
        assert!(agents.meet(&name(AGENTS_MAX), now_ms).is_some());
        let known = (0..leavers).filter(|number| agents.get(&name(*number)).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [0], "who left last is still known");
    }

    #[test]
    fn time_here_and_time_at_work_grow_while_they_last() {
        const MINUTE: u64 = 60_000;
        let mut seen = Seen::default();
        seen.come(0);
        assert_eq!(seen.connected_ms_of_day(MINUTE), MINUTE);
        seen.come(2 * MINUTE);
        seen.go(3 * MINUTE);
        assert_eq!(seen.connected_ms_of_day(50 * MINUTE), 3 * MINUTE);
        let ada = seen.digest(&name(1), 50 * MINUTE);
        assert_eq!((ada.connections, ada.left_ms, ada.tasks), (2, Some(3 * MINUTE), 0));
        seen.start(TaskId(1), 10 * MINUTE);
        seen.start(TaskId(2), 11 * MINUTE);
        seen.end(TaskId(1), 12 * MINUTE, false);
        assert_eq!((seen.task, seen.changed_ms), (Some(TaskId(2)), 12 * MINUTE));
        assert_eq!(seen.busy_ms_of_hour(13 * MINUTE), 3 * MINUTE);
        seen.end(TaskId(2), 14 * MINUTE, false);
        assert_eq!(seen.task, None);
        assert_eq!(seen.busy_ms_of_hour(40 * MINUTE), 4 * MINUTE);
        assert_eq!(seen.busy_ms_of_hour(75 * MINUTE), 0);
    }
}
