//! Figures of the last hour and day: the contract's 2.7. Everything is read off the
//! board; nothing is counted here.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::error::reply;
use super::handlers::unix_ms;
use super::{DurableCalls, HttpError, HttpState, upkeep};
use crate::board::{AgentDigest, Digest, Latency, Outcomes};
use crate::core::command::{Command, List, Name, Reply, State as TaskState};
use crate::core::record::Shelf;
use crate::translate::alert::tenths;

/// An agent that did nothing for so long is idle: five minutes.
const ACTIVE_MS: u64 = 300_000;
const HOUR_MS: u64 = 3_600_000;
/// Completed tasks that are counted one by one. 100,000: a third of a second of reading; whoever
/// keeps more sees this number.
const COMPLETED_MAX: usize = 100_000;
/// Of these at once.
const COMPLETED_PAGE: usize = 1_000;

/// `GET /api/tasks/stats`: how many tasks stand where.
pub(super) async fn stats<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    _: Caller,
) -> Result<Response, HttpError> {
    let figures = (state.figures)();
    let queued: u64 = figures.queued.iter().sum();
    let assigned = figures.tasks_open.saturating_sub(queued);
    let completed = completed(&state).await? as u64;
    let by_status = [("queued", queued), ("assigned", assigned), ("completed", completed)];
    let by_status = by_status.into_iter().filter(|(_, count)| *count > 0);
    let by_status: Map<String, Value> =
        by_status.map(|(status, count)| (status.to_owned(), count.into())).collect();
    let by_priority = by_priority(&figures.queued).into_iter().filter(|(_, count)| *count != 0);
    let by_priority: Map<String, Value> = by_priority.collect();
    let body = json!({"by_status": by_status, "by_priority": by_priority,
        "dead_letter": figures.tasks_dead, "queued_index_size": queued});
    Ok(reply(StatusCode::OK, &body))
}

/// Queued tasks under the numbers of their priorities.
pub(super) fn by_priority(queued: &[u64]) -> Map<String, Value> {
    let numbered = queued.iter().enumerate();
    numbered.map(|(band, count)| (band.to_string(), (*count).into())).collect()
}

/// Completed tasks that are kept, up to [`COMPLETED_MAX`].
async fn completed<D: DurableCalls>(state: &HttpState<D>) -> Result<usize, HttpError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = List::of(Shelf::Done, COMPLETED_PAGE);
        let page = List { after, state: Some(TaskState::Completed), ..page };
        let Reply::Listed { tasks, next } = state.durable.call(Command::List(page)).await? else {
            unreachable!("a list is a list")
        };
        count += tasks.len();
        after = next;
        if after.is_none() || count >= COMPLETED_MAX {
            return Ok(count.min(COMPLETED_MAX));
        }
    }
}

/// `GET /api/analytics/summary`: how many agents there are. For everybody.
pub(super) async fn summary<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    let digest = state.lookout.digest();
    let count = |wanted: &str| {
        let of_status = digest.agents.iter().filter(|agent| status(agent, digest.at_ms) == wanted);
        of_status.count()
    };
    let messages: u64 = digest.agents.iter().map(|agent| agent.sent_of_day).sum();
    let body = json!({
        "total_agents": digest.agents.len(),
        "agents_connected": digest.agents.len() - count("offline"),
        "agents_active": count("active"),
        "agents_idle": count("idle"),
        "agents_offline": count("offline"),
        "total_messages_24h": messages,
        "timestamp": digest.at_ms,
    });
    reply(StatusCode::OK, &body)
}

/// `GET /api/analytics/agents`: each of them. For everybody.
pub(super) async fn agents<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    let digest = state.lookout.digest();
    let stats = |agent: &AgentDigest| {
        json!({
            "agent_id": agent.agent.as_str(),
            "connected": agent.connected_ms.is_some(),
            "idle_ms": digest.at_ms.saturating_sub(agent.active_ms),
            "status": status(agent, digest.at_ms),
            "messages_sent_24h": agent.sent_of_day,
            "messages_received_24h": agent.received_of_day,
            "messages_sent_this_hour": agent.sent_of_hour,
            "connection_time_24h_ms": agent.connected_ms_of_day,
            "last_active": agent.active_ms,
            "last_seen": agent.left_ms,
            "total_connections": agent.connections,
        })
    };
    let agents: Vec<Value> = digest.agents.iter().map(stats).collect();
    reply(StatusCode::OK, &json!({ "agents": agents }))
}

fn status(agent: &AgentDigest, now_ms: u64) -> &'static str {
    match agent.connected_ms {
        None => "offline",
        Some(_) if now_ms.saturating_sub(agent.active_ms) < ACTIVE_MS => "active",
        Some(_) => "idle",
    }
}

/// `GET /api/analytics/agents/:id/hourly`: the messages of one of them, hour by hour. For
/// everybody.
pub(super) async fn hourly<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, HttpError> {
    let Path(id) = id.map_err(|_| HttpError::NotFound)?;
    let now_ms = unix_ms();
    let agent = Name::parse(&id).ok();
    let seen = state.lookout.look(|board| {
        agent.as_ref().and_then(|agent| board.agents().get(agent)).cloned().unwrap_or_default()
    });
    let sent = seen.sent.buckets(now_ms).zip(seen.received.buckets(now_ms));
    let hourly = sent.map(|((bucket, sent), (_, received))| {
        let hour = format!("{:02}:00", bucket / HOUR_MS % 24);
        json!({"bucket": bucket, "hour": hour, "sent": sent, "received": received})
    });
    let hourly: Vec<Value> = hourly.collect();
    Ok(reply(StatusCode::OK, &json!({"agent_id": id, "hourly": hourly})))
}

