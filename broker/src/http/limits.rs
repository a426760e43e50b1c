//! Who may ask how often: which route counts as what, and the routes by which an admin looks at
//! the limits and changes them (the contract's 2.9). What is set is kept as shared settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, State};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::{DurableCalls, HttpError, HttpState, config};
use crate::core::command::{Command, Name};
use crate::quota::{self, Action, Denial, Rate, Tier, Transport, Usage};
use crate::translate::rates;
use crate::translate::setting::{RATE_DEFAULTS, RATE_OVERRIDES, RATE_WHITELIST};

/// Whoever is shown one by one on a dashboard.
const SHOWN_MAX: usize = 1_000;
const OFFENDERS: usize = 3;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What a route counts as: for the agent whose token is shown, or for everybody from an address.
pub(super) fn action(method: &Method, route: &str) -> Option<Action> {
    let (light, normal) = (Action::Other(Tier::Light), Action::Other(Tier::Normal));
    match (method.as_str(), route) {
        ("GET", "/api/agents" | "/api/channels" | "/api/tasks" | "/api/metrics") => Some(light),
        ("GET", "/api/channels/{id}" | "/api/tasks/{id}") => Some(normal),
        (
            "POST",
            "/api/channels/{id}/subscribe"
            | "/api/channels/{id}/unsubscribe"
            | "/api/tasks/{id}/retry",
        ) => Some(normal),
        ("POST", "/api/message") => Some(Action::Message),
        ("POST", "/api/tasks") => Some(Action::TaskSubmit),
        ("POST", "/api/channels") => Some(Action::ChannelCreate),
        ("POST", "/api/channels/{id}/publish") => Some(Action::ChannelPublish),
        ("GET", "/api/mailbox/{id}") => Some(Action::MailboxPoll),
        ("POST", "/api/onboard/register") => Some(Action::Onboard),
        ("POST", "/api/admin/push-task") => Some(Action::Other(Tier::Heavy)),
        _ => None,
    }
}

/// What a frame of an agent counts as, and whether it may be denied: a task must not suffer.
pub(super) fn frame(kind: &str) -> (Action, bool) {
    let action = match kind {
        "ping" | "list_agents" | "list_channels" | "status" | "channel_history" => {
            Action::Other(Tier::Light)
        }
        "identify" => Action::Other(Tier::Heavy),
        "message" => Action::Message,
        "channel_publish" => Action::ChannelPublish,
        _ => Action::Other(Tier::Normal),
    };
    let is_about_a_task = kind.starts_with("task_") || kind == "state_report";
    (action, !is_about_a_task)
}

impl<D: DurableCalls> HttpState<D> {
    /// A request of a caller whom its token says. The operator is not limited.
    pub(super) async fn check_caller(
        &self,
        caller: &Caller,
        method: &Method,
        extensions: &Extensions,
    ) -> Result<(), HttpError> {
        let Caller::Agent { agent, .. } = caller else { return Ok(()) };
        let denied = self.check_route(&quota::agent(agent.as_str()), method, extensions).err();
        let Some((tier, denial)) = denied else { return Ok(()) };
        self.withhold(agent, denial).await;
        Err(HttpError::RateLimited { retry_after_ms: denial.retry_after_ms, tier: tier.as_str() })
    }

    /// A request of nobody in particular.
    fn check_address(&self, method: &Method, extensions: &Extensions) -> Result<(), HttpError> {
        let Some(Peer(address)) = extensions.get::<Peer>() else { return Ok(()) };
        let checked = self.check_route(&quota::address(*address), method, extensions);
        checked.map_err(|(tier, Denial { retry_after_ms, .. })| HttpError::RateLimited {
            retry_after_ms,
            tier: tier.as_str(),
        })
    }

    fn check_route(
        &self,
        identity: &str,
        method: &Method,
        extensions: &Extensions,
    ) -> Result<(), (Tier, Denial)> {
        let route = extensions.get::<MatchedPath>();
        let Some(action) = route.and_then(|route| action(method, route.as_str())) else {
            return Ok(());
        };
        let now = self.clock.tick();
        let taken = self.accounts.visitor(identity, Transport::Http, now).take(action, now);
        taken.map(drop).map_err(|denial| (action.tier(), denial))
    }

