//! Every route of this door: what answers it, who may ask, and what for. The router and the document
//! of `GET /api/openapi.json` are made of the same lines.

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, on};

use super::schemas::Field;
use super::{
    DurableCalls, HttpState, agent, alerts, channels, commands, config, dashboard, figures,
    handlers, limits, log_level, messages, monitor, openapi, push, quotas, restore, risk, schemas,
    task_list, tokens, upkeep,
};

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Whoever has a token.
    Token,
    /// The same; the token may stand in the query, too.
    TokenInQuery,
    /// The agent that it is about, and admins.
    Own,
    /// Admins.
    Admin,
}

/// What there is to know of a route beside its path and what answers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Who may ask.
    pub(super) access: Access,
    /// What for: a sentence.
    pub(super) summary: &'static str,
    /// Parameters of the query.
    pub(super) query: &'static [Field],
    /// The status when all went well.
    pub(super) status: StatusCode,
    /// The media type then; `None` without a body.
    pub(super) media: Option<&'static str>,
    /// It takes an object whose fields are not listed in [`schemas::BODIES`].
    pub(super) takes_any: bool,
}

const JSON: &str = "application/json";

impl About {
    const fn new(access: Access, summary: &'static str) -> About {
        About {
            access,
            summary,
            query: &[],
            status: StatusCode::OK,
            media: Some(JSON),
            takes_any: false,
        }
    }

    const fn query(mut self, query: &'static [Field]) -> About {
        self.query = query;
        self
    }

    const fn created(mut self) -> About {
        self.status = StatusCode::CREATED;
        self
    }

    const fn gives(mut self, media: &'static str) -> About {
        self.media = Some(media);
        self
    }

    const fn switches(mut self) -> About {
        self.status = StatusCode::SWITCHING_PROTOCOLS;
        self.media = None;
        self
    }

    const fn takes_any(mut self) -> About {
        self.takes_any = true;
        self
    }
}

const fn public(summary: &'static str) -> About {
    About::new(Access::Public, summary)
}

const fn token(summary: &'static str) -> About {
    About::new(Access::Token, summary)
}

const fn token_in_query(summary: &'static str) -> About {
    About::new(Access::TokenInQuery, summary)
}

const fn own(summary: &'static str) -> About {
    About::new(Access::Own, summary)
}

const fn admin(summary: &'static str) -> About {
    About::new(Access::Admin, summary)
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Its method.
    pub(super) method: Method,
    /// Its path, with parameters in braces.
    pub(super) path: &'static str,
    /// What else there is to know.
    pub(super) about: About,
}

/// All lines, and the router that they make.
pub(super) struct Table<D> {
    pub(super) router: Router<HttpState<D>>,
    pub(super) routes: Vec<Route>,
}

impl<D: DurableCalls> Table<D> {
    fn on<T: 'static>(
        mut self,
        method: Method,
        path: &'static str,
        handler: impl Handler<T, HttpState<D>>,
        about: About,
    ) -> Table<D> {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        self.router = self.router.route(path, on(filter, handler));
        self.routes.push(Route { method, path, about });
        self
    }

    fn get<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, HttpState<D>>,
        about: About,
    ) -> Table<D> {
        self.on(Method::GET, path, handler, about)
    }

    fn post<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, HttpState<D>>,
        about: About,
    ) -> Table<D> {
        self.on(Method::POST, path, handler, about)
    }

    fn put<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, HttpState<D>>,
        about: About,
    ) -> Table<D> {
        self.on(Method::PUT, path, handler, about)
    }

    fn delete<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, HttpState<D>>,
        about: About,
    ) -> Table<D> {
        self.on(Method::DELETE, path, handler, about)
    }
}

const SCRIPT: &str = "text/javascript";

