//! What can still be read of a damaged store goes into a new one.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use rocksdb::{DB, DBRecoveryMode, Options};

use super::graft::write;
use super::upkeep::lost_bound;
use super::{
    AUDIT_CACHE_BYTES, BATCH_BYTES, Cache, ColumnFamilyDescriptor, DEFAULT_COLUMN_FAMILY_NAME,
    IteratorMode, LogFiles, RocksStore, Table, WriteBatch, apply, family, known_applied,
    open_error, record, recovery, table_options, write_error, write_tables,
};
use crate::core::command::TableView;
use crate::store::folder::Twin;
use crate::store::log::scan;
use crate::store::watermark::{Note, Watermark};
use crate::store::{Audit, Counters, Damage, LogGap, LogLoss, Salvaged, Store, StoreError};

/// How the names of indexes begin; a number follows.
const INDEX: &str = "MANIFEST-";

/// Put every record of the store in `from` that can be read into a new store in `to`. `from`, which
/// the caller has locked, is only read. Beside `to` a copy is made meanwhile, which shares its tables with
/// `from` where the file system can do that. `go_on` hears how many records were read, and may end
/// it.
///
/// # Errors
/// [`StoreError`] if there is nothing to be read at all, or `to` cannot be written.
pub fn salvage(
    from: &Path,
    to: &Path,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Salvaged, StoreError> {
    let note = Watermark::beside(from).noted();
    // RocksDB mends by renaming: that must not happen to the original.
    let copy = Twin::of(from, &to.with_extension("copy")).map_err(|error| write_error(&error))?;
    mend_pointer(copy.folder()).map_err(|error| write_error(&error))?;
    let Mended { db, is_index_lost, dropped } = open_or_mend(copy.folder())?;
    let (log, sequence) = add_log(&db, from, note)?;
    let log = log.or_else(|| dropped.map(|reason| LogLoss { reason: Some(reason), gaps: vec![] }));
    let mut audit = read_out(&db, to, go_on)?;
    audit.sequence = sequence;
    drop((db, copy));
    let has_tasks = |view: &TableView| {
        view.records > 0 && Table::WITH_TASKS.iter().any(|table| table.name() == view.table)
    };
    if audit.tables.iter().any(has_tasks) && super::counters(to)?.task == 0 {
        audit.note(lost_bound());
    }
    let salvaged = Salvaged { audit, log, is_index_lost };
    if !salvaged.is_whole() && salvaged.audit.tables.iter().all(|table| table.records == 0) {
        let reason = "no record of it can be read".into();
        return Err(StoreError::Corrupt { folder: from.to_owned(), reason });
    }
    raise(to, !salvaged.is_whole())?;
    Ok(salvaged)
}

/// A copy that was opened as far as that goes.
struct Mended {
    db: DB,
    is_index_lost: bool,
    /// Why a part of RocksDB's own log was left out, which only an older broker has used.
    dropped: Option<Arc<str>>,
}

fn open_or_mend(copy: &Path) -> Result<Mended, StoreError> {
    let cache = Cache::new_lru_cache(AUDIT_CACHE_BYTES);
    let mut options = tolerant();
    options.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    let refusal = match open(copy, &options, &cache) {
        Ok(db) => return Ok(Mended { db, is_index_lost: false, dropped: None }),
        Err(refusal) => refusal.to_string().into(),
    };
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    match open(copy, &options, &cache) {
        Ok(db) => Ok(Mended { db, is_index_lost: false, dropped: Some(refusal) }),
        Err(_) => {
            // Without its index the tables are looked through one by one.
            DB::repair(&options, copy).map_err(|error| open_error(copy, &error))?;
            let db = open(copy, &options, &cache)?;
            Ok(Mended { db, is_index_lost: true, dropped: None })
        }
    }
}

/// Add every batch of the log in `from` that is whole to `db`, those behind a bad place, too: a batch
/// that is missing leaves a task as it was before, to be done once more. Gives what is lost, if that
/// was acknowledged, and the number of the last batch.
fn add_log(db: &DB, from: &Path, note: Note) -> Result<(Option<LogLoss>, u64), StoreError> {
    let files = LogFiles::read(from)?;
    let known = known_applied(db).map_err(|error| open_error(from, &error))?;
    // If the number is lost with its table, whatever the log has is as new as anything.
    let applied = match (known, scan::first(&files.files())) {
        (Some(applied), _) => applied,
        (None, Some(first)) => first.saturating_sub(1),
        (None, None) => db.latest_sequence_number(),
    };
    let refusal = recovery::examine(from, &files, applied, note).err();
    let found = files.files();
    let scan::Salvaged { batches, last, gaps } = scan::salvage(&found, applied.saturating_add(1));
    let last = last.unwrap_or(applied);
    // Where some are missing in between, the numbers on the way are too high, and nobody looks.
    apply(db, &batches, last)?;
    // A gap at the very end is what was never acknowledged, unless the note knows better.
    if refusal.is_none() && gaps.iter().all(|gap| gap.damage.followers == 0) {
        return Ok((None, last));
    }
    let gaps = gaps.into_iter().map(|scan::Gap { damage, batches }| LogGap {
        log: files.path(damage.file).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        at: damage.at as u64,
        batches,
        reason: damage.reason,
        is_followed: damage.followers > 0,
    });
    let reason = refusal.map(|error| error.to_string().into());
    Ok((Some(LogLoss { reason, gaps: gaps.collect() }), last))
}

fn read_out(db: &DB, to: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Audit, StoreError> {
    let mut target = RocksStore::open(to)?;
    let mut audit = Audit::default();
    let mut read = 0;
    for table in Table::ALL {
        let mut records = 0;
        if db.cf_handle(table.name()).is_some() {
            let mut batch = WriteBatch::default();
            let before = read;
            each(db, table, &mut audit, |key, value| {
                if !has_row(&target, table, key)? {
                    return Ok(());
                }
                batch.put_cf(family(&target.db, table), key, value);
                read += 1;
                if batch.size_in_bytes() < BATCH_BYTES {
                    return Ok(());
                }
                write(&target.db, &mut batch)?;
                match go_on(read) {
                    true => Ok(()),
                    false => Err(StoreError::Read { reason: "nobody wants the rest".into() }),
                }
            })?;
            write(&target.db, &mut batch)?;
            records = read - before;
        }
        audit.tables.push(TableView { table: table.name(), records, bytes: 0 });
    }
    write_tables(&target.db)?;
    target.close();
    Ok(audit)
}

/// Whether a record is of no task, or of one whose row was saved, which is done before. Without its
/// row nobody would ever remove a body; and enough times of expiry without one, in front of all
/// others, would keep anything from being forgotten.
fn has_row(target: &RocksStore, table: Table, key: &[u8]) -> Result<bool, StoreError> {
    let task = match table {
        Table::TaskBody => record::task_of_key(key),
        Table::TaskExpiry => record::decode_expiry(key).ok().map(|(_, task)| task),
        _ => return Ok(true),
    };
    let Some(task) = task else { return Ok(false) };
    let key = record::row_key(task);
    for table in Table::OF_ROWS {
        if target.value(table, &key)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file `CURRENT` names the index. If it does not, the newest index is the one.
fn mend_pointer(copy: &Path) -> io::Result<()> {
    let pointer = copy.join("CURRENT");
    let named = fs::read_to_string(&pointer).unwrap_or_default();
    let named = named.trim_end();
    if named.starts_with(INDEX) && copy.join(named).is_file() {
        return Ok(());
    }
    let number = |name: &str| name.strip_prefix(INDEX)?.parse::<u64>().ok();
    let mut newest = None;
    for entry in fs::read_dir(copy)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        newest = newest.max(number(&name).map(|number| (number, name)));
    }
    match newest {
        Some((_, name)) => fs::write(pointer, format!("{name}\n")),
        None => Ok(()),
    }
}

/// Options by which as much as possible is opened.
fn tolerant() -> Options {
    let mut options = Options::default();
    options.create_missing_column_families(true);
    options.set_paranoid_checks(false);
    // They would stumble over what is damaged.
    options.set_disable_auto_compactions(true);
    options
}

fn open(folder: &Path, options: &Options, cache: &Cache) -> Result<DB, StoreError> {
    let there = DB::list_cf(options, folder).map_err(|error| open_error(folder, &error))?;
    let is_known = |name: &String| {
        name == DEFAULT_COLUMN_FAMILY_NAME || Table::ALL.iter().any(|table| table.name() == name)
    };
    let unknown = there.iter().filter(|name| !is_known(name));
    let unknown = unknown.map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    let tables = Table::ALL.into_iter();
    let known =
        tables.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, cache)));
    DB::open_cf_descriptors(options, folder, known.chain(unknown))
        .map_err(|error| open_error(folder, &error))
}

