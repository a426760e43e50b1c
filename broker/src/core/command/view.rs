//! What is shown and announced.

use std::sync::Arc;

use super::{AfterEnd, Epoch, Generation, Name, Resource, TaskId};
use crate::core::limits::QueueSettings;

/// Where a task stands (section 2.2 of the task machine).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for other tasks.
    Held,
    /// Waits for a time (delay or back-off).
    Scheduled,
    /// May be granted.
    Ready,
    /// Pushed to an agent, not yet accepted.
    Offered,
    /// Accepted.
    Running,
    /// Set aside until somebody answers, or its children end.
    Parked,
    /// Done, for ever.
    Completed,
    /// Given up; may be redriven.
    Dead,
    /// Called off, for ever.
    Cancelled,
}

impl State {
    /// Every state, in the order of a task's life.
    pub const ALL: [State; 9] = [
        State::Held,
        State::Scheduled,
        State::Ready,
        State::Offered,
        State::Running,
        State::Parked,
        State::Completed,
        State::Dead,
        State::Cancelled,
    ];

    /// The state's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Scheduled => "scheduled",
            State::Ready => "ready",
            State::Offered => "offered",
            State::Running => "running",
            State::Parked => "parked",
            State::Completed => "completed",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, State::Completed | State::Dead | State::Cancelled)
    }
}

/// Why a task is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    /// Its last attempt failed.
    Failed,
    /// An agent said that no retry can help.
    NonRetryable,
    /// Its last attempt ran out of time.
    Timeout,
    /// Too many of its holders vanished, or nobody answered its offers.
    Lost,
    /// Too many agents declined it.
    Rejected,
    /// Nobody took it in time.
    Expired,
    /// It was not done in time.
    Deadline,
    /// A task that it depends on ended badly.
    DependencyFailed,
    /// Nobody answered in time.
    ParkTimeout,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [DeadReason; 9] = [
        DeadReason::Failed,
        DeadReason::NonRetryable,
        DeadReason::Timeout,
        DeadReason::Lost,
        DeadReason::Rejected,
        DeadReason::Expired,
        DeadReason::Deadline,
        DeadReason::DependencyFailed,
        DeadReason::ParkTimeout,
    ];

    /// The reason's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::Failed => "failed",
            DeadReason::NonRetryable => "non_retryable",
            DeadReason::Timeout => "timeout",
            DeadReason::Lost => "lost",
            DeadReason::Rejected => "rejected",
            DeadReason::Expired => "expired",
            DeadReason::Deadline => "deadline",
            DeadReason::DependencyFailed => "dep_failed",
            DeadReason::ParkTimeout => "park_timeout",
        }
    }
}

/// Everything worth showing about one task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// Which.
    pub task: TaskId,
    /// Its queue.
    pub queue: Name,
    /// Whose work it is.
    pub key: Option<Name>,
    /// Where it stands.
    pub state: State,
    /// Its generation.
    pub generation: Generation,
    /// Number of its newest event.
    pub event_seq: u64,
    /// Lower goes first.
    pub band: u8,
    /// What an agent must be able to do.
    pub needs: Vec<Name>,
    /// What it uses of its agent's capacity.
    pub resources: Vec<Resource>,
    /// The only agent that may have it, and until when by the wall clock if not for ever.
    pub window: Option<(Name, Option<u64>)>,
    /// Who holds the lease, or held the last one when the task ended.
    pub agent: Option<Name>,
    /// Attempts that failed or timed out.
    pub attempts: u32,
    /// How many are allowed.
    pub attempts_max: u32,
    /// Holders that vanished.
    pub lost: u32,
    /// Offers that nobody answered.
    pub offers_expired: u32,
    /// Agents that declined it.
    pub declines: u32,
    /// Times it was handed back.
    pub releases: u32,
    /// Times it came back from the dead letters.
    pub redrives: u32,
    /// Agents it is not offered to.
    pub excluded: Vec<Name>,
    /// Wall clock of the submit.
    pub submitted_ms: u64,
    /// Wall clock of the last change.
    pub updated_ms: u64,
    /// Wall clock from which it may be granted, while it is scheduled.
    pub due_ms: Option<u64>,
    /// Tasks it waits for.
    pub after: Vec<AfterView>,
    /// Raised by every edit.
    pub version: u32,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
    /// What was asked, and answered.
    pub questions: Vec<QuestionView>,
    /// Its holder waits for answers.
    pub is_waiting: bool,
    /// Its holder is asked to stop.
    pub is_cancelling: bool,
    /// It has headers.
    pub has_headers: bool,
    /// The submitter's bytes. Empty out of the core; the commit loop fills it from the store.
    pub payload: Arc<[u8]>,
    /// The submitter's headers; filled like the payload.
    pub headers: Option<Arc<[u8]>>,
    /// Newest progress report, if any: its first 4 KiB, kept in memory only.
    pub progress: Option<Arc<[u8]>>,
    /// Number of the newest report; 0 if there was none.
    pub progress_seq: u64,
    /// What it was completed with.
    pub result: Option<Arc<[u8]>>,
    /// Failures, oldest first.
    pub errors: Vec<Failure>,
    /// Why it is dead.
    pub dead: Option<DeadReason>,
    /// Why it was cancelled, in somebody's words.
    pub cancelled: Option<Arc<str>>,
}

