//! Looks after everything that is kept, beside the commit loop: backups, order in the tables, when
//! it is time for either, and whether there is room. What is long is done by one thread, one thing
//! after another; what is quick by another one, so that nobody waits for a backup to learn of the
//! others.

mod archive;
mod error;
mod folder_name;
mod restore;
mod room;
mod salvage;
mod schedule;
mod sums;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::archive::{Archive, GoOn};
pub use self::error::BackupError;
pub use self::restore::{Restored, belongings, restore};
use self::room::Room;
pub use self::room::{DiskSettings, free_bytes, make_room};
pub use self::salvage::{repair, salvage};
use self::schedule::Schedule;
use crate::board::DiskLevel;
use crate::commit::clock::unix_ms;
use crate::commit::turn::Voice;
use crate::core::command::{
    Command, CompactedTable, Compaction, Rejection, Reply, RequestId, Scarcity, StoreView,
    TableHealth, TableView, UpkeepCommand, UpkeepReply,
};
use crate::store::record::Table;
use crate::store::{StoreError, TableSize, Upkeep};

/// Why a broker in memory has no backups.
pub const NOTHING_ON_DISK: &str = "this broker keeps nothing on disk";

/// Requests that may wait for each of the two threads. 16: they are for operators.
const WAITING_MAX: usize = 16;

/// How often it is looked whether it is time for something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two reports of how far something is. 250 ms: what a person takes for moving.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Compactions that are remembered. 20, as in the hub.
const COMPACTIONS_MAX: usize = 20;

/// A smaller table is not worth a compaction. 1 MiB: it is read in a moment.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// Nor is one of which less is useless. A tenth, as in the hub.
const FRAGMENTATION_MIN: f64 = 0.1;

/// Records a second from which on the broker is busy, and a compaction nobody asked for is put off.
/// 1,000: a twentieth of what a small machine does.
const BUSY_RECORDS: f64 = 1_000.0;

/// What an operator may say about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker's own folder.
    pub data_dir: PathBuf,
    /// Where backups are.
    pub backups: PathBuf,
    /// How many of them are kept.
    pub keep: usize,
    /// Between two backups; zero: never by itself.
    pub backup_every: Duration,
    /// Time of day (UTC) of the compaction; `None`: never by itself.
    pub compact_at: Option<Duration>,
    /// How much room there should be.
    pub disk: DiskSettings,
}

/// Where backups are unless another folder is named.
#[must_use]
pub fn usual_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("backups")
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes, or records of [`Phase::Read`].
    pub done: u64,
    /// Of how many; 0 if that is not known.
    pub total: u64,
}

/// What is being done with a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Files are copied.
    Copy,
    /// Records are read back.
    Read,
    /// Digests are made.
    Digest,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Copy => "copy",
            Phase::Read => "read",
            Phase::Digest => "digest",
        }
    }
}

/// What whoever watches is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A backup is being made or verified.
    Backup(Progress),
    /// A backup was made.
    BackedUp(crate::core::command::BackupView),
    /// A backup was not made.
    BackupFailed(Arc<str>),
    /// Tables were compacted.
    Compacted(Compaction),
    /// Tables were not compacted.
    CompactionFailed(Arc<str>),
    /// Room became scarce, or is not any more.
    Room(Option<Scarcity>),
}

/// A handle to the threads; clones are the same threads.
#[derive(Clone)]
pub struct Handle {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    long: SyncSender<Job>,
    quick: SyncSender<Job>,
    is_over: Arc<AtomicBool>,
    seen: Arc<Seen>,
    /// Let go of when the threads are over: the store must be closed by then.
    plant: Mutex<Option<Arc<dyn Upkeep>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What was last seen, for whoever cannot wait.
#[derive(Debug, Default)]
struct Seen {
    /// When the newest backup was made; 0: there is none.
    backup_ms: AtomicU64,
    disk: Mutex<Option<DiskLevel>>,
}

#[derive(Debug)]
enum Job {
    Do(RequestId, UpkeepCommand),
    Stop,
}

impl Handle {
    /// Of a broker that keeps nothing on disk.
    #[must_use]
    pub fn idle() -> Handle {
        Handle { shared: None }
    }

