//! What is done with everything that is kept at once, beside the core: copies of it, and order in it.

use std::path::PathBuf;

use super::Name;

/// What may be asked about backups and tables. None of it changes what the core knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpkeepCommand {
    /// Make a backup.
    CreateBackup,
    /// Look at the backups, newest first.
    ListBackups,
    /// Read a backup from its first byte to its last.
    VerifyBackup {
        /// Which.
        name: Name,
    },
    /// Give back the room of what was deleted.
    Compact {
        /// In which table; `None` for all.
        table: Option<Name>,
    },
    /// Look at the tables.
    ShowStore,
}

/// An answer about backups and tables.
#[derive(Clone, Debug, PartialEq)]
pub enum UpkeepReply {
    /// The backup that was made or verified.
    Backup(BackupView),
    /// Backups, newest first.
    Backups(Vec<BackupView>),
    /// What became of tables.
    Compacted(Compaction),
    /// The tables as they are.
    Store(StoreView),
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupView {
    /// The name of its folder, which tells when it was made.
    pub name: Name,
    /// Where it is.
    pub folder: PathBuf,
    /// When it was made: wall clock, in milliseconds since 1970.
    pub made_ms: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Records in all its tables.
    pub records: u64,
    /// How many of them were damaged when it was made.
    pub damaged: u64,
    /// Its tables.
    pub tables: Vec<TableView>,
}

/// A table, in a backup or in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableView {
    /// Its name.
    pub table: &'static str,
    /// Records in it.
    pub records: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// The tables as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreView {
    /// Every table; the records are an estimate.
    pub tables: Vec<TableHealth>,
    /// When the newest backup was made, if there is one.
    pub backup_ms: Option<u64>,
    /// When tables were compacted for the last time since the start, newest first.
    pub compactions: Vec<Compaction>,
}

/// A table in use.
#[derive(Clone, Debug, PartialEq)]
pub struct TableHealth {
    /// What there is.
    pub size: TableView,
    /// Which part of its files is of no use any more, from 0 to 1.
    pub fragmentation: f64,
}

/// One run over tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// When it ended: wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// Every table that was asked for.
    pub tables: Vec<CompactedTable>,
}

/// What became of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedTable {
    /// Which.
    pub table: &'static str,
    /// How long it took; `None`: there was nothing to gain.
    pub duration_ms: Option<u64>,
}

/// There is next to no room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scarcity {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes that should be.
    pub free_bytes_min: u64,
}
