//! The store of the tests: it can forget what was not synced, and fail when told to.
//!
//! Clones share their contents, so a test keeps one, gives the other to the commit loop, and acts
//! out a power cut from outside. The contents are the real bytes of `record.rs`: whatever passes
//! through here has been encoded and decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::record::{self, Table, Write};
use super::{Expired, Reader, Store, StoreError, WriteGate};
use crate::core::command::{Message, MessageId, TaskId};
use crate::core::record::{BodyKind, Record, Shelf, TaskRow};

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
}

/// A key, and the value that is put there, if it is not removed.
type Change = ((Table, Vec<u8>), Option<Vec<u8>>);

#[derive(Debug, Default)]
struct Disk {
    synced: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    unsynced: Vec<Change>,
    gate: WriteGate,
    fail_append: bool,
    fail_sync: bool,
    syncs: u64,
    damaged_rows: u64,
}

/// What became of writes that were appended and not synced, when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// None reached the disk.
    Lost,
    /// All did, by luck.
    Kept,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The power goes and comes back. Writing is possible again, as after opening anew.
    pub fn crash(&self, unsynced: Unsynced) {
        let mut disk = self.disk.lock();
        match unsynced {
            Unsynced::Lost => disk.unsynced.clear(),
            Unsynced::Kept => disk.apply_unsynced(),
        }
        disk.gate = WriteGate::default();
        disk.fail_append = false;
        disk.fail_sync = false;
    }

    /// The next append fails.
    pub fn fail_next_append(&self) {
        self.disk.lock().fail_append = true;
    }

    /// The next sync fails.
    pub fn fail_next_sync(&self) {
        self.disk.lock().fail_sync = true;
    }

    /// How many writes a crash could lose now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk.lock().unsynced.len()
    }

    /// How often something was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// Flip the lowest bit of the last byte of every value in `table`.
    pub fn damage(&self, table: Table) {
        for ((at, _), value) in &mut self.disk.lock().synced {
            if *at == table
                && let Some(last) = value.last_mut()
            {
                *last ^= 1;
            }
        }
    }
}

impl Disk {
    fn apply_unsynced(&mut self) {
        for (key, value) in std::mem::take(&mut self.unsynced) {
            match value {
                Some(value) => self.synced.insert(key, value),
                None => self.synced.remove(&key),
            };
        }
    }
}

impl Store for MemoryStore {
    fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), StoreError> {
        let Disk { unsynced, gate, fail_append, .. } = &mut *self.disk.lock();
        gate.pass(|| {
            if std::mem::take(fail_append) {
                return Err(StoreError::Write { reason: "told to fail an append".into() });
            }
            let mut value = Vec::new();
            records.into_iter().try_for_each(|record| {
                record::encode(record, &mut value, |write| {
                    unsynced.push(match write {
                        Write::Put(table, key, value) => {
                            ((table, key.to_vec()), Some(value.to_vec()))
                        }
                        Write::Delete(table, key) => ((table, key.to_vec()), None),
                    });
                })
            })
        })
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let disk = &mut *self.disk.lock();
        let fails = std::mem::take(&mut disk.fail_sync);
        disk.gate.pass(|| match fails {
            true => Err(StoreError::Write { reason: "told to fail a sync".into() }),
            false => Ok(()),
        })?;
        disk.apply_unsynced();
        disk.syncs += 1;
        Ok(())
    }

    fn row(&self, task: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let key = record::row_key(task);
        let disk = self.disk.lock();
        for table in Table::OF_ROWS {
            if let Some(value) = disk.synced.get(&(table, key.to_vec())) {
                return record::decode_row(table, &key, value).map(Some);
            }
        }
        Ok(None)
    }

    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        let key = record::body_key(task, kind);
        let disk = self.disk.lock();
        let value = disk.synced.get(&(Table::TaskBody, key.to_vec()));
        value.map(|value| record::decode_body(&key, value)).transpose()
    }

    fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let key = record::message_key(id);
        let disk = self.disk.lock();
        let value = disk.synced.get(&(Table::Message, key.clone()));
        value.map(|value| record::decode_message(&key, value)).transpose()
    }

    fn scan(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let Disk { synced, damaged_rows, .. } = &mut *self.disk.lock();
        *damaged_rows = 0;
        for table in Table::OF_START {
            for ((_, key), value) in synced.iter().filter(|((of, _), _)| *of == table) {
                match record::decode(table, key, value) {
                    Ok(record) => each(record),
                    Err(StoreError::Damaged { .. }) if table.has_rows() => *damaged_rows += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn damaged_rows(&self) -> u64 {
        self.disk.lock().damaged_rows
    }

    fn expired(&mut self, until_ms: u64, limit: usize) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        for (table, key) in self.disk.lock().synced.keys() {
            if *table == Table::TaskExpiry
                && !expired.add(record::decode_expiry(key)?, until_ms, limit)
            {
                break;
            }
        }
        Ok(expired)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }
}

impl Reader for MemoryStore {
    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        Store::body(self, task, kind)
    }

    fn rows(
        &self,
        shelf: Shelf,
        after: Option<TaskId>,
        each: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        let (table, after) = (Table::of(shelf), after.map(record::row_key));
        let disk = self.disk.lock();
        let rows = disk.synced.iter().filter(|((of, _), _)| *of == table);
        let later =
            rows.filter(|((_, key), _)| after.as_ref().is_none_or(|after| key[..] > after[..]));
        for ((_, key), value) in later {
            match record::decode_row(table, key, value) {
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