    /// Start the threads. They end with [`Handle::stop`]. `records` counts what the broker writes;
    /// `command` hands something to the core, if it can be taken in now.
    ///
    /// # Panics
    /// If the operating system gives no thread.
    pub fn start(
        plant: Arc<dyn Upkeep>,
        settings: Settings,
        records: impl Fn() -> u64 + Send + 'static,
        command: impl Fn(Command) -> bool + Send + 'static,
        voice: impl Fn() -> Box<dyn Voice>,
    ) -> Handle {
        let is_over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(Mutex::new(VecDeque::new()));
        let keeper = || Keeper {
            plant: Arc::clone(&plant),
            archive: Archive::new(settings.backups.clone()),
            settings: settings.clone(),
            compactions: Arc::clone(&done),
            is_over: Arc::clone(&is_over),
            voice: voice(),
        };
        let (mut caretaker, mut clerk) = (keeper(), keeper());
        let (long, jobs) = sync_channel(WAITING_MAX);
        let seen = Arc::<Seen>::default();
        let theirs = Arc::clone(&seen);
        let work = move || {
            step_back();
            caretaker.go_round(&jobs, &records, &theirs);
        };
        let (quick, jobs) = sync_channel(WAITING_MAX);
        let theirs = Arc::clone(&seen);
        let look = move || clerk.stand_by(&jobs, &command, &theirs);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = vec![
            named("upkeep").spawn(work).expect("the operating system gives a thread at start"),
            named("upkeep-look").spawn(look).expect("the operating system gives a thread at start"),
        ];
        let (threads, plant) = (Mutex::new(threads), Mutex::new(Some(plant)));
        Handle { shared: Some(Arc::new(Shared { long, quick, is_over, seen, plant, threads })) }
    }

    /// Hand in a request. It is answered through the voice.
    ///
    /// # Errors
    /// [`Rejection::Busy`] or [`Rejection::Unavailable`]; it is gone then.
    pub fn send(&self, request: RequestId, command: UpkeepCommand) -> Result<(), Rejection> {
        let unavailable = |reason: &str| Rejection::Unavailable { reason: reason.into() };
        let shared = self.shared.as_ref().ok_or_else(|| unavailable(NOTHING_ON_DISK))?;
        let thread = match command {
            UpkeepCommand::ListBackups | UpkeepCommand::ShowStore => &shared.quick,
            UpkeepCommand::CreateBackup
            | UpkeepCommand::VerifyBackup { .. }
            | UpkeepCommand::Compact { .. } => &shared.long,
        };
        thread.try_send(Job::Do(request, command)).map_err(|error| match error {
            TrySendError::Full(_) => Rejection::Busy { requests: WAITING_MAX, bytes: 0 },
            TrySendError::Disconnected(_) => unavailable(STOPPING),
        })
    }

    /// How full the disk is; `None` without a disk.
    #[must_use]
    pub fn disk(&self) -> Option<DiskLevel> {
        *self.shared.as_ref()?.seen.disk.lock()
    }

    /// When the newest backup was made, if there is one: wall clock, in milliseconds since 1970.
    #[must_use]
    pub fn backup_ms(&self) -> Option<u64> {
        let backup_ms = self.shared.as_ref()?.seen.backup_ms.load(Ordering::Relaxed);
        (backup_ms > 0).then_some(backup_ms)
    }

