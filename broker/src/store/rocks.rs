//! RocksDB behind the seam. Nothing else names it (`rocks/` has what is done with all of it).
//!
//! One database, one column family per [`Table`], one writer. A batch that was appended is kept
//! here until it is synced: it goes into the log (`log.rs`) and on the disk, and only *then* to
//! RocksDB, so no read ever sees what a power cut could take back.
//!
//! RocksDB keeps what it is given in memory until there is enough for tables. It writes those of all
//! column families together, and with them the number of the last batch that is in them
//! ([`APPLIED`]). A start puts the batches of the log behind that number into tables, and empties the
//! log.

mod graft;
mod salvage;
mod upkeep;

use std::cell::Cell;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, Direction, ErrorKind, FlushOptions, IteratorMode,
    LogLevel, Options, WriteBatch, WriteOptions,
};

use super::folder::{self, FolderLock};
use super::log::format::{self, Salt};
use super::log::{Log, LogFiles};
use super::quarantine::Quarantine;
use super::record::{self, Table, Write};
use super::recovery::{self, Loss, Recovery};
use super::watermark::{Note, Watermark};
use super::{Expired, Reader, Store, StoreError, Upkeep, WriteGate};
use crate::core::command::{Message, MessageId, TaskId};
use crate::core::record::{BodyKind, Record, Shelf, TaskRow};

pub use self::graft::{counters, graft, raise_counters, raise_generations};
pub use self::salvage::salvage;
pub use self::upkeep::{audit, audit_closed, note_synced};

/// Cache for blocks of all tables. 32 MiB: reads are of tasks that are over, and rare.
const BLOCK_CACHE_BYTES: usize = 32 << 20;

/// Memtable of one table. 16 MiB: what two files of the log hold is the most that is in all of them.
const MEMTABLE_BYTES: usize = 16 << 20;

/// Key, in the column family that RocksDB has by itself, of the number of the last batch that the
/// tables have. 8 bytes, little-endian.
const APPLIED: &[u8] = b"applied";

/// How hard LZ4 tries, for what is not in the lowest level yet and may be gone before it gets there.
/// -16: in `make bench`, a submit costs 5 % less than with -1 (submit-256), and a waiting task takes 8
/// bytes more (backlog).
const COMPRESSION_FAST: c_int = -16;

/// The same for what has come to stay.
const COMPRESSION_THOROUGH: c_int = -1;

/// Something that LZ4 does not look at; RocksDB's own default.
const COMPRESSION_WINDOW_BITS: c_int = -14;

/// Open table files. A fixed number, so that connections cannot use up what the store needs.
const OPEN_FILES_MAX: i32 = 256;

/// Cache for reading all of a store once. 1 MiB: nothing is read twice.
const AUDIT_CACHE_BYTES: usize = 1 << 20;

/// Bytes that a copy of records writes at once, and for which a batch has room from the beginning at
/// most. 1 MiB: few writes, and next to no memory.
const BATCH_BYTES: usize = 1 << 20;

/// A store in a folder.
pub struct RocksStore {
    // Closed before the lock on its folder is let go of: fields are dropped in this order.
    db: Arc<DB>,
    _lock: FolderLock,
    folder: PathBuf,
    log: Log,
    /// Number of the last batch.
    number: u64,
    /// What the log is about to hold, as RocksDB takes it.
    batch: WriteBatch,
    /// For values that are being put together.
    value: Vec<u8>,
    /// Writes into tables what stands in the file of the log that was filled last.
    flush: Option<JoinHandle<Result<(), StoreError>>>,
    gate: WriteGate,
    watermark: Watermark,
    /// No time of expiry is before this key. What is deleted stands there as tombstones, which a
    /// search from the very start would wade through.
    expiry_from: Vec<u8>,
    /// What the note said before this start.
    note: Note,
    damaged_rows: Cell<u64>,
}

