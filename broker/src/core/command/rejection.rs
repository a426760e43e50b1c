//! What is declined, and why.

use std::sync::Arc;

use super::{Generation, Name, State, TaskId};

/// A well-formed request that is declined. Nothing changed, but for [`Rejection::Uncertain`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody ever submitted it.
    #[error("there is no task {task}", task = task.0)]
    NotFound {
        /// The id asked for.
        task: TaskId,
    },
    /// It was there, and nothing of it is kept any more.
    #[error("task {task} is over and was forgotten", task = task.0)]
    Gone {
        /// The id asked for.
        task: TaskId,
    },
    /// The task is over.
    #[error("task {task} is {state} already", task = task.0, state = state.as_str())]
    Terminal {
        /// Which task.
        task: TaskId,
        /// Its state.
        state: State,
    },
    /// The same was submitted before, and the submitter wants to know.
    #[error("task {task} was submitted to queue {queue} under the key {key} before", task = task.0)]
    Exists {
        /// The first task.
        task: TaskId,
        /// The key.
        key: Name,
        /// The queue.
        queue: Name,
    },
    /// A task of a batch repeats an earlier one of it, and the submitter wants to know.
    #[error("number {position} of the batch has the key {key} of an earlier one in queue {queue}")]
    Twin {
        /// The later of the two; 1 for the first task of the batch.
        position: usize,
        /// The key.
        key: Name,
        /// The queue.
        queue: Name,
    },
    /// A task of a batch cannot wait for one behind its end.
    #[error("a task is to wait for number {position} of the batch, which has {tasks} tasks")]
    NotInBatch {
        /// The number named; 1 for the first task of the batch.
        position: usize,
        /// How many there are.
        tasks: usize,
    },
    /// A task cannot wait for one that nobody knows.
    #[error("a task is to wait for task {task}, which does not exist or was forgotten", task = task.0)]
    UnknownDependency {
        /// The id named.
        task: TaskId,
    },
    /// Tasks of a batch wait for each other.
    #[error("number {position} of the batch waits for itself, by way of others or directly")]
    Cycle {
        /// A member of the cycle; 1 for the first task of the batch.
        position: usize,
    },
    /// A report or checkpoint is missing before this one.
    #[error("number {found} of task {task} came, but {expected} is the next", task = task.0)]
    Gap {
        /// Which task.
        task: TaskId,
        /// The number named.
        found: u64,
        /// The number that is next.
        expected: u64,
    },
    /// The task asks no such question, or not any more.
    #[error("task {task} has no open question {key}", task = task.0)]
    NoQuestion {
        /// Which task.
        task: TaskId,
        /// The key named.
        key: Name,
    },
    /// Somebody answered before.
    #[error("question {key} of task {task} was answered before", task = task.0)]
    Answered {
        /// Which task.
        task: TaskId,
        /// Which question.
        key: Name,
        /// The answer that counts.
        value: Arc<[u8]>,
    },
    /// A key may not come back with another question.
    #[error("task {task} asked something else under the key {key} before", task = task.0)]
    OtherQuestion {
        /// Which task.
        task: TaskId,
        /// The key.
        key: Name,
    },
    /// Somebody else changed the task meanwhile.
    #[error("task {task} is at version {found}, not {named}", task = task.0)]
    OtherVersion {
        /// Which task.
        task: TaskId,
        /// The version named.
        named: u32,
        /// The version that it is at.
        found: u32,
    },
    /// There is no such queue.
    #[error("there is no queue {queue}; a queue is there while it has tasks or settings")]
    NoQueue {
        /// The name asked for.
        queue: Name,
    },
    /// There is no such schedule.
    #[error("there is no schedule {name}")]
    NoSchedule {
        /// The name asked for.
        name: Name,
    },
    /// Somebody has a token of this agent already.
    #[error("agent {agent} has a token already")]
    AgentExists {
        /// Which.
        agent: Name,
    },
    /// Nobody has a token of this agent.
    #[error("there is no agent {agent} with a token")]
    NoAgent {
        /// The name asked for.
        agent: Name,
    },
    /// The shared setting was changed meanwhile.
    #[error("setting {key} has version {found}, not {expected}; look at it again")]
    OtherConfig {
        /// Which.
        key: Name,
        /// The version that was to be changed.
        expected: u64,
        /// The version that is there; 0 if there is none.
        found: u64,
    },
    /// There is no such channel.
    #[error("there is no channel {channel}")]
    NoChannel {
        /// The name asked for.
        channel: Name,
    },
    /// The channel is there already.
    #[error("channel {channel} exists already")]
    ChannelExists {
        /// Which.
        channel: Name,
    },
    /// The agent has not said that it is here, or is gone.
    #[error("agent {agent} is not connected")]
    NotPresent {
        /// Which.
        agent: Name,
    },
    /// There is no such backup.
    #[error("there is no backup {name}; BACKUP LIST shows those that there are")]
    NoBackup {
        /// The name asked for.
        name: Name,
    },
    /// There is no such table.
    #[error("there is no table {table}; STORE SHOW shows those that there are")]
    NoTable {
        /// The name asked for.
        table: Name,
    },
    /// The disk is almost full, and this would fill it further.
    #[error(
        "the disk is almost full: {free_bytes} bytes are free, and new work is taken in from {free_bytes_min} on; make room and try again, nothing needs a restart"
    )]
    NoRoom {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that should be.
        free_bytes_min: u64,
    },
    /// The identity asks too often.
    #[error("too many requests; try again in {retry_after_ms} ms")]
    RateLimited {
        /// How long to wait.
        retry_after_ms: u64,
    },
    /// The identity has too many requests that are not answered yet.
    #[error("too many requests wait for their answers; read some, and try again")]
    TooManyInFlight,
    /// A backup was not made, or is not what was made.
    #[error("{reason}")]
    BackupFailed {
        /// What went wrong, as a sentence.
        reason: Arc<str>,
    },
    /// The token is not valid.
    #[error("the token is not valid")]
    NoToken,
    /// The token was issued before.
    #[error("the token was issued before; make another")]
    TokenInUse,
    /// A bound would be exceeded.
    #[error("{what} would be more than {max}, which is the limit")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
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
        tasks_max: u64,
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
            Rejection::Gone { .. } => "gone",
            Rejection::Terminal { .. } => "terminal",
            Rejection::Exists { .. } | Rejection::Twin { .. } => "exists",
            Rejection::UnknownDependency { .. } | Rejection::NotInBatch { .. } => {
                "unknown_dependency"
            }
            Rejection::Cycle { .. } => "cycle",
            Rejection::Gap { .. } => "gap",
            Rejection::NoQuestion { .. } => "no_question",
            Rejection::Answered { .. } => "already",
            Rejection::OtherQuestion { .. } => "other_question",
            Rejection::OtherConfig { .. } | Rejection::OtherVersion { .. } => "other_version",
            Rejection::NoQueue { .. } => "no_queue",
            Rejection::NoSchedule { .. } => "no_schedule",
            Rejection::AgentExists { .. } => "agent_exists",
            Rejection::NoAgent { .. } => "no_agent",
            Rejection::NoChannel { .. } => "no_channel",
            Rejection::ChannelExists { .. } => "channel_exists",
            Rejection::NotPresent { .. } => "not_present",
            Rejection::NoBackup { .. } => "no_backup",
            Rejection::NoTable { .. } => "no_table",
            Rejection::BackupFailed { .. } => "backup_failed",
            Rejection::NoRoom { .. } => "no_room",
            Rejection::RateLimited { .. } | Rejection::TooManyInFlight => "rate_limited",
            Rejection::NoToken => "no_token",
            Rejection::TokenInUse => "token_in_use",
            Rejection::LimitReached { .. } => "limit_reached",
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
