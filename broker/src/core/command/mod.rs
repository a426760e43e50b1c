//! What may be asked of the core, what it answers, and what must be done next.
//!
//! If you open one file of the broker, open this one. A [`Request`] goes in through
//! [`Core::handle`](super::Core::handle); [`Effect`]s come out of
//! [`Core::poll_effect`](super::Core::poll_effect) in the order in which they must happen: a
//! record is durable before any reply, delivery or event that follows it is released.
//!
//! Nothing here is text: doors (TCP verbs, JSON subjects, HTTP) translate to these types, and
//! values that exist are valid. Limits are checked where a value is built.

mod config;
mod id;
mod lease;
mod message;
mod name;
mod park;
mod placement;
mod rejection;
mod schedule;
mod submit;
mod token;
mod upkeep;
mod view;

use std::sync::Arc;

pub use self::config::{ConfigCommand, ConfigView};
pub use self::id::{Epoch, Generation, Now, RequestId, SessionId, TaskId, Tick, WatchId};
pub use self::lease::{Action, Attach, Continued, LeaseOp, Offer, Push, Retry, Stopped, Take};
pub use self::message::{
    ChannelView, Destination, Found, HistoryQuery, Join, Message, MessageCommand, MessageId,
    MessageKind, MessageReply, NewChannel, News, Post, PresenceEvent, PresenceView, Profile,
    ThreadPart, channel_name,
};
pub use self::name::{Name, NameError};
pub use self::park::{Park, ParkTimeout, Question, Spawn};
pub use self::placement::{Assign, Placement, Preference, Resource};
pub use self::rejection::Rejection;
pub use self::schedule::{Missed, Overlap, Schedule, ScheduleView, When};
pub use self::submit::{
    After, AfterEnd, AfterTask, Dedup, DedupMode, LabelOp, LabelTest, LeaseLimit, Patience,
    RateLimit, Spec, Start, Submit,
};
pub use self::token::{Issue, IssueToken, TokenDigest, TokenView};
pub use self::upkeep::{
    BackupView, CompactedTable, Compaction, Scarcity, StoreView, TableHealth, TableView,
    UpkeepCommand, UpkeepReply,
};
pub use self::view::{
    AfterView, Answer, DeadReason, Failure, Progress, QuestionView, QueueCounts, QueueView,
    SessionView, State, TaskEvent, TaskView, Why,
};
use super::limits::{Order, Rate};
use super::record::{Record, Shelf};

/// Something asked of the core by somebody.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back in the [`Effect::Reply`].
    pub id: RequestId,
    /// What is asked.
    pub command: Command,
}

