//! Waiting for a person: questions, answers, and tasks that a task makes itself.

use std::sync::Arc;

use super::{Name, Submit};

/// One question of a holder. A key that was asked before under the same task joins the open
/// question or gets its answer at once, so a second attempt never bothers anybody twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the answer is called; unique within the task.
    pub key: Name,
    /// Opaque bytes for whoever answers.
    pub text: Arc<[u8]>,
    /// What counts as the answer if nobody gives one in time.
    pub default: Option<Arc<[u8]>>,
}

/// What a holder waits for with its task set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    /// Questions; all of them have to be answered.
    pub questions: Vec<Question>,
    /// All open children have to end, too.
    pub children: bool,
    /// How long the holder stays with the task before it is parked without one; 0 parks at once.
    pub hold_ms: u64,
    /// How long it may be parked.
    pub park_ms: u64,
    /// What happens after that.
    pub on_timeout: ParkTimeout,
}

/// T34: what becomes of a parked task that nobody cared for in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkTimeout {
    /// Questions without an answer get their default; the task is dead if one has none.
    Default,
    /// It is dead.
    Fail,
    /// It is cancelled.
    Cancel,
    /// An event says so, and the time begins once more; after that it is dead.
    Escalate,
}

impl ParkTimeout {
    /// Every way.
    pub const ALL: [ParkTimeout; 4] =
        [ParkTimeout::Default, ParkTimeout::Fail, ParkTimeout::Cancel, ParkTimeout::Escalate];

    /// The one name on the wire and in docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ParkTimeout::Default => "default",
            ParkTimeout::Fail => "fail",
            ParkTimeout::Cancel => "cancel",
            ParkTimeout::Escalate => "escalate",
        }
    }
}

/// Tasks that a holder makes as parts of its own (T23). All of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// The children.
    pub children: Vec<Submit>,
    /// They are cancelled when their parent ends; otherwise they go on alone.
    pub end_with_parent: bool,
}