    /// Give up what is under way, decline what waits, and return when the threads have let go of
    /// the store.
    pub fn stop(&self) {
        let Some(shared) = &self.shared else { return };
        let threads = std::mem::take(&mut *shared.threads.lock());
        if threads.is_empty() {
            return;
        }
        shared.is_over.store(true, Ordering::Relaxed);
        let plant = shared.plant.lock().take();
        if let Some(plant) = &plant {
            plant.cancel();
        }
        for thread in [&shared.long, &shared.quick] {
            // Fails if the thread is gone, which is what was wanted.
            let _ = thread.send(Job::Stop);
        }
        for thread in threads {
            // A panic of the thread has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Let this thread wait for all others where processors are short: it gets a tenth of what each of
/// them gets. Where that is not allowed, it is a thread like the others.
fn step_back() {
    const NICENESS: i32 = 10;
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

const STOPPING: &str = "the broker is stopping";

struct Keeper {
    plant: Arc<dyn Upkeep>,
    archive: Archive,
    settings: Settings,
    /// Newest first.
    compactions: Arc<Mutex<VecDeque<Compaction>>>,
    is_over: Arc<AtomicBool>,
    voice: Box<dyn Voice>,
}

impl Keeper {
    fn go_round(&mut self, jobs: &Receiver<Job>, records: &dyn Fn() -> u64, seen: &Seen) {
        let started_ms = unix_ms();
        let mut schedule = Schedule {
            backup_every: self.settings.backup_every,
            compact_at: self.settings.compact_at,
            started_ms,
            backup_ms: self.newest_ms(),
            failed_ms: None,
            compacted_ms: started_ms,
        };
        let mut counted = (records(), Instant::now());
        loop {
            seen.backup_ms.store(schedule.backup_ms.unwrap_or(0), Ordering::Relaxed);
            match jobs.recv_timeout(LOOK_EVERY) {
                Ok(Job::Do(request, command)) => {
                    self.answer(request, command);
                    schedule.backup_ms = self.newest_ms();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let now_ms = unix_ms();
            let written = records();
            let a_second = (written - counted.0) as f64 / counted.1.elapsed().as_secs_f64();
            counted = (written, Instant::now());
            if schedule.wants_backup(now_ms) {
                schedule.failed_ms = self.create_backup().is_err().then_some(now_ms);
                schedule.backup_ms = self.newest_ms();
            }
            if schedule.wants_compaction(now_ms, a_second > BUSY_RECORDS) {
                schedule.compacted_ms = now_ms;
                // Told and logged there.
                let _ = self.compact(&Table::ALL, FRAGMENTATION_MIN);
            }
        }
    }

    /// Answer what is quick, and look after the room meanwhile.
    fn stand_by(&mut self, jobs: &Receiver<Job>, tell_core: &dyn Fn(Command) -> bool, seen: &Seen) {
        let Settings { data_dir, disk, .. } = self.settings.clone();
        let mut room = Room::new(data_dir, disk);
        // What the core knows; nothing at first, so it is told at once if there is no room.
        let mut told = None;
        loop {
            let scarcity = room.look();
            *seen.disk.lock() = room.level();
            // How much is free changes all the time, and is worth a word only if it matters.
            if told.is_some() != scarcity.is_some() && tell_core(Command::Room(scarcity)) {
                told = scarcity;
                match scarcity {
                    Some(Scarcity { free_bytes, free_bytes_min }) => tracing::error!(
                        free_bytes,
                        free_bytes_min,
                        "the disk is almost full: new tasks and messages are refused until there is room"
                    ),
                    None => tracing::info!("there is room on the disk again"),
                }
                self.tell(&Notice::Room(scarcity));
            }
            match jobs.recv_timeout(LOOK_EVERY) {
                Ok(Job::Do(request, command)) => self.answer(request, command),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn newest_ms(&self) -> Option<u64> {
        self.archive.list().ok()?.first().map(|backup| backup.made_ms)
    }

    fn answer(&mut self, request: RequestId, command: UpkeepCommand) {
        let outcome = match self.is_over.load(Ordering::Relaxed) {
            true => Err(Rejection::Unavailable { reason: STOPPING.into() }),
            false => self.carry_out(command),
        };
        self.voice.reply(request, outcome.map(|reply| Reply::Upkeep(Box::new(reply))));
        self.voice.flush();
    }

    fn carry_out(&mut self, command: UpkeepCommand) -> Result<UpkeepReply, Rejection> {
        match command {
            UpkeepCommand::CreateBackup => self.create_backup().map_err(rejection),
            UpkeepCommand::ListBackups => {
                self.archive.list().map(UpkeepReply::Backups).map_err(rejection)
            }
            UpkeepCommand::VerifyBackup { name } => {
                let archive = self.archive.clone();
                let verified = archive.verify(&name, &mut self.teller());
                verified.map(UpkeepReply::Backup).map_err(rejection)
            }
            UpkeepCommand::Compact { table: None } => self.compact(&Table::ALL, FRAGMENTATION_MIN),
            UpkeepCommand::Compact { table: Some(name) } => {
                let table = table_named(name.as_str()).ok_or(Rejection::NoTable { table: name })?;
                self.compact(&[table], 0.0)
            }
            UpkeepCommand::ShowStore => Ok(UpkeepReply::Store(self.store())),
        }
    }

    fn create_backup(&mut self) -> Result<UpkeepReply, BackupError> {
        let started = Instant::now();
        let (archive, plant) = (self.archive.clone(), Arc::clone(&self.plant));
        let Settings { data_dir, keep, .. } = self.settings.clone();
        let made = archive.create(&*plant, &data_dir, keep, unix_ms(), &mut self.teller());
        match &made {
            Ok(view) => {
                let (took_ms, backup) = (started.elapsed().as_millis(), view.name.as_str());
                tracing::info!(
                    backup,
                    bytes = view.bytes,
                    records = view.records,
                    took_ms,
                    "a backup was made and verified"
                );
                self.tell(&Notice::BackedUp(view.clone()));
            }
            Err(error) => {
                tracing::error!(%error, "no backup was made");
                self.tell(&Notice::BackupFailed(error.to_string().into()));
            }
        }
        made.map(UpkeepReply::Backup)
    }

    /// Compact those of `tables` of which at least the part `from` is useless.
    fn compact(&mut self, tables: &[Table], from: f64) -> Result<UpkeepReply, Rejection> {
        let mut compacted = Vec::new();
        for &table in tables {
            let size = self.plant.size(table);
            let is_worth_it = size.bytes > 0 && size.fragmentation() >= from;
            let started = Instant::now();
            if is_worth_it && let Err(error) = self.plant.compact(table) {
                let reason: Arc<str> = format!("{}: {error}", table.name()).into();
                tracing::error!(%reason, "a table was not compacted");
                self.tell(&Notice::CompactionFailed(Arc::clone(&reason)));
                return Err(Rejection::Unavailable { reason });
            }
            let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let duration_ms = is_worth_it.then_some(took_ms);
            compacted.push(CompactedTable { table: table.name(), duration_ms });
            if self.is_over.load(Ordering::Relaxed) {
                return Err(Rejection::Unavailable { reason: STOPPING.into() });
            }
        }
        let done = Compaction { at_ms: unix_ms(), tables: compacted };
        let mut compactions = self.compactions.lock();
        compactions.truncate(COMPACTIONS_MAX - 1);
        compactions.push_front(done.clone());
        drop(compactions);
        self.tell(&Notice::Compacted(done.clone()));
        Ok(UpkeepReply::Compacted(done))
    }

    fn store(&self) -> StoreView {
        let health = |table: Table| {
            let size = self.plant.size(table);
            let fragmentation = size.fragmentation();
            let TableSize { records, bytes, .. } = size;
            TableHealth { size: TableView { table: table.name(), records, bytes }, fragmentation }
        };
        StoreView {
            tables: Table::ALL.map(health).into(),
            backup_ms: self.newest_ms(),
            compactions: self.compactions.lock().iter().cloned().collect(),
        }
    }

    fn tell(&mut self, notice: &Notice) {
        self.voice.upkept(notice);
        self.voice.flush();
    }

    /// Tells how far something is now and then, and gives it up once the broker stops.
    fn teller(&mut self) -> impl FnMut(Progress) -> bool + Send + '_ {
        let mut told: Option<(Phase, Instant)> = None;
        move |progress| {
            let is_news = told
                .is_none_or(|(phase, at)| phase != progress.phase || at.elapsed() >= TELL_EVERY);
            if is_news {
                told = Some((progress.phase, Instant::now()));
                self.tell(&Notice::Backup(progress));
            }
            !self.is_over.load(Ordering::Relaxed)
        }
    }
}

impl TableSize {
    /// Which part of the files is of no use, from 0 to 1. Small files are not looked at: there is
    /// nothing to gain.
    #[must_use]
    pub fn fragmentation(&self) -> f64 {
        match self.bytes {
            ..COMPACT_BYTES_MIN => 0.0,
            bytes => 1.0 - self.live_bytes.min(bytes) as f64 / bytes as f64,
        }
    }
}

/// The table of that name, be it the hub's name: what is sent to channels, and what belongs to
/// threads, are messages here.
#[must_use]
pub fn table_named(name: &str) -> Option<Table> {
    match name {
        "channel_history" | "thread_messages" | "thread_replies" => Some(Table::Message),
        name => Table::named(name),
    }
}

fn rejection(error: BackupError) -> Rejection {
    match error {
        BackupError::None { name, .. } => Rejection::NoBackup { name },
        BackupError::Store(error @ StoreError::Closed { .. }) => {
            Rejection::Unavailable { reason: error.to_string().into() }
        }
        BackupError::Stopped => Rejection::Unavailable { reason: STOPPING.into() },
        error => Rejection::BackupFailed { reason: error.to_string().into() },
    }
}
