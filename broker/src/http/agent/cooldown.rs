//! Agents that were cut off for wrong frames stay away for a while: the contract's 4.7.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::core::command::Name;

/// How long, for the first time, the second, and every further one.
const STEPS: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(60), Duration::from_secs(300)];

/// Agents that are remembered. 10,000: only those with a token can get here. Beyond it, the one
/// that may come back first is forgotten.
const AGENTS_MAX: usize = 10_000;

/// Who was cut off how often, and until when it stays away.
#[derive(Debug, Default)]
pub struct Cooldowns {
    agents: Mutex<HashMap<Name, (usize, Instant)>>,
}

impl Cooldowns {
    /// It was cut off.
    pub(super) fn start(&self, agent: &Name, now: Instant) {
        let mut agents = self.agents.lock();
        let times = agents.get(agent).map_or(0, |(times, _)| *times);
        if times == 0 && agents.len() >= AGENTS_MAX {
            let first = agents.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(first) = first.map(|(name, _)| name.clone()) {
                agents.remove(&first);
            }
        }
        let step = STEPS[times.min(STEPS.len() - 1)];
        agents.insert(agent.clone(), (times + 1, now + step));
    }

    /// How many seconds it still has to stay away, if any.
    pub(super) fn left(&self, agent: &Name, now: Instant) -> Option<u64> {
        let (_, until) = *self.agents.lock().get(agent)?;
        let left = until.checked_duration_since(now)?;
        let seconds = left.as_millis().div_ceil(1_000);
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_longer_and_ends() {
        let (cooldowns, now) = (Cooldowns::default(), Instant::now());
        let [ann, ben] = ["ann", "ben"].map(|name| Name::parse(name).unwrap());
        assert_eq!(cooldowns.left(&ann, now), None);
        for seconds in [30, 60, 300, 300] {
            cooldowns.start(&ann, now);
            assert_eq!(cooldowns.left(&ann, now), Some(seconds));
            let almost = now + Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(cooldowns.left(&ann, almost), Some(1));
            assert_eq!(cooldowns.left(&ann, now + Duration::from_secs(seconds)), None);
        }
        assert_eq!(cooldowns.left(&ben, now), None);
    }

    #[test]
    fn a_crowd_takes_no_more_memory_than_is_allowed() {
        let (cooldowns, now) = (Cooldowns::default(), Instant::now());
        let agent = |number: usize| Name::parse(&format!("a{number}")).unwrap();
        for number in 0..=AGENTS_MAX {
            cooldowns.start(&agent(number), now + Duration::from_millis(number as u64));
        }
        assert_eq!(cooldowns.agents.lock().len(), AGENTS_MAX);
        assert_eq!(cooldowns.left(&agent(0), now), None);
        assert!(cooldowns.left(&agent(AGENTS_MAX), now).is_some());
    }
}
