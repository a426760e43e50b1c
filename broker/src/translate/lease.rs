//! What the holder of a lease does with it, and how a consumer gets one.

use agentcom_protocol::Verb;

use super::command::Asker;
use super::fields::{Fields, Range, name, wrong};
use super::{Invalid, task};
use crate::core::command::{Action, Command, Generation, LeaseOp, Retry, Take};

/// Most tasks of one `QUEUE TAKE`: what a fast consumer works off in a moment, and what a slow
/// one may keep from others.
const TAKE_MAX: u64 = 100;

pub(super) fn operation(
    verb: Verb,
    fields: Fields<'_>,
    asker: &Asker<'_>,
) -> Result<Command, Invalid> {
    let task = fields.task()?;
    let generation = Generation(fields.needed("generation", Range::ID)?);
    let seq = || fields.number("seq", Range::ID);
    let delay = || Ok::<u64, Invalid>(fields.number("delay_ms", Range::DELAY)?.unwrap_or(0));
    let action = match verb {
        Verb::TaskDecline => Action::Decline {
            reason: task::reason(fields)?,
            retry_after_ms: fields.number("retry_after_ms", Range::PAUSE)?,
        },
        Verb::TaskProgress => Action::Progress { seq: seq()?, data: fields.body("data")? },
        Verb::TaskBusy => Action::Busy { for_ms: fields.needed("for_ms", Range::SPAN)? },
        Verb::TaskCheckpoint => Action::Checkpoint { seq: seq()?, data: fields.body("data")? },
        Verb::TaskComplete => Action::Complete { result: fields.body("result")? },
        Verb::TaskStopped => Action::CancelAck { result: fields.body("result")? },
        Verb::TaskFail => Action::Fail {
            error: String::from_utf8_lossy(&fields.body("error")?).into(),
            retry: retry(fields)?,
        },
        Verb::TaskRelease => Action::Release { delay_ms: delay()? },
        Verb::QueueAck => Action::Ack,
        Verb::QueueNack => Action::Fail {
            error: fields.text("error")?.unwrap_or_default().into(),
            retry: Retry::In(delay()?),
        },
        Verb::QueueExtend => Action::Extend { lease_ms: fields.needed("lease_ms", Range::SPAN)? },
        _ => Action::Accept,
    };
    Ok(Command::Lease(LeaseOp { session: asker.session, task, generation, action }))
}

/// What follows a failure, as its class says.
fn retry(fields: Fields<'_>) -> Result<Retry, Invalid> {
    let at_least_ms = fields.number("retry_after_ms", Range::PAUSE)?;
    match fields.text("class")? {
        None | Some("retry") => Ok(Retry::Backoff { at_least_ms: at_least_ms.unwrap_or(0) }),
        Some("fatal") => Ok(Retry::Never),
        Some("rate_limited") => match at_least_ms {
            Some(for_ms) => Ok(Retry::Throttled(for_ms)),
            None => {
                let allowed = "how long to wait before the next call, in milliseconds".into();
                Err(Invalid::Missing { field: "retry_after_ms", allowed })
            }
        },
        Some(found) => Err(wrong("class", found, "retry, fatal or rate_limited")),
    }
}

pub(super) fn take(fields: Fields<'_>, asker: &Asker<'_>) -> Result<Command, Invalid> {
    let Asker { session, identity, process, agent } = asker;
    let consumer = match (fields.name("consumer")?, agent) {
        (Some(consumer), _) => {
            asker.check_speaker("consumer", &consumer)?;
            consumer
        }
        (None, Some(agent)) => agent.clone(),
        (None, None) => name("consumer", &format!("take-{process}-{}", session.0))?,
    };
    let max = fields.number("max", Range::count(1, TAKE_MAX))?.unwrap_or(1);
    Ok(Command::Take(Take {
        session: *session,
        consumer,
        identity: (*identity).into(),
        queue: fields.needed_name("queue")?,
        max: u32::try_from(max).expect("checked against TAKE_MAX"),
        wait_ms: fields.number("wait_ms", Range::WAIT)?.unwrap_or(0),
        lease_ms: fields.number("lease_ms", Range::SPAN)?,
    }))
}