/// `GET /api/metrics`: queue, latency, agents and failures. For everybody.
pub(super) async fn metrics<D: DurableCalls>(State(state): State<HttpState<D>>) -> Response {
    let queued = (state.figures)().queued.iter().sum();
    let mut body = measured(&state.lookout.digest(), queued);
    body["window_ms"] = HOUR_MS.into();
    body["dets_health"] = upkeep::summary(&state).await;
    reply(StatusCode::OK, &body)
}

/// The figures of the contract's 6.8 that change all the time, if so many tasks wait now.
#[allow(clippy::cast_precision_loss, reason = "averages and shares for people")]
pub(super) fn measured(digest: &Digest, queued: u64) -> Value {
    let depths = &digest.depths;
    let average = match depths.len() {
        0 => queued as f64,
        len => depths.iter().sum::<u64>() as f64 / len as f64,
    };
    let here = digest.agents.iter().filter(|agent| agent.connected_ms.is_some());
    let online = here.clone().count();
    let at_work = here.filter(|agent| agent.tasks > 0).count();
    let shown = digest.agents.iter().filter(|agent| is_shown(agent));
    let latency = |latency: Latency| json!({"p50": latency.p50, "p90": latency.p90, "p99": latency.p99, "count": latency.count});
    let mut window = latency(digest.latency_of_hour);
    window["min"] = digest.latency_of_hour.min.into();
    window["max"] = digest.latency_of_hour.max.into();
    window["mean"] = digest.latency_of_hour.mean.into();
    let utilization = share(at_work as u64, online as u64);
    json!({
        "timestamp": digest.at_ms,
        "queue_depth": {
            "current": queued,
            "trend": depths,
            "max_1h": depths.iter().copied().max().unwrap_or(0).max(queued),
            "avg_1h": tenths(average),
        },
        "task_latency": {"window": window, "cumulative": latency(digest.latency_ever)},
        "agent_utilization": {
            "system": {
                "total_agents": digest.agents.len(),
                "agents_online": online,
                "agents_idle": online - at_work,
                "agents_working": at_work,
                "utilization_pct": utilization,
            },
            "per_agent": shown.map(utilized).collect::<Vec<Value>>(),
        },
        "error_rates": {"window": errors(digest.of_hour), "cumulative": errors(digest.ever)},
    })
}

/// Whether an agent is one of those that are listed one by one.
pub(super) fn is_shown(agent: &AgentDigest) -> bool {
    agent.connected_ms.is_some() || agent.tasks > 0
}

/// What an agent is doing, in the words of the hub.
pub(super) fn fsm_state(agent: &AgentDigest) -> &'static str {
    match (agent.tasks, agent.running) {
        (0, _) => "idle",
        (_, 0) => "assigned",
        _ => "working",
    }
}

fn utilized(agent: &AgentDigest) -> Value {
    let working = share(agent.busy_ms_of_hour, HOUR_MS);
    let average = agent.completed_ms_of_hour.checked_div(agent.completed_of_hour);
    json!({
        "agent_id": agent.agent.as_str(),
        "state": fsm_state(agent),
        "idle_pct_1h": tenths(100.0 - working),
        "working_pct_1h": working,
        "blocked_pct_1h": 0.0,
        "tasks_completed_1h": agent.completed_of_hour,
        "avg_task_duration_ms": average.unwrap_or(0),
    })
}

fn errors(outcomes: Outcomes) -> Value {
    json!({
        "total_tasks": outcomes.total(),
        "failed": outcomes.failed,
        "dead_letter": outcomes.dead,
        "failure_rate_pct": tenths(outcomes.failure_pct()),
    })
}

/// A part of a whole, in per cent with one decimal.
#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => tenths(part.min(whole) as f64 * 100.0 / whole as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(connected_ms: Option<u64>, tasks: u64, running: u64) -> AgentDigest {
        AgentDigest {
            agent: Name::parse("ada").unwrap(),
            connected_ms,
            left_ms: None,
            active_ms: 1_000_000,
            connections: 1,
            sent_of_day: 0,
            sent_of_hour: 0,
            received_of_day: 0,
            connected_ms_of_day: 0,
            tasks,
            running,
            task: None,
            changed_ms: 0,
            busy_ms_of_hour: HOUR_MS / 3,
            completed_of_hour: 0,
            completed_ms_of_hour: 0,
        }
    }

    #[test]
    fn an_agent_is_idle_after_five_minutes_and_offline_at_once() {
        assert_eq!(status(&agent(Some(1), 0, 0), 1_000_000 + ACTIVE_MS - 1), "active");
        assert_eq!(status(&agent(Some(1), 0, 0), 1_000_000 + ACTIVE_MS), "idle");
        assert_eq!(status(&agent(None, 0, 0), 1_000_000), "offline");
    }

    #[test]
    fn an_agent_that_has_a_task_works_once_it_accepted_it() {
        assert_eq!(fsm_state(&agent(Some(1), 0, 0)), "idle");
        assert_eq!(fsm_state(&agent(Some(1), 1, 0)), "assigned");
        assert_eq!(fsm_state(&agent(Some(1), 2, 1)), "working");
        let shown = utilized(&agent(Some(1), 1, 1));
        assert_eq!((&shown["working_pct_1h"], &shown["idle_pct_1h"]), (&33.3.into(), &66.7.into()));
        assert_eq!(shown["avg_task_duration_ms"], 0);
    }
}
