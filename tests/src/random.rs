//! Random numbers that can be had again: every random test prints its seed and replays from it.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (splitmix64); quality enough for test data, no dependency.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded from `AGENTCOM_TEST_SEED`, else from the clock; prints how to run it again.
    pub fn seeded() -> Self {
        let seed = match env::var("AGENTCOM_TEST_SEED") {
            Ok(text) => text.parse().expect("AGENTCOM_TEST_SEED is a number"),
            Err(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
            }
        };
        eprintln!("run again with AGENTCOM_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 up to, not including, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % end as u64) as usize
    }

    /// One of `choices`.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}
