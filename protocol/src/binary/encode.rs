//! Frames to bytes, appended to a buffer that the caller owns. Like [`crate::encode`], this checks
//! nothing.

use super::frame::{Message, Named, Publish};
use super::grammar::kind;
use crate::frame::ServerFrame;
use crate::verb::Verb;

/// Bytes of a head.
const HEAD_BYTES: usize = 8;
/// Bytes of the fixed part of `MSG`.
const MESSAGE_BYTES: usize = HEAD_BYTES + 16;
/// Bytes of `MSG_SHORT` in front of its payload.
pub const SHORT_MESSAGE_BYTES: usize = HEAD_BYTES + 4;

/// `PUB`, or `PUB_SHORT` where an alias and a payload are all there is.
#[inline]
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    let Publish { subject, reply, header_bytes, payload } = *publish;
    let (alias, subject) = parts(Some(subject));
    if let (&[], None, None) = (subject, reply, header_bytes) {
        head(out, kind::PUB_SHORT, 0, alias, payload.len());
    } else {
        let reply = reply.unwrap_or_default();
        let length = 12 + subject.len() + reply.len() + payload.len();
        head(out, kind::PUB, 0, alias, length);
        message_sizes(out, subject, reply, header_bytes);
        out.extend_from_slice(subject);
        out.extend_from_slice(reply);
    }
    out.extend_from_slice(payload);
}

/// `MSG`, or `MSG_SHORT` where there is neither a subject in full, nor a reply, nor a header.
pub fn message(out: &mut Vec<u8>, message: &Message<'_>) {
    message_start(out, message);
    out.extend_from_slice(message.payload);
}

/// All of a message in front of its payload.
#[inline]
pub fn message_start(out: &mut Vec<u8>, message: &Message<'_>) {
    let Message { sid, subject, reply, header_bytes, payload } = *message;
    let (alias, subject) = parts(subject);
    if let (&[], None, None) = (subject, reply, header_bytes) {
        out.extend_from_slice(&short_message_start(sid, alias, payload.len()));
        return;
    }
    let reply = reply.unwrap_or_default();
    let length = 16 + subject.len() + reply.len() + payload.len();
    let mut fixed = [0; MESSAGE_BYTES];
    fixed[..HEAD_BYTES].copy_from_slice(&packed(kind::MSG, 0, alias, length));
    let numbers = [sid, size(subject.len()), size(reply.len()), size(header_bytes.unwrap_or(0))];
    for (at, number) in fixed[HEAD_BYTES..].as_chunks_mut().0.iter_mut().zip(numbers) {
        *at = number.to_le_bytes();
    }
    out.reserve(HEAD_BYTES + length);
    out.extend_from_slice(&fixed);
    out.extend_from_slice(subject);
    out.extend_from_slice(reply);
}

/// `MSG_SHORT` without its payload. `alias` is 0 for the filter of the subscription.
#[inline(always)]
#[must_use]
pub fn short_message_start(
    sid: u32,
    alias: u16,
    payload_bytes: usize,
) -> [u8; SHORT_MESSAGE_BYTES] {
    let mut start = [0; SHORT_MESSAGE_BYTES];
    start[..HEAD_BYTES].copy_from_slice(&packed(kind::MSG_SHORT, 0, alias, 4 + payload_bytes));
    start[HEAD_BYTES..].copy_from_slice(&sid.to_le_bytes());
    start
}

/// `SUB`.
pub fn subscribe(out: &mut Vec<u8>, filter: &[u8], queue: Option<&[u8]>, sid: u32) {
    let queue = queue.unwrap_or_default();
    head(out, kind::SUB, 0, 0, 8 + queue.len() + filter.len());
    out.extend_from_slice(&sid.to_le_bytes());
    out.extend_from_slice(&size(queue.len()).to_le_bytes());
    out.extend_from_slice(queue);
    out.extend_from_slice(filter);
}

