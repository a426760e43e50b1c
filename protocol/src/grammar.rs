//! The lines of `docs/protocol.md`, one function each, in its order. Input is one control line
//! without its line end. Sizes are only read here; limits are the decoder's business.

#![allow(rustdoc::private_intra_doc_links, reason = "`[ws]` is the notation of the document")]

use nom::bytes::complete::tag_no_case;
use nom::character::complete::digit1;
use nom::combinator::{all_consuming, map_opt, map_res, opt, rest, verify};
use nom::multi::many0;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

use crate::error::Mistake;
use crate::scan;
use crate::verb::{Body, Verb};

/// `PUB` or `HPUB` before its payload is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishLine<'a> {
    /// Where to.
    pub subject: &'a [u8],
    /// Where answers go.
    pub reply: Option<&'a [u8]>,
    /// Size of the header block, for `HPUB`.
    pub header_bytes: Option<usize>,
    /// Size of header block and body together.
    pub total_bytes: usize,
}

/// `SUB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeLine<'a> {
    /// What is wanted.
    pub filter: &'a [u8],
    /// Queue group.
    pub queue: Option<&'a [u8]>,
    /// The client's name for the subscription.
    pub sid: &'a [u8],
}

/// `MSG` or `HMSG` before its payload is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLine<'a> {
    /// Where it was published.
    pub subject: &'a [u8],
    /// The receiver's name for its subscription.
    pub sid: &'a [u8],
    /// Where answers go.
    pub reply: Option<&'a [u8]>,
    /// Size of the header block, for `HMSG`.
    pub header_bytes: Option<usize>,
    /// Size of header block and body together.
    pub total_bytes: usize,
}

/// A line of one of our own verbs before its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// Which verb.
    pub verb: Verb,
    /// Comes back in the reply.
    pub tag: &'a str,
    /// As many as the verb names.
    pub arguments: Vec<&'a str>,
    /// Keys are among those of the verb.
    pub options: Vec<(&'a str, &'a str)>,
    /// Size of the body; `None` where the verb has none.
    pub body_bytes: Option<usize>,
}

/// A line of one of our own verbs that was mistyped, with what could still be made out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MistypedLine<'a> {
    /// The tag, or `-`.
    pub tag: &'a str,
    /// Size of the body that follows all the same; `None` if the line announces none.
    pub body_bytes: Option<usize>,
    /// What was expected.
    pub mistake: Mistake,
}

/// `OK` before its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedLine<'a> {
    /// The tag of the request.
    pub tag: &'a str,
    /// In the order sent.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Size of the body, if one follows.
    pub body_bytes: Option<usize>,
}

/// `OFFER`, `CANCEL` or `ANSWERED` before its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferLine<'a> {
    /// Which task.
    pub task: u64,
    /// Its generation.
    pub generation: u64,
    /// In the order sent.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Size of the body.
    pub body_bytes: usize,
}

/// `ITEM` before its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemLine<'a> {
    /// The tag of the request.
    pub tag: &'a str,
    /// What it says of the task.
    pub offer: OfferLine<'a>,
}

/// `EVENT` before its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine<'a> {
    /// Which task.
    pub task: u64,
    /// In the order sent.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Size of the body.
    pub body_bytes: usize,
}

/// ws = 1*( SP / HTAB )
#[inline(always)]
fn ws(input: &[u8]) -> IResult<&[u8], &[u8]> {
    split_one_or_more(input, blanks_at_front(input))
}

/// word = 1*OCTET without blanks
#[inline(always)]
fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    split_one_or_more(input, others_at_front(input))
}

/// size = 1*9DIGIT
#[inline(always)]
fn size(input: &[u8]) -> IResult<&[u8], usize> {
    let mut bytes = 0;
    let mut value = 0;
    while let Some(digit @ b'0'..=b'9') = input.get(bytes) {
        if bytes == SIZE_DIGITS_MAX {
            return wrong(input);
        }
        value = value * 10 + usize::from(digit - b'0');
        bytes += 1;
    }
    if bytes == 0 { wrong(input) } else { Ok((&input[bytes..], value)) }
}

/// number = 1*DIGIT, below 2^64
fn number(input: &[u8]) -> IResult<&[u8], u64> {
    let value = |digits| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    map_opt(digit1, value).parse(input)
}

