//! `[quotas]`: what one identity may have and do over TCP.

use super::setting::settings;
use crate::quota::Quota;

/// Upper edge: what nobody reaches is no limit any more.
const MANY: u64 = 1_000_000_000_000;

settings! {
    config => config.quotas, keys "quotas.";
    /// What one identity may have and do over TCP, through all its connections: a user, an agent
    /// by its token, or whoever comes from one address without saying who. 0 is no limit. The
    /// operator has none. PUT /api/admin/quotas sets others for some.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Quotas {
        /// Connections at once.
        "connections" connections: usize = 0, in 0..=MANY;
        /// Subscriptions of all of them.
        "subscriptions" subscriptions: usize = 0, in 0..=MANY;
        /// Requests that are not answered yet; one that waits for a task is one, too.
        "in_flight" in_flight: usize = 0, in 0..=MANY;
        /// Requests a minute, and in a row. What whoever holds a task says of it is none.
        "requests" requests: usize = 0, in 0..=MANY;
        /// Messages a minute, and in a row. Whoever sends more is read from more slowly.
        "messages" messages: usize = 0, in 0..=MANY;
        /// Bytes of messages a minute, and in a row.
        "bytes" bytes: usize = 0, in 0..=MANY;
        /// Identities that are remembered, over TCP and at the doors of the AgentCom v2 hub, of 250
        /// bytes each, and as much again at a door of the hub. 100,000: 25 to 75 MB. Beyond, those
        /// are forgotten that nobody uses: the idle ones, then those that soon are.
        "identities_max" identities_max: usize = 100_000, in 1..=10_000_000;
    }
}

impl Quotas {
    /// As a quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        Quota {
            connections: self.connections as u64,
            subscriptions: self.subscriptions as u64,
            in_flight: self.in_flight as u64,
            requests: self.requests as u64,
            messages: self.messages as u64,
            bytes: self.bytes as u64,
        }
    }
}
