//! What can still be read of a damaged store goes into a new one.

use std::path::Path;
use std::{fs, io};

use rocksdb::{DB, DBRecoveryMode, Options};

use super::graft::write;
use super::upkeep::lost_bound;
use super::{
    AUDIT_CACHE_BYTES, BATCH_BYTES, Cache, ColumnFamilyDescriptor, RocksStore, Table, family,
    open_error, record, recovery, table_options, write_error,
};
use super::{IteratorMode, WriteBatch};
use crate::core::command::TableView;
use crate::store::watermark::Watermark;
use crate::store::{
    Audit, Counters, Damage, LogGap, LogLoss, Salvaged, Store, StoreError, folder, log_scan,
};

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
    let refusal = recovery::examine(from, note).err();
    // RocksDB mends by renaming: that must not happen to the original.
    let copy = to.with_extension("copy");
    let copied = folder::twin(from, &copy).and_then(|()| {
        mend_pointer(&copy)?;
        mend_logs(&copy)
    });
    let copied = copied.map_err(|error| write_error(&error));
    let outcome = copied.and_then(|gaps| Ok((read_out(&copy, to, go_on)?, gaps)));
    // Only a copy, and it is in a folder of ours.
    let _ = fs::remove_dir_all(&copy);
    let ((mut audit, is_index_lost), gaps) = outcome?;
    let has_tasks = |view: &TableView| {
        view.records > 0 && Table::WITH_TASKS.iter().any(|table| table.name() == view.table)
    };
    if audit.tables.iter().any(has_tasks) && super::counters(to)?.task == 0 {
        audit.note(lost_bound());
    }
    // A gap at the very end is what was never acknowledged, unless the note knows better.
    let refusal = refusal.or_else(|| super::not_behind(from, audit.sequence, note).err());
    let is_any_followed = gaps.iter().any(|gap| gap.is_followed);
    let log = (refusal.is_some() || is_any_followed)
        .then(|| LogLoss { reason: refusal.map(|error| error.to_string().into()), gaps });
    let salvaged = Salvaged { audit, log, is_index_lost };
    if !salvaged.is_whole() && salvaged.audit.tables.iter().all(|table| table.records == 0) {
        let reason = "no record of it can be read".into();
        return Err(StoreError::Corrupt { folder: from.to_owned(), reason });
    }
    raise(to, !salvaged.is_whole())?;
    Ok(salvaged)
}

fn read_out(
    copy: &Path,
    to: &Path,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(Audit, bool), StoreError> {
    let cache = Cache::new_lru_cache(AUDIT_CACHE_BYTES);
    let options = tolerant();
    let (db, is_index_lost) = match open(copy, &options, &cache) {
        Ok(db) => (db, false),
        Err(_) => {
            // Without its index the tables are looked through one by one.
            DB::repair(&options, copy).map_err(|error| open_error(copy, &error))?;
            (open(copy, &options, &cache)?, true)
        }
    };
    let mut target = RocksStore::open(to)?;
    let mut audit = Audit { sequence: db.latest_sequence_number(), ..Audit::default() };
    let mut read = 0;
    for table in Table::ALL {
        let mut records = 0;
        if db.cf_handle(table.name()).is_some() {
            let mut batch = WriteBatch::default();
            let before = read;
            each(&db, table, &mut audit, |key, value| {
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
    target.db.flush_wal(true).map_err(|error| write_error(&error))?;
    target.close();
    Ok((audit, is_index_lost))
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

/// Leave only whole batches in the logs, those behind a bad place, too: no recovery mode of RocksDB
/// does that. A batch that is missing leaves a task as it was before, to be done once more. Gives
/// what was left out.
fn mend_logs(copy: &Path) -> io::Result<Vec<LogGap>> {
    let (mut gaps, mut next) = (Vec::new(), 0);
    for (log, bytes) in recovery::read_logs(copy)? {
        let mended = log_scan::salvage(&bytes?, next);
        next = mended.next.unwrap_or(next);
        if mended.gaps.is_empty() {
            continue;
        }
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        gaps.extend(mended.gaps.into_iter().map(|gap| LogGap {
            log: name.clone(),
            at: gap.at as u64,
            bytes: gap.bytes as u64,
            reason: gap.reason,
            is_followed: gap.is_followed,
        }));
        fs::write(log, mended.log)?;
    }
    Ok(gaps)
}

/// Options by which as much as possible is opened. Numbers of batches that are left out are missing
/// in the logs.
fn tolerant() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    options.set_paranoid_checks(false);
    options
}

fn open(folder: &Path, options: &Options, cache: &Cache) -> Result<DB, StoreError> {
    let there = DB::list_cf(options, folder).map_err(|error| open_error(folder, &error))?;
    let tables =
        Table::ALL.into_iter().filter(|table| there.iter().any(|name| name == table.name()));
    let families =
        tables.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, cache)));
    DB::open_cf_descriptors_read_only(options, folder, families, false)
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
