//! Following one task, across reconnects.
//!
//! ```text
//!         +--------- connection lost, or too slow ---------+
//!         v                                                |
//! WATCH from=cursor --answer--> what was pushed, then what the answer shows beyond that
//! ```
//!
//! The cursor is the number of the last event that was handed out. Whoever watches again names it,
//! and hears of the later ones that the broker remembers; the answer shows the newest state in any
//! case. So events in between may be missing after an outage, and then their numbers are; the
//! newest state never is. The broker is asked when the stream is polled, and it forgets the events
//! of a task that is over.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, stream};

use crate::answer::{Terms, option};
use crate::client::Client;
use crate::operation_error::{ShowError, Trouble, TroubleKind};
use crate::task_event::TaskEvent;
use crate::task_view::TaskView;
use crate::tasks::TaskId;
use crate::watches::Interest;

/// A watch to be started; made by [`crate::Tasks::watch`], started by awaiting it.
///
/// Cancel-safe: a dropped call leaves nothing behind.
#[derive(Clone, Debug)]
#[must_use = "a watch begins when this is awaited"]
pub struct WatchBuilder {
    client: Client,
    task: TaskId,
    from: Option<u64>,
}

impl WatchBuilder {
    pub(crate) fn new(client: Client, task: TaskId) -> WatchBuilder {
        WatchBuilder { client, task, from: None }
    }

    /// Go on behind the event with this number, as far as the broker remembers. Default: only what
    /// happens from now on.
    pub fn from(mut self, seq: u64) -> WatchBuilder {
        self.from = Some(seq);
        self
    }

    async fn start(self) -> Result<Watch, ShowError> {
        let WatchBuilder { client, task, from } = self;
        let interest = Interest::new(client.clone(), task.0);
        let mut watching = Watching {
            client,
            task,
            cursor: from,
            link: 0,
            interest,
            newest: None,
            is_over: false,
        };
        let view = watching.ask().await?;
        watching.cursor.get_or_insert(view.event_seq);
        watching.learn(&view);
        let events = stream::unfold(watching, Watching::next);
        Ok(Watch { view, events: Box::pin(events) })
    }
}

impl IntoFuture for WatchBuilder {
    type Output = Result<Watch, ShowError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// A [`Stream`] of what happens to one task. It survives reconnects, ends behind the event that
/// ends the task, and ends after an error. Dropping it ends the watch. Taking the next event is
/// cancel-safe.
///
/// ```no_run
/// # async fn example(client: agentcom_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use agentcom_client::TaskId;
/// use futures_util::StreamExt;
/// let mut watch = client.tasks().watch(TaskId(17)).await?;
/// while let Some(event) = watch.next().await {
///     let event = event?;
///     println!("{}: {}", event.seq, event.state);
/// }
/// # Ok(()) }
/// ```
pub struct Watch {
    view: TaskView,
    events: Pin<Box<dyn Stream<Item = Result<TaskEvent, ShowError>> + Send>>,
}

impl Watch {
    /// The task as it was when the watch began.
    #[must_use]
    pub fn view(&self) -> &TaskView {
        &self.view
    }
}

impl Stream for Watch {
    type Item = Result<TaskEvent, ShowError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("task", &self.view.task).finish_non_exhaustive()
    }
}

struct Watching {
    client: Client,
    task: TaskId,
    /// Number of the last event that was handed out, or that nobody asked for; `None` until the
    /// first answer if nobody named one.
    cursor: Option<u64>,
    /// The connection on which the broker was asked.
    link: u64,
    interest: Interest,
    /// What the last answer shows, if it is beyond the cursor.
    newest: Option<TaskEvent>,
    is_over: bool,
}

/// What the stream does next.
enum Step {
    Event(TaskEvent),
    AskAgain,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<TaskEvent, ShowError>, Watching)> {
        loop {
            if self.is_over {
                return None;
            }
            let asked = match self.step().await {
                Ok(Step::Event(event)) if Some(event.seq) > self.cursor => {
                    self.cursor = Some(event.seq);
                    self.is_over = event.state.is_final();
                    return Some((Ok(event), self));
                }
                Ok(Step::Event(_)) => continue,
                Ok(Step::AskAgain) => self.ask().await,
                Err(trouble) => Err(trouble),
            };
            match asked {
                Ok(view) => self.learn(&view),
                Err(trouble) => {
                    self.is_over = true;
                    return Some((Err(trouble.into()), self));
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Step, Trouble> {
        if let Ok(event) = self.interest.events.try_recv() {
            return Ok(Step::Event(event));
        }
        if let Some(event) = self.newest.take() {
            return Ok(Step::Event(event));
        }
        if self.interest.fell_behind() {
            return Ok(Step::AskAgain);
        }
        let shared = self.client.shared();
        tokio::select! {
            event = self.interest.events.recv() => match event {
                Some(event) => Ok(Step::Event(event)),
                None => Err(TroubleKind::Closed.into()),
            },
            link = shared.link_after(self.link) => link.map(|_| Step::AskAgain),
        }
    }

    /// Ask the broker to push what is behind the cursor, on whatever connection there is.
    async fn ask(&mut self) -> Result<TaskView, Trouble> {
        let task = self.task.to_string();
        let from = self.cursor.map(|cursor| option("from", cursor));
        let arguments: Vec<&str> = [task.as_str()].into_iter().chain(from.as_deref()).collect();
        let shared = self.client.shared();
        self.link = shared.link_settled().await?;
        loop {
            let terms = Terms::on_link(self.link);
            match shared.ask(["TASK", "WATCH"], &arguments, None, terms).await {
                Err(trouble) if trouble.kind == TroubleKind::Disconnected => {
                    self.link = shared.link_after(self.link).await?;
                }
                granted => return TaskView::parse(&granted?.body),
            }
        }
    }

    fn learn(&mut self, view: &TaskView) {
        if Some(view.event_seq) > self.cursor {
            self.newest = Some(TaskEvent::newest_of(view));
        } else if view.state.is_final() {
            self.is_over = true;
        }
    }
}
