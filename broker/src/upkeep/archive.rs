//! The backups of a broker: one folder each, in one folder.
//!
//! ```text
//!   2026-11-27_03-00-00/
//!     store/           a copy of the store, as a broker can open it
//!     operator.token   as it was, and so what web push goes by: vapid.pem and push.json
//!     manifest.json    what is in it
//!     SHA256SUMS       the digest of everything else
//! ```
//!
//! A backup has that name when it was written, read back and synced; until then, `.unfinished` is
//! behind it, and whoever makes the next one removes it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::room::free_bytes;
use super::{BackupError, Phase, Progress, folder_name, sums};
use crate::core::command::{BackupView, Name, TableView};
use crate::store::record::Table;
use crate::store::{Audit, Upkeep, folder, rocks};
use crate::{operator, push};

/// The file that says what is in a backup.
const MANIFEST: &str = "manifest.json";

/// The longest manifest. 1 MiB: one of ours has 2 KiB.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The folder in a backup, and in the data folder, that is a store.
pub(super) const STORE: &str = "store";

/// What stands in a data folder beside the store and cannot be made again: who the operator is, by
/// which keys push services know the broker, and which browsers are told.
pub(super) const BESIDE: [&str; 3] = [operator::FILE, push::vapid::FILE, push::subscribers::FILE];

/// Behind the name of a backup that is not whole.
const UNFINISHED: &str = ".unfinished";

/// Version of the layout.
const FORMAT: u32 = 1;

/// What must be free beside the copy itself. 64 MiB: tables that are written from memory, the log,
/// and something to go on with.
const SPARE_BYTES: u64 = 64 << 20;

/// A folder with backups.
#[derive(Clone, Debug)]
pub struct Archive {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Version of the broker.
    broker: String,
    made_ms: u64,
    /// Number of the last write.
    sequence: u64,
    /// Bytes of all files but this one and the sums.
    bytes: u64,
    /// Records that were damaged already.
    damaged: u64,
    tables: Vec<TableOf>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TableOf {
    table: String,
    records: u64,
    bytes: u64,
}

/// Hears how far it is, and says whether to go on.
pub type GoOn<'a> = &'a mut (dyn FnMut(Progress) -> bool + Send);

impl Archive {
    /// The backups in `folder`, which need not be there.
    #[must_use]
    pub fn new(folder: PathBuf) -> Archive {
        Archive { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The backups, newest first; none if there is no folder. What has no manifest that can be
    /// read is left out, and [`Archive::verify`] says why.
    ///
    /// # Errors
    /// [`BackupError::Io`] if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<BackupView>, BackupError> {
        let names = self.names()?.into_iter().rev();
        Ok(names.filter_map(|name| self.view(&name).ok()).collect())
    }

    /// Names of backups, oldest first.
    fn names(&self) -> Result<Vec<Name>, BackupError> {
        let unreadable = BackupError::at(&self.folder, "the backups cannot be listed");
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(&unreadable)?.file_name();
            let name = name.to_str().filter(|name| folder_name::is_one(name));
            names.extend(name.and_then(|name| Name::parse(name).ok()));
        }
        names.sort();
        Ok(names)
    }

    /// The folder of a backup.
    ///
    /// # Errors
    /// [`BackupError::None`] if there is none of that name.
    pub(super) fn path(&self, name: &Name) -> Result<PathBuf, BackupError> {
        let path = self.folder.join(name.as_str());
        match folder_name::is_one(name.as_str()) && path.is_dir() {
            true => Ok(path),
            false => Err(BackupError::None { name: name.clone(), folder: self.folder.clone() }),
        }
    }

    fn view(&self, name: &Name) -> Result<BackupView, BackupError> {
        let folder = self.path(name)?;
        manifest(&folder).map(|(_, view)| BackupView { name: name.clone(), ..view })
    }

