//! The WebSocket of a legacy agent: frames to commands, answers and pushes to frames.
//!
//! Frames are handled one after the other, and an answer is sent before anything that was pushed
//! meanwhile: so a reply stands before the pushes that it caused.
//!
//! ```text
//! frame.rs     what may be sent, field by field       identify.rs   who it is
//! push.rs      what is sent without being asked for   talk.rs       messages and channels
//!                                                     work.rs       tasks
//! cooldown.rs  who has to stay away for a while       mistakes.rs   what was wrong lately
//! ```

mod cooldown;
mod frame;
mod identify;
mod mistakes;
mod push;
mod talk;
mod work;

pub use cooldown::Cooldowns;
pub(super) use frame::frames;
pub use mistakes::Mistakes;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::SinkExt;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, debug};

use super::error::FieldError;
use super::form::Form;
use super::handlers::unix_ms;
use super::messages::ask;
use super::serve::Held;
use super::{DurableCalls, HttpError, HttpState, channels, limits, request_id};
use crate::core::command::{
    Action as LeaseAction, Command, Generation, LeaseOp, MessageCommand, MessageReply, Name, News,
    Push, Rejection, Reply, SessionId, TaskId,
};
use crate::durable::{Heard, PushTo};
use crate::quota::{Action, Allowance, Visitor};
use crate::translate::message;

/// Pushes that may wait for a slow agent. 1,024: more than a burst of a busy channel.
const PUSHES_MAX: usize = 1_024;
/// After so long without a frame the agent is asked whether it is there, and after so long it is
/// taken to be gone: the legacy hub's 60 s.
const PING_AFTER: Duration = Duration::from_secs(20);
const GONE_AFTER: Duration = Duration::from_secs(60);
/// How long an agent that came back may take to say what it still works on.
const REPORT_WITHIN: Duration = Duration::from_secs(2);
/// Frames that are wrong in one window before the connection is closed: the contract's 4.7.
const VIOLATIONS_MAX: u32 = 10;
const VIOLATIONS_WINDOW: Duration = Duration::from_secs(60);
/// Room in a frame beside the largest payload.
const FRAME_EXTRA_BYTES: usize = 64 * 1024;

/// `GET /ws`.
pub(super) async fn open<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    Extension(held): Extension<Held>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, HttpError> {
    let upgrade = upgrade.map_err(|_| HttpError::NotWebSocket)?;
    let bytes_max = state.settings.payload_bytes_max + FRAME_EXTRA_BYTES;
    let upgrade = upgrade.max_message_size(bytes_max).max_frame_size(bytes_max);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let session = state.durable.open();
        let (pushes, heard) = mpsc::channel(PUSHES_MAX);
        let mut agent = AgentSocket {
            state,
            session,
            socket,
            queue: pushes.downgrade(),
            pushes: Some(pushes),
            agent: None,
            visitor: None,
            is_attached: false,
            attach_at: None,
            capabilities: Vec::new(),
            tasks: HashMap::new(),
            violations: 0,
            window_ends: Instant::now(),
        };
        let end = agent.run(heard, held).await;
        agent.state.durable.leave(session);
        agent.close(end).await;
    }))
}