/// field = key "=" value
fn field(input: &[u8]) -> IResult<&[u8], (&str, &str)> {
    map_opt(text, |word| word.split_once('=')).parse(input)
}

/// json = "{" *OCTET: a JSON object on one line, without the blanks behind it
fn json(input: &[u8]) -> IResult<&[u8], &[u8]> {
    verify(rest_of_line, |json: &[u8]| json.starts_with(b"{")).parse(input)
}

/// CONNECT = "CONNECT" [ws] json
///
/// # Errors
/// When the line is not of this shape.
pub fn connect(input: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded((tag_no_case("CONNECT"), blanks), json).parse(input)
}

/// PUB = "PUB" ws subject [ws reply] ws size
///
/// # Errors
/// When the line is not of this shape.
#[inline]
pub fn publish(input: &[u8]) -> IResult<&[u8], PublishLine<'_>> {
    let (input, _) = verb(b"PUB")(input)?;
    let (input, subject) = word(input)?;
    let (input, (reply, size)) = optional_and_last(input)?;
    let (_, total_bytes) = whole_size(size)?;
    Ok((input, PublishLine { subject, reply, header_bytes: None, total_bytes }))
}

/// HPUB = "HPUB" ws subject [ws reply] ws hsize ws tsize
///
/// # Errors
/// When the line is not of this shape, or the header is larger than the whole.
#[inline]
pub fn header_publish(input: &[u8]) -> IResult<&[u8], PublishLine<'_>> {
    let (input, _) = verb(b"HPUB")(input)?;
    let (input, subject) = word(input)?;
    let (input, (reply, header_bytes, total_bytes)) = reply_and_sizes(input)?;
    Ok((input, PublishLine { subject, reply, header_bytes: Some(header_bytes), total_bytes }))
}

/// SUB = "SUB" ws subject [ws queue] ws sid
///
/// # Errors
/// When the line is not of this shape.
pub fn subscribe(input: &[u8]) -> IResult<&[u8], SubscribeLine<'_>> {
    let (input, _) = verb(b"SUB")(input)?;
    let (input, filter) = word(input)?;
    let (input, (queue, sid)) = optional_and_last(input)?;
    Ok((input, SubscribeLine { filter, queue, sid }))
}

/// UNSUB = "UNSUB" ws sid [ws max]; a `max` that is no size means "now"
///
/// # Errors
/// When the line is not of this shape.
pub fn unsubscribe(input: &[u8]) -> IResult<&[u8], (&[u8], Option<u64>)> {
    let (input, sid) = preceded(verb(b"UNSUB"), word).parse(input)?;
    let (input, max) = last(opt(preceded(ws, word))).parse(input)?;
    let max = max.and_then(|word| whole_size(word).ok());
    Ok((input, (sid, max.map(|(_, max)| max as u64))))
}

/// INFO = "INFO" [ws] json
///
/// # Errors
/// When the line is not of this shape.
pub fn info(input: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded((tag_no_case("INFO"), blanks), json).parse(input)
}

/// MSG = "MSG" ws subject ws sid [ws reply] ws size
///
/// # Errors
/// When the line is not of this shape.
#[inline]
pub fn message(input: &[u8]) -> IResult<&[u8], MessageLine<'_>> {
    let (input, _) = verb(b"MSG")(input)?;
    let (input, subject) = word(input)?;
    let (input, sid) = next_word(input)?;
    let (input, (reply, size)) = optional_and_last(input)?;
    let (_, total_bytes) = whole_size(size)?;
    Ok((input, MessageLine { subject, sid, reply, header_bytes: None, total_bytes }))
}

/// HMSG = "HMSG" ws subject ws sid [ws reply] ws hsize ws tsize
///
/// # Errors
/// When the line is not of this shape, or the header is larger than the whole.
#[inline]
pub fn header_message(input: &[u8]) -> IResult<&[u8], MessageLine<'_>> {
    let (input, _) = verb(b"HMSG")(input)?;
    let (input, subject) = word(input)?;
    let (input, sid) = next_word(input)?;
    let (input, (reply, header_bytes, total_bytes)) = reply_and_sizes(input)?;
    Ok((input, MessageLine { subject, sid, reply, header_bytes: Some(header_bytes), total_bytes }))
}

/// -ERR = "-ERR" [ws] "'" text "'"
///
/// # Errors
/// When the line is not of this shape.
pub fn error(input: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded((tag_no_case("-ERR"), blanks), rest_of_line.map(unquoted)).parse(input)
}

