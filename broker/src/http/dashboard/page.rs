//! The page and its parts, embedded: it works without a network and without a build step.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

/// The page may load what it is made of, from here, and nothing else; nobody may put it in a
/// frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// `GET /dashboard`
pub(in crate::http) async fn page() -> Response {
    part(HTML, include_str!("assets/index.html"))
}

/// `GET /dashboard/style.css`
pub(in crate::http) async fn style() -> Response {
    part(CSS, include_str!("assets/style.css"))
}

/// `GET /dashboard/app.js`
pub(in crate::http) async fn app() -> Response {
    part(SCRIPT, include_str!("assets/app.js"))
}

/// `GET /dashboard/connection.js`
pub(in crate::http) async fn connection() -> Response {
    part(SCRIPT, include_str!("assets/connection.js"))
}

/// `GET /dashboard/view.js`
pub(in crate::http) async fn view() -> Response {
    part(SCRIPT, include_str!("assets/view.js"))
}

/// `GET /dashboard/push.js`
pub(in crate::http) async fn push() -> Response {
    part(SCRIPT, include_str!("assets/push.js"))
}

/// `GET /sw.js`: what shows push messages while no page is open.
pub(in crate::http) async fn worker() -> Response {
    const ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
    const WORKER: &str = "application/javascript; charset=utf-8";
    ([(ALLOWED, "/")], part(WORKER, include_str!("assets/sw.js"))).into_response()
}

fn part(kind: &'static str, text: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A broker that was replaced has another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (HEADERS, [(header::CONTENT_TYPE, kind)], text).into_response()
}
