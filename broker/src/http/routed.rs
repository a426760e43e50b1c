//! How tasks were routed that went to legacy agents: the contract's `routing_stats`.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Counts since the start, by the words of `tier.rs`, which are few.
#[derive(Debug, Default)]
pub struct Routed(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_tier: BTreeMap<String, u64>,
    by_target: BTreeMap<String, u64>,
    fallbacks: u64,
}

impl Routed {
    /// A task went to an agent with this decision.
    pub(super) fn note(&self, decision: &Value) {
        let mut counts = self.0.lock();
        let word = |key: &str| decision[key].as_str().unwrap_or("unknown").to_owned();
        *counts.by_tier.entry(word("effective_tier")).or_default() += 1;
        *counts.by_target.entry(word("target_type")).or_default() += 1;
        counts.fallbacks += u64::from(decision["fallback_used"] == true);
    }

    /// All counts.
    pub(super) fn to_json(&self) -> Value {
        let counts = self.0.lock();
        json!({
            "total_routed": counts.by_tier.values().sum::<u64>(),
            "by_tier": counts.by_tier,
            "by_target": counts.by_target,
            "fallback_count": counts.fallbacks,
        })
    }
}