impl RocksStore {
    /// Open the store in `folder`, which is created if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::LogDamaged`],
    /// [`StoreError::Behind`] and [`StoreError::Corrupt`] if something is not there any more that
    /// was synced, [`StoreError::Open`] for everything else that RocksDB or the system minds.
    pub fn open(folder: impl AsRef<Path>) -> Result<RocksStore, StoreError> {
        let folder = folder.as_ref().to_owned();
        let lock = folder::enter(&folder)?;
        let watermark = Watermark::beside(&folder);
        let note = watermark.noted();
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let tables = Table::ALL
            .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, &cache)));
        let db = DB::open_cf_descriptors(&database_options(), &folder, tables)
            .map_err(|error| open_error(&folder, &error))?;
        let files = LogFiles::read(&folder)?;
        let applied = applied(&db).map_err(|error| open_error(&folder, &error))?;
        let Recovery { batches, number, loss } = recovery::examine(&folder, &files, applied, note)?;
        // Before the log is begun anew, everything that is in it has to be in tables.
        let known = known_applied(&db).map_err(|error| open_error(&folder, &error))?;
        if known != Some(number) {
            apply(&db, &batches, number)?;
            write_unlogged(&db, WriteBatch::default(), number)?;
            write_tables(&db)?;
        }
        if note == Note::Missing {
            // The first write makes the note, so nothing was ever acknowledged from this folder, or
            // somebody has put it together anew.
            folder::sync_with_parents(&folder)?;
        }
        let log = Log::begin(&folder, Salt(rand::random()));
        let log = log.map_err(|error| StoreError::Open {
            folder: folder.clone(),
            reason: format!("its log cannot be begun: {error}").into(),
        })?;
        let store = RocksStore {
            db: Arc::new(db),
            _lock: lock,
            folder,
            log,
            number,
            batch: WriteBatch::default(),
            value: Vec::new(),
            flush: None,
            gate: WriteGate::default(),
            watermark,
            expiry_from: Vec::new(),
            note,
            damaged_rows: Cell::new(0),
        };
        store.tell_losses(loss)?;
        Ok(store)
    }

    /// Say in the log what this start has dropped, and what it could not check.
    fn tell_losses(&self, loss: Option<Loss>) -> Result<(), StoreError> {
        if let Some(Loss { log, at, reason, batches }) = loss {
            let log = log.display();
            if self.note == Note::Missing {
                tracing::warn!(%log, at, reason, batches, "the end of the log was dropped; the note of the last synced write was deleted, which accepts that acknowledged writes may be lost with it");
            } else {
                tracing::warn!(%log, at, reason, "a batch that was never acknowledged was torn, as by a power cut, and dropped");
            }
        }
        let path = self.folder.join("synced");
        match self.note {
            Note::Missing if self.holds_tasks()? => {
                tracing::warn!(path = %path.display(), "the note of the last synced write is missing, so nobody can tell whether acknowledged writes are missing, too");
            }
            Note::Damaged => {
                tracing::warn!(path = %path.display(), "the note of the last synced write is damaged, so nobody can tell whether acknowledged writes are missing at the end of the log");
            }
            Note::Missing | Note::Synced(_) => {}
        }
        Ok(())
    }

    fn holds_tasks(&self) -> Result<bool, StoreError> {
        Ok(self.highest_task()?.is_some())
    }

    /// The highest id of all tasks, over or not.
    fn highest_task(&self) -> Result<Option<TaskId>, StoreError> {
        let mut highest = None;
        for table in Table::WITH_TASKS {
            let last = self.db.iterator_cf(family(&self.db, table), IteratorMode::End).next();
            let last = last.transpose().map_err(|error| open_error(&self.folder, &error))?;
            highest = highest.max(last.and_then(|(key, _)| record::task_of_key(&key)));
        }
        Ok(highest)
    }

    /// Ids below it may have been given out; `None` in a new store.
    fn task_id_bound(&self) -> Result<Option<TaskId>, StoreError> {
        let key = record::name_key(record::TASK_ID_BOUND);
        let value = self.db.get_cf(family(&self.db, Table::Meta), &key);
        let bound = match value.map_err(|error| open_error(&self.folder, &error))? {
            Some(value) => record::decode(Table::Meta, &key, &value).map(|record| match record {
                Record::TaskIdBound(bound) => Some(bound),
                _ => None,
            }),
            None => Ok(None),
        };
        let reason = match bound {
            Ok(Some(bound)) => return Ok(Some(bound)),
            Ok(None) => "it is missing".into(),
            Err(StoreError::Damaged { reason, .. }) => reason,
            Err(error) => return Err(error),
        };
        match (self.highest_task()?, self.note) {
            (None, _) => Ok(None),
            (Some(highest), Note::Missing) => {
                tracing::warn!(highest = highest.0, %reason, "the bound of task ids is lost; ids go on behind the highest one that was found, and if tasks are lost, theirs may be given out again");
                Ok(Some(TaskId(highest.0.saturating_add(1))))
            }
            (Some(_), _) => Err(StoreError::IdsUnknown { folder: self.folder.clone(), reason }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(family(&self.db, table), key).map_err(|error| read_error(&error))
    }

    fn each_value(
        &self,
        table: Table,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut last_key = String::from("(none)");
        for entry in self.db.iterator_cf(family(&self.db, table), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| StoreError::TableDamaged {
                table: table.name(),
                key: last_key.clone(),
                reason: error.to_string().into(),
            })?;
            each(&key, &value)?;
            last_key = record::hex(&key);
        }
        Ok(())
    }
}

