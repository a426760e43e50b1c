//! The content of a row's value: version 1, spelled out.
//!
//! The types written to disk repeat those of the core on purpose: a change of the core's types
//! must not silently change the format. A new layout is a new version beside this one, and the
//! old one stays readable.
//!
//! This is the only file that names bincode. It only ever sees bytes that carried our checksum.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};

use crate::core::command::{DeadReason, Generation, Name, State, TaskId};
use crate::core::record::{EndVerb, Holder, LeaseEnd, Phase, TaskRow};

/// Most memory that decoding one row may claim. Rows have some hundred bytes; this only has to
/// be larger than any real one and smaller than what would hurt.
const ROW_BYTES_MAX: usize = 1 << 20;

const BINCODE: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<ROW_BYTES_MAX>,
> = bincode::config::standard().with_limit::<ROW_BYTES_MAX>();

/// Append the content to `value`; the error is a sentence, and means that the row is too large to
/// be read back.
pub(super) fn encode(row: &TaskRow, value: &mut Vec<u8>) -> Result<(), String> {
    bincode::encode_into_std_write(RowV1::of(row), value, BINCODE)
        .map_err(|error| error.to_string())?;
    if value.len() > ROW_BYTES_MAX {
        return Err(format!("the row of task {} has {} bytes", row.task.0, value.len()));
    }
    Ok(())
}

/// The row in `content`; the error says what does not fit.
pub(super) fn decode(content: &[u8]) -> Result<TaskRow, String> {
    let (stored, read) = bincode::borrow_decode_from_slice::<RowV1<'_>, _>(content, BINCODE)
        .map_err(|error| error.to_string())?;
    if read != content.len() {
        return Err(format!("{read} of {} bytes used", content.len()));
    }
    stored.into_row()
}

/// Version 1 of a row. Field order is the byte order; never change it, add a `RowV2`.
#[derive(Encode, BorrowDecode)]
struct RowV1<'a> {
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

#[derive(Encode, BorrowDecode)]
enum PhaseV1<'a> {
    Scheduled { delay_ms: u64, anchor_ms: u64 },
    Ready,
    Offered { agent: &'a str, identity: &'a str },
    Running { agent: &'a str, identity: &'a str },
    Completed { by: &'a str },
    Dead { reason: u8, by: &'a str },
}

#[derive(Encode, BorrowDecode)]
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

fn code<T: PartialEq>(codes: &[T], value: &T) -> u8 {
    let position = codes.iter().position(|known| known == value);
    position.and_then(|position| u8::try_from(position).ok()).expect("every value has a code")
}

fn value<T: Copy>(codes: &[T], code: u8, what: &str) -> Result<T, String> {
    codes.get(usize::from(code)).copied().ok_or_else(|| format!("{what} {code} is unknown"))
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| format!("name {text:?} {error}"))
}

fn names(texts: &[&str]) -> Result<Arc<[Name]>, String> {
    if texts.is_empty() {
        Ok(Arc::default())
    } else {
        texts.iter().map(|text| name(text)).collect()
    }
}

fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

impl<'a> RowV1<'a> {
    fn of(row: &'a TaskRow) -> RowV1<'a> {
        RowV1 {
            task: row.task.0,
            queue: row.queue.as_str(),
            needs: texts(&row.needs),
            band: row.band,
            attempts_max: row.attempts_max,
            lease_ms: row.lease_ms,
            phase: PhaseV1::of(&row.phase),
            generation: row.generation.0,
            place_ms: row.place_ms,
            attempts: row.attempts,
            lost: row.lost,
            offers_expired: row.offers_expired,
            declines: row.declines,
            excluded: texts(&row.excluded),
            last_end: row.last_end.as_deref().map(LeaseEndV1::of),
            error: row.error.as_deref(),
            submitted_ms: row.submitted_ms,
            updated_ms: row.updated_ms,
        }
    }

    fn into_row(self) -> Result<TaskRow, String> {
        Ok(TaskRow {
            task: TaskId(self.task),
            queue: name(self.queue)?,
            needs: names(&self.needs)?,
            band: self.band,
            attempts_max: self.attempts_max,
            lease_ms: self.lease_ms,
            phase: self.phase.into_phase()?,
            generation: Generation(self.generation),
            place_ms: self.place_ms,
            attempts: self.attempts,
            lost: self.lost,
            offers_expired: self.offers_expired,
            declines: self.declines,
            excluded: names(&self.excluded)?,
            last_end: self.last_end.map(|end| end.into_end().map(Box::new)).transpose()?,
            error: self.error.map(Arc::from),
            submitted_ms: self.submitted_ms,
            updated_ms: self.updated_ms,
        })
    }
}

impl<'a> PhaseV1<'a> {
    fn of(phase: &'a Phase) -> PhaseV1<'a> {
        match phase {
            Phase::Scheduled { delay_ms, anchor_ms } => {
                PhaseV1::Scheduled { delay_ms: *delay_ms, anchor_ms: *anchor_ms }
            }
            Phase::Ready => PhaseV1::Ready,
            Phase::Offered(Holder { agent, identity }) => {
                PhaseV1::Offered { agent: agent.as_str(), identity }
            }
            Phase::Running(Holder { agent, identity }) => {
                PhaseV1::Running { agent: agent.as_str(), identity }
            }
            Phase::Completed { by } => PhaseV1::Completed { by: by.as_str() },
            Phase::Dead { reason, by } => {
                PhaseV1::Dead { reason: code(&DEAD_REASONS, reason), by: by.as_str() }
            }
        }
    }

    fn into_phase(self) -> Result<Phase, String> {
        let holder = |agent, identity: &str| {
            Ok::<_, String>(Holder { agent: name(agent)?, identity: identity.into() })
        };
        Ok(match self {
            PhaseV1::Scheduled { delay_ms, anchor_ms } => Phase::Scheduled { delay_ms, anchor_ms },
            PhaseV1::Ready => Phase::Ready,
            PhaseV1::Offered { agent, identity } => Phase::Offered(holder(agent, identity)?),
            PhaseV1::Running { agent, identity } => Phase::Running(holder(agent, identity)?),
            PhaseV1::Completed { by } => Phase::Completed { by: name(by)? },
            PhaseV1::Dead { reason, by } => {
                Phase::Dead { reason: value(&DEAD_REASONS, reason, "reason")?, by: name(by)? }
            }
        })
    }
}

impl<'a> LeaseEndV1<'a> {
    fn of(end: &'a LeaseEnd) -> LeaseEndV1<'a> {
        LeaseEndV1 {
            generation: end.generation.0,
            agent: end.agent.as_str(),
            verb: code(&END_VERBS, &end.verb),
            digest: end.digest,
            outcome: code(&STATES, &end.outcome),
        }
    }

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
