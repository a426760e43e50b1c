//! The layouts of `docs/protocol.md`, one function each, in its order. Input is the front of a
//! frame with at least the fixed part of its layout. What follows is only measured here; limits
//! and taking it are the decoder's business.

use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map_res, rest, verify};
use nom::multi::{count, length_data};
use nom::number::complete::le_u32;
use nom::{IResult, Parser};

/// The first byte of each frame. What clients send, what brokers send and what both do is told
/// apart by it; printable characters are left to the text framing.
pub mod kind {
    /// Both.
    pub const PING: u8 = 0x01;
    /// Both.
    pub const PONG: u8 = 0x02;
    /// Clients.
    pub const CONNECT: u8 = 0x10;
    /// Clients.
    pub const PUB_SHORT: u8 = 0x11;
    /// Clients.
    pub const PUB: u8 = 0x12;
    /// Clients.
    pub const SUB: u8 = 0x13;
    /// Clients.
    pub const UNSUB: u8 = 0x14;
    /// Clients.
    pub const ALIAS: u8 = 0x15;
    /// Clients.
    pub const REQUEST: u8 = 0x16;
    /// Brokers.
    pub const INFO: u8 = 0x80;
    /// Brokers.
    pub const MSG_SHORT: u8 = 0x81;
    /// Brokers.
    pub const MSG: u8 = 0x82;
    /// Brokers.
    pub const OK: u8 = 0x83;
    /// Brokers.
    pub const ERR: u8 = 0x84;
    /// Brokers.
    pub const GRANTED: u8 = 0x85;
    /// Brokers.
    pub const DECLINED: u8 = 0x86;
    /// Brokers.
    pub const PUSH: u8 = 0x87;
}

/// What every frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is, and how the rest of it is laid out.
    pub kind: u8,
    /// How many there are of something, or how long a short word is; by the kind.
    pub count: u8,
    /// An alias, if the kind has one.
    pub number: u16,
    /// Bytes of the frame behind its head.
    pub length: u32,
}

/// `PUB` or `MSG` behind its head, and `sid` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageSizes {
    /// Bytes of the subject.
    pub subject_bytes: u32,
    /// Bytes of the reply subject.
    pub reply_bytes: u32,
    /// Bytes of the header block.
    pub header_bytes: u32,
}

/// `SUB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The client's number for the subscription.
    pub sid: u32,
    /// Queue group; empty if there is none.
    pub queue: &'a [u8],
    /// What is wanted.
    pub filter: &'a [u8],
}

/// `REQUEST` before its words and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFixed {
    /// Comes back in the reply.
    pub tag: u32,
    /// The code of the verb.
    pub verb: u32,
    /// Bytes of the body.
    pub body_bytes: u32,
}

/// head = kind u8, count u8, number u16, length u32
///
/// # Errors
/// When there are not enough bytes.
#[inline(always)]
pub fn head(input: &[u8]) -> IResult<&[u8], Head> {
    // In one piece: this is a tenth of what a message costs when it is read number by number.
    let Some((&[kind, count, n0, n1, l0, l1, l2, l3], input)) = input.split_first_chunk() else {
        return wrong(input);
    };
    let (number, length) = (u16::from_le_bytes([n0, n1]), u32::from_le_bytes([l0, l1, l2, l3]));
    Ok((input, Head { kind, count, number, length }))
}

/// word = bytes u32, text
fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(le_u32).parse(input)
}

/// words = count times word
///
/// # Errors
/// When there are not exactly so many.
pub fn words(input: &[u8], wanted: u8) -> IResult<&[u8], Vec<&[u8]>> {
    all_consuming(count(word, usize::from(wanted))).parse(input)
}

/// PING = head 0x01
///
/// # Errors
/// When the layout is another.
pub fn ping(input: &[u8]) -> IResult<&[u8], ()> {
    bare(input)
}

/// PONG = head 0x02
///
/// # Errors
/// When the layout is another.
pub fn pong(input: &[u8]) -> IResult<&[u8], ()> {
    bare(input)
}

/// CONNECT = head 0x10, json
///
/// # Errors
/// When the layout is another.
pub fn connect(input: &[u8]) -> IResult<&[u8], &[u8]> {
    json(input)
}

/// PUB_SHORT = head 0x11 number alias, payload
///
/// # Errors
/// When the layout is another.
#[inline(always)]
pub fn short_publish(input: &[u8]) -> IResult<&[u8], u16> {
    let (input, head) = head(input)?;
    if head.count != 0 || head.number == 0 {
        return wrong(input);
    }
    Ok((input, head.number))
}

/// PUB = head 0x12 number alias, subject_bytes u32, reply_bytes u32, header_bytes u32, subject, reply, header, body
///
/// # Errors
/// When the layout is another.
#[inline(always)]
pub fn publish(input: &[u8]) -> IResult<&[u8], (u16, MessageSizes)> {
    let (input, head) = head(input)?;
    let (input, sizes) = message_sizes(input)?;
    // Exactly one of them names the subject.
    if head.count != 0 || (head.number == 0) == (sizes.subject_bytes == 0) {
        return wrong(input);
    }
    Ok((input, (head.number, sizes)))
}

/// SUB = head 0x13, sid u32, queue_bytes u32, queue, filter
///
/// # Errors
/// When the layout is another.
pub fn subscribe(input: &[u8]) -> IResult<&[u8], Subscribe<'_>> {
    let (input, _) = plain(input)?;
    let (input, (sid, queue)) = (le_u32, length_data(le_u32)).parse(input)?;
    let (input, filter) = verify(rest, |filter: &[u8]| !filter.is_empty()).parse(input)?;
    Ok((input, Subscribe { sid, queue, filter }))
}

