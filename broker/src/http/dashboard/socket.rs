//! `GET /ws/dashboard`: a snapshot, then what changes, in bundles: the contract's 5.1.
//!
//! Everybody may look. Whoever wants to do something says with which token, in a frame and not in
//! the address, because addresses end up in logs. A watcher that does not keep up is sent a new
//! snapshot instead of what it missed.

use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout};

use super::{event, snapshot};
use crate::board::rules::Rule;
use crate::core::command::{Command, Rejection, State as TaskState, TaskId};
use crate::http::caller::Caller;
use crate::http::serve::Held;
use crate::http::{DurableCalls, HttpError, HttpState, alerts, figures, task_view};
use crate::lookout::Sight;

/// How long events are gathered before they are sent together.
const BUNDLE: Duration = Duration::from_millis(100);
/// Events of one bundle. 10,000: more say less than a new snapshot.
const BUNDLE_MAX: usize = 10_000;
/// How often the figures are sent.
const FIGURES_EVERY: Duration = Duration::from_secs(10);
/// After so long without a frame the page is asked whether it is there, and after so long it is
/// taken to be gone; as with agents.
const PING_AFTER: Duration = Duration::from_secs(20);
const GONE_AFTER: Duration = Duration::from_secs(60);
/// Largest frame that a page has a reason to send.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// `GET /ws/dashboard`.
pub(in crate::http) async fn open<D: DurableCalls>(
    State(state): State<HttpState<D>>,
    Extension(held): Extension<Held>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, HttpError> {
    let upgrade = upgrade.map_err(|_| HttpError::NotWebSocket)?;
    if !is_own_page(&headers) {
        return Err(HttpError::OtherOrigin);
    }
    let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let sights = state.lookout.follow();
        let now = Instant::now();
        let mut page = Page {
            state,
            socket,
            caller: None,
            bundle: Vec::new(),
            send_at: None,
            figures_at: now + FIGURES_EVERY,
        };
        if let Err(Gone(Some(frame))) = page.run(sights, held).await {
            let _ = page.send(Frame::Close(Some(frame))).await;
        }
    }))
}

/// Whether the request is not from a page of somebody else: browsers let any page open a
/// WebSocket anywhere, and say in `Origin` where the page is from.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (headers.get(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(host)) => {
            let origin = text(header::ORIGIN).unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
        }
    }
}

/// The connection is over; with a frame that says why, unless it is gone already.
struct Gone(Option<CloseFrame>);

struct Page<D> {
    state: HttpState<D>,
    socket: WebSocket,
    /// Whose token it showed.
    caller: Option<Caller>,
    /// Events that are not sent yet, oldest first.
    bundle: Vec<Value>,
    /// When they are.
    send_at: Option<Instant>,
    figures_at: Instant,
}

impl<D: DurableCalls> Page<D> {
    async fn run(
        &mut self,
        mut sights: broadcast::Receiver<Sight>,
        mut held: Held,
    ) -> Result<(), Gone> {
        self.show(true).await?;
        let mut last_frame = Instant::now();
        let mut next_ping = last_frame + PING_AFTER;
        loop {
            let send_at = self.send_at;
            let bundled = async {
                match send_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = self.socket.recv() => {
                    last_frame = Instant::now();
                    next_ping = last_frame + PING_AFTER;
                    match frame {
                        Some(Ok(Frame::Text(text))) => self.handle(&text).await?,
                        Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(Gone(None)),
                        Some(Ok(_)) => {}
                    }
                }
                sight = sights.recv() => match sight {
                    Ok(sight) => self.note(&sight).await?,
                    Err(RecvError::Lagged(_)) => self.show(false).await?,
                    Err(RecvError::Closed) => return Err(Gone(None)),
                },
                () = bundled => self.flush().await?,
                () = sleep_until(self.figures_at) => {
                    self.figures_at += FIGURES_EVERY;
                    let queued = (self.state.figures)().queued.iter().sum();
                    let data = figures::measured(&self.state.lookout.digest(), queued);
                    self.bundle(json!({"type": "metrics_snapshot", "data": data}));
                }
                () = sleep_until(next_ping) => {
                    next_ping += PING_AFTER;
                    if last_frame.elapsed() >= GONE_AFTER {
                        return Err(Gone(Some(close(close_code::PROTOCOL))));
                    }
                    self.send(Frame::Ping(Vec::new().into())).await?;
                }
                () = held.told_to_stop() => return Err(Gone(Some(close(close_code::NORMAL)))),
            }
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        match timeout(self.state.settings.body, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone(None)),
        }
    }

    async fn say(&mut self, value: &Value) -> Result<(), Gone> {
        self.send(Frame::Text(value.to_string().into())).await
    }

