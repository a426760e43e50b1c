//! Partial input and limits around the layouts.
//!
//! Of a frame, first its head is looked at, then the fixed part of its layout, then all of it; and
//! nothing is waited for before what is known is within the limits. So a frame that may not be is
//! refused by its first bytes, however the rest comes.

use nom::IResult;

use super::frame::{ClientFrame, Message, Named, Publish, Request, ServerFrame};
use super::grammar::{self, Head, MessageSizes, RequestFixed, kind};
use crate::decode::{Decoded, Limits, within_line, within_payload};
use crate::error::{DecodeError, Mistake};
use crate::frame;
use crate::grammar::request_words;
use crate::verb::{Body, Verb};

/// Decodes what clients send.
#[derive(Clone, Copy, Debug)]
pub struct ClientDecoder {
    limits: Limits,
}

/// Decodes what brokers send. It trusts the broker with sizes up to its own limit.
#[derive(Clone, Copy, Debug)]
pub struct ServerDecoder {
    limits: Limits,
}

/// Bytes of a head.
const HEAD_BYTES: usize = 8;
/// Bytes of the fixed part of a `PUB`.
const PUBLISH_BYTES: usize = HEAD_BYTES + 12;

/// Whether a frame, from either side, can begin with `byte`. No line of the text framing can.
#[must_use]
pub fn begins_frame(byte: u8) -> bool {
    is_of_client(byte) || is_of_server(byte)
}

fn is_of_client(byte: u8) -> bool {
    matches!(byte, kind::PING | kind::PONG | kind::CONNECT..=kind::REQUEST)
}

fn is_of_server(byte: u8) -> bool {
    matches!(byte, kind::PING | kind::PONG | kind::INFO..=kind::PUSH)
}

impl ClientDecoder {
    /// A decoder with these limits. Those of control lines hold for what stands for one: the words
    /// of a frame together, without its numbers.
    #[must_use]
    pub fn new(limits: Limits) -> ClientDecoder {
        ClientDecoder { limits }
    }

