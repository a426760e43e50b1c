//! Who does what? The half of [`Core`] that grants (T9).

use std::sync::Arc;

use super::Core;
use super::agent::Agent;
use super::command::{Name, Now, Offer, Push, TaskId};
use super::lane::Lane;
use super::live::Due;
use super::park::answers_of;

impl Core {
    /// Give out all work that can be given out. Afterwards no ready task stands beside an idle
    /// agent that suits it. Only agents that began to idle and lanes that were empty or closed can
    /// make a new pair, so nothing else is looked at. Every agent takes the best that there is for
    /// it.
    pub(super) fn match_agents(&mut self, now: Now) {
        while let Some(agent) = self.agents.take_roused() {
            while self.agents.is_idle(&agent) && self.grant_best(&agent, now) {}
        }
        for id in std::mem::take(&mut self.filled) {
            let mut queue = None;
            while let Some(lane) = self.backlog.grantable(id) {
                queue = Some(lane.spec.queue.clone());
                let Some(agent) = self.agents.idle_for(lane, &self.eligible) else { break };
                if !self.grant_best(&agent, now) {
                    break;
                }
            }
            if let Some(queue) = queue {
                self.serve_takes(&queue, now);
            }
        }
    }

    /// Grant this idle agent what goes first among all that it could do, if there is anything.
    fn grant_best(&mut self, agent: &Name, now: Now) -> bool {
        let Some(profile) = self.agents.profile(agent) else { return false };
        let suits = |lane: &Lane| lane.excluded.binary_search(agent).is_err();
        let best = self.backlog.best(self.eligible.classes(profile), suits);
        best.inspect(|&task| self.grant(task, agent, now)).is_some()
    }

    /// T9. The grant is logged before the offer goes out, so a generation that an agent has seen
    /// is on disk and never given to another.
    fn grant(&mut self, id: TaskId, agent: &Name, now: Now) {
        let holder =
            self.agents.grant(agent, id, None).expect("only an agent that idles is matched");
        let session = self.agents.find(agent).and_then(Agent::session);
        self.change(id, now, |task, config, at| task.grant(holder, config.offer_ms, at));
        if let Some(session) = session {
            let push = Push::Offer(self.offer(id));
            self.deliver(session, push);
        }
    }

    /// What its holder is told of a leased task.
    pub(super) fn offer(&self, id: TaskId) -> Offer {
        let task = &self.tasks[id];
        let (row, details) = (&task.row, task.row.details());
        let lease_ms = row.spec.patience.lease_ms;
        let is_offered = task.timer(Due::Offer) != super::live::NEVER;
        Offer {
            task: id,
            generation: row.generation,
            queue: row.spec.queue.clone(),
            attempt: task.attempt(),
            offer_ms: if is_offered { self.config.offer_ms } else { 0 },
            lease_ms: row.holder().and_then(|holder| holder.fixed_ms).unwrap_or(lease_ms),
            progress_seq: details.progress_seq,
            checkpoint_seq: details.checkpoint_seq,
            answers: answers_of(row),
            payload: Arc::default(),
            checkpoint: None,
        }
    }
}
