//! One task: its states and the arrows between them.
//!
//! ```text
//!   submit (T3)                                     complete (T25)
//!     |                         +-----------------------------------> completed
//!     v         grant (T9)      |  accept (T10)
//!   ready ----------------> offered ------------> running --complete-> completed
//!    ^  ^                    |   |                  |  |
//!    |  |  decline (T12)     |   |                  |  |
//!    |  +-- offer expired ---+   +------ fail (T26, rule R) ---------> dead
//!    |  |   (T13), lost (T18)                          |         (also by decline, offer
//!    |  +-- lost (T18) --------------------------------+          expired and lost, at
//!    |                                                 |          their limits)
//!    +-- due (T8) -- scheduled <---- back-off ---------+
//! ```
//!
//! One method per arrow. A method changes the row and nothing else: who is told, what is logged
//! and which timer starts follows from the phase the task is in afterwards (`core/mod.rs`). Each
//! method asserts the phase it starts from; whether an agent *may* do it was judged by
//! `core/fence.rs`.
//!
//! The generation rises on every grant and on every revocation, never when the holder itself
//! brings the task to its end.

use std::sync::Arc;

use super::command::{DeadReason, Generation, Name, State, Submit, TaskId, Tick};
use super::limits::{CoreConfig, ERROR_BYTES_MAX};
use super::queue::band_offset_ms;
use super::record::{EndVerb, Holder, LeaseEnd, Phase, TaskRow};

/// An open task: its durable row and what only matters while the broker runs.
#[derive(Debug)]
pub(super) struct Task {
    /// What the store knows.
    pub(super) row: TaskRow,
    /// Newest report of the present holder.
    pub(super) progress: Option<Arc<[u8]>>,
    /// The one timer of its own that it has: end of the wait or of the offer.
    pub(super) timer: Option<Tick>,
    /// Its lease does not end before this, however silent the agent (set by a restart).
    pub(super) lease_floor: Tick,
}

/// The failure of an attempt, as its holder reports it.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    /// For people.
    pub(super) error: &'a str,
    /// Whether another attempt could help.
    pub(super) retryable: bool,
    /// Not before this long.
    pub(super) retry_after_ms: Option<u64>,
    /// Fingerprint of the operation.
    pub(super) digest: u64,
}

/// When something happens, in both of the core's measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The core's own time line, which goes on across restarts; places are measured on it.
    pub(super) virtual_ms: u64,
    /// Wall clock.
    pub(super) wall_ms: u64,
}

impl Task {
    /// T3: a new task, ready.
    pub(super) fn submit(task: TaskId, submit: Submit, at: Moment) -> Task {
        Task::open(TaskRow {
            task,
            queue: submit.queue,
            needs: submit.needs.into(),
            band: submit.band,
            attempts_max: submit.attempts_max,
            lease_ms: submit.lease_ms,
            phase: Phase::Ready,
            generation: Generation(0),
            place_ms: at.virtual_ms + band_offset_ms(submit.band),
            attempts: 0,
            lost: 0,
            offers_expired: 0,
            declines: 0,
            excluded: Arc::default(),
            last_end: None,
            error: None,
            submitted_ms: at.wall_ms,
            updated_ms: at.wall_ms,
        })
    }

    /// A task as the store has it.
    pub(super) fn open(row: TaskRow) -> Task {
        Task { row, progress: None, timer: None, lease_floor: Tick(0) }
    }

    /// T8: the wait is over; it queues behind what is eligible already.
    pub(super) fn due(&mut self, at: Moment) {
        assert!(matches!(self.row.phase, Phase::Scheduled { .. }), "only a waiting task is due");
        self.row.place_ms = at.virtual_ms + band_offset_ms(self.row.band);
        self.turn(Phase::Ready, at);
    }

    /// T9: offered to `holder`, under a generation that nobody was ever given before.
    pub(super) fn grant(&mut self, holder: Holder, at: Moment) {
        assert!(matches!(self.row.phase, Phase::Ready), "only a ready task is granted");
        self.row.generation.0 += 1;
        self.lease_floor = Tick(0);
        self.turn(Phase::Offered(holder), at);
    }

    /// T10: the holder takes the offer.
    pub(super) fn accept(&mut self, at: Moment) {
        let Phase::Offered(holder) = &self.row.phase else {
            unreachable!("only an offered task is accepted");
        };
        let holder = holder.clone();
        self.turn(Phase::Running(holder), at);
    }