    /// Look at the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection cannot go on.
    #[inline]
    pub fn decode<'a>(&self, input: &'a [u8]) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        let Ok((_, head)) = grammar::head(input) else {
            return headless(input, is_of_client);
        };
        match head.kind {
            kind::PUB_SHORT => self.short_publish(input, head),
            kind::PUB => self.publish(input, head),
            _ => self.other(input, head),
        }
    }

    /// The alias and the payload, and the bytes of both, if `input` begins with a whole `PUB_SHORT`
    /// that is right; everything else is for [`ClientDecoder::decode`]. A caller that asks here
    /// first has most frames without taking a [`ClientFrame`] apart.
    #[inline(always)]
    #[must_use]
    pub fn whole_short_publish<'a>(&self, input: &'a [u8]) -> Option<(u16, &'a [u8], usize)> {
        let (_, head) = grammar::head(input).ok()?;
        if head.kind != kind::PUB_SHORT || head.length as usize > self.limits.payload_bytes_max {
            return None;
        }
        let (_, alias) = grammar::short_publish(input).ok()?;
        Some((alias, input.get(HEAD_BYTES..end(head))?, end(head)))
    }

    /// The message, and the bytes of its frame, if `input` begins with a whole `PUB` that is right;
    /// everything else is for [`ClientDecoder::decode`].
    #[inline(always)]
    #[must_use]
    pub fn whole_publish<'a>(&self, input: &'a [u8]) -> Option<(Publish<'a>, usize)> {
        let (_, head) = grammar::head(input).ok()?;
        if head.kind != kind::PUB || end(head) < PUBLISH_BYTES || input.len() < end(head) {
            return None;
        }
        Some((self.publish_parts(input, head).ok()??, end(head)))
    }

    #[inline]
    fn short_publish<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        let alias = layout("PUB_SHORT", grammar::short_publish(input))?;
        within_payload(head.length as usize, self.limits)?;
        let Some(payload) = input.get(HEAD_BYTES..end(head)) else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let subject = Named::Alias(alias);
        let publish = Publish { subject, reply: None, header_bytes: None, payload };
        Ok(Decoded::Frame { frame: ClientFrame::Publish(publish), consumed: end(head) })
    }

    #[inline]
    fn publish<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        if !has_fixed_part("PUB", input, head, PUBLISH_BYTES)? {
            return Ok(Decoded::Incomplete { needed: PUBLISH_BYTES });
        }
        Ok(match self.publish_parts(input, head)? {
            Some(publish) => {
                Decoded::Frame { frame: ClientFrame::Publish(publish), consumed: end(head) }
            }
            None => Decoded::Incomplete { needed: end(head) },
        })
    }

    /// A `PUB` whose fixed part is there; `None` while the rest is not.
    #[inline(always)]
    fn publish_parts<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Option<Publish<'a>>, DecodeError> {
        let (alias, sizes) = layout("PUB", grammar::publish(input))?;
        let parts = Parts::measured("PUB", head, PUBLISH_BYTES, sizes)?;
        within_line(parts.words_bytes(), self.limits.control_line_bytes_max)?;
        within_payload(parts.payload_bytes, self.limits)?;
        let Some(rest) = input.get(PUBLISH_BYTES..end(head)) else { return Ok(None) };
        let (subject, reply, payload) = parts.of(rest);
        let subject = named(alias, subject).unwrap_or(Named::Full(subject));
        Ok(Some(Publish { subject, reply, header_bytes: parts.header_bytes, payload }))
    }

    fn other<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        let words_bytes_max = self.limits.control_line_bytes_max;
        match head.kind {
            kind::PING => small("PING", input, head, HEAD_BYTES, 0, |whole| {
                grammar::ping(whole).map(|(rest, ())| (rest, ClientFrame::Ping))
            }),
            kind::PONG => small("PONG", input, head, HEAD_BYTES, 0, |whole| {
                grammar::pong(whole).map(|(rest, ())| (rest, ClientFrame::Pong))
            }),
            kind::CONNECT => small("CONNECT", input, head, HEAD_BYTES, words_bytes_max, |whole| {
                grammar::connect(whole).map(|(rest, json)| (rest, ClientFrame::Connect(json)))
            }),
            kind::SUB => small("SUB", input, head, HEAD_BYTES + 8, words_bytes_max, |whole| {
                let (rest, grammar::Subscribe { sid, queue, filter }) = grammar::subscribe(whole)?;
                let queue = (!queue.is_empty()).then_some(queue);
                Ok((rest, ClientFrame::Subscribe { sid, queue, filter }))
            }),
            kind::UNSUB => small("UNSUB", input, head, HEAD_BYTES + 8, 0, |whole| {
                let (rest, (sid, max)) = grammar::unsubscribe(whole)?;
                let max = (max > 0).then_some(u64::from(max));
                Ok((rest, ClientFrame::Unsubscribe { sid, max }))
            }),
            kind::ALIAS => small("ALIAS", input, head, HEAD_BYTES, words_bytes_max, |whole| {
                let (rest, (number, subject)) = grammar::alias(whole)?;
                Ok((rest, ClientFrame::Alias { number, subject }))
            }),
            kind::REQUEST => self.request(input, head),
            _ => Err(DecodeError::UnknownOperation),
        }
    }

    fn request<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        const FIXED_BYTES: usize = HEAD_BYTES + 12;
        if !has_fixed_part("REQUEST", input, head, FIXED_BYTES)? {
            return Ok(Decoded::Incomplete { needed: FIXED_BYTES });
        }
        let fixed = layout("REQUEST", grammar::request(input))?;
        let line_bytes_max = self.limits.control_line_bytes_max;
        let words_bytes =
            worded("REQUEST", head, FIXED_BYTES, fixed.body_bytes, line_bytes_max, self.limits)?;
        let Some(whole) = input.get(..end(head)) else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let (words, body) = whole[FIXED_BYTES..].split_at(words_bytes);
        let words = layout("REQUEST", grammar::words(words, head.count))?;
        let frame = match request(&fixed, &words, body) {
            Ok(request) => ClientFrame::Request(request),
            Err(mistake) => ClientFrame::Mistyped { tag: fixed.tag, mistake },
        };
        Ok(Decoded::Frame { frame, consumed: end(head) })
    }
}

impl ServerDecoder {
    /// A decoder with these limits. As in the text framing, words may take four times what those of
    /// a client may.
    #[must_use]
    pub fn new(limits: Limits) -> ServerDecoder {
        ServerDecoder { limits }
    }