/// Hand every record that is whole to `take`, and note the others.
fn each(
    db: &DB,
    table: Table,
    audit: &mut Audit,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut next = Vec::new();
    loop {
        let mut place = db.raw_iterator_cf(family(db, table));
        place.seek(&next);
        while let Some((key, value)) = place.item() {
            match record::check(table, key, value) {
                Ok(()) => take(key, value)?,
                Err(StoreError::Damaged { reason, .. }) => {
                    let key = Some(record::hex(key));
                    audit.note(Damage { table: table.name(), key, reason });
                }
                Err(error) => return Err(error),
            }
            next.clear();
            next.extend_from_slice(key);
            next.push(0);
            place.next();
        }
        let Err(error) = place.status() else { return Ok(()) };
        audit.note(Damage { table: table.name(), key: None, reason: error.to_string().into() });
        match behind(db, table, &next) {
            Some(key) => next = key,
            None => return Ok(()),
        }
    }
}

/// The first place behind the unreadable one at `key` from which on something can be read. Places
/// are numbers here, the first 16 bytes of a key: ids stand in front.
fn behind(db: &DB, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    let is_readable = |place: u128| {
        let mut at = db.raw_iterator_cf(family(db, table));
        at.seek(place.to_be_bytes());
        at.status().is_ok()
    };
    let mut first = [0; 16];
    let known = key.len().min(16);
    first[..known].copy_from_slice(&key[..known]);
    let bad = u128::from_be_bytes(first);
    let steps = (0..128).filter_map(|bit| Some((bit, bad.checked_add(1 << bit)?)));
    let (bit, mut good) = steps.into_iter().find(|(_, place)| is_readable(*place))?;
    let mut bad = if bit == 0 { bad } else { bad + (1 << (bit - 1)) };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if is_readable(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good.to_be_bytes().to_vec())
}

