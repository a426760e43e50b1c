//! Who hears of what: offers and the like by session, events of a task by watch.

use std::sync::Arc;

use hashbrown::HashMap;

use tokio::sync::mpsc;

use crate::core::command::{News, Push, SessionId, TaskId, WatchId};
use crate::net::Outlet;

/// Where pushes go.
#[derive(Clone, Debug)]
pub enum PushTo {
    /// To the connection that used our verbs.
    Verb {
        /// The connection.
        outlet: Arc<Outlet>,
    },
    /// To a subject, as JSON.
    Subject {
        /// The subject.
        subject: Arc<str>,
    },
    /// To a task of this process, which hears of messages as well. Whoever lets the queue fill up
    /// hears nothing more: the queue is closed then.
    Queue(mpsc::Sender<Heard>),
}

/// What is pushed to a [`PushTo::Queue`].
#[derive(Clone, Debug)]
pub enum Heard {
    /// Something about tasks.
    Push(Push),
    /// Something about messages.
    News(News),
}

/// What the answer to a request changes in who hears of what.
#[derive(Debug)]
pub(super) enum Change {
    None,
    /// If it is granted, what concerns the session's agent is pushed there.
    Attaches(SessionId, PushTo),
    /// If it is granted, messages are pushed there.
    Joins(SessionId, mpsc::Sender<Heard>),
    /// If it is granted, the same as for one that attaches, unless it is pushed somewhere already.
    Takes(SessionId, PushTo),
    /// If it is granted, events of the task are pushed there.
    Watches(SessionId, WatchId, Watch),
    /// The session hears of this task no more.
    Unwatches(SessionId, TaskId),
    /// The session hears of no agent more.
    Leaves(SessionId),
    /// The session hears of nothing more.
    Detaches(SessionId),
}

/// Who hears of what. But for takes, it is changed only by answers, so in the order of the core.
#[derive(Debug, Default)]
pub(super) struct Audience {
    listeners: HashMap<SessionId, Listener>,
    /// Listeners that speak for an agent.
    pub(super) agents: usize,
    /// Sessions that did not keep up.
    pub(super) cut_off: u64,
}

/// What one session hears of.
#[derive(Debug, Default)]
struct Listener {
    /// Where it hears what concerns its agent.
    agent: Option<PushTo>,
    /// Where it hears of messages.
    news: Option<mpsc::Sender<Heard>>,
    watches: HashMap<WatchId, Watch>,
}

/// An interest in one task.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) task: TaskId,
    pub(super) push_to: PushTo,
}

impl Audience {
    /// A request was answered, granted or not.
    pub(super) fn change(&mut self, change: Change, is_granted: bool) {
        match change {
            Change::None => {}
            Change::Attaches(session, push_to) if is_granted => self.speaks(session, push_to),
            Change::Takes(session, push_to) if is_granted => self.takes(session, push_to),
            Change::Watches(session, id, watch) if is_granted => {
                self.listeners.entry(session).or_default().watches.insert(id, watch);
            }
            Change::Joins(session, queue) if is_granted => {
                self.listeners.entry(session).or_default().news = Some(queue);
            }
            Change::Joins(..) | Change::Attaches(..) | Change::Takes(..) | Change::Watches(..) => {}
            Change::Unwatches(session, task) => {
                if let Some(listener) = self.listeners.get_mut(&session) {
                    listener.watches.retain(|_, watch| watch.task != task);
                }
                self.forget_if_idle(session);
            }
            Change::Leaves(session) => {
                self.silence(session);
                self.forget_if_idle(session);
            }
            Change::Detaches(session) => {
                let listener = self.listeners.remove(&session);
                self.agents -= usize::from(listener.is_some_and(|gone| gone.agent.is_some()));
            }
        }
    }

    fn speaks(&mut self, session: SessionId, push_to: PushTo) {
        let before = self.listeners.entry(session).or_default().agent.replace(push_to);
        self.agents += usize::from(before.is_none());
    }

    /// What concerns the session's agent is pushed there, unless it is pushed somewhere already.
    pub(super) fn takes(&mut self, session: SessionId, push_to: PushTo) {
        if self.listeners.get(&session).is_none_or(|listener| listener.agent.is_none()) {
            self.speaks(session, push_to);
        }
    }

    /// Tell a session of messages. One that does not keep up hears nothing more.
    pub(super) fn tell(&mut self, session: SessionId, news: News) {
        let Some(listener) = self.listeners.get_mut(&session) else { return };
        let Some(queue) = &listener.news else { return };
        let is_last = news == News::Replaced;
        if queue.try_send(Heard::News(news)).is_err() {
            self.cut_off(session);
        } else if is_last {
            self.close(session);
        }
    }

    /// A session did not keep up.
    pub(super) fn cut_off(&mut self, session: SessionId) {
        self.cut_off += 1;
        self.close(session);
    }

    /// Let go of the queues of a session.
    fn close(&mut self, session: SessionId) {
        if let Some(listener) = self.listeners.get_mut(&session) {
            listener.news = None;
        }
        self.silence(session);
        self.forget_if_idle(session);
    }

    /// Where this push to a session goes; afterwards, if it is the last of its kind, none.
    pub(super) fn route(&mut self, session: SessionId, push: &Push) -> Option<PushTo> {
        let listener = self.listeners.get_mut(&session)?;
        let push_to = match push {
            Push::Event { watch, event } if event.state.is_terminal() => {
                listener.watches.remove(watch).map(|watch| watch.push_to)
            }
            Push::Event { watch, .. } => {
                listener.watches.get(watch).map(|watch| watch.push_to.clone())
            }
            Push::Replaced => self.silence(session),
            _ => listener.agent.clone(),
        };
        self.forget_if_idle(session);
        push_to
    }

