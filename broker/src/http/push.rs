//! Which browsers are told what went wrong (the contract's 2.10): the key to subscribe for, and the
//! subscription that a browser made. What is sent is in `crate::push`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::error::reply;
use super::form::{Form, excerpt};
use super::{DurableCalls, HttpError, HttpState};
use crate::core::command::Rejection;
use crate::push::SubscribeError;
use crate::push::endpoint::{Endpoint, URL_BYTES_MAX};
use crate::push::seal::{KeyError, Recipient};
use crate::push::subscribers::Subscriber;

/// `GET /api/dashboard/vapid-key`: for everybody.
pub(super) async fn key<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    reply(StatusCode::OK, &json!({"vapid_public_key": state.push.public_key()}))
}

/// `POST /api/dashboard/push-subscribe`: the subscription as the browser writes it. For admins: the
/// broker sends to wherever it says.
pub(super) async fn subscribe<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let subscriber = subscriber(&fields, state.push.allows_loopback())?;
    let url = excerpt(subscriber.endpoint.url());
    state.push.subscribe(subscriber).await.map_err(|error| refused(error, &url))?;
    Ok(reply(StatusCode::OK, &json!({"status": "subscribed"})))
}

fn subscriber(fields: &Map<String, Value>, allow_loopback: bool) -> Result<Subscriber, HttpError> {
    let mut form = Form::new(fields);
    let endpoint = endpoint(&mut form, allow_loopback);
    match (endpoint, recipient(&mut form)) {
        (Some(endpoint), Some(recipient)) => Ok(Subscriber { endpoint, recipient }),
        _ => Err(HttpError::Invalid(form.into_errors())),
    }
}

fn endpoint(form: &mut Form<'_>, allow_loopback: bool) -> Option<Endpoint> {
    let url = form.required_text("endpoint", URL_BYTES_MAX)?;
    match Endpoint::parse(url, allow_loopback) {
        Ok(endpoint) => Some(endpoint),
        Err(error) => {
            form.refuse("endpoint", "invalid_value", error.to_string(), Some(excerpt(url)));
            None
        }
    }
}

fn recipient(form: &mut Form<'_>) -> Option<Recipient> {
    let keys = match form.field("keys") {
        Some(Value::Object(keys)) => keys,
        Some(other) => {
            form.wrong_type("keys", "object", other);
            return None;
        }
        None => {
            form.required("keys");
            return None;
        }
    };
    let key = |name: &str| keys.get(name).and_then(Value::as_str).unwrap_or_default();
    match Recipient::parse(key("p256dh"), key("auth")) {
        Ok(recipient) => Some(recipient),
        Err(error) => {
            let field = match error {
                KeyError::Public => "keys.p256dh",
                KeyError::Auth => "keys.auth",
            };
            form.refuse(field, "invalid_value", error.to_string(), None);
            None
        }
    }
}

fn refused(error: SubscribeError, url: &Value) -> HttpError {
    match error {
        SubscribeError::Courier(error) => {
            let empty = Map::new();
            let mut form = Form::new(&empty);
            form.refuse("endpoint", "invalid_value", error.to_string(), Some(url.clone()));
            HttpError::Invalid(form.into_errors())
        }
        SubscribeError::Full { max } => HttpError::Rejected(Rejection::LimitReached {
            what: "push subscriptions",
            max: max as u64,
        }),
        error @ SubscribeError::NotKept(_) => {
            HttpError::Rejected(Rejection::Unavailable { reason: error.to_string().into() })
        }
    }
}
