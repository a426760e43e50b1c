//! Everything one connection receives: counted by arithmetic, checked by samples.
//!
//! The deliveries of a scenario are one frame repeated, so a chunk is right if its first and its
//! last frame length of bytes are what must stand at those places: a lost, doubled or foreign
//! byte anywhere between shifts the end. Only a chunk that fails this is walked frame by frame,
//! because the server may say something of its own (`PING`, `PONG`, `INFO`) between two frames.

use anyhow::{Result, bail, ensure};

/// Counts what a connection receives.
#[derive(Debug)]
pub struct Inbound {
    /// The expected frame twice over, so that one frame length can be compared from any phase.
    twice: Vec<u8>,
    frame_bytes: usize,
    /// How many bytes of the current frame have come.
    phase: usize,
    /// A line of the server's own that has not ended yet.
    line: Vec<u8>,
    messages: u64,
    pongs: u64,
    pings: u64,
}

impl Inbound {
    /// Expect `frame` again and again; an empty frame if no deliveries may come.
    pub fn expecting(frame: &[u8]) -> Self {
        Self {
            twice: frame.repeat(2),
            frame_bytes: frame.len(),
            phase: 0,
            line: Vec::new(),
            messages: 0,
            pongs: 0,
            pings: 0,
        }
    }

    /// Complete deliveries so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// `PONG`s so far.
    pub fn pongs(&self) -> u64 {
        self.pongs
    }

    /// The `PING`s that came since the last call; each wants a `PONG`.
    pub fn take_pings(&mut self) -> u64 {
        std::mem::take(&mut self.pings)
    }

    /// Take in what was read. Fails if it is not what must come: the run is then worth nothing.
    pub fn handle_chunk(&mut self, chunk: &[u8]) -> Result<()> {
        if self.is_all_frames(chunk) {
            let total = self.phase + chunk.len();
            self.messages += (total / self.frame_bytes) as u64;
            self.phase = total % self.frame_bytes;
            return Ok(());
        }
        self.walk(chunk)
    }

    fn is_all_frames(&self, chunk: &[u8]) -> bool {
        if self.frame_bytes == 0 || !self.line.is_empty() {
            return false;
        }
        let sample = chunk.len().min(self.frame_bytes);
        let last = chunk.len() - sample;
        let last_phase = (self.phase + last) % self.frame_bytes;
        chunk[..sample] == self.twice[self.phase..][..sample]
            && chunk[last..] == self.twice[last_phase..][..sample]
    }

    fn walk(&mut self, mut chunk: &[u8]) -> Result<()> {
        while let Some(&first) = chunk.first() {
            let between = self.phase == 0;
            let is_line = between && (!self.line.is_empty() || Some(&first) != self.twice.first());
            let taken = if is_line { self.walk_line(chunk)? } else { self.walk_frame(chunk)? };
            chunk = &chunk[taken..];
        }
        Ok(())
    }

    fn walk_frame(&mut self, chunk: &[u8]) -> Result<usize> {
        let taken = chunk.len().min(self.frame_bytes - self.phase);
        let expected = &self.twice[self.phase..][..taken];
        ensure!(
            chunk[..taken] == *expected,
            "delivery {} is wrong: expected {:?}, found {:?}",
            self.messages,
            excerpt(expected),
            excerpt(&chunk[..taken]),
        );
        self.phase += taken;
        if self.phase == self.frame_bytes {
            self.phase = 0;
            self.messages += 1;
        }
        Ok(taken)
    }

    fn walk_line(&mut self, chunk: &[u8]) -> Result<usize> {
        let first = self.line.first().or(chunk.first()).copied().unwrap_or_default();
        if !first.is_ascii_graphic() {
            return self.walk_binary(chunk);
        }
        let Some(end) = memchr::memchr(b'\n', chunk) else {
            self.line.extend_from_slice(chunk);
            return Ok(chunk.len());
        };
        self.line.extend_from_slice(&chunk[..=end]);
        let line = std::mem::take(&mut self.line);
        let verb = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        match verb {
            b"PONG" => self.pongs += 1,
            b"PING" => self.pings += 1,
            b"INFO" => {}
            _ => bail!("the server said {:?}", excerpt(&line)),
        }
        Ok(end + 1)
    }

    /// A frame of the server's own in the binary framing: a head of 8 bytes, of which the last four
    /// say how much follows.
    fn walk_binary(&mut self, chunk: &[u8]) -> Result<usize> {
        let mut taken = 0;
        loop {
            let whole = match self.line.first_chunk::<8>() {
                Some([_, _, _, _, length @ ..]) => 8 + u32::from_le_bytes(*length) as usize,
                None => 8,
            };
            if self.line.len() >= 8 && self.line.len() == whole {
                break;
            }
            let more = (whole - self.line.len()).min(chunk.len() - taken);
            if more == 0 {
                return Ok(taken);
            }
            self.line.extend_from_slice(&chunk[taken..taken + more]);
            taken += more;
        }
        let frame = std::mem::take(&mut self.line);
        match frame[0] {
            0x01 => self.pings += 1,
            0x02 => self.pongs += 1,
            0x80 => {}
            _ => bail!("the server said {:?}", frame.escape_ascii().to_string()),
        }
        Ok(taken)
    }
}

/// Enough of `bytes` to recognise them in a message.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Message;
    use crate::framings::Framing;

    /// Feed `stream` in pieces of `size`; (messages, pongs, pings) at the end.
    fn check(stream: &[u8], size: usize) -> Result<(u64, u64, u64)> {
        let mut inbound = Inbound::expecting(&Message::plain(16).delivered());
        for chunk in stream.chunks(size) {
            inbound.handle_chunk(chunk)?;
        }
        Ok((inbound.messages(), inbound.pongs(), inbound.take_pings()))
    }

    fn frames(count: usize) -> Vec<u8> {
        Message::plain(16).delivered().repeat(count)
    }

    #[test]
    fn counts_are_the_same_however_the_stream_is_cut() {
        let stream = [&frames(7)[..], b"PING\r\n", &frames(5), b"PONG\r\nINFO {}\r\n"].concat();
        for size in 1..=stream.len() {
            assert_eq!(check(&stream, size).expect("a right stream"), (12, 1, 1), "size {size}");
        }
    }

    #[test]
    fn binary_frames_are_counted_however_the_stream_is_cut() {
        let delivery = [0x81, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, b'h', b'i'];
        let info = [0x80, 0, 0, 0, 2, 0, 0, 0, b'{', b'}'];
        let (ping, pong) = (Framing::Binary.ping(), Framing::Binary.pong());
        let stream = [&delivery[..], &info, ping, &delivery, &delivery, pong].concat();
        for size in 1..=stream.len() {
            let mut inbound = Inbound::expecting(&delivery);
            for chunk in stream.chunks(size) {
                inbound.handle_chunk(chunk).expect("a right stream");
            }
            let counts = (inbound.messages(), inbound.pongs(), inbound.take_pings());
            assert_eq!(counts, (3, 1, 1), "size {size}");
        }
    }

    #[test]
    fn a_missing_byte_is_found_however_the_stream_is_cut() {
        let mut stream = frames(9);
        stream.remove(100);
        for size in 1..=stream.len() {
            assert!(check(&stream, size).is_err(), "size {size}");
        }
    }

    #[test]
    fn an_error_line_is_a_fault() {
        assert!(check(b"-ERR 'Slow Consumer'\r\n", 100).is_err());
    }
}
