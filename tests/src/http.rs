//! The HTTP door, spoken to over a raw socket: one request, one connection, one answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Broker;

/// How long an answer may take before a test gives up. Reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the HTTP door said to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The three digits.
    pub status: u16,
    /// Status line and headers, in small letters.
    pub head: String,
    /// What follows them.
    pub body: String,
}

impl Answer {
    /// The answer at the front of `text`, which holds nothing else.
    #[track_caller]
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{text:?}"));
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It has this status and exactly this body.
    #[track_caller]
    pub fn expect(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.json()), (status, body), "{self:?}");
    }
}

impl Broker {
    /// Send `request` as it is, on a connection of its own, and give all that comes back. The
    /// request must make the broker hang up behind the answer.
    #[track_caller]
    pub fn http_raw(&self, request: &str) -> Answer {
        Answer::parse(&exchange(self.http_address(), request))
    }

    /// `GET path` with `headers`, each ended by CRLF.
    #[track_caller]
    pub fn http_get(&self, path: &str, headers: &str) -> Answer {
        self.http_raw(&format!("GET {path} HTTP/1.1\r\n{}{headers}\r\n", self.common_headers()))
    }

    /// `POST path` with `headers`, each ended by CRLF, and `body`.
    #[track_caller]
    pub fn http_post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let (common, size) = (self.common_headers(), body.len());
        self.http_raw(&format!(
            "POST {path} HTTP/1.1\r\n{common}Content-Length: {size}\r\n{headers}\r\n{body}"
        ))
    }

    /// `PUT path` with `headers`, each ended by CRLF, and `body`.
    #[track_caller]
    pub fn http_put(&self, path: &str, headers: &str, body: &str) -> Answer {
        let (common, size) = (self.common_headers(), body.len());
        self.http_raw(&format!(
            "PUT {path} HTTP/1.1\r\n{common}Content-Length: {size}\r\n{headers}\r\n{body}"
        ))
    }

    /// `DELETE path` with `headers`, each ended by CRLF.
    #[track_caller]
    pub fn http_delete(&self, path: &str, headers: &str) -> Answer {
        self.http_raw(&format!("DELETE {path} HTTP/1.1\r\n{}{headers}\r\n", self.common_headers()))
    }

    /// The header that opens the door to the operator.
    #[track_caller]
    pub fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.operator_token())
    }

    fn common_headers(&self) -> String {
        format!("Host: {}\r\nConnection: close\r\n", self.http_address())
    }

    #[track_caller]
    fn http_address(&self) -> SocketAddr {
        self.http().expect("an HTTP address")
    }
}

#[track_caller]
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect to the HTTP door");
    stream.set_read_timeout(Some(DEADLINE)).expect("set the read timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("set the write timeout");
    // It may refuse a request before all of it was sent; its answer says so.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    // A reset behind the answer is an end too.
    let end = stream.read_to_end(&mut answer);
    assert!(!answer.is_empty(), "no answer ({end:?}) to {request:?}");
    String::from_utf8(answer).expect("UTF-8")
}
