//! One bound on the memory that peers can make the broker hold: bytes queued for slow receivers
//! and half-received frames, of all connections together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use, and how many may be.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    /// Nothing in use yet.
    #[must_use]
    pub fn new(bytes_max: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), bytes_max }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether more is in use than may be.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.bytes_max
    }

    /// Note that `bytes` more are in use. `false` if that is more than may be: somebody must give.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bytes_max
    }

    /// Note that `bytes` are free again.
    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
