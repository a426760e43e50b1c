//! Who asks, by the token that the request carries.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::error::HttpError;
use super::{DurableCalls, HttpState, limits};
use crate::core::command::{Command, Name, Rejection, Reply};
use crate::token;

pub(super) use crate::translate::message::OPERATOR;

/// Somebody with a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever runs the broker.
    Operator,
    /// An agent, and whether the operator's routes are open to it, too.
    Agent {
        /// Which.
        agent: Name,
        /// Whether it may do what the operator may.
        is_admin: bool,
    },
}

impl Caller {
    /// Whoever sends `headers`; `None` without a valid token.
    pub(super) async fn of<D: DurableCalls>(
        headers: &HeaderMap,
        state: &HttpState<D>,
    ) -> Result<Option<Caller>, Rejection> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        match shown {
            Some(shown) => Caller::with(shown, state).await,
            None => Ok(None),
        }
    }

    /// Whoever has the token `shown`.
    pub(super) async fn with<D: DurableCalls>(
        shown: &str,
        state: &HttpState<D>,
    ) -> Result<Option<Caller>, Rejection> {
        if (state.admits)(shown) {
            return Ok(Some(Caller::Operator));
        }
        let Some(digest) = token::digest(shown) else { return Ok(None) };
        match state.durable.call(Command::Identify { digest }).await {
            Ok(Reply::Identified { agent }) => {
                let is_admin = state.settings.any_token_is_admin || state.admins.contains(&agent);
                Ok(Some(Caller::Agent { agent, is_admin }))
            }
            Err(Rejection::NoToken) => Ok(None),
            Err(rejection) => Err(rejection),
            Ok(other) => unreachable!("identify answered {other:?}"),
        }
    }

    /// By what name it speaks to others.
    pub(super) fn name(&self) -> Name {
        match self {
            Caller::Operator => Name::parse(OPERATOR).expect("a constant of ours is a name"),
            Caller::Agent { agent, .. } => agent.clone(),
        }
    }

    /// Whether the operator's routes are open.
    pub(super) fn admin(&self) -> Result<(), HttpError> {
        match self {
            Caller::Operator | Caller::Agent { is_admin: true, .. } => Ok(()),
            Caller::Agent { is_admin: false, .. } => Err(HttpError::AdminOnly),
        }
    }

    /// Whether what concerns one agent alone is open: to that agent, and to the operator.
    pub(super) fn admin_or(&self, agent: &str) -> Result<(), HttpError> {
        match self {
            Caller::Agent { agent: own, .. } if own.as_str() == agent => Ok(()),
            other => other.admin(),
        }
    }
}

/// A request whose token may stand in the query, too.
pub(super) struct KnownCaller(pub(super) Caller);

impl<D: DurableCalls> FromRequestParts<HttpState<D>> for KnownCaller {
    type Rejection = HttpError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState<D>,
    ) -> Result<Self, HttpError> {
        let caller = if parts.headers.contains_key(header::AUTHORIZATION) {
            Caller::of(&parts.headers, state).await?
        } else {
            let query = Query::<HashMap<String, String>>::try_from_uri(&parts.uri);
            match query.ok().and_then(|Query(mut query)| query.remove("token")) {
                Some(token) => Caller::with(&token, state).await?,
                None => None,
            }
        };
        let caller = caller.ok_or(HttpError::Unknown)?;
        limits::count(state, &caller, parts).await?;
        Ok(KnownCaller(caller))
    }
}

/// A request without a body, or with one that is ignored.
impl<D: DurableCalls> FromRequestParts<HttpState<D>> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState<D>,
    ) -> Result<Self, HttpError> {
        let caller = Caller::of(&parts.headers, state).await?;
        let caller = caller.ok_or(HttpError::Unauthorized { body_read: true })?;
        limits::count(state, &caller, parts).await?;
        Ok(caller)
    }
}
