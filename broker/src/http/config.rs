//! Shared settings over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::caller::{Caller, KnownCaller};
use super::error::reply;
use super::form::Form;
use super::{DurableCalls, HttpError, HttpState};
use crate::board::rules::Thresholds;
use crate::core::command::{Command, ConfigCommand, Name, Reply};
use crate::core::limits::{MAILBOX_KEEP_MS, MAILBOX_TTL_MS};
use crate::translate::alert;
use crate::translate::setting::ALERT_THRESHOLDS;

const HEARTBEAT_INTERVAL_MS: &str = "heartbeat_interval_ms";
const DEFAULT_REPO: &str = "default_repo";

/// What agents are advised of unless it is set: the legacy hub's 15 minutes.
const HEARTBEAT_MS: u64 = 900_000;
/// Longest address of a repository, in characters.
const REPO_CHARS_MAX: usize = 512;

/// `GET /api/config/heartbeat-interval`
pub(super) async fn heartbeat<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
) -> Result<Response, HttpError> {
    let found = get(&state, HEARTBEAT_INTERVAL_MS).await?.unwrap_or_else(|| HEARTBEAT_MS.into());
    Ok(reply(StatusCode::OK, &json!({ HEARTBEAT_INTERVAL_MS: found })))
}

/// `PUT /api/config/heartbeat-interval`
pub(super) async fn set_heartbeat<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    set_number(&state, &caller, &fields, HEARTBEAT_INTERVAL_MS).await
}

/// `GET /api/config/mailbox-retention`
pub(super) async fn retention<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
) -> Result<Response, HttpError> {
    let found = get(&state, MAILBOX_TTL_MS).await?.unwrap_or_else(|| MAILBOX_KEEP_MS.into());
    Ok(reply(StatusCode::OK, &json!({ MAILBOX_TTL_MS: found })))
}

/// `PUT /api/config/mailbox-retention`
pub(super) async fn set_retention<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    set_number(&state, &caller, &fields, MAILBOX_TTL_MS).await
}

/// `GET /api/config/default-repo`: for everybody.
pub(super) async fn repo<D: DurableCalls>(
    State(state): State<HttpState<D>>,
) -> Result<Response, HttpError> {
    let found = default_repo(&state).await?;
    let body = json!({"configured": !found.is_null(), DEFAULT_REPO: found});
    Ok(reply(StatusCode::OK, &body))
}

/// `PUT /api/config/default-repo`
pub(super) async fn set_repo<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let mut form = Form::new(&fields);
    let url = form.required_text("url", REPO_CHARS_MAX).unwrap_or_default();
    form.finish()?;
    set(&state, DEFAULT_REPO, &url.into()).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "ok", DEFAULT_REPO: url})))
}

/// `GET /api/config/alert-thresholds`
pub(super) async fn thresholds<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
) -> Result<Response, HttpError> {
    let found = get(&state, ALERT_THRESHOLDS).await?;
    let default = || alert::thresholds_json(&Thresholds::default());
    Ok(reply(StatusCode::OK, &found.unwrap_or_else(default)))
}

/// `PUT /api/config/alert-thresholds`
pub(super) async fn set_thresholds<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    set(&state, ALERT_THRESHOLDS, &Value::Object(fields)).await?;
    let body = json!({"status": "updated", "effective": "next_check_cycle"});
    Ok(reply(StatusCode::OK, &body))
}

/// The repository that new agents work on; null if none was set.
pub(super) async fn default_repo<D: DurableCalls>(
    state: &HttpState<D>,
) -> Result<Value, HttpError> {
    Ok(get(state, DEFAULT_REPO).await?.unwrap_or_default())
}

async fn set_number<D: DurableCalls>(
    state: &HttpState<D>,
    caller: &Caller,
    fields: &Map<String, Value>,
    key: &'static str,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let mut form = Form::new(fields);
    match form.field(key) {
        None => form.required(key),
        Some(value) if value.as_u64().is_none_or(|number| number == 0) => match value {
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                let detail = format!("expected positive integer, got {number}");
                form.refuse(key, "wrong_type", detail, Some(value.clone()));
            }
            other => form.wrong_type(key, "positive integer", other),
        },
        Some(_) => {}
    }
    form.finish()?;
    set(state, key, &fields[key]).await?;
    Ok(reply(StatusCode::OK, &json!({key: fields[key], "status": "updated"})))
}

pub(super) async fn get<D: DurableCalls>(
    state: &HttpState<D>,
    key: &str,
) -> Result<Option<Value>, HttpError> {
    let found = ask(state, ConfigCommand::Get { key: name(key) }).await?;
    Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

pub(super) async fn set<D: DurableCalls>(
    state: &HttpState<D>,
    key: &str,
    value: &Value,
) -> Result<(), HttpError> {
    let value = value.to_string().into_bytes().into();
    ask(state, ConfigCommand::Set { key: name(key), value, version: None }).await.map(drop)
}

/// The value of the setting that was asked for, if there is one.
async fn ask<D: DurableCalls>(
    state: &HttpState<D>,
    command: ConfigCommand,
) -> Result<Option<std::sync::Arc<[u8]>>, HttpError> {
    match state.durable.call(Command::Config(command)).await? {
        Reply::Config(views) => Ok(views.into_iter().next().map(|view| view.value)),
        other => unreachable!("settings answered {other:?}"),
    }
}

fn name(key: &str) -> Name {
    Name::parse(key).expect("a constant of ours is a name")
}
