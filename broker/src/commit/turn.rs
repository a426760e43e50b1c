//! One turn of the commit loop, without its thread.
//!
//! A turn applies all its requests, makes all their records durable with one sync, and only then
//! lets anything out. What it lets out is in the order in which the core said it. If the store
//! fails, nothing of the turn is let out except the news of that: what the core said may not be
//! true any more after a restart.
//!
//! The core holds neither payloads nor tasks that are over. This file gets them: from the turn's
//! own batch if they are younger than the last sync, from the store otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;

use super::Counters;
use crate::core::Core;
use crate::core::command::{
    Command, Effect, Now, Push, Rejection, Reply, Request, RequestId, SessionId, TaskEvent, TaskId,
    Tick,
};
use crate::core::limits::CoreConfig;
use crate::core::record::{BodyKind, Loaded, Record, TaskRow, Wanted};
use crate::store::{Store, StoreError};

/// Where released effects go. Called on the commit thread: it must not wait for anybody.
pub trait Voice: Send {
    /// Answer a request.
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>);
    /// Push to the agent behind a session, if that is still there. Payloads are filled in.
    fn deliver(&mut self, session: SessionId, push: Push);
    /// Publish an event.
    fn event(&mut self, event: TaskEvent);
    /// The turn is over; wake whoever got something.
    fn flush(&mut self);
    /// An offer was not delivered because its payload could not be read; it will expire.
    fn unreadable(&mut self, task: TaskId, error: &StoreError) {
        let _ = (task, error);
    }
}

/// The core, the store and the voice, and the order between them.
pub struct Committer<S, O> {
    core: Core,
    store: S,
    voice: O,
    batch: Batch,
    refusing: Option<Arc<str>>,
    /// A sync happened since the store last rested.
    is_restless: bool,
    counters: Arc<Counters>,
}

/// Bytes of results that one turn reads to show them. 16 MiB: many small ones or a few large ones;
/// whoever asks for more in one breath is told to come again, so that submits are not kept waiting.
const TURN_LOADED_BYTES_MAX: usize = 16 << 20;

/// What a turn has gathered.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    /// Everything else, in order.
    releases: Vec<Effect>,
    /// Rows of tasks that ended in this turn: their position in `records`.
    over: HashMap<TaskId, usize>,
    bodies: HashMap<(TaskId, BodyKind), Arc<[u8]>>,
    /// Bytes of results that were read to be shown.
    loaded_bytes: usize,
}

impl Batch {
    fn gather(&mut self, effect: Effect) {
        let Effect::Persist(record) = effect else {
            self.releases.push(effect);
            return;
        };
        match &record {
            Record::Task(row) if row.is_terminal() => {
                self.over.insert(row.task, self.records.len());
            }
            Record::Body { task, kind, bytes } => {
                self.bodies.insert((*task, *kind), bytes.clone());
            }
            Record::Task(_) | Record::TaskIdBound(_) => {}
        }
        self.records.push(record);
    }

    fn row(&self, task: TaskId) -> Option<TaskRow> {
        match self.records.get(*self.over.get(&task)?) {
            Some(Record::Task(row)) => Some((**row).clone()),
            _ => None,
        }
    }

    fn clear(&mut self) {
        self.records.clear();
        self.over.clear();
        self.bodies.clear();
        self.loaded_bytes = 0;
    }
}

impl<S: Store, O: Voice> Committer<S, O> {
    /// Restore the core from `store`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or is damaged.
    pub fn restore(
        config: CoreConfig,
        store: S,
        voice: O,
        now: Now,
    ) -> Result<Committer<S, O>, StoreError> {
        let core = Core::restore(config, now, |each| store.scan(each))?;
        let (batch, counters) = (Batch::default(), Arc::default());
        Ok(Committer { core, store, voice, batch, refusing: None, is_restless: false, counters })
    }

    /// Count in `counters` from now on.
    pub(super) fn counting(mut self, counters: Arc<Counters>) -> Committer<S, O> {
        counters.damaged_rows.store(self.store.damaged_rows(), Ordering::Relaxed);
        self.counters = counters;
        self
    }

    /// Take all `requests`, then whatever is due; commit; release.
    pub fn turn(&mut self, requests: impl IntoIterator<Item = Request>, now: Now) {
        let mut count = 0;
        for request in requests {
            count += 1;
            self.take(request, now);
        }
        add(&self.counters.requests, count);
        if self.refusing.is_none() && self.core.next_deadline().is_some_and(|at| at <= now.tick) {
            let tick = Request { id: RequestId(0), command: Command::Tick };
            self.apply(tick, None, now);
        }
        match self.commit() {
            Ok(()) => self.release(),
            Err(error) => self.refuse(error.to_string().into()),
        }
        self.voice.flush();
    }

