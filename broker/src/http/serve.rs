//! The accept loop: at most so many connections, each with deadlines, and an orderly end.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::error::HttpError;
use super::limits::Peer;
use super::patience::{PatientStream, Stage};
use super::{DurableCalls, HttpSettings, HttpState, routes};

/// Largest request line and headers, in bytes: all that a stranger can make us keep.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// First and longest pause after an accept that failed, most likely for want of descriptors:
/// short enough to heal at once, long enough not to spin.
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// Serve `state` to whoever connects to `listener`, until `shutdown` turns true or its sender is
/// gone. Then the listener closes at once, idle connections too, and requests under way are
/// answered. Returns when the last connection has ended; bound that wait, if it must be bounded.
pub async fn serve<D: DurableCalls>(
    listener: TcpListener,
    state: HttpState<D>,
    mut shutdown: watch::Receiver<bool>,
) {
    let settings = state.settings;
    let router = routes(state);
    let connections_max = settings.connections_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let (socket, place) = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = told(&mut shutdown) => break,
        };
        tokio::spawn(connection(socket, place, router.clone(), settings, shutdown.clone()));
    }
    drop(listener);
    // Every connection holds a place; when all are back, nobody is left.
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

/// What a connection has, and keeps when it becomes something else than HTTP.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Its place; given back when nobody holds this any more.
    #[expect(dead_code, reason = "held for its drop")]
    place: Arc<OwnedSemaphorePermit>,
    shutdown: watch::Receiver<bool>,
}

impl Held {
    /// Resolves when everybody has to go.
    pub(super) async fn told_to_stop(&mut self) {
        told(&mut self.shutdown).await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("nobody closes the semaphore");
    let mut backoff = BACKOFF;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (socket, place),
            Err(error) => {
                warn!(%error, "cannot accept an HTTP connection");
                sleep(backoff).await;
                backoff = (2 * backoff).min(BACKOFF_MAX);
            }
        }
    }
}

/// One connection from its first byte to its last. Gives its place back when it ends.
async fn connection(
    socket: TcpStream,
    place: OwnedSemaphorePermit,
    router: Router,
    settings: HttpSettings,
    mut shutdown: watch::Receiver<bool>,
) {
    // Answers are one write each; waiting for more to send would only delay them.
    let _ = socket.set_nodelay(true);
    let peer = socket.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let peer = Peer(peer);
    let held = Held { place: Arc::new(place), shutdown: shutdown.clone() };
    let stage = Stage::default();
    let stream = TokioIo::new(PatientStream::new(socket, stage.clone(), settings));
    let service = service_fn(|mut request: Request<Incoming>| {
        stage.handling();
        let (stage, router) = (stage.clone(), router.clone());
        request.extensions_mut().insert(held.clone());
        request.extensions_mut().insert(peer);
        async move {
            let response = answer(router, request).await;
            // Whatever speaks there from now on has deadlines of its own.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                stage.answer();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(stream, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an HTTP connection ended early");
    }
}

/// Resolves when `shutdown` is true, or can never be.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn answer(router: Router, request: Request<Incoming>) -> Response {
    // The router would answer HEAD wherever it answers GET; the contract does not.
    if request.method() == Method::HEAD {
        return HttpError::NotFound.into_response();
    }
    let (mut parts, body) = request.into_parts();
    parts.uri = without_empty_segments(&parts.uri);
    let Ok(response) = router.oneshot(Request::from_parts(parts, Body::new(body))).await;
    response
}

/// `uri` with one slash wherever it has several, and none at the end.
fn without_empty_segments(uri: &Uri) -> Uri {
    let segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    let mut path = String::with_capacity(uri.path().len() + 1);
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map_or_else(|_| uri.clone(), Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_vanish_and_the_rest_stays() {
        for (given, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("//a///b//", "/a/b"),
            ("/a%2F/%2Fb/", "/a%2F/%2Fb"),
            ("/a/?x=//1/", "/a?x=//1/"),
            ("http://host//a/", "/a"),
            ("*", "/*"),
        ] {
            let uri = without_empty_segments(&given.parse().unwrap());
            assert_eq!(uri.to_string(), expected, "{given}");
        }
    }
}
