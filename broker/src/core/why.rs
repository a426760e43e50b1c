//! Why is this task not being done? The half of [`Core`] that explains.

use std::cell::RefCell;

use super::Core;
use super::command::{Name, Rejection, Reply, TaskId, Why};
use super::record::{Asked, Phase, TaskRow};

impl Core {
    /// All that keeps a task where it is.
    pub(super) fn why(&self, id: TaskId, rows: &[TaskRow]) -> Result<Reply, Rejection> {
        let row = match self.tasks.get(id) {
            Some(task) => &task.row,
            None => self.over(id, rows)?,
        };
        let mut reasons = match &row.phase {
            Phase::Held => self.why_held(row),
            Phase::Scheduled(wait) => vec![Why::NotDue { due_ms: wait.due_ms() }],
            Phase::Ready => self.why_ready(row),
            Phase::Offered(holder) | Phase::Running(holder) => {
                vec![Why::HeldBy { agent: holder.agent.clone() }]
            }
            Phase::Parked => Vec::new(),
            Phase::Over(_) => vec![Why::Over],
        };
        let details = row.details();
        if details.cancelling.is_some() {
            reasons.push(Why::Stopping);
        }
        if let Some(parking) = &details.parking {
            let open = |asked: &&Asked| asked.answer.is_none() && parking.keys.contains(&asked.key);
            let open = details.questions.iter().filter(open);
            reasons.extend(open.map(|asked| Why::Unanswered { key: asked.key.clone() }));
            let tasks = self.children.of(id).len();
            if parking.children && tasks > 0 {
                reasons.push(Why::Children { tasks });
            }
        }
        Ok(Reply::Why { task: id, state: row.state(), reasons })
    }

    fn why_held(&self, row: &TaskRow) -> Vec<Why> {
        let edges = row.details().after.iter();
        let reasons = edges.map(|edge| match edge.is_blocked {
            true => Why::BlockedBy { task: edge.task },
            false => Why::WaitsFor { task: edge.task },
        });
        reasons.collect()
    }

    fn why_ready(&self, row: &TaskRow) -> Vec<Why> {
        let mut reasons = Vec::new();
        let name = &row.spec.queue;
        if let Some(queue) = self.queues.find(name) {
            if queue.settings.paused {
                reasons.push(Why::Paused { queue: name.clone() });
            }
            let leases = queue.counts.leased();
            if let Some(max) = queue.settings.leases_max.filter(|max| leases >= *max) {
                reasons.push(Why::QueueLimit { queue: name.clone(), leases, max });
            }
            if let (Some(rate), Some(reopens)) = (queue.settings.rate, queue.reopens) {
                reasons.push(Why::Rate {
                    queue: name.clone(),
                    grants: rate.grants,
                    period_ms: rate.period_ms,
                    wait_ms: reopens.0.saturating_sub(self.now.tick.0),
                });
            }
        }
        for limit in row.spec.limits.iter() {
            let leases = self.backlog.leases_under(&limit.name);
            if leases >= limit.max {
                let (name, max) = (limit.name.clone(), limit.max);
                reasons.push(Why::Limit { name, leases, max });
            }
        }
        for limit in row.spec.rates.iter() {
            if let Some(opens) = self.backlog.rate_opens(limit) {
                reasons.push(Why::NamedRate {
                    name: limit.name.clone(),
                    grants: limit.rate.grants,
                    period_ms: limit.rate.period_ms,
                    wait_ms: opens.0.saturating_sub(self.now.tick.0),
                });
            }
        }
        let Some(lane) = self.backlog.lane_of(row) else { return reasons };
        if let Some(window) = &row.details().window {
            let (agent, until_ms) = (window.agent.clone(), window.ends_ms());
            reasons.push(Why::ForOne { agent, until_ms });
        }
        let nobody = RefCell::default();
        let has_room = |agent: &Name| self.has_room(agent, lane, &nobody);
        let fitting = self.agents.census(self.eligible.profiles(lane.class), lane, has_room);
        reasons.push(match fitting.agents {
            0 => Why::NobodyFits { queue: name.clone() },
            _ => fitting.why(),
        });
        let tasks = lane.ahead_of(row);
        if tasks > 0 {
            reasons.push(Why::Behind { tasks });
        }
        reasons
    }
}
