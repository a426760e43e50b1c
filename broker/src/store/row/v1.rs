//! Version 1 of a row, which was written before tasks had time limits of their own. Only read.

use std::sync::Arc;

use bincode::BorrowDecode;

use super::{name, names, value};
use crate::core::command::{DeadReason, Failure, Generation, Name, Patience, Spec, State, TaskId};
use crate::core::record::{Details, End, EndVerb, Ending, Holder, LeaseEnd, Phase, TaskRow, Wait};

/// What an attempt of an old task may take: as long as can be asked for.
const ATTEMPT_MS: u64 = 86_400_000;

/// Field order is the byte order.
#[derive(BorrowDecode)]
pub(super) struct RowV1<'a> {
    task: u64,
    queue: &'a str,
    needs: Vec<&'a str>,
    band: u8,
    attempts_max: u32,
    lease_ms: u64,
    phase: PhaseV1<'a>,
    generation: u64,
    place_ms: u64,
    attempts: u32,
    lost: u32,
    offers_expired: u32,
    declines: u32,
    excluded: Vec<&'a str>,
    last_end: Option<LeaseEndV1<'a>>,
    error: Option<&'a str>,
    submitted_ms: u64,
    updated_ms: u64,
}

#[derive(BorrowDecode)]
enum PhaseV1<'a> {
    Scheduled { delay_ms: u64, anchor_ms: u64 },
    Ready,
    Offered { agent: &'a str, identity: &'a str },
    Running { agent: &'a str, identity: &'a str },
    Completed { by: &'a str },
    Dead { reason: u8, by: &'a str },
}

#[derive(BorrowDecode)]
struct LeaseEndV1<'a> {
    generation: u64,
    agent: &'a str,
    verb: u8,
    digest: u64,
    outcome: u8,
}

/// Codes of [`DeadReason`], by position.
const DEAD_REASONS: [DeadReason; 5] = [
    DeadReason::Failed,
    DeadReason::NonRetryable,
    DeadReason::Timeout,
    DeadReason::Lost,
    DeadReason::Rejected,
];

/// Codes of [`EndVerb`], by position.
const END_VERBS: [EndVerb; 3] = [EndVerb::Decline, EndVerb::Complete, EndVerb::Fail];

/// Codes of [`State`], by position; the same numbers as those of [`PhaseV1`].
const STATES: [State; 6] =
    [State::Scheduled, State::Ready, State::Offered, State::Running, State::Completed, State::Dead];

impl RowV1<'_> {
    pub(super) fn into_row(self) -> Result<TaskRow, String> {
        let phase = self.phase.into_phase()?;
        let last_end = self.last_end.map(|end| end.into_end().map(Box::new)).transpose()?;
        let failure = self.error.map(|error| Failure {
            generation: Generation(self.generation),
            agent: last_agent(&phase, last_end.as_deref()),
            at_ms: self.updated_ms,
            error: error.into(),
        });
        let details = Details {
            updated_ms: self.updated_ms,
            event_seq: 1,
            attempts: self.attempts,
            lost: self.lost,
            offers_expired: self.offers_expired,
            declines: self.declines,
            excluded: names(&self.excluded)?,
            last_end,
            failures: failure.into_iter().collect(),
            has_result: matches!(&phase, Phase::Over(end) if end.how == Ending::Completed),
            ..Details::default()
        };
        Ok(TaskRow {
            task: TaskId(self.task),
            spec: Arc::new(Spec {
                rates: Arc::default(),
                placement: None,
                has_headers: false,
                queue: name(self.queue)?,
                key: None,
                needs: names(&self.needs)?,
                labels: Arc::default(),
                limits: Arc::default(),
                band: self.band,
                attempts_max: self.attempts_max,
                patience: Patience {
                    lease_ms: self.lease_ms,
                    attempt_ms: ATTEMPT_MS,
                    progress_ms: None,
                    queue_ms: None,
                    total_ms: None,
                },
            }),
            phase,
            generation: Generation(self.generation),
            place_ms: self.place_ms,
            submitted_ms: self.submitted_ms,
            details: Some(Box::new(details)),
        })
    }
}

/// Whose failure the newest error was: as good as it can be told.
fn last_agent(phase: &Phase, last_end: Option<&LeaseEnd>) -> Name {
    let by = match phase {
        Phase::Over(end) => end.by.clone(),
        _ => last_end.map(|end| end.agent.clone()),
    };
    by.unwrap_or_else(|| Name::parse("unknown").expect("a valid name"))
}

impl PhaseV1<'_> {
    fn into_phase(self) -> Result<Phase, String> {
        let holder = |agent, identity: &str| {
            let holder = Holder { agent: name(agent)?, identity: identity.into(), fixed_ms: None };
            Ok::<_, String>(Arc::new(holder))
        };
        let over = |how, by| {
            let by = Some(name(by)?);
            Ok::<_, String>(Phase::Over(Box::new(End { how, by, expires_ms: None })))
        };
        Ok(match self {
            PhaseV1::Scheduled { delay_ms, anchor_ms } => {
                let wait = Wait::For { delay_ms, anchor_ms, keeps_place: false };
                Phase::Scheduled(Box::new(wait))
            }
            PhaseV1::Ready => Phase::Ready,
            PhaseV1::Offered { agent, identity } => Phase::Offered(holder(agent, identity)?),
            PhaseV1::Running { agent, identity } => Phase::Running(holder(agent, identity)?),
            PhaseV1::Completed { by } => over(Ending::Completed, by)?,
            PhaseV1::Dead { reason, by } => {
                over(Ending::Dead(value(&DEAD_REASONS, reason, "reason")?), by)?
            }
        })
    }
}

impl LeaseEndV1<'_> {
    fn into_end(self) -> Result<LeaseEnd, String> {
        Ok(LeaseEnd {
            generation: Generation(self.generation),
            agent: name(self.agent)?,
            verb: value(&END_VERBS, self.verb, "verb")?,
            digest: self.digest,
            outcome: value(&STATES, self.outcome, "state")?,
        })
    }
}
