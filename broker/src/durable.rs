//! The doors' end of the durable plane: who asked, and who gets the answer.
//!
//! The core knows numbers; this is where a number is a connection, a reply subject or a waiting
//! HTTP request. Answers are written by the commit thread itself, straight into the receivers'
//! sockets, after their records are on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::commit::turn::Voice;
use crate::commit::{self, SendError};
use crate::core::command::{
    Attach, Command, Push, Rejection, Reply, Request, RequestId, SessionId, TaskEvent, TaskId,
};
use crate::core::limits::CoreConfig;
use crate::net::Outlet;
use crate::routing::{Dispatch, EVENT_PREFIX, Router};
use crate::store::{Store, StoreError};
use crate::translate::{json, words};

/// A handle to the durable plane for the doors; clones are the same plane.
#[derive(Clone)]
pub struct Durable {
    commit: commit::Durable,
    waiting: Arc<Waiting>,
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
                let word = |out: &mut Vec<u8>| words::answer(out, &tag, &outcome);
                outlet.framing().worded(dispatch.buffer(&outlet), word);
            }
            ReplyTo::Subject { subject } => {
                dispatch.announce(&subject, json::answer(&outcome).to_string().as_bytes());
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

/// Where an agent hears of offers.
#[derive(Clone, Debug)]
pub enum PushTo {
    /// On the connection that used our verbs.
    Verb {
        /// The connection.
        outlet: Arc<Outlet>,
    },
    /// On a subject, as JSON.
    Subject {
        /// The subject.
        subject: Arc<str>,
    },
}

/// A request under way.
#[derive(Debug)]
struct Pending {
    reply_to: ReplyTo,
    change: Change,
}

/// What the answer to a request changes in who hears of offers.
#[derive(Debug)]
enum Change {
    None,
    /// If it is granted, the session's pushes go there.
    Attaches(SessionId, PushTo),
    /// The session hears of nothing more.
    Detaches(SessionId),
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
    requests: Mutex<HashMap<RequestId, Pending>>,
    next_request: AtomicU64,
    /// Sessions that speak for an agent.
    agents: AtomicUsize,
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
    ) -> Result<Durable, StoreError> {
        let waiting = Arc::new(Waiting::default());
        let doors = Doors {
            waiting: Arc::clone(&waiting),
            sessions: HashMap::new(),
            answered: Vec::new(),
            dispatch: Dispatch::new(router),
        };
        Ok(Durable { commit: commit::Durable::start(config, store, doors)?, waiting })
    }

    /// Hand in an agent's greeting. If it is accepted, pushes go to `push_to` from now on.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be taken in now.
    pub fn attach(
        &self,
        attach: Attach,
        push_to: PushTo,
        reply_to: ReplyTo,
    ) -> Result<(), Refused> {
        let change = Change::Attaches(attach.session, push_to);
        self.hand_in(Command::Attach(attach), Pending { reply_to, change })
    }

    /// Hand in a command. The answer goes to `reply_to`.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be taken in now; then it is the caller who answers.
    pub fn send(&self, command: Command, reply_to: ReplyTo) -> Result<(), Refused> {
        let change = match command {
            Command::Detach { session } => Change::Detaches(session),
            _ => Change::None,
        };
        self.hand_in(command, Pending { reply_to, change })
    }

    fn hand_in(&self, command: Command, pending: Pending) -> Result<(), Refused> {
        let id = RequestId(self.waiting.next_request.fetch_add(1, Ordering::Relaxed));
        if let ReplyTo::Verb { outlet, .. } = &pending.reply_to {
            outlet.note_request();
        }
        if !pending.is_idle() {
            self.waiting.requests.lock().insert(id, pending);
        }
        self.commit.send(Request { id, command }).map_err(|error| {
            let pending = self.waiting.requests.lock().remove(&id);
            let reply_to = pending.map_or(ReplyTo::Nobody, |pending| pending.reply_to);
            if let ReplyTo::Verb { outlet, .. } = &reply_to {
                outlet.note_answers(1);
            }
            Refused { rejection: error.into(), reply_to }
        })
    }

    /// Ask and wait for the answer. Cancel-safe: a command that was handed in takes its course.
    ///
    /// # Errors
    /// [`Rejection`] when the core declines.
    pub async fn call(&self, command: Command) -> Result<Reply, Rejection> {
        let (answer, outcome) = oneshot::channel();
        self.send(command, ReplyTo::Call(answer)).map_err(|refused| refused.rejection)?;
        outcome.await.unwrap_or_else(|_| {
            Err(Rejection::Unavailable { reason: "the broker is stopping".into() })
        })
    }

    /// Sessions that speak for an agent.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.waiting.agents.load(Ordering::Relaxed)
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
        self.commit.stop();
    }
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").finish_non_exhaustive()
    }
}

/// How the commit thread speaks to the world.
struct Doors {
    waiting: Arc<Waiting>,
    /// Who hears of offers. Changed only by answers, so in the order of the core.
    sessions: HashMap<SessionId, PushTo>,
    /// Connections that were answered since the last flush.
    answered: Vec<Arc<Outlet>>,
    dispatch: Dispatch,
}

impl Voice for Doors {
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        let Some(pending) = self.waiting.requests.lock().remove(&request) else { return };
        match pending.change {
            Change::None => {}
            Change::Attaches(session, push_to) if outcome.is_ok() => {
                self.sessions.insert(session, push_to);
            }
            Change::Attaches(..) => {}
            Change::Detaches(session) => {
                self.sessions.remove(&session);
            }
        }
        self.waiting.agents.store(self.sessions.len(), Ordering::Relaxed);
        if let ReplyTo::Verb { outlet, .. } = &pending.reply_to {
            self.answered.push(Arc::clone(outlet));
        }
        pending.reply_to.answer(outcome, &mut self.dispatch);
    }

    fn deliver(&mut self, session: SessionId, push: Push) {
        let push_to = match push {
            Push::Replaced => self.sessions.remove(&session),
            _ => self.sessions.get(&session).cloned(),
        };
        self.waiting.agents.store(self.sessions.len(), Ordering::Relaxed);
        match push_to {
            Some(PushTo::Verb { outlet }) => {
                let buffer = self.dispatch.buffer(&outlet);
                let before = buffer.len();
                outlet.framing().worded(buffer, |out| words::push(out, &push));
                // Its credit asked for them all at once; reading them takes it a while.
                outlet.allow(buffer.len() - before);
            }
            Some(PushTo::Subject { subject }) => {
                self.dispatch.announce(&subject, json::push(&push).to_string().as_bytes());
            }
            None => {}
        }
    }

    fn event(&mut self, event: TaskEvent) {
        let subject = format!("{EVENT_PREFIX}TASK.{}", event.state.as_str());
        if self.dispatch.is_wanted(&subject) {
            self.dispatch.announce(&subject, json::event(&event).to_string().as_bytes());
        }
    }

    fn unreadable(&mut self, task: TaskId, error: &StoreError) {
        tracing::error!(task = task.0, %error, "a task cannot be offered because its payload cannot be read");
    }

    fn flush(&mut self) {
        self.dispatch.flush();
        for outlet in self.answered.drain(..) {
            outlet.note_answers(1);
        }
    }
}