    /// Look at the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection cannot go on.
    #[inline]
    pub fn decode<'a>(&self, input: &'a [u8]) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        let Ok((_, head)) = grammar::head(input) else {
            return headless(input, is_of_server);
        };
        match head.kind {
            kind::MSG_SHORT => self.short_message(input, head),
            kind::MSG => self.message(input, head),
            _ => self.other(input, head),
        }
    }

    #[inline]
    fn short_message<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        const FIXED_BYTES: usize = HEAD_BYTES + 4;
        if !has_fixed_part("MSG_SHORT", input, head, FIXED_BYTES)? {
            return Ok(Decoded::Incomplete { needed: FIXED_BYTES });
        }
        let (alias, sid) = layout("MSG_SHORT", grammar::short_message(input))?;
        within_payload(end(head) - FIXED_BYTES, self.limits)?;
        let Some(payload) = input.get(FIXED_BYTES..end(head)) else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let subject = named(alias, &[]);
        let message = Message { sid, subject, reply: None, header_bytes: None, payload };
        Ok(Decoded::Frame { frame: ServerFrame::Message(message), consumed: end(head) })
    }

    #[inline]
    fn message<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        const FIXED_BYTES: usize = HEAD_BYTES + 16;
        if !has_fixed_part("MSG", input, head, FIXED_BYTES)? {
            return Ok(Decoded::Incomplete { needed: FIXED_BYTES });
        }
        let (alias, sid, sizes) = layout("MSG", grammar::message(input))?;
        let parts = Parts::measured("MSG", head, FIXED_BYTES, sizes)?;
        within_line(parts.words_bytes(), self.words_bytes_max())?;
        within_payload(parts.payload_bytes, self.limits)?;
        let Some(whole) = input.get(..end(head)) else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let (subject, reply, payload) = parts.of(&whole[FIXED_BYTES..]);
        let subject = named(alias, subject);
        let header_bytes = parts.header_bytes;
        let frame = ServerFrame::Message(Message { sid, subject, reply, header_bytes, payload });
        Ok(Decoded::Frame { frame, consumed: end(head) })
    }

    fn other<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        use frame::ServerFrame as Common;
        let words_bytes_max = self.words_bytes_max();
        let common = |(rest, frame)| (rest, ServerFrame::Common(frame));
        match head.kind {
            kind::PING => small("PING", input, head, HEAD_BYTES, 0, |whole| {
                grammar::ping(whole).map(|(rest, ())| common((rest, Common::Ping)))
            }),
            kind::PONG => small("PONG", input, head, HEAD_BYTES, 0, |whole| {
                grammar::pong(whole).map(|(rest, ())| common((rest, Common::Pong)))
            }),
            kind::OK => small("OK", input, head, HEAD_BYTES, 0, |whole| {
                grammar::ok(whole).map(|(rest, ())| common((rest, Common::Ok)))
            }),
            kind::INFO => small("INFO", input, head, HEAD_BYTES, words_bytes_max, |whole| {
                grammar::info(whole).map(|(rest, json)| common((rest, Common::Info(json))))
            }),
            kind::ERR => small("ERR", input, head, HEAD_BYTES, words_bytes_max, |whole| {
                grammar::error(whole).map(|(rest, text)| common((rest, Common::Error(text))))
            }),
            kind::DECLINED => {
                small("DECLINED", input, head, HEAD_BYTES + 4, words_bytes_max, |whole| {
                    let (rest, (tag, code, sentence)) = grammar::declined(whole)?;
                    Ok((rest, ServerFrame::Declined { tag, code, sentence }))
                })
            }
            kind::GRANTED => self.granted(input, head),
            kind::PUSH => self.push(input, head),
            _ => Err(DecodeError::UnknownOperation),
        }
    }

    fn granted<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        const FIXED_BYTES: usize = HEAD_BYTES + 8;
        if !has_fixed_part("GRANTED", input, head, FIXED_BYTES)? {
            return Ok(Decoded::Incomplete { needed: FIXED_BYTES });
        }
        let (tag, body_bytes) = layout("GRANTED", grammar::granted(input))?;
        let Some((words, body)) =
            self.words_and_body("GRANTED", input, head, FIXED_BYTES, body_bytes)?
        else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let fields = fields("GRANTED", &words)?;
        let frame = ServerFrame::Granted { tag, fields, body };
        Ok(Decoded::Frame { frame, consumed: end(head) })
    }

    fn push<'a>(
        &self,
        input: &'a [u8],
        head: Head,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        const FIXED_BYTES: usize = HEAD_BYTES + 4;
        if !has_fixed_part("PUSH", input, head, FIXED_BYTES)? {
            return Ok(Decoded::Incomplete { needed: FIXED_BYTES });
        }
        let body_bytes = layout("PUSH", grammar::push(input))?;
        let Some((words, body)) =
            self.words_and_body("PUSH", input, head, FIXED_BYTES, body_bytes)?
        else {
            return Ok(Decoded::Incomplete { needed: end(head) });
        };
        let frame = ServerFrame::Common(push(&words, body)?);
        Ok(Decoded::Frame { frame, consumed: end(head) })
    }

    /// The words and the body behind a fixed part; `None` while they are not all there.
    #[allow(clippy::type_complexity)]
    fn words_and_body<'a>(
        &self,
        name: &'static str,
        input: &'a [u8],
        head: Head,
        fixed_bytes: usize,
        body_bytes: u32,
    ) -> Result<Option<(Vec<&'a str>, &'a [u8])>, DecodeError> {
        let line_bytes_max = self.words_bytes_max();
        let words_bytes = worded(name, head, fixed_bytes, body_bytes, line_bytes_max, self.limits)?;
        let Some(whole) = input.get(..end(head)) else { return Ok(None) };
        let (words, body) = whole[fixed_bytes..].split_at(words_bytes);
        let words = layout(name, grammar::words(words, head.count))?;
        match words.into_iter().map(std::str::from_utf8).collect() {
            Ok(words) => Ok(Some((words, body))),
            Err(_) => Err(DecodeError::Layout { frame: name }),
        }
    }

    fn words_bytes_max(&self) -> usize {
        self.limits.control_line_bytes_max.saturating_mul(4)
    }
}

