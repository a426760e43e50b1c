//! May this operation on a lease take effect? The one place that decides it.
//!
//! The checks stand in a fixed order and the first that hits answers:
//!
//! 1. *replay*: the holder repeats what ended its lease: the old answer again; it does something
//!    else with a lease it already ended: conflict;
//! 2. *leased*: nobody holds the task: invalid state;
//! 3. *generation*: another than the one in force: stale;
//! 4. *agent*: the generation is right and the sender is not its holder: not owner;
//! 5. *guard*: the operation itself does not fit the state: invalid state.
//!
//! (That the task exists and that the session speaks for an agent is checked before.) Whatever is
//! refused here changed nothing and is not logged. One function for every verb: a verb that
//! brought its own checks would be the hole in the fence.

use super::command::{Action, LeaseOp, Name, Question, Rejection, Retry, State};
use super::record::{EndVerb, LeaseEnd, Phase, TaskRow};

/// An operation that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Do it.
    Act,
    /// It was done before and led to this state; say so again, change nothing.
    Replayed(State),
    /// The report or checkpoint of this number was kept before; change nothing.
    Numbered(u64),
}

/// Judge what `agent` wants to do with the task in `row`, which may be handed back
/// `releases_max` times.
pub(super) fn judge(
    row: &TaskRow,
    op: &LeaseOp,
    agent: &Name,
    releases_max: u32,
) -> Result<Verdict, Rejection> {
    if let Some(end) = &row.details().last_end
        && end.generation == op.generation
        && end.agent == *agent
    {
        return replay(row, op, end);
    }
    let Some(holder) = row.holder() else {
        return Err(invalid(row));
    };
    if op.generation != row.generation {
        return Err(Rejection::StaleGeneration {
            task: row.task,
            found: op.generation,
            current: row.generation,
            state: row.state(),
        });
    }
    if holder.agent != *agent {
        return Err(Rejection::NotOwner { task: row.task, agent: agent.clone() });
    }
    guard(row, op, releases_max)
}

/// What the operation itself asks for.
fn guard(row: &TaskRow, op: &LeaseOp, releases_max: u32) -> Result<Verdict, Rejection> {
    let details = row.details();
    let gap = |found, expected| Err(Rejection::Gap { task: row.task, found, expected });
    match (&op.action, &row.phase) {
        (Action::Accept, Phase::Running(_)) => Ok(Verdict::Replayed(State::Running)),
        (Action::Decline { .. }, Phase::Running(_)) => Err(invalid(row)),
        (Action::CancelAck { .. }, _) if details.cancelling.is_none() => Err(invalid(row)),
        (Action::Release { .. }, _)
            if details.releases >= releases_max && details.cancelling.is_none() =>
        {
            let (what, max) = ("the number of times a task is handed back", releases_max.into());
            Err(Rejection::LimitReached { what, max })
        }
        (Action::Progress { seq: Some(seq), .. }, _) => match details.progress_seq + 1 {
            next if *seq == next => Ok(Verdict::Act),
            next if *seq < next => Ok(Verdict::Numbered(*seq)),
            next => gap(*seq, next),
        },
        (Action::Checkpoint { seq: Some(seq), .. }, _) => {
            match details.checkpoint_seq.map_or(1, |last| last + 1) {
                next if *seq == next => Ok(Verdict::Act),
                next if *seq < next => Ok(Verdict::Numbered(*seq)),
                next => gap(*seq, next),
            }
        }
        _ => Ok(Verdict::Act),
    }
}

fn invalid(row: &TaskRow) -> Rejection {
    Rejection::InvalidState { task: row.task, state: row.state(), generation: row.generation }
}

fn replay(row: &TaskRow, op: &LeaseOp, end: &LeaseEnd) -> Result<Verdict, Rejection> {
    if ending(&op.action) == Some((end.verb, end.digest)) {
        return Ok(Verdict::Replayed(end.outcome));
    }
    Err(Rejection::Conflict {
        task: row.task,
        generation: op.generation,
        recorded: end.verb.as_str(),
    })
}

