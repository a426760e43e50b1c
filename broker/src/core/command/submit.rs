//! What a submitter asks for.

use std::sync::Arc;

use super::{Name, Placement, Resource, TaskId};
use crate::core::limits::Rate;

/// A task to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// What it has in common with other tasks of its kind.
    pub spec: Arc<Spec>,
    /// Opaque bytes for the agent.
    pub payload: Arc<[u8]>,
    /// More of them, kept apart: names and values, as the doors spell them. Present if and only if
    /// the spec says so.
    pub headers: Option<Arc<[u8]>>,
    /// When it may be granted at the earliest.
    pub start: Start,
    /// What to do if the same was submitted before.
    pub dedup: Option<Dedup>,
    /// Tasks that have to end first.
    pub after: Vec<After>,
}

/// Everything about a task that others of its kind share: where it waits, who can do it, and how
/// patient everybody is with it. Kept once in memory, however many tasks have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spec {
    /// Where it waits.
    pub queue: Name,
    /// Whose work it is: keys of one queue get even shares if the queue says so.
    pub key: Option<Name>,
    /// An agent must have all of these. Sorted, without duplicates.
    pub needs: Arc<[Name]>,
    /// Tests that an agent's labels must pass. Sorted, without duplicates.
    pub labels: Arc<[LabelTest]>,
    /// Limits on how many may be leased at once: a task with a limit is granted while fewer tasks
    /// with the same limit are leased than it allows itself. Sorted by name, without duplicates.
    pub limits: Arc<[LeaseLimit]>,
    /// Limits on how many may be granted in a time: tasks with the same limit share it. Sorted,
    /// without duplicates.
    pub rates: Arc<[RateLimit]>,
    /// Which agent it goes to; most tasks do not mind.
    pub placement: Option<Arc<Placement>>,
    /// Lower goes first; 0 is urgent.
    pub band: u8,
    /// Failures and time-outs before it is dead; at least 1.
    pub attempts_max: u32,
    /// Its time limits.
    pub patience: Patience,
    /// Its tasks have headers.
    pub has_headers: bool,
}

impl Submit {
    /// Bytes that are kept beside its row.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, |headers| headers.len())
    }
}

impl Spec {
    /// What of its agent's capacity a task uses; nothing, mostly.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        self.placement.as_ref().map_or(&[], |placement| &placement.resources)
    }
}

/// How long things about one task may last, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Patience {
    /// An accepted lease, without a sign of life from its agent.
    pub lease_ms: u64,
    /// One attempt, from accept to its end.
    pub attempt_ms: u64,
    /// Between two reports of a running attempt.
    pub progress_ms: Option<u64>,
    /// From submit to the first accept.
    pub queue_ms: Option<u64>,
    /// From submit to the end.
    pub total_ms: Option<u64>,
}

/// A limit on leases that tasks of several kinds may have in common, in whatever queues.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseLimit {
    /// What they have in common, such as a repository or an account.
    pub name: Name,
    /// Most leases at once; at least 1.
    pub max: u32,
}

/// A limit on grants that tasks of several kinds may have in common, in whatever queues. It is
/// the same one if all of it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RateLimit {
    /// What they have in common, such as a service that they all call.
    pub name: Name,
    /// How often it lets a task be granted.
    pub rate: Rate,
}

/// A condition on one label of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelTest {
    /// Which label.
    pub label: Name,
    /// How it is compared.
    pub op: LabelOp,
    /// With what; empty for [`LabelOp::Exists`]. Compared as numbers where both are whole numbers.
    pub value: Arc<str>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelOp {
    /// The same.
    Equal,
    /// Another one, or none at all.
    NotEqual,
    /// Smaller.
    Less,
    /// Not larger.
    AtMost,
    /// Larger.
    Greater,
    /// Not smaller.
    AtLeast,
    /// Whatever it is, it is there.
    Exists,
}

/// When a new task may be granted at the earliest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// After so many milliseconds, whatever the wall clock does meanwhile.
    In(u64),
    /// When the wall clock shows this, in milliseconds since the Unix epoch.
    At(u64),
}

/// A name under which the same work is recognised, within its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// The name.
    pub key: Name,
    /// What happens to a second submit, and how long it counts as one.
    pub mode: DedupMode,
}

/// T4: what happens to a second submit under the key of a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupMode {
    /// For so many milliseconds from the first submit: answered with the first task.
    Return(u64),
    /// For so many milliseconds from the first submit: refused.
    Reject(u64),
    /// As long as the first task is not leased: its payload is replaced.
    Replace,
    /// As long as the first task did not start: it starts `delay_ms` after the newest submit, at
    /// most `max_ms` after the first.
    Debounce {
        /// Silence to wait for.
        delay_ms: u64,
        /// Longest wait.
        max_ms: u64,
    },
    /// As long as the first task is not over: answered with it.
    UntilDone,
    /// As long as the newest task of the key is leased: answered with it.
    WhileRunning,
}

/// An edge to a task that has to end first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Which task.
    pub task: AfterTask,
    /// What counts as its end.
    pub on: AfterEnd,
}

/// Which task has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTask {
    /// One that was submitted before.
    Kept(TaskId),
    /// The one at this position of the same batch.
    InBatch(usize),
}

/// What an edge waits for, and what follows from a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnd {
    /// Any end will do.
    Any,
    /// Only success will do. After a bad end the task stays held until the other one is redriven
    /// and completes, and an event says so.
    SuccessElseBlock,
    /// Only success will do; after a bad end this task is cancelled.
    SuccessElseCancel,
    /// Only success will do; after a bad end this task is dead.
    SuccessElseFail,
}