/// request = family ws action ws tag *(ws argument) *(ws key "=" value) [ws size]
///
/// `line` may be anything; a wrong one is taken apart as far as it goes, so that the caller can
/// skip its body and answer with what was expected.
///
/// # Errors
/// [`MistypedLine`], with a sentence.
pub fn request(line: &[u8]) -> Result<RequestLine<'_>, MistypedLine<'_>> {
    let text = match std::str::from_utf8(line) {
        Ok(text) if !has_control(text) => text,
        _ => return Err(mistyped("-", announced_body(line), Mistake::NotText)),
    };
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let Some(family) = Verb::family(first) else {
        return Err(mistyped("-", None, Mistake::UnknownVerb { found: excerpt(first) }));
    };
    let second = words.next();
    let Some(verb) = second.and_then(|action| Verb::find(family, action)) else {
        if let Some(name) = second.and_then(|action| Verb::find_not_yet(family, action)) {
            let tag = words.next().unwrap_or("-");
            return Err(mistyped(tag, None, Mistake::NotSupported { name }));
        }
        let found = second.map_or_else(|| "nothing".to_owned(), excerpt);
        let expected = Verb::actions(family);
        return Err(mistyped("-", None, Mistake::UnknownAction { family, expected, found }));
    };
    let mut words: Vec<&str> = words.collect();
    let tag = if words.is_empty() { "-" } else { words.remove(0) };
    let mut body_bytes = None;
    if verb.body() == Body::Sized {
        // With the tag alone there is no telling; any later word at the end is taken for the size,
        // so that a payload behind a line that lacks a word is not read as commands.
        let Some(last) = words.pop() else {
            let argument =
                if tag == "-" { "tag" } else { verb.arguments().first().unwrap_or(&"size") };
            return Err(mistyped(tag, None, Mistake::Missing { verb, argument }));
        };
        match whole_size(last.as_bytes()) {
            Ok((_, bytes)) => body_bytes = Some(bytes),
            Err(_) => {
                return Err(mistyped(tag, None, Mistake::Size { verb, found: excerpt(last) }));
            }
        }
    }
    request_words(verb, tag, &words, body_bytes)
        .map_err(|mistake| mistyped(tag, body_bytes, mistake))
}

/// The words of a request behind its tag, `size` taken away.
pub(crate) fn request_words<'a>(
    verb: Verb,
    tag: &'a str,
    words: &[&'a str],
    body_bytes: Option<usize>,
) -> Result<RequestLine<'a>, Mistake> {
    if tag == "-" {
        return Err(Mistake::Missing { verb, argument: "tag" });
    }
    let mut arguments = Vec::with_capacity(verb.arguments().len());
    let mut options = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if arguments.len() == verb.arguments().len() => {
                if !verb.options().contains(&key) {
                    return Err(Mistake::UnknownOption { verb, found: excerpt(key) });
                }
                options.push((key, value));
            }
            _ if arguments.len() < verb.arguments().len() => arguments.push(*word),
            _ => return Err(Mistake::Surplus { verb, found: excerpt(word) }),
        }
    }
    match verb.arguments().get(arguments.len()) {
        Some(argument) => Err(Mistake::Missing { verb, argument }),
        None => Ok(RequestLine { verb, tag, arguments, options, body_bytes }),
    }
}

/// Whether there are control characters other than tabs. Most lines are ASCII, of which it can be
/// told many bytes at a time.
fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') | (*byte == 0x7f);
        return text.as_bytes().iter().fold(false, |found, byte| found | is_control(byte));
    }
    text.chars().any(|c| c.is_control() && c != '\t')
}

/// The body that a line of ours announces although it is not text: whoever put strange bytes into
/// a name must not have its payload read as commands.
fn announced_body(line: &[u8]) -> Option<usize> {
    let mut words = line.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty());
    let mut name = || std::str::from_utf8(words.next()?).ok();
    let verb = Verb::find(name()?, name()?)?;
    if verb.body() == Body::None {
        return None;
    }
    whole_size(words.next_back()?).ok().map(|(_, bytes)| bytes)
}

