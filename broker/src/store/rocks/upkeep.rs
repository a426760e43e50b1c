//! RocksDB as a whole: copies of it, order in it, and reading all of it.

use std::path::Path;
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{CompactOptions, DB};

use crate::core::command::TableView;

use super::{
    AUDIT_CACHE_BYTES, Cache, ColumnFamilyDescriptor, IteratorMode, LogFiles, Recovery, Table,
    applied, apply, database_options, family, open_error, record, recovery, table_options,
    write_error, write_tables,
};
use crate::store::folder::{self, Twin};
use crate::store::watermark::Watermark;
use crate::store::{Audit, Damage, StoreError, TableSize, Upkeep};

/// Records between two looks at whether anybody wants the rest. 4,096: a few milliseconds.
const LOOK_EVERY: u64 = 4_096;

/// A store that is open.
pub(super) struct RocksUpkeep {
    pub(super) db: Arc<DB>,
}

impl Upkeep for RocksUpkeep {
    fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        // It writes what is in memory into tables first, so the copy needs no log.
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| write_error(&error))?;
        checkpoint.create_checkpoint(folder).map_err(|error| write_error(&error))
    }

    fn compact(&self, table: Table) -> Result<(), StoreError> {
        let mut options = CompactOptions::default();
        // Else the compactions that RocksDB makes by itself, and then the writers, would wait.
        options.set_exclusive_manual_compaction(false);
        // Of one table alone, what is in memory must not become a file: all are of one moment.
        write_tables(&self.db)?;
        let family = family(&self.db, table);
        self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }

    fn cancel(&self) {
        self.db.cancel_all_background_work(false);
    }

    fn size(&self, table: Table) -> TableSize {
        let family = family(&self.db, table);
        // A property that cannot be had is a number that is not known.
        let property = |name| self.db.property_int_value_cf(family, name).ok().flatten();
        let bytes = property(rocksdb::properties::TOTAL_SST_FILES_SIZE).unwrap_or_default();
        let files = self.db.live_files().unwrap_or_default();
        let files = files.iter().filter(|file| file.column_family_name == table.name());
        let (entries, deletions) = files.fold((0, 0), |(entries, deletions), file| {
            (entries + file.num_entries, deletions + file.num_deletions)
        });
        // A deletion hides one other entry as a rule, and is none itself.
        let useless = (2 * deletions).min(entries);
        let left = bytes - (bytes as u128 * useless as u128 / entries.max(1) as u128) as u64;
        let newest = property(rocksdb::properties::ESTIMATE_LIVE_DATA_SIZE).unwrap_or(bytes);
        let records = property(rocksdb::properties::ESTIMATE_NUM_KEYS).unwrap_or_default();
        TableSize { records, bytes, live_bytes: left.min(newest) }
    }
}

