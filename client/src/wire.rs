//! Frames for the server at the other end, in the framing that the link speaks: lines, or binary
//! frames in which subjects that are published to again have numbers.
//!
//! Numbers belong to one link. What must outlive a link is kept as lines, which stand for
//! themselves, and is said again on the next one.

use std::collections::HashMap;

use agentcom_protocol::binary::{self, Named};
use agentcom_protocol::{ClientDecoder, ClientFrame, Decoded, Limits, Publish, Verb, encode};

use crate::subject::Subject;

/// Subjects that were published to once and may be again: a bound on what inboxes, which are used
/// once, leave behind.
const SEEN_MAX: usize = 1024;

/// Room for the digits of a number that a process is likely to reach.
const SID_DIGITS_TYPICAL: usize = 8;

const UNLIMITED: Limits =
    Limits { control_line_bytes_max: usize::MAX, payload_bytes_max: usize::MAX };

/// Whole frames, and how the next one is written.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Text,
    Binary(Numbers),
}

/// The numbers that this link gave to subjects.
#[derive(Debug, Default)]
struct Numbers {
    uses: HashMap<Box<[u8]>, Use>,
    /// By number, from 1.
    subjects: Vec<Subject>,
    /// How many there may be.
    subjects_max: usize,
    /// The newest subject with a number: publishers repeat themselves.
    newest: (Box<[u8]>, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Published to once. A number pays from the second time on.
    Once,
    Number(u16),
}

impl Wire {
    /// Lines, in a buffer that has room.
    pub(crate) fn text(bytes: Vec<u8>) -> Wire {
        Wire { bytes, framing: Framing::Text }
    }

    /// Binary frames with at most `subjects_max` numbers.
    pub(crate) fn binary(bytes: Vec<u8>, subjects_max: usize) -> Wire {
        // The field of a number is of 16 bits.
        let subjects_max = subjects_max.min(usize::from(u16::MAX));
        let numbers = Numbers { subjects_max, ..Numbers::default() };
        Wire { bytes, framing: Framing::Binary(numbers) }
    }

    pub(crate) fn is_binary(&self) -> bool {
        matches!(self.framing, Framing::Binary(_))
    }

    /// `PUB` or `HPUB`.
    #[inline]
    pub(crate) fn publish(&mut self, publish: &Publish<'_>) {
        match &mut self.framing {
            Framing::Text => encode::publish(&mut self.bytes, publish),
            Framing::Binary(numbers) => {
                let &Publish { subject, reply, header_bytes, payload } = publish;
                let subject = numbers.named(&mut self.bytes, subject);
                let publish = binary::Publish { subject, reply, header_bytes, payload };
                binary::encode::publish(&mut self.bytes, &publish);
            }
        }
    }

    /// `SUB` for a numbered subscription.
    pub(crate) fn subscribe(&mut self, filter: &str, queue: Option<&str>, sid: u32) {
        let (filter, queue) = (filter.as_bytes(), queue.map(str::as_bytes));
        match self.framing {
            Framing::Text => encode::subscribe(&mut self.bytes, filter, queue, &digits(sid)),
            Framing::Binary(_) => binary::encode::subscribe(&mut self.bytes, filter, queue, sid),
        }
    }

    /// `UNSUB` for a numbered subscription.
    pub(crate) fn unsubscribe(&mut self, sid: u32, max: Option<u64>) {
        match self.framing {
            Framing::Text => encode::unsubscribe(&mut self.bytes, &digits(sid), max),
            Framing::Binary(_) => binary::encode::unsubscribe(&mut self.bytes, sid, max),
        }
    }

    /// `PING`.
    pub(crate) fn ping(&mut self) {
        self.bytes.extend_from_slice(match self.framing {
            Framing::Text => encode::fixed::PING,
            Framing::Binary(_) => binary::encode::fixed::PING,
        });
    }

    /// `PONG`.
    pub(crate) fn pong(&mut self) {
        self.bytes.extend_from_slice(match self.framing {
            Framing::Text => encode::fixed::PONG,
            Framing::Binary(_) => binary::encode::fixed::PONG,
        });
    }