/// Everything that can change the core, and the O(1) questions it answers.
#[derive(Clone, Debug)]
pub enum Command {
    /// Handle whatever is due. Never answered.
    Tick,
    /// Keep a new task (T1-T5).
    Submit(Box<Submit>),
    /// Keep all of these tasks or none; edges may point from one to another.
    SubmitBatch(Vec<Submit>),
    /// Look at one task.
    Show {
        /// Which.
        task: TaskId,
    },
    /// Answer once the task is over, or after `timeout_ms` with the task as it then is.
    Await {
        /// Who waits; nobody is answered once that session is over.
        session: Option<SessionId>,
        /// Which.
        task: TaskId,
        /// Longest wait, in milliseconds.
        timeout_ms: u64,
    },
    /// Answer with the task as it is, then push every event behind `from`.
    Watch {
        /// The name of this interest.
        watch: WatchId,
        /// Where to push.
        session: SessionId,
        /// Which task.
        task: TaskId,
        /// Events with larger numbers that are remembered are pushed again; `None`: only new ones.
        from: Option<u64>,
    },
    /// Push no more.
    Unwatch {
        /// Whose interests.
        session: SessionId,
        /// In which task.
        task: TaskId,
    },
    /// Call a task off (T35-T37).
    Cancel {
        /// Which.
        task: TaskId,
        /// Why, for people.
        reason: Arc<str>,
        /// How long a holder may take to stop, in milliseconds; `None` for the usual time.
        grace_ms: Option<u64>,
    },
    /// Answer a question of a task (T33).
    Answer {
        /// Which task.
        task: TaskId,
        /// Which question.
        key: Name,
        /// Opaque bytes for the holder.
        value: Arc<[u8]>,
    },
    /// Change what a task asks for (T50, T51).
    Edit {
        /// Which.
        task: TaskId,
        /// The version that is changed, to notice that somebody else was faster; `None`: whatever
        /// it is.
        version: Option<u32>,
        /// What changes.
        change: Box<TaskChange>,
    },
    /// Why is this task not being done?
    Why {
        /// Which.
        task: TaskId,
    },
    /// Take a leased task away from its agent, whatever it does (T43).
    Reclaim {
        /// Which.
        task: TaskId,
    },
    /// Give a dead task another life (T46).
    Redrive {
        /// Which.
        task: TaskId,
        /// Not before this long, in milliseconds.
        delay_ms: u64,
    },
    /// Give a dead task up for good (T47).
    Discard {
        /// Which.
        task: TaskId,
    },
    /// Forget tasks whose retention is over (T48). Answers [`Effect::Retire`].
    Retire {
        /// Which; all are over.
        tasks: Vec<TaskId>,
        /// Wall clock at which the next one has to be forgotten, if there is one.
        next_ms: Option<u64>,
    },
    /// How the disk is: `None` if there is room, else nothing is taken in that would fill it
    /// further.
    Room(Option<Scarcity>),
    /// An agent offers its hands, and names what it still works on (T15-T17). A second session of
    /// the same agent and identity replaces the first; another identity is refused.
    Attach(Attach),
    /// The session speaks for its agent no more; its leases start their grace period (T14).
    Leave {
        /// Which session.
        session: SessionId,
    },
    /// The session is over: it leaves its agent, watches nothing and waits for nothing.
    Detach {
        /// Which session.
        session: SessionId,
    },
    /// A frame arrived from the session: all leases of its agent are renewed (T19).
    Heartbeat {
        /// Which session.
        session: SessionId,
    },
    /// Fetch work instead of being offered it.
    Take(Take),
    /// Something the holder of a lease does with it (T10-T13, T20-T28, T38).
    Lease(LeaseOp),
    /// Change settings of a queue; whatever is `None` stays.
    SetQueue {
        /// Which.
        queue: Name,
        /// What changes.
        change: QueueChange,
    },
    /// Look at one queue.
    ShowQueue {
        /// Which.
        queue: Name,
    },
    /// Look at queues, in the order of their names.
    ListQueues {
        /// Only those behind this name.
        after: Option<Name>,
        /// At most so many.
        limit: usize,
    },
    /// Look at the tasks that go next.
    Peek {
        /// In which queue.
        queue: Name,
        /// At most so many.
        limit: usize,
    },
    /// Keep a schedule, in place of one of the same name.
    SetSchedule(Box<Schedule>),
    /// Look at one schedule.
    ShowSchedule {
        /// Which.
        name: Name,
    },
    /// Look at schedules, in the order of their names.
    ListSchedules {
        /// Only those behind this name.
        after: Option<Name>,
        /// At most so many.
        limit: usize,
    },
    /// Forget a schedule. Tasks that it submitted stay.
    RemoveSchedule {
        /// Which.
        name: Name,
    },
    /// Look at tasks in the order of their ids. Read from the store, beside the core.
    List(List),
    /// Keep a new token of an agent.
    IssueToken(Box<IssueToken>),
    /// Take all tokens of an agent away. Sessions that came in with one go on.
    RevokeTokens {
        /// Whose.
        agent: Name,
    },
    /// Say whose token it is.
    Identify {
        /// Of the token that was shown.
        digest: TokenDigest,
    },
    /// Look at all tokens, as far as anybody may know them.
    ListTokens,
    /// Offer an agent nothing for a while, because it asked too much of a door. What it holds stays;
    /// going away and coming again changes nothing.
    Withhold {
        /// Whom.
        agent: Name,
        /// How long, in milliseconds; a longer while that was said before counts.
        for_ms: u64,
    },
    /// Look at the leases of an agent.
    Holds {
        /// Whose.
        agent: Name,
    },
    /// Anything about settings that are shared.
    Config(ConfigCommand),
    /// Anything about messages from agent to agent.
    Message(Box<MessageCommand>),
    /// Anything about backups and tables. Done beside the core.
    Upkeep(UpkeepCommand),
    /// Cancel and forget the tasks of a queue that nobody holds.
    Purge {
        /// Which queue.
        queue: Name,
        /// At most so many at once.
        limit: usize,
    },
}

