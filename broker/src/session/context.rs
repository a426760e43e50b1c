//! What every session needs and none of them changes.

use std::sync::atomic::{AtomicBool, Ordering};

use super::auth::Auth;
use crate::durable::Durable;
use crate::metrics::{Histogram, Metrics};
use agentcom_protocol::{Limits, ServerInfo};

/// Shared by all sessions of the broker.
#[derive(Debug)]
pub struct Context {
    /// Who may come in.
    pub auth: Auth,
    /// What INFO says, but for what differs per connection.
    pub info: ServerInfo,
    /// Bounds of the grammar.
    pub limits: Limits,
    /// Subscriptions per connection.
    pub subscriptions_max: usize,
    /// Subjects of a connection that may have a number.
    pub aliases_max: usize,
    /// Tokens of a subscription's filter.
    pub subject_tokens_max: usize,
    /// When to lose patience.
    pub timeouts: Timeouts,
    /// Where subscriptions are kept.
    pub router: std::sync::Arc<crate::routing::Router>,
    /// What everybody may have and do.
    pub accounts: std::sync::Arc<crate::quota::Accounts>,
    /// The durable plane.
    pub durable: Durable,
    /// Names this process among all that ever ran on the store.
    pub process: Box<str>,
    /// What is counted.
    pub metrics: Metrics,
    /// What it takes to work off what a read brought.
    pub reads: Histogram,
    /// The broker is about to stop; clients are told once.
    pub lame_duck: LameDuck,
}

/// Milliseconds unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to a valid CONNECT, where one is needed.
    pub auth_ms: u64,
    /// Between pings of a silent client.
    pub ping_interval_ms: u64,
    /// Pings that may stay unanswered.
    pub ping_max: u32,
    /// From the first byte of a frame to its last.
    pub half_frame_ms: u64,
    /// A receiver may take nothing for this long.
    pub write_ms: u64,
}

/// A flag that can only be raised.
#[derive(Debug, Default)]
pub struct LameDuck(AtomicBool);

impl LameDuck {
    /// The broker is about to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
