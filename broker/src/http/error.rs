//! Every way this door refuses, and the one mapping from there to status codes and bodies.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::core::command::Rejection;

/// A request that is not granted.
#[derive(Debug)]
pub(super) enum HttpError {
    /// No such path, or not with this method. The connection lives on.
    NotFound,
    /// No token, or one that opens nothing. The connection lives on if `body_read`.
    Unauthorized {
        /// Whether the body was read, so that the next request can be found behind it.
        body_read: bool,
    },
    /// A valid token, and not one of somebody who may do this.
    AdminOnly,
    /// The same, of whoever wants everything to start anew.
    ResetAdminOnly,
    /// Not the request for a WebSocket that is expected there.
    NotWebSocket,
    /// Too often.
    RateLimited {
        /// How long to wait.
        retry_after_ms: u64,
        /// What is used up.
        tier: &'static str,
    },
    /// A setting that makes no sense: the word for programs, and the sentence.
    Setting(&'static str, String),
    /// A WebSocket that a page of somebody else asks for.
    OtherOrigin,
    /// No alert of this name is active.
    AlertNotFound,
    /// No such table.
    UnknownTable(String),
    /// No level of log lines, and those that there are.
    InvalidLevel(&'static [&'static str]),
    /// A valid token, and not of the agent whom the path is about.
    NotOwner,
    /// No token, or one that opens nothing, where it could stand in the query as well.
    Unknown,
    /// There is no channel with the name of the path.
    ChannelNotFound,
    /// A registration of an agent that is registered.
    AgentRegistered,
    /// The agent is not here.
    AgentAbsent,
    /// The agent is not here, and something was wanted of it.
    AgentNotConnected(String),
    /// Nobody has a token of the agent.
    AgentNotFound(String),
    /// The body cannot be had. The rest of it may still arrive, so the connection closes.
    Body(BodyError),
    /// The body can be read and says something that is not accepted.
    Invalid(Vec<FieldError>),
    /// There is no task with the id of the path, or it is not an id at all.
    TaskNotFound(String),
    /// The core declines.
    Rejected(Rejection),
}

/// Why a body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is not JSON.
    Malformed,
    /// It does not even say that it is JSON.
    MediaType,
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// It did not arrive in time, or broke off.
    Unfinished,
}

/// One field of a body that is not accepted.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct FieldError {
    /// Its name; `list[2]` for an item.
    pub(super) field: String,
    /// The kind of mistake, for programs.
    pub(super) error: &'static str,
    /// What was expected, for people.
    pub(super) detail: String,
    /// What was found, if it is short enough to repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
}

/// Every answer of this door.
pub(super) fn reply(status: StatusCode, body: &impl Serialize) -> Response {
    const HEADERS: [(header::HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=0, private, must-revalidate"),
    ];
    (status, HEADERS, Json(body)).into_response()
}

/// The kind of refusal, for log lines; part of every response that is one.
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) String);

fn refuse(status: StatusCode, body: &Value) -> Response {
    let mut response = reply(status, body);
    let code = body["error"].as_str().unwrap_or_default().to_owned();
    response.extensions_mut().insert(Refused(code));
    response
}

