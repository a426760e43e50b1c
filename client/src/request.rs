//! A request that differs from the defaults.

use std::time::Duration;

use bytes::Bytes;

use crate::headers::HeaderMap;

/// A request for [`crate::Client::send_request`].
///
/// ```
/// use std::time::Duration;
/// let request = agentcom_client::Request::new()
///     .payload("hello".into())
///     .timeout(Some(Duration::from_secs(2)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub(crate) payload: Bytes,
    pub(crate) headers: Option<HeaderMap>,
    /// `None`: the client's default. `Some(None)`: wait for ever.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) inbox: Option<String>,
}

impl Request {
    /// An empty request with the client's default timeout.
    #[must_use]
    pub fn new() -> Request {
        Request::default()
    }

    /// The body. Default: empty.
    #[must_use]
    pub fn payload(mut self, payload: Bytes) -> Request {
        self.payload = payload;
        self
    }

    /// The headers. Default: none.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Request {
        self.headers = Some(headers);
        self
    }

    /// How long to wait for the answer; `None` waits for ever. Default:
    /// [`crate::ConnectOptions::request_timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// A reply subject of the caller's own, with a subscription just for this request. Default:
    /// the inbox that all requests of the client share, which costs the server nothing more.
    #[must_use]
    pub fn inbox(mut self, inbox: String) -> Request {
        self.inbox = Some(inbox);
        self
    }
}