    /// T12: the holder refuses the offer. It keeps its place, and that agent is not asked again.
    pub(super) fn decline(&mut self, digest: u64, config: &CoreConfig, at: Moment) {
        let agent = self.end_lease();
        self.row.declines += 1;
        self.row.generation.0 += 1;
        let generation = Generation(self.row.generation.0 - 1);
        let mut excluded = self.row.excluded.to_vec();
        if let Err(gap) = excluded.binary_search(&agent) {
            excluded.insert(gap, agent.clone());
        }
        self.row.excluded = excluded.into();
        let exhausted = self.row.declines >= config.declines_max;
        self.back_or_dead(exhausted, DeadReason::Rejected, agent.clone(), at);
        self.remember(generation, agent, EndVerb::Decline, digest);
    }

    /// T13 and, before it was accepted, T18: nobody answered the offer.
    pub(super) fn expire_offer(&mut self, config: &CoreConfig, at: Moment) {
        assert!(matches!(self.row.phase, Phase::Offered(_)), "only an offer expires");
        let agent = self.end_lease();
        self.row.offers_expired += 1;
        self.row.generation.0 += 1;
        let exhausted = self.row.offers_expired >= config.offers_max;
        self.back_or_dead(exhausted, DeadReason::Lost, agent, at);
    }

    /// T18: the holder of running work vanished. The system failed the task, so it keeps its
    /// place and no attempt is counted.
    pub(super) fn lose(&mut self, config: &CoreConfig, at: Moment) {
        assert!(matches!(self.row.phase, Phase::Running(_)), "only running work is lost");
        let agent = self.end_lease();
        self.row.lost += 1;
        self.row.generation.0 += 1;
        let exhausted = self.row.lost >= config.lost_max;
        self.back_or_dead(exhausted, DeadReason::Lost, agent, at);
    }

    /// T25: done.
    pub(super) fn complete(&mut self, digest: u64, at: Moment) {
        let agent = self.end_lease();
        self.turn(Phase::Completed { by: agent.clone() }, at);
        self.remember(self.row.generation, agent, EndVerb::Complete, digest);
    }

    /// T26: the attempt failed; rule R decides what follows.
    pub(super) fn fail(&mut self, failure: &Failure<'_>, config: &CoreConfig, at: Moment) {
        let agent = self.end_lease();
        let generation = self.row.generation;
        self.row.attempts += 1;
        self.row.error = Some(truncated(failure.error).into());
        let phase = if !failure.retryable {
            Phase::Dead { reason: DeadReason::NonRetryable, by: agent.clone() }
        } else if self.row.attempts >= self.row.attempts_max {
            Phase::Dead { reason: DeadReason::Failed, by: agent.clone() }
        } else {
            self.row.generation.0 += 1;
            let backoff_ms = config.backoff.delay_ms(self.row.task, self.row.attempts);
            match failure.retry_after_ms.unwrap_or(0).max(backoff_ms) {
                0 => {
                    self.row.place_ms = at.virtual_ms + band_offset_ms(self.row.band);
                    Phase::Ready
                }
                delay_ms => Phase::Scheduled { delay_ms, anchor_ms: at.wall_ms },
            }
        };
        self.turn(phase, at);
        self.remember(generation, agent, EndVerb::Fail, failure.digest);
    }

    /// Number of the try that is being made or comes next; 1 for the first.
    pub(super) fn attempt(&self) -> u32 {
        self.row.attempts + 1
    }

    fn end_lease(&mut self) -> Name {
        self.progress = None;
        self.row.holder().expect("only a leased task can lose its lease").agent.clone()
    }

    fn back_or_dead(&mut self, exhausted: bool, reason: DeadReason, by: Name, at: Moment) {
        let phase = if exhausted { Phase::Dead { reason, by } } else { Phase::Ready };
        self.turn(phase, at);
    }

    fn turn(&mut self, phase: Phase, at: Moment) {
        self.row.phase = phase;
        self.row.updated_ms = at.wall_ms;
    }

    fn remember(&mut self, generation: Generation, agent: Name, verb: EndVerb, digest: u64) {
        let outcome: State = self.row.state();
        self.row.last_end = Some(Box::new(LeaseEnd { generation, agent, verb, digest, outcome }));
    }
}

