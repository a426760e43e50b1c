//! The read buffer: filled from the socket, frozen, and handed out in slices.
//!
//! Whatever came in with one read is frozen as a whole, so a message costs reference counts and
//! no copies. Only the incomplete frame at the end is copied to the front of the next buffer; and
//! while a large frame is still incomplete, nothing is frozen, so it is copied at most once.

use agentcom_protocol::binary::{self, Named};
use agentcom_protocol::{DecodeError, Decoded, Limits, Message, ServerDecoder, ServerFrame};
use bytes::{Buf, Bytes, BytesMut};

use crate::subscriptions;

/// What one read may bring in: the largest that tends to pay (nats-server's own read buffers end
/// here too).
const READ_BYTES: usize = 64 * 1024;

/// Do not ask the kernel for less than this.
const READ_BYTES_MIN: usize = 8 * 1024;

const LIMITS: Limits = Limits {
    // INFO with many servers in it is the longest line.
    control_line_bytes_max: 1024 * 1024,
    // The server's `max_payload` may be raised, but NATS stops at 64 MiB.
    payload_bytes_max: 64 * 1024 * 1024,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbound {
    buffer: BytesMut,
    /// It is not worth decoding before the buffer holds this many bytes.
    needed: usize,
    decoder: Decoder,
}

#[derive(Clone, Copy, Debug)]
enum Decoder {
    Text(ServerDecoder),
    Binary(binary::ServerDecoder),
}

/// A frame in either framing. Whose subscription or question it is about is a number in both; a
/// line with another word there is of no concern to this client, and is `Common`.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    Message(binary::Message<'a>),
    Granted { tag: u32, fields: Vec<(&'a str, &'a str)>, body: &'a [u8] },
    Declined { tag: u32, code: &'a str, sentence: &'a str },
    Common(ServerFrame<'a>),
}

impl<'a> Frame<'a> {
    #[inline]
    fn of_line(frame: ServerFrame<'a>) -> Frame<'a> {
        match frame {
            ServerFrame::Message(message) => {
                let Message { subject, sid, reply, header_bytes, payload } = message;
                match subscriptions::sid(sid) {
                    Some(sid) => {
                        let subject = Some(Named::Full(subject));
                        let message =
                            binary::Message { sid, subject, reply, header_bytes, payload };
                        Frame::Message(message)
                    }
                    None => Frame::Common(ServerFrame::Message(message)),
                }
            }
            ServerFrame::Granted { tag, fields, body } => match tag.parse() {
                Ok(tag) => Frame::Granted { tag, fields, body },
                Err(_) => Frame::Common(ServerFrame::Granted { tag, fields, body }),
            },
            ServerFrame::Declined { tag, code, sentence } => match tag.parse() {
                Ok(tag) => Frame::Declined { tag, code, sentence },
                Err(_) => Frame::Common(ServerFrame::Declined { tag, code, sentence }),
            },
            other => Frame::Common(other),
        }
    }

    #[inline]
    fn of_numbers(frame: binary::ServerFrame<'a>) -> Frame<'a> {
        match frame {
            binary::ServerFrame::Message(message) => Frame::Message(message),
            binary::ServerFrame::Granted { tag, fields, body } => {
                Frame::Granted { tag, fields, body }
            }
            binary::ServerFrame::Declined { tag, code, sentence } => {
                Frame::Declined { tag, code, sentence }
            }
            binary::ServerFrame::Common(frame) => Frame::Common(frame),
        }
    }
}

impl Decoder {
    #[inline]
    fn decode<'a>(&self, input: &'a [u8]) -> Result<Decoded<Frame<'a>>, DecodeError> {
        Ok(match self {
            Decoder::Text(decoder) => match decoder.decode(input)? {
                Decoded::Frame { frame, consumed } => {
                    Decoded::Frame { frame: Frame::of_line(frame), consumed }
                }
                Decoded::Incomplete { needed } => Decoded::Incomplete { needed },
            },
            Decoder::Binary(decoder) => match decoder.decode(input)? {
                Decoded::Frame { frame, consumed } => {
                    Decoded::Frame { frame: Frame::of_numbers(frame), consumed }
                }
                Decoded::Incomplete { needed } => Decoded::Incomplete { needed },
            },
        })
    }
}

impl Inbound {
    pub(crate) fn new() -> Inbound {
        Inbound {
            buffer: BytesMut::with_capacity(READ_BYTES),
            needed: 1,
            decoder: Decoder::Text(ServerDecoder::new(LIMITS)),
        }
    }

    /// The next byte begins a binary frame.
    pub(crate) fn change_over(&mut self) {
        self.decoder = Decoder::Binary(binary::ServerDecoder::new(LIMITS));
    }

    /// Room to read into.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let missing = self.needed.saturating_sub(self.buffer.len());
        if self.buffer.capacity() - self.buffer.len() < missing.max(READ_BYTES_MIN) {
            self.buffer.reserve(missing.max(READ_BYTES));
        }
        &mut self.buffer
    }

    /// Hand every whole frame to `handle`, with the chunk that it points into. What `handle`
    /// answers [`std::ops::ControlFlow::Break`] to is the last one; those behind it stay.
    pub(crate) fn frames(
        &mut self,
        mut handle: impl FnMut(Frame<'_>, &Bytes) -> std::ops::ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        if self.buffer.len() < self.needed {
            return Ok(());
        }
        let mut chunk = self.buffer.split().freeze();
        self.needed = 1;
        while !chunk.is_empty() {
            match self.decoder.decode(&chunk)? {
                Decoded::Incomplete { needed } => {
                    self.needed = needed;
                    break;
                }
                Decoded::Frame { frame, consumed } => {
                    let flow = handle(frame, &chunk);
                    chunk.advance(consumed);
                    if flow.is_break() {
                        break;
                    }
                }
            }
        }
        self.buffer.reserve(chunk.len());
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    const INPUT: &[u8] =
        b"PING\r\nMSG a 1 5\r\nhello\r\nHMSG b 2 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n\
        +OK\r\nOK 1 task=17\r\nOFFER 17 1 queue=q 2\r\nab\r\nREPLACED\r\n";

    fn decode(pieces: impl Iterator<Item = &'static [u8]>) -> Vec<String> {
        let mut inbound = Inbound::new();
        let mut frames = Vec::new();
        for piece in pieces {
            inbound.room().extend_from_slice(piece);
            inbound
                .frames(|frame, _| {
                    frames.push(format!("{frame:?}"));
                    ControlFlow::Continue(())
                })
                .expect("a legal stream");
        }
        frames
    }

    #[test]
    fn the_split_of_the_bytes_does_not_change_the_frames() {
        let whole = decode(std::iter::once(INPUT));
        assert_eq!(whole.len(), 7);
        for size in 1..INPUT.len() {
            assert_eq!(decode(INPUT.chunks(size)), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_payload_is_a_slice_of_the_chunk() {
        let mut inbound = Inbound::new();
        inbound.room().extend_from_slice(b"MSG a 1 5\r\nhello\r\nMSG a 1 5\r\nhel");
        let mut kept = Vec::new();
        let mut take = |frame: Frame<'_>, chunk: &Bytes| {
            if let Frame::Message(message) = frame {
                let payload = chunk.slice_ref(message.payload);
                assert_eq!(payload.as_ptr(), message.payload.as_ptr());
                kept.push(payload);
            }
            ControlFlow::Continue(())
        };
        inbound.frames(&mut take).expect("legal");
        inbound.room().extend_from_slice(b"lo\r\n");
        inbound.frames(&mut take).expect("legal");
        assert_eq!(kept, [&b"hello"[..], &b"hello"[..]]);
    }

    #[test]
    fn a_break_leaves_the_frames_behind_it() {
        let mut inbound = Inbound::new();
        inbound.room().extend_from_slice(b"PONG\r\nMSG a 1 0\r\n\r\n");
        let mut frames = 0;
        for _ in 0..2 {
            let counted = inbound.frames(|_, _| {
                frames += 1;
                ControlFlow::Break(())
            });
            counted.expect("legal");
        }
        assert_eq!(frames, 2);
    }
}
