//! Which log lines are written, until the next start (the contract's 2.8).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::body::CallerBody;
use super::error::reply;
use super::{DurableCalls, HttpError, HttpState};

/// The hub's words.
const LEVELS: [&str; 5] = ["debug", "info", "notice", "warning", "error"];

/// `PUT /api/admin/log-level`
pub(super) async fn set<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let wanted = fields.get("level").and_then(|level| level.as_str()).unwrap_or_default();
    let level = match wanted {
        "notice" => "info",
        "warning" => "warn",
        other => other,
    };
    if !LEVELS.contains(&wanted) || state.log.set_level(level).is_err() {
        return Err(HttpError::InvalidLevel(&LEVELS));
    }
    tracing::warn!(level = wanted, "an admin said which log lines are written");
    Ok(reply(StatusCode::OK, &json!({"status": "ok", "level": wanted})))
}
