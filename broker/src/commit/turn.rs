//! One turn of the commit loop, without its thread.
//!
//! A turn applies all its requests, makes all their records durable with one sync, and only then
//! lets anything out. What it lets out is in the order in which the core said it. If the store
//! fails, nothing of the turn is let out except the news of that: what the core said may not be
//! true any more after a restart.
//!
//! The core holds neither payloads nor tasks that are over. This file gets them: from the turn's
//! own batch if they are younger than the last sync, from the store otherwise.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::Counters;
use crate::core::Core;
use crate::core::command::{
    Command, ConfigView, Effect, Found, Message, MessageReply, Name, News, Now, Offer,
    PresenceEvent, Push, Rejection, Reply, Request, RequestId, SessionId, State, TaskEvent, TaskId,
    TaskView, Tick, TokenDigest,
};
use crate::core::limits::CoreConfig;
use crate::core::record::{BodyKind, Record, TaskRow};
use crate::reads;
use crate::store::{Expired, Store, StoreError};
use crate::upkeep::{self, Notice};

/// What a turn took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Requests that were applied.
    pub requests: u32,
    /// To write their records and flush them. Zero if there was nothing to keep.
    pub sync: Duration,
    /// Processor time to send what was let out, whoever did it, since the last turn was over.
    pub sending: Duration,
}

/// Where released effects go. Called on the commit thread: it must not wait for anybody.
pub trait Voice: Send {
    /// Answer a request.
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>);
    /// Push to the agent behind a session, if that is still there. Payloads are filled in.
    fn deliver(&mut self, session: SessionId, push: Push);
    /// Publish an event.
    fn event(&mut self, event: TaskEvent);
    /// Before anything else: somebody has this task since before the start.
    fn resumed(&mut self, event: TaskEvent) {
        let _ = event;
    }
    /// Tell the agent that is here through a session.
    fn tell(&mut self, session: SessionId, news: News) {
        let _ = (session, news);
    }
    /// Publish that a message was sent, which reached `receivers`.
    fn posted(&mut self, message: Arc<Message>, receivers: Vec<Name>) {
        let _ = (message, receivers);
    }
    /// Publish who came or went.
    fn presence(&mut self, event: PresenceEvent) {
        let _ = event;
    }
    /// Publish what was done with everything that is kept.
    fn upkept(&mut self, notice: &Notice) {
        let _ = notice;
    }
    /// Publish that a setting that all share was set.
    fn configured(&mut self, view: &ConfigView) {
        let _ = view;
    }
    /// Whether anybody wants to hear of headers.
    fn follows_headers(&self) -> bool {
        false
    }
    /// The headers of a task that is new, or was edited; said before anything else of that.
    fn headers(&mut self, task: TaskId, headers: &Arc<[u8]>) {
        let _ = (task, headers);
    }
    /// A token is valid from now on; said of all of them before anything else, too.
    fn token_issued(&mut self, digest: TokenDigest, agent: Name) {
        let _ = (digest, agent);
    }
    /// A token is valid no more.
    fn token_revoked(&mut self, digest: &TokenDigest) {
        let _ = digest;
    }
    /// The turn is over; send what there is to whoever it is for.
    fn flush(&mut self);
    /// The turn is over; let others send what there is, while the next turn is under way.
    fn leave(&mut self) {
        self.flush();
    }
    /// Processor time that it took so far to send, whoever did it.
    fn sending(&self) -> Duration {
        Duration::ZERO
    }
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
    /// Tasks may have to be forgotten that were to be kept until then.
    retire_until_ms: Option<u64>,
    /// Others send what a turn lets out.
    leaves: bool,
    /// Processor time of sending, as of the last turn.
    sending: Duration,
    counters: Arc<Counters>,
}

/// Bytes of bodies that one turn reads to show them. 16 MiB: many small ones or a few large ones;
/// whoever asks for more in one breath is told to come again, so that submits are not kept waiting.
const TURN_SHOWN_BYTES_MAX: usize = 16 << 20;

/// Tasks that one turn forgets. 1,000: some milliseconds of work.
const TURN_RETIRED_MAX: usize = 1_000;

