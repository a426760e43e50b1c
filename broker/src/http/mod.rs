//! The HTTP door: what its routes share.
//!
//! A handler translates a request into a [`Command`] and the answer into JSON; it holds no rule of
//! the broker. What legacy clients see follows the contract of the hub that they were written for:
//! unknown paths and methods are 404, a body is read before anybody is asked for a token, and
//! every answer is JSON.
//!
//! ```text
//! serve.rs     accepts, limits, stops        body.rs      bytes -> JSON, before the token
//! patience.rs  cuts who is too slow          caller.rs    whose token it is, and what it opens
//! routes.rs    which route                   task_*.rs    JSON <-> Command and Reply
//! error.rs     every refusal -> status and body   form.rs   fields, and all their mistakes
//! agent/       the WebSocket of an agent        messages.rs, channels.rs   the same over REST
//! figures.rs, alerts.rs   what the board shows   dashboard/   the same for a browser, live
//! push.rs      which browsers are told        schemas.rs, openapi.rs   what may be sent here
//! ```

mod agent;
mod alerts;
mod body;
mod caller;
mod channels;
mod commands;
mod config;
mod dashboard;
mod error;
mod figures;
mod form;
mod handlers;
mod limits;
mod log_level;
mod messages;
mod monitor;
mod openapi;
mod patience;
mod post_body;
mod push;
mod query;
mod quotas;
mod request_id;
mod restore;
mod risk;
mod routed;
mod routes;
mod schemas;
mod serve;
mod task_body;
mod task_list;
mod task_view;
mod tier;
mod tokens;
mod upkeep;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use crate::board::Health;
use crate::commit::Figures;
use crate::config::Config;
use crate::core::command::{Command, Name, Rejection, Reply, SessionId};
use crate::durable::PushTo;
use crate::errand::Errands;
use crate::logging::Log;
use crate::lookout::Lookout;
use crate::monitor::Monitoring;
use crate::net::Clock;
use crate::push::Push;
use crate::quota::Accounts;

pub use agent::{Cooldowns, Mistakes};
pub use dashboard::Snapshots;
pub use routed::Routed;
pub use serve::serve;

use error::HttpError;

/// The durable plane, as a door sees it: ask, and hear once the answer is on disk.
pub trait DurableCalls: Clone + Send + Sync + 'static {
    /// Ask `command` of the core. Resolves when what it changed is durable.
    fn call(&self, command: Command) -> impl Future<Output = Result<Reply, Rejection>> + Send;

    /// The number of a new session, which ends with [`DurableCalls::leave`].
    fn open(&self) -> SessionId;

    /// [`DurableCalls::call`] on behalf of a session; what is pushed because of it goes to
    /// `push_to`.
    fn ask(
        &self,
        session: SessionId,
        command: Command,
        push_to: Option<PushTo>,
    ) -> impl Future<Output = Result<Reply, Rejection>> + Send;

    /// A session is over.
    fn leave(&self, session: SessionId);
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
    /// Every token opens what is for the operator.
    pub any_token_is_admin: bool,
    /// How long a task may wait for an agent; zero: for ever.
    pub task_ttl: Duration,
}

impl From<&Config> for HttpSettings {
    fn from(config: &Config) -> Self {
        Self {
            connections_max: config.limits.http_connections_max,
            payload_bytes_max: config.limits.payload_bytes_max,
            header: config.timeouts.http_header,
            body: config.timeouts.http_body,
            idle: config.timeouts.http_idle,
            any_token_is_admin: config.legacy.any_token_is_admin,
            task_ttl: config.legacy.task_ttl,
        }
    }
}

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct HttpState<D> {
    /// Where commands go.
    pub durable: D,
    /// Whether a token is the operator's. Must take the same time for every token.
    pub admits: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Agents to whom what is for the operator is open, too.
    pub admins: Arc<[Name]>,
    /// Agents that were cut off for wrong frames.
    pub cooldowns: Arc<Cooldowns>,
    /// What identities may have and do.
    pub accounts: Arc<Accounts>,
    /// That of the accounts.
    pub clock: Clock,
    /// What was wrong with frames of agents.
    pub mistakes: Arc<Mistakes>,
    /// How tasks were routed that went to legacy agents.
    pub routed: Arc<Routed>,
    /// Where figures and events come from.
    pub lookout: Arc<Lookout>,
    /// The newest picture for dashboards.
    pub snapshots: Arc<Snapshots>,
    /// What the commit loop counts.
    pub figures: Arc<dyn Fn() -> Figures + Send + Sync>,
    /// How many agents are connected now.
    pub agents_connected: Arc<dyn Fn() -> usize + Send + Sync>,
    /// Where what needs a restart is handed in.
    pub errands: Errands,
    /// Who is told on their devices what went wrong.
    pub push: Arc<Push>,
    /// What the broker says of itself.
    pub monitor: Arc<dyn Monitoring>,
    /// Where log lines go.
    pub log: Log,
    /// The settings.
    pub settings: HttpSettings,
}

impl<D> fmt::Debug for HttpState<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpState").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How all is, as the dashboard says it.
pub async fn health<D: DurableCalls>(state: &HttpState<D>) -> Health {
    dashboard::health(state, &state.lookout.digest()).await
}

/// The table of routes, with what all of them share.
fn routes<D: DurableCalls>(state: HttpState<D>) -> Router {
    routes::table()
        .router
        .route_layer(from_fn_with_state(state.clone(), limits::count_address))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::not_found)
        .layer(from_fn(request_id::number))
        .with_state(state)
}

#[cfg(test)]
mod tests;