/// Every route. Literal segments win over parameters; a segment is percent-decoded after it was
/// cut out, so `a%2Fb` is one.
pub(super) fn table<D: DurableCalls>() -> Table<D> {
    Table { router: Router::new(), routes: Vec::new() }
        .get(
            "/health",
            handlers::health,
            public("Whether the broker serves, and how many agents are here"),
        )
        .get("/healthz", monitor::alive, public("Whether the process is alive"))
        .get(
            "/readyz",
            monitor::ready,
            public("Whether durable requests and connections are taken in"),
        )
        .get(
            "/metrics",
            monitor::metrics,
            admin("Counters and histograms for Prometheus").gives("text/plain"),
        )
        .get("/varz", monitor::server, admin("The broker as a whole, in the words of NATS"))
        .get(
            "/connz",
            monitor::connections,
            admin("The connections over TCP, in the words of NATS").query(&[
                ("cid", "integer"),
                ("offset", "integer"),
                ("limit", "integer"),
                ("subs", "string"),
            ]),
        )
        .get(
            "/subsz",
            monitor::subscriptions,
            admin("How much is subscribed to, in the words of NATS"),
        )
        .get(
            "/ws",
            agent::open,
            public("The WebSocket of an agent; its token is in the first frame").switches(),
        )
        .get("/api/schemas", schemas::show, public("What may be sent in frames and bodies"))
        .get("/api/openapi.json", openapi::show::<D>, public("This document"))
        .post(
            "/api/onboard/register",
            tokens::register,
            public("Register an agent, and get its first token").created(),
        )
        .get("/admin/tokens", tokens::list, admin("Whose tokens there are, and how each begins"))
        .post("/admin/tokens", tokens::issue, own("Issue a token for an agent").created())
        .delete("/admin/tokens/{id}", tokens::revoke, own("Revoke all tokens of an agent"))
        .post(
            "/api/admin/agents/{id}/reset-token",
            tokens::reset,
            own("Issue a token in place of all others of an agent").created(),
        )
        .post(
            "/api/admin/agents/{id}/restart",
            commands::restart,
            admin("Tell an agent to restart").takes_any(),
        )
        .post(
            "/api/admin/push-task",
            commands::push_task,
            admin("Give a task to one agent that is here"),
        )
        .get("/api/agents", handlers::agents, public("The agents that are here"))
        .get("/api/agents/states", handlers::agent_states, token("What all agents do"))
        .get("/api/agents/{id}/state", handlers::agent_state, token("What an agent does"))
        .get(
            "/api/agents/{id}/subscriptions",
            channels::of_agent,
            public("The channels that an agent is subscribed to"),
        )
        .post("/api/message", messages::send, token("Send a message to an agent or to all"))
        .get(
            "/api/messages",
            messages::history,
            token_in_query("The history of messages").query(&[
                ("cursor", "integer"),
                ("limit", "integer"),
                ("start_time", "integer"),
                ("end_time", "integer"),
                ("from", "string"),
                ("to", "string"),
                ("channel", "string"),
            ]),
        )
        .post(
            "/api/mailbox/evict",
            messages::evict,
            admin("Drop what waited in mailboxes for too long"),
        )
        .get(
            "/api/mailbox/{id}",
            messages::poll,
            token_in_query("What waits in the agent's own mailbox").query(&[("since", "integer")]),
        )
        .post(
            "/api/mailbox/{id}/ack",
            messages::ack,
            token("Drop what was read of the agent's own mailbox"),
        )
        .get(
            "/api/threads/{id}",
            messages::thread,
            token_in_query("A message, and all that answers it"),
        )
        .get(
            "/api/threads/{id}/replies",
            messages::replies,
            token_in_query("What answers a message"),
        )
        .get(
            "/api/threads/{id}/root",
            messages::root,
            token_in_query("The message that a thread began with"),
        )
        .get("/api/channels", channels::list, public("All channels"))
        .post("/api/channels", channels::create, token("Make a channel").created())
        .get("/api/channels/{id}", channels::show, public("A channel and its subscribers"))
        .post("/api/channels/{id}/subscribe", channels::subscribe, token("Subscribe to a channel"))
        .post(
            "/api/channels/{id}/unsubscribe",
            channels::unsubscribe,
            token("End the subscription to a channel"),
        )
        .post("/api/channels/{id}/publish", channels::publish, token("Send a message to a channel"))
        .get(
            "/api/channels/{id}/history",
            channels::history,
            public("What was said in a channel")
                .query(&[("limit", "integer"), ("since", "integer")]),
        )
        .get(
            "/api/config/heartbeat-interval",
            config::heartbeat,
            token_in_query("How often agents are advised to say that they are there"),
        )
        .put(
            "/api/config/heartbeat-interval",
            config::set_heartbeat,
            admin("Set how often agents are advised to say that they are there"),
        )
        .get(
            "/api/config/mailbox-retention",
            config::retention,
            token_in_query("How long messages wait in mailboxes"),
        )
        .put(
            "/api/config/mailbox-retention",
            config::set_retention,
            admin("Set how long messages wait in mailboxes"),
        )
        .get(
            "/api/config/default-repo",
            config::repo,
            public("The repository that new agents are told"),
        )
        .put(
            "/api/config/default-repo",
            config::set_repo,
            admin("Set the repository that new agents are told"),
        )
        .get("/api/config/alert-thresholds", config::thresholds, token("When alerts fire"))
        .put(
            "/api/config/alert-thresholds",
            config::set_thresholds,
            admin("Set when alerts fire").takes_any(),
        )
        .get(
            "/api/tasks",
            task_list::list,
            token("Tasks, the oldest first").query(&[
                ("status", "string"),
                ("priority", "string"),
                ("assigned_to", "string"),
                ("goal_id", "string"),
            ]),
        )
        .post("/api/tasks", handlers::submit_task, token("Submit a task").created())
        .get("/api/tasks/dead-letter", task_list::dead, token("The dead letters"))
        .get("/api/tasks/stats", figures::stats, token("How many tasks there are of each kind"))
        .get("/api/tasks/{id}", handlers::show_task, token("A task"))
        .post("/api/tasks/{id}/retry", handlers::retry_task, token("Try a dead letter again"))
        .post("/api/tasks/{id}/cancel", handlers::cancel_task, token("Call a task off"))
        .post(
            "/api/tasks/{id}/classify",
            risk::classify,
            token("How risky what came of a task looks").takes_any(),
        )
        .get("/api/analytics/summary", figures::summary, public("What the agents did lately"))
        .get("/api/analytics/agents", figures::agents, public("What each agent did lately"))
        .get(
            "/api/analytics/agents/{id}/hourly",
            figures::hourly,
            public("What an agent did in each hour of a day"),
        )
        .get("/api/metrics", figures::metrics, public("Figures of queue, tasks, agents and errors"))
        .get("/api/alerts", alerts::list, public("The alerts that are active"))
        .post(
            "/api/alerts/{id}/acknowledge",
            alerts::acknowledge,
            admin("Say that somebody knows of an alert"),
        )
        .get(
            "/api/admin/alerts",
            alerts::history,
            admin("The alerts that are active, and those that were"),
        )
        .post("/api/admin/backup", upkeep::create, admin("Make a backup"))
        .get("/api/admin/backups", upkeep::list, admin("The backups, the newest first"))
        .post("/api/admin/backups/{id}/verify", upkeep::verify, admin("Read a backup back"))
        .post(
            "/api/admin/backups/{id}/restore",
            restore::everything,
            admin("Put a backup in place of everything, and start again").takes_any(),
        )
        .post(
            "/api/admin/restore/{id}",
            restore::table,
            admin("Put a table of the newest backup in place, and start again").takes_any(),
        )
        .post("/api/admin/reset", restore::reset, admin("Start the services again").takes_any())
        .get("/api/admin/dets-health", upkeep::health, admin("How the tables are"))
        .get("/api/admin/store-health", upkeep::health, admin("How the tables are"))
        .post(
            "/api/admin/compact",
            upkeep::compact,
            admin("Give back the room of what was deleted"),
        )
        .post(
            "/api/admin/compact/{id}",
            upkeep::compact_table,
            admin("Give back the room of what was deleted from a table"),
        )
        .put(
            "/api/admin/log-level",
            log_level::set,
            admin("Set which log lines are written, until the next start").takes_any(),
        )
        .get("/api/admin/rate-limits", limits::show, admin("How often agents may ask"))
        .put(
            "/api/admin/rate-limits",
            limits::set_defaults,
            admin("Set how often everybody may ask").takes_any(),
        )
        .get("/api/admin/rate-limits/whitelist", limits::whitelist, admin("Who is not limited"))
        .put(
            "/api/admin/rate-limits/whitelist",
            limits::set_whitelist,
            admin("Set who is not limited").takes_any(),
        )
        .post(
            "/api/admin/rate-limits/whitelist",
            limits::add_to_whitelist,
            admin("Limit somebody no more").takes_any(),
        )
        .delete(
            "/api/admin/rate-limits/whitelist/{id}",
            limits::remove_from_whitelist,
            admin("Limit somebody again"),
        )
        .put(
            "/api/admin/rate-limits/{id}",
            limits::set,
            admin("Set how often an agent may ask").takes_any(),
        )
        .delete(
            "/api/admin/rate-limits/{id}",
            limits::remove,
            admin("Let an agent ask as often as others"),
        )
        .get(
            "/api/admin/quotas",
            quotas::show,
            admin("What one identity may have and do over TCP, and who has how much"),
        )
        .put(
            "/api/admin/quotas",
            quotas::set,
            admin("Set what some identities may have and do over TCP").takes_any(),
        )
        .get("/dashboard", dashboard::page, public("The page for people").gives("text/html"))
        .get(
            "/dashboard/style.css",
            dashboard::style,
            public("A part of the page").gives("text/css"),
        )
        .get("/dashboard/app.js", dashboard::app, public("A part of the page").gives(SCRIPT))
        .get(
            "/dashboard/connection.js",
            dashboard::connection,
            public("A part of the page").gives(SCRIPT),
        )
        .get("/dashboard/view.js", dashboard::view, public("A part of the page").gives(SCRIPT))
        .get("/dashboard/push.js", dashboard::push, public("A part of the page").gives(SCRIPT))
        .get(
            "/sw.js",
            dashboard::worker,
            public("What shows push messages in browsers").gives("application/javascript"),
        )
        .get("/ws/dashboard", dashboard::open, public("The WebSocket of the page").switches())
        .get("/api/dashboard/state", dashboard::state, public("All that the page shows"))
        .get(
            "/api/dashboard/vapid-key",
            push::key,
            public("The key that browsers subscribe to notifications for"),
        )
        .post(
            "/api/dashboard/push-subscribe",
            push::subscribe,
            admin("Tell a browser what went wrong: its subscription, as it writes it"),
        )
}
