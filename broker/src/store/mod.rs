//! The seam to the disk: what the commit loop may ask of a store, and nothing more.
//!
//! A batch is *appended*, then *synced*. Until the sync has returned, nobody may rely on it and
//! no read shows it; a crash keeps all of it or nothing. The commit loop is the only writer.
//!
//! After a failed append or sync nobody knows what the disk really holds, and asking it a second
//! time proves nothing (a kernel may drop the dirty pages and call the next sync a success). So
//! one failure closes the store to writing for good; reads go on. The way back is to open it anew.
//!
//! `record.rs` knows the bytes of keys and values, `row/` the inside of a row. `rocks.rs` is the
//! store of a real broker, `memory.rs` the one of the tests, which can forget and fail on demand.
//! `log.rs` is what a batch is synced to before RocksDB gets it. At a start, `recovery.rs` looks at it
//! and at the note of what was synced (`watermark.rs`); `quarantine.rs` is where damaged rows end up.

pub(crate) mod folder;
mod log;
pub mod memory;
mod quarantine;
pub mod record;
mod recovery;
pub mod rocks;
mod row;
mod watermark;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::command::{Message, MessageId, TableView, TaskId};
use crate::core::record::{BodyKind, Record, Shelf, TaskRow};
use record::Table;

/// Reads what is synced, beside the commit loop.
pub trait Reader: Send + Sync {
    /// Hand the rows of one shelf behind `after` to `each`, in the order of their ids, until it
    /// wants no more. All of them are as they were at one moment; damaged ones are left out, which
    /// the start has reported.
    ///
    /// # Errors
    /// As for [`Store::row`].
    fn rows(
        &self,
        shelf: Shelf,
        after: Option<TaskId>,
        each: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError>;

    /// A synced body of a task.
    ///
    /// # Errors
    /// As for [`Store::row`].
    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError>;
}

/// Looks after a whole store, beside the commit loop.
pub trait Upkeep: Send + Sync {
    /// Put a copy of everything that is synced into `folder`, which must not exist yet. Writing
    /// goes on meanwhile. What the file system lets two folders share takes no room.
    ///
    /// # Errors
    /// [`StoreError::Write`]; what was copied so far is left in `folder`.
    fn checkpoint(&self, folder: &Path) -> Result<(), StoreError>;

    /// Rewrite a table without what was deleted from it.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the table is as it was.
    fn compact(&self, table: Table) -> Result<(), StoreError>;

    /// Give up a [`Upkeep::compact`] under way, for the broker is about to end.
    fn cancel(&self);

    /// How large a table is.
    fn size(&self, table: Table) -> TableSize;
}

/// How large a table is, as far as it is known without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Records, more or less.
    pub records: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes that they would have without what was deleted, more or less.
    pub live_bytes: u64,
}

/// Numbers below which all may have been given out. They never fall back: whoever remembers a number
/// must never meet something else under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of tasks.
    pub task: u64,
    /// Of starts.
    pub epoch: u64,
    /// Of messages.
    pub message: u64,
}

/// What counters are raised by if nobody can tell how far they were. 2^32: more than any broker gives
/// out between two backups, and JSON still holds the sum.
const NUMBERS_SKIPPED: u64 = 1 << 32;

impl Counters {
    /// Beyond whatever may have been given out since.
    #[must_use]
    pub fn far_beyond(self) -> Counters {
        let far = |counter: u64| counter.saturating_add(NUMBERS_SKIPPED);
        Counters { task: far(self.task), epoch: far(self.epoch), message: far(self.message) }
    }
}

/// What could still be read of a damaged store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// The tables with the records that were saved, and what was not.
    pub audit: Audit,
    /// What is wrong with the log, if anything that was acknowledged may be lost with it.
    pub log: Option<LogLoss>,
    /// The index of the store was lost, and made anew of what was found: what was deleted last may
    /// be there again.
    pub is_index_lost: bool,
}

impl Salvaged {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.audit.damaged == 0 && self.log.is_none() && !self.is_index_lost
    }
}

