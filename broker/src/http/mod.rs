//! The HTTP door: the routes, as a table, and what they share.
//!
//! A handler translates a request into a [`Command`] and the answer into JSON; it holds no rule of
//! the broker. What legacy clients see follows the contract of the hub that they were written for:
//! unknown paths and methods are 404, a body is read before anybody is asked for a token, and
//! every answer is JSON.
//!
//! ```text
//! serve.rs     accepts, limits, stops        body.rs      bytes -> JSON, before the token
//! patience.rs  cuts who is too slow          caller.rs    whose token it is, and what it opens
//! mod.rs       which route                   task_*.rs    JSON <-> Command and Reply
//! error.rs     every refusal -> status and body   form.rs   fields, and all their mistakes
//! agent/       the WebSocket of an agent        messages.rs, channels.rs   the same over REST
//! figures.rs, alerts.rs   what the board shows   dashboard/   the same for a browser, live
//! push.rs      which browsers are told
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
mod patience;
mod post_body;
mod push;
mod query;
mod quotas;
mod restore;
mod routed;
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
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};

use crate::board::Health;
use crate::commit::Figures;
use crate::config::Config;
use crate::core::command::{Command, Name, Rejection, Reply, SessionId};
use crate::durable::PushTo;
use crate::errand::Errands;
use crate::logging::Log;
use crate::lookout::Lookout;
use crate::monitor::Monitoring;
use crate::push::Push;
use crate::quota::Accounts;

pub use agent::{Cooldowns, Mistakes};
pub use dashboard::Snapshots;
pub use limits::RateLimits;
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
    /// Who may ask how often.
    pub limits: Arc<RateLimits>,
    /// What identities may have and do over TCP.
    pub accounts: Arc<Accounts>,
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

/// Every route. Literal segments win over parameters; a segment is percent-decoded after it was
/// cut out, so `a%2Fb` is one.
fn routes<D: DurableCalls>(state: HttpState<D>) -> Router {
    Router::new()
        .route("/health", get(handlers::health))
        .route("/metrics", get(monitor::metrics))
        .route("/varz", get(monitor::server))
        .route("/connz", get(monitor::connections))
        .route("/subsz", get(monitor::subscriptions))
        .route("/healthz", get(monitor::alive))
        .route("/readyz", get(monitor::ready))
        .route("/api/onboard/register", post(tokens::register))
        .route("/admin/tokens", get(tokens::list).post(tokens::issue))
        .route("/admin/tokens/{id}", delete(tokens::revoke))
        .route("/api/admin/agents/{id}/reset-token", post(tokens::reset))
        .route("/ws", get(agent::open))
        .route("/api/admin/agents/{id}/restart", post(commands::restart))
        .route("/api/admin/push-task", post(commands::push_task))
        .route("/api/message", post(messages::send))
        .route("/api/messages", get(messages::history))
        .route("/api/mailbox/evict", post(messages::evict))
        .route("/api/mailbox/{id}", get(messages::poll))
        .route("/api/mailbox/{id}/ack", post(messages::ack))
        .route("/api/threads/{id}", get(messages::thread))
        .route("/api/threads/{id}/replies", get(messages::replies))
        .route("/api/threads/{id}/root", get(messages::root))
        .route("/api/channels", get(channels::list).post(channels::create))
        .route("/api/channels/{id}", get(channels::show))
        .route("/api/channels/{id}/subscribe", post(channels::subscribe))
        .route("/api/channels/{id}/unsubscribe", post(channels::unsubscribe))
        .route("/api/channels/{id}/publish", post(channels::publish))
        .route("/api/channels/{id}/history", get(channels::history))
        .route("/api/agents", get(handlers::agents))
        .route("/api/agents/states", get(handlers::agent_states))
        .route("/api/agents/{id}/state", get(handlers::agent_state))
        .route("/api/agents/{id}/subscriptions", get(channels::of_agent))
        .route("/api/config/heartbeat-interval", get(config::heartbeat).put(config::set_heartbeat))
        .route("/api/config/mailbox-retention", get(config::retention).put(config::set_retention))
        .route("/api/config/default-repo", get(config::repo).put(config::set_repo))
        .route("/api/config/alert-thresholds", get(config::thresholds).put(config::set_thresholds))
        .route("/api/tasks", get(task_list::list).post(handlers::submit_task))
        .route("/api/tasks/dead-letter", get(task_list::dead))
        .route("/api/tasks/stats", get(figures::stats))
        .route("/api/analytics/summary", get(figures::summary))
        .route("/api/analytics/agents", get(figures::agents))
        .route("/api/analytics/agents/{id}/hourly", get(figures::hourly))
        .route("/api/metrics", get(figures::metrics))
        .route("/api/admin/backups/{name}/restore", post(restore::everything))
        .route("/api/admin/restore/{table}", post(restore::table))
        .route("/api/admin/quotas", get(quotas::show).put(quotas::set))
        .route("/api/admin/reset", post(restore::reset))
        .route("/api/alerts", get(alerts::list))
        .route("/api/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/api/admin/alerts", get(alerts::history))
        .route("/api/schemas", get(schemas::show))
        .route("/api/dashboard/state", get(dashboard::state))
        .route("/ws/dashboard", get(dashboard::open))
        .route("/dashboard", get(dashboard::page))
        .route("/dashboard/style.css", get(dashboard::style))
        .route("/dashboard/app.js", get(dashboard::app))
        .route("/dashboard/connection.js", get(dashboard::connection))
        .route("/dashboard/view.js", get(dashboard::view))
        .route("/dashboard/push.js", get(dashboard::push))
        .route("/sw.js", get(dashboard::worker))
        .route("/api/dashboard/vapid-key", get(push::key))
        .route("/api/dashboard/push-subscribe", post(push::subscribe))
        .route("/api/tasks/{id}", get(handlers::show_task))
        .route("/api/tasks/{id}/retry", post(handlers::retry_task))
        .route("/api/tasks/{id}/cancel", post(handlers::cancel_task))
        .route("/api/admin/backup", post(upkeep::create))
        .route("/api/admin/backups", get(upkeep::list))
        .route("/api/admin/backups/{id}/verify", post(upkeep::verify))
        .route("/api/admin/log-level", put(log_level::set))
        .route("/api/admin/dets-health", get(upkeep::health))
        .route("/api/admin/store-health", get(upkeep::health))
        .route("/api/admin/compact", post(upkeep::compact))
        .route("/api/admin/compact/{id}", post(upkeep::compact_table))
        .route("/api/admin/rate-limits", get(limits::show).put(limits::set_defaults))
        .route(
            "/api/admin/rate-limits/whitelist",
            get(limits::whitelist).put(limits::set_whitelist).post(limits::add_to_whitelist),
        )
        .route("/api/admin/rate-limits/whitelist/{id}", delete(limits::remove_from_whitelist))
        .route("/api/admin/rate-limits/{id}", put(limits::set).delete(limits::remove))
        .route_layer(from_fn_with_state(state.clone(), limits::count_address))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::not_found)
        .with_state(state)
}

#[cfg(test)]
mod tests;