    /// Whoever asks too much gets no work for a while.
    pub(super) async fn withhold(&self, agent: &Name, denial: Denial) {
        if let Some(for_ms) = denial.withhold_ms {
            // A broker that cannot keep anything gives out no work either.
            let _ = self.durable.call(Command::Withhold { agent: agent.clone(), for_ms }).await;
        }
    }
}

/// What dashboards show of them.
pub(super) fn to_json<D>(state: &HttpState<D>) -> Value {
    let (accounts, now) = (&state.accounts, state.clock.tick());
    let usage = accounts.visitors(SHOWN_MAX, now);
    let exempt = accounts.exempt();
    let mut offenders: Vec<&Usage> = usage.iter().filter(|usage| usage.violations > 0).collect();
    offenders.sort_by_key(|usage| std::cmp::Reverse(usage.violations));
    let top = offenders.iter().take(OFFENDERS).map(|usage| {
        json!({"agent_id": usage.key, "violations": usage.violations, "rate_limited": true})
    });
    let per_agent: Map<String, Value> =
        usage.iter().map(|usage| (usage.key.clone(), shown(usage, &exempt))).collect();
    json!({
        "summary": {
            "total_violations_1h": accounts.denials(now),
            "active_rate_limited": offenders.len(),
            "exempt_count": exempt.len(),
            "top_offenders": top.collect::<Vec<Value>>(),
        },
        "per_agent": per_agent,
    })
}

fn shown(usage: &Usage, exempt: &BTreeSet<String>) -> Value {
    let door = |wanted: Transport| -> Map<String, Value> {
        let here = usage.remainders.iter().filter(|left| left.transport == wanted);
        let shown = here.map(|left| {
            #[allow(clippy::cast_precision_loss, reason = "numbers for people")]
            let (remaining, capacity) = (left.remaining as f64, left.capacity as f64);
            let used = 100.0 - remaining * 100.0 / capacity.max(1.0);
            let bucket = json!({"remaining": left.remaining, "capacity": capacity,
                "usage_pct": used.round()});
            (left.action.as_str().to_owned(), bucket)
        });
        shown.collect()
    };
    json!({
        "ws": door(Transport::Ws),
        "http": door(Transport::Http),
        "violations": {"consecutive": usage.violations, "total_in_window": usage.violations},
        "rate_limited": usage.violations > 0,
        "exempt": exempt.contains(&usage.key),
    })
}

/// `GET /api/admin/rate-limits`
pub(super) async fn show<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let accounts = &state.accounts;
    let defaults = accounts.rates().into_iter().map(|(action, rate)| {
        let shown = json!({"capacity": rate.capacity, "refill_rate_per_min": rate.per_minute});
        (action.as_str().to_owned(), shown)
    });
    let own = |tiers: BTreeMap<Tier, Rate>| -> Map<String, Value> {
        let shown = tiers.into_iter().map(|(tier, rate)| {
            // The hub's own units: thousandths of a token, and those in a millisecond.
            let (capacity, refill_rate) = (rate.capacity * 1_000.0, rate.per_minute / 60.0);
            (tier.as_str().to_owned(), json!({"capacity": capacity, "refill_rate": refill_rate}))
        });
        shown.collect()
    };
    let overrides = accounts.overrides().into_iter();
    let overrides = overrides.map(|(agent, tiers)| (agent, Value::Object(own(tiers))));
    let body = json!({
        "defaults": defaults.collect::<Map<String, Value>>(),
        "overrides": overrides.collect::<Map<String, Value>>(),
        "whitelist": accounts.exempt(),
    });
    Ok(reply(StatusCode::OK, &body))
}

/// `PUT /api/admin/rate-limits`: what everybody may do, by action or tier, in place of what is
/// configured. The body replaces what was set.
pub(super) async fn set_defaults<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let defaults = Value::Object(fields);
    let own = rates::defaults(&defaults);
    let own = own.map_err(|detail| HttpError::Setting("invalid_defaults", detail))?;
    let _changing = state.accounts.changing().await;
    config::set(&state, RATE_DEFAULTS, &defaults).await?;
    state.accounts.set_rates(own);
    Ok(reply(StatusCode::OK, &json!({"status": "updated", "defaults": defaults})))
}

