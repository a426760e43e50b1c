//! What is durable, as plain values.
//!
//! The core emits [`Record`]s; the store turns them into bytes (`store/record.rs`) and gives them
//! back at start. A record is an *upsert* or a removal: it replaces what was kept under the same
//! key, so a batch can be applied twice without harm and a restart needs no history.
//!
//! The row of a task is rewritten on each change and therefore small. What a task carries (the
//! submitter's payload, the holder's result and checkpoint) is written beside it.

use std::sync::{Arc, LazyLock};

use super::command::{
    AfterEnd, AfterView, ConfigView, DeadReason, DedupMode, Epoch, Failure, Generation, Message,
    MessageId, Name, NewChannel, ParkTimeout, QuestionView, Schedule, Spec, State, TaskId,
    TaskView, TokenDigest,
};
use super::limits::QueueSettings;

/// One thing to make durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A task as it now is.
    Task(Box<TaskRow>),
    /// What a task carries.
    Body {
        /// Whose.
        task: TaskId,
        /// Which of its bodies.
        kind: BodyKind,
        /// The opaque bytes.
        bytes: Arc<[u8]>,
    },
    /// A task and all that it carries is forgotten.
    Forget {
        /// Which.
        task: TaskId,
        /// Where its row stands.
        shelf: Shelf,
        /// It may have a result.
        has_result: bool,
        /// It may have a checkpoint.
        has_checkpoint: bool,
        /// It has headers.
        has_headers: bool,
        /// The time at which it would have been forgotten by itself, if one was set.
        expires_ms: Option<u64>,
    },
    /// A dead task is led on: it is no dead letter any more and will not be forgotten by itself.
    LeftDead {
        /// Which.
        task: TaskId,
        /// The time at which it would have been forgotten, if one was set.
        expires_ms: Option<u64>,
    },
    /// Task ids below this may have been given out. Raised in steps, so that most submits do not
    /// write it; ids between the last one used and the bound are skipped by a restart.
    TaskIdBound(TaskId),
    /// The same for the epochs of sessions.
    EpochBound(Epoch),
    /// A key under which work is recognised.
    Dedup(DedupRow),
    /// The key is free again.
    DedupFreed {
        /// Of which queue.
        queue: Name,
        /// Which.
        key: Name,
    },
    /// A schedule, and how far it has come.
    Schedule(Box<ScheduleRow>),
    /// A schedule is gone.
    ScheduleRemoved {
        /// Which.
        name: Name,
    },
    /// A token that lets its holder in.
    Token(Box<TokenRow>),
    /// It does so no more.
    TokenRevoked {
        /// Of the token.
        digest: TokenDigest,
    },
    /// A shared setting.
    Config(ConfigView),
    /// A message, as long as it has a place somewhere.
    Message(Arc<Message>),
    /// It has none any more.
    MessageDropped {
        /// Which.
        message: MessageId,
    },
    /// The same as [`Record::TaskIdBound`], of messages.
    MessageIdBound(MessageId),
    /// A message waits in a mailbox.
    Mail {
        /// Whose.
        agent: Name,
        /// Which.
        message: MessageId,
        /// Wall clock when it was sent.
        sent_ms: u64,
    },
    /// It waits there no more.
    MailDropped {
        /// Whose.
        agent: Name,
        /// Which.
        message: MessageId,
    },
    /// A channel.
    Channel(Box<ChannelRow>),
    /// Somebody listens to a channel.
    Subscribed {
        /// Which.
        channel: Name,
        /// Who.
        agent: Name,
        /// As the how manieth.
        order: u64,
    },
    /// It does so no more.
    Unsubscribed {
        /// Which.
        channel: Name,
        /// Who.
        agent: Name,
    },
    /// What was set about a queue; the defaults are not kept.
    Queue {
        /// Which.
        queue: Name,
        /// All of it.
        settings: QueueSettings,
    },
}

/// A channel, without who listens and what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// As it was made.
    pub made: NewChannel,
    /// Wall clock when.
    pub created_ms: u64,
}

/// A token, without what makes it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Of the token.
    pub digest: TokenDigest,
    /// Whose it is.
    pub agent: Name,
    /// Its first characters.
    pub prefix: Arc<str>,
    /// Wall clock when it was issued.
    pub issued_ms: u64,
}

/// The bodies of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyKind {
    /// The submitter's bytes.
    Payload,
    /// What the task was completed with.
    Result,
    /// What an attempt left for the next one.
    Checkpoint,
    /// The submitter's headers.
    Headers,
}

impl BodyKind {
    /// Every kind.
    pub const ALL: [BodyKind; 4] =
        [BodyKind::Payload, BodyKind::Result, BodyKind::Checkpoint, BodyKind::Headers];
}

