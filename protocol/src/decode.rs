//! Partial input and limits around the grammar.
//!
//! A decoder keeps nothing between calls: it looks at the front of the caller's buffer and says
//! *frame*, *need more* or *error*. So how the bytes were split over reads cannot change the
//! result. [`Decoded::Incomplete`] says how many bytes the frame needs at least, so that a caller
//! with half a megabyte of payload does not ask again for every packet.

use nom::IResult;

use crate::error::DecodeError;
use crate::frame::{ClientFrame, Message, Publish, Request, ServerFrame};
use crate::grammar;
use crate::scan;

/// Bounds on what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a client's control line without its NATS verb and one blank; NATS: 4096. Lines of
    /// brokers may have four times as many in all.
    pub control_line_bytes_max: usize,
    /// Bytes of header block and body together. NATS: 1 MiB.
    pub payload_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { control_line_bytes_max: 4096, payload_bytes_max: 1024 * 1024 }
    }
}

/// What the front of the buffer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<F> {
    /// A whole frame.
    Frame {
        /// The frame.
        frame: F,
        /// Bytes of the buffer it took.
        consumed: usize,
    },
    /// Not yet a whole frame.
    Incomplete {
        /// The buffer must hold at least this many bytes before it is worth asking again.
        needed: usize,
    },
}

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

impl ClientDecoder {
    /// A decoder with these limits.
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
        let Some(line) = Line::take(input) else {
            // The CR may belong to a line end whose LF is still on its way.
            self.may_begin_line(input.strip_suffix(b"\r").unwrap_or(input))?;
            return Ok(Decoded::Incomplete { needed: input.len() + 1 });
        };
        let text = line.text;
        if text.len() > self.limits.control_line_bytes_max {
            self.may_begin_line(text)?;
        }
        match text.first().map(u8::to_ascii_uppercase) {
            Some(b'P') if is_verb(text, b"PUB") => {
                let publish = arguments("PUB", grammar::publish(text))?;
                self.publish(input, &line, publish)
            }
            Some(b'H') if is_verb(text, b"HPUB") => {
                let publish = arguments("HPUB", grammar::header_publish(text))?;
                self.publish(input, &line, publish)
            }
            Some(b'P') if starts_with(text, b"PING") => Ok(line.frame(ClientFrame::Ping)),
            Some(b'P') if starts_with(text, b"PONG") => Ok(line.frame(ClientFrame::Pong)),
            Some(b'S') if is_verb(text, b"SUB") => {
                let grammar::SubscribeLine { filter, queue, sid } =
                    arguments("SUB", grammar::subscribe(text))?;
                Ok(line.frame(ClientFrame::Subscribe { filter, queue, sid }))
            }
            Some(b'U') if is_verb(text, b"UNSUB") => {
                let (sid, max) = arguments("UNSUB", grammar::unsubscribe(text))?;
                Ok(line.frame(ClientFrame::Unsubscribe { sid, max }))
            }
            Some(b'C') if starts_with(text, b"CONNECT") => {
                Ok(line.frame(ClientFrame::Connect(arguments("CONNECT", grammar::connect(text))?)))
            }
            Some(b'+') if starts_with(text, b"+OK") => Ok(line.frame(ClientFrame::Ignored)),
            Some(b'I') if starts_with(text, b"INFO") => {
                arguments("INFO", grammar::info(text))?;
                Ok(line.frame(ClientFrame::Ignored))
            }
            Some(b'-') if starts_with(text, b"-ERR ") || starts_with(text, b"-ERR\t") => {
                Ok(line.frame(ClientFrame::Error))
            }
            _ => self.own_verb(input, &line),
        }
    }

    #[inline]
    fn publish<'a>(
        &self,
        input: &'a [u8],
        line: &Line<'a>,
        publish: grammar::PublishLine<'a>,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        within_payload(publish.total_bytes, self.limits)?;
        let Some(payload) = line.payload(input, publish.total_bytes)? else {
            return Ok(line.incomplete(publish.total_bytes));
        };
        Ok(Decoded::Frame {
            frame: ClientFrame::Publish(Publish {
                subject: publish.subject,
                reply: publish.reply,
                header_bytes: publish.header_bytes,
                payload,
            }),
            consumed: line.consumed_with(publish.total_bytes),
        })
    }

    /// Everything that NATS does not know: `HELP`, `QUIT`, our own verbs, and garbage.
    fn own_verb<'a>(
        &self,
        input: &'a [u8],
        line: &Line<'a>,
    ) -> Result<Decoded<ClientFrame<'a>>, DecodeError> {
        let text = line.text;
        if !is_own(text) {
            return Err(DecodeError::UnknownOperation);
        }
        if is_word(text, b"HELP") {
            let topic = std::str::from_utf8(&text[b"HELP".len()..]).unwrap_or_default();
            return Ok(line.frame(ClientFrame::Help(topic.trim())));
        }
        if is_word(text, b"QUIT") {
            return Ok(line.frame(ClientFrame::Quit));
        }
        let request = grammar::request(text);
        let body_bytes = match &request {
            Ok(request) => request.body_bytes,
            Err(mistyped) => mistyped.body_bytes,
        };
        let Some((body, consumed)) = line.body(input, body_bytes, self.limits)? else {
            return Ok(line.incomplete(body_bytes.unwrap_or_default()));
        };
        let frame = match request {
            Ok(grammar::RequestLine { verb, tag, arguments, options, .. }) => {
                ClientFrame::Request(Request { verb, tag, arguments, options, body })
            }
            Err(grammar::MistypedLine { tag, mistake, .. }) => {
                ClientFrame::Mistyped { tag, mistake }
            }
        };
        Ok(Decoded::Frame { frame, consumed })
    }

    /// Whether `text`, with or without more behind it, can be a line within the limit. A line
    /// without its end can already be hopeless: too long, or the start of no verb. It must not be
    /// called so unless every way to go on would be.
    ///
    /// The limit counts what stands behind a NATS verb and one blank, and all of a line of ours.
    #[cold]
    fn may_begin_line(&self, text: &[u8]) -> Result<(), DecodeError> {
        let uncounted_bytes = match NATS_VERBS.iter().find(|verb| verb.may_begin(text)) {
            Some(verb) => verb.name.len() + 1,
            None if may_begin_own(text) => 0,
            None => return Err(DecodeError::UnknownOperation),
        };
        let bytes = text.len().saturating_sub(uncounted_bytes);
        within_line(bytes, self.limits.control_line_bytes_max)
    }
}