/// What stands in place of an effect that has had its turn.
const DONE: Effect = Effect::Retire { until_ms: 0 };

/// The last row in a turn so far.
#[derive(Clone, Copy)]
struct NewestRow {
    task: TaskId,
    is_ready: bool,
    /// In `effects`.
    position: usize,
}

/// What a turn has gathered.
#[derive(Default)]
struct Batch {
    /// What the core said, in order: what is to be kept, and what is to be let out after that.
    effects: VecDeque<Effect>,
    /// How many of them are records.
    records: usize,
    newest_row: Option<NewestRow>,
    /// Rows of tasks that ended in this turn: their position in `effects`; `None` if forgotten.
    over: HashMap<TaskId, Option<usize>>,
    /// Where the bodies stand in `effects`, once somebody has asked for one; most turns only take in.
    bodies: OnceCell<HashMap<(TaskId, BodyKind), usize>>,
    /// Bytes of bodies that were read to be shown.
    shown_bytes: usize,
}

impl Batch {
    /// Take what the core said since the last time. Gives until when it wants tasks to be forgotten,
    /// if it does.
    fn gather(&mut self, core: &mut Core) -> Option<u64> {
        let before = self.effects.len();
        core.drain_effects(&mut self.effects);
        let mut retire_until_ms = None;
        for position in before..self.effects.len() {
            match &self.effects[position] {
                Effect::Persist(_) => {
                    self.records += 1;
                    self.note(position);
                }
                Effect::Retire { until_ms } => retire_until_ms = Some(*until_ms),
                _ => {}
            }
        }
        retire_until_ms
    }

    /// Note what the record at `position` says of a task as a whole.
    fn note(&mut self, position: usize) {
        match self.record(position) {
            Some(Record::Task(row)) => {
                let (task, is_ready) = (row.task, row.state() == State::Ready);
                if row.end().is_some() {
                    self.over.insert(task, Some(position));
                }
                self.supersede(NewestRow { task, is_ready, position });
            }
            Some(Record::Forget { task, .. }) => {
                let task = *task;
                self.over.insert(task, None);
            }
            _ => {}
        }
    }

