//! JSON requests on `$AC.API.>` to commands, and answers, pushes and events to JSON
//! (docs/protocol.md, "Requests in JSON").
//!
//! Bytes that are UTF-8 travel as text under their plain key; others under `key_base64`.

use std::sync::Arc;

use agentcom_protocol::Subject;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ATTEMPTS_DEFAULT, CREDIT_DEFAULT, Invalid, LEASE_MS_DEFAULT, PRIORITY_DEFAULT, attempts,
    credit, lease_ms, name, names, priority, retry_after_ms, words,
};
use crate::core::command::{
    Action, Attach, Command, Generation, LeaseOp, Push, Rejection, Reply, SessionId, Submit,
    TaskEvent, TaskId, TaskView,
};

/// A request, and where its pushes go if it starts a worker.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// What is asked.
    pub command: Command,
    /// The subject that offers are published to.
    pub deliver: Option<String>,
}

/// Translate the JSON `body` of a request to `$AC.API.` + `endpoint`. `None`: there is no such
/// endpoint.
///
/// # Errors
/// [`Invalid`] when the body is not what the endpoint takes.
pub fn command(
    endpoint: &str,
    body: &[u8],
    session: SessionId,
    identity: &Arc<str>,
) -> Option<Result<ApiRequest, Invalid>> {
    let lease = |action: fn(&LeaseBody) -> Result<Action, Invalid>| {
        parse::<LeaseBody>(body).and_then(|lease| {
            Ok(Command::Lease(LeaseOp {
                session,
                task: TaskId(lease.task),
                generation: Generation(lease.generation),
                action: action(&lease)?,
            }))
        })
    };
    let command = match endpoint {
        "TASK.SUBMIT" => parse::<SubmitBody>(body).and_then(submit).map(Command::Submit),
        "TASK.SHOW" => {
            parse::<ShowBody>(body).map(|show| Command::Show { task: TaskId(show.task) })
        }
        "TASK.ACCEPT" => lease(|_| Ok(Action::Accept)),
        "TASK.DECLINE" => lease(|lease| {
            Ok(Action::Decline { reason: lease.reason.as_deref().unwrap_or_default().into() })
        }),
        "TASK.PROGRESS" => lease(|lease| {
            Ok(Action::Progress { data: bytes("data", &lease.data, &lease.data_base64)? })
        }),
        "TASK.COMPLETE" => lease(|lease| {
            Ok(Action::Complete { result: bytes("result", &lease.result, &lease.result_base64)? })
        }),
        "TASK.FAIL" => lease(|lease| {
            Ok(Action::Fail {
                error: lease.error.as_deref().unwrap_or_default().into(),
                retryable: words::retryable(lease.class.as_deref())?,
                retry_after_ms: lease.retry_after_ms.map(retry_after_ms).transpose()?,
            })
        }),
        "WORKER.START" => return Some(worker_start(body, session, identity)),
        "WORKER.STOP" => Ok(Command::Detach { session }),
        _ => return None,
    };
    Some(command.map(|command| ApiRequest { command, deliver: None }))
}

/// The answer to a request.
#[must_use]
pub fn answer(outcome: &Result<Reply, Rejection>) -> Value {
    match outcome {
        Ok(Reply::Submitted { task }) => json!({ "task": task.0 }),
        Ok(Reply::Task(found)) => view(found),
        Ok(Reply::Done { task, state, duplicate }) => {
            let mut answer = json!({ "task": task.0, "state": state.as_str() });
            if *duplicate {
                answer["duplicate"] = Value::Bool(true);
            }
            answer
        }
        Ok(Reply::Attached { agent }) => json!({ "agent": agent.as_str() }),
        Ok(Reply::Noted) => json!({}),
        Err(rejection) => error(rejection.code(), &rejection.to_string()),
    }
}

/// The answer to a request that was declined.
#[must_use]
pub fn error(code: &str, sentence: &str) -> Value {
    json!({ "error": { "code": code, "sentence": sentence } })
}

/// What an agent is told without asking.
#[must_use]
pub fn push(push: &Push) -> Value {
    match push {
        Push::Offer(offer) => {
            let mut fields = Map::new();
            fields.insert("type".into(), "offer".into());
            fields.insert("task".into(), offer.task.0.into());
            fields.insert("generation".into(), offer.generation.0.into());
            fields.insert("queue".into(), offer.queue.as_str().into());
            fields.insert("attempt".into(), offer.attempt.into());
            fields.insert("offer_ms".into(), offer.offer_ms.into());
            fields.insert("lease_ms".into(), offer.lease_ms.into());
            insert_bytes(&mut fields, "payload", &offer.payload);
            Value::Object(fields)
        }
        Push::Revoked { task, generation, state } => json!({
            "type": "revoked",
            "task": task.0,
            "generation": generation.0,
            "state": state.as_str(),
        }),
        Push::Replaced => json!({ "type": "replaced" }),
    }
}