    /// Nothing that concerns an agent goes to the session any more; gives where it went.
    fn silence(&mut self, session: SessionId) -> Option<PushTo> {
        let push_to = self.listeners.get_mut(&session)?.agent.take();
        self.agents -= usize::from(push_to.is_some());
        push_to
    }

    fn forget_if_idle(&mut self, session: SessionId) {
        let is_idle = |listener: &Listener| {
            listener.agent.is_none() && listener.news.is_none() && listener.watches.is_empty()
        };
        if self.listeners.get(&session).is_some_and(is_idle) {
            self.listeners.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{Generation, Name, State, TaskEvent};

    fn to(subject: &str) -> PushTo {
        PushTo::Subject { subject: subject.into() }
    }

    fn watch(task: u64, subject: &str) -> Watch {
        Watch { task: TaskId(task), push_to: to(subject) }
    }

    fn event(watch: u64, state: State) -> Push {
        let event = TaskEvent {
            task: TaskId(1),
            seq: 1,
            at_ms: 1,
            submitted_ms: 1,
            queue: Name::parse("q").unwrap(),
            from: None,
            state,
            has_failed: false,
            generation: Generation(0),
            agent: None,
            progress: None,
            blocked_by: None,
            is_escalated: false,
        };
        Push::Event { watch: WatchId(watch), event }
    }

    fn heard(audience: &mut Audience, push: &Push) -> Option<String> {
        audience.route(SessionId(1), push).map(|push_to| match push_to {
            PushTo::Subject { subject } => subject.to_string(),
            PushTo::Verb { .. } | PushTo::Queue(_) => unreachable!("no connection is in play"),
        })
    }

    #[test]
    fn a_declined_greeting_moves_nothing() {
        let mut audience = Audience::default();
        audience.change(Change::Attaches(SessionId(1), to("a")), true);
        audience.change(Change::Attaches(SessionId(1), to("b")), false);
        assert_eq!(heard(&mut audience, &Push::Replaced), Some("a".to_owned()));
        assert_eq!(audience.agents, 0);
        assert!(audience.listeners.is_empty());
    }

    #[test]
    fn a_take_finds_what_was_there() {
        let mut audience = Audience::default();
        audience.takes(SessionId(1), to("a"));
        audience.change(Change::Takes(SessionId(1), to("b")), true);
        assert_eq!(
            (audience.agents, heard(&mut audience, &Push::Replaced).as_deref()),
            (1, Some("a"))
        );
    }

    #[test]
    fn a_watch_ends_with_its_task_and_outlives_its_sessions_agent() {
        let mut audience = Audience::default();
        audience.change(Change::Attaches(SessionId(1), to("a")), true);
        audience.change(Change::Watches(SessionId(1), WatchId(7), watch(1, "w")), true);
        audience.change(Change::Leaves(SessionId(1)), true);
        assert_eq!(audience.agents, 0);
        let running = event(7, State::Running);
        assert_eq!(heard(&mut audience, &running).as_deref(), Some("w"));
        assert_eq!(heard(&mut audience, &event(8, State::Running)), None);
        assert_eq!(heard(&mut audience, &event(7, State::Dead)).as_deref(), Some("w"));
        assert_eq!(heard(&mut audience, &running), None);
        assert!(audience.listeners.is_empty(), "nothing of it is left");
    }

    #[test]
    fn a_session_that_does_not_read_hears_nothing_more() {
        let mut audience = Audience::default();
        let (sender, mut queue) = mpsc::channel(2);
        audience.change(Change::Joins(SessionId(1), sender.clone()), true);
        audience.change(Change::Attaches(SessionId(1), PushTo::Queue(sender)), true);
        let news = || News::Restart { reason: "r".into() };
        (0..3).for_each(|_| audience.tell(SessionId(1), news()));
        assert_eq!((audience.cut_off, audience.agents, audience.listeners.len()), (1, 0, 0));
        // What it was told before is still there, and then the queue ends.
        assert!(queue.try_recv().is_ok() && queue.try_recv().is_ok());
        assert_eq!(queue.try_recv().err(), Some(mpsc::error::TryRecvError::Disconnected));
        audience.tell(SessionId(1), news());
        assert_eq!(audience.cut_off, 1, "once");
    }

    #[test]
    fn a_session_that_was_replaced_hears_of_that_and_of_nothing_more() {
        let mut audience = Audience::default();
        let (sender, mut queue) = mpsc::channel(2);
        audience.change(Change::Joins(SessionId(1), sender), true);
        audience.tell(SessionId(1), News::Replaced);
        assert!(matches!(queue.try_recv(), Ok(Heard::News(News::Replaced))));
        assert_eq!(queue.try_recv().err(), Some(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(audience.cut_off, 0);
    }

    #[test]
    fn nothing_is_left_of_a_session_that_is_over() {
        let mut audience = Audience::default();
        audience.change(Change::Attaches(SessionId(1), to("a")), true);
        audience.change(Change::Watches(SessionId(1), WatchId(7), watch(1, "w")), true);
        audience.change(Change::Watches(SessionId(1), WatchId(8), watch(2, "w")), true);
        audience.change(Change::Unwatches(SessionId(1), TaskId(1)), true);
        assert_eq!(heard(&mut audience, &event(7, State::Running)), None);
        audience.change(Change::Detaches(SessionId(1)), false);
        assert_eq!((audience.agents, audience.listeners.len()), (0, 0));
    }
}
