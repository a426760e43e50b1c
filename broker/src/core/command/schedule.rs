//! Work that comes again.

use std::sync::Arc;

use super::{Name, Spec, TaskId};
use crate::core::cron::Cron;

/// A task that is submitted again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: Name,
    /// When.
    pub when: When,
    /// What is submitted,
    pub spec: Spec,
    /// with these bytes.
    pub payload: Arc<[u8]>,
    /// What happens to times that passed while the broker was down or the clock jumped.
    pub missed: Missed,
    /// What happens if the task of the last time is not over yet.
    pub overlap: Overlap,
    /// Its times pass and nothing happens.
    pub is_paused: bool,
}

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// By the calendar, in UTC.
    Cron(Cron),
    /// At regular times of the wall clock.
    Every {
        /// Between two times, in milliseconds; at least 1.
        period_ms: u64,
        /// One of the times, in milliseconds since the Unix epoch.
        offset_ms: u64,
    },
}

/// What happens to times that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// One task, however many were missed.
    #[default]
    Once,
    /// Nothing.
    Skip,
    /// A task for each, at most so many.
    All(u32),
}

/// What happens if the task of the last time is not over yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Another one beside it.
    #[default]
    Allow,
    /// Nothing; that time is skipped.
    Skip,
    /// Another one, and the former is cancelled.
    Replace,
}

/// Everything worth showing about one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleView {
    /// What was set.
    pub schedule: Schedule,
    /// When it is due next.
    pub next_ms: Option<u64>,
    /// The task of the last time.
    pub last_task: Option<TaskId>,
    /// Tasks that it submitted.
    pub fired: u64,
    /// Times that passed without one.
    pub skipped: u64,
}
