//! What is known of whoever is at the other end of a connection, for people who look.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::command::Tick;

/// Who a client is and how much it did. Written by the one who serves it, read by anybody. In cache
/// lines of its own: it is written at every read, and its neighbours are looked at by every sender.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Card {
    arrival: OnceLock<Arrival>,
    client: Mutex<Option<Box<Client>>>,
    heard: AtomicU64,
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    subscriptions: AtomicU32,
}

/// How a connection began.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// When.
    pub at: Tick,
}

/// What a client said of itself in CONNECT, and whom it is taken for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: Option<String>,
    /// The language of its library.
    pub lang: Option<String>,
    /// The version of that.
    pub version: Option<String>,
    /// Whose credentials it showed.
    pub identity: String,
}

/// How much a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// When something came from it for the last time.
    pub heard: Tick,
    /// Messages that it published.
    pub messages_in: u64,
    /// Bytes of whole frames that it sent.
    pub bytes_in: u64,
    /// Bytes that it was sent, or that wait for it.
    pub bytes_out: u64,
    /// Its subscriptions.
    pub subscriptions: u32,
}

impl Card {
    /// The connection begins. To be called once.
    pub fn arrive(&self, arrival: Arrival) {
        self.heard.store(arrival.at.0, Ordering::Relaxed);
        // Nobody arrives twice.
        let _ = self.arrival.set(arrival);
    }

    /// How the connection began, if that is known.
    #[must_use]
    pub fn arrival(&self) -> Option<Arrival> {
        self.arrival.get().copied()
    }

    /// The client says who it is.
    pub fn introduce(&self, client: Client) {
        *self.client.lock() = Some(Box::new(client));
    }

    /// Who it said it is.
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        self.client.lock().as_deref().cloned()
    }

    /// Something came from the client. Only the one who serves it may say so.
    pub fn note_input(&self, at: Tick, messages: u64, bytes: u64) {
        self.heard.store(at.0, Ordering::Relaxed);
        add(&self.messages_in, messages);
        add(&self.bytes_in, bytes);
    }

    /// Something is sent to the client. Only whoever has its queue may say so.
    pub fn note_output(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }

    /// The client has so many subscriptions now.
    pub fn note_subscriptions(&self, subscriptions: usize) {
        let subscriptions = u32::try_from(subscriptions).unwrap_or(u32::MAX);
        self.subscriptions.store(subscriptions, Ordering::Relaxed);
    }

    /// How much it did so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            heard: Tick(self.heard.load(Ordering::Relaxed)),
            messages_in: self.messages_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
        }
    }
}

/// One at a time writes such a counter, so no addition is lost.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
