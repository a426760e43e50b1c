//! Everything that the dashboard shows, at one moment: the contract's 5.2.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use hashbrown::HashMap;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::board::rules::Thresholds;
use crate::board::{AgentDigest, Completion, Digest, Health, Levels};
use crate::core::command::{
    Command, List, Name, PresenceView, Reply, State as TaskState, TaskView,
};
use crate::core::record::Shelf;
use crate::http::error::reply;
use crate::http::handlers::{present, unix_ms};
use crate::http::{DurableCalls, HttpError, HttpState, alerts, figures, limits, task_view, upkeep};

/// Tasks of a kind in one snapshot, the oldest ones: what fits on a screen.
const TASKS_MAX: usize = 100;
/// Time between snapshots. One second: everybody may ask for one, and each reads some hundred tasks.
const FRESH: Duration = Duration::from_secs(1);

/// The newest snapshot, for all who ask at the same time.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<Option<(Instant, Arc<Value>)>>);

/// `GET /api/dashboard/state`: for everybody.
pub(in crate::http) async fn state<D: DurableCalls>(
    State(state): State<HttpState<D>>,
) -> Result<Response, HttpError> {
    let now = Instant::now();
    let since = now.checked_sub(FRESH).unwrap_or(now);
    Ok(reply(StatusCode::OK, &*newest(&state, since).await?))
}

/// A snapshot that has everything that happened before `since`. There is one in [`FRESH`] at most:
/// whoever wants a newer one waits for it, together with all others.
pub(super) async fn newest<D: DurableCalls>(
    state: &HttpState<D>,
    since: Instant,
) -> Result<Arc<Value>, HttpError> {
    let mut newest = state.snapshots.0.lock().await;
    if let Some((begun, snapshot)) = &*newest {
        if *begun >= since {
            return Ok(Arc::clone(snapshot));
        }
        sleep_until(*begun + FRESH).await;
    }
    let begun = Instant::now();
    let snapshot = Arc::new(take(state).await?);
    *newest = Some((begun, Arc::clone(&snapshot)));
    Ok(snapshot)
}

async fn take<D: DurableCalls>(state: &HttpState<D>) -> Result<Value, HttpError> {
    let now_ms = unix_ms();
    let digest = state.lookout.new_digest();
    let counts = (state.figures)();
    let queued: u64 = counts.queued.iter().sum();
    let health = health(state, &digest).await;
    let stores = upkeep::summary(state).await;
    let mut snapshot = json!({
        "uptime_ms": now_ms.saturating_sub(digest.started_ms),
        "timestamp": now_ms,
        "health": {"status": health.as_str(), "conditions": health.conditions},
        "agents": agents(&present(state).await?, &digest),
        "queue": {
            "by_status": {
                "queued": queued,
                "assigned": counts.tasks_open.saturating_sub(queued),
                "completed": digest.ever.completed,
            },
            "by_priority": figures::by_priority(&counts.queued),
            "dead_letter": counts.tasks_dead,
        },
        "queued_tasks": queued_tasks(state).await?,
        "dead_letter_tasks": dead_tasks(state).await?,
        "throughput": {
            "completed_last_hour": digest.of_hour.completed,
            "avg_completion_ms": digest.latency_of_hour.mean,
            "total_tokens_hour": 0,
        },
        "compaction_history": stores["compaction_history"],
        "dets_health": stores,
        "validation": state.mistakes.to_json(now_ms),
        "active_alerts": alerts::active(state),
        "rate_limits": limits::to_json(state),
        "routing_stats": state.routed.to_json(),
    });
    let mut completions = Vec::with_capacity(digest.completions.len());
    let mut tokens = 0_u64;
    for completion in &digest.completions {
        let shown = completed_task(state, completion).await?;
        if completion.at_ms + 3_600_000 > now_ms {
            // The numbers are the agents' own.
            tokens = tokens.saturating_add(shown["tokens_used"].as_u64().unwrap_or(0));
        }
        completions.push(shown);
    }
    snapshot["recent_completions"] = completions.into();
    snapshot["throughput"]["total_tokens_hour"] = tokens.into();
    for (key, shape) in later_products(digest.started_ms) {
        snapshot[key] = shape;
    }
    Ok(snapshot)
}

/// How all is.
pub(in crate::http) async fn health<D: DurableCalls>(
    state: &HttpState<D>,
    digest: &Digest,
) -> Health {
    let now_ms = unix_ms();
    let silent_ms = Thresholds::default().stuck_task_ms;
    let facts = state.lookout.look(|board| board.facts(now_ms, silent_ms, Levels::default()));
    let absent = digest.agents.iter().filter(|agent| is_absent(agent));
    let absent: Vec<&str> = absent.map(|agent| agent.agent.as_str()).collect();
    let mut health =
        Health::of(&facts, &absent, state.mistakes.of_hour(now_ms), task_view::legacy_id);
    health.conditions.extend(upkeep::conditions(state).await);
    health
}