/// Where the parts of a message lie behind the fixed part of its frame.
struct Parts {
    subject_bytes: usize,
    reply_bytes: usize,
    header_bytes: Option<usize>,
    payload_bytes: usize,
}

impl Parts {
    #[inline]
    fn measured(
        name: &'static str,
        head: Head,
        fixed_bytes: usize,
        sizes: MessageSizes,
    ) -> Result<Parts, DecodeError> {
        let (subject_bytes, reply_bytes) =
            (sizes.subject_bytes as usize, sizes.reply_bytes as usize);
        let header_bytes = sizes.header_bytes as usize;
        let payload_bytes = (end(head) - fixed_bytes).checked_sub(subject_bytes + reply_bytes);
        match payload_bytes.filter(|&bytes| header_bytes <= bytes) {
            Some(payload_bytes) => Ok(Parts {
                subject_bytes,
                reply_bytes,
                header_bytes: (header_bytes > 0).then_some(header_bytes),
                payload_bytes,
            }),
            None => Err(DecodeError::Layout { frame: name }),
        }
    }

    fn words_bytes(&self) -> usize {
        self.subject_bytes + self.reply_bytes
    }

    /// The subject, the reply subject if there is one, and the payload.
    #[inline]
    fn of<'a>(&self, rest: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>, &'a [u8]) {
        let (subject, rest) = rest.split_at(self.subject_bytes);
        let (reply, payload) = rest.split_at(self.reply_bytes);
        (subject, (!reply.is_empty()).then_some(reply), payload)
    }
}

/// Bytes of the whole frame.
#[inline(always)]
fn end(head: Head) -> usize {
    HEAD_BYTES + head.length as usize
}

/// Less than a head: of the wrong kind, or not enough.
#[cold]
fn headless<F>(input: &[u8], is_kind: fn(u8) -> bool) -> Result<Decoded<F>, DecodeError> {
    match input.first() {
        Some(&byte) if !is_kind(byte) => Err(DecodeError::UnknownOperation),
        _ => Ok(Decoded::Incomplete { needed: HEAD_BYTES }),
    }
}

/// Whether the fixed part of a layout has arrived; an error if the frame has no room for it.
#[inline(always)]
fn has_fixed_part(
    frame: &'static str,
    input: &[u8],
    head: Head,
    fixed_bytes: usize,
) -> Result<bool, DecodeError> {
    if end(head) < fixed_bytes {
        return Err(DecodeError::Layout { frame });
    }
    Ok(input.len() >= fixed_bytes)
}

/// A frame without a body: what is behind its fixed part may take `rest_bytes_max`. `read` is
/// given all of it.
fn small<'a, F>(
    name: &'static str,
    input: &'a [u8],
    head: Head,
    fixed_bytes: usize,
    rest_bytes_max: usize,
    read: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], F>,
) -> Result<Decoded<F>, DecodeError> {
    let Some(rest_bytes) = end(head).checked_sub(fixed_bytes) else {
        return Err(DecodeError::Layout { frame: name });
    };
    // One without words has no line whose limit it could break.
    if rest_bytes_max == 0 && rest_bytes > 0 {
        return Err(DecodeError::Layout { frame: name });
    }
    within_line(rest_bytes, rest_bytes_max)?;
    match input.get(..end(head)) {
        Some(whole) => {
            Ok(Decoded::Frame { frame: layout(name, read(whole))?, consumed: end(head) })
        }
        None => Ok(Decoded::Incomplete { needed: end(head) }),
    }
}

