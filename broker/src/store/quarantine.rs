//! What becomes of the row of an open task that is not what was written.
//!
//! One bad row must not keep all others from being worked on, must never be served, and must not
//! vanish. So it is left out of the core and left where it is, where whoever asks for the task is
//! told that it is damaged; its bytes are copied into a file of their own for whoever wants to
//! repair them; it is counted and written to the log, at every start anew until it is repaired.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::folder;
use super::record::{Table, hex};

/// Damaged rows with which a broker still starts. 1,000: more than a bad sector can hold (rows
/// have some hundred bytes), fewer than one would want to lose sight of. Beyond it something is
/// wrong with the whole table, and a copy of the folder is better than a queue full of holes.
pub(super) const ROWS_MAX: u64 = 1_000;

/// Counts damaged rows, and keeps copies of them.
#[derive(Debug)]
pub(super) struct Quarantine {
    folder: PathBuf,
    rows: u64,
}

impl Quarantine {
    /// Beside the store in `folder`.
    pub(super) fn beside(folder: &Path) -> Quarantine {
        Quarantine { folder: folder.join("damaged"), rows: 0 }
    }

    /// Rows taken in.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Take in the row in `table` under `key`, which `damage` is about.
    ///
    /// # Errors
    /// [`StoreError::DamageSpreads`] beyond [`ROWS_MAX`] rows; `damage` itself if it is of another
    /// kind.
    pub(super) fn take(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        damage: StoreError,
    ) -> Result<(), StoreError> {
        if !matches!(damage, StoreError::Damaged { .. }) {
            return Err(damage);
        }
        self.rows += 1;
        if self.rows > ROWS_MAX {
            return Err(StoreError::DamageSpreads { table: table.name(), rows_max: ROWS_MAX });
        }
        let copy = self.folder.join(file_name(table, key, value));
        tracing::error!(%damage, copy = %copy.display(), "the row of an open task is damaged: nobody is offered that task");
        if let Err(error) = self.keep(&copy, value) {
            // The row is still in its table.
            tracing::warn!(copy = %copy.display(), %error, "the damaged row cannot be copied");
        }
        Ok(())
    }

    fn keep(&self, copy: &Path, value: &[u8]) -> io::Result<()> {
        if copy.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        // Its name promises all of its bytes, so it has that name when they are there.
        let unfinished = copy.with_extension("unfinished");
        fs::write(&unfinished, value)?;
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, copy)?;
        folder::sync(&self.folder)
    }
}

/// Of the copy: table, key, and the checksum of the bytes, so that other bytes under the same key
/// are another file.
fn file_name(table: Table, key: &[u8], value: &[u8]) -> String {
    format!("{}-{}-{:08x}", table.name(), hex(key), crc32fast::hash(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage() -> StoreError {
        StoreError::Damaged { table: "task_queue", key: "01".into(), reason: "x".into() }
    }

    #[test]
    fn a_damaged_row_is_counted_and_copied_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut quarantine = Quarantine::beside(folder.path());
            quarantine.take(Table::TaskQueue, &[1, 0xab], b"bytes", damage()).unwrap();
            quarantine.take(Table::TaskQueue, &[1, 0xab], b"others", damage()).unwrap();
            assert_eq!(quarantine.rows(), 2);
        }
        let mut copies: Vec<_> = fs::read_dir(folder.path().join("damaged"))
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        copies.sort();
        assert_eq!(copies, [b"bytes".as_slice(), b"others"]);
    }

    #[test]
    fn a_younger_format_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::beside(folder.path());
        let younger = StoreError::NewerFormat { table: "task_queue", found: 9, known: 1 };
        let refused = quarantine.take(Table::TaskQueue, &[1], b"", younger.clone());
        assert_eq!((refused, quarantine.rows()), (Err(younger), 0));
    }

    #[test]
    fn a_table_full_of_damage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::beside(folder.path());
        quarantine.rows = ROWS_MAX - 1;
        quarantine.take(Table::TaskQueue, &[1], b"", damage()).unwrap();
        let error = quarantine.take(Table::TaskQueue, &[2], b"", damage()).unwrap_err();
        assert!(matches!(error, StoreError::DamageSpreads { .. }), "{error}");
    }
}