/// At most [`ERROR_BYTES_MAX`] bytes of `text`, ending between two characters.
fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment { virtual_ms: 1_000, wall_ms: 5_000 };

    fn task(attempts_max: u32) -> Task {
        let submit = Submit {
            queue: Name::parse("q").unwrap(),
            payload: Arc::default(),
            needs: vec![],
            band: 1,
            attempts_max,
            lease_ms: 30_000,
        };
        Task::submit(TaskId(1), submit, AT)
    }

    fn grant(task: &mut Task, agent: &str) {
        let agent = Name::parse(agent).unwrap();
        task.grant(Holder { agent, identity: "login".into() }, AT);
    }

    fn failure(error: &str, retryable: bool, retry_after_ms: Option<u64>) -> Failure<'_> {
        Failure { error, retryable, retry_after_ms, digest: 0 }
    }

    fn no_backoff() -> CoreConfig {
        let mut config = CoreConfig::default();
        config.backoff.base_ms = 0;
        config
    }

    fn dead_reason(task: &Task) -> Option<DeadReason> {
        match task.row.phase {
            Phase::Dead { reason, .. } => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn generation_rises_on_grant_and_revocation_and_not_on_the_holders_own_end() {
        let mut task = task(9);
        grant(&mut task, "a");
        assert_eq!(task.row.generation, Generation(1));
        task.expire_offer(&no_backoff(), AT);
        assert_eq!(task.row.generation, Generation(2));
        grant(&mut task, "a");
        task.accept(AT);
        assert_eq!(task.row.generation, Generation(3));
        task.complete(0, AT);
        assert_eq!(task.row.generation, Generation(3));
    }

    #[test]
    fn a_retry_waits_for_the_longer_of_back_off_and_the_agents_wish() {
        let mut task = task(9);
        grant(&mut task, "a");
        task.fail(&failure("e", true, Some(777_000)), &CoreConfig::default(), AT);
        assert_eq!(task.row.phase, Phase::Scheduled { delay_ms: 777_000, anchor_ms: 5_000 });
        assert_eq!(task.row.generation, Generation(2));
    }

    #[test]
    fn the_last_attempt_is_dead_and_keeps_its_generation() {
        let mut task = task(2);
        grant(&mut task, "a");
        task.fail(&failure("one", true, None), &no_backoff(), AT);
        assert_eq!(task.row.phase, Phase::Ready);
        grant(&mut task, "a");
        task.fail(&failure("two", true, None), &no_backoff(), AT);
        assert_eq!(dead_reason(&task), Some(DeadReason::Failed));
        assert_eq!(task.row.generation, Generation(3));
        assert_eq!(task.row.error.as_deref(), Some("two"));
    }

    #[test]
    fn lost_work_keeps_its_place_and_counts_no_attempt() {
        let mut task = task(1);
        let place = task.row.place_ms;
        grant(&mut task, "a");
        task.accept(AT);
        task.lose(&CoreConfig::default(), Moment { virtual_ms: 9_999, wall_ms: 9_999 });
        assert_eq!((task.row.lost, task.row.attempts), (1, 0));
        assert_eq!(task.row.place_ms, place);
    }

    #[test]
    fn each_limit_ends_the_task_at_its_count_and_not_before() {
        let config = CoreConfig { offers_max: 3, lost_max: 3, declines_max: 3, ..no_backoff() };
        let check = |end: fn(&mut Task, &CoreConfig), reason| {
            let mut task = task(9);
            for count in 1..=3 {
                assert_eq!(task.row.phase, Phase::Ready, "after {} of 3", count - 1);
                grant(&mut task, &format!("agent-{count}"));
                end(&mut task, &config);
            }
            assert_eq!(dead_reason(&task), Some(reason));
        };
        check(|task, config| task.expire_offer(config, AT), DeadReason::Lost);
        check(|task, config| task.decline(0, config, AT), DeadReason::Rejected);
        let lose = |task: &mut Task, config: &CoreConfig| {
            task.accept(AT);
            task.lose(config, AT);
        };
        check(lose, DeadReason::Lost);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = "ä".repeat(ERROR_BYTES_MAX);
        assert_eq!(truncated(&text).len(), ERROR_BYTES_MAX);
        assert_eq!(truncated(&format!("x{text}")).len(), ERROR_BYTES_MAX - 1);
        assert_eq!(truncated("short"), "short");
    }
}