/// `UNSUB`. A `max` that does not fit is cut to what does: four thousand million messages.
pub fn unsubscribe(out: &mut Vec<u8>, sid: u32, max: Option<u64>) {
    let max = u32::try_from(max.unwrap_or(0)).unwrap_or(u32::MAX);
    head(out, kind::UNSUB, 0, 0, 8);
    out.extend_from_slice(&sid.to_le_bytes());
    out.extend_from_slice(&max.to_le_bytes());
}

/// `ALIAS`.
pub fn alias(out: &mut Vec<u8>, number: u16, subject: &[u8]) {
    head(out, kind::ALIAS, 0, number, subject.len());
    out.extend_from_slice(subject);
}

/// `CONNECT`.
pub fn connect(out: &mut Vec<u8>, json: &[u8]) {
    head(out, kind::CONNECT, 0, 0, json.len());
    out.extend_from_slice(json);
}

/// `REQUEST`. `words` are the arguments, then the options as `key=value`; 255 at most.
pub fn request(out: &mut Vec<u8>, verb: Verb, tag: u32, words: &[&str], body: &[u8]) {
    head(out, kind::REQUEST, count(words), 0, 12 + words_bytes(words) + body.len());
    for number in [tag, verb.code(), size(body.len())] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    append_words(out, words);
    out.extend_from_slice(body);
}

/// `INFO`.
pub fn info(out: &mut Vec<u8>, json: &[u8]) {
    head(out, kind::INFO, 0, 0, json.len());
    out.extend_from_slice(json);
}