/// A question that a task asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionView {
    /// What the answer is called.
    pub key: Name,
    /// What was asked.
    pub text: Arc<[u8]>,
    /// What was answered, if anything.
    pub answer: Option<Arc<[u8]>>,
}

/// An answer to a question of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which question.
    pub key: Name,
    /// Opaque bytes.
    pub value: Arc<[u8]>,
}

/// One thing that keeps a task where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Another task has to end first.
    #[error("waits for task {task}", task = task.0)]
    WaitsFor {
        /// Which.
        task: TaskId,
    },
    /// It waits for a task that ended badly and may come back.
    #[error("waits for task {task}, which ended badly; redrive that one or cancel this", task = task.0)]
    BlockedBy {
        /// Which.
        task: TaskId,
    },
    /// It is not time yet.
    #[error("is not due before {due_ms} (milliseconds since 1970)")]
    NotDue {
        /// Wall clock.
        due_ms: u64,
    },
    /// Somebody paused its queue.
    #[error("queue {queue} is paused")]
    Paused {
        /// Which.
        queue: Name,
    },
    /// Its queue has as many leases as it may.
    #[error("queue {queue} has {leases} leases, and may have {max}")]
    QueueLimit {
        /// Which.
        queue: Name,
        /// Now.
        leases: u64,
        /// At most.
        max: u64,
    },
    /// Its queue has granted as many tasks in a period as it may.
    #[error(
        "queue {queue} has granted {grants} tasks in {period_ms} ms, and goes on in {wait_ms} ms"
    )]
    Rate {
        /// Which.
        queue: Name,
        /// At most in a period.
        grants: u32,
        /// How long the period is.
        period_ms: u64,
        /// Until the next task may be granted.
        wait_ms: u64,
    },
    /// A limit that it shares with others is reached.
    #[error("limit {name} has {leases} leases, and this task allows {max}")]
    Limit {
        /// Which.
        name: Name,
        /// Now.
        leases: u32,
        /// At most.
        max: u32,
    },
    /// A limit on grants that it shares with others is reached.
    #[error("rate {name} grants {grants} tasks in {period_ms} ms, and goes on in {wait_ms} ms")]
    NamedRate {
        /// Which.
        name: Name,
        /// At most in a period.
        grants: u32,
        /// How long the period is.
        period_ms: u64,
        /// Until the next task may be granted.
        wait_ms: u64,
    },
    /// It is for one agent.
    #[error("is for agent {agent} alone{until}", until = until(*until_ms))]
    ForOne {
        /// Which.
        agent: Name,
        /// Wall clock from when others will do, if they ever will.
        until_ms: Option<u64>,
    },
    /// No agent that is connected could do it.
    #[error("no connected agent takes work from queue {queue} and has all that is needed")]
    NobodyFits {
        /// Its queue.
        queue: Name,
    },
    /// Agents could do it and do not take it now.
    #[error(
        "{agents} connected agents could do it: {declined} declined it, {silent} left offers \
         unanswered, {limited} asked too much, {busy} have no credit left{room}",
        room = room(*full)
    )]
    NobodyIdle {
        /// How many fit.
        agents: usize,
        /// How many of those declined this task.
        declined: usize,
        /// How many are not trusted at the moment.
        silent: usize,
        /// How many are offered nothing for a while, because they asked too much of a door.
        limited: usize,
        /// How many are busy.
        busy: usize,
        /// How many have credit and too little left of what it uses, or keep it for another task.
        full: usize,
    },
    /// Others go first.
    #[error("{tasks} tasks of the same kind go first")]
    Behind {
        /// How many.
        tasks: usize,
    },
    /// Somebody has it.
    #[error("agent {agent} holds it")]
    HeldBy {
        /// Who.
        agent: Name,
    },
    /// Its holder was asked to stop.
    #[error("its holder is asked to stop")]
    Stopping,
    /// A question is open.
    #[error("question {key} is not answered")]
    Unanswered {
        /// Which.
        key: Name,
    },
    /// Its children are not done.
    #[error("{tasks} of its children are not over")]
    Children {
        /// How many.
        tasks: usize,
    },
    /// Nothing keeps it: it is over.
    #[error("it is over")]
    Over,
}

