//! The board: figures of the last hour and day, for people who look and for alerts.
//!
//! It is told of every event that the broker publishes, and of nothing else; nothing in the broker
//! depends on it. It begins empty with every start, and everything in it has a bound. Like the core
//! it reads no clock: time is what it is told.
//!
//! ```text
//! window.rs   counts that age           agents.rs   who was here, spoke, worked
//! alerts.rs   what somebody must know   work.rs     what became of tasks, and how fast
//! rules.rs    from where on             health.rs   whether all is well
//! ```

pub mod alerts;
pub mod rules;

mod agents;
mod health;
mod window;
mod work;

use std::collections::VecDeque;

use alerts::{Alerts, Change};
use rules::Thresholds;

pub use agents::{AgentDigest, Agents, Seen};
pub use health::{Health, StoreHealth};
pub use window::{Day, Hour, Minute, Window};
pub use work::{COMPLETIONS_MAX, Completion, Latency, Outcomes, Step, Stepped, Work};

use crate::core::command::{Message, Name, PresenceEvent, TaskEvent, TaskId};

/// Samples of the queues' depth. One a minute: an hour.
pub const DEPTHS_MAX: usize = 60;

/// The board at one moment.
#[derive(Clone, Debug)]
pub struct Digest {
    /// That moment; wall clock.
    pub at_ms: u64,
    /// When the board was put up; wall clock.
    pub started_ms: u64,
    /// Agents, by name.
    pub agents: Vec<AgentDigest>,
    /// How attempts ended in the last hour.
    pub of_hour: Outcomes,
    /// How attempts ended since the start.
    pub ever: Outcomes,
    /// How long tasks took that were completed in the last hour.
    pub latency_of_hour: Latency,
    /// How long tasks took that were completed since the start.
    pub latency_ever: Latency,
    /// How many tasks waited, once a minute, oldest first; at most [`DEPTHS_MAX`].
    pub depths: Vec<u64>,
    /// The newest completions, the newest first; at most [`COMPLETIONS_MAX`].
    pub completions: Vec<Completion>,
}

/// What alerts and health are judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Wall clock.
    pub now_ms: u64,
    /// How many tasks waited, once a minute, oldest first.
    pub depths: Vec<u64>,
    /// How attempts ended in the last hour.
    pub of_hour: Outcomes,
    /// Attempts of the last minute that failed.
    pub failed_of_minute: u64,
    /// How often agents went in the last hour.
    pub departures_of_hour: u64,
    /// Tasks that agents have and of which nothing was heard for too long.
    pub stuck: Vec<TaskId>,
    /// Agents that are here.
    pub agents_here: usize,
    /// Agents that were here since the start.
    pub agents_known: usize,
    /// What the board cannot see.
    pub levels: Levels,
}

/// What stands where, as whoever asks the board has found out: no event tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Levels {
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that are dead letters.
    pub dead: u64,
    /// The largest table and its bytes.
    pub largest_table: Option<(&'static str, u64)>,
    /// When the newest backup was made, or the broker started; wall clock. `None`: there is nothing
    /// to make a backup of.
    pub backup_due_from_ms: Option<u64>,
    /// The disk, if there is one.
    pub disk: Option<DiskLevel>,
}

/// How full the disk is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskLevel {
    /// What is left.
    pub free_bytes: u64,
    /// What is in use, in per cent.
    pub used_pct: f64,
    /// It is so full that nothing new is taken in.
    pub is_scarce: bool,
}

/// What was seen since the start.
#[derive(Debug)]
pub struct Board {
    started_ms: u64,
    agents: Agents,
    work: Work,
    departures: Hour,
    depths: VecDeque<u64>,
    alerts: Alerts,
}

impl Board {
    /// A board on which nothing stands yet.
    #[must_use]
    pub fn new(now_ms: u64) -> Board {
        let (agents, work) = (Agents::default(), Work::default());
        let (depths, departures) = (VecDeque::new(), Hour::default());
        let alerts = Alerts::default();
        Board { started_ms: now_ms, agents, work, departures, depths, alerts }
    }

