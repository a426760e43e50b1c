//! What may be asked of the core, what it answers, and what must be done next.
//!
//! If you open one file of the broker, open this one. A [`Request`] goes in through
//! [`Core::handle`](super::Core::handle); [`Effect`]s come out of
//! [`Core::poll_effect`](super::Core::poll_effect) in the order in which they must happen: a
//! record is durable before any reply, delivery or event that follows it is released.
//!
//! Nothing here is text: doors (TCP verbs, JSON subjects, HTTP) translate to these types, and
//! values that exist are valid. Limits are checked where a value is built.

use std::fmt;
use std::sync::Arc;

use super::record::Record;

/// Milliseconds on the monotone clock since the broker process started. Never goes back, never
/// jumps; every timer in memory uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

/// The two clocks as a command saw them. The core has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotone; drives timers.
    pub tick: Tick,
    /// Wall clock, milliseconds since the Unix epoch; shown to people, anchors stored timers.
    pub wall_ms: u64,
}

/// One task, for ever. Assigned by the core, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// Raised on every grant and every revocation (rules G1-G6 of the task machine); an operation
/// that names an older generation is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// One connection-bound appearance of an agent. Given by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Matches an answer to its request. Given by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A name of a queue, an agent or a capability: 1 to 64 characters out of letters, digits, `-`,
/// `_`, `.`. One rule for all three, so that each can be a token or a suffix of a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Text that is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty; allowed are 1 to {max} characters", max = Name::LENGTH_MAX)]
    Empty,
    /// Too much there.
    #[error("is {length} characters long; allowed are 1 to {max}", max = Name::LENGTH_MAX)]
    TooLong {
        /// Length found, in characters.
        length: usize,
    },
    /// A character outside the allowed set.
    #[error("contains {found:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character {
        /// The first offender.
        found: char,
    },
}

impl Name {
    /// Longest name, in characters: the limit of the legacy hub for agent ids.
    pub const LENGTH_MAX: usize = 64;

    /// Check `text` once; a `Name` is valid for ever.
    ///
    /// # Errors
    /// [`NameError`], which says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(NameError::Character { found });
        }
        if text.len() > Name::LENGTH_MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        Ok(Name(text.into()))
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something asked of the core by somebody.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back in the [`Effect::Reply`].
    pub id: RequestId,
    /// What is asked.
    pub command: Command,
}

/// Everything that can change the core, and the O(1) questions it answers.
#[derive(Clone, Debug)]
pub enum Command {
    /// Handle whatever is due. Never answered.
    Tick,
    /// Keep a new task (T1-T5).
    Submit(Submit),
    /// Look at one task.
    Show {
        /// Which.
        task: TaskId,
    },
    /// An agent offers its hands (T15-T17 come with resume lists, in the next issue). A second
    /// session of the same agent and identity replaces the first; another identity is refused.
    Attach(Attach),
    /// The session is over; its leases start their grace period (T14).
    Detach {
        /// Which session.
        session: SessionId,
    },
    /// A frame arrived from the session: all leases of its agent are renewed (T19).
    Heartbeat {
        /// Which session.
        session: SessionId,
    },
    /// Something the holder of a lease does with it (T10-T13, T20, T25, T26).
    Lease(LeaseOp),
}

impl Command {
    /// Bytes of the payload, result, report or error that it carries.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        match self {
            Command::Submit(submit) => submit.payload.len(),
            Command::Lease(LeaseOp { action, .. }) => match action {
                Action::Accept => 0,
                Action::Decline { reason } => reason.len(),
                Action::Progress { data } => data.len(),
                Action::Complete { result } => result.len(),
                Action::Fail { error, .. } => error.len(),
            },
            _ => 0,
        }
    }
}

/// A task to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Where it waits.
    pub queue: Name,
    /// Opaque bytes for the agent.
    pub payload: Arc<[u8]>,
    /// An agent must have all of these. Sorted, without duplicates.
    pub needs: Vec<Name>,
    /// Lower goes first; 0 is urgent.
    pub band: u8,
    /// Failures and time-outs before it is dead; at least 1.
    pub attempts_max: u32,
    /// How long an accepted lease lasts without a sign of life from its agent.
    pub lease_ms: u64,
}

/// An agent that wants work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The session that speaks for the agent from now on.
    pub session: SessionId,
    /// The agent's own name.
    pub agent: Name,
    /// Who authenticated; guards the agent's name against strangers.
    pub identity: Arc<str>,
    /// What it can do. Sorted, without duplicates.
    pub capabilities: Vec<Name>,
    /// Queues it takes work from; empty means all.
    pub queues: Vec<Name>,
    /// Leases it is willing to hold at once; at least 1.
    pub credit: u32,
}

