//! The bytes of one `MSG` or `HMSG`, as lines or in the binary framing: what is the same for every
//! receiver is worked out once.

use super::route::{Numbers, Route, Start, Target};
use agentcom_protocol::Publish;
use agentcom_protocol::binary::{self, Named};
use agentcom_protocol::encode::Decimal;

/// `hsize SP tsize CRLF size CRLF` of a message: the first part for those who understand headers,
/// the second for those who do not, or where there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    text: [u8; Sizes::TEXT_BYTES],
    plain_at: usize,
    end: usize,
    header_bytes: usize,
    total_bytes: usize,
}

impl Sizes {
    /// Three numbers of at most nine digits, and what stands between and behind them.
    const TEXT_BYTES: usize = 32;

    #[inline]
    pub(super) fn of(publish: &Publish<'_>) -> Sizes {
        let header_bytes = publish.header_bytes.unwrap_or(0);
        let total_bytes = publish.payload.len();
        let mut sizes = Sizes { header_bytes, total_bytes, ..Sizes::default() };
        if header_bytes > 0 {
            sizes.append(Decimal::new(header_bytes as u64).as_bytes());
            sizes.append(b" ");
            sizes.append(Decimal::new(total_bytes as u64).as_bytes());
            sizes.append(b"\r\n");
        }
        sizes.plain_at = sizes.end;
        sizes.append(Decimal::new((total_bytes - header_bytes) as u64).as_bytes());
        sizes.append(b"\r\n");
        sizes
    }

    /// Whether the message has these sizes.
    #[inline]
    pub(super) fn are_of(&self, publish: &Publish<'_>) -> bool {
        self.end > 0
            && self.total_bytes == publish.payload.len()
            && self.header_bytes == publish.header_bytes.unwrap_or(0)
    }

    fn append(&mut self, text: &[u8]) {
        self.text[self.end..self.end + text.len()].copy_from_slice(text);
        self.end += text.len();
    }
}

/// Append the frame for `target`.
#[inline]
pub(super) fn append_frame(
    out: &mut Vec<u8>,
    route: &Route,
    target: &Target,
    publish: &Publish<'_>,
    sizes: &Sizes,
) {
    // A header block of no bytes is no header block: it is delivered as a plain message.
    let with_headers = target.subscription.headers && sizes.header_bytes > 0;
    match &target.start {
        Start::Line(line) => {
            append_lines(out, route.prefix(line), with_headers, publish, sizes);
        }
        Start::Numbers(numbers) => append_numbers(out, numbers, with_headers, publish, sizes),
    }
}

/// `prefix` is `HMSG subject sid `.
#[inline]
fn append_lines(
    out: &mut Vec<u8>,
    prefix: &[u8],
    with_headers: bool,
    publish: &Publish<'_>,
    sizes: &Sizes,
) {
    let (prefix, sizes, payload) = if with_headers {
        (prefix, &sizes.text[..sizes.plain_at], publish.payload)
    } else {
        let payload = &publish.payload[sizes.header_bytes..];
        (&prefix[1..], &sizes.text[sizes.plain_at..sizes.end], payload)
    };
    let reply = publish.reply.unwrap_or_default();
    out.reserve(prefix.len() + reply.len() + 1 + sizes.len() + payload.len() + 2);
    out.extend_from_slice(prefix);
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    out.extend_from_slice(sizes);
    extend(out, payload);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn append_numbers(
    out: &mut Vec<u8>,
    numbers: &Numbers,
    with_headers: bool,
    publish: &Publish<'_>,
    sizes: &Sizes,
) {
    if numbers.in_full || with_headers || publish.reply.is_some() {
        return append_parts(out, numbers, with_headers, publish, sizes);
    }
    let payload = &publish.payload[sizes.header_bytes..];
    out.reserve(binary::encode::SHORT_MESSAGE_BYTES + payload.len());
    let start = binary::encode::short_message_start(numbers.sid, numbers.alias, payload.len());
    out.extend_from_slice(&start);
    extend(out, payload);
}

fn append_parts(
    out: &mut Vec<u8>,
    numbers: &Numbers,
    with_headers: bool,
    publish: &Publish<'_>,
    sizes: &Sizes,
) {
    let subject = match numbers.alias {
        0 if numbers.in_full => Some(Named::Full(publish.subject)),
        0 => None,
        alias => Some(Named::Alias(alias)),
    };
    let payload =
        if with_headers { publish.payload } else { &publish.payload[sizes.header_bytes..] };
    let message = binary::Message {
        sid: numbers.sid,
        subject,
        reply: publish.reply,
        header_bytes: with_headers.then_some(sizes.header_bytes),
        payload,
    };
    binary::encode::message_start(out, &message);
    extend(out, payload);
}

/// Append in pieces of 2 KiB: a copy of 4 KiB and more whose ends lie a few bytes apart modulo the
/// page runs up to forty times slower on some processors (measured, see docs/decisions).
#[inline]
pub(super) fn extend(out: &mut Vec<u8>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 2048;
    if bytes.len() <= PIECE_BYTES {
        out.extend_from_slice(bytes);
        return;
    }
    out.reserve(bytes.len());
    for piece in bytes.chunks(PIECE_BYTES) {
        out.extend_from_slice(piece);
    }
}