/// Where the row of a task stands: rows are kept apart by what they are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Open tasks; all of them are read at start.
    Open,
    /// Completed and cancelled ones.
    Done,
    /// Dead letters.
    Dead,
}

/// All that is remembered of a task, except its bodies and its newest progress report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Which task.
    pub task: TaskId,
    /// What it has in common with others.
    pub spec: Arc<Spec>,
    /// Where it stands, and with whom.
    pub phase: Phase,
    /// Raised by every grant and every revocation.
    pub generation: Generation,
    /// Its place in the order of waiting tasks: the virtual deadline of `core/backlog.rs`, in
    /// milliseconds of the core's own time line. Kept through a revocation, renewed by a retry.
    pub place_ms: u64,
    /// Wall clock of the submit.
    pub submitted_ms: u64,
    /// What most waiting tasks have nothing of.
    pub details: Option<Box<Details>>,
}

/// What happened to a task since its submit, and what makes it special.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Wall clock of the last change.
    pub updated_ms: u64,
    /// Number of its newest event.
    pub event_seq: u64,
    /// Number of its newest report; 0 if there was none.
    pub progress_seq: u64,
    /// Number of its checkpoint, if there is one.
    pub checkpoint_seq: Option<u64>,
    /// Attempts that failed.
    pub attempts: u32,
    /// Holders that vanished while running it.
    pub lost: u32,
    /// Offers that nobody answered.
    pub offers_expired: u32,
    /// Agents that declined it.
    pub declines: u32,
    /// Times it was handed back.
    pub releases: u32,
    /// Times it came back from the dead letters.
    pub redrives: u32,
    /// Agents it is not offered to any more; sorted, without duplicates.
    pub excluded: Arc<[Name]>,
    /// How its last lease was ended by its holder, for recognising a repeated operation.
    pub last_end: Option<Box<LeaseEnd>>,
    /// Failures, oldest first; at most [`FAILURES_MAX`](super::limits::FAILURES_MAX).
    pub failures: Vec<Failure>,
    /// Its holder is asked to stop.
    pub cancelling: Option<Box<Cancelling>>,
    /// The key under which it is recognised, as long as it is its own.
    pub dedup: Option<Name>,
    /// Edges that are not satisfied yet.
    pub after: Vec<Edge>,
    /// What it waits for once no edge is left.
    pub start: Option<Wait>,
    /// Raised by every edit.
    pub version: u32,
    /// The task that it is a part of, and whether it ends with that.
    pub parent: Option<Parent>,
    /// What its holders asked; at most [`QUESTIONS_MAX`](super::limits::QUESTIONS_MAX).
    pub questions: Vec<Asked>,
    /// What its holder waits for, with the task or without it.
    pub parking: Option<Box<Parking>>,
    /// Wall clock of the newest redrive: its time limits start there.
    pub redriven_ms: Option<u64>,
    /// A result is kept with it, even if it is not completed.
    pub has_result: bool,
    /// Somebody accepted it since its submit or its newest redrive.
    pub was_accepted: bool,
    /// The only agent that may have it now.
    pub window: Option<Box<Window>>,
    /// The agent that set it aside, if it is to go on with it.
    pub former: Option<Name>,
}

/// One agent alone may have a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which.
    pub agent: Name,
    /// For how long; `None` means for ever.
    pub span: Option<Span>,
}

/// A stretch of time, stored as length and wall anchor: neither a restart nor a clock that was set
/// back makes it longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How long it is, in milliseconds.
    pub length_ms: u64,
    /// Wall clock when it began.
    pub anchor_ms: u64,
}

/// A [`State`] with what belongs to it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for other tasks.
    Held,
    /// Waits for a time.
    Scheduled(Box<Wait>),
    /// May be granted.
    Ready,
    /// Pushed to this agent, not yet accepted.
    Offered(Arc<Holder>),
    /// Accepted by this agent.
    Running(Arc<Holder>),
    /// Set aside until what it waits for is there.
    Parked,
    /// Completed, dead or cancelled.
    Over(Box<End>),
}

/// What a scheduled task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The wall clock. A jump of the clock moves it.
    Until {
        /// Milliseconds since the Unix epoch.
        wall_ms: u64,
    },
    /// A span of time, stored as duration and wall anchor so that neither a restart nor a clock
    /// that was set back can make the wait longer than it was.
    For {
        /// How long it waits in all, in milliseconds.
        delay_ms: u64,
        /// Wall clock when the wait began.
        anchor_ms: u64,
        /// It goes back to its old place afterwards (a task that was handed back), instead of
        /// queueing behind what is eligible by then.
        keeps_place: bool,
    },
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which way.
    pub how: Ending,
    /// Its last holder, if it ended in somebody's hands.
    pub by: Option<Name>,
    /// Wall clock at which it is forgotten; `None` means never.
    pub expires_ms: Option<u64>,
}

