//! What can be wrong with bytes: the stream is lost, or one request is.

use crate::verb::Verb;

/// The byte stream no longer follows the grammar. The frame boundary is lost, so the connection
/// must be closed, after [`DecodeError::wire_text`] if there is one (docs/protocol.md, "Errors").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No verb starts like this, or a payload is not followed by CR LF.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// A control line is, or is about to be, over the limit.
    #[error("control line of {bytes} bytes or more is over the limit of {bytes_max}")]
    ControlLineTooLong {
        /// One more than the limit: there the line is given up, however long it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A payload (with its header block) is over the limit. Known before any of it is read.
    #[error("payload of {bytes} bytes is over the limit of {bytes_max}")]
    PayloadTooLarge {
        /// Bytes announced.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The arguments of a NATS verb are wrong: their number, or a size.
    #[error("arguments of {verb} do not follow the grammar")]
    Arguments {
        /// The verb.
        verb: &'static str,
    },
    /// A binary frame is not laid out as its kind says.
    #[error("frame {frame} does not follow its layout")]
    Layout {
        /// The kind of the frame.
        frame: &'static str,
    },
}

impl DecodeError {
    /// The text of the `-ERR` that a NATS server sends before it closes, or `None` where it closes
    /// without a word (`nats-server` does so for wrong arguments, and its clients expect it).
    #[must_use]
    pub fn wire_text(&self) -> Option<&'static str> {
        match self {
            DecodeError::UnknownOperation => Some("Unknown Protocol Operation"),
            DecodeError::ControlLineTooLong { .. } => Some("maximum control line exceeded"),
            DecodeError::PayloadTooLarge { .. } => Some("Maximum Payload Violation"),
            DecodeError::Arguments { .. } => None,
            DecodeError::Layout { .. } => Some("Malformed Frame"),
        }
    }
}

/// A request in one of our own verbs that was mistyped. The frame boundary is known, so the
/// connection lives on; the sentence says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A word that is no verb.
    #[error("unknown verb {found}; HELP lists the verbs")]
    UnknownVerb {
        /// The words found.
        found: String,
    },
    /// A verb in two words lacks its second, or has an unknown one.
    #[error("{family} is followed by one of {expected}; found {found}")]
    UnknownAction {
        /// The first word.
        family: &'static str,
        /// The second words that exist.
        expected: String,
        /// The word found, or `nothing`.
        found: String,
    },
    /// A verb that has a name already and cannot be used yet.
    #[error("{name} is not built yet; HELP lists the verbs that are")]
    NotSupported {
        /// Both words of the verb.
        name: String,
    },
    /// An argument is missing.
    #[error("{argument} is missing; usage: {usage}", usage = verb.usage())]
    Missing {
        /// The verb.
        verb: Verb,
        /// The name of the argument.
        argument: &'static str,
    },
    /// There is a word too many.
    #[error("{found} is one word too many; usage: {usage}", usage = verb.usage())]
    Surplus {
        /// The verb.
        verb: Verb,
        /// The first surplus word.
        found: String,
    },
    /// An option that the verb does not have.
    #[error("there is no option {found}; usage: {usage}", usage = verb.usage())]
    UnknownOption {
        /// The verb.
        verb: Verb,
        /// Its key.
        found: String,
    },
    /// The size of the body is no number.
    #[error("the last word is the size of the body in bytes; found {found}; usage: {usage}", usage = verb.usage())]
    Size {
        /// The verb.
        verb: Verb,
        /// The word found.
        found: String,
    },
    /// A binary frame has a body where its verb takes none.
    #[error("a body of {bytes} bytes is too much; usage: {usage}", usage = verb.usage())]
    SurplusBody {
        /// The verb.
        verb: Verb,
        /// Bytes of the body.
        bytes: usize,
    },
    /// The line is not UTF-8, or holds control characters.
    #[error("the line holds bytes that are not printable text")]
    NotText,
}

impl Mistake {
    /// The mistake's one name on the wire, in logs and in docs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Mistake::UnknownVerb { .. } | Mistake::UnknownAction { .. } => "unknown_verb",
            Mistake::NotSupported { .. } => "not_supported",
            _ => "invalid",
        }
    }
}