    /// One of our own verbs, which is both words; `arguments` and options go behind the tag.
    pub(crate) fn request(
        &mut self,
        verb: [&str; 2],
        tag: u32,
        arguments: &[&str],
        body: Option<&[u8]>,
    ) {
        match self.framing {
            Framing::Text => {
                let [family, action] = verb;
                let tag = tag.to_string();
                let words: Vec<&str> =
                    [family, action, &tag].into_iter().chain(arguments.iter().copied()).collect();
                encode::words(&mut self.bytes, &words, body);
            }
            Framing::Binary(_) => {
                let [family, action] = verb;
                let verb = Verb::find(family, action).expect("this client asks by verbs there are");
                let body = body.unwrap_or_default();
                binary::encode::request(&mut self.bytes, verb, tag, arguments, body);
            }
        }
    }

    /// What the number of a subject stands for.
    pub(crate) fn subject(&self, number: u16) -> Option<&Subject> {
        match &self.framing {
            Framing::Text => None,
            Framing::Binary(numbers) => numbers.subjects.get(usize::from(number).checked_sub(1)?),
        }
    }

    /// Say `lines` of this client's own again.
    pub(crate) fn repeat(&mut self, lines: &[u8]) {
        if matches!(self.framing, Framing::Text) {
            return self.bytes.extend_from_slice(lines);
        }
        let decoder = ClientDecoder::new(UNLIMITED);
        let mut rest = lines;
        while !rest.is_empty() {
            let Ok(Decoded::Frame { frame, consumed }) = decoder.decode(rest) else {
                debug_assert!(false, "the buffer holds whole lines of our own making");
                return;
            };
            rest = &rest[consumed..];
            match frame {
                ClientFrame::Publish(publish) => self.publish(&publish),
                ClientFrame::Ping => self.ping(),
                ClientFrame::Request(request) => {
                    let options: Vec<String> = request
                        .options
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect();
                    let options = options.iter().map(String::as_str);
                    let words: Vec<&str> = request.arguments.into_iter().chain(options).collect();
                    let tag = request.tag.parse().expect("the tags of this client are numbers");
                    binary::encode::request(
                        &mut self.bytes,
                        request.verb,
                        tag,
                        &words,
                        request.body,
                    );
                }
                other => debug_assert!(false, "{other:?} is not kept for another link"),
            }
        }
    }

    /// Append to `kept`, which is of lines, the publishes of `frames` that begin at `from` or later;
    /// `frames` were written by this. A frame of which a part was sent is lost with its link: the
    /// server cannot have understood it, and to send it again could repeat one that it did.
    pub(crate) fn keep_publishes(&self, frames: &[u8], from: usize, kept: &mut Vec<u8>) {
        let mut at = 0;
        while at < frames.len() {
            let rest = &frames[at..];
            let Some(consumed) = self.keep_publish(rest, (at >= from).then_some(&mut *kept)) else {
                debug_assert!(false, "the buffer holds whole frames of our own making");
                return;
            };
            at += consumed;
        }
    }

    /// The bytes of the frame at the front, which is appended to `kept` if it is a publish.
    fn keep_publish(&self, frames: &[u8], kept: Option<&mut Vec<u8>>) -> Option<usize> {
        if matches!(self.framing, Framing::Text) {
            let decoded = ClientDecoder::new(UNLIMITED).decode(frames);
            let Ok(Decoded::Frame { frame, consumed }) = decoded else { return None };
            if let (ClientFrame::Publish(_), Some(kept)) = (frame, kept) {
                kept.extend_from_slice(&frames[..consumed]);
            }
            return Some(consumed);
        }
        let decoded = binary::ClientDecoder::new(UNLIMITED).decode(frames);
        let Ok(Decoded::Frame { frame, consumed }) = decoded else { return None };
        if let (binary::ClientFrame::Publish(publish), Some(kept)) = (frame, kept) {
            let binary::Publish { subject, reply, header_bytes, payload } = publish;
            let subject = match subject {
                Named::Full(subject) => subject,
                Named::Alias(number) => self.subject(number)?.as_str().as_bytes(),
            };
            encode::publish(kept, &Publish { subject, reply, header_bytes, payload });
        }
        Some(consumed)
    }
}

impl Numbers {
    /// What to call `subject` in the next frame; an ALIAS goes before it if it is to have a number.
    #[inline]
    fn named<'a>(&mut self, out: &mut Vec<u8>, subject: &'a [u8]) -> Named<'a> {
        if *self.newest.0 == *subject && self.newest.1 > 0 {
            return Named::Alias(self.newest.1);
        }
        let number = match self.uses.get(subject) {
            Some(&Use::Number(number)) => number,
            Some(Use::Once) if self.subjects.len() < self.subjects_max => self.give(out, subject),
            Some(Use::Once) => return Named::Full(subject),
            None => {
                self.note(subject);
                return Named::Full(subject);
            }
        };
        self.newest = (subject.into(), number);
        Named::Alias(number)
    }

    fn give(&mut self, out: &mut Vec<u8>, subject: &[u8]) -> u16 {
        self.subjects.push(Subject::from(String::from_utf8_lossy(subject).into_owned()));
        let number = u16::try_from(self.subjects.len()).expect("there are at most that many");
        self.uses.insert(subject.into(), Use::Number(number));
        binary::encode::alias(out, number, subject);
        number
    }

    fn note(&mut self, subject: &[u8]) {
        if self.subjects.len() >= self.subjects_max {
            return;
        }
        if self.uses.len() - self.subjects.len() >= SEEN_MAX {
            self.uses.retain(|_, seen| *seen != Use::Once);
        }
        self.uses.insert(subject.into(), Use::Once);
    }
}

