//! Which agent a task goes to, among those that can do it.

use std::sync::Arc;

use super::{LabelTest, Name};

/// What a task asks of its agent beyond being able to do it. Most tasks ask nothing of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placement {
    /// What of its agent's capacity it uses as long as it is leased. Sorted by name, without
    /// duplicates.
    pub resources: Arc<[Resource]>,
    /// Of several idle agents that can do it, the one that has most of this. Sorted, without
    /// duplicates.
    pub prefer: Arc<[Preference]>,
    /// For whom it is.
    pub assign: Option<Assign>,
    /// How long the agent that set it aside goes before all others when it is ready again, in
    /// milliseconds; 0 for not at all.
    pub sticky_ms: u64,
}

/// So much of something that agents have a limited amount of: memory, devices, seats.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Of what.
    pub name: Name,
    /// How much, in whatever unit submitters and agents agree on; at least 1.
    pub amount: u32,
}

/// A condition that a good agent fulfils, and others need not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Preference {
    /// How much it counts; at least 1. Weights of all that an agent fulfils are added.
    pub weight: u32,
    /// The condition.
    pub test: LabelTest,
}

/// The agent that a task is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assign {
    /// Which.
    pub agent: Name,
    /// For how long from when the task can first be granted, in milliseconds; `None`: nobody else
    /// will ever do.
    pub for_ms: Option<u64>,
}