impl ServerDecoder {
    /// A decoder with these limits.
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
        let Some(line) = Line::take(input) else {
            self.within_server_line(input.strip_suffix(b"\r").unwrap_or(input))?;
            return Ok(Decoded::Incomplete { needed: input.len() + 1 });
        };
        let text = line.text;
        self.within_server_line(text)?;
        if is_verb(text, b"MSG") {
            return self.message(input, &line, arguments("MSG", grammar::message(text))?);
        }
        if is_verb(text, b"HMSG") {
            return self.message(input, &line, arguments("HMSG", grammar::header_message(text))?);
        }
        if is_verb(text, b"INFO") {
            return Ok(line.frame(ServerFrame::Info(arguments("INFO", grammar::info(text))?)));
        }
        if starts_with(text, b"PING") {
            return Ok(line.frame(ServerFrame::Ping));
        }
        if starts_with(text, b"PONG") {
            return Ok(line.frame(ServerFrame::Pong));
        }
        if starts_with(text, b"+OK") {
            return Ok(line.frame(ServerFrame::Ok));
        }
        if starts_with(text, b"-ERR") {
            let text = arguments("-ERR", grammar::error(text))?;
            let text = std::str::from_utf8(text).unwrap_or("an error that is not text");
            return Ok(line.frame(ServerFrame::Error(text)));
        }
        self.answer(input, &line)
    }

    /// A line of a broker repeats words of two lines of clients (the subject and reply of a `PUB`,
    /// the sid of a `SUB`), and INFO is a page of JSON: four times a client's line has room for
    /// both, and is still a bound.
    #[inline]
    fn within_server_line(&self, text: &[u8]) -> Result<(), DecodeError> {
        within_line(text.len(), self.limits.control_line_bytes_max.saturating_mul(4))
    }

    fn message<'a>(
        &self,
        input: &'a [u8],
        line: &Line<'a>,
        message: grammar::MessageLine<'a>,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        within_payload(message.total_bytes, self.limits)?;
        let Some(payload) = line.payload(input, message.total_bytes)? else {
            return Ok(line.incomplete(message.total_bytes));
        };
        Ok(Decoded::Frame {
            frame: ServerFrame::Message(Message {
                subject: message.subject,
                sid: message.sid,
                reply: message.reply,
                header_bytes: message.header_bytes,
                payload,
            }),
            consumed: line.consumed_with(message.total_bytes),
        })
    }

    /// Answers and pushes of our own verbs.
    fn answer<'a>(
        &self,
        input: &'a [u8],
        line: &Line<'a>,
    ) -> Result<Decoded<ServerFrame<'a>>, DecodeError> {
        let text = line.text;
        if is_verb(text, b"OK") {
            let grammar::GrantedLine { tag, fields, body_bytes } =
                arguments("OK", grammar::granted(text))?;
            let Some((body, consumed)) = line.body(input, body_bytes, self.limits)? else {
                return Ok(line.incomplete(body_bytes.unwrap_or_default()));
            };
            return Ok(Decoded::Frame {
                frame: ServerFrame::Granted { tag, fields, body },
                consumed,
            });
        }
        if is_verb(text, b"ERR") {
            let (tag, code, sentence) = arguments("ERR", grammar::declined(text))?;
            return Ok(line.frame(ServerFrame::Declined { tag, code, sentence }));
        }
        if is_verb(text, b"OFFER") {
            let grammar::OfferLine { task, generation, fields, body_bytes } =
                arguments("OFFER", grammar::offer(text))?;
            let Some((body, consumed)) = line.body(input, Some(body_bytes), self.limits)? else {
                return Ok(line.incomplete(body_bytes));
            };
            let frame = ServerFrame::Offer { task, generation, fields, body };
            return Ok(Decoded::Frame { frame, consumed });
        }
        if is_verb(text, b"CANCEL") {
            let grammar::OfferLine { task, generation, fields, body_bytes } =
                arguments("CANCEL", grammar::cancel(text))?;
            let Some((body, consumed)) = line.body(input, Some(body_bytes), self.limits)? else {
                return Ok(line.incomplete(body_bytes));
            };
            let frame = ServerFrame::Cancel { task, generation, fields, body };
            return Ok(Decoded::Frame { frame, consumed });
        }
        if is_verb(text, b"ANSWERED") {
            let grammar::OfferLine { task, generation, fields, body_bytes } =
                arguments("ANSWERED", grammar::answered(text))?;
            let Some((body, consumed)) = line.body(input, Some(body_bytes), self.limits)? else {
                return Ok(line.incomplete(body_bytes));
            };
            let frame = ServerFrame::Answered { task, generation, fields, body };
            return Ok(Decoded::Frame { frame, consumed });
        }
        if is_verb(text, b"ITEM") {
            let grammar::ItemLine { tag, offer } = arguments("ITEM", grammar::item(text))?;
            let grammar::OfferLine { task, generation, fields, body_bytes } = offer;
            let Some((body, consumed)) = line.body(input, Some(body_bytes), self.limits)? else {
                return Ok(line.incomplete(body_bytes));
            };
            let frame = ServerFrame::Item { tag, task, generation, fields, body };
            return Ok(Decoded::Frame { frame, consumed });
        }
        if is_verb(text, b"EVENT") {
            let grammar::EventLine { task, fields, body_bytes } =
                arguments("EVENT", grammar::event(text))?;
            let Some((body, consumed)) = line.body(input, Some(body_bytes), self.limits)? else {
                return Ok(line.incomplete(body_bytes));
            };
            return Ok(Decoded::Frame {
                frame: ServerFrame::Event { task, fields, body },
                consumed,
            });
        }
        if is_verb(text, b"REVOKED") {
            let (task, generation, fields) = arguments("REVOKED", grammar::revoked(text))?;
            return Ok(line.frame(ServerFrame::Revoked { task, generation, fields }));
        }
        if is_word(text, b"REPLACED") {
            return Ok(line.frame(ServerFrame::Replaced));
        }
        Err(DecodeError::UnknownOperation)
    }
}