/// An operation on a lease, checked in the order of rule 2.4 of the task machine: known task,
/// replay, leased, generation, agent, then the operation's own guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOp {
    /// The session it arrived on; the core knows its agent.
    pub session: SessionId,
    /// Which task.
    pub task: TaskId,
    /// The generation that the agent was offered.
    pub generation: Generation,
    /// What to do.
    pub action: Action,
}

/// What the holder of a lease can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the offer (T10).
    Accept,
    /// Refuse the offer; this agent is not asked again for this task (T12).
    Decline {
        /// For people.
        reason: Arc<str>,
    },
    /// Report on running work; a sign of life (T20).
    Progress {
        /// Opaque bytes for watchers.
        data: Arc<[u8]>,
    },
    /// Done (T25).
    Complete {
        /// Opaque bytes, kept with the task.
        result: Arc<[u8]>,
    },
    /// Not done (T26, rule R).
    Fail {
        /// For people; kept with the task.
        error: Arc<str>,
        /// `false`: no retry can help, straight to the dead letters.
        retryable: bool,
        /// Not before this long, if the agent knows better than the back-off.
        retry_after_ms: Option<u64>,
    },
}

/// What must happen next, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make it durable. Everything behind it waits for that.
    Persist(Record),
    /// Answer a request, once.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        outcome: Result<Reply, Rejection>,
    },
    /// Push to the agent behind a session.
    Deliver {
        /// Which session.
        session: SessionId,
        /// What.
        push: Push,
    },
    /// Tell whoever watches (`$AC.EVENT.TASK.>`).
    Event(TaskEvent),
}

/// A granted request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The task is kept.
    Submitted {
        /// Its id.
        task: TaskId,
    },
    /// The task as it is.
    Task(Box<TaskView>),
    /// The agent is known; offers may follow.
    Attached {
        /// Its name.
        agent: Name,
    },
    /// The operation took effect, now or (a replay) earlier.
    Done {
        /// Which task.
        task: TaskId,
        /// Its state after the operation.
        state: State,
        /// The same operation had been done before; nothing changed this time.
        duplicate: bool,
    },
    /// Nothing to say.
    Noted,
}

/// Pushed to an agent without being asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// Work: accept it, decline it, or just do it.
    Offer(Offer),
    /// The lease is gone; drop the work.
    Revoked {
        /// Which task.
        task: TaskId,
        /// The generation that was revoked.
        generation: Generation,
        /// The state it is in now.
        state: State,
    },
    /// A newer session speaks for the agent.
    Replaced,
}

/// A task offered to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which task.
    pub task: TaskId,
    /// The generation to name in every operation.
    pub generation: Generation,
    /// Its queue.
    pub queue: Name,
    /// 1 for the first try.
    pub attempt: u32,
    /// How long until the offer is withdrawn.
    pub offer_ms: u64,
    /// How long an accepted lease lasts without a sign of life.
    pub lease_ms: u64,
    /// The submitter's bytes. Empty when it leaves the core, which does not hold payloads; the
    /// commit loop fills it in before it delivers the offer.
    pub payload: Arc<[u8]>,
}

/// Where a task stands (section 2.2 of the task machine). States of later issues have their place
/// here when they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for a time (delay or back-off).
    Scheduled,
    /// May be granted.
    Ready,
    /// Pushed to an agent, not yet accepted.
    Offered,
    /// Accepted.
    Running,
    /// Done, for ever.
    Completed,
    /// Given up; may be redriven.
    Dead,
}

impl State {
    /// The state's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Ready => "ready",
            State::Offered => "offered",
            State::Running => "running",
            State::Completed => "completed",
            State::Dead => "dead",
        }
    }
}

/// Why a task is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl DeadReason {
    /// The reason's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::Failed => "failed",
            DeadReason::NonRetryable => "non_retryable",
            DeadReason::Timeout => "timeout",
            DeadReason::Lost => "lost",
            DeadReason::Rejected => "rejected",
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
    /// Where it stands.
    pub state: State,
    /// Its generation.
    pub generation: Generation,
    /// Lower goes first.
    pub band: u8,
    /// What an agent must be able to do.
    pub needs: Vec<Name>,
    /// Who holds the lease, or held the last one when the task ended.
    pub agent: Option<Name>,
    /// Attempts that failed or timed out.
    pub attempts: u32,
    /// How many are allowed.
    pub attempts_max: u32,
    /// Holders that vanished.
    pub lost: u32,
    /// Wall clock of the submit.
    pub submitted_ms: u64,
    /// Wall clock of the last change.
    pub updated_ms: u64,
    /// The submitter's bytes. Empty out of the core; the commit loop fills it from the store.
    pub payload: Arc<[u8]>,
    /// Newest progress report, if any: its first 4 KiB, kept in memory only.
    pub progress: Option<Arc<[u8]>>,
    /// What it was completed with.
    pub result: Option<Arc<[u8]>>,
    /// Newest error, if any.
    pub error: Option<Arc<str>>,
    /// Why it is dead.
    pub dead: Option<DeadReason>,
}