    /// Make a backup of the store that `upkeep` looks after and of what stands beside it in
    /// `data_dir`, read it back, and drop those that are more than `keep`.
    ///
    /// # Errors
    /// [`BackupError`]; then there is no new backup, and all others are there.
    pub fn create(
        &self,
        upkeep: &dyn Upkeep,
        data_dir: &Path,
        keep: usize,
        now_ms: u64,
        go_on: GoOn<'_>,
    ) -> Result<BackupView, BackupError> {
        let unusable = BackupError::at(&self.folder, "the folder of the backups cannot be used");
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.folder).map_err(&unusable)?;
        let _lock = folder::enter(&self.folder)
            .map_err(|_| BackupError::Busy { folder: self.folder.clone() })?;
        self.remove_unfinished()?;
        self.check_room(upkeep, &data_dir.join(STORE))?;
        let name = self.free_name(now_ms);
        let unfinished = self.folder.join(format!("{name}{UNFINISHED}"));
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(&unusable)?;
        let made = self.fill(&unfinished, upkeep, data_dir, now_ms, go_on).and_then(|damaged| {
            fs::rename(&unfinished, self.folder.join(name.as_str())).map_err(&unusable)?;
            folder::sync(&self.folder).map_err(&unusable)?;
            Ok(damaged)
        });
        match made {
            Ok(0) => self.prune(keep)?,
            // What is older may be the last that is whole.
            Ok(damaged) => {
                tracing::error!(%name, damaged, "records of the store are damaged, and they are in the new backup as they are; older backups stay, `agentcom store check` tells more")
            }
            Err(error) => {
                // The next one tries again.
                let _ = fs::remove_dir_all(&unfinished);
                return Err(error);
            }
        }
        self.view(&name)
    }

    /// Gives how many records are damaged.
    fn fill(
        &self,
        new: &Path,
        upkeep: &dyn Upkeep,
        data_dir: &Path,
        now_ms: u64,
        go_on: GoOn<'_>,
    ) -> Result<u64, BackupError> {
        let unwritable = BackupError::at(new, "the backup cannot be written");
        let start = Progress { phase: Phase::Copy, done: 0, total: 0 };
        if !go_on(start) {
            return Err(BackupError::Stopped);
        }
        let store = new.join(STORE);
        upkeep.checkpoint(&store)?;
        for name in BESIDE {
            let file = data_dir.join(name);
            if file.exists() {
                let bytes = fs::read(&file).map_err(BackupError::at(&file, "cannot be read"))?;
                write(&new.join(name), &bytes).map_err(&unwritable)?;
            }
        }
        let audit = audit(&store, go_on)?;
        rocks::note_synced(&store, audit.sequence);
        let files = sums::files(new)?;
        let manifest = Manifest {
            format: FORMAT,
            broker: env!("CARGO_PKG_VERSION").to_owned(),
            made_ms: now_ms,
            sequence: audit.sequence,
            bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            damaged: audit.damaged,
            tables: tables_of(&audit),
        };
        let text = serde_json::to_string_pretty(&manifest).expect("numbers and names");
        write(&new.join(MANIFEST), text.as_bytes()).map_err(&unwritable)?;
        let sums = checked_sums(new, go_on)?;
        write(&new.join(sums::FILE), sums.as_bytes()).map_err(&unwritable)?;
        for (path, _) in &files {
            sync_file(&new.join(path)).map_err(&unwritable)?;
        }
        folder::sync(&store).and_then(|()| folder::sync(new)).map_err(&unwritable)?;
        Ok(audit.damaged)
    }

    /// Read a backup from its first byte to its last: is it what was written, and can every record
    /// be read?
    ///
    /// # Errors
    /// [`BackupError::Damaged`] says what is wrong with it.
    pub fn verify(&self, name: &Name, go_on: GoOn<'_>) -> Result<BackupView, BackupError> {
        let folder = self.path(name)?;
        let found = checked_sums(&folder, go_on)?;
        if let Some(difference) = sums::difference(&sums::kept(&folder)?, &found) {
            return Err(BackupError::damaged(&folder, difference));
        }
        let (manifest, view) = manifest(&folder)?;
        let audit = audit(&folder.join(STORE), go_on)?;
        if audit.sequence != manifest.sequence
            || audit.damaged != manifest.damaged
            || tables_of(&audit) != manifest.tables
        {
            let reason = "its store does not hold what its manifest says".to_owned();
            return Err(BackupError::damaged(&folder, reason));
        }
        Ok(BackupView { name: name.clone(), ..view })
    }

