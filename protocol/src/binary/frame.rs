//! Frames of the binary framing: one enum per direction. What has numbers here and words in the
//! text framing is a variant of its own; the rest is that of the text framing.

use crate::error::Mistake;
use crate::frame;
use crate::verb::Verb;

/// How a frame names a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// By the number that the client gave it with `ALIAS`; never 0.
    Alias(u16),
    /// In full; not yet checked, and never empty.
    Full(&'a [u8]),
}

/// What a client can say. Every slice points into the caller's buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame<'a> {
    /// `CONNECT`: a JSON object, not looked at.
    Connect(&'a [u8]),
    /// `PUB` or `PUB_SHORT`.
    Publish(Publish<'a>),
    /// `SUB`.
    Subscribe {
        /// The client's own number for the subscription.
        sid: u32,
        /// Queue group, if any.
        queue: Option<&'a [u8]>,
        /// What is wanted; not yet checked.
        filter: &'a [u8],
    },
    /// `UNSUB`.
    Unsubscribe {
        /// Which subscription.
        sid: u32,
        /// End it after this many messages since its start; `None` means now.
        max: Option<u64>,
    },
    /// `ALIAS`: a number for a subject.
    Alias {
        /// The number; never 0.
        number: u16,
        /// What it stands for; not yet checked, and never empty.
        subject: &'a [u8],
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// One of our own verbs.
    Request(Request<'a>),
    /// One of our own verbs, with a mistake in it.
    Mistyped {
        /// The tag.
        tag: u32,
        /// What was expected.
        mistake: Mistake,
    },
}

/// A message on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to.
    pub subject: Named<'a>,
    /// Where answers go; not yet checked.
    pub reply: Option<&'a [u8]>,
    /// Bytes of the header block at the front of `payload`, at least one; `None` if there is none.
    pub header_bytes: Option<usize>,
    /// Header block, then body.
    pub payload: &'a [u8],
}

/// One of our own verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Which verb.
    pub verb: Verb,
    /// Comes back in the reply.
    pub tag: u32,
    /// As many as [`Verb::arguments`] names, in that order.
    pub arguments: Vec<&'a str>,
    /// Keys are among [`Verb::options`]; a key given twice is here twice.
    pub options: Vec<(&'a str, &'a str)>,
    /// The body, empty where the verb has none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The request as the text framing has it, with `tag` for the digits of its tag.
    #[must_use]
    pub fn with_tag<'b>(self, tag: &'b str) -> frame::Request<'b>
    where
        'a: 'b,
    {
        let Request { verb, arguments, options, body, .. } = self;
        frame::Request { verb, tag, arguments, options, body }
    }
}

/// What a broker can say. Every slice points into the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// `MSG` or `MSG_SHORT`.
    Message(Message<'a>),
    /// `GRANTED`: a request of ours was granted.
    Granted {
        /// The tag of the request.
        tag: u32,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// The body, empty where there is none.
        body: &'a [u8],
    },
    /// `DECLINED`: a request of ours was declined.
    Declined {
        /// The tag of the request.
        tag: u32,
        /// For programs.
        code: &'a str,
        /// For people.
        sentence: &'a str,
    },
    /// `INFO`, `PING`, `PONG`, `OK`, `ERR` and `PUSH`: what has neither sid nor tag in it is the
    /// same in both framings.
    Common(frame::ServerFrame<'a>),
}

/// A message on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The receiver's number for its subscription.
    pub sid: u32,
    /// Where it was published; `None`: the filter of the subscription, which is no pattern.
    pub subject: Option<Named<'a>>,
    /// Where answers go.
    pub reply: Option<&'a [u8]>,
    /// Bytes of the header block at the front of `payload`, at least one; `None` if there is none.
    pub header_bytes: Option<usize>,
    /// Header block, then body.
    pub payload: &'a [u8],
}
