//! JSON requests on `$AC.API.>` to commands, and answers, pushes and events to JSON
//! (docs/protocol.md, "JSON subjects").

use agentcom_protocol::{Subject, Verb};
use serde_json::{Map, Value, json};

use super::command::{self, Asked, Asker};
use super::fields::{Fields, body_key, wrong};
use super::park::PARK_KEYS;
use super::{Invalid, message, submit, upkeep, view};
use crate::core::command::{Continued, Name, Push, Rejection, Reply, Stopped, TaskEvent};

/// What a request asks whose subject is `$AC.API.` and the words of `verb`.
///
/// # Errors
/// [`Invalid`] when the body is not what the verb takes.
pub fn request(verb: Verb, body: &[u8], asker: &Asker<'_>) -> Result<Asked, Invalid> {
    if verb == Verb::TaskBatch {
        let parsed: Result<Vec<Map<String, Value>>, _> = serde_json::from_slice(body);
        let parsed = parsed.map_err(|error| {
            let reason = format!("an array of tasks: {error}");
            Invalid::Json { reason }
        })?;
        return submit::batch(&parsed);
    }
    let map: Map<String, Value> = match body {
        // A request that says nothing may leave the braces out.
        b"" => Map::new(),
        body => serde_json::from_slice(body)
            .map_err(|error| Invalid::Json { reason: error.to_string() })?,
    };
    check_keys(verb, &map, more_keys(verb))?;
    let fields = Fields::Json(&map);
    let asked = command::of_fields(verb, fields, asker)?;
    let deliver = fields.text("deliver")?.map(deliver).transpose()?;
    if deliver.is_none() && pushes(verb) == Pushes::Always {
        let allowed = "the subject that pushes are published to, such as an inbox".into();
        return Err(Invalid::Missing { field: "deliver", allowed });
    }
    Ok(Asked { deliver, ..asked })
}

/// Keys that a verb has in JSON only.
fn more_keys(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::TaskPark => &PARK_KEYS,
        verb if pushes(verb) != Pushes::Never => &["deliver"],
        _ => &[],
    }
}

/// Whether something is pushed because of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushes {
    Never,
    /// If the holder of taken tasks is to be told of cancellations.
    Perhaps,
    Always,
}

fn pushes(verb: Verb) -> Pushes {
    match verb {
        Verb::WorkerStart | Verb::TaskWatch => Pushes::Always,
        Verb::QueueTake => Pushes::Perhaps,
        _ => Pushes::Never,
    }
}

fn deliver(text: &str) -> Result<Box<str>, Invalid> {
    let subject = Subject::parse(text.as_bytes());
    let is_usable = subject.is_ok_and(|subject| !subject.has_wildcard_token());
    if is_usable && !text.starts_with('$') {
        return Ok(text.into());
    }
    Err(wrong("deliver", text, "the subject that pushes are published to, such as an inbox"))
}

/// Refuse fields that the verb does not have; `more` are allowed as well.
pub(super) fn check_keys(
    verb: Verb,
    map: &Map<String, Value>,
    more: &[&str],
) -> Result<(), Invalid> {
    let body = body_key(verb);
    let is_bytes = |key: &&str| !["error", "tasks"].contains(key);
    let coded = body.filter(is_bytes).map(|key| format!("{key}_base64"));
    let known = || {
        let named = verb.arguments().iter().chain(verb.options()).chain(more).copied();
        named.chain(body).chain(coded.as_deref())
    };
    match map.keys().find(|key| !known().any(|known| known == key.as_str())) {
        None => Ok(()),
        Some(found) => {
            let found = found.chars().take(64).collect();
            let allowed: Vec<&str> = known().collect();
            let allowed = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
            Err(Invalid::Unknown { found, allowed })
        }
    }
}