/// What of this action is remembered if it ends the lease; `None` if it never does.
pub(super) fn ending(action: &Action) -> Option<(EndVerb, u64)> {
    match action {
        Action::Accept
        | Action::Progress { .. }
        | Action::Busy { .. }
        | Action::Checkpoint { .. }
        | Action::Extend { .. }
        | Action::Spawn(_) => None,
        Action::Park(park) if park.hold_ms > 0 => None,
        Action::Park(park) => {
            let mut bytes = park.on_timeout.as_str().as_bytes().to_vec();
            for Question { key, text, default } in &park.questions {
                // Each part behind its length, so that none can pass for two.
                let parts = [Some(key.as_str().as_bytes()), Some(text), default.as_deref()];
                for part in parts.into_iter().flatten() {
                    bytes.extend_from_slice(&part.len().to_le_bytes());
                    bytes.extend_from_slice(part);
                }
                bytes.push(u8::from(default.is_some()));
            }
            Some((EndVerb::Park, digest(&bytes, park.park_ms << 1 | u64::from(park.children))))
        }
        Action::Decline { reason, retry_after_ms } => {
            let flags = retry_after_ms.map_or(0, |ms| (ms << 1) | 1);
            Some((EndVerb::Decline, digest(reason.as_bytes(), flags)))
        }
        Action::Complete { result } => Some((EndVerb::Complete, digest(result, 0))),
        Action::Ack => Some((EndVerb::Complete, digest(&[], 1))),
        Action::Fail { error, retry } => {
            let flags = match retry {
                Retry::Backoff { at_least_ms } => at_least_ms << 2,
                Retry::In(ms) => (ms << 2) | 1,
                Retry::Never => 2,
                Retry::Throttled(ms) => (ms << 2) | 3,
            };
            Some((EndVerb::Fail, digest(error.as_bytes(), flags)))
        }
        Action::Release { delay_ms } => Some((EndVerb::Release, digest(&[], *delay_ms))),
        Action::CancelAck { result } => Some((EndVerb::CancelAck, digest(result, 0))),
    }
}