/// `ERR`.
pub fn error(out: &mut Vec<u8>, text: &str) {
    head(out, kind::ERR, 0, 0, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// `GRANTED`. `words` are fields as `key=value`; 255 at most.
pub fn granted(out: &mut Vec<u8>, tag: u32, words: &[&str], body: &[u8]) {
    head(out, kind::GRANTED, count(words), 0, 8 + words_bytes(words) + body.len());
    for number in [tag, size(body.len())] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    append_words(out, words);
    out.extend_from_slice(body);
}

/// `DECLINED`. `code` has 255 bytes at most.
pub fn declined(out: &mut Vec<u8>, tag: u32, code: &str, sentence: &str) {
    let code_bytes = u8::try_from(code.len()).expect("a code is a short word");
    head(out, kind::DECLINED, code_bytes, 0, 4 + code.len() + sentence.len());
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(code.as_bytes());
    out.extend_from_slice(sentence.as_bytes());
}

/// `PUSH`. `words` are those of its line in the text framing, without the size; 255 at most.
pub fn push(out: &mut Vec<u8>, words: &[&str], body: &[u8]) {
    head(out, kind::PUSH, count(words), 0, 4 + words_bytes(words) + body.len());
    out.extend_from_slice(&size(body.len()).to_le_bytes());
    append_words(out, words);
    out.extend_from_slice(body);
}

/// The frames that never vary.
pub mod fixed {
    use super::{kind, packed};

    /// `PING`.
    pub const PING: &[u8] = &packed(kind::PING, 0, 0, 0);
    /// `PONG`.
    pub const PONG: &[u8] = &packed(kind::PONG, 0, 0, 0);
    /// `OK`.
    pub const OK: &[u8] = &packed(kind::OK, 0, 0, 0);
}

/// A frame of the text framing in this one, so that what is worded once can be said in both. Its
/// tag or sid must be a number.
///
/// # Errors
/// [`NoNumber`], and nothing is appended.
pub fn translated(out: &mut Vec<u8>, frame: &ServerFrame<'_>) -> Result<(), NoNumber> {
    match frame {
        ServerFrame::Info(json) => info(out, json),
        ServerFrame::Message(found) => {
            let sid = std::str::from_utf8(found.sid).ok().and_then(|sid| sid.parse().ok());
            let &crate::Message { subject, reply, header_bytes, payload, .. } = found;
            let header_bytes = header_bytes.filter(|&bytes| bytes > 0);
            let (sid, subject) = (sid.ok_or(NoNumber)?, Some(Named::Full(subject)));
            message(out, &Message { sid, subject, reply, header_bytes, payload });
        }
        ServerFrame::Ping => out.extend_from_slice(fixed::PING),
        ServerFrame::Pong => out.extend_from_slice(fixed::PONG),
        ServerFrame::Ok => out.extend_from_slice(fixed::OK),
        ServerFrame::Error(text) => error(out, text),
        ServerFrame::Granted { tag, fields, body } => {
            let tag = tag.parse().map_err(|_| NoNumber)?;
            let fields: Vec<String> = joined(fields);
            let words: Vec<&str> = fields.iter().map(String::as_str).collect();
            granted(out, tag, &words, body);
        }
        ServerFrame::Declined { tag, code, sentence } => {
            declined(out, tag.parse().map_err(|_| NoNumber)?, code, sentence);
        }
        ServerFrame::Offer { task, generation, fields, body } => {
            push_named(out, "OFFER", *task, *generation, fields, body);
        }
        ServerFrame::Revoked { task, generation, fields } => {
            push_named(out, "REVOKED", *task, *generation, fields, &[]);
        }
        ServerFrame::Cancel { task, generation, fields, body } => {
            push_named(out, "CANCEL", *task, *generation, fields, body);
        }
        ServerFrame::Answered { task, generation, fields, body } => {
            push_named(out, "ANSWERED", *task, *generation, fields, body);
        }
        ServerFrame::Item { tag, task, generation, fields, body } => {
            let numbers = [task.to_string(), generation.to_string()];
            let [task, generation] = numbers.each_ref().map(String::as_str);
            push_words(out, &["ITEM", tag, task, generation], fields, body);
        }
        ServerFrame::Event { task, fields, body } => {
            push_words(out, &["EVENT", &task.to_string()], fields, body);
        }
        ServerFrame::Replaced => push(out, &["REPLACED"], &[]),
    }
    Ok(())
}

/// A tag or a sid that is a number is wanted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a word stands where the binary framing has a number below 2^32")]
pub struct NoNumber;

fn push_named(
    out: &mut Vec<u8>,
    name: &str,
    task: u64,
    generation: u64,
    fields: &[(&str, &str)],
    body: &[u8],
) {
    let (task, generation) = (task.to_string(), generation.to_string());
    push_words(out, &[name, &task, &generation], fields, body);
}

fn push_words(out: &mut Vec<u8>, first: &[&str], fields: &[(&str, &str)], body: &[u8]) {
    let fields = joined(fields);
    let words: Vec<&str> = first.iter().copied().chain(fields.iter().map(String::as_str)).collect();
    push(out, &words, body);
}

fn joined(fields: &[(&str, &str)]) -> Vec<String> {
    fields.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[inline(always)]
fn head(out: &mut Vec<u8>, kind: u8, count: u8, number: u16, length: usize) {
    out.reserve(HEAD_BYTES + length);
    out.extend_from_slice(&packed(kind, count, number, length));
}

/// kind u8, count u8, number u16, length u32
#[inline(always)]
const fn packed(kind: u8, count: u8, number: u16, length: usize) -> [u8; HEAD_BYTES] {
    let low = kind as u64 | (count as u64) << 8 | (number as u64) << 16;
    (low | (length as u64) << 32).to_le_bytes()
}

#[inline]
fn parts(subject: Option<Named<'_>>) -> (u16, &[u8]) {
    match subject {
        None => (0, &[]),
        Some(Named::Alias(alias)) => (alias, &[]),
        Some(Named::Full(subject)) => (0, subject),
    }
}

fn message_sizes(out: &mut Vec<u8>, subject: &[u8], reply: &[u8], header_bytes: Option<usize>) {
    for bytes in [subject.len(), reply.len(), header_bytes.unwrap_or(0)] {
        out.extend_from_slice(&size(bytes).to_le_bytes());
    }
}

fn append_words(out: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        out.extend_from_slice(&size(word.len()).to_le_bytes());
        out.extend_from_slice(word.as_bytes());
    }
}

fn words_bytes(words: &[&str]) -> usize {
    words.iter().map(|word| 4 + word.len()).sum()
}

fn count(words: &[&str]) -> u8 {
    u8::try_from(words.len()).expect("a request, an answer or a push has few words")
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what is put into a frame is far below 4 GiB")
}