/// The ways in which a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Completed,
    /// Given up.
    Dead(DeadReason),
    /// Called off, with the reason in somebody's words.
    Cancelled(Arc<str>),
}

/// Who holds a lease: the agent, whichever session speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The agent.
    pub agent: Name,
    /// Who authenticated as that agent; nobody else may take over the lease after a restart.
    pub identity: Arc<str>,
    /// The lease lasts so many milliseconds from when it was taken or extended, whatever its
    /// agent does; `None`: as long as its agent gives signs of life.
    pub fixed_ms: Option<u64>,
}

/// A holder that is asked to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelling {
    /// For people.
    pub reason: Arc<str>,
    /// It ran out of its total time; it ends dead then, not cancelled.
    pub is_deadline: bool,
    /// How long the holder has in all, in milliseconds.
    pub grace_ms: u64,
    /// Wall clock when it was asked.
    pub anchor_ms: u64,
}

/// The task that another one is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Which.
    pub task: TaskId,
    /// Under which of its generations it was made.
    pub generation: Generation,
    /// How many parents there are in a row; 1 for the child of a task without parent.
    pub depth: u8,
    /// It is cancelled when its parent ends.
    pub ends_with_parent: bool,
}

/// A question of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What the answer is called.
    pub key: Name,
    /// What was asked.
    pub text: Arc<[u8]>,
    /// What counts if nobody answers in time.
    pub default: Option<Arc<[u8]>>,
    /// The answer, once there is one.
    pub answer: Option<Arc<[u8]>>,
}

/// What a task that is set aside waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parking {
    /// Questions that have to be answered.
    pub keys: Vec<Name>,
    /// Its children have to end, too.
    pub children: bool,
    /// How long its holder stays with it, in milliseconds.
    pub hold_ms: u64,
    /// How long it may be parked, in milliseconds.
    pub park_ms: u64,
    /// What happens after that.
    pub on_timeout: ParkTimeout,
    /// Wall clock when the time that runs now began.
    pub anchor_ms: u64,
    /// How much of the attempt's time was left when it was interrupted, in milliseconds.
    pub attempt_left_ms: u64,
    /// Its time was over once already.
    pub is_escalated: bool,
}

/// An edge to a task that has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The other task.
    pub task: TaskId,
    /// What is waited for.
    pub on: AfterEnd,
    /// The other one ended badly, and is waited for all the same.
    pub is_blocked: bool,
}

/// The operation with which a holder ended its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// The generation that ended.
    pub generation: Generation,
    /// Whose it was.
    pub agent: Name,
    /// What the agent did.
    pub verb: EndVerb,
    /// Fingerprint of the operation's arguments (`core/fence.rs`).
    pub digest: u64,
    /// The state that followed: the answer given then, and to every repetition.
    pub outcome: State,
}

/// The operations that end a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndVerb {
    /// The offer was refused.
    Decline,
    /// The work is done.
    Complete,
    /// The attempt failed.
    Fail,
    /// The task was handed back.
    Release,
    /// The task was set aside.
    Park,
    /// The cancellation was noticed.
    CancelAck,
}

impl EndVerb {
    /// Every verb.
    pub const ALL: [EndVerb; 6] = [
        EndVerb::Decline,
        EndVerb::Complete,
        EndVerb::Fail,
        EndVerb::Release,
        EndVerb::Park,
        EndVerb::CancelAck,
    ];

    /// The verb as people and the wire spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndVerb::Decline => "decline",
            EndVerb::Complete => "complete",
            EndVerb::Fail => "fail",
            EndVerb::Release => "release",
            EndVerb::Park => "park",
            EndVerb::CancelAck => "cancel_ack",
        }
    }
}

/// A key under which work is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupRow {
    /// Of which queue.
    pub queue: Name,
    /// The key.
    pub key: Name,
    /// The task that has it.
    pub task: TaskId,
    /// How long it counts, and what happens to the second.
    pub mode: DedupMode,
    /// Wall clock of the first submit.
    pub anchor_ms: u64,
    /// How the task ended, if it did and the key still counts.
    pub ended: Option<(State, Generation)>,
}

/// A schedule, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// What was set.
    pub schedule: Arc<Schedule>,
    /// Wall clock of the newest slot that was handled, or of when the schedule was set.
    pub handled_ms: u64,
    /// The task of the newest slot that fired.
    pub last_task: Option<TaskId>,
    /// Tasks that it submitted.
    pub fired: u64,
    /// Slots that passed without one.
    pub skipped: u64,
}