/// A control line at the front of the buffer.
struct Line<'a> {
    /// Without its line end.
    text: &'a [u8],
    /// With its line end.
    consumed: usize,
}

impl<'a> Line<'a> {
    #[inline]
    fn take(input: &'a [u8]) -> Option<Line<'a>> {
        let end = scan::line_feed(input)?;
        let text = &input[..end];
        Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), consumed: end + 1 })
    }

    fn frame<F>(&self, frame: F) -> Decoded<F> {
        Decoded::Frame { frame, consumed: self.consumed }
    }

    fn incomplete<F>(&self, payload_bytes: usize) -> Decoded<F> {
        Decoded::Incomplete { needed: self.consumed_with(payload_bytes) }
    }

    fn consumed_with(&self, payload_bytes: usize) -> usize {
        self.consumed + payload_bytes + 2
    }

    /// The payload behind the line, `None` while it is not all there. Its CR LF is checked as soon
    /// as each of the two bytes is there.
    #[inline]
    fn payload(&self, input: &'a [u8], bytes: usize) -> Result<Option<&'a [u8]>, DecodeError> {
        let behind = &input[self.consumed..];
        match behind.get(bytes..).unwrap_or_default() {
            [b'\r', b'\n', ..] => Ok(Some(&behind[..bytes])),
            [] | [b'\r'] => Ok(None),
            _ => Err(DecodeError::UnknownOperation),
        }
    }

    /// The body behind the line and the bytes of both, `None` while it is not all there. A line
    /// that announces no body has an empty one.
    fn body(
        &self,
        input: &'a [u8],
        bytes: Option<usize>,
        limits: Limits,
    ) -> Result<Option<(&'a [u8], usize)>, DecodeError> {
        let Some(bytes) = bytes else {
            return Ok(Some((&[], self.consumed)));
        };
        within_payload(bytes, limits)?;
        Ok(self.payload(input, bytes)?.map(|body| (body, self.consumed_with(bytes))))
    }
}

