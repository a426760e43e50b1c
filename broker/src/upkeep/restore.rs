//! A backup, or some tables of it, take the place of what the store of a broker that does not run
//! holds.
//!
//! The backup is verified first, then copied beside the store and synced; then the two change places
//! in one step. If only some tables are wanted, the store itself is copied, and the copy given the
//! tables of the backup. Whatever ends this on the way, the data folder holds one whole store under
//! the name `store`: the old one or the new one. The old one is kept.
//!
//! Numbers that were given out since the backup was made are not given out again.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::archive::{BESIDE, GoOn, STORE};
use super::{Archive, BackupError, Phase, Progress, folder_name, sums};
use crate::core::command::{BackupView, Name, TableView};
use crate::store::record::Table;
use crate::store::{folder, rocks};
use crate::{operator, private_file};

/// Tables that only make sense together, such as tasks and their bodies.
const BELONGINGS: [&[Table]; 6] = [
    &[
        Table::TaskQueue,
        Table::TaskCompleted,
        Table::TaskDeadLetter,
        Table::TaskBody,
        Table::TaskExpiry,
        Table::TaskDedup,
    ],
    &[Table::Message, Table::Mailbox, Table::Channel, Table::Subscriber],
    &[Table::Schedule],
    &[Table::Queue],
    &[Table::Token],
    &[Table::Config],
];

/// `table` and those that have to be restored with it; `None` if it is never restored by itself.
#[must_use]
pub fn belongings(table: Table) -> Option<&'static [Table]> {
    BELONGINGS.into_iter().find(|tables| tables.contains(&table))
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is in use now.
    pub backup: BackupView,
    /// Where that is which was in use before; `None` if there was nothing.
    pub replaced: Option<PathBuf>,
    /// The operator's token came from the backup, because there was none.
    pub is_token_new: bool,
    /// The counters of what was replaced could not be read, so many numbers were skipped.
    pub are_numbers_skipped: bool,
}

/// Put the backup `name` of `archive` in place of the store in `data_dir`; or only `tables` of it,
/// which [`belongings`] gives, in place of those.
///
/// # Errors
/// [`BackupError`]; a broker that runs is [`StoreError::Locked`](crate::store::StoreError::Locked).
pub fn restore(
    archive: &Archive,
    name: &Name,
    tables: Option<&[Table]>,
    data_dir: &Path,
    now_ms: u64,
    go_on: GoOn<'_>,
) -> Result<Restored, BackupError> {
    let from = archive.path(name)?;
    let unusable = BackupError::at(data_dir, "the data folder cannot be written");
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(&unusable)?;
    let store = data_dir.join(STORE);
    let was_there = store.exists();
    // Before the long reading, so that a broker that runs is told of at once; and held to the end.
    let _lock = folder::enter(&store)?;
    let backup = archive.verify(name, go_on)?;
    let beside = free_name(data_dir, now_ms);
    DirBuilder::new().mode(0o700).create(&beside).map_err(&unusable)?;
    let copied = match tables {
        None => copy(&from, &beside, go_on).and_then(|()| raise(&store, &beside)),
        Some(tables) => folder::twin(&store, &beside)
            .map_err(&unusable)
            .and_then(|()| transplant(&backup, tables, &beside, go_on))
            .and_then(|()| Ok(rocks::counters(&from.join(STORE))?))
            .and_then(|counters| Ok(rocks::raise_counters(&beside, counters)?))
            .and_then(|()| match tables.contains(&Table::TaskQueue) {
                true => Ok(rocks::raise_generations(&beside, Some(&store))?),
                false => Ok(()),
            })
            .map(|()| false),
    };
    let copied = copied.and_then(|skipped| {
        sync_files(&beside)?;
        folder::sync(data_dir).map_err(&unusable)?;
        exchange(&store, &beside, data_dir)?;
        Ok(skipped)
    });
    let are_numbers_skipped = match copied {
        Ok(skipped) => skipped,
        Err(error) => {
            // Only a copy.
            let _ = fs::remove_dir_all(&beside);
            return Err(error);
        }
    };
    folder::sync(data_dir).map_err(&unusable)?;
    let replaced = match was_there {
        true => Some(beside),
        false => {
            fs::remove_dir(&beside).map_err(&unusable)?;
            None
        }
    };
    let is_token_new = restore_beside(&from, data_dir).map_err(&unusable)?;
    Ok(Restored { backup, replaced, is_token_new, are_numbers_skipped })
}

/// `store.replaced-` and the time. The copy is made under the name that the old store gets by the
/// exchange, so that nothing that follows could be cut off.
pub(super) fn free_name(data_dir: &Path, now_ms: u64) -> PathBuf {
    let names = (0..).map(|second| folder_name::of(now_ms + second * 1_000));
    let mut paths = names.map(|name| data_dir.join(format!("store.replaced-{name}")));
    paths.find(|path| !path.exists()).expect("seconds do not end")
}