/// Which tasks to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Open, done or dead.
    pub shelf: Shelf,
    /// Only those of one queue.
    pub queue: Option<Name>,
    /// Only those in one state.
    pub state: Option<State>,
    /// Only those that are dead for one reason.
    pub reason: Option<DeadReason>,
    /// Only those behind this one.
    pub after: Option<TaskId>,
    /// At most so many; at least 1.
    pub limit: usize,
    /// With what they carry, and what came of them.
    pub has_bodies: bool,
}

/// What changes about a task; whatever is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskChange {
    /// Lower goes first.
    pub band: Option<u8>,
    /// Whose work it is. Only while nobody holds the task.
    pub key: Option<Name>,
    /// When it may be granted. Only while nobody holds the task.
    pub start: Option<Start>,
    /// Failures and time-outs before it is dead.
    pub attempts_max: Option<u32>,
    /// An accepted lease, without a sign of life.
    pub lease_ms: Option<u64>,
    /// One attempt.
    pub attempt_ms: Option<u64>,
    /// Between two reports.
    pub progress_ms: Option<u64>,
    /// From submit to the first accept.
    pub queue_ms: Option<u64>,
    /// From submit to the end.
    pub total_ms: Option<u64>,
}

/// What changes about the settings of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueChange {
    /// Whether nothing is granted.
    pub paused: Option<bool>,
    /// Most leases at once; 0 takes the limit away.
    pub leases_max: Option<u64>,
    /// Most grants in any stretch of time; `Some(None)` takes the limit away.
    pub rate: Option<Option<Rate>>,
    /// In which order its tasks go.
    pub order: Option<Order>,
    /// Shares of keys, in place of all that were set; sorted by key.
    pub weights: Option<Arc<[(Name, u32)]>>,
    /// How long completed and cancelled tasks are kept, in milliseconds.
    pub keep_ms: Option<u64>,
    /// How long dead letters are kept, in milliseconds; 0 means for ever.
    pub keep_dead_ms: Option<u64>,
}

impl Command {
    /// Bytes of the payload, result, report or error that it carries.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        match self {
            Command::Submit(submit) => submit.body_bytes(),
            Command::Answer { value, .. } => value.len(),
            Command::Config(ConfigCommand::Set { value, .. }) => value.len(),
            Command::Message(command) => match &**command {
                MessageCommand::Post(post) => post.payload.len(),
                _ => 0,
            },
            Command::SetSchedule(schedule) => schedule.payload.len(),
            Command::SubmitBatch(batch) => batch.iter().map(Submit::body_bytes).sum(),
            Command::Lease(LeaseOp { action, .. }) => match action {
                Action::Decline { reason, .. } => reason.len(),
                Action::Progress { data, .. } | Action::Checkpoint { data, .. } => data.len(),
                Action::Complete { result } | Action::CancelAck { result } => result.len(),
                Action::Fail { error, .. } => error.len(),
                Action::Park(park) => park.questions.iter().map(|one| one.text.len()).sum(),
                Action::Spawn(spawn) => spawn.children.iter().map(Submit::body_bytes).sum(),
                Action::Accept
                | Action::Busy { .. }
                | Action::Extend { .. }
                | Action::Ack
                | Action::Release { .. } => 0,
            },
            _ => 0,
        }
    }
}