    /// A name that nobody has: that of a later second, if need be.
    fn free_name(&self, now_ms: u64) -> Name {
        let names = (0..).map(|second| folder_name::of(now_ms + second * 1_000));
        let mut free = names.filter(|name| !self.folder.join(name.as_str()).exists());
        free.next().expect("seconds do not end")
    }

    fn remove_unfinished(&self) -> Result<(), BackupError> {
        let unusable = BackupError::at(&self.folder, "the folder of the backups cannot be used");
        for entry in fs::read_dir(&self.folder).map_err(&unusable)? {
            let path = entry.map_err(&unusable)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_suffix(UNFINISHED).is_some_and(folder_name::is_one) {
                fs::remove_dir_all(&path).map_err(&unusable)?;
            }
        }
        Ok(())
    }

    /// Copies on the same file system share their tables with the store.
    fn check_room(&self, upkeep: &dyn Upkeep, store: &Path) -> Result<(), BackupError> {
        let unusable = BackupError::at(&self.folder, "the folder of the backups cannot be used");
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        let is_shared = device(&self.folder).ok() == device(store).ok();
        let copied = if is_shared {
            0
        } else {
            Table::ALL.map(|table| upkeep.size(table).bytes).iter().sum()
        };
        let needed = SPARE_BYTES + copied;
        let free = free_bytes(&self.folder).map_err(unusable)?;
        match free < needed {
            true => Err(BackupError::NoRoom { folder: self.folder.clone(), needed, free }),
            false => Ok(()),
        }
    }

    /// Remove the oldest backups beyond `keep`.
    fn prune(&self, keep: usize) -> Result<(), BackupError> {
        let mut names = self.names()?;
        names.truncate(names.len().saturating_sub(keep));
        for name in names {
            let folder = self.folder.join(name.as_str());
            // Under the name of something that is not whole, which a crash on the way makes it.
            let going = self.folder.join(format!("{name}{UNFINISHED}"));
            fs::rename(&folder, &going)
                .and_then(|()| fs::remove_dir_all(&going))
                .map_err(BackupError::at(&folder, "the old backup cannot be removed"))?;
        }
        Ok(())
    }
}

fn manifest(folder: &Path) -> Result<(Manifest, BackupView), BackupError> {
    let damaged = |reason: String| BackupError::damaged(folder, format!("{MANIFEST}: {reason}"));
    let text = sums::text(&folder.join(MANIFEST), MANIFEST_BYTES_MAX);
    let text = text.map_err(|error| damaged(error.to_string()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("format {} is not known, only {FORMAT}", manifest.format)));
    }
    let mut tables = Vec::new();
    for TableOf { table, records, bytes } in &manifest.tables {
        let known = Table::named(table);
        let known = known.ok_or_else(|| damaged(format!("there is no table {table}")))?;
        tables.push(TableView { table: known.name(), records: *records, bytes: *bytes });
    }
    let view = BackupView {
        name: folder_name::of(manifest.made_ms),
        folder: folder.to_owned(),
        made_ms: manifest.made_ms,
        bytes: manifest.bytes,
        records: tables.iter().map(|table| table.records).sum(),
        damaged: manifest.damaged,
        tables,
    };
    Ok((manifest, view))
}

fn tables_of(audit: &Audit) -> Vec<TableOf> {
    let table = |view: &TableView| TableOf {
        table: view.table.to_owned(),
        records: view.records,
        bytes: view.bytes,
    };
    audit.tables.iter().map(table).collect()
}

fn audit(store: &Path, go_on: GoOn<'_>) -> Result<Audit, BackupError> {
    let mut is_wanted = true;
    let audit = rocks::audit(store, &mut |done| {
        is_wanted = go_on(Progress { phase: Phase::Read, done, total: 0 });
        is_wanted
    });
    if is_wanted { audit.map_err(Into::into) } else { Err(BackupError::Stopped) }
}

fn checked_sums(folder: &Path, go_on: GoOn<'_>) -> Result<String, BackupError> {
    let files = sums::files(folder)?;
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    sums::of(folder, &files, &mut |done| go_on(Progress { phase: Phase::Digest, done, total }))
}

/// A new file that only its owner may read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
