//! Who may ask how often: which route counts as what, and the routes by which an admin looks at
//! the limits and changes them (the contract's 2.9). What is set is kept as shared settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, State};
use axum::http::request::Parts;
use axum::http::{Extensions, Method, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tracing::warn;

use super::body::CallerBody;
use super::caller::Caller;
use super::error::reply;
use super::handlers::unix_ms;
use super::{DurableCalls, HttpError, HttpState, config};
use crate::limiter::{Action, Limiter, Quota, Subject, Tier, Transport, Usage, Verdict};
use crate::translate::rates;
use crate::translate::setting::{RATE_DEFAULTS, RATE_OVERRIDES, RATE_WHITELIST};

/// Whoever is shown one by one on a dashboard.
const SHOWN_MAX: usize = 1_000;
const OFFENDERS: usize = 3;

/// The limits that all connections share; and what is held by whoever changes a setting, or takes
/// over what is set: two changes of one must not overwrite each other, nor what was read first be
/// taken over last.
#[derive(Debug)]
pub struct RateLimits(Mutex<Limiter>, tokio::sync::Mutex<()>);

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

impl RateLimits {
    /// Limits with these quotas, which remember so many buckets.
    #[must_use]
    pub fn new(quotas: BTreeMap<Action, Quota>, buckets_max: usize) -> RateLimits {
        RateLimits(Mutex::new(Limiter::new(quotas, buckets_max)), tokio::sync::Mutex::default())
    }

    /// Buckets that are remembered now.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.0.lock().buckets()
    }

    /// Somebody does something.
    pub(super) fn check(&self, subject: &Subject, transport: Transport, action: Action) -> Verdict {
        self.0.lock().check(subject, transport, action, unix_ms())
    }

    /// A request of a caller whom its token says. The operator is not limited.
    pub(super) fn check_caller(
        &self,
        caller: &Caller,
        method: &Method,
        extensions: &Extensions,
    ) -> Result<(), HttpError> {
        match caller {
            Caller::Operator => Ok(()),
            Caller::Agent { agent, .. } => {
                self.check_route(&Subject::Agent(agent.clone()), method, extensions)
            }
        }
    }

    /// A request of nobody in particular.
    pub(super) fn check_address(
        &self,
        method: &Method,
        extensions: &Extensions,
    ) -> Result<(), HttpError> {
        match extensions.get::<Peer>() {
            Some(Peer(address)) => {
                self.check_route(&Subject::Address(*address), method, extensions)
            }
            None => Ok(()),
        }
    }

    fn check_route(
        &self,
        subject: &Subject,
        method: &Method,
        extensions: &Extensions,
    ) -> Result<(), HttpError> {
        let route = extensions.get::<MatchedPath>();
        let Some(action) = route.and_then(|route| action(method, route.as_str())) else {
            return Ok(());
        };
        match self.check(subject, Transport::Http, action) {
            Verdict::Allowed | Verdict::Warned { .. } => Ok(()),
            Verdict::Denied { retry_after_ms } => {
                Err(HttpError::RateLimited { retry_after_ms, tier: action.tier().as_str() })
            }
        }
    }

    /// What dashboards show of them.
    pub(super) fn to_json(&self) -> Value {
        let now_ms = unix_ms();
        let limiter = self.0.lock();
        let usage = limiter.usage(SHOWN_MAX, now_ms);
        let exempt = limiter.exempt().clone();
        let violations = limiter.violations_of_hour(now_ms);
        drop(limiter);
        let mut offenders: Vec<&Usage> =
            usage.iter().filter(|usage| usage.violations > 0).collect();
        offenders.sort_by_key(|usage| std::cmp::Reverse(usage.violations));
        let top = offenders.iter().take(OFFENDERS).map(|usage| {
            json!({"agent_id": usage.subject.key(), "violations": usage.violations,
                "rate_limited": true})
        });
        let per_agent: Map<String, Value> =
            usage.iter().map(|usage| (usage.subject.key(), shown(usage, &exempt))).collect();
        json!({
            "summary": {
                "total_violations_1h": violations,
                "active_rate_limited": offenders.len(),
                "exempt_count": exempt.len(),
                "top_offenders": top.collect::<Vec<Value>>(),
            },
            "per_agent": per_agent,
        })
    }
}

fn shown(usage: &Usage, exempt: &BTreeSet<String>) -> Value {
    let door = |wanted: Transport| -> Map<String, Value> {
        let buckets = usage.buckets.iter().filter(|(transport, ..)| *transport == wanted);
        let shown = buckets.map(|(_, action, left, capacity)| {
            #[allow(clippy::cast_precision_loss, reason = "a share for people")]
            let used = 100.0 - (*left as f64) * 100.0 / capacity.max(1.0);
            let bucket =
                json!({"remaining": left, "capacity": capacity, "usage_pct": used.round()});
            (action.as_str().to_owned(), bucket)
        });
        shown.collect()
    };
    json!({
        "ws": door(Transport::Ws),
        "http": door(Transport::Http),
        "violations": {"consecutive": usage.violations, "total_in_window": usage.violations},
        "rate_limited": usage.violations > 0,
        "exempt": exempt.contains(&usage.subject.key()),
    })
}

