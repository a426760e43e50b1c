//! How what a session or the durable plane has to say becomes bytes for one client: as lines, or as
//! frames of the binary framing.

use agentcom_protocol::{Decoded, Limits, ServerDecoder, binary, encode};

/// What a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Lines, as NATS has them.
    Text,
    /// Frames with their size in front.
    Binary,
}

impl Framing {
    /// `PING`.
    #[must_use]
    pub fn ping(self) -> &'static [u8] {
        match self {
            Framing::Text => encode::fixed::PING,
            Framing::Binary => binary::encode::fixed::PING,
        }
    }

    /// `PONG`.
    #[must_use]
    pub fn pong(self) -> &'static [u8] {
        match self {
            Framing::Text => encode::fixed::PONG,
            Framing::Binary => binary::encode::fixed::PONG,
        }
    }

    /// `+OK`.
    #[must_use]
    pub fn ok(self) -> &'static [u8] {
        match self {
            Framing::Text => encode::fixed::OK,
            Framing::Binary => binary::encode::fixed::OK,
        }
    }

    /// `-ERR`.
    pub fn error(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Framing::Text => encode::error(out, text),
            Framing::Binary => binary::encode::error(out, text),
        }
    }

    /// `INFO`.
    pub fn info(self, out: &mut Vec<u8>, json: &[u8]) {
        match self {
            Framing::Text => encode::info(out, json),
            Framing::Binary => binary::encode::info(out, json),
        }
    }

    /// What `word` says in lines. Answers of our own verbs are worded once and carried in both
    /// framings; next to the disk that they waited for, to read the line once more costs nothing.
    pub fn worded(self, out: &mut Vec<u8>, word: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Framing::Text => word(out),
            Framing::Binary => {
                let mut lines = Vec::new();
                word(&mut lines);
                translate(out, &lines);
            }
        }
    }
}

fn translate(out: &mut Vec<u8>, mut lines: &[u8]) {
    let limits = Limits { control_line_bytes_max: usize::MAX, payload_bytes_max: usize::MAX };
    let decoder = ServerDecoder::new(limits);
    while !lines.is_empty() {
        let translated = match decoder.decode(lines) {
            Ok(Decoded::Frame { frame, consumed }) => {
                lines = &lines[consumed..];
                binary::encode::translated(out, &frame).is_ok()
            }
            _ => false,
        };
        if !translated {
            // A line that is none would be wrong for clients of lines too, and is no reason to stop
            // the thread that keeps everybody's tasks.
            tracing::error!(lines = %lines.escape_ascii(), "cannot be said in a frame");
            debug_assert!(false, "the broker words lines with the tags and sids that it was given");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worded_once_is_said_in_both_framings() {
        let word = |out: &mut Vec<u8>| {
            encode::words(out, &["OK", "7", "task=17"], None);
            encode::declined(out, "8", "busy", "later");
        };
        let (mut lines, mut frames, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        Framing::Text.worded(&mut lines, word);
        Framing::Binary.worded(&mut frames, word);
        assert_eq!(lines, b"OK 7 task=17\r\nERR 8 busy 'later'\r\n");
        binary::encode::granted(&mut expected, 7, &["task=17"], b"");
        binary::encode::declined(&mut expected, 8, "busy", "later");
        assert_eq!(frames, expected);
    }
}
