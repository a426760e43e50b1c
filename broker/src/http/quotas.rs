//! What identities may have and do over TCP, for admins: shown, and set for some. What is set is kept
//! as a shared setting, so CONFIG SET does as well.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::caller::Caller;
use super::error::{FieldError, reply};
use super::{DurableCalls, HttpError, HttpState, config};
use crate::translate::quota;
use crate::translate::setting::QUOTAS;

/// Identities that are shown one by one.
const SHOWN_MAX: usize = 1_000;

/// `GET /api/admin/quotas`: what everybody may have, what some have of their own, and who has
/// something now.
pub(super) async fn show<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let set = config::get(&state, QUOTAS).await?.unwrap_or_else(|| json!({}));
    let usage = state.accounts.usage(SHOWN_MAX).into_iter();
    let usage: Map<String, Value> = usage
        .map(|(identity, (allowed, [connections, subscriptions, in_flight]))| {
            let used = json!({"connections": connections, "subscriptions": subscriptions,
                "in_flight": in_flight, "quota": quota::quota(allowed)});
            (identity, used)
        })
        .collect();
    let defaults = quota::quota(state.accounts.defaults());
    Ok(reply(StatusCode::OK, &json!({"defaults": defaults, "quotas": set, "usage": usage})))
}

/// `PUT /api/admin/quotas`: the body is what some have of their own; it replaces what was
/// set.
pub(super) async fn set<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let wanted = Value::Object(fields);
    let wrong = |errors: Vec<(String, String)>| {
        let error =
            |(field, detail)| FieldError { field, error: "invalid_value", detail, value: None };
        HttpError::Invalid(errors.into_iter().map(error).collect())
    };
    let own = quota::own(&wanted, state.accounts.defaults()).map_err(wrong)?;
    let _changing = state.accounts.changing().await;
    config::set(&state, QUOTAS, &wanted).await?;
    state.accounts.set_own(own);
    Ok(reply(StatusCode::OK, &json!({"status": "updated", "quotas": wanted})))
}