    /// Send everything at this moment. What was to be sent is in it.
    async fn show(&mut self, has_alerts: bool) -> Result<(), Gone> {
        (self.bundle, self.send_at) = (Vec::new(), None);
        let mut frame = match snapshot::newest(&self.state, Instant::now()).await {
            Ok(snapshot) => json!({"type": "snapshot", "data": *snapshot}),
            // The store failed, or is too busy: the page tries again.
            Err(_) => return Err(Gone(Some(close(close_code::AGAIN)))),
        };
        if has_alerts {
            frame["alerts"] = alerts::active(&self.state).into();
        }
        self.say(&frame).await
    }

    async fn note(&mut self, sight: &Sight) -> Result<(), Gone> {
        if let Some(frame) = event::execution(sight) {
            self.say(&frame).await?;
        }
        event::events(sight).into_iter().for_each(|event| self.bundle(event));
        match self.bundle.len() > BUNDLE_MAX {
            true => self.show(false).await,
            false => Ok(()),
        }
    }

    fn bundle(&mut self, event: Value) {
        self.bundle.push(event);
        self.send_at.get_or_insert_with(|| Instant::now() + BUNDLE);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send_at = None;
        let events = std::mem::take(&mut self.bundle);
        self.say(&json!({"type": "events", "data": events})).await
    }

    /// A frame of the page. What is not understood is ignored.
    async fn handle(&mut self, text: &str) -> Result<(), Gone> {
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else { return Ok(()) };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let answer = match text("type") {
            Some("request_snapshot") => return self.show(false).await,
            Some("authenticate") => self.authenticate(text("token").unwrap_or_default()).await,
            Some("retry_task") => {
                let id = text("task_id").unwrap_or_default();
                let status = match self.caller {
                    Some(_) => retry(&self.state, task_view::parse_id(id)).await,
                    None => "unauthorized",
                };
                json!({"type": "retry_result", "task_id": id, "status": status})
            }
            Some("cancel_task") => {
                let id = text("task_id").unwrap_or_default();
                let status = match &self.caller {
                    Some(caller) => {
                        let reason = format!("cancelled by {}", caller.name());
                        cancel(&self.state, task_view::parse_id(id), reason).await
                    }
                    None => "unauthorized",
                };
                json!({"type": "cancel_result", "task_id": id, "status": status})
            }
            Some("acknowledge_alert") => {
                let id = text("rule_id").unwrap_or_default();
                let is_admin = self.caller.as_ref().is_some_and(|caller| caller.admin().is_ok());
                let status = match Rule::parse(id) {
                    _ if !is_admin => "unauthorized",
                    Some(rule) if self.state.lookout.acknowledge(rule) => "acknowledged",
                    _ => "not_found",
                };
                json!({"type": "alert_ack_result", "rule_id": id, "status": status})
            }
            _ => return Ok(()),
        };
        self.say(&answer).await
    }

    async fn authenticate(&mut self, token: &str) -> Value {
        self.caller = Caller::with(token.trim(), &self.state).await.unwrap_or_default();
        match &self.caller {
            Some(caller) => json!({"type": "authenticated", "name": caller.name().as_str(),
                "is_admin": caller.admin().is_ok()}),
            None => json!({"type": "authentication_failed"}),
        }
    }
}

async fn retry<D: DurableCalls>(state: &HttpState<D>, task: Option<TaskId>) -> &'static str {
    let Some(task) = task else { return "not_found" };
    let command = Command::Redrive { task, delay_ms: 0 };
    state.durable.call(command).await.map_or_else(|why| word(&why), |_| "requeued")
}

async fn cancel<D: DurableCalls>(
    state: &HttpState<D>,
    task: Option<TaskId>,
    reason: String,
) -> &'static str {
    let Some(task) = task else { return "not_found" };
    let command = Command::Cancel { task, reason: reason.into(), grace_ms: None };
    let mut outcome = state.durable.call(command).await;
    // The hub cancelled dead letters, too; here that is another word.
    if let Err(Rejection::Terminal { state: TaskState::Dead, .. }) = outcome {
        outcome = state.durable.call(Command::Discard { task }).await;
    }
    outcome.map_or_else(|why| word(&why), |_| "cancelled")
}

/// Why a task was left as it is.
fn word(rejection: &Rejection) -> &'static str {
    match rejection {
        // Whatever is in another state is not there, for this purpose.
        Rejection::NotFound { .. }
        | Rejection::Gone { .. }
        | Rejection::Terminal { .. }
        | Rejection::InvalidState { .. } => "not_found",
        other => other.code(),
    }
}

fn close(code: u16) -> CloseFrame {
    CloseFrame { code, reason: "".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_somebody_else_may_not_look() {
        let is_own = |origin: Option<&str>, host: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::ORIGIN, origin), (header::HOST, host)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            is_own_page(&headers)
        };
        assert!(is_own(None, Some("127.0.0.1:4000")));
        assert!(is_own(Some("http://127.0.0.1:4000"), Some("127.0.0.1:4000")));
        assert!(is_own(Some("https://hub.example"), Some("hub.example")));
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:4001"] {
            assert!(!is_own(Some(origin), Some("127.0.0.1:4000")), "{origin}");
        }
        assert!(!is_own(Some("http://127.0.0.1:4000"), None));
    }
}