fn until(until_ms: Option<u64>) -> String {
    until_ms.map_or_else(String::new, |ms| format!(" until {ms} (milliseconds since 1970)"))
}

fn room(full: usize) -> String {
    if full == 0 { String::new() } else { format!(", {full} have too little left of what it uses") }
}

impl Why {
    /// The reason's one name on the wire and in docs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Why::WaitsFor { .. } => "waits_for",
            Why::BlockedBy { .. } => "blocked_by",
            Why::NotDue { .. } => "not_due",
            Why::Paused { .. } => "paused",
            Why::QueueLimit { .. } => "queue_limit",
            Why::Rate { .. } => "rate",
            Why::Limit { .. } => "limit",
            Why::NamedRate { .. } => "named_rate",
            Why::ForOne { .. } => "for_one",
            Why::NobodyFits { .. } => "nobody_fits",
            Why::NobodyIdle { .. } => "nobody_idle",
            Why::Behind { .. } => "behind",
            Why::HeldBy { .. } => "held_by",
            Why::Stopping => "stopping",
            Why::Unanswered { .. } => "unanswered",
            Why::Children { .. } => "children",
            Why::Over => "over",
        }
    }
}

/// An edge to another task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterView {
    /// The other task.
    pub task: TaskId,
    /// What is waited for.
    pub on: AfterEnd,
    /// The other one ended badly.
    pub is_blocked: bool,
}

/// One failure of a task: its lineage consists of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Under which generation.
    pub generation: Generation,
    /// Who held it.
    pub agent: Name,
    /// Wall clock.
    pub at_ms: u64,
    /// In the words of the holder, or of the broker if it was a time limit.
    pub error: Arc<str>,
}

/// A task changed; published as `$AC.EVENT.TASK.<state>`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    /// Which task.
    pub task: TaskId,
    /// 1 for the submit, then one more each time, without gaps.
    pub seq: u64,
    /// Wall clock.
    pub at_ms: u64,
    /// Wall clock of the submit.
    pub submitted_ms: u64,
    /// Its queue.
    pub queue: Name,
    /// Its state before the change; `None` for the submit.
    pub from: Option<State>,
    /// Its state after the change.
    pub state: State,
    /// The change was that an attempt failed.
    pub has_failed: bool,
    /// Its generation after the change.
    pub generation: Generation,
    /// Who did it or holds it.
    pub agent: Option<Name>,
    /// A report, if that is what happened.
    pub progress: Option<Progress>,
    /// The task it depends on and that ended badly, if it is held for ever by that.
    pub blocked_by: Option<TaskId>,
    /// It was set aside for too long already, and has a last time.
    pub is_escalated: bool,
}

/// One report on running work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// 1 for the first, then one more each time, whoever holds the task.
    pub seq: u64,
    /// Opaque bytes.
    pub data: Arc<[u8]>,
}

/// Everything worth showing about one queue. Nothing in it is counted when it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Its name.
    pub queue: Name,
    /// What was set.
    pub settings: QueueSettings,
    /// Tasks that stand there now.
    pub counts: QueueCounts,
}

/// Tasks of one queue by where they stand. Completed and cancelled ones are not counted: they
/// only leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Waiting for other tasks.
    pub held: u64,
    /// Waiting for a time.
    pub scheduled: u64,
    /// May be granted.
    pub ready: u64,
    /// Pushed, not yet accepted.
    pub offered: u64,
    /// Accepted.
    pub running: u64,
    /// Set aside.
    pub parked: u64,
    /// In the dead letters.
    pub dead: u64,
}

impl QueueCounts {
    /// Tasks that are not over.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.held + self.scheduled + self.ready + self.leased() + self.parked
    }

    /// Tasks that somebody holds.
    #[must_use]
    pub fn leased(&self) -> u64 {
        self.offered + self.running
    }
}

/// What an accepted session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The agent it speaks for.
    pub agent: Name,
    /// Larger than that of any earlier session.
    pub epoch: Epoch,
}