    /// The row of a task that is ready is needless if the next one says what became of that: whoever
    /// waits for work is given it in the turn in which it comes.
    fn supersede(&mut self, newest: NewestRow) {
        if let Some(before) = self.newest_row.replace(newest)
            && before.is_ready
            && before.task == newest.task
        {
            self.effects[before.position] = DONE;
            self.records -= 1;
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record),
            _ => None,
        })
    }

    fn record(&self, position: usize) -> Option<&Record> {
        match &self.effects[position] {
            Effect::Persist(record) => Some(record),
            _ => None,
        }
    }

    /// What is to be let out at `position`; records stay, since others may want their bodies.
    fn release(&mut self, position: usize) -> Option<Effect> {
        match &mut self.effects[position] {
            Effect::Persist(_) | Effect::Retire { .. } => None,
            effect => Some(std::mem::replace(effect, DONE)),
        }
    }

    /// The row of a task that ended in this turn, or `Some(None)` if it was forgotten.
    fn row(&self, task: TaskId) -> Option<Option<TaskRow>> {
        let position = *self.over.get(&task)?;
        Some(position.and_then(|position| match self.record(position)? {
            Record::Task(row) => Some((**row).clone()),
            _ => None,
        }))
    }

    /// A body that came in this turn, the last of its kind. The turn is over.
    fn body(&self, task: TaskId, kind: BodyKind) -> Option<&Arc<[u8]>> {
        let bodies = self.bodies.get_or_init(|| {
            let effects = self.effects.iter().enumerate();
            let bodies = effects.filter_map(|(position, effect)| match effect {
                Effect::Persist(Record::Body { task, kind, .. }) => {
                    Some(((*task, *kind), position))
                }
                _ => None,
            });
            bodies.collect()
        });
        match self.record(*bodies.get(&(task, kind))?)? {
            Record::Body { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// When tasks that ended in this turn have to be forgotten.
    fn expiries(&self) -> impl Iterator<Item = u64> {
        self.records().filter_map(|record| match record {
            Record::Task(row) => row.end()?.expires_ms,
            _ => None,
        })
    }

    fn clear(&mut self) {
        self.effects.clear();
        self.records = 0;
        self.newest_row = None;
        self.over.clear();
        self.bodies.take();
        self.shown_bytes = 0;
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
        mut voice: O,
        now: Now,
    ) -> Result<Committer<S, O>, StoreError> {
        let core = Core::restore(config, now, |each| store.scan(each))?;
        core.leased().for_each(|event| voice.resumed(event));
        core.tokens().for_each(|(digest, agent)| voice.token_issued(digest, agent.clone()));
        Ok(Committer {
            core,
            store,
            voice,
            batch: Batch::default(),
            refusing: None,
            is_restless: false,
            retire_until_ms: None,
            leaves: false,
            sending: Duration::ZERO,
            counters: Arc::default(),
        })
    }

    /// Count in `counters` from now on.
    pub(super) fn counting(mut self, counters: Arc<Counters>) -> Committer<S, O> {
        counters.damaged_rows.store(self.store.damaged_rows(), Ordering::Relaxed);
        self.counters = counters;
        self
    }

    /// Take all `requests`, then whatever is due; commit; release.
    pub fn turn(&mut self, requests: impl IntoIterator<Item = Request>, now: Now) -> Spent {
        let mut count: u32 = 0;
        for request in requests {
            count += 1;
            self.take(request, now);
        }
        add(&self.counters.requests, u64::from(count));
        if self.refusing.is_none() && self.core.next_deadline().is_some_and(|at| at <= now.tick) {
            self.apply(Core::tick(), Vec::new(), now);
        }
        self.retire(now);
        self.count();
        let mut sync = Duration::ZERO;
        match self.commit() {
            Ok(took) => {
                sync = took;
                self.release();
            }
            Err(error) => self.refuse(error.to_string().into()),
        }
        Spent { requests: count, sync, sending: self.send() }
    }

    /// Whether to leave it to others to send what the next turns let out.
    pub fn leave_sending(&mut self, leaves: bool) {
        self.leaves = leaves;
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

    /// Everything was committed; send what is not sent yet and let go of the store.
    pub fn close(&mut self) {
        self.voice.flush();
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
        if let Command::List(wanted) = &request.command {
            let outcome = reads::list(&*self.store.reader(), wanted);
            return self.batch.effects.push_back(Effect::Reply { request: request.id, outcome });
        }
        if let Command::Upkeep(_) = &request.command {
            let outcome = Err(Rejection::Unavailable { reason: upkeep::NOTHING_ON_DISK.into() });
            return self.batch.effects.push_back(Effect::Reply { request: request.id, outcome });
        }
        match self.load(&request.command) {
            Ok(rows) => self.apply(request, rows, now),
            Err(error) => {
                let outcome = Err(self.unreadable(&error));
                self.batch.effects.push_back(Effect::Reply { request: request.id, outcome });
            }
        }
    }

    fn apply(&mut self, request: Request, rows: Vec<TaskRow>, now: Now) {
        self.core.handle(request, rows, now);
        if let Some(until_ms) = self.batch.gather(&mut self.core) {
            self.retire_until_ms = Some(until_ms);
        }
    }

    /// Hand in what the store knows to be over its time, if the core asked for that.
    fn retire(&mut self, now: Now) {
        let Some(until_ms) = self.retire_until_ms.take() else { return };
        match self.store.expired(until_ms, TURN_RETIRED_MAX) {
            Ok(Expired { tasks, next_ms }) => {
                // What ended in this very turn is not in the store yet.
                let next_ms = next_ms.into_iter().chain(self.batch.expiries()).min();
                let command = Command::Retire { tasks, next_ms };
                self.take(Request { id: RequestId::NOBODY, command }, now);
            }
            Err(error) => {
                self.unreadable(&error);
            }
        }
    }

    /// Hand over what was let out. Says what sending took since the last turn.
    fn send(&mut self) -> Duration {
        if self.leaves {
            self.voice.leave();
        } else {
            self.voice.flush();
        }
        let sending = self.voice.sending();
        sending.saturating_sub(std::mem::replace(&mut self.sending, sending))
    }

    fn count(&self) {
        let (totals, counters) = (self.core.totals(), &self.counters);
        let set = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&counters.tasks_open, totals.open());
        set(&counters.messages, self.core.messages_kept() as u64);
        set(&counters.mailboxes, self.core.mailboxes_in_use() as u64);
        set(&counters.tasks_dead, totals.dead);
        set(&counters.leases, totals.leased());
        for (counter, queued) in counters.queued.iter().zip(self.core.queued()) {
            set(counter, queued);
        }
        set(&counters.waiting, self.core.waiting() as u64);
    }

    /// One batch, one sync; none if there is nothing to keep. Says how long the sync took.
    fn commit(&mut self) -> Result<Duration, StoreError> {
        if self.batch.records == 0 {
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        self.store.append(self.batch.records())?;
        let encoded = Instant::now();
        self.store.sync()?;
        let synced = Instant::now();
        self.counters.sync.note(synced - encoded);
        self.counters.commit.note(synced - started);
        self.is_restless = true;
        add(&self.counters.commits, 1);
        add(&self.counters.records, self.batch.records as u64);
        Ok(synced - encoded)
    }

    fn release(&mut self) {
        if self.voice.follows_headers() {
            for record in self.batch.records() {
                if let Record::Body { task, kind: BodyKind::Headers, bytes } = record {
                    self.voice.headers(*task, bytes);
                }
            }
        }
        for position in 0..self.batch.effects.len() {
            let Some(effect) = self.batch.release(position) else { continue };
            match effect {
                Effect::Persist(_) | Effect::Retire { .. } => {}
                Effect::Reply { request: RequestId::NOBODY, .. } => {}
                Effect::Reply { request, outcome } => {
                    let outcome = self.with_bodies(outcome);
                    self.voice.reply(request, outcome);
                }
                Effect::Deliver { session, push } => self.deliver(session, push),
                Effect::Tell { session, news } => self.voice.tell(session, news),
                Effect::Event(event) => self.voice.event(event),
                Effect::Posted { message, receivers } => self.voice.posted(message, receivers),
                Effect::Presence(event) => self.voice.presence(event),
                Effect::Configured(view) => self.voice.configured(&view),
                Effect::TokenIssued { digest, agent } => self.voice.token_issued(digest, agent),
                Effect::TokenRevoked { digest } => self.voice.token_revoked(&digest),
            }
        }
        self.batch.clear();
    }

    fn deliver(&mut self, session: SessionId, mut push: Push) {
        if let Push::Offer(offer) = &mut push
            && let Err(error) = self.fill(offer)
        {
            add(&self.counters.damaged, 1);
            return self.voice.unreadable(offer.task, &error);
        }
        self.voice.deliver(session, push);
    }

    /// An offer leaves the core without the bytes that belong to it.
    fn fill(&self, offer: &mut Offer) -> Result<(), StoreError> {
        let missing = |what| StoreError::Read {
            reason: format!("task {} has no {what}", offer.task.0).into(),
        };
        let payload = self.body(offer.task, BodyKind::Payload)?;
        offer.payload = payload.ok_or_else(|| missing("payload"))?;
        if offer.headers.is_some() {
            let headers = self.body(offer.task, BodyKind::Headers)?;
            let headers = headers.ok_or_else(|| missing("headers"))?;
            offer.headers = Some(headers).filter(|headers| !headers.is_empty());
        }
        if offer.checkpoint_seq.is_some() {
            let checkpoint = self.body(offer.task, BodyKind::Checkpoint)?;
            offer.checkpoint = Some(checkpoint.ok_or_else(|| missing("checkpoint"))?);
        }
        Ok(())
    }

    /// So does a view of a task.
    fn with_bodies(&mut self, outcome: Result<Reply, Rejection>) -> Result<Reply, Rejection> {
        match outcome {
            Ok(Reply::Task(mut view)) => self.show(&mut view).map(|()| Reply::Task(view)),
            Ok(Reply::Tasks(mut views)) => {
                views.iter_mut().try_for_each(|view| self.show(view)).map(|()| Reply::Tasks(views))
            }
            Ok(Reply::Taken(mut offers)) => {
                // What cannot be read cannot be done; its lease runs out.
                offers.retain_mut(|offer| match self.fill(offer) {
                    Ok(()) => true,
                    Err(error) => {
                        add(&self.counters.damaged, 1);
                        self.voice.unreadable(offer.task, &error);
                        false
                    }
                });
                Ok(Reply::Taken(offers))
            }
            Ok(Reply::Message(mut reply)) => {
                if let MessageReply::Found(found) | MessageReply::Thread { found, .. } = &mut *reply
                {
                    self.fetch(found)?;
                }
                Ok(Reply::Message(reply))
            }
            outcome => outcome,
        }
    }

    /// Messages leave the core as numbers.
    fn fetch(&mut self, found: &mut Found) -> Result<(), Rejection> {
        for id in &found.ids {
            let bytes = self.batch.shown_bytes;
            if bytes > TURN_SHOWN_BYTES_MAX {
                return Err(Rejection::Busy { requests: 0, bytes });
            }
            let message = self.store.message(*id).map_err(|error| self.unreadable(&error))?;
            // One that was dropped in this turn is not missed by anybody.
            let Some(message) = message else { continue };
            self.batch.shown_bytes += message.post.payload.len();
            found.messages.push(Arc::new(message));
        }
        Ok(())
    }

    fn show(&mut self, view: &mut TaskView) -> Result<(), Rejection> {
        let bytes = self.batch.shown_bytes;
        if bytes > TURN_SHOWN_BYTES_MAX {
            return Err(Rejection::Busy { requests: 0, bytes });
        }
        let body = |kind| self.body(view.task, kind).map_err(|error| self.unreadable(&error));
        let payload = body(BodyKind::Payload)?.unwrap_or_default();
        let result = if view.state.is_terminal() { body(BodyKind::Result)? } else { None };
        let headers = if view.has_headers { body(BodyKind::Headers)? } else { None };
        self.batch.shown_bytes += payload.len() + result.as_ref().map_or(0, |result| result.len());
        view.headers = headers.filter(|headers| !headers.is_empty());
        (view.payload, view.result) = (payload, result);
        Ok(())
    }

    /// The store failed in this turn: whoever waits is told, and nothing else is let out.
    fn refuse(&mut self, reason: Arc<str>) {
        for effect in self.batch.effects.drain(..) {
            let Effect::Reply { request, outcome } = effect else { continue };
            let reason = reason.clone();
            // What was granted was on its way to the disk and may have arrived.
            let rejection = match outcome {
                Ok(_) => Rejection::Uncertain { reason },
                Err(_) => Rejection::Unavailable { reason },
            };
            self.voice.reply(request, Err(rejection));
        }
        // Nothing will happen any more that these wait for.
        for request in self.core.waiting_requests() {
            let reason = reason.clone();
            self.voice.reply(request, Err(Rejection::Unavailable { reason }));
        }
        self.batch.clear();
        self.refusing = Some(reason);
    }

    /// The core may be ahead of the disk now, so the disk is asked.
    fn show_stored(&mut self, task: TaskId) -> Result<Reply, Rejection> {
        let row = self.store.row(task).map_err(|error| self.unreadable(&error))?;
        let row = row.ok_or(Rejection::NotFound { task })?;
        self.with_bodies(Ok(Reply::Task(Box::new(row.view(None, None)))))
    }

    /// The rows that the core wants to see with this command.
    fn load(&self, command: &Command) -> Result<Vec<TaskRow>, StoreError> {
        let mut rows: Vec<TaskRow> = Vec::new();
        let mut asked: Vec<TaskId> = Vec::new();
        loop {
            let mut wanted = self.core.wants(command, &rows);
            wanted.retain(|task| !asked.contains(task));
            if wanted.is_empty() {
                return Ok(rows);
            }
            for task in wanted {
                asked.push(task);
                rows.extend(match self.batch.row(task) {
                    Some(row) => row,
                    None => self.store.row(task)?,
                });
            }
        }
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        match self.batch.body(task, kind) {
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
