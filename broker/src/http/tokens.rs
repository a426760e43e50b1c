//! Registration, and tokens of agents: requests to commands, answers to JSON.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::{CallerBody, PublicBody};
use super::caller::{Caller, OPERATOR};
use super::error::reply;
use super::form::{Form, excerpt, too_long};
use super::{DurableCalls, HttpError, HttpState, config};
use crate::core::command::{Command, Issue, IssueToken, Name, Rejection, Reply, TokenView};
use crate::token;

/// Digits of a token.
const TOKEN_DIGITS: usize = 64;

/// `POST /api/onboard/register`: a new agent, and all that it needs to connect. For everybody.
pub(super) async fn register<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    headers: HeaderMap,
    PublicBody(fields): PublicBody,
) -> Result<Response, HttpError> {
    let agent = agent(&fields)?;
    // Whoever came first would be an admin, or seem to be the operator.
    if state.admins.contains(&agent) || agent.as_str() == OPERATOR {
        return Err(HttpError::AdminOnly);
    }
    let token = keep(&state, agent.clone(), Issue::First).await?;
    let repo = config::default_repo(&state).await?;
    // As the client called it: it may be another name than the one that is listened on.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = if has_port(host) { "" } else { ":80" };
    let body = json!({
        "agent_id": agent.as_str(),
        "token": token,
        "hub_ws_url": format!("ws://{host}{port}/ws"),
        "hub_api_url": format!("http://{host}{port}"),
        "default_repo": repo,
    });
    Ok(reply(StatusCode::CREATED, &body))
}

/// `GET /admin/tokens`: all of them, as far as anybody may know them.
pub(super) async fn list<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Reply::Tokens(found) = state.durable.call(Command::ListTokens).await? else {
        unreachable!("a list is a list")
    };
    let token = |TokenView { agent, prefix, issued_ms }: &TokenView| {
        json!({
            "agent_id": agent.as_str(),
            "token_prefix": format!("{prefix}..."),
            "issued_at": issued_ms,
        })
    };
    let tokens: Vec<Value> = found.iter().map(token).collect();
    Ok(reply(StatusCode::OK, &json!({ "tokens": tokens })))
}

/// `POST /admin/tokens`: one more token of an agent.
pub(super) async fn issue<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let (agent, given) = match (agent(&fields), given(&fields)) {
        // All mistakes are told at once.
        (Err(HttpError::Invalid(mut errors)), Err(HttpError::Invalid(more))) => {
            errors.extend(more);
            return Err(HttpError::Invalid(errors));
        }
        (agent, given) => (agent?, given),
    };
    caller.admin_or(agent.as_str())?;
    let token = match given? {
        Some(token) => {
            // Whoever chooses a token knows it; that is for those who know them all.
            caller.admin()?;
            token
        }
        None => fresh()?,
    };
    keep_as(&state, agent.clone(), &token, Issue::Another).await?;
    Ok(reply(StatusCode::CREATED, &json!({"agent_id": agent.as_str(), "token": token})))
}

/// `DELETE /admin/tokens/:id`: all tokens of an agent, known or not.
pub(super) async fn revoke<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let id = own_or_any(id, &caller)?;
    // What is no name has no tokens.
    if let Ok(agent) = Name::parse(&id) {
        state.durable.call(Command::RevokeTokens { agent }).await?;
    }
    Ok(reply(StatusCode::OK, &json!({"status": "revoked", "agent_id": id})))
}

/// `POST /api/admin/agents/:id/reset-token`: a token in place of all that the agent has.
pub(super) async fn reset<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let id = own_or_any(id, &caller)?;
    let agent = Name::parse(&id).map_err(|_| HttpError::AgentNotFound(id.clone()))?;
    let token = keep(&state, agent, Issue::InPlaceOfAll).await?;
    let hint = format!("Use with: node add-agent.js --rejoin --name {id} --token {token}");
    Ok(reply(StatusCode::CREATED, &json!({"agent_id": id, "token": token, "hint": hint})))
}

