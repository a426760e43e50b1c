//! Frames to bytes, appended to a buffer that the caller owns. Nothing here allocates beyond the
//! growth of that buffer, and nothing checks: subjects, sids and header blocks are passed on as
//! they were taken in.

use crate::frame::{Message, Publish};

/// `PUB` or `HPUB` with its payload.
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    out.extend_from_slice(if publish.header_bytes.is_some() { b"HPUB " } else { b"PUB " });
    out.extend_from_slice(publish.subject);
    reply_sizes_payload(out, publish.reply, publish.header_bytes, publish.payload);
}

/// `MSG` or `HMSG` with its payload.
pub fn message(out: &mut Vec<u8>, message: &Message<'_>) {
    out.extend_from_slice(if message.header_bytes.is_some() { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(message.subject);
    out.push(b' ');
    out.extend_from_slice(message.sid);
    reply_sizes_payload(out, message.reply, message.header_bytes, message.payload);
}

/// `SUB`.
pub fn subscribe(out: &mut Vec<u8>, filter: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(filter);
    if let Some(queue) = queue {
        out.push(b' ');
        out.extend_from_slice(queue);
    }
    out.push(b' ');
    out.extend_from_slice(sid);
    out.extend_from_slice(b"\r\n");
}

/// `UNSUB`. A `max` of more than nine digits is cut to nine of them: a broker that follows NATS
/// would read more as "now".
pub fn unsubscribe(out: &mut Vec<u8>, sid: &[u8], max: Option<u64>) {
    out.extend_from_slice(b"UNSUB ");
    out.extend_from_slice(sid);
    if let Some(max) = max {
        out.push(b' ');
        decimal(out, max.min(999_999_999));
    }
    out.extend_from_slice(b"\r\n");
}

/// `CONNECT`; `json` is one line.
pub fn connect(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"CONNECT ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\r\n");
}

/// `INFO`; `json` is one line. NATS writes a blank in front of the line end, so we do.
pub fn info(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"INFO ");
    out.extend_from_slice(json);
    out.extend_from_slice(b" \r\n");
}

/// `-ERR`. The quotes belong to the protocol: clients look for them.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"'\r\n");
}

/// The lines that never vary.
pub mod fixed {
    /// `PING`.
    pub const PING: &[u8] = b"PING\r\n";
    /// `PONG`.
    pub const PONG: &[u8] = b"PONG\r\n";
    /// `+OK`.
    pub const OK: &[u8] = b"+OK\r\n";
    /// `REPLACED`.
    pub const REPLACED: &[u8] = b"REPLACED\r\n";
}

/// A line of words of ours, with an optional body: `words` are joined by blanks, then the size of
/// the body if there is one.
pub fn words(out: &mut Vec<u8>, words: &[&str], body: Option<&[u8]>) {
    let Some((first, others)) = words.split_first() else { return };
    let mut line = Line::begin(out, first);
    others.iter().for_each(|word| line.word(word));
    match body {
        Some(body) => line.end_with(body),
        None => line.end(),
    }
}

/// A line of words of ours while it is put together.
#[derive(Debug)]
#[must_use = "a line has to be ended"]
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Line<'a> {
    /// Begin it with its first word, at the end of `out`.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, word: &str) -> Line<'a> {
        out.extend_from_slice(word.as_bytes());
        Line { out }
    }

    /// Add a word.
    #[inline]
    pub fn word(&mut self, word: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(word.as_bytes());
    }

    /// Add a number as a word.
    #[inline]
    pub fn decimal(&mut self, value: u64) {
        self.out.push(b' ');
        decimal(self.out, value);
    }

    /// Add `name=value`.
    #[inline]
    pub fn field(&mut self, name: &str, value: &str) {
        self.word(name);
        self.out.push(b'=');
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Add `name=value`.
    #[inline]
    pub fn number(&mut self, name: &str, value: u64) {
        self.word(name);
        self.out.push(b'=');
        decimal(self.out, value);
    }

    /// End it.
    #[inline]
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// End it with the size of a body, which follows.
    #[inline]
    pub fn end_with(mut self, body: &[u8]) {
        self.decimal(body.len() as u64);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
        self.end();
    }
}

/// `ERR tag code 'sentence'`. Characters of the sentence that could end the line are replaced.
pub fn declined(out: &mut Vec<u8>, tag: &str, code: &str, sentence: &str) {
    let sentence: String = sentence.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    words(out, &["ERR", tag, code, &format!("'{sentence}'")], None);
}

/// A number in decimal digits, appended.
#[inline]
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Decimal::new(value).as_bytes());
}

/// A number in decimal digits, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; Decimal::DIGITS_MAX],
    start: usize,
}

impl Decimal {
    /// Digits of the largest number.
    const DIGITS_MAX: usize = 20;

    /// The digits of `value`.
    #[inline]
    #[must_use]
    pub fn new(mut value: u64) -> Decimal {
        let mut digits = [0; Decimal::DIGITS_MAX];
        let mut start = Decimal::DIGITS_MAX;
        loop {
            start -= 1;
            digits[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return Decimal { digits, start };
            }
        }
    }

    /// The digits, without leading zeros.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

fn reply_sizes_payload(
    out: &mut Vec<u8>,
    reply: Option<&[u8]>,
    header_bytes: Option<usize>,
    payload: &[u8],
) {
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if let Some(header_bytes) = header_bytes {
        decimal(out, header_bytes as u64);
        out.push(b' ');
    }
    decimal(out, payload.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}
