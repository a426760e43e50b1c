//! The binary framing: the same frames without words to look for (docs/protocol.md, "Binary
//! framing").
//!
//! ```text
//! head   = kind, count, number, length                       8 bytes, little-endian
//! PUB    head [sizes] [subject] [reply] [header] payload     MSG    head sid [sizes] ... payload
//! SUB    head sid queue filter                               ALIAS  head subject
//! REQUEST  head tag verb words body                          GRANTED, DECLINED, PUSH
//! ```
//!
//! A frame starts with its size, so its end is found without a search, and a subject that a client
//! has numbered ([`ClientFrame::Alias`]) is a number from then on. What a number stands for is the
//! business of the two ends; the decoders keep nothing, like those of the text framing, and what
//! they give is bounded and sliced in the same way.
//!
//! The first byte of a frame is never a printable character, so no frame begins like a line.

mod decode;
pub mod encode;
mod frame;
pub mod grammar;

pub use decode::{ClientDecoder, ServerDecoder, begins_frame};
pub use frame::{ClientFrame, Message, Named, Publish, Request, ServerFrame};

/// The name of this framing in INFO and CONNECT.
pub const NAME: &str = "binary1";