impl Store for RocksStore {
    fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), StoreError> {
        let RocksStore { db, log, batch, value, gate, expiry_from, .. } = self;
        let mut families = Families::of(db);
        gate.pass(|| {
            records.into_iter().try_for_each(|record| {
                record::encode(record, value, |write| {
                    if let Write::Put(Table::TaskExpiry, key, _) = write
                        && *key < **expiry_from
                    {
                        key.clone_into(expiry_from);
                    }
                    log.put(write);
                    families.put(batch, write);
                })
            })
        })
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let RocksStore { db, log, number, batch, flush, gate, watermark, .. } = self;
        gate.pass(|| {
            watermark.note_first(*number);
            if log.is_full() {
                // What stands in the other file has to be in tables before it is written over.
                wait_for(flush)?;
                log.go_on_in_the_other().map_err(|error| write_error(&error))?;
                *flush = Some(flush_beside(db)?);
            }
            let next = *number + 1;
            log.sync(next).map_err(|error| write_error(&error))?;
            let empty = WriteBatch::with_capacity_bytes(batch.size_in_bytes().min(BATCH_BYTES));
            write_unlogged(db, std::mem::replace(batch, empty), next)?;
            *number = next;
            watermark.note_lazily(next);
            Ok(())
        })
    }

    fn rest(&mut self) {
        self.watermark.note(self.number);
    }

    fn row(&self, task: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let key = record::row_key(task);
        for table in Table::OF_ROWS {
            if let Some(value) = self.value(table, &key)? {
                return record::decode_row(table, &key, &value).map(Some);
            }
        }
        Ok(None)
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        let key = record::body_key(task, kind);
        let value = self.value(Table::TaskBody, &key)?;
        value.map(|value| record::decode_body(&key, &value)).transpose()
    }

    fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let key = record::message_key(id);
        let value = self.value(Table::Message, &key)?;
        value.map(|value| record::decode_message(&key, &value)).transpose()
    }

    fn scan(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let mut quarantine = Quarantine::beside(&self.folder);
        if let Some(bound) = self.task_id_bound()? {
            each(Record::TaskIdBound(bound));
        }
        let bound = record::name_key(record::TASK_ID_BOUND);
        for table in Table::OF_START {
            self.each_value(table, |key, value| {
                if key == bound {
                    return Ok(());
                }
                match record::decode(table, key, value) {
                    Ok(record) => each(record),
                    Err(damage) if table.has_rows() => {
                        quarantine.take(table, key, value, damage)?;
                    }
                    Err(damage) => return Err(damage),
                }
                Ok(())
            })?;
        }
        self.damaged_rows.set(quarantine.rows());
        Ok(())
    }

    fn damaged_rows(&self) -> u64 {
        self.damaged_rows.get()
    }

    fn expired(&mut self, until_ms: u64, limit: usize) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        let mut first = None;
        let from = IteratorMode::From(&self.expiry_from, Direction::Forward);
        for entry in self.db.iterator_cf(family(&self.db, Table::TaskExpiry), from) {
            let (key, _) = entry.map_err(|error| read_error(&error))?;
            let is_added = expired.add(record::decode_expiry(&key)?, until_ms, limit);
            first.get_or_insert(key);
            if !is_added {
                break;
            }
        }
        if let Some(first) = first {
            self.expiry_from = first.into();
        }
        Ok(expired)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(RocksReader { db: Arc::clone(&self.db) })
    }

    fn upkeep(&self) -> Option<Arc<dyn Upkeep>> {
        Some(Arc::new(self::upkeep::RocksUpkeep { db: Arc::clone(&self.db) }))
    }

    fn close(&mut self) {
        self.watermark.note(self.number);
    }
}

