//! Messages over HTTP: to agents and to all, mailboxes, the history and threads.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::CallerBody;
use super::caller::{Caller, KnownCaller};
use super::error::reply;
use super::form::Form;
use super::query::{Parameters, Raw};
use super::{DurableCalls, HttpError, HttpState};
use crate::core::command::{
    Command, Destination, HistoryQuery, MessageCommand, MessageId, MessageReply, Name, Rejection,
    Reply, ThreadPart,
};
use crate::translate::message::{self, BROADCAST, HISTORY_LIMIT, HISTORY_LIMIT_MAX};

/// Ask about messages; `None` if there is nothing to say.
pub(super) async fn ask<D: DurableCalls>(
    durable: &D,
    command: MessageCommand,
) -> Result<Option<MessageReply>, Rejection> {
    match durable.call(Command::Message(Box::new(command))).await? {
        Reply::Message(reply) => Ok(Some(*reply)),
        Reply::Noted => Ok(None),
        other => unreachable!("messages answered {other:?}"),
    }
}

/// `POST /api/message`: to one agent, or to all.
pub(super) async fn send<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let mut form = Form::new(&fields);
    let post = form.post("type", caller.name(), None);
    form.finish()?;
    let post = Box::new(post.expect("what is no message was refused"));
    let Some(MessageReply::Posted { id, .. }) =
        ask(&state.durable, MessageCommand::Post(post)).await?
    else {
        unreachable!("a post is posted")
    };
    Ok(reply(StatusCode::OK, &json!({"status": "sent", "id": id.to_string()})))
}

/// `GET /api/mailbox/:id`: what waits for an agent. For that agent alone.
pub(super) async fn poll<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(caller): KnownCaller,
    id: Result<Path<String>, PathRejection>,
    query: Raw,
) -> Result<Response, HttpError> {
    let agent = owner(id, &caller)?;
    let mut parameters = Parameters::of(query);
    let after = parameters.number("since").unwrap_or(0);
    parameters.finish()?;
    let command = MessageCommand::Poll { agent: agent.clone(), after };
    let Some(MessageReply::Found(found)) = ask(&state.durable, command).await? else {
        unreachable!("a poll finds messages")
    };
    let messages: Vec<Value> = found.messages.iter().map(|mail| message::mail(mail)).collect();
    let last_seq = found.messages.last().map_or(after, |mail| mail.id.0);
    let count = messages.len();
    let body = json!({"agent_id": agent.as_str(), "messages": messages, "last_seq": last_seq,
        "count": count});
    Ok(reply(StatusCode::OK, &body))
}

/// `POST /api/mailbox/:id/ack`: an agent has read so far.
pub(super) async fn ack<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    let agent = owner(id, &caller)?;
    let mut form = Form::new(&fields);
    if form.field("seq").is_none() {
        form.required("seq");
    }
    let seq = form.integer("seq");
    form.finish()?;
    let seq = seq.expect("what is no number was refused");
    // Nothing has a negative number.
    let up_to = u64::try_from(seq).unwrap_or(0);
    ask(&state.durable, MessageCommand::Ack { agent, up_to }).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "acked", "up_to": seq})))
}

/// `POST /api/mailbox/evict`: drop what is too old now.
pub(super) async fn evict<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, _): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    ask(&state.durable, MessageCommand::Evict).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "eviction_triggered"})))
}

/// `GET /api/messages`: the history of messages to agents and to all.
pub(super) async fn history<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
    query: Raw,
) -> Result<Response, HttpError> {
    let mut parameters = Parameters::of(query);
    let after = parameters.number("cursor").unwrap_or(0);
    let limit = parameters.number("limit").unwrap_or(HISTORY_LIMIT).min(HISTORY_LIMIT_MAX);
    let (start_ms, end_ms) = (parameters.number("start_time"), parameters.number("end_time"));
    let to = |text: &str| match text {
        BROADCAST => Ok(Destination::Broadcast { is_named: true }),
        other => Name::parse(other).map(Destination::Agent),
    };
    let from = parameters.text("from").map(Name::parse).transpose();
    let to = parameters.text("to").map(to).transpose();
    let label = parameters.text("channel").map(Into::into);
    parameters.finish()?;
    let limit = usize::try_from(limit).unwrap_or_default();
    let messages = match (from, to) {
        (Ok(from), Ok(to)) => {
            let query = HistoryQuery { from, to, label, start_ms, end_ms, after, limit };
            match ask(&state.durable, MessageCommand::History(query)).await? {
                Some(MessageReply::Found(found)) => found.messages,
                other => unreachable!("the history answered {other:?}"),
            }
        }
        // What is no name sent nothing and got nothing.
        _ => Vec::new(),
    };
    let cursor = messages.last().map_or(after, |message| message.id.0);
    let messages: Vec<Value> = messages.iter().map(|one| message::numbered(one)).collect();
    let body = json!({"messages": messages, "cursor": cursor, "count": messages.len()});
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /api/threads/:message_id`: the whole thread that a message is in.
pub(super) async fn thread<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let (_, root, messages) = part(&state, id, ThreadPart::Whole).await?;
    let body = json!({"root": root, "messages": messages, "count": messages.len()});
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /api/threads/:message_id/replies`: what answers a message.
pub(super) async fn replies<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let (parent, _, messages) = part(&state, id, ThreadPart::Replies).await?;
    let body = json!({"parent": parent, "replies": messages, "count": messages.len()});
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /api/threads/:message_id/root`: where a thread begins.
pub(super) async fn root<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    KnownCaller(_): KnownCaller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let (message, root, _) = part(&state, id, ThreadPart::Root).await?;
    Ok(reply(StatusCode::OK, &json!({"message_id": message, "root": root})))
}

/// A part of a thread: the id as it was asked for, the root's, and the messages. An id that is
/// none of ours is alone.
async fn part<D: DurableCalls>(
    state: &HttpState<D>,
    id: Result<Path<String>, PathRejection>,
    part: ThreadPart,
) -> Result<(String, String, Vec<Value>), HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let Some(message) = MessageId::parse(&id) else {
        return Ok((id.clone(), id, Vec::new()));
    };
    match ask(&state.durable, MessageCommand::Thread { message, part }).await? {
        Some(MessageReply::Thread { root, found }) => {
            let messages = found.messages.iter().map(|one| {
                let fields = message::message(one);
                Value::Object(fields)
            });
            Ok((id, root.to_string(), messages.collect()))
        }
        other => unreachable!("a thread answered {other:?}"),
    }
}

/// The agent of the path, if it is the caller itself. Nobody else reads its mail.
fn owner(id: Result<Path<String>, PathRejection>, caller: &Caller) -> Result<Name, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    match caller {
        Caller::Agent { agent, .. } if agent.as_str() == id => Ok(agent.clone()),
        _ => Err(HttpError::NotOwner),
    }
}
