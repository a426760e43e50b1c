//! Where the broker is watched from: the [`Board`], and the same events as they happen.
//!
//! The commit thread tells the lookout what it publishes; HTTP reads the board and follows the
//! events. Whoever follows too slowly misses some and is told so: nothing waits for a watcher.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::board::alerts::Change;
use crate::board::rules::{Rule, Thresholds};
use crate::board::{Board, Digest, Levels, Stepped};
use crate::commit::clock::unix_ms;
use crate::core::command::{Message, Name, PresenceEvent, TaskEvent, TaskId};
use crate::tally::Tally;
use crate::telemetry;
use crate::upkeep::Notice;

/// Sights that wait for the slowest watcher. 4,096: what 50,000 tasks a second do in 20 ms. A
/// watcher that misses some asks for a new picture.
const SIGHTS_MAX: usize = 4_096;

/// Those that are not of tasks. 1,024: they come with people and connections, not with work.
const RARE_SIGHTS_MAX: usize = 1_024;

/// Steps and headers that wait for a tracing system. 16,384: a quarter of a second of 20,000 tasks a
/// second; what is more is missing in traces.
const TRAILS_MAX: usize = 16_384;

/// How old a digest may be. One second: figures of an hour do not change faster, and however many
/// ask, the commit thread waits for one of them a second.
const DIGEST_MS: u64 = 1_000;

/// Something that happened, for whoever watches.
#[derive(Clone, Debug)]
pub enum Sight {
    /// To a task.
    Task(Stepped, Option<Arc<[u8]>>),
    /// To who is here.
    Presence(PresenceEvent),
    /// To an alert.
    Alert(Change),
    /// Somebody knows of an alert.
    Acknowledged(Rule),
    /// To what is kept.
    Upkeep(Notice),
}

/// What is needed to tell a tracing system of tasks.
#[derive(Clone, Debug)]
pub enum Trail {
    /// A task that is new, or was edited, has these headers.
    Headers(TaskId, Arc<[u8]>),
    /// A task of this queue, submitted at that time of the wall clock, went a step.
    Step(Stepped, Name, u64),
}

/// The board, and who watches.
#[derive(Debug)]
pub struct Lookout {
    board: Mutex<Board>,
    sights: broadcast::Sender<Sight>,
    rare_sights: broadcast::Sender<Sight>,
    trails: broadcast::Sender<Trail>,
    tally: Tally,
    newest: Mutex<Option<Arc<Digest>>>,
}

impl Default for Lookout {
    fn default() -> Self {
        let (sights, _) = broadcast::channel(SIGHTS_MAX);
        let (rare_sights, _) = broadcast::channel(RARE_SIGHTS_MAX);
        let board = Mutex::new(Board::new(unix_ms()));
        let (tally, newest) = (Tally::default(), Mutex::default());
        let (trails, _) = broadcast::channel(TRAILS_MAX);
        Lookout { board, sights, rare_sights, trails, tally, newest }
    }
}

impl Lookout {
    /// Look at the board. The commit thread waits meanwhile: copy figures, and leave.
    pub fn look<R>(&self, look: impl FnOnce(&mut Board) -> R) -> R {
        look(&mut self.board.lock())
    }

    /// The whole board, not older than [`DIGEST_MS`].
    #[must_use]
    pub fn digest(&self) -> Arc<Digest> {
        let mut newest = self.newest.lock();
        let now_ms = unix_ms();
        if let Some(digest) = &*newest
            && now_ms.abs_diff(digest.at_ms) < DIGEST_MS
        {
            return Arc::clone(digest);
        }
        let digest = Arc::new(self.look(|board| board.digest(now_ms)));
        *newest = Some(Arc::clone(&digest));
        digest
    }

    /// The whole board as it is now, for whoever sees to it that this is not asked often.
    #[must_use]
    pub fn new_digest(&self) -> Arc<Digest> {
        let digest = Arc::new(self.look(|board| board.digest(unix_ms())));
        *self.newest.lock() = Some(Arc::clone(&digest));
        digest
    }

    /// Counts since the start.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Follow what happens from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Sight> {
        self.sights.subscribe()
    }

    /// Follow all but what happens to tasks. Whoever is there for ever follows these: a task costs
    /// nothing as long as nobody watches.
    #[must_use]
    pub fn follow_rare(&self) -> broadcast::Receiver<Sight> {
        self.rare_sights.subscribe()
    }

    /// Follow tasks and their headers from now on.
    #[must_use]
    pub fn follow_trails(&self) -> broadcast::Receiver<Trail> {
        self.trails.subscribe()
    }

    /// Whether anybody does.
    pub(crate) fn is_trailed(&self) -> bool {
        self.trails.receiver_count() > 0
    }

    pub(crate) fn note_headers(&self, task: TaskId, headers: &Arc<[u8]>) {
        let _ = self.trails.send(Trail::Headers(task, Arc::clone(headers)));
    }

    /// Tell whoever watches.
    fn show(&self, sight: Sight) {
        // Each fails if nobody watches.
        if !matches!(sight, Sight::Task(..)) {
            let _ = self.rare_sights.send(sight.clone());
        }
        let _ = self.sights.send(sight);
    }

    /// See whether anything is wrong now. Gives what changed.
    pub fn check(&self, levels: Levels, thresholds: &Thresholds) -> Vec<Change> {
        let changes = self.look(|board| board.check(unix_ms(), levels, thresholds));
        changes.iter().cloned().for_each(|change| self.show(Sight::Alert(change)));
        changes
    }

    /// Somebody knows of an alert. Gives whether there is such a one.
    pub fn acknowledge(&self, rule: Rule) -> bool {
        let is_there = self.look(|board| board.alerts().acknowledge(rule));
        if is_there {
            self.show(Sight::Acknowledged(rule));
        }
        is_there
    }

    pub(crate) fn note_task(&self, event: TaskEvent) {
        let stepped = self.board.lock().note_task(&event);
        let Some(stepped) = stepped else { return };
        self.tally.note(&event, &stepped);
        telemetry::task(&event, &stepped);
        if self.is_trailed() {
            let queue = event.queue.clone();
            let _ = self.trails.send(Trail::Step(stepped.clone(), queue, event.submitted_ms));
        }
        if self.sights.receiver_count() > 0 {
            self.show(Sight::Task(stepped, event.progress.map(|progress| progress.data)));
        }
    }

    pub(crate) fn note_presence(&self, event: PresenceEvent) {
        self.board.lock().note_presence(&event, unix_ms());
        telemetry::presence(&event);
        self.show(Sight::Presence(event));
    }

    /// How far something is, nobody here wants to know.
    pub(crate) fn note_upkeep(&self, notice: &Notice) {
        telemetry::upkeep(notice);
        if !matches!(notice, Notice::Backup(_)) {
            self.show(Sight::Upkeep(notice.clone()));
        }
    }

    pub(crate) fn note_message(&self, message: &Message, receivers: &[Name]) {
        self.board.lock().note_message(message, receivers);
        telemetry::message(message, receivers.len());
    }
}