/// What of a log cannot be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLoss {
    /// Why the broker would not start, if that is the log.
    pub reason: Option<Arc<str>>,
    /// The places that were left out, the oldest first; none if the log only ends too early.
    pub gaps: Vec<LogGap>,
}

/// A place in a log that holds no whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The file, in the folder of the store.
    pub log: String,
    /// Where it begins.
    pub at: u64,
    /// How many batches should stand there.
    pub batches: u64,
    /// What does not fit there.
    pub reason: &'static str,
    /// A later batch follows, so what stood here was acknowledged.
    pub is_followed: bool,
}

/// Keeps records. See the module for what "kept" means.
pub trait Store: Send {
    /// Prepare `records` to become durable together, after everything appended before.
    ///
    /// # Errors
    /// Any error closes the store to writing.
    fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), StoreError>;

    /// Return when everything appended so far survives a power cut.
    ///
    /// # Errors
    /// Any error closes the store to writing; what was appended may or may not have survived.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The synced row of a task, whatever its state.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the bytes are not what was written, [`StoreError::Read`] if
    /// they cannot be had.
    fn row(&self, task: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// A synced body of a task.
    ///
    /// # Errors
    /// As for [`Store::row`].
    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError>;

    /// A synced message.
    ///
    /// # Errors
    /// As for [`Store::row`].
    fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Every synced record that a core is restored from: counters, settings of queues, keys,
    /// schedules, and the rows of tasks that are open or dead, those in the order of their ids.
    /// Called once, at start. A damaged row is left out and counted ([`Store::damaged_rows`]): the
    /// other tasks can be worked on.
    ///
    /// # Errors
    /// As for [`Store::row`], for everything that a start cannot do without.
    fn scan(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError>;

    /// Tasks whose time of expiry is not later than `until_ms`, at most `limit`, soonest first.
    ///
    /// # Errors
    /// As for [`Store::row`].
    fn expired(&mut self, until_ms: u64, limit: usize) -> Result<Expired, StoreError>;

    /// Somebody who reads beside the commit loop.
    fn reader(&self) -> Arc<dyn Reader>;

    /// Somebody who looks after all of it beside the commit loop; `None` if nothing is on disk.
    fn upkeep(&self) -> Option<Arc<dyn Upkeep>> {
        None
    }

    /// How many rows of open tasks the scan left out because they are damaged.
    fn damaged_rows(&self) -> u64;

    /// Called when no sync has followed the last one for a while.
    fn rest(&mut self) {}

    /// Called once, after the last sync of a clean stop.
    fn close(&mut self) {}
}

/// What a store holds that was read from its first record to its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Number of its last write.
    pub sequence: u64,
    /// Its tables, with all records, damaged ones among them.
    pub tables: Vec<TableView>,
    /// How many are damaged.
    pub damaged: u64,
    /// What is damaged, at most [`DAMAGES_MAX`] of it.
    pub damages: Vec<Damage>,
}

/// Damages that are told one by one. 100: more than anybody reads.
pub const DAMAGES_MAX: usize = 100;

/// Something that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The column family.
    pub table: &'static str,
    /// The key in hexadecimal digits; `None`: nothing behind here can be read in this table.
    pub key: Option<String>,
    /// What does not fit.
    pub reason: Arc<str>,
}

impl Audit {
    fn note(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }
}

/// Tasks that are to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub tasks: Vec<TaskId>,
    /// Wall clock at which the next one has to be, if there is one.
    pub next_ms: Option<u64>,
}

