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

use super::command::{Action, LeaseOp, Name, Rejection, State};
use super::record::{EndVerb, LeaseEnd, Phase, TaskRow};

/// An operation that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Do it.
    Act,
    /// It was done before and led to this state; say so again, change nothing.
    Replayed(State),
}

/// Judge what `agent` wants to do with the task in `row`.
pub(super) fn judge(row: &TaskRow, op: &LeaseOp, agent: &Name) -> Result<Verdict, Rejection> {
    if let Some(end) = &row.last_end
        && end.generation == op.generation
        && end.agent == *agent
    {
        return replay(row, op, end);
    }
    let invalid =
        Rejection::InvalidState { task: row.task, state: row.state(), generation: row.generation };
    let Some(holder) = row.holder() else {
        return Err(invalid);
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
    match (&op.action, &row.phase) {
        (Action::Accept, Phase::Running(_)) => Ok(Verdict::Replayed(State::Running)),
        (Action::Decline { .. }, Phase::Running(_)) => Err(invalid),
        _ => Ok(Verdict::Act),
    }
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
        Action::Accept | Action::Progress { .. } => None,
        Action::Decline { reason } => Some((EndVerb::Decline, digest(reason.as_bytes(), 0))),
        Action::Complete { result } => Some((EndVerb::Complete, digest(result, 0))),
        Action::Fail { error, retryable, retry_after_ms } => {
            let flags = u64::from(*retryable) | retry_after_ms.map_or(0, |ms| (ms << 2) | 2);
            Some((EndVerb::Fail, digest(error.as_bytes(), flags)))
        }
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

    use super::super::command::{Generation, SessionId, TaskId};
    use super::super::record::Holder;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn row(phase: Phase) -> TaskRow {
        TaskRow {
            task: TaskId(1),
            queue: name("q"),
            needs: Arc::default(),
            band: 0,
            attempts_max: 1,
            lease_ms: 1,
            phase,
            generation: Generation(3),
            place_ms: 0,
            attempts: 0,
            lost: 0,
            offers_expired: 0,
            declines: 0,
            excluded: Arc::default(),
            last_end: None,
            error: None,
            submitted_ms: 0,
            updated_ms: 0,
        }
    }

    fn held_by_alice() -> Holder {
        Holder { agent: name("alice"), identity: "login".into() }
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
        match judge(row, &op, &name(agent)) {
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
    fn state_is_checked_before_generation() {
        assert_eq!(check(&row(Phase::Ready), "alice", 9, Action::Accept), "invalid_state");
    }

    #[test]
    fn accept_may_be_repeated_and_decline_comes_too_late_for_running_work() {
        let running = row(Phase::Running(held_by_alice()));
        assert_eq!(check(&running, "alice", 3, Action::Accept), "Replayed(Running)");
        let decline = Action::Decline { reason: "no".into() };
        assert_eq!(check(&running, "alice", 3, decline), "invalid_state");
    }

    #[test]
    fn a_repeated_end_is_answered_and_a_different_one_is_a_conflict() {
        let mut row = row(Phase::Completed { by: name("alice") });
        let (verb, digest) = ending(&complete(b"x")).unwrap();
        row.last_end = Some(Box::new(LeaseEnd {
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
    fn every_argument_of_fail_is_part_of_its_digest() {
        let fail = |error: &str, retryable, retry_after_ms| {
            ending(&Action::Fail { error: error.into(), retryable, retry_after_ms }).unwrap().1
        };
        let all = [
            fail("a", true, None),
            fail("b", true, None),
            fail("a", false, None),
            fail("a", true, Some(0)),
            fail("a", true, Some(1)),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "number {index} equals an earlier one");
        }
    }
}