/// OK = "OK" ws tag *(ws field) [ws size]
///
/// # Errors
/// When the line is not of this shape.
pub fn granted(input: &[u8]) -> IResult<&[u8], GrantedLine<'_>> {
    let (input, tag) = preceded(verb(b"OK"), text).parse(input)?;
    let (input, fields) = many0(preceded(ws, field)).parse(input)?;
    let (input, body_bytes) = last(opt(preceded(ws, size))).parse(input)?;
    Ok((input, GrantedLine { tag, fields, body_bytes }))
}

/// ERR = "ERR" ws tag ws code ws "'" sentence "'"
///
/// # Errors
/// When the line is not of this shape.
pub fn declined(input: &[u8]) -> IResult<&[u8], (&str, &str, &str)> {
    let (input, (tag, code)) = (preceded(verb(b"ERR"), text), preceded(ws, text)).parse(input)?;
    let sentence = map_res(rest_of_line.map(unquoted), std::str::from_utf8);
    let (input, sentence) = preceded(blanks, sentence).parse(input)?;
    Ok((input, (tag, code, sentence)))
}

/// OFFER = "OFFER" ws task ws generation *(ws field) ws size
///
/// # Errors
/// When the line is not of this shape.
pub fn offer(input: &[u8]) -> IResult<&[u8], OfferLine<'_>> {
    preceded(verb(b"OFFER"), lease_and_body).parse(input)
}

/// REVOKED = "REVOKED" ws task ws generation *(ws field)
///
/// # Errors
/// When the line is not of this shape.
#[allow(clippy::type_complexity)]
pub fn revoked(input: &[u8]) -> IResult<&[u8], (u64, u64, Vec<(&str, &str)>)> {
    let (input, _) = verb(b"REVOKED").parse(input)?;
    let (input, (task, generation)) = (number, preceded(ws, number)).parse(input)?;
    let (input, fields) = last(many0(preceded(ws, field))).parse(input)?;
    Ok((input, (task, generation, fields)))
}

/// CANCEL = "CANCEL" ws task ws generation *(ws field) ws size
///
/// # Errors
/// When the line is not of this shape.
pub fn cancel(input: &[u8]) -> IResult<&[u8], OfferLine<'_>> {
    preceded(verb(b"CANCEL"), lease_and_body).parse(input)
}

/// ANSWERED = "ANSWERED" ws task ws generation *(ws field) ws size
///
/// # Errors
/// When the line is not of this shape.
pub fn answered(input: &[u8]) -> IResult<&[u8], OfferLine<'_>> {
    preceded(verb(b"ANSWERED"), lease_and_body).parse(input)
}

/// ITEM = "ITEM" ws tag ws task ws generation *(ws field) ws size
///
/// # Errors
/// When the line is not of this shape.
pub fn item(input: &[u8]) -> IResult<&[u8], ItemLine<'_>> {
    let (input, tag) = preceded(verb(b"ITEM"), text).parse(input)?;
    let (input, offer) = preceded(ws, lease_and_body).parse(input)?;
    Ok((input, ItemLine { tag, offer }))
}

/// EVENT = "EVENT" ws task *(ws field) ws size
///
/// # Errors
/// When the line is not of this shape.
pub fn event(input: &[u8]) -> IResult<&[u8], EventLine<'_>> {
    let (input, task) = preceded(verb(b"EVENT"), number).parse(input)?;
    let (input, fields) = many0(preceded(ws, field)).parse(input)?;
    let (input, body_bytes) = last(preceded(ws, size)).parse(input)?;
    Ok((input, EventLine { task, fields, body_bytes }))
}

/// task ws generation *(ws field) ws size, the common end of `OFFER`, `CANCEL`, `ANSWERED`
/// and `ITEM`
fn lease_and_body(input: &[u8]) -> IResult<&[u8], OfferLine<'_>> {
    let (input, (task, generation)) = (number, preceded(ws, number)).parse(input)?;
    let (input, fields) = many0(preceded(ws, field)).parse(input)?;
    let (input, body_bytes) = last(preceded(ws, size)).parse(input)?;
    Ok((input, OfferLine { task, generation, fields, body_bytes }))
}

/// The name of a verb, letters in any case, then ws
#[inline(always)]
fn verb<const BYTES: usize>(name: &'static [u8; BYTES]) -> impl Fn(&[u8]) -> IResult<&[u8], &[u8]> {
    move |input| match input.split_first_chunk::<BYTES>() {
        Some((found, input)) if scan::same_letters(found, name) => ws(input),
        _ => wrong(input),
    }
}

