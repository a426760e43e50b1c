//! What can go wrong with tasks and queues: one kind per operation, each a table from the broker's
//! codes to its variants.
//!
//! Every kind has the variants that any question to the broker can end in, and in front of them
//! those of its own operation. A code that an operation does not list is `Declined`, with the code
//! in it, so a newer broker's reasons are not lost.

use std::error::Error as StdError;

use crate::error::{Error, WorkerError, WorkerErrorKind};

/// Why a question to the broker has no granted answer, before an operation makes it its own error.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: TroubleKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a [`Trouble`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// The server announces no verbs of this family.
    NotSupported,
    /// A value cannot be put on the line.
    Invalid,
    /// The body is over the server's limit.
    MaxPayloadExceeded,
    /// The broker's `ERR`, with its code.
    Declined(String),
    /// No answer in time.
    TimedOut,
    /// The connection broke before the answer.
    Disconnected,
    /// The answer could not be understood.
    Protocol,
    /// The client is closed.
    Closed,
}

impl Trouble {
    pub(crate) fn with_source(
        kind: TroubleKind,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Trouble {
        Trouble { kind, source: Some(source.into()) }
    }

    /// A value that cannot be sent, and why.
    pub(crate) fn invalid(sentence: String) -> Trouble {
        Trouble::with_source(TroubleKind::Invalid, sentence)
    }

    /// An answer that is not what was expected.
    pub(crate) fn protocol(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Trouble {
        Trouble::with_source(TroubleKind::Protocol, source)
    }

    /// The broker's code, if it declined.
    pub(crate) fn code(&self) -> Option<&str> {
        match &self.kind {
            TroubleKind::Declined(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the same question may be granted soon, although nobody changes anything about it.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.kind {
            TroubleKind::Disconnected | TroubleKind::TimedOut => true,
            TroubleKind::Declined(code) => matches!(code.as_str(), "busy" | "unavailable"),
            _ => false,
        }
    }

    /// Whether the question was wrong, so that another one may be granted.
    pub(crate) fn is_own_mistake(&self) -> bool {
        match &self.kind {
            TroubleKind::Invalid | TroubleKind::MaxPayloadExceeded => true,
            TroubleKind::Declined(code) => matches!(code.as_str(), "invalid" | "denied"),
            _ => false,
        }
    }

    /// As the reason why a worker did not start.
    pub(crate) fn into_worker_error(self) -> WorkerError {
        WorkerError::with_source(WorkerErrorKind::Start, self.into_error::<StartErrorKind>())
    }

    /// As an operation's error.
    pub(crate) fn into_error<Kind: From<TroubleKind>>(self) -> Error<Kind> {
        let kind = Kind::from(self.kind);
        match self.source {
            Some(source) => Error::with_source(kind, source),
            None => Error::new(kind),
        }
    }
}

impl From<TroubleKind> for Trouble {
    fn from(kind: TroubleKind) -> Trouble {
        Trouble { kind, source: None }
    }
}

/// Defines the kind of one operation and its error. Each own variant names the broker's codes that
/// it stands for and the sentence for people.
macro_rules! operation_error {
    (
        $(#[$about:meta])*
        $kind:ident, $error:ident {
            $( $(#[$meaning:meta])* $variant:ident = [$($code:literal),+], $sentence:literal; )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum $kind {
            $( $(#[$meaning])* #[error($sentence)] $variant, )*
            /// The server is no AgentCom broker, or one that cannot do this yet.
            #[error("this server does not know these verbs; connect to a newer AgentCom broker")]
            NotSupported,
            /// A value cannot be put on the line, or the broker refused it as malformed.
            #[error("a value is not valid")]
            Invalid,
            /// The credentials do not allow this.
            #[error("not permitted with these credentials")]
            Denied,
            /// More waits for the broker than it takes in; nothing happened.
            #[error("the broker is busy; try again later")]
            Busy,
            /// The broker cannot do durable work now; nothing happened.
            #[error("the broker cannot do durable work now; try again later")]
            Unavailable,
            /// The broker failed while it kept this: it may or may not be kept.
            #[error("the broker failed while it kept this, so it may or may not be kept; look first")]
            Uncertain,
            /// Any other reason of the broker's, with its code.
            #[error("declined by the broker ({code})")]
            Declined {
                /// The broker's code.
                code: String,
            },
            /// The body is over the server's `max_payload`.
            #[error("the body is larger than the server allows; store it elsewhere and send a reference")]
            MaxPayloadExceeded,
            /// No answer in time. It may have happened all the same.
            #[error("no answer in time; it may have happened all the same")]
            TimedOut,
            /// The connection broke before the answer. It may have happened all the same.
            #[error("the connection broke before the answer; it may have happened all the same")]
            Disconnected,
            /// The broker's answer could not be understood.
            #[error("the broker's answer could not be understood")]
            Protocol,
            /// The client was closed or drained.
            #[error("the client is closed; connect again")]
            Closed,
        }

        impl From<TroubleKind> for $kind {
            fn from(trouble: TroubleKind) -> $kind {
                let code = match trouble {
                    TroubleKind::Declined(code) => code,
                    TroubleKind::NotSupported => return $kind::NotSupported,
                    TroubleKind::Invalid => return $kind::Invalid,
                    TroubleKind::MaxPayloadExceeded => return $kind::MaxPayloadExceeded,
                    TroubleKind::TimedOut => return $kind::TimedOut,
                    TroubleKind::Disconnected => return $kind::Disconnected,
                    TroubleKind::Protocol => return $kind::Protocol,
                    TroubleKind::Closed => return $kind::Closed,
                };
                match code.as_str() {
                    $( $($code)|+ => $kind::$variant, )*
                    "invalid" => $kind::Invalid,
                    "not_supported" | "unknown_verb" => $kind::NotSupported,
                    "denied" => $kind::Denied,
                    "busy" | "rate_limited" => $kind::Busy,
                    "unavailable" | "unreadable" | "no_room" => $kind::Unavailable,
                    "uncertain" => $kind::Uncertain,
                    _ => $kind::Declined { code },
                }
            }
        }

        impl From<Trouble> for Error<$kind> {
            fn from(trouble: Trouble) -> Error<$kind> {
                trouble.into_error()
            }
        }

        #[doc = concat!("[`", stringify!($kind), "`] and its cause.")]
        pub type $error = Error<$kind>;
    };
}

operation_error! {
    /// Why a task, a graph of tasks or an entry of a queue was not kept.
    SubmitErrorKind, SubmitError {
        /// The queue holds as many open tasks as it may.
        QueueFull = ["queue_full"], "the queue is full; submit again later";
        /// Something was submitted under this key before, and [`crate::Dedup::Reject`] was asked
        /// for.
        Exists = ["exists"], "the same was submitted before; its number is in the cause";
        /// A task that this one is to wait for does not exist any more, or never did.
        UnknownDependency = ["unknown_dependency"],
            "a task to wait for does not exist or was forgotten; check its number";
        /// Tasks of the graph wait for each other.
        Cycle = ["cycle"], "tasks of the graph wait for each other; remove one of the edges";
        /// A bound of the broker's would be exceeded; the cause says which.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded";
    }
}

operation_error! {
    /// Why a task cannot be shown or watched.
    ShowErrorKind, ShowError {
        /// Nobody ever submitted it.
        NotFound = ["not_found"], "there is no such task";
        /// It is over, and was kept for as long as its queue keeps such tasks.
        Gone = ["gone"], "the task is over and was forgotten";
        /// The broker keeps no more watches or waits for this connection.
        LimitReached = ["limit_reached"],
            "a limit of the broker's would be exceeded; subscribe to the events of all tasks instead";
    }
}

operation_error! {
    /// Why the outcome of a task is not known.
    AwaitErrorKind, AwaitError {
        /// It is not over yet; the cause says where it stands.
        NotOver = ["not_over"], "the task is not over yet; wait again";
        /// Nobody ever submitted it.
        NotFound = ["not_found"], "there is no such task";
        /// It is over, and was kept for as long as its queue keeps such tasks.
        Gone = ["gone"], "the task is over and was forgotten";
        /// The broker has too many that wait.
        LimitReached = ["limit_reached"], "too many wait for tasks already; show it instead";
    }
}

operation_error! {
    /// Why a task was not called off, or not taken away from its agent.
    CancelErrorKind, CancelError {
        /// Nobody ever submitted it.
        NotFound = ["not_found"], "there is no such task";
        /// It is over and was forgotten.
        Gone = ["gone"], "the task is over and was forgotten";
        /// It is over.
        Over = ["terminal"], "the task is over already; show it to see how it ended";
        /// Nobody holds it, so it cannot be taken away from anybody.
        NotLeased = ["invalid_state"], "no agent holds the task; show it to see where it stands";
    }
}

operation_error! {
    /// Why a dead task was not given another life, or not given up.
    DeadErrorKind, DeadError {
        /// Nobody ever submitted it.
        NotFound = ["not_found"], "there is no such task";
        /// It was forgotten.
        Gone = ["gone"], "the task is over and was forgotten";
        /// It is not dead.
        NotDead = ["invalid_state", "terminal"],
            "the task is not dead; show it to see where it stands";
    }
}

operation_error! {
    /// Why the broker did not take a worker: the cause of [`crate::WorkerErrorKind::Start`].
    StartErrorKind, StartError {
        /// The agent's name belongs to another login.
        NameTaken = ["name_taken"], "the agent's name belongs to another login; choose another";
        /// It resumes more leases than the broker lets an agent hold.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded";
    }
}

operation_error! {
    /// Why nothing was leased from a queue.
    LeaseErrorKind, LeaseError {
        /// The client works as an agent whose name belongs to another login.
        NameTaken = ["name_taken"], "the agent's name belongs to another login; choose another";
        /// Too many wait for work already.
        LimitReached = ["limit_reached"], "too many wait for work already; ask without waiting";
    }
}

operation_error! {
    /// Why the answer to a held task does not count: [`crate::Lease::ack`],
    /// [`crate::Job::complete`] and whatever else ends a lease.
    SettleErrorKind, SettleError {
        /// The task is not there any more: somebody else finished it.
        Gone = ["not_found", "gone"], "the task is over and was forgotten; drop the work";
        /// The lease ran out, and the task moved on.
        StaleGeneration = ["stale_generation"],
            "the lease is over and the task has moved on; drop the work";
        /// Another agent holds the task.
        NotOwner = ["not_owner", "not_attached"], "the task is held by another agent; drop the work";
        /// Nobody holds the task: it was taken away, or is over.
        NotLeased = ["invalid_state", "terminal"],
            "the lease is over and nobody holds the task; drop the work";
        /// It was answered before, and differently.
        Conflict = ["conflict"], "the task was already answered differently";
        /// It was handed back so often that the broker takes it back no more.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded";
    }
}

operation_error! {
    /// Why a report on held work was not kept: progress, checkpoints, and asking for more time.
    ReportErrorKind, ReportError {
        /// The task is not there any more.
        Gone = ["not_found", "gone"], "the task is over and was forgotten; drop the work";
        /// The lease ran out, and the task moved on.
        StaleGeneration = ["stale_generation"],
            "the lease is over and the task has moved on; drop the work";
        /// Another agent holds the task.
        NotOwner = ["not_owner", "not_attached"], "the task is held by another agent; drop the work";
        /// Nobody holds the task.
        NotLeased = ["invalid_state", "terminal", "conflict"],
            "the lease is over and nobody holds the task; drop the work";
        /// A checkpoint is larger than the broker keeps.
        LimitReached = ["limit_reached"],
            "a limit of the broker's would be exceeded; store it elsewhere and keep a reference";
    }
}

operation_error! {
    /// Why a queue cannot be shown, changed or emptied.
    QueueErrorKind, QueueError {
        /// It has neither tasks nor settings.
        NoQueue = ["no_queue"], "there is no such queue";
        /// More is asked for at once than the broker shows.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded; ask for less";
    }
}

operation_error! {
    /// Why a message was not sent, or a mailbox or channel not read or changed.
    TalkErrorKind, TalkError {
        /// There is no such channel.
        NoChannel = ["no_channel"], "there is no such channel; create it first";
        /// There is one already.
        ChannelExists = ["channel_exists"], "there is such a channel already";
        /// A limit of the broker's would be exceeded.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded";
    }
}

operation_error! {
    /// Why a shared setting was not read or set.
    SettingErrorKind, SettingError {
        /// Somebody else set it meanwhile.
        OtherVersion = ["other_version"], "somebody else set it meanwhile; look again";
        /// There are as many as may be, or the value is too large.
        LimitReached = ["limit_reached"], "a limit of the broker's would be exceeded";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declined<Kind: From<TroubleKind>>(code: &str) -> Kind {
        Kind::from(TroubleKind::Declined(code.to_owned()))
    }

    #[test]
    fn a_code_has_the_meaning_that_its_operation_gives_it() {
        assert_eq!(declined::<SubmitErrorKind>("queue_full"), SubmitErrorKind::QueueFull);
        assert_eq!(declined::<ShowErrorKind>("gone"), ShowErrorKind::Gone);
        assert_eq!(declined::<CancelErrorKind>("terminal"), CancelErrorKind::Over);
        assert_eq!(declined::<DeadErrorKind>("terminal"), DeadErrorKind::NotDead);
        assert_eq!(declined::<SettleErrorKind>("not_attached"), SettleErrorKind::NotOwner);
        assert_eq!(declined::<QueueErrorKind>("no_queue"), QueueErrorKind::NoQueue);
        for code in ["busy", "rate_limited"] {
            assert_eq!(declined::<LeaseErrorKind>(code), LeaseErrorKind::Busy, "{code}");
        }
        for code in ["unavailable", "unreadable", "no_room"] {
            assert_eq!(declined::<LeaseErrorKind>(code), LeaseErrorKind::Unavailable, "{code}");
        }
    }

    #[test]
    fn a_code_that_is_not_known_is_handed_on() {
        let kind = declined::<ReportErrorKind>("gap_of_the_future");
        assert_eq!(kind, ReportErrorKind::Declined { code: "gap_of_the_future".to_owned() });
    }

    #[test]
    fn the_sentence_of_the_broker_is_the_cause() {
        let kind = TroubleKind::Declined("denied".to_owned());
        let error: QueueError = Trouble::with_source(kind, "this login may not").into();
        assert_eq!(error.kind(), QueueErrorKind::Denied);
        let cause = error.source().map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("this login may not"));
    }
}
