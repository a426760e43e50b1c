//! What agents ask for, and what they are told.

use std::sync::Arc;

use super::{
    Answer, Generation, Name, Park, Resource, SessionId, Spawn, State, TaskEvent, TaskId, WatchId,
};

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
    /// What is true of it. Sorted by label, without duplicates.
    pub labels: Vec<(Name, Arc<str>)>,
    /// How much it has of what tasks use up. Sorted by name, without duplicates.
    pub capacity: Vec<Resource>,
    /// Queues it takes work from; empty means all.
    pub queues: Vec<Name>,
    /// Leases it is willing to hold at once; at least 1.
    pub credit: u32,
    /// The resume list: leases it still works on, from an earlier session. All others that it
    /// held are revoked at once (T17).
    pub holding: Vec<(TaskId, Generation)>,
}

/// A consumer that fetches instead of being offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// The session that asks. If it speaks for no agent yet, it speaks for `consumer` from now on.
    pub session: SessionId,
    /// The agent that holds the leases.
    pub consumer: Name,
    /// Who authenticated.
    pub identity: Arc<str>,
    /// Where to take from.
    pub queue: Name,
    /// At most so many; at least 1.
    pub max: u32,
    /// How long to wait for the first one, in milliseconds.
    pub wait_ms: u64,
    /// How long the leases last, in milliseconds, whatever becomes of the connection; `None`
    /// means what each task says.
    pub lease_ms: Option<u64>,
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
    /// Refuse the offer (T12).
    Decline {
        /// For people.
        reason: Arc<str>,
        /// Ask this agent again after so long; `None`: never for this task.
        retry_after_ms: Option<u64>,
    },
    /// Report on running work; a sign of life (T20).
    Progress {
        /// Its number, one more than that of the last report of the task; `None` for whatever
        /// comes next.
        seq: Option<u64>,
        /// Opaque bytes for watchers.
        data: Arc<[u8]>,
    },
    /// Nothing will be heard for so long, and that is all right (T21).
    Busy {
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// Keep this for the next attempt (T22).
    Checkpoint {
        /// Its number, one more than that of the last one; `None` for whatever comes next.
        seq: Option<u64>,
        /// Opaque bytes for the next holder.
        data: Arc<[u8]>,
    },
    /// The lease lasts so long from now; only for leases that were taken.
    Extend {
        /// How long, in milliseconds.
        lease_ms: u64,
    },
    /// Done (T25).
    Complete {
        /// Opaque bytes, kept with the task.
        result: Arc<[u8]>,
    },
    /// Done, and nothing has to be remembered (T25 and T48 at once).
    Ack,
    /// Not done (T26, rule R).
    Fail {
        /// For people; kept with the task.
        error: Arc<str>,
        /// Whether and when there is another attempt.
        retry: Retry,
    },
    /// Hand it back unharmed (T28).
    Release {
        /// Not before this long.
        delay_ms: u64,
    },
    /// Wait for answers or children, with the task or without it (T29, T31).
    Park(Park),
    /// Make tasks that are parts of this one (T23).
    Spawn(Spawn),
    /// The cancellation is noticed and the work stopped (T38).
    CancelAck {
        /// What there is of a result.
        result: Arc<[u8]>,
    },
}

/// What follows a failed attempt, as its holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After the back-off, and not before so many milliseconds.
    Backoff {
        /// 0 if the agent does not know better.
        at_least_ms: u64,
    },
    /// After exactly so many milliseconds.
    In(u64),
    /// After so many milliseconds, and nothing else that has one of its rates before that: whoever
    /// it called wants fewer calls. Uses up no attempt, but is counted with the times it was handed
    /// back; once those are used up it is an ordinary failure.
    Throttled(u64),
    /// No retry can help.
    Never,
}

/// Pushed without being asked for.
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
    /// Stop working on it, and say so (T37).
    Cancel {
        /// Which task.
        task: TaskId,
        /// The generation that is asked to stop.
        generation: Generation,
        /// How long there is to stop.
        grace_ms: u64,
        /// For people.
        reason: Arc<str>,
    },
    /// What the holder asked is answered (T30).
    Answered {
        /// Which task.
        task: TaskId,
        /// The generation that waits.
        generation: Generation,
        /// Every answer that there is.
        answers: Vec<Answer>,
    },
    /// A newer session speaks for the agent.
    Replaced,
    /// Something happened to a task that the session watches.
    Event {
        /// Whose interest it is.
        watch: WatchId,
        /// What happened.
        event: TaskEvent,
    },
}

/// A task offered to an agent, or taken by it.
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
    /// How long until the offer is withdrawn; 0 if it was taken.
    pub offer_ms: u64,
    /// How long the lease lasts.
    pub lease_ms: u64,
    /// Number of the newest report on it; 0 if there was none.
    pub progress_seq: u64,
    /// Number of its checkpoint, if an earlier attempt left one.
    pub checkpoint_seq: Option<u64>,
    /// Answers to questions that earlier attempts asked.
    pub answers: Vec<Answer>,
    /// The submitter's bytes. Empty when it leaves the core, which does not hold payloads; the
    /// commit loop fills it in before it delivers the offer.
    pub payload: Arc<[u8]>,
    /// The submitter's headers, if there are any; filled in like the payload.
    pub headers: Option<Arc<[u8]>>,
    /// The checkpoint's bytes; filled in like the payload.
    pub checkpoint: Option<Arc<[u8]>>,
}

/// What a resumed session is told of a lease that it still works on (T15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continued {
    /// Which task.
    pub task: TaskId,
    /// Its generation, which stays in force.
    pub generation: Generation,
    /// It is to be stopped.
    pub is_cancelling: bool,
    /// Number of the newest report on it.
    pub progress_seq: u64,
}

/// What a resumed session is told of a lease that is not its own any more (T16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Which task.
    pub task: TaskId,
    /// The generation that it named.
    pub generation: Generation,
    /// Where the task stands; `None` if it is over or was never there.
    pub state: Option<State>,
}
