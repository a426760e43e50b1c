//! The doors' end of the durable plane: who asked, and who gets the answer.
//!
//! The core knows numbers; this is where a number is a connection, a reply subject or a waiting
//! HTTP request. Answers are written by the commit thread itself, straight into the receivers'
//! sockets, after their records are on disk; or by the workers while it syncs the next batch.
//! `audience.rs` knows where pushes go.

mod audience;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use self::audience::{Audience, Change, Watch};
pub use self::audience::{Heard, PushTo};
use crate::board::DiskLevel;
use crate::commit::clock::Clock;
use crate::commit::turn::Voice;
use crate::commit::{self, SendError};
use crate::core::command::{
    Command, ConfigView, Destination, Message, MessageCommand, Name, News, PresenceEvent, Push,
    Rejection, Reply, Request, RequestId, SessionId, State, TaskEvent, TaskId, TokenDigest,
    WatchId,
};
use crate::core::limits::CoreConfig;
use crate::keyring::Keyring;
use crate::lookout::Lookout;
use crate::metrics::Times;
use crate::net::{Outlet, processor_time};
use crate::quota::Ticket;
use crate::reads::Reads;
use crate::routing::{Dispatch, EVENT_PREFIX, Router};
use crate::store::{Store, StoreError};
use crate::translate::upkeep as upkeep_view;
use crate::translate::{TaskNames, json, message, view, words};
use crate::upkeep::{self, Notice};

/// A handle to the durable plane for the doors; clones are the same plane.
#[derive(Clone)]
pub struct Durable {
    commit: commit::Durable,
    reads: Reads,
    upkeep: upkeep::Handle,
    waiting: Arc<Waiting>,
    lookout: Arc<Lookout>,
    keyring: Arc<Keyring>,
    settings: Arc<watch::Sender<u64>>,
}

/// Who gets the answer to a request.
#[derive(Debug)]
pub enum ReplyTo {
    /// Nobody.
    Nobody,
    /// A connection that used one of our verbs.
    Verb {
        /// The connection.
        outlet: Arc<Outlet>,
        /// The request's tag.
        tag: Box<str>,
    },
    /// Whoever listens on a reply subject.
    Subject {
        /// The subject.
        subject: Box<str>,
        /// Names of the tasks of a batch; empty otherwise.
        names: TaskNames,
    },
    /// A task of this process.
    Call(oneshot::Sender<Result<Reply, Rejection>>),
}

/// A command that was not taken in, and whom to tell.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// Who waits for an answer.
    pub reply_to: ReplyTo,
}

impl Refused {
    /// Tell whoever waits.
    pub fn answer(self, dispatch: &mut Dispatch) {
        self.reply_to.answer(Err(self.rejection), dispatch);
    }
}

impl ReplyTo {
    /// Tell whoever waits.
    pub fn answer(self, outcome: Result<Reply, Rejection>, dispatch: &mut Dispatch) {
        match self {
            ReplyTo::Nobody => {}
            ReplyTo::Verb { outlet, tag } => {
                let buffer = dispatch.buffer(&outlet);
                let before = buffer.len();
                outlet.framing().worded(buffer, |out| words::answer(out, &tag, &outcome));
                if let Ok(Reply::Taken(_)) = outcome {
                    // It asked for so many at once; reading them takes it a while.
                    outlet.allow(buffer.len() - before);
                }
            }
            ReplyTo::Subject { subject, names } => {
                dispatch.announce(&subject, json::answer(&outcome, &names).to_string().as_bytes());
            }
            ReplyTo::Call(call) => {
                let _ = call.send(outcome);
            }
        }
    }
}

impl From<SendError> for Rejection {
    fn from(error: SendError) -> Rejection {
        match error {
            SendError::Full { requests, bytes } => Rejection::Busy { requests, bytes },
            SendError::Stopped => {
                Rejection::Unavailable { reason: "the broker is stopping".into() }
            }
        }
    }
}

