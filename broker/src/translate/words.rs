//! Our text verbs to commands, and their answers to lines (docs/protocol.md, "Tasks").

use std::sync::Arc;

use super::{
    ATTEMPTS_DEFAULT, CREDIT_DEFAULT, Invalid, LEASE_MS_DEFAULT, PRIORITY_DEFAULT, attempts,
    credit, json, lease_ms, name, names, priority, retry_after_ms,
};
use crate::core::command::{
    Action, Attach, Command, Generation, LeaseOp, Push, Rejection, Reply, SessionId, Submit, TaskId,
};
use agentcom_protocol::{Request, Verb, encode};

/// What a request asks for.
///
/// # Errors
/// [`Invalid`]: an argument or option has a value that is not allowed.
pub fn command(
    request: &Request<'_>,
    session: SessionId,
    identity: &Arc<str>,
) -> Result<Command, Invalid> {
    let body = || -> Arc<[u8]> { request.body.into() };
    let lease = |action| -> Result<Command, Invalid> {
        Ok(Command::Lease(LeaseOp {
            session,
            task: task(request)?,
            generation: Generation(number("generation", request.arguments[1])?),
            action,
        }))
    };
    match request.verb {
        Verb::TaskSubmit => Ok(Command::Submit(Submit {
            queue: name("queue", request.arguments[0])?,
            payload: body(),
            needs: list("needs", request.option("needs"))?,
            band: request.option("priority").map_or(Ok(PRIORITY_DEFAULT), priority)?,
            attempts_max: optional(request, "attempts", attempts)?.unwrap_or(ATTEMPTS_DEFAULT),
            lease_ms: optional(request, "lease_ms", lease_ms)?.unwrap_or(LEASE_MS_DEFAULT),
        })),
        Verb::TaskShow => Ok(Command::Show { task: task(request)? }),
        Verb::TaskAccept => lease(Action::Accept),
        Verb::TaskDecline => {
            let reason = request.option("reason").unwrap_or_default();
            lease(Action::Decline { reason: reason.into() })
        }
        Verb::TaskProgress => lease(Action::Progress { data: body() }),
        Verb::TaskComplete => lease(Action::Complete { result: body() }),
        Verb::TaskFail => lease(Action::Fail {
            error: String::from_utf8_lossy(request.body).into(),
            retryable: retryable(request.option("class"))?,
            retry_after_ms: optional(request, "retry_after_ms", retry_after_ms)?,
        }),
        Verb::WorkerStart => Ok(Command::Attach(Attach {
            session,
            agent: name("agent", request.arguments[0])?,
            identity: Arc::clone(identity),
            capabilities: list("can", request.option("can"))?,
            queues: list("queues", request.option("queues"))?,
            credit: optional(request, "credit", credit)?.unwrap_or(CREDIT_DEFAULT),
        })),
        Verb::WorkerStop => Ok(Command::Detach { session }),
    }
}

/// The line that answers a request.
pub fn answer(out: &mut Vec<u8>, tag: &str, outcome: &Result<Reply, Rejection>) {
    match outcome {
        Ok(Reply::Submitted { task }) => {
            encode::words(out, &["OK", tag, &format!("task={}", task.0)], None);
        }
        Ok(Reply::Task(view)) => {
            encode::words(out, &["OK", tag], Some(json::view(view).to_string().as_bytes()));
        }
        Ok(Reply::Done { task, state, duplicate }) => {
            let (task, state) = (format!("task={}", task.0), format!("state={}", state.as_str()));
            let mut words = vec!["OK", tag, &task, &state];
            if *duplicate {
                words.push("duplicate=true");
            }
            encode::words(out, &words, None);
        }
        Ok(Reply::Attached { agent }) => {
            encode::words(out, &["OK", tag, &format!("agent={agent}")], None);
        }
        Ok(Reply::Noted) => encode::words(out, &["OK", tag], None),
        Err(rejection) => {
            encode::declined(out, tag, rejection.code(), &rejection.to_string());
        }
    }
}

/// The line that tells an agent something it did not ask for.
pub fn push(out: &mut Vec<u8>, push: &Push) {
    match push {
        Push::Offer(offer) => {
            let words = [
                "OFFER".to_owned(),
                offer.task.0.to_string(),
                offer.generation.0.to_string(),
                format!("queue={}", offer.queue),
                format!("attempt={}", offer.attempt),
                format!("offer_ms={}", offer.offer_ms),
                format!("lease_ms={}", offer.lease_ms),
            ];
            encode::words(out, &words.each_ref().map(String::as_str), Some(&offer.payload));
        }
        Push::Revoked { task, generation, state } => {
            let (task, generation) = (task.0.to_string(), generation.0.to_string());
            let state = format!("state={}", state.as_str());
            encode::words(out, &["REVOKED", &task, &generation, &state], None);
        }
        Push::Replaced => out.extend_from_slice(encode::fixed::REPLACED),
    }
}

/// Whether a failed attempt may be followed by another.
pub(super) fn retryable(class: Option<&str>) -> Result<bool, Invalid> {
    match class {
        None | Some("retry") => Ok(true),
        Some("fatal") => Ok(false),
        Some(found) => Err(Invalid::Value {
            field: "class",
            found: found.to_owned(),
            allowed: "retry or fatal",
        }),
    }
}

fn task(request: &Request<'_>) -> Result<TaskId, Invalid> {
    number("task", request.arguments[0]).map(TaskId)
}

fn number(field: &'static str, found: &str) -> Result<u64, Invalid> {
    found.parse().map_err(|_| Invalid::Value {
        field,
        found: found.to_owned(),
        allowed: "a whole number",
    })
}

fn optional<T>(
    request: &Request<'_>,
    key: &'static str,
    check: fn(u64) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    request.option(key).map(|found| number(key, found).and_then(check)).transpose()
}

fn list(
    field: &'static str,
    found: Option<&str>,
) -> Result<Vec<crate::core::command::Name>, Invalid> {
    let texts = found.into_iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty());
    names(field, texts)
}
