//! The routing plane: who wants this message, and where do its bytes go?
//!
//! ```text
//! PUB ──> dispatch ──> route (cached) ──> one buffer per receiver ──> outlet ──> socket
//!              │ miss or stale
//!              └──> router: index of literal subjects + trie of wildcard filters
//! ```
//!
//! Nothing is stored and nothing waits. Each worker thread has one [`Dispatch`]; all of them share
//! one [`Router`].

mod buffers;
mod cache;
mod dispatch;
mod frame;
mod index;
mod permissions;
mod route;
mod router;
mod subscription;
mod trie;

pub use cache::Place;
pub use dispatch::{Delivered, Dispatch, Origin};
pub use index::{Index, Keyed};
pub use permissions::{Entry, Permissions, Rules};
pub use route::Destination;
pub(crate) use route::{API_PREFIX, BROKER_PREFIX, EVENT_PREFIX};
pub use router::Router;
pub use subscription::Subscription;
