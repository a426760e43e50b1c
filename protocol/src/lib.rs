//! The AgentCom wire protocol, sans-io: bytes in, frames out, and back.
//!
//! The text protocol is a strict superset of the NATS client protocol; `docs/protocol.md` is its
//! normative description, and the functions of [`grammar`] carry the names of its lines.
//!
//! ```text
//! line     = verb *(ws word) [CR] LF
//! CONNECT  json                            PUB   subject [reply] size        + payload
//! SUB      subject [queue] sid             HPUB  subject [reply] hsize tsize + header, payload
//! UNSUB    sid [max]                       PING, PONG
//! request  = verb words, tag, arguments, key=value options, [size]           + body
//! ```
//!
//! What a frame may assume: its boundary is right, its sizes are within the [`Limits`], and every
//! field is a slice of the caller's buffer. It may *not* assume that a subject is well formed:
//! that is what [`Subject`] and [`Filter`] are for, once per subject and not once per message.
//!
//! The same frames without words to look for are in [`binary`].
//!
//! There is no socket, no clock and no runtime in this crate.

pub mod binary;
mod connect;
mod decode;
pub mod encode;
mod error;
mod frame;
pub mod grammar;
mod header;
mod info;
mod scan;
mod subject;
mod verb;

pub use connect::Connect;
pub use decode::{ClientDecoder, Decoded, Limits, ServerDecoder};
pub use error::{DecodeError, Mistake};
pub use frame::{ClientFrame, Message, Publish, Request, ServerFrame};
pub use header::{HeaderError, HeaderMap, StatusLine};
pub use info::{Extension, ServerInfo};
pub use subject::{Filter, Subject, SubjectError, tokens};
pub use verb::{Body, Verb, help};
