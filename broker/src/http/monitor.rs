//! What whoever watches over the broker asks for, with the paths and keys of NATS.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::caller::Caller;
use super::error::reply;
use super::query::{Parameters, Raw};
use super::{DurableCalls, HttpError, HttpState};
use crate::monitor::{CONNECTIONS_SHOWN_MAX, Wanted};

/// `GET /metrics`: what is counted, for the operator.
pub(super) async fn metrics<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    caller.admin()?;
    Ok(([(header::CONTENT_TYPE, TEXT)], state.monitor.metrics()).into_response())
}

/// `GET /varz`: the broker as a whole.
pub(super) async fn server<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    Ok(reply(StatusCode::OK, &state.monitor.server()))
}

/// `GET /connz`: the connections over TCP. `cid`, `offset`, `limit` say which; `subs=1` shows what
/// they are subscribed to.
pub(super) async fn connections<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
    query: Raw,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let mut parameters = Parameters::of(query);
    let size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    let wanted = Wanted {
        id: parameters.number("cid"),
        offset: size(parameters.number("offset")).unwrap_or(0),
        limit: size(parameters.number("limit")).unwrap_or(CONNECTIONS_SHOWN_MAX),
        with_subscriptions: matches!(parameters.text("subs"), Some("1" | "true")),
    };
    parameters.finish()?;
    Ok(reply(StatusCode::OK, &state.monitor.connections(wanted)))
}

/// `GET /subsz`: how much is subscribed to.
pub(super) async fn subscriptions<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    Ok(reply(StatusCode::OK, &state.monitor.subscriptions()))
}

/// `GET /healthz`: the process is alive.
pub(super) async fn alive() -> Response {
    reply(StatusCode::OK, &json!({"status": "ok"}))
}

/// `GET /readyz`: it takes in durable requests and connections.
pub(super) async fn ready<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    match state.monitor.unready() {
        None => reply(StatusCode::OK, &json!({"status": "ok"})),
        Some(reason) => {
            let body = json!({"status": "unavailable", "error": &*reason});
            reply(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}