/// Copy the store of a backup, checking once more what is read.
fn copy(backup: &Path, to: &Path, go_on: GoOn<'_>) -> Result<(), BackupError> {
    let kept = sums::kept(backup)?;
    let files = sums::files(&backup.join(STORE))?;
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    let mut done = 0;
    for (path, _) in files {
        let (source, target) = (backup.join(STORE).join(&path), to.join(&path));
        let unwritable = BackupError::at(&target, "cannot be written");
        let mut reader = File::open(&source).map_err(BackupError::at(&source, "cannot be read"))?;
        let mut writer = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&target)
            .map_err(&unwritable)?;
        let mut tell = |bytes| go_on(Progress { phase: Phase::Copy, done: done + bytes, total });
        let digest = sums::digest(&mut reader, &mut |chunk| writer.write_all(chunk), &mut tell);
        let (digest, bytes) = digest.map_err(|error| BackupError::or_stopped(&target, error))?;
        if !kept.contains(&format!("{digest}  {STORE}/{path}\n")) {
            let reason = format!("{STORE}/{path} changed while it was copied");
            return Err(BackupError::damaged(backup, reason));
        }
        done += bytes;
    }
    Ok(())
}

/// Raise the counters of `new`, and the generations of its tasks, beyond those of `old`, or so far that
/// it makes no difference. Gives whether they had to be guessed.
fn raise(old: &Path, new: &Path) -> Result<bool, BackupError> {
    // A folder that was made for the lock has nothing to be read.
    let is_empty = fs::read_dir(old).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        return Ok(false);
    }
    let (least, is_guessed) = match rocks::counters(old) {
        Ok(counters) => (counters, false),
        Err(_) => (rocks::counters(new)?.far_beyond(), true),
    };
    rocks::raise_counters(new, least)?;
    rocks::raise_generations(new, (!is_guessed).then_some(old))?;
    Ok(is_guessed)
}

/// Put `tables` of the backup in place of those in the copy `to`, and see whether they are whole.
fn transplant(
    backup: &BackupView,
    tables: &[Table],
    to: &Path,
    go_on: GoOn<'_>,
) -> Result<(), BackupError> {
    let of_tables = |view: &&TableView| tables.iter().any(|table| table.name() == view.table);
    let total = backup.tables.iter().filter(of_tables).map(|view| view.records).sum();
    let mut tell = |done| go_on(Progress { phase: Phase::Copy, done, total });
    rocks::graft(&backup.folder.join(STORE), to, tables, &mut tell)?;
    let audit =
        rocks::audit(to, &mut |done| go_on(Progress { phase: Phase::Read, done, total: 0 }))?;
    let records = |views: &[TableView], table: Table| {
        let view = views.iter().find(|view| view.table == table.name());
        view.map_or(0, |view| view.records)
    };
    match tables
        .iter()
        .find(|table| records(&audit.tables, **table) != records(&backup.tables, **table))
    {
        None => Ok(()),
        Some(table) => {
            let reason = format!("the table {} cannot be copied as a whole", table.name());
            Err(BackupError::damaged(&backup.folder, reason))
        }
    }
}

/// Return when everything in `folder` is on disk.
/// Return when everything in `folder` is on disk.
pub(super) fn sync_files(folder: &Path) -> Result<(), BackupError> {
    for (path, _) in sums::files(folder)? {
        let path = folder.join(path);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(BackupError::at(&path, "cannot be synced"))?;
    }
    folder::sync(folder).map_err(BackupError::at(folder, "cannot be synced"))
}

/// Let `store` and `beside` change places, in one step.
pub(super) fn exchange(store: &Path, beside: &Path, data_dir: &Path) -> Result<(), BackupError> {
    let exchanged = renameat_with(CWD, store, CWD, beside, RenameFlags::EXCHANGE);
    exchanged.map_err(|error| match error {
        rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => {
            BackupError::NoExchange { data_dir: data_dir.to_owned() }
        }
        error => BackupError::at(store, "cannot be replaced")(error.into()),
    })
}

/// What stands beside the store in `from` comes along where there is none in `data_dir`: its
/// operator, for one, stays who it is. Gives whether the operator's token came.
pub(super) fn restore_beside(from: &Path, data_dir: &Path) -> io::Result<bool> {
    let mut is_token_new = false;
    for name in BESIDE {
        let (kept, there) = (from.join(name), data_dir.join(name));
        if kept.exists() && !there.exists() {
            private_file::write(&there, &fs::read_to_string(kept)?)?;
            is_token_new |= name == operator::FILE;
        }
    }
    Ok(is_token_new)
}
