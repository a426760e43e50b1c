//! Requests about one task, whoever holds it.

use agentcom_protocol::Verb;

use super::command::Asker;
use super::fields::{Fields, Range};
use super::{Invalid, submit};
use crate::core::command::{Command, TaskChange, WatchId};

/// How long `TASK AWAIT` waits if nothing is said: what most programs give a request.
const TIMEOUT_MS: u64 = 30_000;

pub(super) fn command(
    verb: Verb,
    fields: Fields<'_>,
    asker: &Asker<'_>,
) -> Result<Command, Invalid> {
    let (task, session) = (fields.task()?, asker.session);
    Ok(match verb {
        Verb::TaskAwait => {
            let timeout_ms = fields.number("timeout_ms", Range::WAIT)?.unwrap_or(TIMEOUT_MS);
            Command::Await { session: Some(session), task, timeout_ms }
        }
        Verb::TaskWatch => {
            // Whoever hands it in gives it a number.
            let watch = WatchId(0);
            Command::Watch { watch, session, task, from: fields.number("from", Range::ID)? }
        }
        Verb::TaskUnwatch => Command::Unwatch { session, task },
        Verb::TaskCancel => Command::Cancel {
            task,
            reason: reason(fields)?,
            grace_ms: fields.number("grace_ms", Range::PAUSE)?,
        },
        Verb::TaskReclaim => Command::Reclaim { task },
        Verb::TaskWhy => Command::Why { task },
        Verb::TaskAnswer => {
            let key = fields.needed_name("key")?;
            Command::Answer { task, key, value: fields.body("answer")? }
        }
        Verb::TaskEdit => {
            let version = fields.number("version", Range::count(0, u32::MAX.into()))?;
            let version = version.map(|found| u32::try_from(found).expect("checked above"));
            Command::Edit { task, version, change: Box::new(change(fields)?) }
        }
        Verb::DeadRedrive => {
            let delay_ms = fields.number("delay_ms", Range::DELAY)?.unwrap_or(0);
            Command::Redrive { task, delay_ms }
        }
        Verb::DeadDiscard => Command::Discard { task },
        _ => Command::Show { task },
    })
}

fn change(fields: Fields<'_>) -> Result<TaskChange, Invalid> {
    Ok(TaskChange {
        band: submit::band(fields)?,
        key: fields.name("key")?,
        start: submit::start(fields)?,
        attempts_max: submit::attempts(fields)?,
        lease_ms: fields.number("lease_ms", Range::SPAN)?,
        attempt_ms: fields.number("attempt_ms", Range::SPAN)?,
        progress_ms: fields.number("progress_ms", Range::SPAN)?,
        queue_ms: fields.number("queue_ms", Range::LIFE)?,
        total_ms: fields.number("total_ms", Range::LIFE)?,
    })
}

/// What somebody gave as the reason; empty if nothing.
pub(super) fn reason(fields: Fields<'_>) -> Result<std::sync::Arc<str>, Invalid> {
    let reason = fields.text("reason")?.unwrap_or_default();
    let chars = reason.chars().count();
    if chars > REASON_CHARS_MAX {
        let found = format!("{chars} characters long");
        let allowed = format!("a text of at most {REASON_CHARS_MAX} characters");
        return Err(super::fields::wrong("reason", &found, &allowed));
    }
    Ok(reason.into())
}

/// Longest reason, in characters: it is kept in the row of the task, which is written on every
/// change, and a sentence is enough.
const REASON_CHARS_MAX: usize = 256;
