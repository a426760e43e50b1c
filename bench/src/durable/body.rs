//! Payloads of tasks: distinct and not compressible, so that what a server keeps on disk is what
//! a task takes, and no more of them than stay in the cache.

use anyhow::{Result, ensure};

use super::dialect::excerpt;

/// How many different payloads there are. 1024: even of the smallest, more bytes than any
/// compressor that a server uses looks back over.
const COUNT: usize = 1024;
/// Letters of a payload; those at its start are its number.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Letters of a number: enough for [`COUNT`].
const NUMBER_LETTERS: usize = 2;

/// The payloads of a run, all of one size.
#[derive(Debug)]
pub struct Bodies {
    bytes: usize,
    all: Vec<u8>,
}

impl Bodies {
    /// Payloads of `bytes` each, at least as many as a number has letters; always the same ones.
    pub fn of(bytes: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut letter = || {
            // xorshift64: any sequence without repetitions will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LETTERS[(state >> 58) as usize]
        };
        let mut all = Vec::with_capacity(COUNT * bytes);
        for number in 0..COUNT {
            all.extend([LETTERS[number / LETTERS.len()], LETTERS[number % LETTERS.len()]]);
            all.extend((NUMBER_LETTERS..bytes).map(|_| letter()));
        }
        Self { bytes, all }
    }

    /// Size of every payload.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A payload; another one for each of many `turn`s in a row.
    pub fn body(&self, turn: usize) -> &[u8] {
        let start = turn % COUNT * self.bytes;
        &self.all[start..start + self.bytes]
    }

    /// Whether the payload of `size` bytes at `at`, with its CRLF, has come whole. Fails if it is
    /// none of these.
    pub fn has_come(&self, input: &[u8], at: usize, size: usize) -> Result<bool> {
        let Some(found) = input.get(at..at + size + 2) else { return Ok(false) };
        let (body, end) = found.split_at(size);
        ensure!(self.contains(body) && end == b"\r\n", "a task came with {:?}", excerpt(found));
        Ok(true)
    }

    fn contains(&self, body: &[u8]) -> bool {
        let place = |letter: &u8| LETTERS.iter().position(|known| known == letter);
        let [high, low, ..] = body else { return false };
        let Some((high, low)) = place(high).zip(place(low)) else { return false };
        let number = high * LETTERS.len() + low;
        number < COUNT && self.body(number) == body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_again_and_an_altered_one_is_not() {
        let bodies = Bodies::of(16);
        for turn in [0, 1, 63, 64, COUNT - 1, COUNT] {
            let mut frame = [bodies.body(turn), b"\r\n"].concat();
            assert!(bodies.has_come(&frame, 0, 16).expect("one of ours"));
            assert!(!bodies.has_come(&frame[..17], 0, 16).expect("not whole yet"));
            frame[15] ^= 1;
            assert!(bodies.has_come(&frame, 0, 16).is_err());
        }
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let bodies = Bodies::of(64);
        let (one, other) = (bodies.body(7), bodies.body(8));
        let same = one.iter().zip(other).filter(|(one, other)| one == other).count();
        assert!(same < 8, "{same} of 64 letters");
    }
}
