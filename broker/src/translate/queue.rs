//! Requests about a queue as a whole.

use agentcom_protocol::Verb;

use super::fields::{Fields, Range, wrong};
use super::{Invalid, limits};
use crate::core::command::{Command, QueueChange};
use crate::core::limits::{Order, RATE_GRANTS_MAX, RATE_PERIOD_MS_MAX, Rate};

/// Most leases that a queue can be limited to.
const LEASES_MAX: u64 = 1_000_000;
/// Period of a rate, if nothing is said.
const RATE_MS: u64 = 1_000;
/// Queues of one `QUEUE LIST`, if nothing is said, and at most.
const LIST: (u64, u64) = (100, 1_000);
/// Tasks of one `QUEUE PEEK`. Their payloads are shown, so it is for looking, not for reading all.
const PEEK: (u64, u64) = (10, 100);
/// Tasks of one `QUEUE PURGE`. A turn of the commit loop takes so many without keeping others
/// waiting for long.
const PURGE: (u64, u64) = (10_000, 10_000);

pub(super) fn command(verb: Verb, fields: Fields<'_>) -> Result<Command, Invalid> {
    let limit = |(default, max): (u64, u64)| -> Result<usize, Invalid> {
        let limit = fields.number("limit", Range::count(1, max))?.unwrap_or(default);
        Ok(usize::try_from(limit).expect("limits are small"))
    };
    if verb == Verb::QueueList {
        return Ok(Command::ListQueues { after: fields.name("after")?, limit: limit(LIST)? });
    }
    let queue = fields.needed_name("queue")?;
    let pause = |paused| QueueChange { paused: Some(paused), ..QueueChange::default() };
    Ok(match verb {
        Verb::QueueSet => {
            let change = QueueChange {
                paused: None,
                leases_max: fields.number("leases_max", Range::count(0, LEASES_MAX))?,
                rate: rate(&fields)?,
                order: fields.text("order")?.map(order).transpose()?,
                weights: limits::weights(fields)?.map(Into::into),
                keep_ms: fields.number("keep_ms", Range::DELAY)?,
                keep_dead_ms: fields.number("keep_dead_ms", Range::DELAY)?,
            };
            Command::SetQueue { queue, change }
        }
        Verb::QueuePause => Command::SetQueue { queue, change: pause(true) },
        Verb::QueueResume => Command::SetQueue { queue, change: pause(false) },
        Verb::QueuePeek => Command::Peek { queue, limit: limit(PEEK)? },
        Verb::QueuePurge => Command::Purge { queue, limit: limit(PURGE)? },
        _ => Command::ShowQueue { queue },
    })
}

/// `rate_max` grants in `rate_ms`; none takes the limit away.
fn rate(fields: &Fields<'_>) -> Result<Option<Option<Rate>>, Invalid> {
    let grants = fields.number("rate_max", Range::count(0, RATE_GRANTS_MAX.into()))?;
    let period_ms = fields.number("rate_ms", Range::ms(1, RATE_PERIOD_MS_MAX))?;
    match (grants, period_ms) {
        (None, None) => Ok(None),
        (None, Some(found)) => Err(wrong("rate_ms", &found.to_string(), "only beside rate_max")),
        (Some(0), _) => Ok(Some(None)),
        (Some(grants), period_ms) => {
            let grants = u32::try_from(grants).expect("the range is smaller");
            Ok(Some(Some(Rate { grants, period_ms: period_ms.unwrap_or(RATE_MS) })))
        }
    }
}

fn order(found: &str) -> Result<Order, Invalid> {
    let order = Order::ALL.into_iter().find(|order| order.as_str() == found);
    order.ok_or_else(|| wrong("order", found, "deadline or fair"))
}
