//! What a restore does to the copy of a store, before that takes the place of the original.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, WriteBatch};

use super::upkeep::{Closed, open_to_read};
use super::{BATCH_BYTES, Cache, Table};
use super::{
    IteratorMode, RocksStore, family, open_error, record, table_options, unlogged, write_error,
    write_tables,
};
use crate::core::command::{Epoch, Generation, MessageId, TaskId};
use crate::core::record::{Record, TaskRow};
use crate::store::{Counters, Store, StoreError};

/// Put the tables of the store in `from` in place of those of the store in `to`. Nobody has either
/// open, and `from` stays as it is. `go_on` hears how many records were written, and may end it.
///
/// # Errors
/// [`StoreError`]; then `to` is of no use.
pub fn graft(
    from: &Path,
    to: &Path,
    tables: &[Table],
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(), StoreError> {
    let Closed { db: source, tables: there, .. } = &open_to_read(from)?;
    let mut target = RocksStore::open(to)?;
    let cache = Cache::new_lru_cache(BATCH_BYTES);
    let db = Arc::get_mut(&mut target.db).expect("nobody else has it yet");
    let mut written = 0;
    for &table in tables {
        // A table of which blocks are damaged can be dropped, but not emptied.
        db.drop_cf(table.name()).map_err(|error| write_error(&error))?;
        let options = table_options(table, &cache);
        db.create_cf(table.name(), &options).map_err(|error| write_error(&error))?;
        if !there.contains(&table) {
            continue;
        }
        let mut batch = WriteBatch::default();
        for entry in source.iterator_cf(family(source, table), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| open_error(from, &error))?;
            batch.put_cf(family(db, table), key, value);
            if batch.size_in_bytes() >= BATCH_BYTES {
                written += write(db, &mut batch)?;
                if !go_on(written) {
                    return Err(StoreError::Read { reason: "nobody wants the rest".into() });
                }
            }
        }
        written += write(db, &mut batch)?;
    }
    write_tables(db)?;
    target.close();
    Ok(())
}

/// Write what is in `batch`, which is empty afterwards. Gives how many records that were. They are
/// safe when all tables are written.
pub(super) fn write(db: &DB, batch: &mut WriteBatch) -> Result<u64, StoreError> {
    let count = batch.len() as u64;
    db.write_opt(std::mem::take(batch), &unlogged()).map_err(|error| write_error(&error))?;
    Ok(count)
}

/// The counters of the store in `folder`, which nobody has open.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub fn counters(folder: &Path) -> Result<Counters, StoreError> {
    let Closed { db, tables, .. } = &open_to_read(folder)?;
    let mut counters = Counters::default();
    if !tables.contains(&Table::Meta) {
        return Ok(counters);
    }
    for entry in db.iterator_cf(family(db, Table::Meta), IteratorMode::Start) {
        let (key, value) = entry.map_err(|error| open_error(folder, &error))?;
        match record::decode(Table::Meta, &key, &value)? {
            Record::TaskIdBound(bound) => counters.task = bound.0,
            Record::EpochBound(bound) => counters.epoch = bound.0,
            Record::MessageIdBound(bound) => counters.message = bound.0,
            _ => {}
        }
    }
    Ok(counters)
}

/// See to it that no counter of the store in `folder`, which nobody has open, is below those.
///
/// # Errors
/// [`StoreError`] if it does not open or cannot be written.
pub fn raise_counters(folder: &Path, least: Counters) -> Result<(), StoreError> {
    let own = counters(folder)?;
    let raised = Counters {
        task: own.task.max(least.task),
        epoch: own.epoch.max(least.epoch),
        message: own.message.max(least.message),
    };
    if raised == own {
        return Ok(());
    }
    let mut store = RocksStore::open(folder)?;
    store.append(&[
        Record::TaskIdBound(TaskId(raised.task)),
        Record::EpochBound(Epoch(raised.epoch)),
        Record::MessageIdBound(MessageId(raised.message)),
    ])?;
    store.sync()?;
    store.close();
    Ok(())
}

/// By how much the generation of a task is raised if nobody can tell how far it was. 2^16: more than
/// anybody gives out the same task.
const GENERATIONS_SKIPPED: u64 = 1 << 16;

/// Rows that are written at once.
const ROWS_AT_ONCE: usize = 1_000;

/// See to it that whoever worked on a task by the store in `replaced` can do nothing to the same one
/// in `folder`, where it is as it was before: its generation goes on behind the one it had. `None` if
/// that cannot be read. Nobody has either store open.
///
/// # Errors
/// [`StoreError`] if the store in `folder` cannot be read or written.
pub fn raise_generations(folder: &Path, replaced: Option<&Path>) -> Result<(), StoreError> {
    let replaced = replaced.and_then(|replaced| open_to_read(replaced).ok());
    let newest = |row: &TaskRow| {
        let Closed { db, tables: there, .. } = replaced.as_ref()?;
        let key = record::row_key(row.task);
        let tables = Table::OF_ROWS.into_iter().filter(|table| there.contains(table));
        let mut rows = tables.filter_map(|table| {
            let value = db.get_cf(family(db, table), key).ok()??;
            record::decode_row(table, &key, &value).ok()
        });
        rows.next().map(|row| row.generation)
    };
    let mut store = RocksStore::open(folder)?;
    for table in [Table::TaskQueue, Table::TaskDeadLetter] {
        let db = Arc::clone(&store.db);
        let mut raised = Vec::new();
        for entry in db.iterator_cf(family(&db, table), IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| open_error(folder, &error))?;
            // One that is damaged is left to the start, which sets it aside.
            let Ok(mut row) = record::decode_row(table, &key, &value) else { continue };
            let known = newest(&row);
            if known == Some(row.generation) {
                continue;
            }
            let next = known.map(|known| known.0.saturating_add(1));
            let far = row.generation.0.saturating_add(GENERATIONS_SKIPPED);
            row.generation = Generation(next.unwrap_or(far).max(row.generation.0));
            raised.push(Record::Task(Box::new(row)));
            if raised.len() >= ROWS_AT_ONCE {
                store.append(&raised)?;
                store.sync()?;
                raised.clear();
            }
        }
        store.append(&raised)?;
        store.sync()?;
    }
    store.close();
    Ok(())
}