    /// Agents.
    #[must_use]
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// Everything at one moment. Some milliseconds of work if there are many agents.
    #[must_use]
    pub fn digest(&self, now_ms: u64) -> Digest {
        Digest {
            at_ms: now_ms,
            started_ms: self.started_ms,
            agents: self.agents.digest(now_ms),
            of_hour: self.work.of_hour(now_ms),
            ever: self.work.ever(),
            latency_of_hour: self.work.latency_of_hour(now_ms),
            latency_ever: self.work.latency_ever(),
            depths: self.depths.iter().copied().collect(),
            completions: self.work.completions().cloned().collect(),
        }
    }

    /// What alerts and health are judged by, if a task of which nothing was heard for longer than
    /// `silent_ms` is stuck.
    #[must_use]
    pub fn facts(&self, now_ms: u64, silent_ms: u64, levels: Levels) -> Facts {
        let (agents_here, agents_known) = self.agents.count();
        Facts {
            now_ms,
            depths: self.depths.iter().copied().collect(),
            of_hour: self.work.of_hour(now_ms),
            failed_of_minute: self.work.failed_of_minute(now_ms),
            departures_of_hour: self.departures.total(now_ms),
            stuck: self.work.stuck(now_ms, silent_ms),
            agents_here,
            agents_known,
            levels,
        }
    }

    /// Since when an agent has a task, if one has it and that was seen; wall clock.
    #[must_use]
    pub fn assigned_ms(&self, task: TaskId) -> Option<u64> {
        self.work.assigned_ms(task)
    }

    /// When the board was put up; wall clock.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// What is wrong, and was.
    pub fn alerts(&mut self) -> &mut Alerts {
        &mut self.alerts
    }

    /// See whether anything is wrong now. Gives what changed.
    pub fn check(&mut self, now_ms: u64, levels: Levels, thresholds: &Thresholds) -> Vec<Change> {
        let facts = self.facts(now_ms, thresholds.stuck_task_ms, levels);
        self.alerts.check(&facts, thresholds)
    }

    /// A minute is over, and so many tasks wait.
    pub fn sample(&mut self, queued: u64) {
        self.depths.push_back(queued);
        if self.depths.len() > DEPTHS_MAX {
            self.depths.pop_front();
        }
    }

    /// Something happened to a task. Gives it in a word, if anybody counts it.
    pub fn note_task(&mut self, event: &TaskEvent) -> Option<Stepped> {
        self.work.note(event, &mut self.agents)
    }

    /// Somebody came, went or changed.
    pub fn note_presence(&mut self, event: &PresenceEvent, now_ms: u64) {
        match event {
            PresenceEvent::Joined(view) => {
                if let Some(seen) = self.agents.meet(&view.agent, now_ms) {
                    seen.come(now_ms);
                }
            }
            PresenceEvent::Changed(view) => {
                if let Some(seen) = self.agents.get_mut(&view.agent) {
                    seen.active_ms = now_ms;
                }
            }
            PresenceEvent::Left(agent) => {
                self.departures.add(now_ms, 1);
                if let Some(seen) = self.agents.get_mut(agent) {
                    seen.go(now_ms);
                }
            }
        }
    }

    /// A message reached `receivers`. Names that were never here and never said anything have no
    /// figures: anybody can make up as many as they like.
    pub fn note_message(&mut self, message: &Message, receivers: &[Name]) {
        let at_ms = message.sent_ms;
        if let Some(seen) = self.agents.meet(&message.post.from, at_ms) {
            seen.sent.add(at_ms, 1);
            seen.active_ms = seen.active_ms.max(at_ms);
        }
        for agent in receivers {
            if let Some(seen) = self.agents.get_mut(agent) {
                seen.received.add(at_ms, 1);
            }
        }
    }
}