/// Shapes of products of the hub that this broker does not have: the contract's class B.
fn later_products(started_ms: u64) -> [(&'static str, Value); 6] {
    let spent = json!({"executing": 0, "improving": 0, "contemplating": 0, "total": 0});
    [
        ("llm_registry", json!({"endpoints": [], "resources": {}, "fleet_models": {}})),
        ("repo_registry", json!({"repos": []})),
        (
            "hub_fsm",
            json!({"fsm_state": "resting", "paused": false, "cycle_count": 0,
                "transition_count": 0, "last_state_change": started_ms}),
        ),
        ("goal_stats", json!({"by_status": {}, "by_priority": {}, "total": 0})),
        ("active_goals", json!([])),
        ("cost_stats", json!({"hourly": spent, "daily": spent, "session": spent, "budgets": {}})),
    ]
}

/// Whether an agent was here once, and is not any more.
fn is_absent(agent: &AgentDigest) -> bool {
    agent.connections > 0 && agent.connected_ms.is_none()
}

/// Who is here, and whoever has a task through another door.
fn agents(present: &[PresenceView], digest: &Digest) -> Vec<Value> {
    let mut present: HashMap<&Name, &PresenceView> =
        present.iter().map(|view| (&view.agent, view)).collect();
    let shown = |digest: Option<&AgentDigest>, view: Option<&PresenceView>, agent: &Name| {
        let capabilities = view.map_or(&[][..], |view| &view.profile.capabilities);
        let capabilities: Vec<Value> =
            capabilities.iter().map(|name| json!({ "name": **name })).collect();
        json!({
            "agent_id": agent.as_str(),
            "name": view.map_or(Some(agent.as_str()), |view| view.profile.name.as_deref()),
            "fsm_state": digest.map_or("idle", figures::fsm_state),
            "current_task_id": digest.and_then(|digest| digest.task).map(task_view::legacy_id),
            "capabilities": capabilities,
            "connected_at": view.map(|view| view.connected_ms),
            "last_state_change": digest.map(|digest| digest.changed_ms),
            "status": view.and_then(|view| view.profile.status.as_deref()),
        })
    };
    let mut agents = Vec::new();
    for known in &digest.agents {
        let view = present.remove(&known.agent);
        if view.is_some() || known.tasks > 0 {
            agents.push(shown(Some(known), view, &known.agent));
        }
    }
    agents.extend(present.into_values().map(|view| shown(None, Some(view), &view.agent)));
    agents
}

/// The oldest tasks that nobody has yet.
async fn queued_tasks<D: DurableCalls>(state: &HttpState<D>) -> Result<Vec<Value>, HttpError> {
    let mut tasks = Vec::new();
    for wanted in [TaskState::Held, TaskState::Scheduled, TaskState::Ready] {
        tasks.extend(oldest(state, Shelf::Open, Some(wanted)).await?);
    }
    tasks.sort_unstable_by_key(|view| view.task);
    let shown = tasks.iter().take(TASKS_MAX).map(|view| {
        let task = task_view::legacy(view);
        json!({
            "id": task["id"],
            "description": task["description"],
            "priority": task["priority"],
            "submitted_by": task["submitted_by"],
            "created_at": task["created_at"],
            "complexity_tier": task["complexity"]["effective_tier"],
        })
    });
    Ok(shown.collect())
}

/// The oldest dead letters.
async fn dead_tasks<D: DurableCalls>(state: &HttpState<D>) -> Result<Vec<Value>, HttpError> {
    let tasks = oldest(state, Shelf::Dead, None).await?;
    let shown = tasks.iter().map(|view| {
        let task = task_view::legacy(view);
        json!({
            "id": task["id"],
            "description": task["description"],
            "last_error": task["last_error"],
            "retry_count": task["retry_count"],
            "created_at": task["created_at"],
        })
    });
    Ok(shown.collect())
}

async fn oldest<D: DurableCalls>(
    state: &HttpState<D>,
    shelf: Shelf,
    wanted: Option<TaskState>,
) -> Result<Vec<TaskView>, HttpError> {
    let page = List { has_bodies: true, state: wanted, ..List::of(shelf, TASKS_MAX) };
    match state.durable.call(Command::List(page)).await? {
        Reply::Listed { tasks, .. } => Ok(tasks),
        other => unreachable!("a list answered {other:?}"),
    }
}

/// A completed task; little is left to say of one that is not kept any more.
async fn completed_task<D: DurableCalls>(
    state: &HttpState<D>,
    completion: &Completion,
) -> Result<Value, HttpError> {
    let task = match state.durable.call(Command::Show { task: completion.task }).await {
        Ok(Reply::Task(view)) if view.state == TaskState::Completed => task_view::legacy(&view),
        _ => Value::Null,
    };
    let result = &task["result"];
    let meta = result.get("model_used").map(|_| {
        let keys = ["model_used", "tokens_in", "tokens_out", "estimated_cost_usd"];
        let more = ["equivalent_claude_cost_usd", "execution_ms"];
        let kept = keys.into_iter().chain(more).map(|key| (key.to_owned(), result[key].clone()));
        Value::Object(kept.collect())
    });
    Ok(json!({
        "task_id": task_view::legacy_id(completion.task),
        "agent_id": completion.agent.as_ref().map(|agent| agent.as_str()),
        "description": task["description"],
        "duration_ms": completion.duration_ms,
        "tokens_used": task["tokens_used"].as_u64().unwrap_or(0),
        "completed_at": completion.at_ms,
        "verification_report": task["verification_report"],
        "routing_decision": task["routing_decision"],
        "execution_meta": meta,
    }))
}