impl Expired {
    /// Add the next time of expiry. Gives whether more can be added.
    fn add(&mut self, (wall_ms, task): (u64, TaskId), until_ms: u64, limit: usize) -> bool {
        if wall_ms <= until_ms && self.tasks.len() < limit {
            self.tasks.push(task);
            return true;
        }
        self.next_ms = Some(wall_ms);
        false
    }
}

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Two brokers, one folder.
    #[error("another broker uses the data folder {folder}; stop it or choose another folder")]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The store does not open.
    #[error("cannot open the store in {folder}: {reason}")]
    Open {
        /// The folder.
        folder: PathBuf,
        /// What the layer below says.
        reason: Arc<str>,
    },
    /// What was once synced is not there any more.
    #[error(
        "the store in {folder} ends at write {found}, but write {noted} was already on disk: \
         its log was deleted, shortened, damaged or replaced; restore a backup (`agentcom \
         backup restore`), or delete its file `synced` to accept the loss"
    )]
    Behind {
        /// The folder.
        folder: PathBuf,
        /// Number of the last write found.
        found: u64,
        /// Number of a write known to have been synced.
        noted: u64,
    },
    /// A log does not make sense at a place that was once synced.
    #[error(
        "the log {log} is damaged at byte {at} ({reason}), in front of writes that were on disk \
         already; restore a backup (`agentcom backup restore`), or delete the file `synced` beside \
         it to accept the loss of everything from there on{}", how_many(*batches)
    )]
    LogDamaged {
        /// The file.
        log: PathBuf,
        /// Where the batch begins that is not whole.
        at: u64,
        /// What does not fit.
        reason: &'static str,
        /// How many batches that is at least, if it is known.
        batches: Option<u64>,
    },
    /// Something is damaged that cannot be left out.
    #[error(
        "the store in {folder} is damaged: {reason}; restore a backup (`agentcom backup \
         restore`), or move the folder away to start with an empty one"
    )]
    Corrupt {
        /// The folder.
        folder: PathBuf,
        /// What does not fit.
        reason: Arc<str>,
    },
    /// A part of a table that is needed at start cannot be read.
    #[error(
        "{table} cannot be read behind key {key}: {reason}; restore a backup (`agentcom \
         backup restore`), or move the store's folder away to start with an empty one"
    )]
    TableDamaged {
        /// The column family.
        table: &'static str,
        /// The last key that could be read, in hexadecimal digits.
        key: String,
        /// What RocksDB says; it names the file.
        reason: Arc<str>,
    },
    /// More rows are damaged than a bad place on the disk explains.
    #[error(
        "more than {rows_max} rows in {table} are damaged; restore a backup (`agentcom backup restore`)"
    )]
    DamageSpreads {
        /// The column family.
        table: &'static str,
        /// As many would have been left out.
        rows_max: u64,
    },
    /// Nobody knows which task ids were given out.
    #[error(
        "the store in {folder} holds tasks but not the bound of their ids ({reason}), so an id \
         could be given out twice; restore a backup (`agentcom backup restore`), or delete its file `synced` \
         to go on behind the highest id that is found"
    )]
    IdsUnknown {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with the bound.
        reason: Arc<str>,
    },
    /// Writing failed just now.
    #[error("cannot write to the store: {reason}")]
    Write {
        /// What the layer below says.
        reason: Arc<str>,
    },
    /// Writing failed earlier and is refused since.
    #[error("the store refuses writes since an earlier failure: {reason}")]
    Closed {
        /// The first failure.
        reason: Arc<str>,
    },
    /// Reading failed.
    #[error("cannot read from the store: {reason}")]
    Read {
        /// What the layer below says.
        reason: Arc<str>,
    },
    /// The bytes read are not the bytes written.
    #[error("damaged value in {table} under key {key}: {reason}")]
    Damaged {
        /// Its column family.
        table: &'static str,
        /// Its key in hexadecimal digits.
        key: String,
        /// What does not fit.
        reason: Arc<str>,
    },
    /// Written by a younger broker.
    #[error("{table} holds format {found}, this broker reads up to {known}; use a newer broker")]
    NewerFormat {
        /// The column family.
        table: &'static str,
        /// The version byte found.
        found: u8,
        /// The newest version this broker reads.
        known: u8,
    },
}

fn how_many(batches: Option<u64>) -> String {
    batches.map_or_else(String::new, |batches| format!(", {batches} batches"))
}

/// Lets writes pass until one fails, and none after that.
#[derive(Debug, Default)]
struct WriteGate {
    failure: Option<Arc<str>>,
}

impl WriteGate {
    fn pass<T>(&mut self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(reason) = &self.failure {
            return Err(StoreError::Closed { reason: reason.clone() });
        }
        write().inspect_err(|error| self.failure = Some(error.to_string().into()))
    }
}