impl Drop for RocksStore {
    /// The folder may be let go of only when nobody writes in it any more.
    fn drop(&mut self) {
        if let Err(error) = wait_for(&mut self.flush) {
            tracing::warn!(%error, "tables could not be written; the log has what would be in them");
        }
    }
}

/// The number of the last batch that the tables have, if it is there.
fn known_applied(db: &DB) -> Result<Option<u64>, rocksdb::Error> {
    let number = db.get(APPLIED)?;
    Ok(number.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))))
}

/// The number of the last batch that the tables have.
fn applied(db: &DB) -> Result<u64, rocksdb::Error> {
    // Before the broker had a log of its own, RocksDB's numbers were those of the note.
    Ok(known_applied(db)?.unwrap_or_else(|| db.latest_sequence_number()))
}

/// Give RocksDB the batches of a log, which end with this number.
fn apply(db: &DB, batches: &[&[u8]], number: u64) -> Result<(), StoreError> {
    let first = number - batches.len() as u64 + 1;
    let mut families = Families::of(db);
    for (number, content) in (first..).zip(batches) {
        let mut batch = WriteBatch::default();
        for write in format::writes(content) {
            let Some(write) = write else {
                let reason = format!("batch {number} of the log holds a write that makes no sense");
                return Err(StoreError::Read { reason: reason.into() });
            };
            families.put(&mut batch, write);
        }
        write_unlogged(db, batch, number)?;
    }
    Ok(())
}

/// The column families that a batch is about, each looked for by its name once.
struct Families<'a> {
    db: &'a DB,
    found: [Option<&'a ColumnFamily>; Table::ALL.len()],
}

impl<'a> Families<'a> {
    fn of(db: &'a DB) -> Families<'a> {
        Families { db, found: [None; _] }
    }

    fn put(&mut self, batch: &mut WriteBatch, write: Write<'_>) {
        match write {
            Write::Put(table, key, value) => batch.put_cf(self.get(table), key, value),
            Write::Delete(table, key) => batch.delete_cf(self.get(table), key),
        }
    }

    fn get(&mut self, table: Table) -> &'a ColumnFamily {
        self.found[table as usize].get_or_insert_with(|| family(self.db, table))
    }
}

/// Give RocksDB a batch that is in the log already, under `number`.
fn write_unlogged(db: &DB, mut batch: WriteBatch, number: u64) -> Result<(), StoreError> {
    batch.put(APPLIED, number.to_le_bytes());
    db.write_opt(batch, &unlogged()).map_err(|error| write_error(&error))
}

fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// Write everything that RocksDB has into tables, and return when they are on disk.
fn write_tables(db: &DB) -> Result<(), StoreError> {
    let names = Table::ALL.iter().map(|table| table.name()).chain([DEFAULT_COLUMN_FAMILY_NAME]);
    let families: Vec<_> = names.filter_map(|name| db.cf_handle(name)).collect();
    let mut options = FlushOptions::default();
    options.set_wait(true);
    db.flush_cfs_opt(&families, &options).map_err(|error| write_error(&error))
}

fn flush_beside(db: &Arc<DB>) -> Result<JoinHandle<Result<(), StoreError>>, StoreError> {
    let db = Arc::clone(db);
    let flush = thread::Builder::new().name("tables".into()).spawn(move || write_tables(&db));
    flush.map_err(|error| write_error(&error))
}

fn wait_for(flush: &mut Option<JoinHandle<Result<(), StoreError>>>) -> Result<(), StoreError> {
    let Some(flush) = flush.take() else { return Ok(()) };
    let died = |_| StoreError::Write { reason: "the thread that writes tables panicked".into() };
    flush.join().map_err(died)?
}

/// Reads beside the commit loop.
struct RocksReader {
    db: Arc<DB>,
}

impl Reader for RocksReader {
    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        let key = record::body_key(task, kind);
        let value = self.db.get_cf(family(&self.db, Table::TaskBody), key);
        let value = value.map_err(|error| read_error(&error))?;
        value.map(|value| record::decode_body(&key, &value)).transpose()
    }

    fn rows(
        &self,
        shelf: Shelf,
        after: Option<TaskId>,
        each: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        let table = Table::of(shelf);
        let from = record::row_key(TaskId(after.map_or(0, |after| after.0.saturating_add(1))));
        let from = IteratorMode::From(&from, Direction::Forward);
        for entry in self.db.iterator_cf(family(&self.db, table), from) {
            let (key, value) = entry.map_err(|error| read_error(&error))?;
            match record::decode_row(table, &key, &value) {
                Ok(row) => {
                    if !each(row) {
                        break;
                    }
                }
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // All tables are of one moment, and the number among them says of which.
    options.set_atomic_flush(true);
    // Nobody writes but the commit thread.
    options.set_allow_concurrent_memtable_write(false);
    // Only a store that was made before the broker had a log of its own has anything in RocksDB's.
    // That has to be whole, as it is unless the power was cut.
    options.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // A point read asks several tables in turn; a filter makes the misses free.
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_compression_options(COMPRESSION_WINDOW_BITS, COMPRESSION_FAST, 0, 0);
    options.set_bottommost_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_options(
        COMPRESSION_WINDOW_BITS,
        COMPRESSION_THOROUGH,
        0,
        0,
        true,
    );
    let comes_and_goes =
        [Table::TaskQueue, Table::TaskExpiry, Table::TaskBody, Table::Message, Table::Mailbox];
    if comes_and_goes.contains(&table) {
        // What is done leaves these tables, mostly from their front: compact where half of a
        // thousand entries are deletions, or a scan from the start wades through them.
        options.add_compact_on_deletion_collector_factory(1024, 512, 0.5);
    }
    options
}

fn family(db: &DB, table: Table) -> &ColumnFamily {
    db.cf_handle(table.name()).expect("every table was opened with the database")
}

fn open_error(folder: &Path, error: &rocksdb::Error) -> StoreError {
    let folder = folder.to_owned();
    let reason = error.to_string();
    if reason.contains("lock file") || reason.contains("lock hold by current process") {
        return StoreError::Locked { folder };
    }
    let reason = reason.into();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { folder, reason },
        _ => StoreError::Open { folder, reason },
    }
}

fn write_error(error: &impl ToString) -> StoreError {
    StoreError::Write { reason: error.to_string().into() }
}

fn read_error(error: &rocksdb::Error) -> StoreError {
    StoreError::Read { reason: error.to_string().into() }
}
