//! `INFO`: what a broker says of itself before anything else.

use serde::{Deserialize, Serialize};

/// The JSON of `INFO`. Clients ignore fields they do not know; NATS clients need at least
/// `version` (with `x.y.z` in it) and `max_payload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Unique per broker process.
    pub server_id: String,
    /// For people.
    pub server_name: String,
    /// The NATS version whose protocol is spoken, for clients that gate features on it.
    pub version: String,
    /// Protocol number: 1 means that INFO may come at any time.
    pub proto: u8,
    /// The address the broker listens on.
    pub host: String,
    /// The port the broker listens on.
    pub port: u16,
    /// Whether headers are understood.
    pub headers: bool,
    /// Largest header block and body together, in bytes.
    pub max_payload: usize,
    /// This connection's number.
    pub client_id: u64,
    /// The client's address as the broker sees it.
    pub client_ip: String,
    /// Whether CONNECT must carry credentials.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// The broker is about to stop; reconnect elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ldm: bool,
    /// This INFO follows the first PONG.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connect_info: bool,
    /// What this broker can do beyond NATS; absent on a NATS server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<Extension>,
}

/// Our one field in `INFO`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// `agentcom`.
    pub name: String,
    /// Version of the broker itself.
    pub version: String,
    /// Binary framings that may be asked for in CONNECT, best first.
    pub frames: Vec<String>,
    /// Subjects that may have a number in a binary framing.
    pub aliases_max: usize,
    /// Verb families that are understood, with their version.
    pub verbs: Vec<String>,
}