/// A line can be given up before its end is there, so the error names the first count over the
/// limit and not the length of the line: how the line was split must not show.
#[inline]
pub(crate) fn within_line(bytes: usize, bytes_max: usize) -> Result<(), DecodeError> {
    if bytes > bytes_max {
        return Err(DecodeError::ControlLineTooLong { bytes: bytes_max + 1, bytes_max });
    }
    Ok(())
}

#[inline]
pub(crate) fn within_payload(bytes: usize, limits: Limits) -> Result<(), DecodeError> {
    let bytes_max = limits.payload_bytes_max;
    if bytes > bytes_max {
        return Err(DecodeError::PayloadTooLarge { bytes, bytes_max });
    }
    Ok(())
}

#[inline]
fn arguments<O>(verb: &'static str, parsed: IResult<&[u8], O>) -> Result<O, DecodeError> {
    parsed.map(|(_, line)| line).map_err(|_| DecodeError::Arguments { verb })
}

#[inline(always)]
fn starts_with(text: &[u8], verb: &[u8]) -> bool {
    text.len() >= verb.len() && text[..verb.len()].eq_ignore_ascii_case(verb)
}

/// The verb, made of letters only, then a blank.
#[inline(always)]
fn is_verb<const BYTES: usize>(text: &[u8], verb: &[u8; BYTES]) -> bool {
    match text.split_first_chunk() {
        Some((found, [b' ' | b'\t', ..])) => scan::same_letters(found, verb),
        _ => false,
    }
}

/// The word, then a blank or the end.
fn is_word(text: &[u8], word: &[u8]) -> bool {
    starts_with(text, word) && text.get(word.len()).is_none_or(|&byte| is_blank(byte))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A verb of NATS as a line without its end may begin.
struct NatsVerb {
    name: &'static [u8],
    /// Whether anything may follow the name, or only a blank.
    open: bool,
}

const NATS_VERBS: [NatsVerb; 10] = [
    NatsVerb { name: b"PUB", open: false },
    NatsVerb { name: b"HPUB", open: false },
    NatsVerb { name: b"SUB", open: false },
    NatsVerb { name: b"UNSUB", open: false },
    NatsVerb { name: b"CONNECT", open: true },
    NatsVerb { name: b"INFO", open: true },
    NatsVerb { name: b"PING", open: true },
    NatsVerb { name: b"PONG", open: true },
    NatsVerb { name: b"+OK", open: true },
    NatsVerb { name: b"-ERR", open: false },
];

impl NatsVerb {
    /// Whether `text` is the start of the name, or the name and what may follow it.
    fn may_begin(&self, text: &[u8]) -> bool {
        if text.len() <= self.name.len() {
            return starts_with(self.name, text);
        }
        starts_with(text, self.name) && (self.open || is_blank(text[self.name.len()]))
    }
}

/// Words of ours that start like a NATS verb.
const OWN_WORDS: [&[u8]; 8] =
    [b"HELP", b"SCHEDULE", b"STORE", b"MESSAGE", b"MAILBOX", b"CHANNEL", b"PRESENCE", b"CONFIG"];

/// Lines that start with a letter of no NATS verb are ours, and so are those of these words.
fn is_own(text: &[u8]) -> bool {
    const FREE: &[u8] = b"BDEFGJKNOQTVWXYZ";
    match text.first() {
        Some(first) => {
            FREE.contains(&first.to_ascii_uppercase())
                || OWN_WORDS.iter().any(|word| is_word(text, word))
        }
        None => false,
    }
}

/// Whether `text`, a line without its end, may become one of ours.
fn may_begin_own(text: &[u8]) -> bool {
    let may_become = |word: &&[u8]| text.len() < word.len() && starts_with(word, text);
    is_own(text) || OWN_WORDS.iter().any(may_become)
}
