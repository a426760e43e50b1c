//! Numbers that name things, and the two clocks.

/// Milliseconds on the monotone clock since the broker process started. Never goes back, never
/// jumps; every timer in memory uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// So many milliseconds later.
    #[must_use]
    pub fn after(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }
}

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

/// One connection. Given by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Matches an answer to its request. Given by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Of what the broker asks of itself, and wants no answer to.
    pub const NOBODY: RequestId = RequestId(u64::MAX);
}

/// Somebody's interest in one task. Given by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// One accepted session of an agent. Later sessions have larger epochs, across restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);
