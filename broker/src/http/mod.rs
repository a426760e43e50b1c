//! The HTTP door: the routes, as a table, and what they share.
//!
//! A handler translates a request into a [`Command`] and the answer into JSON; it holds no rule of
//! the broker. What legacy clients see follows the contract of the hub that they were written for:
//! unknown paths and methods are 404, a body is read before anybody is asked for a token, and
//! every answer is JSON.
//!
//! ```text
//! serve.rs     accepts, limits, stops        body.rs      bytes -> JSON, before the token
//! patience.rs  cuts who is too slow          task_*.rs    JSON <-> Command and Reply
//! mod.rs       which route                   error.rs     every refusal -> status and body
//! ```

mod body;
mod error;
mod handlers;
mod patience;
mod serve;
mod task_body;
mod task_view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};

use crate::config::Config;
use crate::core::command::{Command, Rejection, Reply};

pub use serve::serve;

use error::HttpError;

/// The durable plane, as a door sees it: ask, and hear once the answer is on disk.
pub trait DurableCalls: Clone + Send + Sync + 'static {
    /// Ask `command` of the core. Resolves when what it changed is durable.
    fn call(&self, command: Command) -> impl Future<Output = Result<Reply, Rejection>> + Send;
}

/// The settings that this door goes by.
#[derive(Clone, Copy, Debug)]
pub struct HttpSettings {
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// Largest payload of a task, in bytes.
    pub payload_bytes_max: usize,
    /// From the first byte of a request to the end of its headers.
    pub header: Duration,
    /// For a body to arrive, and for a response to be read.
    pub body: Duration,
    /// How long an idle connection stays open.
    pub idle: Duration,
}

impl From<&Config> for HttpSettings {
    fn from(config: &Config) -> Self {
        Self {
            connections_max: config.limits.http_connections_max,
            payload_bytes_max: config.limits.payload_bytes_max,
            header: config.timeouts.http_header,
            body: config.timeouts.http_body,
            idle: config.timeouts.http_idle,
        }
    }
}

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct HttpState<D> {
    /// Where commands go.
    pub durable: D,
    /// Whether a token opens the routes that need one. Must take the same time for every token.
    pub admits: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// How many agents are connected now.
    pub agents_connected: Arc<dyn Fn() -> usize + Send + Sync>,
    /// What is counted, in the text format of Prometheus.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The settings.
    pub settings: HttpSettings,
}

impl<D> HttpState<D> {
    /// Whether `headers` carry a token that opens this door.
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| (self.admits)(token.trim()))
    }
}

impl<D> fmt::Debug for HttpState<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpState").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Every route. Literal segments win over parameters; a segment is percent-decoded after it was
/// cut out, so `a%2Fb` is one.
fn routes<D: DurableCalls>(state: HttpState<D>) -> Router {
    Router::new()
        .route("/health", get(handlers::health))
        .route("/metrics", get(handlers::metrics))
        .route("/api/tasks", post(handlers::submit_task))
        .route("/api/tasks/{id}", get(handlers::show_task))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::not_found)
        .with_state(state)
}

#[cfg(test)]
mod tests;
