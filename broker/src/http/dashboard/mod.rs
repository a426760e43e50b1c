//! The dashboard: a page, the picture that it begins with, and what changes since.
//!
//! ```text
//! snapshot.rs   everything at one moment      event.rs    what happened -> frames
//! socket.rs     the WebSocket of the page     page.rs     the page itself
//! ```

mod event;
mod page;
mod snapshot;
mod socket;

pub(super) use page::{app, connection, page, push, style, view, worker};
pub use snapshot::Snapshots;
pub(super) use snapshot::{health, state};
pub(super) use socket::open;