static NOTHING: LazyLock<Details> =
    LazyLock::new(|| Details { event_seq: 1, ..Details::default() });

impl TaskRow {
    /// What happened to it so far.
    #[must_use]
    pub fn details(&self) -> &Details {
        self.details.as_deref().unwrap_or(&NOTHING)
    }

    /// What happened to it so far, to add to.
    pub fn details_mut(&mut self) -> &mut Details {
        let (event_seq, updated_ms) = (1, self.submitted_ms);
        self.details.get_or_insert_with(|| {
            Box::new(Details { event_seq, updated_ms, ..Details::default() })
        })
    }

    /// The state without its details.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Held => State::Held,
            Phase::Scheduled(_) => State::Scheduled,
            Phase::Ready => State::Ready,
            Phase::Offered(_) => State::Offered,
            Phase::Running(_) => State::Running,
            Phase::Parked => State::Parked,
            Phase::Over(end) => match end.how {
                Ending::Completed => State::Completed,
                Ending::Dead(_) => State::Dead,
                Ending::Cancelled(_) => State::Cancelled,
            },
        }
    }

    /// Where its row stands.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        match self.state() {
            State::Completed | State::Cancelled => Shelf::Done,
            State::Dead => Shelf::Dead,
            _ => Shelf::Open,
        }
    }

    /// Who holds the lease, if there is one.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.phase {
            Phase::Offered(holder) | Phase::Running(holder) => Some(holder),
            _ => None,
        }
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Over(end) => Some(end),
            _ => None,
        }
    }

    /// Everything worth showing, with the parts that are kept elsewhere.
    #[must_use]
    pub fn view(&self, progress: Option<Arc<[u8]>>, result: Option<Arc<[u8]>>) -> TaskView {
        let details = self.details();
        let end = self.end();
        let holder = self.holder().map(|holder| holder.agent.clone());
        let edge =
            |edge: &Edge| AfterView { task: edge.task, on: edge.on, is_blocked: edge.is_blocked };
        let question = |asked: &Asked| QuestionView {
            key: asked.key.clone(),
            text: asked.text.clone(),
            answer: asked.answer.clone(),
        };
        TaskView {
            task: self.task,
            queue: self.spec.queue.clone(),
            key: self.spec.key.clone(),
            state: self.state(),
            generation: self.generation,
            event_seq: details.event_seq,
            band: self.spec.band,
            needs: self.spec.needs.to_vec(),
            resources: self.spec.resources().to_vec(),
            window: details.window.as_ref().map(|window| (window.agent.clone(), window.ends_ms())),
            agent: holder.or_else(|| end?.by.clone()),
            attempts: details.attempts,
            attempts_max: self.spec.attempts_max,
            lost: details.lost,
            offers_expired: details.offers_expired,
            declines: details.declines,
            releases: details.releases,
            redrives: details.redrives,
            excluded: details.excluded.to_vec(),
            submitted_ms: self.submitted_ms,
            updated_ms: details.updated_ms.max(self.submitted_ms),
            due_ms: match &self.phase {
                Phase::Scheduled(wait) => Some(wait.due_ms()),
                _ => None,
            },
            after: details.after.iter().map(edge).collect(),
            version: details.version,
            parent: details.parent.map(|parent| parent.task),
            questions: details.questions.iter().map(question).collect(),
            is_waiting: details.parking.is_some() && self.holder().is_some(),
            is_cancelling: details.cancelling.is_some(),
            has_headers: self.spec.has_headers,
            payload: Arc::from([]),
            headers: None,
            progress,
            progress_seq: details.progress_seq,
            result,
            errors: details.failures.clone(),
            dead: end.and_then(|end| match end.how {
                Ending::Dead(reason) => Some(reason),
                _ => None,
            }),
            cancelled: end.and_then(|end| match &end.how {
                Ending::Cancelled(reason) => Some(reason.clone()),
                _ => None,
            }),
        }
    }
}

impl Window {
    /// Wall clock at which it is over, if nobody touches that clock; `None` means never.
    #[must_use]
    pub fn ends_ms(&self) -> Option<u64> {
        self.span.map(|span| span.anchor_ms.saturating_add(span.length_ms))
    }
}

impl Wait {
    /// Wall clock at which it is over, if nobody touches that clock.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        match self {
            Wait::Until { wall_ms } => *wall_ms,
            Wait::For { delay_ms, anchor_ms, .. } => anchor_ms.saturating_add(*delay_ms),
        }
    }
}