/// What watchers are told.
#[must_use]
pub fn event(event: &TaskEvent) -> Value {
    let mut fields = Map::new();
    fields.insert("task".into(), event.task.0.into());
    fields.insert("queue".into(), event.queue.as_str().into());
    fields.insert("state".into(), event.state.as_str().into());
    fields.insert("generation".into(), event.generation.0.into());
    if let Some(agent) = &event.agent {
        fields.insert("agent".into(), agent.as_str().into());
    }
    if let Some(progress) = &event.progress {
        insert_bytes(&mut fields, "progress", progress);
    }
    Value::Object(fields)
}

/// Everything about a task. Keys without a value are left out.
#[must_use]
pub fn view(view: &TaskView) -> Value {
    let mut fields = Map::new();
    fields.insert("task".into(), view.task.0.into());
    fields.insert("queue".into(), view.queue.as_str().into());
    fields.insert("state".into(), view.state.as_str().into());
    fields.insert("generation".into(), view.generation.0.into());
    fields.insert("priority".into(), view.band.into());
    let needs: Vec<Value> = view.needs.iter().map(|name| name.as_str().into()).collect();
    fields.insert("needs".into(), needs.into());
    fields.insert("attempts".into(), view.attempts.into());
    fields.insert("attempts_max".into(), view.attempts_max.into());
    fields.insert("lost".into(), view.lost.into());
    fields.insert("submitted_ms".into(), view.submitted_ms.into());
    fields.insert("updated_ms".into(), view.updated_ms.into());
    if let Some(agent) = &view.agent {
        fields.insert("agent".into(), agent.as_str().into());
    }
    insert_bytes(&mut fields, "payload", &view.payload);
    if let Some(progress) = &view.progress {
        insert_bytes(&mut fields, "progress", progress);
    }
    if let Some(result) = &view.result {
        insert_bytes(&mut fields, "result", result);
    }
    if let Some(error) = &view.error {
        fields.insert("error".into(), (**error).into());
    }
    if let Some(dead) = view.dead {
        fields.insert("dead".into(), dead.as_str().into());
    }
    Value::Object(fields)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitBody {
    queue: String,
    payload: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
    priority: Option<Value>,
    attempts: Option<u64>,
    lease_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowBody {
    task: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseBody {
    task: u64,
    generation: u64,
    reason: Option<String>,
    data: Option<String>,
    data_base64: Option<String>,
    result: Option<String>,
    result_base64: Option<String>,
    error: Option<String>,
    class: Option<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerBody {
    agent: String,
    #[serde(default)]
    can: Vec<String>,
    #[serde(default)]
    queues: Vec<String>,
    credit: Option<u64>,
    deliver: String,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid::Json { reason: error.to_string() })
}

fn submit(body: SubmitBody) -> Result<Submit, Invalid> {
    let band = match &body.priority {
        None => PRIORITY_DEFAULT,
        Some(Value::String(word)) => priority(word)?,
        Some(other) => priority(&other.to_string())?,
    };
    Ok(Submit {
        queue: name("queue", &body.queue)?,
        payload: bytes("payload", &body.payload, &body.payload_base64)?,
        needs: names("needs", body.needs.iter().map(String::as_str))?,
        band,
        attempts_max: body.attempts.map_or(Ok(ATTEMPTS_DEFAULT), attempts)?,
        lease_ms: body.lease_ms.map_or(Ok(LEASE_MS_DEFAULT), lease_ms)?,
    })
}

fn worker_start(
    body: &[u8],
    session: SessionId,
    identity: &Arc<str>,
) -> Result<ApiRequest, Invalid> {
    let body: WorkerBody = parse(body)?;
    let subject = Subject::parse(body.deliver.as_bytes());
    let is_usable = subject.is_ok_and(|subject| !subject.has_wildcard_token());
    if !is_usable || body.deliver.starts_with('$') {
        return Err(Invalid::Value {
            field: "deliver",
            found: body.deliver,
            allowed: "the subject that offers are published to, such as an inbox",
        });
    }
    let command = Command::Attach(Attach {
        session,
        agent: name("agent", &body.agent)?,
        identity: Arc::clone(identity),
        capabilities: names("can", body.can.iter().map(String::as_str))?,
        queues: names("queues", body.queues.iter().map(String::as_str))?,
        credit: body.credit.map_or(Ok(CREDIT_DEFAULT), credit)?,
    });
    Ok(ApiRequest { command, deliver: Some(body.deliver) })
}

fn bytes(
    field: &'static str,
    text: &Option<String>,
    base64: &Option<String>,
) -> Result<Arc<[u8]>, Invalid> {
    match (text, base64) {
        (Some(text), None) => Ok(text.as_bytes().into()),
        (None, None) => Ok(Arc::from([])),
        (None, Some(coded)) => BASE64.decode(coded).map(Arc::from).map_err(|error| Invalid::Json {
            reason: format!("{field}_base64 is not base64: {error}"),
        }),
        (Some(_), Some(_)) => {
            Err(Invalid::Json { reason: format!("give {field} or {field}_base64, not both") })
        }
    }
}

fn insert_bytes(fields: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(key.to_owned(), text.into()),
        Err(_) => fields.insert(format!("{key}_base64"), BASE64.encode(bytes).into()),
    };
}
