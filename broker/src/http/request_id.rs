//! One request, one number: on every log line that it causes, and in the answer, so that whoever asks
//! an operator can say which request it was.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span, debug, info_span};

use super::error::Refused;
use crate::core::command::Name;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest number that a client may bring. 64: twice what generators of such numbers make.
const BROUGHT_BYTES_MAX: usize = 64;

/// Give a request its number, or the one that it brings.
pub(super) async fn number(request: Request, next: Next) -> Response {
    let number = brought(request.headers()).unwrap_or_else(drawn);
    let span = info_span!("request", request_id = %number);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let handled = async {
        let mut response = next.run(request).await;
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        let status = response.status().as_u16();
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let error = response.extensions().get::<Refused>().map(|refused| refused.0.as_str());
        debug!(%method, route, status, took_us, error, "answered");
        if let Ok(number) = HeaderValue::from_str(&number) {
            response.headers_mut().insert(HEADER, number);
        }
        response
    };
    handled.instrument(span).await
}

/// What a message over a WebSocket causes belongs to.
pub(super) fn of_message(agent: Option<&Name>) -> Span {
    info_span!("message", request_id = %drawn(), agent_id = agent.map(Name::as_str))
}

/// 16 hexadecimal digits, as in the hub. They need to differ, not to be secret.
fn drawn() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn brought(headers: &HeaderMap) -> Option<String> {
    let brought = headers.get(HEADER)?.to_str().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '/');
    let is_good = (1..=BROUGHT_BYTES_MAX).contains(&brought.len()) && brought.chars().all(is_plain);
    is_good.then(|| brought.to_owned())
}