/// UNSUB = head 0x14, sid u32, max u32
///
/// # Errors
/// When the layout is another.
pub fn unsubscribe(input: &[u8]) -> IResult<&[u8], (u32, u32)> {
    let (input, _) = plain(input)?;
    all_consuming((le_u32, le_u32)).parse(input)
}

/// ALIAS = head 0x15 number alias, subject
///
/// # Errors
/// When the layout is another.
pub fn alias(input: &[u8]) -> IResult<&[u8], (u16, &[u8])> {
    let (input, head) = verify(head, |head| head.count == 0 && head.number != 0).parse(input)?;
    let (input, subject) = verify(rest, |subject: &[u8]| !subject.is_empty()).parse(input)?;
    Ok((input, (head.number, subject)))
}

/// REQUEST = head 0x16 count words, tag u32, verb u32, body_bytes u32, words, body
///
/// # Errors
/// When the layout is another.
pub fn request(input: &[u8]) -> IResult<&[u8], RequestFixed> {
    let (input, _) = verify(head, |head| head.number == 0).parse(input)?;
    let (input, (tag, verb, body_bytes)) = (le_u32, le_u32, le_u32).parse(input)?;
    Ok((input, RequestFixed { tag, verb, body_bytes }))
}

/// INFO = head 0x80, json
///
/// # Errors
/// When the layout is another.
pub fn info(input: &[u8]) -> IResult<&[u8], &[u8]> {
    json(input)
}

/// MSG_SHORT = head 0x81 number alias, sid u32, payload
///
/// # Errors
/// When the layout is another.
#[inline(always)]
pub fn short_message(input: &[u8]) -> IResult<&[u8], (u16, u32)> {
    let (input, head) = head(input)?;
    let Some((sid, input)) = input.split_first_chunk() else { return wrong(input) };
    if head.count != 0 {
        return wrong(input);
    }
    Ok((input, (head.number, u32::from_le_bytes(*sid))))
}

/// MSG = head 0x82 number alias, sid u32, subject_bytes u32, reply_bytes u32, header_bytes u32, subject, reply, header, body
///
/// # Errors
/// When the layout is another.
#[inline]
pub fn message(input: &[u8]) -> IResult<&[u8], (u16, u32, MessageSizes)> {
    let (input, head) = head(input)?;
    let Some((sid, input)) = input.split_first_chunk() else { return wrong(input) };
    let (sid, (input, sizes)) = (u32::from_le_bytes(*sid), message_sizes(input)?);
    // At most one of them names the subject.
    if head.count != 0 || head.number != 0 && sizes.subject_bytes != 0 {
        return wrong(input);
    }
    Ok((input, (head.number, sid, sizes)))
}

/// OK = head 0x83
///
/// # Errors
/// When the layout is another.
pub fn ok(input: &[u8]) -> IResult<&[u8], ()> {
    bare(input)
}

/// ERR = head 0x84, sentence
///
/// # Errors
/// When the layout is another.
pub fn error(input: &[u8]) -> IResult<&[u8], &str> {
    let (input, _) = plain(input)?;
    map_res(rest, std::str::from_utf8).parse(input)
}

/// GRANTED = head 0x85 count words, tag u32, body_bytes u32, words, body
///
/// # Errors
/// When the layout is another.
pub fn granted(input: &[u8]) -> IResult<&[u8], (u32, u32)> {
    let (input, _) = verify(head, |head| head.number == 0).parse(input)?;
    (le_u32, le_u32).parse(input)
}

/// DECLINED = head 0x86 count code_bytes, tag u32, code, sentence
///
/// # Errors
/// When the layout is another.
pub fn declined(input: &[u8]) -> IResult<&[u8], (u32, &str, &str)> {
    let (input, head) = verify(head, |head| head.number == 0).parse(input)?;
    let (input, tag) = le_u32(input)?;
    let (input, code) = map_res(take(head.count), std::str::from_utf8).parse(input)?;
    let (input, sentence) = map_res(rest, std::str::from_utf8).parse(input)?;
    Ok((input, (tag, code, sentence)))
}

/// PUSH = head 0x87 count words, body_bytes u32, words, body
///
/// # Errors
/// When the layout is another.
pub fn push(input: &[u8]) -> IResult<&[u8], u32> {
    let (input, _) = verify(head, |head| head.number == 0).parse(input)?;
    le_u32(input)
}

/// A head whose count and number mean nothing, and so are 0
fn plain(input: &[u8]) -> IResult<&[u8], Head> {
    verify(head, |head| head.count == 0 && head.number == 0).parse(input)
}

/// Such a head and nothing else
fn bare(input: &[u8]) -> IResult<&[u8], ()> {
    all_consuming(plain).map(drop).parse(input)
}

/// Such a head, then JSON
fn json(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (input, _) = plain(input)?;
    rest(input)
}

/// subject_bytes u32, reply_bytes u32, header_bytes u32
#[inline(always)]
fn message_sizes(input: &[u8]) -> IResult<&[u8], MessageSizes> {
    let Some((fixed, input)) = input.split_first_chunk::<12>() else { return wrong(input) };
    let &[s0, s1, s2, s3, r0, r1, r2, r3, h0, h1, h2, h3] = fixed;
    let subject_bytes = u32::from_le_bytes([s0, s1, s2, s3]);
    let reply_bytes = u32::from_le_bytes([r0, r1, r2, r3]);
    let header_bytes = u32::from_le_bytes([h0, h1, h2, h3]);
    Ok((input, MessageSizes { subject_bytes, reply_bytes, header_bytes }))
}

#[cold]
fn wrong<O>(input: &[u8]) -> IResult<&[u8], O> {
    Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Verify)))
}