/// What came back to a call. A broker that stops gives no answer.
async fn answered(
    outcome: oneshot::Receiver<Result<Reply, Rejection>>,
) -> Result<Reply, Rejection> {
    let stopping = || Rejection::Unavailable { reason: "the broker is stopping".into() };
    outcome.await.unwrap_or_else(|_| Err(stopping()))
}

/// The bit by which sessions of this process differ from connections of TCP, which are counted
/// from 0.
const LOCAL_SESSIONS: u64 = 1 << 63;

/// A request under way.
#[derive(Debug)]
struct Pending {
    reply_to: ReplyTo,
    change: Change,
    /// Its place among the requests of whoever asked.
    _ticket: Option<Ticket>,
}

impl Pending {
    /// Whether nothing depends on the answer.
    fn is_idle(&self) -> bool {
        matches!((&self.reply_to, &self.change), (ReplyTo::Nobody, Change::None))
    }
}

/// What the threads of the doors and the commit thread share.
#[derive(Debug, Default)]
struct Waiting {
    /// Requests that are not answered yet. The core answers those of a connection that is over.
    requests: Mutex<HashMap<RequestId, Pending>>,
    next_request: AtomicU64,
    next_session: AtomicU64,
    audience: Mutex<Audience>,
}

impl Durable {
    /// Restore the core from `store` and start the commit thread. Returns when the core is whole.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or is damaged.
    pub fn start(
        config: CoreConfig,
        store: impl Store + 'static,
        router: Arc<Router>,
        upkeep: upkeep::Settings,
    ) -> Result<Durable, StoreError> {
        Durable::start_with_clock(config, store, router, Clock::start(), Some(upkeep))
    }

    /// [`Durable::start`] in the time of `clock`.
    ///
    /// # Errors
    /// As [`Durable::start`].
    pub fn start_with_clock(
        config: CoreConfig,
        store: impl Store + 'static,
        router: Arc<Router>,
        clock: Clock,
        upkeep: Option<upkeep::Settings>,
    ) -> Result<Durable, StoreError> {
        let waiting = Arc::new(Waiting::default());
        let (lookout, keyring) = (Arc::new(Lookout::default()), Arc::new(Keyring::default()));
        let settings = Arc::new(watch::Sender::new(0));
        let doors = |router| Doors {
            waiting: Arc::clone(&waiting),
            lookout: Arc::clone(&lookout),
            keyring: Arc::clone(&keyring),
            settings: Arc::clone(&settings),
            sending: Duration::ZERO,
            dispatch: Dispatch::new(router),
        };
        let reads = Reads::start(store.reader(), doors(Arc::clone(&router)));
        let plant = store.upkeep();
        let voice = doors(Arc::clone(&router));
        let commit = commit::Durable::start_with_clock(config, store, voice, clock)?;
        let upkeep = match plant.zip(upkeep) {
            Some((plant, settings)) => {
                let commits = commit.clone();
                let voice = || Box::new(doors(Arc::clone(&router))) as Box<dyn Voice>;
                let core = commit.clone();
                let records = move || commits.figures().records;
                let tell_core =
                    move |command| core.send(Request { id: RequestId::NOBODY, command }).is_ok();
                upkeep::Handle::start(plant, settings, records, tell_core, voice)
            }
            None => upkeep::Handle::idle(),
        };
        Ok(Durable { commit, reads, upkeep, waiting, lookout, keyring, settings })
    }

    /// When the newest backup was made, if there is one.
    #[must_use]
    pub fn backup_ms(&self) -> Option<u64> {
        self.upkeep.backup_ms()
    }