/// A task changed; published as `$AC.EVENT.TASK.<state>`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    /// Which task.
    pub task: TaskId,
    /// Its queue.
    pub queue: Name,
    /// Its state after the change.
    pub state: State,
    /// Its generation after the change.
    pub generation: Generation,
    /// Who did it or holds it.
    pub agent: Option<Name>,
    /// A report, if that is what happened.
    pub progress: Option<Arc<[u8]>>,
}

/// A well-formed request that is declined. Nothing changed, but for [`Rejection::Uncertain`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody ever submitted it.
    #[error("there is no task {task}", task = task.0)]
    NotFound {
        /// The id asked for.
        task: TaskId,
    },
    /// The task is not leased, or its state does not allow the operation.
    #[error("task {task} is {state}, which does not allow that", task = task.0, state = state.as_str())]
    InvalidState {
        /// Which task.
        task: TaskId,
        /// Its state.
        state: State,
        /// Its generation.
        generation: Generation,
    },
    /// Another generation than the one named is in force; as a rule the lease ended.
    #[error("generation {found} of task {task} is not in force; it is {state} with generation {current}", found = found.0, task = task.0, state = state.as_str(), current = current.0)]
    StaleGeneration {
        /// Which task.
        task: TaskId,
        /// The generation named.
        found: Generation,
        /// The generation in force.
        current: Generation,
        /// Its state.
        state: State,
    },
    /// Another agent holds the lease.
    #[error("task {task} is leased to another agent than {agent}", task = task.0)]
    NotOwner {
        /// Which task.
        task: TaskId,
        /// The agent that asked.
        agent: Name,
    },
    /// The lease already ended in another way.
    #[error("generation {generation} of task {task} already ended with {recorded}", generation = generation.0, task = task.0)]
    Conflict {
        /// Which task.
        task: TaskId,
        /// The generation named.
        generation: Generation,
        /// The operation that ended it.
        recorded: &'static str,
    },
    /// The session never attached, or was replaced.
    #[error("this connection speaks for no agent; start one with WORKER START")]
    NotAttached,
    /// Somebody else owns the agent's name.
    #[error("agent {agent} belongs to another login")]
    NameTaken {
        /// The name asked for.
        agent: Name,
    },
    /// The queue is full.
    #[error("queue {queue} already holds its limit of {tasks_max} open tasks")]
    QueueFull {
        /// Which queue.
        queue: Name,
        /// The limit.
        tasks_max: usize,
    },
    /// More waits for the commit loop than may; nothing was taken in.
    #[error("{requests} requests with {bytes} bytes wait for the disk already; try again later")]
    Busy {
        /// Requests that wait.
        requests: usize,
        /// Bytes of their payloads, results and the like.
        bytes: usize,
    },
    /// The store refuses writes; nothing durable can be promised.
    #[error("the store is not accepting writes: {reason}")]
    Unavailable {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The store failed while it kept the request.
    #[error(
        "the store failed while this was being kept, so it may or may not be: {reason}; ask before you repeat it"
    )]
    Uncertain {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The store cannot give what is asked for.
    #[error("the store cannot be read: {reason}")]
    Unreadable {
        /// What went wrong.
        reason: Arc<str>,
    },
}

impl Rejection {
    /// The rejection's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::NotFound { .. } => "not_found",
            Rejection::InvalidState { .. } => "invalid_state",
            Rejection::StaleGeneration { .. } => "stale_generation",
            Rejection::NotOwner { .. } => "not_owner",
            Rejection::Conflict { .. } => "conflict",
            Rejection::NotAttached => "not_attached",
            Rejection::NameTaken { .. } => "name_taken",
            Rejection::QueueFull { .. } => "queue_full",
            Rejection::Busy { .. } => "busy",
            Rejection::Unavailable { .. } => "unavailable",
            Rejection::Uncertain { .. } => "uncertain",
            Rejection::Unreadable { .. } => "unreadable",
        }
    }
}