impl From<Rejection> for HttpError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoChannel { .. } => HttpError::ChannelNotFound,
            rejection => HttpError::Rejected(rejection),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        match self {
            HttpError::NotFound => refuse(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
            HttpError::Unauthorized { body_read } => {
                let hint = "provide Authorization: Bearer <token>";
                let body = json!({"error": "unauthorized", "hint": hint});
                let response = refuse(StatusCode::UNAUTHORIZED, &body);
                if body_read { response } else { closing(response) }
            }
            HttpError::NotWebSocket => {
                let detail = "this is for WebSocket clients";
                let body = json!({"error": "websocket_required", "detail": detail});
                refuse(StatusCode::BAD_REQUEST, &body)
            }
            HttpError::RateLimited { retry_after_ms, tier } => {
                let body = json!({"error": "rate_limited", "retry_after_ms": retry_after_ms,
                    "tier": tier});
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &body);
                let seconds = HeaderValue::from(retry_after_ms.div_ceil(1_000).max(1));
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
            HttpError::Setting(error, detail) => {
                let body = json!({"error": error, "detail": detail});
                refuse(StatusCode::BAD_REQUEST, &body)
            }
            HttpError::OtherOrigin => {
                let detail = "the page is not from this broker";
                let body = json!({"error": "other_origin", "detail": detail});
                refuse(StatusCode::FORBIDDEN, &body)
            }
            HttpError::UnknownTable(table) => {
                let body = json!({"error": "unknown_table", "table": table});
                refuse(StatusCode::NOT_FOUND, &body)
            }
            HttpError::InvalidLevel(valid) => {
                let body = json!({"error": "invalid_level", "valid": valid});
                refuse(StatusCode::UNPROCESSABLE_ENTITY, &body)
            }
            HttpError::ResetAdminOnly => {
                let message = "Only admin agents can reset the hub";
                let body = json!({"error": "admin_only", "message": message});
                refuse(StatusCode::FORBIDDEN, &body)
            }
            HttpError::AlertNotFound => {
                refuse(StatusCode::NOT_FOUND, &json!({"error": "alert_not_found"}))
            }
            HttpError::NotOwner | HttpError::Unknown => {
                refuse(StatusCode::UNAUTHORIZED, &json!({"error": "unauthorized"}))
            }
            HttpError::ChannelNotFound => {
                refuse(StatusCode::NOT_FOUND, &json!({"error": "channel_not_found"}))
            }
            HttpError::AdminOnly => {
                let message = "Only admin agents and the operator can do this";
                let body = json!({"error": "admin_only", "message": message});
                refuse(StatusCode::FORBIDDEN, &body)
            }
            HttpError::AgentRegistered => {
                refuse(StatusCode::CONFLICT, &json!({"error": "agent_id already registered"}))
            }
            HttpError::AgentAbsent => {
                refuse(StatusCode::NOT_FOUND, &json!({"error": "agent_not_found"}))
            }
            HttpError::AgentNotConnected(agent) => {
                let body = json!({"error": "agent_not_connected", "agent_id": agent});
                refuse(StatusCode::NOT_FOUND, &body)
            }
            HttpError::AgentNotFound(agent) => {
                let body = json!({"error": "agent_not_found", "agent_id": agent});
                refuse(StatusCode::NOT_FOUND, &body)
            }
            HttpError::Body(error) => closing(body(error)),
            HttpError::Invalid(errors) => invalid(StatusCode::BAD_REQUEST, &errors),
            HttpError::TaskNotFound(id) => {
                let body = json!({"error": "task_not_found", "task_id": id});
                refuse(StatusCode::NOT_FOUND, &body)
            }
            HttpError::Rejected(rejection) => rejected(&rejection),
        }
    }
}

fn body(error: BodyError) -> Response {
    let (status, error, detail) = match error {
        BodyError::Malformed => {
            (StatusCode::BAD_REQUEST, "malformed", "the body is not JSON".to_owned())
        }
        BodyError::MediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "expected Content-Type: application/json".to_owned(),
        ),
        BodyError::TooLarge(bytes_max) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_long",
            format!("exceeds maximum length of {bytes_max} bytes"),
        ),
        BodyError::Unfinished => (
            StatusCode::REQUEST_TIMEOUT,
            "unfinished",
            "the body did not arrive, or not in time".to_owned(),
        ),
    };
    invalid(status, &[FieldError { field: "body".to_owned(), error, detail, value: None }])
}

fn invalid(status: StatusCode, errors: &[FieldError]) -> Response {
    refuse(status, &json!({"error": "validation_failed", "errors": errors}))
}

fn rejected(rejection: &Rejection) -> Response {
    let status = match rejection {
        Rejection::NotFound { .. }
        | Rejection::NoQueue { .. }
        | Rejection::NoQuestion { .. }
        | Rejection::NoSchedule { .. }
        | Rejection::NoChannel { .. }
        | Rejection::NotPresent { .. }
        | Rejection::NoBackup { .. }
        | Rejection::NoTable { .. }
        | Rejection::NoAgent { .. } => StatusCode::NOT_FOUND,
        Rejection::NoToken => StatusCode::UNAUTHORIZED,
        Rejection::BackupFailed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Rejection::Gone { .. } => StatusCode::GONE,
        Rejection::NotInBatch { .. }
        | Rejection::UnknownDependency { .. }
        | Rejection::Cycle { .. } => StatusCode::BAD_REQUEST,
        Rejection::Terminal { .. }
        | Rejection::Exists { .. }
        | Rejection::Twin { .. }
        | Rejection::Gap { .. }
        | Rejection::Answered { .. }
        | Rejection::OtherQuestion { .. }
        | Rejection::OtherVersion { .. }
        | Rejection::OtherConfig { .. }
        | Rejection::InvalidState { .. }
        | Rejection::StaleGeneration { .. }
        | Rejection::NotOwner { .. }
        | Rejection::Conflict { .. }
        | Rejection::NotAttached
        | Rejection::NameTaken { .. }
        | Rejection::AgentExists { .. }
        | Rejection::ChannelExists { .. }
        | Rejection::TokenInUse => StatusCode::CONFLICT,
        Rejection::RateLimited { .. } | Rejection::TooManyInFlight => StatusCode::TOO_MANY_REQUESTS,
        Rejection::LimitReached { .. }
        | Rejection::QueueFull { .. }
        | Rejection::Busy { .. }
        | Rejection::NoRoom { .. }
        | Rejection::Unavailable { .. }
        | Rejection::Uncertain { .. }
        | Rejection::Unreadable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    refuse(status, &json!({"error": rejection.code(), "detail": rejection.to_string()}))
}

/// `response`, and nothing after it: where the next request would begin is not known.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
