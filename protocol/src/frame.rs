//! Frames: one enum per direction, one variant per verb.

use crate::error::Mistake;
use crate::verb::Verb;

/// What a client can say. Every slice points into the caller's buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame<'a> {
    /// `CONNECT json`; of the JSON only the opening brace has been looked at.
    Connect(&'a [u8]),
    /// `PUB` or `HPUB`.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// What is wanted; not yet checked.
        filter: &'a [u8],
        /// Queue group, if any.
        queue: Option<&'a [u8]>,
        /// The client's own name for the subscription, any word.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// Which subscription.
        sid: &'a [u8],
        /// End it after this many messages since its start; `None` means now.
        max: Option<u64>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK` or `INFO`: tolerated from clients, without meaning.
    Ignored,
    /// `-ERR`: the client hangs up.
    Error,
    /// `HELP [verb]`.
    Help(&'a str),
    /// `QUIT`: a person at a telnet prompt hangs up.
    Quit,
    /// One of our own verbs.
    Request(Request<'a>),
    /// One of our own verbs, mistyped.
    Mistyped {
        /// The tag, where one could be made out; `-` otherwise.
        tag: &'a str,
        /// What was expected.
        mistake: Mistake,
    },
}

/// A message on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to; not yet checked.
    pub subject: &'a [u8],
    /// Where answers go; not yet checked.
    pub reply: Option<&'a [u8]>,
    /// Bytes of the header block at the front of `payload`; `None` for `PUB`.
    pub header_bytes: Option<usize>,
    /// Header block, then body.
    pub payload: &'a [u8],
}

/// One of our own verbs with its words taken apart. Values of arguments and options are the
/// business of whoever handles the verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Which verb.
    pub verb: Verb,
    /// Comes back in the reply; any word.
    pub tag: &'a str,
    /// As many as [`Verb::arguments`] names, in that order.
    pub arguments: Vec<&'a str>,
    /// Keys are among [`Verb::options`]; a key given twice is here twice.
    pub options: Vec<(&'a str, &'a str)>,
    /// The body, empty where the verb has none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The value of an option; the last one wins if it was given more than once.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&'a str> {
        self.options.iter().rev().find(|(found, _)| *found == key).map(|&(_, value)| value)
    }
}

/// What a broker can say. Every slice points into the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// `INFO json`; of the JSON only the opening brace has been looked at.
    Info(&'a [u8]),
    /// `MSG` or `HMSG`.
    Message(Message<'a>),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR 'text'`, without the quotes.
    Error(&'a str),
    /// `OK tag key=value ... [size]`: a request of ours was granted.
    Granted {
        /// The tag of the request.
        tag: &'a str,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// The body, empty where there is none.
        body: &'a [u8],
    },
    /// `ERR tag code 'sentence'`: a request of ours was declined.
    Declined {
        /// The tag of the request.
        tag: &'a str,
        /// For programs.
        code: &'a str,
        /// For people.
        sentence: &'a str,
    },
    /// `ITEM tag task generation key=value ... size`: one of the tasks that were taken; the `OK`
    /// of the request follows the last.
    Item {
        /// The tag of the request.
        tag: &'a str,
        /// Which task.
        task: u64,
        /// The generation to name in every operation on it.
        generation: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// As that of an offer.
        body: &'a [u8],
    },
    /// `OFFER task generation key=value ... size`: work for an agent.
    Offer {
        /// Which task.
        task: u64,
        /// The generation to name in every operation on it.
        generation: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// Answers and the checkpoint, as long as the fields `answers_bytes` and
        /// `checkpoint_bytes` say, then the payload.
        body: &'a [u8],
    },
    /// `REVOKED task generation key=value ...`: the lease is gone.
    Revoked {
        /// Which task.
        task: u64,
        /// The generation that is over.
        generation: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
    },
    /// `CANCEL task generation key=value ... size`: the work is to be stopped.
    Cancel {
        /// Which task.
        task: u64,
        /// The generation that is to stop.
        generation: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// Why, for people.
        body: &'a [u8],
    },
    /// `ANSWERED task generation key=value ... size`: what the holder asked is answered.
    Answered {
        /// Which task.
        task: u64,
        /// The generation that asked.
        generation: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// The answers, in JSON.
        body: &'a [u8],
    },
    /// `EVENT task key=value ... size`: something happened to a task that is watched.
    Event {
        /// Which task.
        task: u64,
        /// In the order sent.
        fields: Vec<(&'a str, &'a str)>,
        /// The report, if it is one; empty otherwise.
        body: &'a [u8],
    },
    /// `REPLACED`: a newer session speaks for the agent.
    Replaced,
}

/// A message on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it was published.
    pub subject: &'a [u8],
    /// The receiver's name for its subscription.
    pub sid: &'a [u8],
    /// Where answers go.
    pub reply: Option<&'a [u8]>,
    /// Bytes of the header block at the front of `payload`; `None` for `MSG`.
    pub header_bytes: Option<usize>,
    /// Header block, then body.
    pub payload: &'a [u8],
}
