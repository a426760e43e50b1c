//! Channels over HTTP.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::CallerBody;
use super::error::reply;
use super::form::{Form, excerpt};
use super::messages::ask;
use super::query::{Parameters, Raw};
use super::{DurableCalls, HttpError, HttpState};
use crate::core::command::{
    ChannelView, Destination, MessageCommand, MessageReply, Name, NewChannel, channel_name,
};
use crate::translate::message::{self, HISTORY_LIMIT};

/// Longest spelling of a new channel, in characters.
const SPELLING_CHARS_MAX: usize = 256;

/// `GET /api/channels`: all of them. For everybody.
pub(super) async fn list<D: DurableCalls>(
    State(state): State<HttpState<D>>,
) -> Result<Response, HttpError> {
    let views = all(&state.durable).await?;
    let channels: Vec<Value> = views.iter().map(message::listed).collect();
    Ok(reply(StatusCode::OK, &json!({ "channels": channels })))
}

/// All channels.
pub(super) async fn all<D: DurableCalls>(durable: &D) -> Result<Vec<ChannelView>, HttpError> {
    match ask(durable, MessageCommand::ListChannels).await? {
        Some(MessageReply::Channels(views)) => Ok(views),
        other => unreachable!("a list answered {other:?}"),
    }
}

/// `POST /api/channels`: a new one.
pub(super) async fn create<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let mut form = Form::new(&fields);
    let spelling = form.required_text("name", SPELLING_CHARS_MAX).map(str::to_owned);
    let name = spelling.as_deref().and_then(channel_name);
    if let (Some(spelling), None) = (&spelling, &name) {
        let detail = "must have 1 to 64 letters, digits, '-' or '_'".to_owned();
        form.refuse("name", "invalid_value", detail, Some(excerpt(spelling)));
    }
    let description = form.text_of("description", message::description).unwrap_or_default();
    form.finish()?;
    let (Some(spelling), Some(name)) = (spelling, name) else {
        unreachable!("what is no name was refused")
    };
    let made = NewChannel { name, description, by: Some(caller.name()) };
    ask(&state.durable, MessageCommand::CreateChannel(Box::new(made))).await?;
    Ok(reply(StatusCode::CREATED, &json!({"status": "created", "channel": spelling})))
}

/// `GET /api/channels/:ch`: one of them. For everybody.
pub(super) async fn show<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let (_, channel) = named(id)?;
    match ask(&state.durable, MessageCommand::ShowChannel { channel }).await? {
        Some(MessageReply::Channel(view)) => Ok(reply(StatusCode::OK, &message::channel(&view))),
        other => unreachable!("a channel answered {other:?}"),
    }
}

/// `POST /api/channels/:ch/subscribe`: the caller listens from now on.
pub(super) async fn subscribe<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    let (spelling, channel) = named(id)?;
    let command = MessageCommand::Subscribe { channel, agent: caller.name() };
    let is_new = match ask(&state.durable, command).await? {
        Some(MessageReply::Changed { is_new }) => is_new,
        other => unreachable!("a subscription answered {other:?}"),
    };
    let body = match is_new {
        true => json!({"status": "subscribed", "channel": spelling}),
        false => json!({"status": "already_subscribed"}),
    };
    Ok(reply(StatusCode::OK, &body))
}

/// `POST /api/channels/:ch/unsubscribe`: the caller listens no more.
pub(super) async fn unsubscribe<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    let (spelling, channel) = named(id)?;
    let command = MessageCommand::Unsubscribe { channel, agent: caller.name() };
    ask(&state.durable, command).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "unsubscribed", "channel": spelling})))
}

/// `POST /api/channels/:ch/publish`: a message to whoever listens.
pub(super) async fn publish<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let mut form = Form::new(&fields);
    let channel = named(id);
    let to = channel.as_ref().ok().map(|(_, name)| Destination::Channel(name.clone()));
    let post = form.post("type", caller.name(), to);
    form.finish()?;
    channel?;
    let post = Box::new(post.expect("what is no message was refused"));
    match ask(&state.durable, MessageCommand::Post(post)).await? {
        Some(MessageReply::Posted { id, channel_seq }) => {
            let body = json!({"status": "published", "seq": channel_seq, "id": id.to_string()});
            Ok(reply(StatusCode::OK, &body))
        }
        other => unreachable!("a post answered {other:?}"),
    }
}

/// `GET /api/channels/:ch/history`: what was said. For everybody.
pub(super) async fn history<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    query: Raw,
) -> Result<Response, HttpError> {
    let Path(spelling) = id.map_err(|_| HttpError::NotFound)?;
    let mut parameters = Parameters::of(query);
    let limit = parameters.number("limit").unwrap_or(HISTORY_LIMIT);
    let after = parameters.number("since").unwrap_or(0);
    parameters.finish()?;
    let messages = said(&state.durable, &spelling, after, limit).await?;
    let body = json!({"channel": spelling, "messages": messages, "count": messages.len()});
    Ok(reply(StatusCode::OK, &body))
}

/// What was said in a channel; nothing in one that is not there.
pub(super) async fn said<D: DurableCalls>(
    durable: &D,
    spelling: &str,
    after: u64,
    limit: u64,
) -> Result<Vec<Value>, HttpError> {
    let Some(channel) = channel_name(spelling) else { return Ok(Vec::new()) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let command = MessageCommand::ChannelHistory { channel, after, limit };
    match ask(durable, command).await? {
        Some(MessageReply::Found(found)) => {
            Ok(found.messages.iter().map(|one| message::in_channel(one)).collect())
        }
        other => unreachable!("a history answered {other:?}"),
    }
}

/// `GET /api/agents/:id/subscriptions`: the channels of an agent. For everybody.
pub(super) async fn of_agent<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let channels = match Name::parse(&id) {
        Ok(agent) => match ask(&state.durable, MessageCommand::Subscriptions { agent }).await? {
            Some(MessageReply::Names(names)) => names,
            other => unreachable!("subscriptions answered {other:?}"),
        },
        Err(_) => Vec::new(),
    };
    let channels: Vec<&str> = channels.iter().map(Name::as_str).collect();
    Ok(reply(StatusCode::OK, &json!({"agent_id": id, "channels": channels})))
}

/// The channel of the path: as it was spelled, and its name.
fn named(id: Result<Path<String>, PathRejection>) -> Result<(String, Name), HttpError> {
    let Path(spelling) = id.map_err(|_| HttpError::NotFound)?;
    match channel_name(&spelling) {
        Some(name) => Ok((spelling, name)),
        None => Err(HttpError::ChannelNotFound),
    }
}