/// Why a connection ends.
enum End {
    /// It is gone already.
    Gone,
    /// It is told so.
    Close(u16, Cow<'static, str>),
}

type Step = Result<(), End>;

struct AgentSocket<D> {
    state: HttpState<D>,
    session: SessionId,
    socket: WebSocket,
    /// Given away with the first identify, so that the queue ends when the broker lets go of it.
    pushes: Option<mpsc::Sender<Heard>>,
    /// The same queue, as long as the broker has it.
    queue: mpsc::WeakSender<Heard>,
    /// Who it is, once it said so.
    agent: Option<Name>,
    /// The same, as whoever counts knows it.
    visitor: Option<Visitor>,
    /// Whether it takes work.
    is_attached: bool,
    /// When it does so without having said what it still works on.
    attach_at: Option<Instant>,
    capabilities: Vec<Name>,
    /// Tasks that it was given, under which generation.
    tasks: HashMap<TaskId, Generation>,
    violations: u32,
    window_ends: Instant,
}

impl<D: DurableCalls> AgentSocket<D> {
    async fn run(&mut self, mut heard: mpsc::Receiver<Heard>, mut held: Held) -> End {
        let mut last_frame = Instant::now();
        let mut next_ping = last_frame + PING_AFTER;
        loop {
            let attach_at = self.attach_at;
            let attach = async {
                match attach_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let step = tokio::select! {
                frame = self.socket.recv() => {
                    last_frame = Instant::now();
                    next_ping = last_frame + PING_AFTER;
                    match frame {
                        Some(Ok(frame)) => {
                            let span = request_id::of_message(self.agent.as_ref());
                            self.handle(frame).instrument(span).await
                        }
                        Some(Err(_)) | None => Err(End::Gone),
                    }
                }
                heard = heard.recv() => match heard {
                    Some(heard) => self.tell(&heard).await,
                    None => Err(End::Close(close_code::POLICY, "too slow: pushes were lost".into())),
                },
                () = attach => self.attach(Vec::new()).await,
                () = sleep_until(next_ping) => {
                    next_ping += PING_AFTER;
                    match last_frame.elapsed() < GONE_AFTER {
                        true => self.send(Frame::Ping(Vec::new().into())).await,
                        false => Err(End::Close(close_code::PROTOCOL, "".into())),
                    }
                }
                () = held.told_to_stop() => Err(End::Close(close_code::NORMAL, "".into())),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn close(&mut self, end: End) {
        if let End::Close(code, reason) = end {
            let frame = CloseFrame { code, reason: reason.as_ref().into() };
            let _ = self.send(Frame::Close(Some(frame))).await;
        }
    }

    async fn send(&mut self, frame: Frame) -> Step {
        match timeout(self.state.settings.body, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    pub(super) async fn say(&mut self, value: &Value) -> Step {
        self.send(Frame::Text(value.to_string().into())).await
    }

    pub(super) async fn refuse(&mut self, error: &str) -> Step {
        self.say(&json!({"type": "error", "error": error})).await
    }

    /// The core declines, for a reason that the contract has no word for.
    pub(super) async fn decline(&mut self, rejection: &Rejection) -> Step {
        let detail = rejection.to_string();
        self.say(&json!({"type": "error", "error": rejection.code(), "detail": detail})).await
    }

    async fn handle(&mut self, frame: Frame) -> Step {
        if self.is_attached {
            // Whatever arrives is a sign of life.
            let command = Command::Heartbeat { session: self.session };
            let _ = self.state.durable.ask(self.session, command, None).await;
        }
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => return self.violate("unknown", not_an_object()).await,
            Frame::Ping(_) | Frame::Pong(_) => return Ok(()),
            Frame::Close(_) => {
                // The answer is ready and only has to go out.
                let _ = timeout(self.state.settings.body, self.socket.flush()).await;
                return Err(End::Gone);
            }
        };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return self.refuse("invalid_json").await;
        };
        let Value::Object(fields) = value else {
            return self.violate("unknown", not_an_object()).await;
        };
        let Some(kind) = fields.get("type").and_then(Value::as_str).map(str::to_owned) else {
            let mut form = Form::new(&fields);
            match form.field("type") {
                Some(other) => form.wrong_type("type", "string", other),
                None => form.required("type"),
            }
            return self.violate("unknown", form.into_errors()).await;
        };
        let (action, may_be_denied) = limits::frame(&kind);
        if !self.is_let_through(Action::WsMessage, may_be_denied).await? {
            return Ok(());
        }
        let errors = frame::check(&kind, &fields);
        if !errors.is_empty() {
            return self.violate(&kind, errors).await;
        }
        if !self.is_let_through(action, may_be_denied).await? {
            return Ok(());
        }
        match (&self.agent, kind.as_str()) {
            (_, "identify") => self.identify(&fields).await,
            (None, _) => self.refuse("not_identified").await,
            (Some(agent), _) => {
                let agent = agent.clone();
                self.serve(agent, &kind, &fields).await
            }
        }
    }

    /// Count a frame; whether it may be handled. If it may soon not be, the agent is warned.
    async fn is_let_through(&mut self, action: Action, may_be_denied: bool) -> Result<bool, End> {
        // Whoever did not say who it is can do nothing that has to be limited.
        let Some(visitor) = &self.visitor else { return Ok(true) };
        let (tier, now) = (action.tier().as_str(), self.state.clock.tick());
        let taken =
            if may_be_denied { visitor.take(action, now) } else { Ok(visitor.count(action, now)) };
        match (taken, &self.agent) {
            (Ok(Allowance::Plenty), _) => Ok(true),
            (Ok(Allowance::Low { remaining, capacity }), _) => {
                let warning = json!({"type": "rate_limit_warning", "tier": tier,
                    "remaining": remaining, "capacity": capacity});
                self.say(&warning).await.map(|()| true)
            }
            (Err(denial), agent) => {
                if let Some(agent) = agent {
                    self.state.withhold(agent, denial).await;
                }
                let frame = json!({"type": "rate_limited",
                    "retry_after_ms": denial.retry_after_ms, "tier": tier});
                self.say(&frame).await.map(|()| false)
            }
        }
    }

    /// A frame was wrong: say so, until it was too often.
    pub(super) async fn violate(&mut self, kind: &str, errors: Vec<FieldError>) -> Step {
        let now = Instant::now();
        if now >= self.window_ends {
            (self.violations, self.window_ends) = (0, now + VIOLATIONS_WINDOW);
        }
        self.violations += 1;
        let agent = self.agent.as_ref().map(Name::as_str);
        self.state.mistakes.note(agent, kind, errors.len(), unix_ms());
        let first = errors.first().map(|error| error.detail.as_str());
        debug!(kind, wrong = errors.len(), first, "a frame is not accepted");
        if self.violations >= VIOLATIONS_MAX {
            self.state.mistakes.note_cut_off(agent, unix_ms());
            if let Some(agent) = &self.agent {
                self.state.cooldowns.start(agent, now);
            }
            return Err(End::Close(close_code::POLICY, "too many validation errors".into()));
        }
        let body = json!({"type": "error", "error": "validation_failed", "message_type": kind,
            "errors": errors});
        self.say(&body).await
    }

    /// Ask of the core; what is pushed because of it goes to this connection.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Reply, Rejection> {
        let queue = self.pushes.clone().or_else(|| self.queue.upgrade());
        self.state.durable.ask(self.session, command, queue.map(PushTo::Queue)).await
    }

    async fn tell(&mut self, heard: &Heard) -> Step {
        match heard {
            Heard::News(News::Replaced) | Heard::Push(Push::Replaced) => {
                return Err(End::Close(close_code::POLICY, "replaced".into()));
            }
            Heard::Push(Push::Offer(offer)) => {
                self.tasks.insert(offer.task, offer.generation);
            }
            Heard::Push(Push::Revoked { task, .. }) => {
                self.tasks.remove(task);
            }
            _ => {}
        }
        if let Some(frame) = push::frame(heard, unix_ms()) {
            if let Heard::Push(Push::Offer(_)) = heard {
                self.state.routed.note(&frame["routing_decision"]);
            }
            self.say(&frame).await?;
        }
        if let Heard::Push(Push::Cancel { task, generation, .. }) = heard {
            // Legacy agents stop and say nothing.
            self.tasks.remove(task);
            let action = LeaseAction::CancelAck { result: Arc::default() };
            let _ = self.operate(*task, *generation, action).await;
        }
        Ok(())
    }

    async fn serve(&mut self, agent: Name, kind: &str, fields: &Map<String, Value>) -> Step {
        match kind {
            "message" => self.send_message(agent, fields).await,
            "status" => {
                let status = fields["status"].as_str().unwrap_or_default().into();
                match self.message(MessageCommand::SetStatus { agent, status }).await {
                    Ok(_) => self.say(&json!({"type": "status_updated"})).await,
                    Err(rejection) => self.decline(&rejection).await,
                }
            }
            "agent_restarting" => {
                let status = "restarting".into();
                // No answer; whoever restarts would not hear it.
                let _ = self.message(MessageCommand::SetStatus { agent, status }).await;
                Ok(())
            }
            "list_agents" => match self.message(MessageCommand::ListPresent).await {
                Ok(Some(MessageReply::Present(views))) => {
                    let agents: Vec<Value> = views.iter().map(message::agent).collect();
                    self.say(&json!({"type": "agents", "agents": agents})).await
                }
                Ok(other) => unreachable!("a list answered {other:?}"),
                Err(rejection) => self.decline(&rejection).await,
            },
            "ping" => {
                let _ = self.message(MessageCommand::See { agent }).await;
                self.say(&json!({"type": "pong", "timestamp": unix_ms()})).await
            }
            "list_channels" => match channels::all(&self.state.durable).await {
                Ok(views) => {
                    let views: Vec<Value> = views.iter().map(message::listed).collect();
                    self.say(&json!({"type": "channels", "channels": views})).await
                }
                Err(_) => self.refuse("unavailable").await,
            },
            "channel_subscribe" | "channel_unsubscribe" | "channel_publish" | "channel_history" => {
                self.use_channel(agent, kind, fields).await
            }
            "ollama_report" => {
                self.say(&json!({"type": "ollama_report_ack", "status": "registered"})).await
            }
            "resource_report" => Ok(()),
            _ => self.serve_task(agent, kind, fields).await,
        }
    }

    pub(super) async fn message(
        &mut self,
        command: MessageCommand,
    ) -> Result<Option<MessageReply>, Rejection> {
        ask(&self.state.durable, command).await
    }

    /// The task and the generation under which this connection was given it.
    pub(super) fn held(&self, task: TaskId) -> Option<(TaskId, Generation)> {
        self.tasks.get(&task).map(|generation| (task, *generation))
    }

    pub(super) async fn operate(
        &mut self,
        task: TaskId,
        generation: Generation,
        action: LeaseAction,
    ) -> Result<Reply, Rejection> {
        let session = self.session;
        self.ask(Command::Lease(LeaseOp { session, task, generation, action })).await
    }
}

fn not_an_object() -> Vec<FieldError> {
    let fields = Map::new();
    let mut form = Form::new(&fields);
    form.refuse("body", "wrong_type", "expected a text frame with a JSON object".to_owned(), None);
    form.into_errors()
}