    /// When to take a turn even if nobody asks for anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        if self.refusing.is_some() { None } else { self.core.next_deadline() }
    }

    /// Why nothing is committed any more, if so.
    #[must_use]
    pub fn refusing(&self) -> Option<&Arc<str>> {
        self.refusing.as_ref()
    }

    /// The core, to look at.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Whether the store wants to know of a silence.
    #[must_use]
    pub fn is_restless(&self) -> bool {
        self.is_restless
    }

    /// Nothing is asked for at the moment.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.is_restless) {
            self.store.rest();
        }
    }

    /// Everything was committed; let go of the store.
    pub fn close(&mut self) {
        self.store.close();
    }

    fn take(&mut self, request: Request, now: Now) {
        if let Some(reason) = self.refusing.clone() {
            let outcome = match request.command {
                Command::Tick => return,
                Command::Show { task } => self.show_stored(task),
                _ => Err(Rejection::Unavailable { reason }),
            };
            self.voice.reply(request.id, outcome);
            return;
        }
        let is_show = matches!(request.command, Command::Show { .. });
        if is_show && self.batch.loaded_bytes > TURN_LOADED_BYTES_MAX {
            let busy = Rejection::Busy { requests: 0, bytes: self.batch.loaded_bytes };
            let reply = Effect::Reply { request: request.id, outcome: Err(busy) };
            return self.batch.releases.push(reply);
        }
        match self.core.wants(&request.command).map(|wanted| self.load(wanted)) {
            None => self.apply(request, None, now),
            Some(Ok(loaded)) => {
                let result = loaded.as_ref().and_then(|loaded| loaded.result.as_ref());
                self.batch.loaded_bytes += result.map_or(0, |result| result.len());
                self.apply(request, loaded, now);
            }
            Some(Err(error)) => {
                let outcome = Err(self.unreadable(&error));
                self.batch.releases.push(Effect::Reply { request: request.id, outcome });
            }
        }
    }

    fn apply(&mut self, request: Request, loaded: Option<Loaded>, now: Now) {
        self.core.handle(request, loaded, now);
        while let Some(effect) = self.core.poll_effect() {
            self.batch.gather(effect);
        }
    }

    /// One batch, one sync; none if there is nothing to keep.
    fn commit(&mut self) -> Result<(), StoreError> {
        if self.batch.records.is_empty() {
            return Ok(());
        }
        self.store.append(&self.batch.records)?;
        self.store.sync()?;
        self.is_restless = true;
        add(&self.counters.commits, 1);
        add(&self.counters.records, self.batch.records.len() as u64);
        Ok(())
    }

    fn release(&mut self) {
        let mut releases = std::mem::take(&mut self.batch.releases);
        for effect in releases.drain(..) {
            match effect {
                Effect::Persist(_) => unreachable!("records were gathered apart"),
                Effect::Reply { request, outcome } => {
                    let outcome = self.with_payload(outcome);
                    self.voice.reply(request, outcome);
                }
                Effect::Deliver { session, push } => self.deliver(session, push),
                Effect::Event(event) => self.voice.event(event),
            }
        }
        self.batch.releases = releases;
        self.batch.clear();
    }

    fn deliver(&mut self, session: SessionId, mut push: Push) {
        if let Push::Offer(offer) = &mut push {
            match self.body(offer.task, BodyKind::Payload) {
                Ok(Some(payload)) => offer.payload = payload,
                Ok(None) => {
                    let error = StoreError::Read {
                        reason: format!("task {} has no payload", offer.task.0).into(),
                    };
                    add(&self.counters.damaged, 1);
                    return self.voice.unreadable(offer.task, &error);
                }
                Err(error) => {
                    add(&self.counters.damaged, 1);
                    return self.voice.unreadable(offer.task, &error);
                }
            }
        }
        self.voice.deliver(session, push);
    }

    /// A view of a task leaves the core without its payload.
    fn with_payload(&self, outcome: Result<Reply, Rejection>) -> Result<Reply, Rejection> {
        let Ok(Reply::Task(mut view)) = outcome else { return outcome };
        match self.body(view.task, BodyKind::Payload) {
            Ok(payload) => view.payload = payload.unwrap_or_default(),
            Err(error) => return Err(self.unreadable(&error)),
        }
        Ok(Reply::Task(view))
    }

    /// The store failed in this turn: whoever waits is told, and nothing else is let out.
    fn refuse(&mut self, reason: Arc<str>) {
        for effect in self.batch.releases.drain(..) {
            let Effect::Reply { request, outcome } = effect else { continue };
            let reason = reason.clone();
            // What was granted was on its way to the disk and may have arrived.
            let rejection = match outcome {
                Ok(_) => Rejection::Uncertain { reason },
                Err(_) => Rejection::Unavailable { reason },
            };
            self.voice.reply(request, Err(rejection));
        }
        self.batch.clear();
        self.refusing = Some(reason);
    }

    /// The core may be ahead of the disk now, so the disk is asked.
    fn show_stored(&self, task: TaskId) -> Result<Reply, Rejection> {
        let loaded = self
            .load(Wanted { task, result: true })
            .map_err(|error| self.unreadable(&error))?
            .ok_or(Rejection::NotFound { task })?;
        self.with_payload(Ok(Reply::Task(Box::new(loaded.row.view(None, loaded.result)))))
    }

    fn load(&self, wanted: Wanted) -> Result<Option<Loaded>, StoreError> {
        let row = match self.batch.row(wanted.task) {
            Some(row) => Some(row),
            None => self.store.row(wanted.task)?,
        };
        let Some(row) = row else { return Ok(None) };
        let result = if wanted.result { self.body(wanted.task, BodyKind::Result)? } else { None };
        Ok(Some(Loaded { row, result }))
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        match self.batch.bodies.get(&(task, kind)) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.store.body(task, kind),
        }
    }

    fn unreadable(&self, error: &StoreError) -> Rejection {
        add(&self.counters.damaged, 1);
        tracing::error!(%error, "the store cannot be read");
        Rejection::Unreadable { reason: error.to_string().into() }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