    /// How long things take.
    #[must_use]
    pub fn times(&self) -> Vec<Times<'_>> {
        let mut times = Vec::from(self.commit.times());
        times.extend(self.lookout.tally().times());
        times
    }

    /// How full the disk is; `None` without a disk.
    #[must_use]
    pub fn disk(&self) -> Option<DiskLevel> {
        self.upkeep.disk()
    }

    /// Hand in a command of a connection. The answer goes to `reply_to`; what is pushed because of
    /// it goes to `push_to`. The ticket is given back with the answer.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be taken in now; then it is the caller who answers.
    pub fn ask(
        &self,
        session: SessionId,
        mut command: Command,
        push_to: Option<PushTo>,
        reply_to: ReplyTo,
        ticket: Option<Ticket>,
    ) -> Result<(), Refused> {
        let id = self.new_id();
        let change = match (&mut command, push_to) {
            (Command::Attach(_), Some(push_to)) => Change::Attaches(session, push_to),
            (Command::Message(command), Some(PushTo::Queue(queue)))
                if matches!(**command, MessageCommand::Join(_)) =>
            {
                Change::Joins(session, queue)
            }
            (Command::Take(_), Some(push_to)) => {
                // Until the answer, which may take long, others may have to be told of already.
                self.waiting.audience.lock().takes(session, push_to.clone());
                Change::Takes(session, push_to)
            }
            (Command::Watch { watch, task, .. }, Some(push_to)) => {
                *watch = WatchId(id.0);
                Change::Watches(session, *watch, Watch { task: *task, push_to })
            }
            (Command::Unwatch { task, .. }, _) => Change::Unwatches(session, *task),
            (Command::Leave { .. }, _) => Change::Leaves(session),
            (Command::Detach { .. }, _) => Change::Detaches(session),
            _ => Change::None,
        };
        self.hand_in(id, command, Pending { reply_to, change, _ticket: ticket })
    }

    /// Hand in a command that changes nothing in who hears of what. The answer goes to `reply_to`.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be taken in now; then it is the caller who answers.
    pub fn send(&self, command: Command, reply_to: ReplyTo) -> Result<(), Refused> {
        let pending = Pending { reply_to, change: Change::None, _ticket: None };
        self.hand_in(self.new_id(), command, pending)
    }

    /// A connection is over: nobody hears its answers, and nothing is pushed to it any more.
    pub fn leave(&self, session: SessionId) {
        // Refused only by a broker that stops, which has no use for it.
        let _ = self.ask(session, Command::Detach { session }, None, ReplyTo::Nobody, None);
    }

    fn new_id(&self) -> RequestId {
        RequestId(self.waiting.next_request.fetch_add(1, Ordering::Relaxed))
    }

    fn hand_in(&self, id: RequestId, command: Command, pending: Pending) -> Result<(), Refused> {
        if let ReplyTo::Verb { outlet, .. } = &pending.reply_to {
            outlet.note_request();
        }
        if !pending.is_idle() {
            self.waiting.requests.lock().insert(id, pending);
        }
        let handed_in = match command {
            Command::List(wanted) => self.reads.send(id, wanted),
            Command::Upkeep(command) => self.upkeep.send(id, command),
            command => self.commit.send(Request { id, command }).map_err(Rejection::from),
        };
        handed_in.map_err(|rejection| {
            let pending = self.waiting.requests.lock().remove(&id);
            let reply_to = pending.map_or(ReplyTo::Nobody, |pending| pending.reply_to);
            if let ReplyTo::Verb { outlet, .. } = &reply_to {
                outlet.note_answers(1);
            }
            Refused { rejection, reply_to }
        })
    }

    /// The number of a new session that is no connection of TCP.
    #[must_use]
    pub fn open_session(&self) -> SessionId {
        SessionId(LOCAL_SESSIONS | self.waiting.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// [`Durable::call`] on behalf of a session. What is pushed because of it goes to `push_to`.
    ///
    /// # Errors
    /// [`Rejection`] when the core declines.
    pub async fn call_as(
        &self,
        session: SessionId,
        command: Command,
        push_to: Option<PushTo>,
    ) -> Result<Reply, Rejection> {
        let (answer, outcome) = oneshot::channel();
        let reply_to = ReplyTo::Call(answer);
        self.ask(session, command, push_to, reply_to, None).map_err(|refused| refused.rejection)?;
        answered(outcome).await
    }

    /// Ask and wait for the answer. Cancel-safe: a command that was handed in takes its course.
    ///
    /// # Errors
    /// [`Rejection`] when the core declines.
    pub async fn call(&self, command: Command) -> Result<Reply, Rejection> {
        let (answer, outcome) = oneshot::channel();
        self.send(command, ReplyTo::Call(answer)).map_err(|refused| refused.rejection)?;
        answered(outcome).await
    }

    /// Sessions that speak for an agent.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.waiting.audience.lock().agents
    }

    /// Figures of what happened lately, and what happens.
    #[must_use]
    pub fn lookout(&self) -> &Arc<Lookout> {
        &self.lookout
    }

    /// Changes whenever a shared setting was set and is durable. How often that was, since the start.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<u64> {
        self.settings.subscribe()
    }

    /// Whose token it is.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Agents that did not keep up with what was pushed to them, and hear nothing more.
    #[must_use]
    pub fn agents_cut_off(&self) -> u64 {
        self.waiting.audience.lock().cut_off
    }

    /// How the plane is.
    #[must_use]
    pub fn health(&self) -> commit::Health {
        self.commit.health()
    }

    /// What the commit loop did so far.
    #[must_use]
    pub fn figures(&self) -> commit::Figures {
        self.commit.figures()
    }

    /// Take nothing more in, finish what was taken in, sync.
    pub fn stop(&self) {
        self.reads.stop();
        self.commit.stop();
        self.upkeep.stop();
    }
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").finish_non_exhaustive()
    }
}