/// Take over what is set.
///
/// # Errors
/// [`HttpError`] if the settings cannot be had.
pub(super) async fn load<D: DurableCalls>(state: &HttpState<D>) -> Result<(), HttpError> {
    let _changing = state.limits.1.lock().await;
    let overrides = config::get(state, RATE_OVERRIDES).await?.unwrap_or_default();
    let whitelist = config::get(state, RATE_WHITELIST).await?.unwrap_or_default();
    let defaults = config::get(state, RATE_DEFAULTS).await?.unwrap_or_default();
    let mut limiter = state.limits.0.lock();
    for (setting, outcome) in [
        (RATE_DEFAULTS, rates::defaults(&defaults).map(|own| limiter.set_defaults(own))),
        (RATE_OVERRIDES, rates::overrides(&overrides).map(|own| limiter.set_overrides(own))),
        (RATE_WHITELIST, rates::whitelist(&whitelist).map(|all| limiter.set_exempt(all))),
    ] {
        if let Err(sentence) = outcome {
            warn!(setting, %sentence, "a shared setting makes no sense; what it said before counts");
        }
    }
    Ok(())
}

/// Take over what is set whenever something is, for ever: over these routes, or by any other door.
pub async fn follow<D: DurableCalls>(state: HttpState<D>, mut set: watch::Receiver<u64>) {
    while set.changed().await.is_ok() {
        // What cannot be read now is read after the next change.
        let _ = load(&state).await;
    }
}

/// `GET /api/admin/rate-limits`
pub(super) async fn show<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let limiter = state.limits.0.lock();
    let defaults: Map<String, Value> = limiter
        .defaults()
        .iter()
        .map(|(action, quota)| {
            let shown =
                json!({"capacity": quota.capacity, "refill_rate_per_min": quota.per_minute});
            (action.as_str().to_owned(), shown)
        })
        .collect();
    let own = |tiers: &BTreeMap<Tier, Quota>| -> Map<String, Value> {
        let shown = tiers.iter().map(|(tier, quota)| {
            // The hub's own units: thousandths of a token, and those in a millisecond.
            let (capacity, rate) = (quota.capacity * 1_000.0, quota.per_minute / 60.0);
            (tier.as_str().to_owned(), json!({"capacity": capacity, "refill_rate": rate}))
        });
        shown.collect()
    };
    let overrides: Map<String, Value> = limiter
        .overrides()
        .iter()
        .map(|(agent, tiers)| (agent.clone(), Value::Object(own(tiers))))
        .collect();
    let body = json!({"defaults": defaults, "overrides": overrides, "whitelist": limiter.exempt()});
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
    let _changing = state.limits.1.lock().await;
    config::set(&state, RATE_DEFAULTS, &defaults).await?;
    state.limits.0.lock().set_defaults(own);
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
    let _changing = state.limits.1.lock().await;
    let stored = config::get(state, RATE_OVERRIDES).await?;
    let mut all = stored.and_then(|stored| stored.as_object().cloned()).unwrap_or_default();
    change(&mut all);
    let all = Value::Object(all);
    config::set(state, RATE_OVERRIDES, &all).await?;
    if let Ok(overrides) = rates::overrides(&all) {
        state.limits.0.lock().set_overrides(overrides);
    }
    Ok(())
}

/// `GET /api/admin/rate-limits/whitelist`
pub(super) async fn whitelist<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    caller: Caller,
) -> Result<Response, HttpError> {
    caller.admin()?;
    let body = json!({"whitelist": state.limits.0.lock().exempt()});
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
    let _changing = state.limits.1.lock().await;
    let stored = config::get(state, RATE_WHITELIST).await?.unwrap_or_default();
    let mut all = rates::whitelist(&stored).unwrap_or_default();
    change(&mut all);
    config::set(state, RATE_WHITELIST, &json!(all)).await?;
    state.limits.0.lock().set_exempt(all);
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
        state.limits.check_address(request.method(), request.extensions())?;
    }
    Ok(next.run(request).await)
}

/// The same for whoever shows a token in the parts of a request.
pub(super) fn count<D>(
    state: &HttpState<D>,
    caller: &Caller,
    parts: &Parts,
) -> Result<(), HttpError> {
    state.limits.check_caller(caller, &parts.method, &parts.extensions)
}
