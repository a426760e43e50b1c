//! Everything one connection sends: one frame repeated, up to an allowance.
//!
//! The frames are laid out once, many in a row, and written from there: a message costs the
//! generator nothing but its share of a system call. What may be written is an allowance that the
//! scenario raises; a line of the client's own (`PING`, `PONG`) goes between two frames.

use std::io::{self, Write};

/// Bytes laid out for one write: large enough that the system call is paid by hundreds of small
/// frames, small enough to stay in the second-level cache.
const RUN_BYTES: usize = 128 * 1024;

/// Sends what a connection has to say.
#[derive(Debug)]
pub struct Outbound {
    /// Whole frames in a row; written round and round.
    run: Vec<u8>,
    frame_bytes: u64,
    written_bytes: u64,
    allowed_bytes: u64,
    /// Lines that go out at the next boundary between frames.
    lines: Vec<u8>,
}

impl Outbound {
    /// Send `frame` again and again, once allowed to; an empty frame to send only lines.
    pub fn repeating(frame: &[u8]) -> Self {
        let copies = RUN_BYTES.checked_div(frame.len()).unwrap_or(0).max(1);
        Self {
            run: frame.repeat(copies),
            frame_bytes: frame.len() as u64,
            written_bytes: 0,
            allowed_bytes: 0,
            lines: Vec::new(),
        }
    }

    /// Messages written whole.
    pub fn messages(&self) -> u64 {
        self.written_bytes.checked_div(self.frame_bytes).unwrap_or(0)
    }

    /// Messages written whole or in part: those that will have been sent if no more are allowed.
    pub fn messages_begun(&self) -> u64 {
        self.written_bytes.div_ceil(self.frame_bytes.max(1))
    }

    /// Allow `messages` in total since the start, never fewer than have begun.
    pub fn allow(&mut self, messages: u64) {
        self.allowed_bytes = messages.max(self.messages_begun()) * self.frame_bytes;
    }

    /// Put `line`, with its CRLF, after the frame being written.
    pub fn push_line(&mut self, line: &[u8]) {
        self.lines.extend_from_slice(line);
    }

    /// Whether [`Outbound::write`] has anything to do.
    pub fn is_pending(&self) -> bool {
        !self.lines.is_empty() || self.written_bytes < self.allowed_bytes
    }

    /// Write once. `Ok(true)` if the socket took everything it was given.
    pub fn write(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        if !self.lines.is_empty() && self.is_at_boundary() {
            let taken = socket.write(&self.lines)?;
            self.lines.drain(..taken);
            return Ok(self.lines.is_empty());
        }
        let start = self.written_bytes % self.run.len() as u64;
        // A waiting line goes out after the current frame, however much more is allowed.
        let end_bytes = match self.lines.is_empty() {
            true => self.allowed_bytes,
            false => self.messages_begun() * self.frame_bytes,
        };
        let piece = &self.run[start as usize..];
        let length = (piece.len() as u64).min(end_bytes - self.written_bytes) as usize;
        let taken = socket.write(&piece[..length])?;
        self.written_bytes += taken as u64;
        Ok(taken == length)
    }

    fn is_at_boundary(&self) -> bool {
        self.frame_bytes == 0 || self.written_bytes.is_multiple_of(self.frame_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes at most `most` bytes a write.
    struct Narrow {
        most: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_go_between_frames_and_the_allowance_is_kept() {
        for most in 1..20 {
            let mut socket = Narrow { most, taken: Vec::new() };
            let mut outbound = Outbound::repeating(b"PUB a 0\r\n\r\n");
            outbound.allow(2);
            outbound.write(&mut socket).expect("never fails");
            outbound.push_line(b"PING\r\n");
            while outbound.is_pending() {
                outbound.write(&mut socket).expect("never fails");
            }
            let text = String::from_utf8(socket.taken).expect("ASCII");
            assert_eq!(text.matches("PUB a 0\r\n\r\n").count(), 2, "most {most}");
            assert_eq!(text.replace("PUB a 0\r\n\r\n", ""), "PING\r\n", "most {most}");
            assert_eq!(outbound.messages(), 2);
        }
    }
}