/// The agent of the path, if it is the caller's own or the caller may do this for all.
fn own_or_any(
    id: Result<Path<String>, PathRejection>,
    caller: &Caller,
) -> Result<String, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    caller.admin_or(&id)?;
    Ok(id)
}

/// The token in the body, if it has one: that of an agent of the hub, which goes on with it.
fn given(fields: &Map<String, Value>) -> Result<Option<String>, HttpError> {
    let mut form = Form::new(fields);
    let token = form.text("token", TOKEN_DIGITS).map(str::to_owned);
    let is_token = |token: &String| {
        token.len() == TOKEN_DIGITS && token.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    if token.as_ref().is_some_and(|token| !is_token(token)) {
        let detail = format!("must be {TOKEN_DIGITS} hexadecimal digits");
        form.refuse("token", "invalid_value", detail, None);
    }
    form.finish()?;
    Ok(token)
}

fn fresh() -> Result<String, HttpError> {
    token::fresh().map_err(|error| {
        tracing::error!(%error, "no randomness for a token");
        HttpError::Rejected(Rejection::Unavailable { reason: error.to_string().into() })
    })
}

/// Make a token and keep what the broker may know of it.
async fn keep<D: DurableCalls>(
    state: &HttpState<D>,
    agent: Name,
    issue: Issue,
) -> Result<String, HttpError> {
    let token = fresh()?;
    keep_as(state, agent, &token, issue).await?;
    Ok(token)
}

/// Keep what the broker may know of a token.
async fn keep_as<D: DurableCalls>(
    state: &HttpState<D>,
    agent: Name,
    token: &str,
    issue: Issue,
) -> Result<(), HttpError> {
    let digest = token::digest(token).expect("a token is neither empty nor too long");
    let prefix = token::prefix(token).into();
    let command = Command::IssueToken(Box::new(IssueToken { agent, digest, prefix, issue }));
    match state.durable.call(command).await {
        Ok(_) => Ok(()),
        Err(Rejection::AgentExists { .. }) => Err(HttpError::AgentRegistered),
        Err(Rejection::NoAgent { agent }) => Err(HttpError::AgentNotFound(agent.to_string())),
        Err(rejection) => Err(rejection.into()),
    }
}

/// The agent that a body names.
fn agent(fields: &Map<String, Value>) -> Result<Name, HttpError> {
    let mut form = Form::new(fields);
    let agent = form.agent_id();
    form.finish()?;
    Ok(agent.expect("what is no name was refused"))
}

impl Form<'_> {
    fn agent_id(&mut self) -> Option<Name> {
        const FIELD: &str = "agent_id";
        let text = match self.field(FIELD) {
            None => {
                self.refuse(FIELD, "required", "field is required".to_owned(), None);
                return None;
            }
            Some(Value::String(text)) => text,
            Some(other) => {
                self.wrong_type(FIELD, "string", other);
                return None;
            }
        };
        if text.is_empty() {
            self.refuse(FIELD, "required", "agent_id must not be empty".to_owned(), None);
        } else if text.chars().count() > Name::LENGTH_MAX {
            let detail = too_long(Name::LENGTH_MAX, "characters");
            self.refuse(FIELD, "too_long", detail, Some(excerpt(text)));
        } else if let Ok(name) = Name::parse(text) {
            return Some(name);
        } else {
            let detail = "must be letters, digits, '-', '_' or '.'".to_owned();
            self.refuse(FIELD, "invalid_value", detail, Some(excerpt(text)));
        }
        None
    }
}

/// Whether a `Host` names a port: the colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_or_not() {
        for (host, expected) in [
            ("hub", false),
            ("hub:4000", true),
            ("10.0.0.1", false),
            ("[::1]", false),
            ("[::1]:4000", true),
        ] {
            assert_eq!(has_port(host), expected, "{host}");
        }
    }
}