/// How the commit thread, and the one that reads lists, speak to the world.
struct Doors {
    waiting: Arc<Waiting>,
    lookout: Arc<Lookout>,
    keyring: Arc<Keyring>,
    settings: Arc<watch::Sender<u64>>,
    /// Processor time of what was sent here.
    sending: Duration,
    dispatch: Dispatch,
}

impl Voice for Doors {
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        let Some(pending) = self.waiting.requests.lock().remove(&request) else { return };
        if !matches!(pending.change, Change::None) {
            let is_granted = match &outcome {
                // Nothing more will happen to it.
                Ok(Reply::Task(view)) => !view.state.is_terminal(),
                outcome => outcome.is_ok(),
            };
            self.waiting.audience.lock().change(pending.change, is_granted);
        }
        let answered = match &pending.reply_to {
            ReplyTo::Verb { outlet, .. } => Some(Arc::clone(outlet)),
            _ => None,
        };
        pending.reply_to.answer(outcome, &mut self.dispatch);
        if let Some(outlet) = answered {
            self.dispatch.note_answer(&outlet);
        }
    }

    fn deliver(&mut self, session: SessionId, push: Push) {
        let push_to = self.waiting.audience.lock().route(session, &push);
        match push_to {
            Some(PushTo::Verb { outlet }) => {
                let buffer = self.dispatch.buffer(&outlet);
                let before = buffer.len();
                outlet.framing().worded(buffer, |out| words::push(out, &push));
                if let Push::Offer(_) = push {
                    // Its credit asked for them all at once; reading them takes it a while.
                    outlet.allow(buffer.len() - before);
                }
            }
            Some(PushTo::Subject { subject }) => {
                self.dispatch.announce(&subject, json::push(&push).to_string().as_bytes());
            }
            Some(PushTo::Queue(queue)) => {
                let mut audience = self.waiting.audience.lock();
                if queue.try_send(Heard::Push(push)).is_err() {
                    audience.cut_off(session);
                }
            }
            None => {}
        }
    }

    fn tell(&mut self, session: SessionId, news: News) {
        self.waiting.audience.lock().tell(session, news);
    }

    fn posted(&mut self, message: Arc<Message>, receivers: Vec<Name>) {
        self.lookout.note_message(&message, &receivers);
        // What is for one agent is for nobody else.
        let subject = match &message.post.to {
            Destination::Agent(_) => return,
            Destination::Broadcast { .. } => format!("{EVENT_PREFIX}BROADCAST"),
            Destination::Channel(channel) => format!("{EVENT_PREFIX}CHANNEL.{channel}"),
        };
        if self.dispatch.is_wanted(&subject) {
            let text = serde_json::Value::Object(message::message(&message)).to_string();
            self.dispatch.announce(&subject, text.as_bytes());
        }
    }

    fn presence(&mut self, event: PresenceEvent) {
        let subject = format!("{EVENT_PREFIX}PRESENCE");
        if self.dispatch.is_wanted(&subject) {
            self.dispatch.announce(&subject, message::presence(&event).to_string().as_bytes());
        }
        self.lookout.note_presence(event);
    }

    fn configured(&mut self, view: &ConfigView) {
        let subject = format!("{EVENT_PREFIX}CONFIG");
        if self.dispatch.is_wanted(&subject) {
            self.dispatch.announce(&subject, view::setting(view).to_string().as_bytes());
        }
        self.settings.send_modify(|times| *times += 1);
    }

    fn follows_headers(&self) -> bool {
        self.lookout.is_trailed()
    }

    fn headers(&mut self, task: TaskId, headers: &Arc<[u8]>) {
        self.lookout.note_headers(task, headers);
    }

    fn event(&mut self, event: TaskEvent) {
        let subject = subject_of(event.state);
        if self.dispatch.is_wanted(subject) {
            self.dispatch.announce(subject, json::event(&event).to_string().as_bytes());
        }
        self.lookout.note_task(event);
    }

    fn token_issued(&mut self, digest: TokenDigest, agent: Name) {
        self.keyring.insert(digest, agent);
    }

    fn token_revoked(&mut self, digest: &TokenDigest) {
        self.keyring.remove(digest);
    }

    fn upkept(&mut self, notice: &Notice) {
        let (kind, text) = upkeep_view::event(notice);
        let subject = format!("{EVENT_PREFIX}{kind}");
        if self.dispatch.is_wanted(&subject) {
            self.dispatch.announce(&subject, text.to_string().as_bytes());
        }
        self.lookout.note_upkeep(notice);
    }

    fn resumed(&mut self, event: TaskEvent) {
        self.lookout.note_task(event);
    }

    fn unreadable(&mut self, task: TaskId, error: &StoreError) {
        tracing::error!(task_id = task.0, %error, "a task cannot be offered because its payload cannot be read");
    }

    fn flush(&mut self) {
        let started = processor_time();
        self.dispatch.flush();
        self.sending += processor_time() - started;
    }

    fn leave(&mut self) {
        self.dispatch.post();
    }

    fn sending(&self) -> Duration {
        self.sending + self.dispatch.sending()
    }
}

/// Where a change of a task to this state is published. Written out, because four of them are
/// looked up for each task that anybody does.
fn subject_of(state: State) -> &'static str {
    match state {
        State::Held => "$AC.EVENT.TASK.held",
        State::Scheduled => "$AC.EVENT.TASK.scheduled",
        State::Ready => "$AC.EVENT.TASK.ready",
        State::Offered => "$AC.EVENT.TASK.offered",
        State::Running => "$AC.EVENT.TASK.running",
        State::Parked => "$AC.EVENT.TASK.parked",
        State::Completed => "$AC.EVENT.TASK.completed",
        State::Dead => "$AC.EVENT.TASK.dead",
        State::Cancelled => "$AC.EVENT.TASK.cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_an_event_ends_with_its_state() {
        for state in State::ALL {
            assert_eq!(subject_of(state), format!("{EVENT_PREFIX}TASK.{}", state.as_str()));
        }
    }
}