fn digits(sid: u32) -> Vec<u8> {
    let mut word = Vec::with_capacity(SID_DIGITS_TYPICAL);
    encode::decimal(&mut word, u64::from(sid));
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish<'a>(subject: &'a str, payload: &'a [u8]) -> Publish<'a> {
        Publish { subject: subject.as_bytes(), reply: None, header_bytes: None, payload }
    }

    fn expected(frames: &[(Option<u16>, Named<'_>, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(alias, subject, payload) in frames {
            if let Some(number) = alias {
                binary::encode::alias(&mut bytes, number, b"a.b");
            }
            let publish = binary::Publish { subject, reply: None, header_bytes: None, payload };
            binary::encode::publish(&mut bytes, &publish);
        }
        bytes
    }

    #[test]
    fn a_subject_has_a_number_from_the_second_message_on() {
        let mut wire = Wire::binary(Vec::new(), 1);
        for payload in [b"1", b"2", b"3"] {
            wire.publish(&publish("a.b", payload));
        }
        // The only number is given away.
        for payload in [b"4", b"5"] {
            wire.publish(&publish("c", payload));
        }
        let (alias, full) =
            (Named::Alias(1), |subject: &'static str| Named::Full(subject.as_bytes()));
        assert_eq!(
            wire.bytes,
            expected(&[
                (None, full("a.b"), b"1"),
                (Some(1), alias, b"2"),
                (None, alias, b"3"),
                (None, full("c"), b"4"),
                (None, full("c"), b"5"),
            ])
        );
        assert_eq!(wire.subject(1).map(Subject::as_str), Some("a.b"));
        assert_eq!((wire.subject(0), wire.subject(2)), (None, None));
    }

    #[test]
    fn subjects_that_are_used_once_leave_nothing_behind_for_ever() {
        let mut wire = Wire::binary(Vec::new(), 10);
        for number in 0..10 * SEEN_MAX {
            wire.publish(&publish(&format!("_INBOX.{number}"), b""));
        }
        let Framing::Binary(numbers) = &wire.framing else { panic!("it is binary") };
        assert!(numbers.uses.len() <= SEEN_MAX && numbers.subjects.is_empty());
    }

    #[test]
    fn publishes_that_were_not_sent_become_lines_and_then_frames_again() {
        let mut wire = Wire::binary(Vec::new(), 10);
        wire.publish(&publish("a", b"sent"));
        let sent = wire.bytes.len();
        wire.publish(&publish("a", b"2"));
        wire.ping();
        wire.subscribe("s", None, 1);
        wire.publish(&publish("a", b"3"));
        let mut kept = Vec::new();
        wire.keep_publishes(&wire.bytes, sent, &mut kept);
        assert_eq!(kept, b"PUB a 1\r\n2\r\nPUB a 1\r\n3\r\n");

        kept.extend_from_slice(b"PING\r\nTASK SUBMIT 7 q needs=x 2\r\nhi\r\n");
        let mut next = Wire::binary(Vec::new(), 10);
        next.repeat(&kept);
        let mut again = Wire::binary(Vec::new(), 10);
        again.publish(&publish("a", b"2"));
        again.publish(&publish("a", b"3"));
        again.ping();
        again.request(["TASK", "SUBMIT"], 7, &["q", "needs=x"], Some(b"hi"));
        assert_eq!(next.bytes, again.bytes);
    }
}
