//! When is a turn full? Clients that send one request after the other come in two halves.
//!
//! ```text
//!   without          turn A: 32 requests    turn B: the other 32    turn A ...
//!   with, as now     turn: 32 that waited, and the 32 that were just answered and ask again
//! ```
//!
//! Whoever was answered in the last turn will often have the next request there within some
//! microseconds, which is far less than a sync takes. So a turn that could begin waits for as many
//! as were answered, for a moment at most. Where they do not come, because clients are not like
//! that, it is not tried again for a while, and for longer each time.

use std::time::Duration;

/// Longest moment. 100 µs: half of what a sync takes on a fast disk.
pub(super) const MOMENT: Duration = Duration::from_micros(100);

/// Turns that begin at once after so many moments that were waited for nothing, at most.
const SKIPS_MAX: u32 = 256;

/// What the next turn may wait for.
#[derive(Debug, Default)]
pub(super) struct Gather {
    answered: usize,
    skips: u32,
    penalty: u32,
}

impl Gather {
    /// How many requests are worth a moment, when `waiting` wait as the last turn ends.
    pub(super) fn target(&self, waiting: usize) -> usize {
        if self.skips > 0 { 0 } else { waiting + self.answered }
    }

    /// A turn took `requests`, having waited for `target` of them.
    pub(super) fn note(&mut self, requests: usize, target: usize) {
        self.answered = requests;
        if self.skips > 0 {
            self.skips -= 1;
        } else if requests < target {
            self.penalty = (self.penalty * 2).clamp(1, SKIPS_MAX);
            self.skips = self.penalty;
        } else {
            self.penalty = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_become_one_whole() {
        let mut gather = Gather::default();
        gather.note(32, 0);
        assert_eq!(gather.target(32), 64);
        gather.note(64, 64);
        assert_eq!(gather.target(0), 64);
    }

    #[test]
    fn a_single_client_is_waited_for_by_nobody() {
        let mut gather = Gather::default();
        gather.note(1, 0);
        assert_eq!(gather.target(0), 1, "its next request is all that there is to wait for");
    }

    #[test]
    fn moments_that_were_for_nothing_become_rare() {
        // Five come in the time of a turn, whoever was answered.
        let mut gather = Gather::default();
        let mut moments = 0;
        for _ in 0..10_000 {
            let target = gather.target(5);
            moments += usize::from(target > 5);
            gather.note(5, target);
        }
        assert!((2..60).contains(&moments), "{moments}");
    }

    #[test]
    fn once_they_come_again_every_turn_waits_for_them() {
        let mut gather = Gather::default();
        for _ in 0..20 {
            gather.note(5, gather.target(5));
        }
        while gather.target(5) == 0 {
            gather.note(5, 0);
        }
        gather.note(10, gather.target(5));
        assert_eq!(gather.target(0), 10);
    }
}