/// Bytes of the words behind a fixed part; they and the body are within their limits.
fn worded(
    frame: &'static str,
    head: Head,
    fixed_bytes: usize,
    body_bytes: u32,
    line_bytes_max: usize,
    limits: Limits,
) -> Result<usize, DecodeError> {
    let body_bytes = body_bytes as usize;
    let words_bytes = (end(head) - fixed_bytes).checked_sub(body_bytes);
    let words_bytes = words_bytes.ok_or(DecodeError::Layout { frame })?;
    within_line(words_bytes, line_bytes_max)?;
    within_payload(body_bytes, limits)?;
    Ok(words_bytes)
}

#[inline(always)]
fn layout<O>(frame: &'static str, parsed: IResult<&[u8], O>) -> Result<O, DecodeError> {
    parsed.map(|(_, fixed)| fixed).map_err(|_| DecodeError::Layout { frame })
}

/// The grammar allows at most one of the two.
#[inline]
fn named(alias: u16, subject: &[u8]) -> Option<Named<'_>> {
    match (alias, subject) {
        (0, []) => None,
        (0, subject) => Some(Named::Full(subject)),
        (alias, _) => Some(Named::Alias(alias)),
    }
}

/// The same rules for words as in the text framing, but for blanks: here they end nothing.
fn request<'a>(
    fixed: &RequestFixed,
    words: &[&'a [u8]],
    body: &'a [u8],
) -> Result<Request<'a>, Mistake> {
    let text = |word: &&'a [u8]| {
        let text = std::str::from_utf8(word).ok();
        text.filter(|text| !text.contains(char::is_control)).ok_or(Mistake::NotText)
    };
    let words = words.iter().map(text).collect::<Result<Vec<&str>, Mistake>>()?;
    let Some(verb) = Verb::of_code(fixed.verb) else {
        return Err(Mistake::UnknownVerb { found: format!("{:#010x}", fixed.verb) });
    };
    if verb.body() == Body::None && !body.is_empty() {
        return Err(Mistake::SurplusBody { verb, bytes: body.len() });
    }
    let line = request_words(verb, "", &words, Some(body.len()))?;
    let (arguments, options) = (line.arguments, line.options);
    Ok(Request { verb, tag: fixed.tag, arguments, options, body })
}

fn fields<'a>(
    frame: &'static str,
    words: &[&'a str],
) -> Result<Vec<(&'a str, &'a str)>, DecodeError> {
    let field = |word: &&'a str| word.split_once('=').ok_or(DecodeError::Layout { frame });
    words.iter().map(field).collect()
}

/// The words of a push, and of an item, are those of its line in the text framing, without the
/// size.
fn push<'a>(words: &[&'a str], body: &'a [u8]) -> Result<frame::ServerFrame<'a>, DecodeError> {
    const WRONG: DecodeError = DecodeError::Layout { frame: "PUSH" };
    let number = |word: &str| word.parse::<u64>().map_err(|_| WRONG);
    match *words {
        ["OFFER", task, generation, ref rest @ ..] => Ok(frame::ServerFrame::Offer {
            task: number(task)?,
            generation: number(generation)?,
            fields: fields("PUSH", rest)?,
            body,
        }),
        ["REVOKED", task, generation, ref rest @ ..] if body.is_empty() => {
            Ok(frame::ServerFrame::Revoked {
                task: number(task)?,
                generation: number(generation)?,
                fields: fields("PUSH", rest)?,
            })
        }
        ["CANCEL", task, generation, ref rest @ ..] => Ok(frame::ServerFrame::Cancel {
            task: number(task)?,
            generation: number(generation)?,
            fields: fields("PUSH", rest)?,
            body,
        }),
        ["ANSWERED", task, generation, ref rest @ ..] => Ok(frame::ServerFrame::Answered {
            task: number(task)?,
            generation: number(generation)?,
            fields: fields("PUSH", rest)?,
            body,
        }),
        ["ITEM", tag, task, generation, ref rest @ ..] => Ok(frame::ServerFrame::Item {
            tag,
            task: number(task)?,
            generation: number(generation)?,
            fields: fields("PUSH", rest)?,
            body,
        }),
        ["EVENT", task, ref rest @ ..] => Ok(frame::ServerFrame::Event {
            task: number(task)?,
            fields: fields("PUSH", rest)?,
            body,
        }),
        ["REPLACED"] if body.is_empty() => Ok(frame::ServerFrame::Replaced),
        _ => Err(WRONG),
    }
}
