//! Wrong frames of agents, as the dashboard shows them: the contract's `validation`.

use std::collections::VecDeque;

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::board::Hour;

/// Mistakes and disconnections that are shown one by one.
const SHOWN_MAX: usize = 50;
const CUT_OFF_MAX: usize = 20;
/// Agents whose mistakes are counted apart; those of others are counted together with them.
const AGENTS_MAX: usize = 1_000;
/// Whoever did not say who it is.
const UNKNOWN: &str = "unknown";

/// What was wrong lately.
#[derive(Debug, Default)]
pub struct Mistakes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    newest: VecDeque<Value>,
    cut_off: VecDeque<Value>,
    of_hour: Hour,
    by_agent: HashMap<String, Hour>,
}

impl Mistakes {
    /// A frame of `kind` had so many errors.
    pub(super) fn note(&self, agent: Option<&str>, kind: &str, errors: usize, now_ms: u64) {
        let agent = agent.unwrap_or(UNKNOWN);
        let mut noted = self.0.lock();
        // The word is the agent's, and may be as long as a frame.
        let kind: String = kind.chars().take(64).collect();
        let shown = json!({"agent_id": agent, "message_type": kind, "error_count": errors,
            "timestamp": now_ms});
        noted.newest.push_front(shown);
        noted.newest.truncate(SHOWN_MAX);
        noted.of_hour.add(now_ms, 1);
        if noted.by_agent.len() >= AGENTS_MAX && !noted.by_agent.contains_key(agent) {
            noted.by_agent.retain(|_, hour| hour.total(now_ms) > 0);
        }
        let is_counted = noted.by_agent.len() < AGENTS_MAX || noted.by_agent.contains_key(agent);
        let agent = if is_counted { agent } else { UNKNOWN };
        noted.by_agent.entry_ref(agent).or_default().add(now_ms, 1);
    }

    /// An agent was cut off because it did not stop.
    pub(super) fn note_cut_off(&self, agent: Option<&str>, now_ms: u64) {
        let shown = json!({"agent_id": agent.unwrap_or(UNKNOWN), "timestamp": now_ms});
        let mut noted = self.0.lock();
        noted.cut_off.push_front(shown);
        noted.cut_off.truncate(CUT_OFF_MAX);
    }

    /// How many there were in the last hour.
    pub(in crate::http) fn of_hour(&self, now_ms: u64) -> u64 {
        self.0.lock().of_hour.total(now_ms)
    }

    /// All that is known of them.
    pub(in crate::http) fn to_json(&self, now_ms: u64) -> Value {
        let noted = self.0.lock();
        let counts = noted.by_agent.iter().map(|(agent, hour)| (agent, hour.total(now_ms)));
        let counts: Map<String, Value> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(agent, count)| (agent.clone(), count.into()))
            .collect();
        json!({
            "recent_failures": noted.newest,
            "failure_counts_by_agent": counts,
            "recent_disconnects": noted.cut_off,
            "total_failures_this_hour": noted.of_hour.total(now_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_shown_and_all_are_counted_for_an_hour() {
        let mistakes = Mistakes::default();
        for at_ms in 0..60 {
            mistakes.note(None, &"x".repeat(100), 1, at_ms);
        }
        mistakes.note(Some("ada"), "ping", 2, 60);
        mistakes.note_cut_off(Some("ada"), 61);
        let shown = mistakes.to_json(61);
        assert_eq!(shown["recent_failures"].as_array().unwrap().len(), SHOWN_MAX);
        assert_eq!(
            shown["recent_failures"][0],
            json!({"agent_id": "ada", "message_type": "ping", "error_count": 2, "timestamp": 60})
        );
        assert_eq!(shown["recent_failures"][1]["message_type"].as_str().unwrap().len(), 64);
        assert_eq!(shown["failure_counts_by_agent"], json!({"ada": 1, "unknown": 60}));
        assert_eq!(shown["recent_disconnects"], json!([{"agent_id": "ada", "timestamp": 61}]));
        assert_eq!(
            (shown["total_failures_this_hour"].as_u64(), mistakes.of_hour(61)),
            (Some(61), 61)
        );
        assert_eq!(mistakes.to_json(7_200_000)["failure_counts_by_agent"], json!({}));
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let mistakes = Mistakes::default();
        for number in 0..AGENTS_MAX + 5 {
            mistakes.note(Some(&format!("agent{number}")), "ping", 1, 0);
        }
        assert_eq!(mistakes.0.lock().by_agent.len(), AGENTS_MAX + 1);
        assert_eq!(mistakes.to_json(0)["failure_counts_by_agent"]["unknown"], 5);
        mistakes.note(Some("late"), "ping", 1, 7_200_000);
        assert_eq!(mistakes.0.lock().by_agent.len(), 1);
    }
}
