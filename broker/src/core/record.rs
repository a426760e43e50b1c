//! What is durable, as plain values.
//!
//! The core emits [`Record`]s; the store turns them into bytes (`store/record.rs`) and gives them
//! back at start. A record is an *upsert*: it replaces what was kept under the same key, so a
//! batch can be applied twice without harm and a restart needs no history.
//!
//! The row of a task is rewritten on each change and therefore small. What a task carries (the
//! submitter's payload, the holder's result) is written once, beside it.

use std::sync::Arc;

use super::command::{DeadReason, Generation, Name, State, TaskId, TaskView};

/// One thing to make durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A task as it now is.
    Task(Box<TaskRow>),
    /// What a task carries; written once each.
    Body {
        /// Whose.
        task: TaskId,
        /// Which of its bodies.
        kind: BodyKind,
        /// The opaque bytes.
        bytes: Arc<[u8]>,
    },
    /// Task ids below this may have been given out. Raised in steps, so that most submits do not
    /// write it; ids between the last one used and the bound are skipped by a restart.
    TaskIdBound(TaskId),
}

/// The two bodies of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyKind {
    /// The submitter's bytes.
    Payload,
    /// What the task was completed with.
    Result,
}

/// All that is remembered of a task, except its bodies and its newest progress report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Which task.
    pub task: TaskId,
    /// Where it waits.
    pub queue: Name,
    /// What an agent must be able to do; sorted, without duplicates.
    pub needs: Arc<[Name]>,
    /// Lower goes first.
    pub band: u8,
    /// Failures and time-outs allowed.
    pub attempts_max: u32,
    /// How long an accepted lease lasts without a sign of life, in milliseconds.
    pub lease_ms: u64,
    /// Where it stands, and with whom.
    pub phase: Phase,
    /// Raised by every grant and every revocation.
    pub generation: Generation,
    /// Its place in the order of waiting tasks: the virtual deadline of `core/queue.rs`, in
    /// milliseconds of the core's own time line. Kept through a revocation, renewed by a retry.
    pub place_ms: u64,
    /// Attempts that failed.
    pub attempts: u32,
    /// Holders that vanished while running it.
    pub lost: u32,
    /// Offers that nobody answered.
    pub offers_expired: u32,
    /// Agents that declined it.
    pub declines: u32,
    /// Agents it is not offered to any more; sorted, without duplicates.
    pub excluded: Arc<[Name]>,
    /// How its last lease was ended by its holder, for recognising a repeated operation.
    pub last_end: Option<Box<LeaseEnd>>,
    /// Newest error, at most [`ERROR_BYTES_MAX`](super::limits::ERROR_BYTES_MAX) bytes.
    pub error: Option<Arc<str>>,
    /// Wall clock of the submit.
    pub submitted_ms: u64,
    /// Wall clock of the last change.
    pub updated_ms: u64,
}

/// A [`State`] with what belongs to it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for a time, stored as duration and wall anchor so that neither a restart nor a
    /// clock that was set back can make the wait longer than it was.
    Scheduled {
        /// How long it waits in all, in milliseconds.
        delay_ms: u64,
        /// Wall clock when the wait began.
        anchor_ms: u64,
    },
    /// May be granted.
    Ready,
    /// Pushed to this agent, not yet accepted.
    Offered(Holder),
    /// Accepted by this agent.
    Running(Holder),
    /// Done by this agent.
    Completed {
        /// Its last holder.
        by: Name,
    },
    /// Given up.
    Dead {
        /// Why.
        reason: DeadReason,
        /// Its last holder.
        by: Name,
    },
}

/// Who holds a lease: the agent, whichever session speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The agent.
    pub agent: Name,
    /// Who authenticated as that agent; nobody else may take over the lease after a restart.
    pub identity: Arc<str>,
}

/// The operation with which a holder ended its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// The generation that ended.
    pub generation: Generation,
    /// Whose it was.
    pub agent: Name,
    /// What the agent did.
    pub verb: EndVerb,
    /// Fingerprint of the operation's arguments (`core/fence.rs`).
    pub digest: u64,
    /// The state that followed: the answer given then, and to every repetition.
    pub outcome: State,
}

/// The operations that end a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndVerb {
    /// The offer was refused.
    Decline,
    /// The work is done.
    Complete,
    /// The attempt failed.
    Fail,
}

impl EndVerb {
    /// The verb as people and the wire spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndVerb::Decline => "decline",
            EndVerb::Complete => "complete",
            EndVerb::Fail => "fail",
        }
    }
}

impl TaskRow {
    /// The state without its details.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Scheduled { .. } => State::Scheduled,
            Phase::Ready => State::Ready,
            Phase::Offered(_) => State::Offered,
            Phase::Running(_) => State::Running,
            Phase::Completed { .. } => State::Completed,
            Phase::Dead { .. } => State::Dead,
        }
    }

    /// Completed or dead: out of memory, read from the store when somebody asks.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Completed { .. } | Phase::Dead { .. })
    }

    /// Who holds the lease, if there is one.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.phase {
            Phase::Offered(holder) | Phase::Running(holder) => Some(holder),
            _ => None,
        }
    }

    /// Everything worth showing, with the parts that are kept elsewhere.
    #[must_use]
    pub fn view(&self, progress: Option<Arc<[u8]>>, result: Option<Arc<[u8]>>) -> TaskView {
        let (agent, dead) = match &self.phase {
            Phase::Scheduled { .. } | Phase::Ready => (None, None),
            Phase::Offered(holder) | Phase::Running(holder) => (Some(holder.agent.clone()), None),
            Phase::Completed { by } => (Some(by.clone()), None),
            Phase::Dead { reason, by } => (Some(by.clone()), Some(*reason)),
        };
        TaskView {
            task: self.task,
            queue: self.queue.clone(),
            state: self.state(),
            generation: self.generation,
            band: self.band,
            needs: self.needs.to_vec(),
            agent,
            attempts: self.attempts,
            attempts_max: self.attempts_max,
            lost: self.lost,
            submitted_ms: self.submitted_ms,
            updated_ms: self.updated_ms,
            payload: Arc::from([]),
            progress,
            result,
            error: self.error.clone(),
            dead,
        }
    }
}

/// What the core must be shown before it can handle a command about a task that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The row of this task, if the store has it,
    pub task: TaskId,
    /// and its result too, if it has one.
    pub result: bool,
}

/// The answer to [`Wanted`].
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The stored row.
    pub row: TaskRow,
    /// The stored result; `None` if it was not wanted or there is none.
    pub result: Option<Arc<[u8]>>,
}
