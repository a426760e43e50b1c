//! Counters of a client since its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a client since its start, over all its connections. Read them at any time; each is
/// exact on its own, and together they are no snapshot.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Payload bytes (with headers) received in messages.
    pub in_bytes: AtomicU64,
    /// Payload bytes (with headers) taken for sending.
    pub out_bytes: AtomicU64,
    /// Messages received, those dropped included.
    pub in_messages: AtomicU64,
    /// Messages taken for sending.
    pub out_messages: AtomicU64,
    /// Messages dropped because their subscriber was slow.
    pub dropped_messages: AtomicU64,
    /// Connections that came up: the first one and each reconnect.
    pub connects: AtomicU64,
}

impl Statistics {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