/// What must happen next, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make it durable. Everything behind it waits for that.
    Persist(Record),
    /// Answer a request, once.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        outcome: Result<Reply, Rejection>,
    },
    /// Push to whoever is behind a session.
    Deliver {
        /// Which session.
        session: SessionId,
        /// What.
        push: Push,
    },
    /// Tell an agent that is here through a session.
    Tell {
        /// Which session.
        session: SessionId,
        /// What.
        news: News,
    },
    /// Tell whoever watches (`$AC.EVENT.TASK.>`).
    Event(TaskEvent),
    /// A message was sent.
    Posted {
        /// The message.
        message: Arc<Message>,
        /// Whom it reached, now or in their mailboxes.
        receivers: Vec<Name>,
    },
    /// Somebody came, went, or says something else of itself.
    Presence(PresenceEvent),
    /// A setting that all share was set.
    Configured(ConfigView),
    /// A token is valid from now on.
    TokenIssued {
        /// By what it is looked up.
        digest: TokenDigest,
        /// Whose it is.
        agent: Name,
    },
    /// A token is valid no more.
    TokenRevoked {
        /// By what it was looked up.
        digest: TokenDigest,
    },
    /// Look for tasks whose retention ended by then, and hand them in as [`Command::Retire`], with
    /// the time of the next one, be it in the store or in a record that came before this.
    Retire {
        /// Wall clock.
        until_ms: u64,
    },
}

/// A granted request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The task is kept.
    Submitted(Submitted),
    /// All tasks of the batch are kept, in its order.
    SubmittedBatch(Vec<Submitted>),
    /// The task as it is.
    Task(Box<TaskView>),
    /// The agent is known; offers may follow.
    Attached {
        /// Who it is now.
        session: SessionView,
        /// Leases that go on.
        continued: Vec<Continued>,
        /// Leases that it named and does not have.
        stopped: Vec<Stopped>,
    },
    /// Tasks that were taken; none if the wait was over first.
    Taken(Vec<Offer>),
    /// The operation took effect, now or (a replay) earlier.
    Done {
        /// Which task.
        task: TaskId,
        /// Its state after the operation.
        state: State,
        /// The same operation had been done before; nothing changed this time.
        duplicate: bool,
    },
    /// The report or checkpoint is kept.
    Numbered {
        /// Of which task.
        task: TaskId,
        /// Under which number.
        seq: u64,
        /// It was kept before.
        duplicate: bool,
    },
    /// Why a task is where it is.
    Why {
        /// Which task.
        task: TaskId,
        /// Where it is.
        state: State,
        /// All that keeps it there.
        reasons: Vec<Why>,
    },
    /// Answers that are there already; the holder goes on if it waits for nothing else.
    Parked {
        /// Which task.
        task: TaskId,
        /// Where it stands now.
        state: State,
        /// Answers to questions that were asked before.
        answers: Vec<Answer>,
    },
    /// The queue as it is.
    Queue(Box<QueueView>),
    /// Queues as they are.
    Queues(Vec<QueueView>),
    /// The schedule as it is.
    Schedule(Box<ScheduleView>),
    /// Schedules as they are.
    Schedules(Vec<ScheduleView>),
    /// Tasks in the order of their ids; if there may be more, the list goes on behind `next`.
    Listed {
        /// With payloads and results if those were asked for.
        tasks: Vec<TaskView>,
        /// Where it stopped.
        next: Option<TaskId>,
    },
    /// Tasks that go next.
    Tasks(Vec<TaskView>),
    /// So many were forgotten, and so many that could have been are left.
    Purged {
        /// Forgotten.
        tasks: u64,
        /// Left.
        left: u64,
    },
    /// The token is kept.
    Token(TokenView),
    /// So many tokens of an agent are valid no more.
    Revoked {
        /// Whose.
        agent: Name,
        /// How many it had.
        tokens: usize,
    },
    /// Whose token it is.
    Identified {
        /// The agent.
        agent: Name,
    },
    /// All tokens, agent by agent, oldest first.
    Tokens(Vec<TokenView>),
    /// Shared settings, by name; none if that one is not there.
    Config(Vec<ConfigView>),
    /// The leases of an agent, by task.
    Holding(Vec<(TaskId, Generation)>),
    /// An answer about messages.
    Message(Box<MessageReply>),
    /// An answer about backups and tables.
    Upkeep(Box<UpkeepReply>),
    /// Nothing to say.
    Noted,
}

/// A task that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub task: TaskId,
    /// Where it stands.
    pub state: State,
    /// Its generation.
    pub generation: Generation,
    /// It was submitted before, under the same key; this submit added nothing.
    pub existing: bool,
}
