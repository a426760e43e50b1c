//! Who an agent is, and when it takes work.

use axum::extract::ws::close_code;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{AgentSocket, End, REPORT_WITHIN, Step};
use crate::core::command::{
    Attach, Command, Generation, Join, MessageCommand, Name, Profile, Reply, TaskId,
};
use crate::http::DurableCalls;
use crate::http::caller::Caller;
use crate::quota::{self, Transport};

impl<D: DurableCalls> AgentSocket<D> {
    pub(super) async fn identify(&mut self, fields: &Map<String, Value>) -> Step {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let named = text("agent_id").and_then(|id| Name::parse(id).ok());
        let cooldowns = &self.state.cooldowns;
        if let Some(seconds) = named.and_then(|name| cooldowns.left(&name, Instant::now())) {
            let reason = format!("cooldown active: retry in {seconds}s");
            return Err(End::Close(close_code::POLICY, reason.into()));
        }
        let shown = text("token").unwrap_or_default();
        let agent = match Caller::with(shown, &self.state).await {
            Ok(Some(Caller::Agent { agent, .. })) => agent,
            Ok(Some(Caller::Operator)) => return self.refuse("token_agent_mismatch").await,
            Ok(None) => return self.refuse("invalid_token").await,
            Err(rejection) => return self.decline(&rejection).await,
        };
        if text("agent_id") != Some(agent.as_str()) {
            return self.refuse("token_agent_mismatch").await;
        }
        let (profile, names) = profile(&agent, fields);
        let join = Join { session: self.session, agent: agent.clone(), profile };
        let command = Command::Message(Box::new(MessageCommand::Join(join)));
        if let Err(rejection) = self.ask(command).await {
            return self.decline(&rejection).await;
        }
        self.pushes = None;
        if self.agent.as_ref() != Some(&agent) {
            self.is_attached = false;
        }
        let (accounts, now) = (&self.state.accounts, self.state.clock.tick());
        self.visitor = Some(accounts.visitor(&quota::agent(agent.as_str()), Transport::Ws, now));
        (self.agent, self.capabilities) = (Some(agent.clone()), names);
        self.say(&json!({"type": "identified", "agent_id": agent.as_str()})).await?;
        if self.is_attached {
            // It only says something else of itself.
            return self.attach(self.tasks.iter().map(|(id, at)| (*id, *at)).collect()).await;
        }
        match self.ask(Command::Holds { agent }).await {
            Ok(Reply::Holding(leases)) => self.tasks = leases.into_iter().collect(),
            Ok(other) => unreachable!("leases were asked for: {other:?}"),
            Err(rejection) => return self.decline(&rejection).await,
        }
        if self.tasks.is_empty() {
            return self.attach(Vec::new()).await;
        }
        // It came back in the middle of something, and will say so in a moment.
        self.attach_at = Some(Instant::now() + REPORT_WITHIN);
        Ok(())
    }

    /// Take work, and go on with what is held.
    pub(super) async fn attach(&mut self, holding: Vec<(TaskId, Generation)>) -> Step {
        let Some(agent) = self.agent.clone() else { return Ok(()) };
        self.attach_at = None;
        let command = Command::Attach(Attach {
            session: self.session,
            identity: format!("agent {agent}").into(),
            agent,
            capabilities: self.capabilities.clone(),
            labels: Vec::new(),
            capacity: Vec::new(),
            queues: Vec::new(),
            credit: 1,
            holding,
        });
        match self.ask(command).await {
            Ok(Reply::Attached { continued, .. }) => {
                self.is_attached = true;
                self.tasks =
                    continued.into_iter().map(|lease| (lease.task, lease.generation)).collect();
                Ok(())
            }
            Ok(other) => unreachable!("attach answered {other:?}"),
            Err(rejection) => self.decline(&rejection).await,
        }
    }

    /// Take work now, unless that is done already.
    pub(super) async fn attach_now(&mut self, holding: Vec<(TaskId, Generation)>) -> Step {
        if self.attach_at.is_some() { self.attach(holding).await } else { Ok(()) }
    }
}

/// What an agent says of itself, and what of its capabilities tasks could need.
fn profile(agent: &Name, fields: &Map<String, Value>) -> (Profile, Vec<Name>) {
    let listed = fields.get("capabilities").and_then(Value::as_array);
    let texts: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    // What is no name is nothing that a task could need.
    let mut names: Vec<Name> = texts.iter().filter_map(|text| Name::parse(text).ok()).collect();
    names.sort_unstable();
    names.dedup();
    // Whoever says nothing is called by its id and connected; null is null.
    let or = |name: &str, default: &str| match fields.get(name) {
        None => Some(default.into()),
        Some(value) => value.as_str().map(Into::into),
    };
    let profile = Profile {
        name: or("name", agent.as_str()),
        status: or("status", "connected"),
        capabilities: texts.into_iter().map(Into::into).collect(),
    };
    (profile, names)
}