/// `PUT /api/admin/rate-limits/:agent`
pub(super) async fn set<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(agent) = id.map_err(|_| HttpError::NotFound)?;
    let tiers = rates::tiers(&fields);
    let tiers = tiers.map_err(|detail| HttpError::Setting("invalid_overrides", detail))?;
    let own = tiers.keys().map(|tier| (tier.as_str().to_owned(), fields[tier.as_str()].clone()));
    let own: Map<String, Value> = own.collect();
    change_overrides(&state, |all| drop(all.insert(agent.clone(), Value::Object(own)))).await?;
    let body = json!({"status": "updated", "agent_id": agent, "overrides": fields});
    Ok(reply(StatusCode::OK, &body))
}

/// `DELETE /api/admin/rate-limits/:agent`
pub(super) async fn remove<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(agent) = id.map_err(|_| HttpError::NotFound)?;
    change_overrides(&state, |all| drop(all.remove(&agent))).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "removed", "agent_id": agent})))
}

async fn change_overrides<D: DurableCalls>(
    state: &HttpState<D>,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), HttpError> {
    let _changing = state.accounts.changing().await;
    let stored = config::get(state, RATE_OVERRIDES).await?;
    let mut all = stored.and_then(|stored| stored.as_object().cloned()).unwrap_or_default();
    change(&mut all);
    let all = Value::Object(all);
    config::set(state, RATE_OVERRIDES, &all).await?;
    if let Ok(overrides) = rates::overrides(&all) {
        state.accounts.set_overrides(overrides);
    }
    Ok(())
}

/// `GET /api/admin/rate-limits/whitelist`
pub(super) async fn whitelist<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let body = json!({"whitelist": state.accounts.exempt()});
    Ok(reply(StatusCode::OK, &body))
}

/// `PUT /api/admin/rate-limits/whitelist`
pub(super) async fn set_whitelist<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let names = rates::whitelist(fields.get("agent_ids").unwrap_or(&Value::Null));
    let names = names.map_err(|detail| HttpError::Setting("invalid_whitelist", detail))?;
    change_whitelist(&state, |all| all.clone_from(&names)).await?;
    Ok(reply(StatusCode::OK, &json!({"status": "updated", "whitelist": names})))
}

/// `POST /api/admin/rate-limits/whitelist`
pub(super) async fn add_to_whitelist<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    CallerBody(caller, fields): CallerBody,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let id = fields.get("agent_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let detail = || "agent_id must be a non-empty string".to_owned();
    let id = id.ok_or_else(|| HttpError::Setting("invalid_agent_id", detail()))?.to_owned();
    change_whitelist(&state, |all| {
        all.insert(id.clone());
    })
    .await?;
    Ok(reply(StatusCode::OK, &json!({"status": "added", "agent_id": id})))
}

/// `DELETE /api/admin/rate-limits/whitelist/:agent`
pub(super) async fn remove_from_whitelist<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    change_whitelist(&state, |all| {
        all.remove(&id);
    })
    .await?;
    Ok(reply(StatusCode::OK, &json!({"status": "removed", "agent_id": id})))
}

async fn change_whitelist<D: DurableCalls>(
    state: &HttpState<D>,
    change: impl FnOnce(&mut BTreeSet<String>),
) -> Result<(), HttpError> {
    let _changing = state.accounts.changing().await;
    let stored = config::get(state, RATE_WHITELIST).await?.unwrap_or_default();
    let mut all = rates::whitelist(&stored).unwrap_or_default();
    change(&mut all);
    config::set(state, RATE_WHITELIST, &json!(all)).await?;
    state.accounts.set_exempt(all);
    Ok(())
}

/// Count a request that nobody has to show a token for. Comes before the handler.
pub(super) async fn count_address<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Result<Response, HttpError> {
    const OPEN: [&str; 5] = [
        "/api/agents",
        "/api/channels",
        "/api/channels/{id}",
        "/api/metrics",
        "/api/onboard/register",
    ];
    let route = request.extensions().get::<MatchedPath>();
    let is_post_of_agent = route.is_some_and(|route| route.as_str() == "/api/channels")
        && request.method() != Method::GET;
    if route.is_some_and(|route| OPEN.contains(&route.as_str())) && !is_post_of_agent {
        state.check_address(request.method(), request.extensions())?;
    }
    Ok(next.run(request).await)
}

/// The same for whoever shows a token in the parts of a request.
pub(super) async fn count<D: DurableCalls>(
    state: &HttpState<D>,
    caller: &Caller,
    parts: &Parts,
) -> Result<(), HttpError> {
    state.check_caller(caller, &parts.method, &parts.extensions).await
}