/// The answer to a request. `names` are those of a batch.
#[must_use]
pub fn answer(outcome: &Result<Reply, Rejection>, names: &[Option<Name>]) -> Value {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(rejection) => {
            let mut answer = error(rejection.code(), &rejection.to_string());
            if let Rejection::Answered { value, .. } = rejection {
                view::insert(&mut answer["error"], "answer", value);
            }
            return answer;
        }
    };
    match reply {
        Reply::Submitted(kept) => submitted(kept, None),
        Reply::SubmittedBatch(kept) => {
            let names = names.iter().map(Option::as_ref).chain(std::iter::repeat(None));
            let tasks = kept.iter().zip(names).map(|(kept, name)| submitted(kept, name));
            json!({ "tasks": tasks.collect::<Vec<Value>>() })
        }
        Reply::Task(found) => view::task(found),
        Reply::Queue(found) => view::queue(found),
        Reply::Queues(found) => view::queues(found),
        Reply::Tasks(found) => view::tasks(found),
        Reply::Why { task, state, reasons } => view::why(*task, *state, reasons),
        Reply::Parked { task, state, answers } => view::parked(*task, *state, answers),
        Reply::Listed { tasks, next } => view::listed(tasks, *next),
        Reply::Schedule(found) => view::schedule(found),
        Reply::Schedules(found) => view::schedules(found),
        Reply::Attached { session, continued, stopped } => {
            let mut answer = json!({ "agent": session.agent.as_str(), "epoch": session.epoch.0 });
            if !continued.is_empty() {
                answer["continued"] = continued.iter().map(goes_on).collect();
            }
            if !stopped.is_empty() {
                answer["stopped"] = stopped.iter().map(is_over).collect();
            }
            answer
        }
        Reply::Taken(offers) => {
            let items = offers.iter().map(|offer| Value::Object(view::offer(offer)));
            json!({ "items": items.collect::<Vec<Value>>() })
        }
        Reply::Done { task, state, duplicate } => {
            let answer = json!({ "task": task.0, "state": state.as_str() });
            flagged(answer, "duplicate", *duplicate)
        }
        Reply::Numbered { task, seq, duplicate } => {
            flagged(json!({ "task": task.0, "seq": seq }), "duplicate", *duplicate)
        }
        Reply::Purged { tasks, left } => json!({ "tasks": tasks, "left": left }),
        Reply::Token(found) => view::token(found),
        Reply::Tokens(found) => view::tokens(found),
        Reply::Message(found) => message::answer(found),
        Reply::Config(views) => view::config(views),
        Reply::Upkeep(found) => upkeep::answer(found),
        Reply::Holding(leases) => view::holding(leases),
        Reply::Identified { agent } => json!({ "agent": agent.as_str() }),
        Reply::Revoked { agent, tokens } => json!({ "agent": agent.as_str(), "tokens": tokens }),
        Reply::Noted => json!({}),
    }
}

fn submitted(kept: &crate::core::command::Submitted, name: Option<&Name>) -> Value {
    let mut answer = json!({
        "task": kept.task.0,
        "state": kept.state.as_str(),
        "generation": kept.generation.0,
    });
    if let Some(name) = name {
        answer["name"] = name.as_str().into();
    }
    flagged(answer, "existing", kept.existing)
}

fn goes_on(lease: &Continued) -> Value {
    let Continued { task, generation, is_cancelling, progress_seq } = lease;
    let mut answer = json!({ "task": task.0, "generation": generation.0 });
    if *progress_seq > 0 {
        answer["progress_seq"] = (*progress_seq).into();
    }
    flagged(answer, "cancelling", *is_cancelling)
}

fn is_over(lease: &Stopped) -> Value {
    let mut answer = json!({ "task": lease.task.0, "generation": lease.generation.0 });
    if let Some(state) = lease.state {
        answer["state"] = state.as_str().into();
    }
    answer
}

fn flagged(mut answer: Value, key: &str, is_so: bool) -> Value {
    if is_so {
        answer[key] = true.into();
    }
    answer
}

/// The answer to a request that was declined.
#[must_use]
pub fn error(code: &str, sentence: &str) -> Value {
    json!({ "error": { "code": code, "sentence": sentence } })
}

/// What somebody is told without asking.
#[must_use]
pub fn push(push: &Push) -> Value {
    let (kind, fields) = match push {
        Push::Offer(offer) => ("offer", view::offer(offer)),
        Push::Event { event, .. } => ("event", view::event(event)),
        Push::Revoked { task, generation, state } => {
            return json!({
                "type": "revoked",
                "task": task.0,
                "generation": generation.0,
                "state": state.as_str(),
            });
        }
        Push::Cancel { task, generation, grace_ms, reason } => {
            return json!({
                "type": "cancel",
                "task": task.0,
                "generation": generation.0,
                "grace_ms": grace_ms,
                "reason": **reason,
            });
        }
        Push::Answered { task, generation, answers } => {
            return json!({
                "type": "answered",
                "task": task.0,
                "generation": generation.0,
                "answers": view::answers(answers),
            });
        }
        Push::Replaced => return json!({ "type": "replaced" }),
    };
    let mut typed = Map::with_capacity(fields.len() + 1);
    typed.insert("type".into(), kind.into());
    typed.extend(fields);
    Value::Object(typed)
}

/// What subscribers of events are told.
#[must_use]
pub fn event(event: &TaskEvent) -> Value {
    Value::Object(view::event(event))
}