/// See to it that no number is given out twice, whatever is lost.
fn raise(to: &Path, is_anything_lost: bool) -> Result<(), StoreError> {
    let found = super::counters(to)?;
    let store = RocksStore::open(to)?;
    let last = store.db.iterator_cf(family(&store.db, Table::Message), IteratorMode::End).next();
    let message = last.and_then(Result::ok).and_then(|(key, _)| record::task_of_key(&key));
    let behind = |id: Option<u64>| id.map_or(0, |id| id.saturating_add(1));
    let least = Counters {
        task: found.task.max(behind(store.highest_task()?.map(|task| task.0))),
        epoch: found.epoch,
        message: found.message.max(behind(message.map(|id| id.0))),
    };
    drop(store);
    super::raise_counters(to, if is_anything_lost { least.far_beyond() } else { least })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::TaskId;
    use crate::core::record::{BodyKind, Record};

    #[test]
    fn tasks_without_a_bound_of_their_ids_are_a_damage() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut store = RocksStore::open(&from).unwrap();
        let row = record::tests::small_row();
        let id = row.task.0;
        store.append(&[Record::Task(Box::new(row))]).unwrap();
        store.sync().unwrap();
        store.close();
        drop(store);
        assert_eq!(super::super::audit_closed(&from, &mut |_| true).unwrap().damaged, 1);
        let salvaged = salvage(&from, &to, &mut |_| true).unwrap();
        assert_eq!(salvaged.audit.damages, [lost_bound()]);
        assert!(super::super::counters(&to).unwrap().task > id + (1 << 32));
    }

    #[test]
    fn what_belongs_to_a_lost_row_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut store = RocksStore::open(&from).unwrap();
        let (task, kind, bytes) = (TaskId(7), BodyKind::Payload, b"x"[..].into());
        store.append(&[Record::Body { task, kind, bytes }]).unwrap();
        store.sync().unwrap();
        let expiry = family(&store.db, Table::TaskExpiry);
        store.db.put_cf(expiry, record::expiry_key(5, task), b"").unwrap();
        store.close();
        drop(store);

        let salvaged = salvage(&from, &to, &mut |_| true).unwrap();
        assert_eq!(salvaged.audit.damaged, 0, "{salvaged:?}");
        let mut store = RocksStore::open(&to).unwrap();
        assert_eq!(store.body(task, kind), Ok(None));
        assert_eq!(store.expired(u64::MAX, 9), Ok(Default::default()));
    }
}