/// Length and CRC-32 of the bytes, mixed with `flags`. It tells an honest repetition from a
/// change of mind; whoever forges a collision only fools himself about his own lease.
fn digest(bytes: &[u8], flags: u64) -> u64 {
    let sum = u64::from(crc32fast::hash(bytes));
    (((bytes.len() as u64) << 32) | sum) ^ flags.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::command::{Generation, Park, ParkTimeout, SessionId, TaskId};
    use super::super::record::{Cancelling, End, Ending, Holder};
    use super::super::task::tests::{row as blank_row, spec};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn row(phase: Phase) -> TaskRow {
        let mut row = blank_row(1, &spec("q", 0), phase);
        row.generation = Generation(3);
        row
    }

    fn held_by_alice() -> Arc<Holder> {
        Arc::new(Holder { agent: name("alice"), identity: "login".into(), fixed_ms: None })
    }

    fn complete(bytes: &[u8]) -> Action {
        Action::Complete { result: bytes.into() }
    }

    fn check(row: &TaskRow, agent: &str, generation: u64, action: Action) -> String {
        let op = LeaseOp {
            session: SessionId(1),
            task: TaskId(1),
            generation: Generation(generation),
            action,
        };
        match judge(row, &op, &name(agent), 2) {
            Ok(verdict) => format!("{verdict:?}"),
            Err(rejection) => rejection.code().to_owned(),
        }
    }

    #[test]
    fn only_the_holder_of_the_generation_in_force_may_act() {
        for phase in [Phase::Offered(held_by_alice()), Phase::Running(held_by_alice())] {
            let row = row(phase);
            assert_eq!(check(&row, "alice", 3, complete(b"x")), "Act");
            assert_eq!(check(&row, "alice", 2, complete(b"x")), "stale_generation");
            assert_eq!(check(&row, "alice", 4, complete(b"x")), "stale_generation");
            assert_eq!(check(&row, "bob", 3, complete(b"x")), "not_owner");
            assert_eq!(check(&row, "bob", 2, complete(b"x")), "stale_generation");
        }
    }

    #[test]
    fn a_park_that_asks_something_else_is_another_one() {
        let question = |key: &str, text: &str, default: Option<&str>| Question {
            key: name(key),
            text: text.as_bytes().into(),
            default: default.map(|text| text.as_bytes().into()),
        };
        let park = |questions: Vec<Question>, on_timeout| {
            let park = Park { questions, children: false, hold_ms: 0, park_ms: 9, on_timeout };
            ending(&Action::Park(park)).map(|(_, digest)| digest)
        };
        let fail = ParkTimeout::Fail;
        let parks = [
            park(vec![question("a", "b", None)], fail),
            park(vec![question("a", "b", None)], ParkTimeout::Cancel),
            park(vec![question("a", "b", Some(""))], fail),
            park(vec![question("a", "b", Some("c"))], fail),
            park(vec![question("ab", "", None)], fail),
            park(vec![question("a", "b", None), question("c", "d", None)], fail),
        ];
        for (at, one) in parks.iter().enumerate() {
            assert_eq!(parks.iter().position(|other| other == one), Some(at));
        }
    }

    #[test]
    fn state_is_checked_before_generation() {
        assert_eq!(check(&row(Phase::Ready), "alice", 9, Action::Accept), "invalid_state");
    }

    #[test]
    fn accept_may_be_repeated_and_decline_comes_too_late_for_running_work() {
        let running = row(Phase::Running(held_by_alice()));
        assert_eq!(check(&running, "alice", 3, Action::Accept), "Replayed(Running)");
        let decline = Action::Decline { reason: "no".into(), retry_after_ms: None };
        assert_eq!(check(&running, "alice", 3, decline), "invalid_state");
    }

    #[test]
    fn a_repeated_end_is_answered_and_a_different_one_is_a_conflict() {
        let by = Some(name("alice"));
        let end = End { how: Ending::Completed, by, expires_ms: None };
        let mut row = row(Phase::Over(Box::new(end)));
        let (verb, digest) = ending(&complete(b"x")).unwrap();
        row.details_mut().last_end = Some(Box::new(LeaseEnd {
            generation: Generation(3),
            agent: name("alice"),
            verb,
            digest,
            outcome: State::Completed,
        }));
        assert_eq!(check(&row, "alice", 3, complete(b"x")), "Replayed(Completed)");
        assert_eq!(check(&row, "alice", 3, complete(b"y")), "conflict");
        assert_eq!(check(&row, "alice", 3, Action::Accept), "conflict");
        assert_eq!(check(&row, "bob", 3, complete(b"x")), "invalid_state");
        assert_eq!(check(&row, "alice", 2, complete(b"x")), "invalid_state");
    }

    #[test]
    fn every_argument_is_part_of_the_digest() {
        let fail = |error: &str, retry| Action::Fail { error: error.into(), retry };
        let decline = |reason: &str, retry_after_ms| Action::Decline {
            reason: reason.into(),
            retry_after_ms,
        };
        let backoff = |at_least_ms| Retry::Backoff { at_least_ms };
        let different = |actions: &[Action]| {
            let all: Vec<_> = actions.iter().map(|action| ending(action).unwrap()).collect();
            for (index, one) in all.iter().enumerate() {
                assert!(!all[..index].contains(one), "{:?}", actions[index]);
            }
        };
        different(&[
            fail("a", backoff(0)),
            fail("b", backoff(0)),
            fail("a", backoff(1)),
            fail("a", Retry::Never),
            fail("a", Retry::In(0)),
            fail("a", Retry::In(1)),
        ]);
        different(&[
            decline("a", None),
            decline("b", None),
            decline("a", Some(0)),
            decline("a", Some(1)),
        ]);
        different(&[Action::Release { delay_ms: 0 }, Action::Release { delay_ms: 1 }]);
        different(&[Action::Ack, complete(b""), complete(b"x")]);
    }

    #[test]
    fn numbers_may_come_again_and_not_be_left_out() {
        let mut row = row(Phase::Running(held_by_alice()));
        row.details_mut().progress_seq = 4;
        let report = |seq| Action::Progress { seq, data: Arc::default() };
        assert_eq!(check(&row, "alice", 3, report(None)), "Act");
        assert_eq!(check(&row, "alice", 3, report(Some(5))), "Act");
        assert_eq!(check(&row, "alice", 3, report(Some(4))), "Numbered(4)");
        assert_eq!(check(&row, "alice", 3, report(Some(6))), "gap");
        let checkpoint = |seq| Action::Checkpoint { seq, data: Arc::default() };
        assert_eq!(check(&row, "alice", 3, checkpoint(Some(1))), "Act");
        row.details_mut().checkpoint_seq = Some(7);
        assert_eq!(check(&row, "alice", 3, checkpoint(Some(7))), "Numbered(7)");
        assert_eq!(check(&row, "alice", 3, checkpoint(Some(8))), "Act");
        assert_eq!(check(&row, "alice", 3, checkpoint(Some(9))), "gap");
    }

    #[test]
    fn handing_back_ends_at_its_limit_unless_the_task_is_to_stop() {
        let mut row = row(Phase::Running(held_by_alice()));
        let release = || Action::Release { delay_ms: 0 };
        row.details_mut().releases = 1;
        assert_eq!(check(&row, "alice", 3, release()), "Act");
        row.details_mut().releases = 2;
        assert_eq!(check(&row, "alice", 3, release()), "limit_reached");
        let cancel_ack = || Action::CancelAck { result: Arc::default() };
        assert_eq!(check(&row, "alice", 3, cancel_ack()), "invalid_state");
        let cancelling =
            Cancelling { reason: "no".into(), is_deadline: false, grace_ms: 1, anchor_ms: 0 };
        row.details_mut().cancelling = Some(Box::new(cancelling));
        assert_eq!(check(&row, "alice", 3, release()), "Act");
        assert_eq!(check(&row, "alice", 3, cancel_ack()), "Act");
    }
}