/// ws word
#[inline(always)]
fn next_word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (input, _) = ws(input)?;
    word(input)
}

/// A word that is UTF-8
fn text(input: &[u8]) -> IResult<&[u8], &str> {
    map_res(word, std::str::from_utf8).parse(input)
}

/// A word that is a size and nothing else
#[inline(always)]
fn whole_size(word: &[u8]) -> IResult<&[u8], usize> {
    match size(word)? {
        (b"", bytes) => Ok((b"", bytes)),
        _ => wrong(word),
    }
}

/// Everything up to the blanks that end the line
fn rest_of_line(input: &[u8]) -> IResult<&[u8], &[u8]> {
    rest.map(trim_blanks_end).parse(input)
}

/// [ws word] ws word, then the end of the line
#[allow(clippy::type_complexity)]
#[inline(always)]
fn optional_and_last(input: &[u8]) -> IResult<&[u8], (Option<&[u8]>, &[u8])> {
    let (input, first) = next_word(input)?;
    let (input, _) = blanks(input)?;
    if input.is_empty() {
        return Ok((input, (None, first)));
    }
    let (input, second) = word(input)?;
    let (input, _) = blanks(input)?;
    if !input.is_empty() {
        return wrong(input);
    }
    Ok((input, (Some(first), second)))
}

/// [ws reply] ws hsize ws tsize, the common end of `HPUB` and `HMSG`
#[allow(clippy::type_complexity)]
#[inline(always)]
fn reply_and_sizes(input: &[u8]) -> IResult<&[u8], (Option<&[u8]>, usize, usize)> {
    let (input, first) = next_word(input)?;
    let (input, (second, third)) = optional_and_last(input)?;
    let (reply, header_size) = match second {
        Some(second) => (Some(first), second),
        None => (None, first),
    };
    let ((_, header_bytes), (_, total_bytes)) = (whole_size(header_size)?, whole_size(third)?);
    if header_bytes > total_bytes {
        return wrong(input);
    }
    Ok((input, (reply, header_bytes, total_bytes)))
}

/// [ws]
#[inline(always)]
fn blanks(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (blanks, input) = input.split_at(blanks_at_front(input));
    Ok((input, blanks))
}

/// The last element of a line: blanks may follow, nothing else.
fn last<'a, O>(
    element: impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
) -> impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>> {
    all_consuming(terminated(element, blanks))
}

#[inline(always)]
fn split_one_or_more(input: &[u8], bytes: usize) -> IResult<&[u8], &[u8]> {
    if bytes == 0 {
        return wrong(input);
    }
    let (front, input) = input.split_at(bytes);
    Ok((input, front))
}

#[cold]
fn wrong<O>(input: &[u8]) -> IResult<&[u8], O> {
    Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Verify)))
}

fn mistyped(tag: &str, body_bytes: Option<usize>, mistake: Mistake) -> MistypedLine<'_> {
    MistypedLine { tag, body_bytes, mistake }
}

/// Enough of a wrong word to recognise it by, so that an answer stays short.
fn excerpt(word: &str) -> String {
    const CHARS_MAX: usize = 32;
    word.chars().take(CHARS_MAX).collect()
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'")).unwrap_or(text)
}

fn trim_blanks_end(mut text: &[u8]) -> &[u8] {
    while let [front @ .., b' ' | b'\t'] = text {
        text = front;
    }
    text
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[inline(always)]
fn blanks_at_front(input: &[u8]) -> usize {
    let mut bytes = 0;
    while let Some(b' ' | b'\t') = input.get(bytes) {
        bytes += 1;
    }
    bytes
}

/// Bytes in front of the first blank.
#[inline(always)]
fn others_at_front(input: &[u8]) -> usize {
    let is_blank_of_eight = |eight| scan::equal(eight, b' ') | scan::equal(eight, b'\t');
    scan::position(input, is_blank_of_eight, is_blank).unwrap_or(input.len())
}

/// Sizes of nine digits always fit; a tenth could overflow 32 bits, and NATS refuses it.
const SIZE_DIGITS_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_in_ascii_and_in_other_text() {
        for c in '\0'..='\u{2ff}' {
            let expected = c.is_control() && c != '\t';
            for text in [format!("x{c}y"), format!("ä{c}y"), format!("{c}{}", "x".repeat(100))] {
                assert_eq!(has_control(&text), expected, "{text:?}");
            }
        }
    }
}
