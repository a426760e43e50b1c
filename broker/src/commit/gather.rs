//! When does a turn begin, and who sends what it lets out?
//!
//! Clients that send one request after the other come in two halves, unless they are waited for:
//!
//! ```text
//!   apart      turn A: 32 requests    turn B: the other 32    turn A ...
//!   together   turn: 32 that waited, and the 32 that were just answered and ask again
//! ```
//!
//! *Together* is best where a sync is slow: it is shared by all. Whoever was answered in the last
//! turn will often have the next request there within some microseconds, so a turn that could begin
//! waits for as many as were answered, for a moment at most. Where they do not come, because
//! clients are not like that, it is not tried again for a while, and for longer each time.
//!
//! *Apart* is best where a sync takes less time than it takes until all that were answered ask
//! again: then the answers of one half are sent, by others, while the other half is synced. To send
//! an answer is about half of that time; the rest is the client's, and to read its next request. So
//! the sending is measured, and compared with the syncs.

use std::time::Duration;

use super::turn::Spent;

/// Longest moment, from the end of a turn on. 150 µs: what a sync takes on a fast disk.
pub(super) const MOMENT: Duration = Duration::from_micros(150);

/// Turns that begin at once after so many moments that were waited for nothing, at most.
const SKIPS_MAX: u32 = 256;

/// Shortest sync during which others are made to send. 50 µs: to wake another thread takes a tenth
/// of that, and a disk that syncs in no time leaves nothing to do meanwhile.
const OVERLAP_MIN: Duration = Duration::from_micros(50);

/// From the first answer of a turn until all that were answered have asked again, in times of what it
/// takes to send the answers.
const ROUND_TRIP: f64 = 2.0;

/// A turn counts this much in the averages.
const NEWEST: f64 = 1.0 / 16.0;

/// What the next turn may wait for, and what it may do meanwhile.
#[derive(Debug, Default)]
pub(super) struct Gather {
    answered: usize,
    skips: u32,
    penalty: u32,
    overlaps: bool,
    /// Seconds of a sync.
    sync: f64,
    /// Seconds of a processor to send what one request brought about. How often others came in
    /// between says nothing about it.
    sending: f64,
}

impl Gather {
    /// How many requests are worth a moment, when `waiting` wait as the last turn ends.
    pub(super) fn target(&mut self, waiting: usize) -> usize {
        let all = waiting + self.answered;
        let round_trip = ROUND_TRIP * self.sending * all as f64;
        self.overlaps = self.sync > OVERLAP_MIN.as_secs_f64() && round_trip > self.sync;
        if self.skips > 0 || self.overlaps { 0 } else { all }
    }

    /// Whether others are to send the answers.
    pub(super) fn overlaps(&self) -> bool {
        self.overlaps
    }

    /// A turn took `requests`, having waited for `target` of them.
    pub(super) fn note(&mut self, requests: usize, target: usize) {
        self.answered = requests;
        if self.overlaps {
            // Nobody was waited for.
            return;
        }
        if self.skips > 0 {
            self.skips -= 1;
        } else if requests < target {
            self.penalty = (self.penalty * 2).clamp(1, SKIPS_MAX);
            self.skips = self.penalty;
        } else {
            self.penalty = 0;
        }
    }

    /// That turn is over.
    pub(super) fn learn(&mut self, spent: Spent) {
        if spent.requests == 0 {
            return;
        }
        let average = |value: &mut f64, newest: f64| *value += (newest - *value) * NEWEST;
        average(&mut self.sending, spent.sending.as_secs_f64() / f64::from(spent.requests));
        if !spent.sync.is_zero() {
            average(&mut self.sync, spent.sync.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(250);
    const TO_SEND: Duration = Duration::from_nanos(2_500);

    /// A turn of `requests`, for each of which an answer is sent.
    fn turn(gather: &mut Gather, requests: u32, sync: Duration) {
        gather.note(requests as usize, 0);
        gather.learn(Spent { requests, sync, sending: TO_SEND * requests });
    }

    /// What a hundred such turns teach.
    fn taught(requests: u32, sync: Duration) -> Gather {
        let mut gather = Gather::default();
        for _ in 0..100 {
            turn(&mut gather, requests, sync);
        }
        gather
    }

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
            let target = gather.target(5);
            gather.note(5, target);
        }
        while gather.target(5) == 0 {
            gather.note(5, 0);
        }
        let target = gather.target(5);
        gather.note(10, target);
        assert_eq!(gather.target(0), 10);
    }

    #[test]
    fn the_halves_stay_apart_where_it_takes_longer_to_ask_again_than_to_sync() {
        let mut gather = taught(32, SYNC);
        assert_eq!(gather.target(32), 0, "160 us of sending, 250 us of syncing");
        assert!(gather.overlaps());
        assert_eq!(gather.target(0), 32, "these alone are sent in 80 us");
        assert!(!gather.overlaps());
    }

    #[test]
    fn they_come_together_where_it_does_not() {
        let mut gather = taught(32, 10 * SYNC);
        assert_eq!(gather.target(32), 64);
        assert!(!gather.overlaps());
    }

    #[test]
    fn a_disk_that_becomes_slow_brings_them_together() {
        let mut gather = taught(32, SYNC);
        let turns = (0..100).take_while(|_| {
            turn(&mut gather, 32, 10 * SYNC);
            gather.target(32) == 0
        });
        assert!(turns.count() < 16);
    }

    #[test]
    fn where_nothing_is_synced_nothing_is_left_to_others() {
        let mut gather = taught(1_000, Duration::from_micros(1));
        assert_eq!(gather.target(1_000), 2_000);
        assert!(!gather.overlaps());
    }

    #[test]
    fn a_turn_that_keeps_nothing_says_nothing_about_syncs() {
        let mut gather = Gather::default();
        for _ in 0..100 {
            turn(&mut gather, 32, SYNC);
            turn(&mut gather, 32, Duration::ZERO);
        }
        assert_eq!(gather.target(16), 48, "120 us of sending");
        assert_eq!(gather.target(32), 0);
    }
}
