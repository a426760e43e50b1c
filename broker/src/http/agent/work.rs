//! What an agent says of its tasks.

use serde_json::{Map, Value, json};

use super::{AgentSocket, Step};
use crate::core::command::{
    Action, Command, Generation, Name, Rejection, Reply, Retry, State as TaskState, TaskId,
    TaskView,
};
use crate::http::DurableCalls;
use crate::http::form::{Form, too_long};
use crate::http::task_view::parse_id;

/// Longest error of a failed task, in characters; the rest is cut off.
const ERROR_CHARS_MAX: usize = 2_000;

impl<D: DurableCalls> AgentSocket<D> {
    pub(super) async fn serve_task(
        &mut self,
        agent: Name,
        kind: &str,
        fields: &Map<String, Value>,
    ) -> Step {
        let shown = fields["task_id"].as_str().unwrap_or_default().to_owned();
        let task = parse_id(&shown);
        match kind {
            "task_accepted" => {
                if let Some((task, generation)) = task.and_then(|task| self.held(task)) {
                    // The contract acknowledges whatever becomes of it.
                    let _ = self.operate(task, generation, Action::Accept).await;
                }
                self.say(&json!({"type": "task_ack", "task_id": shown, "status": "accepted"})).await
            }
            "task_progress" | "wake_result" => {
                if let Some((task, generation)) = task.and_then(|task| self.held(task)) {
                    let data = Value::Object(fields.clone()).to_string().into_bytes().into();
                    let action = Action::Progress { seq: None, data };
                    let _ = self.operate(task, generation, action).await;
                }
                Ok(())
            }
            "task_rejected" => {
                if let Some((task, generation)) = task.and_then(|task| self.held(task)) {
                    let reason = fields.get("reason").and_then(Value::as_str).unwrap_or("rejected");
                    let reason = cut(reason).into();
                    let action = Action::Decline { reason, retry_after_ms: Some(1_000) };
                    let _ = self.operate(task, generation, action).await;
                    self.tasks.remove(&task);
                }
                Ok(())
            }
            "task_complete" => self.complete(task, &shown, fields).await,
            "task_failed" => self.fail(task, &shown, fields).await,
            "task_recovering" => self.recover(&agent, task, &shown).await,
            _ => self.report(task, &shown, fields).await,
        }
    }

    async fn complete(
        &mut self,
        task: Option<TaskId>,
        shown: &str,
        fields: &Map<String, Value>,
    ) -> Step {
        const OUTCOME: [&str; 3] = ["tokens_used", "verification_report", "verification_history"];
        let mut result = fields.get("result").cloned().unwrap_or_default();
        if result.is_null() && OUTCOME.iter().any(|key| fields.contains_key(*key)) {
            result = json!({});
        }
        if let Some(result) = result.as_object_mut() {
            // What else the frame says of the outcome is kept with it.
            for key in OUTCOME {
                if let Some(value) = fields.get(key).filter(|value| !value.is_null()) {
                    result.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
        let bytes = result.to_string().into_bytes();
        let max = self.state.settings.payload_bytes_max;
        if bytes.len() > max {
            let mut form = Form::new(fields);
            let detail = too_long(max, "bytes");
            form.refuse("result", "too_long", detail, None);
            return self.violate("task_complete", form.into_errors()).await;
        }
        let action = Action::Complete { result: bytes.into() };
        let outcome = self.end(task, fields, action).await;
        match outcome {
            Ok(_) => {
                let body = json!({"type": "task_ack", "task_id": shown, "status": "complete"});
                self.say(&body).await
            }
            Err(rejection) => self.decline_end("task_complete_failed", &rejection).await,
        }
    }

    async fn fail(
        &mut self,
        task: Option<TaskId>,
        shown: &str,
        fields: &Map<String, Value>,
    ) -> Step {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let error = text("error").or(text("reason")).unwrap_or("unknown");
        let action = Action::Fail { error: cut(error).into(), retry: Retry::In(0) };
        match self.end(task, fields, action).await {
            Ok(state) => {
                let status = if state == TaskState::Dead { "dead_letter" } else { "retried" };
                self.say(&json!({"type": "task_ack", "task_id": shown, "status": status})).await
            }
            Err(rejection) => self.decline_end("task_fail_failed", &rejection).await,
        }
    }

    /// The attempt is over, one way or the other.
    async fn end(
        &mut self,
        task: Option<TaskId>,
        fields: &Map<String, Value>,
        action: Action,
    ) -> Result<TaskState, Rejection> {
        let task = task.ok_or(Rejection::NotFound { task: TaskId(0) })?;
        let generation = fields["generation"].as_u64();
        let generation = Generation(generation.unwrap_or(0));
        let reply = self.operate(task, generation, action).await?;
        self.tasks.remove(&task);
        match reply {
            Reply::Done { state, .. } => Ok(state),
            other => unreachable!("an end answered {other:?}"),
        }
    }

    async fn decline_end(&mut self, what: &str, rejection: &Rejection) -> Step {
        let reason = match rejection {
            Rejection::NotFound { .. } | Rejection::Gone { .. } => "not_found",
            Rejection::StaleGeneration { .. } => "stale_generation",
            Rejection::Busy { .. }
            | Rejection::Unavailable { .. }
            | Rejection::Uncertain { .. }
            | Rejection::Unreadable { .. } => rejection.code(),
            _ => "invalid_state",
        };
        self.refuse(&format!("{what}: {reason}")).await
    }

    /// An agent that was started again asks what became of a task.
    async fn recover(&mut self, agent: &Name, task: Option<TaskId>, shown: &str) -> Step {
        let holder = self.leased(task).await.filter(|view| view.agent.as_ref() == Some(agent));
        let Some(view) = holder else {
            self.attach_now(Vec::new()).await?;
            return self.say(&json!({"type": "task_reassign", "task_id": shown})).await;
        };
        self.attach_now(vec![(view.task, view.generation)]).await?;
        let body = json!({"type": "task_continue", "task_id": shown,
            "generation": view.generation.0});
        self.say(&body).await
    }

    /// An agent that lost its connection says what it works on.
    async fn report(
        &mut self,
        task: Option<TaskId>,
        shown: &str,
        fields: &Map<String, Value>,
    ) -> Step {
        let generation = fields.get("generation").and_then(Value::as_u64).unwrap_or(0);
        let view = self.leased(task).await;
        let goes_on =
            view.filter(|view| view.agent == self.agent && view.generation.0 == generation);
        let (action, holding) = match goes_on {
            Some(view) => {
                if view.state == TaskState::Offered {
                    // Whoever works on it has taken it.
                    self.attach_now(vec![(view.task, view.generation)]).await?;
                    let _ = self.operate(view.task, view.generation, Action::Accept).await;
                }
                ("continue", vec![(view.task, view.generation)])
            }
            None => ("abort", Vec::new()),
        };
        // The answer stands before anything that the agent is given then.
        let body = json!({"type": "state_report_ack", "task_id": shown, "action": action});
        self.say(&body).await?;
        self.attach_now(holding).await
    }

    /// The task, if somebody holds it.
    async fn leased(&mut self, task: Option<TaskId>) -> Option<Box<TaskView>> {
        match self.ask(Command::Show { task: task? }).await {
            Ok(Reply::Task(view))
                if matches!(view.state, TaskState::Offered | TaskState::Running) =>
            {
                Some(view)
            }
            _ => None,
        }
    }
}

/// As much of an error as is kept.
fn cut(text: &str) -> &str {
    text.char_indices().nth(ERROR_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}