/// Read every record of the store in `folder`, which no broker has open. Nothing in the folder
/// changes. `go_on` hears now and then how many records were read, and may end it.
///
/// # Errors
/// [`StoreError`] if the store does not open, was written by a younger broker, or `go_on` said no
/// ([`StoreError::Read`]). Records that are damaged are no error here; they are counted.
pub fn audit(folder: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Audit, StoreError> {
    let Closed { db, tables, number, .. } = &open_to_read(folder)?;
    let mut audit = Audit { sequence: *number, ..Audit::default() };
    let files = db.live_files().map_err(|error| open_error(folder, &error))?;
    let bound = record::name_key(record::TASK_ID_BOUND);
    let (mut has_tasks, mut has_bound) = (false, false);
    let mut read = 0;
    for &table in tables {
        let mut records = 0;
        for entry in db.iterator_cf(family(db, table), IteratorMode::Start) {
            let (key, value) = match entry {
                Ok(entry) => entry,
                // What is behind it cannot be had either.
                Err(error) => {
                    let reason = error.to_string().into();
                    audit.note(Damage { table: table.name(), key: None, reason });
                    break;
                }
            };
            has_tasks |= Table::WITH_TASKS.contains(&table);
            has_bound |= table == Table::Meta && *key == *bound;
            match record::check(table, &key, &value) {
                Ok(()) => {}
                Err(StoreError::Damaged { reason, .. }) => {
                    let key = Some(record::hex(&key));
                    audit.note(Damage { table: table.name(), key, reason });
                }
                Err(error) => return Err(error),
            }
            (records, read) = (records + 1, read + 1);
            if read % LOOK_EVERY == 0 && !go_on(read) {
                return Err(StoreError::Read { reason: "nobody wants the rest".into() });
            }
        }
        let files = files.iter().filter(|file| file.column_family_name == table.name());
        let bytes = files.map(|file| file.size as u64).sum();
        audit.tables.push(TableView { table: table.name(), records, bytes });
    }
    if has_tasks && !has_bound {
        audit.note(lost_bound());
    }
    Ok(audit)
}

/// There are tasks, and nobody knows which ids were given out.
pub(super) fn lost_bound() -> Damage {
    let key = Some(record::hex(&record::name_key(record::TASK_ID_BOUND)));
    let reason = "the bound of the ids of tasks is missing".into();
    Damage { table: Table::Meta.name(), key, reason }
}

/// A store that no broker has open, to be read.
pub(super) struct Closed {
    /// The tables, with what was in the log.
    pub(super) db: DB,
    /// Those that it has.
    pub(super) tables: Vec<Table>,
    /// Number of its last batch.
    pub(super) number: u64,
    /// Where it really is, if its log had to be put into tables: `db` is closed before that goes.
    _twin: Option<Twin>,
}

/// The store in `folder`, which no broker has open. Nothing in the folder changes.
///
/// # Errors
/// [`StoreError`] if it does not open, or was written by a younger broker.
pub(super) fn open_to_read(folder: &Path) -> Result<Closed, StoreError> {
    let mut options = database_options();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let cache = Cache::new_lru_cache(AUDIT_CACHE_BYTES);
    let there = DB::list_cf(&options, folder).map_err(|error| open_error(folder, &error))?;
    let tables: Vec<Table> = Table::ALL
        .into_iter()
        .filter(|table| there.iter().any(|name| name == table.name()))
        .collect();
    let known = |name: &str| name == "default" || tables.iter().any(|table| table.name() == name);
    if let Some(unknown) = there.iter().find(|name| !known(name)) {
        let reason = format!("this broker knows no table {unknown}; use a newer one").into();
        return Err(StoreError::Open { folder: folder.to_owned(), reason });
    }
    let families = |tables: &[Table]| {
        let descriptor = |table: &Table| {
            ColumnFamilyDescriptor::new(table.name(), table_options(*table, &cache))
        };
        tables.iter().map(descriptor).collect::<Vec<_>>()
    };
    let db = DB::open_cf_descriptors_read_only(&options, folder, families(&tables), false)
        .map_err(|error| open_error(folder, &error))?;
    let files = LogFiles::read(folder)?;
    let applied = applied(&db).map_err(|error| open_error(folder, &error))?;
    let Recovery { batches, number, .. } =
        recovery::examine(folder, &files, applied, Watermark::beside(folder).noted())?;
    if batches.is_empty() {
        return Ok(Closed { db, tables, number, _twin: None });
    }
    drop(db);
    let mut beside = folder.as_os_str().to_owned();
    beside.push(".twin");
    let twin = Twin::of(folder, Path::new(&beside));
    let twin = twin.map_err(|error| write_error(&error))?;
    options.create_missing_column_families(true);
    options.set_disable_auto_compactions(true);
    let db = DB::open_cf_descriptors(&options, twin.folder(), families(&Table::ALL))
        .map_err(|error| open_error(twin.folder(), &error))?;
    apply(&db, &batches, number)?;
    Ok(Closed { db, tables: Table::ALL.to_vec(), number, _twin: Some(twin) })
}

/// [`audit`] of the store in `folder`, unless a broker has it open.
///
/// # Errors
/// As [`audit`], and [`StoreError::Locked`].
pub fn audit_closed(
    folder: &Path,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Audit, StoreError> {
    if !folder.is_dir() {
        let reason = "there is no such folder".into();
        return Err(StoreError::Open { folder: folder.to_owned(), reason });
    }
    let _lock = folder::enter(folder)?;
    audit(folder, go_on)
}

/// Note in `folder`, a copy of a store, that it holds everything up to `sequence`.
pub fn note_synced(folder: &Path, sequence: u64) {
    Watermark::beside(folder).note_first(sequence);
}
