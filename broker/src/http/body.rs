//! Bodies: bytes to JSON, with a limit and a deadline, before anybody is asked for a token.
//!
//! That order is the legacy contract's: a malformed body is 400 even with a bad token. It does not
//! mean that strangers may fill the memory: without a token that opens the door, a body of more
//! than [`ANONYMOUS_BYTES_MAX`] is answered with 401 before it is read.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::caller::Caller;
use super::error::{BodyError, HttpError};
use super::{DurableCalls, HttpState};

/// Largest body, in bytes: the limit of the legacy hub.
const BYTES_MAX: usize = 8_000_000;

/// Largest body of somebody without a token, in bytes: what a stranger may make the broker keep.
const ANONYMOUS_BYTES_MAX: usize = 16 * 1024;

/// A JSON body, and whose it is. What is not an object has no fields.
pub(super) struct CallerBody(pub(super) Caller, pub(super) Map<String, Value>);

/// A small JSON body of anybody.
pub(super) struct PublicBody(pub(super) Map<String, Value>);

impl<D: DurableCalls> FromRequest<HttpState<D>> for CallerBody {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &HttpState<D>) -> Result<Self, HttpError> {
        let caller = Caller::of(request.headers(), state).await?;
        let (method, extensions) = (request.method().clone(), request.extensions().clone());
        let bytes_max = if caller.is_some() { BYTES_MAX } else { ANONYMOUS_BYTES_MAX };
        match (fields(request, bytes_max, state).await, caller) {
            (Err(BodyError::TooLarge(_)), None) => {
                Err(HttpError::Unauthorized { body_read: false })
            }
            (Err(error), _) => Err(HttpError::Body(error)),
            (Ok(_), None) => Err(HttpError::Unauthorized { body_read: true }),
            (Ok(fields), Some(caller)) => {
                state.check_caller(&caller, &method, &extensions).await?;
                Ok(CallerBody(caller, fields))
            }
        }
    }
}

impl<D: DurableCalls> FromRequest<HttpState<D>> for PublicBody {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &HttpState<D>) -> Result<Self, HttpError> {
        let fields = fields(request, ANONYMOUS_BYTES_MAX, state).await;
        fields.map(PublicBody).map_err(HttpError::Body)
    }
}

/// The fields of the body, if it arrives in time.
async fn fields<D: DurableCalls>(
    request: Request,
    bytes_max: usize,
    state: &HttpState<D>,
) -> Result<Map<String, Value>, BodyError> {
    let read = timeout(state.settings.body, json(request, bytes_max)).await;
    match read.unwrap_or(Err(BodyError::Unfinished))? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// The body of `request`. An empty one is `{}`, and so is one that does not say what it is.
async fn json(request: Request, bytes_max: usize) -> Result<Value, BodyError> {
    let is_json = is_json(request.headers())?;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
    let mut chunks = request.into_body().into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Unfinished)?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() || !is_json {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(&bytes).map_err(|_| BodyError::Malformed)
}

/// `application/json` or `application/anything+json`, whatever its parameters. `false` if nothing
/// is said; an error if it is something else.
fn is_json(headers: &HeaderMap) -> Result<bool, BodyError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let value = value.to_str().map_err(|_| BodyError::MediaType)?.to_ascii_lowercase();
    let essence = value.split(';').next().unwrap_or_default().trim();
    match essence.strip_prefix("application/") {
        Some(subtype) if subtype == "json" || subtype.ends_with("+json") => Ok(true),
        None if essence.is_empty() => Ok(false),
        _ => Err(BodyError::MediaType),
    }
}
