//! What can be read of a damaged store goes into a data folder of its own, or takes the place of the
//! damaged one, which stays as it is under another name.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::archive::STORE;
use super::restore::{exchange, free_name, restore_beside, sync_files};
use crate::store::{Salvaged, folder, rocks};

/// Save what can be read of the store in `data_dir` in the new data folder `to`, with what
/// stands beside it. `go_on` hears how many records were read, and may end it.
///
/// # Errors
/// [`BackupError`] if `to` holds something already or cannot be written, a broker runs on
/// `data_dir`, or nothing at all can be read. `data_dir` is never changed.
pub fn salvage(
    data_dir: &Path,
    to: &Path,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Salvaged, BackupError> {
    let unusable = BackupError::at(to, "the new data folder cannot be written");
    let from = data_dir.join(STORE);
    let _lock = enter(&from)?;
    DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(&unusable)?;
    if fs::read_dir(to).map_err(&unusable)?.next().is_some() {
        let error = std::io::ErrorKind::DirectoryNotEmpty.into();
        return Err(BackupError::at(to, "name a new folder, this one holds something")(error));
    }
    let saved = to.join(STORE);
    let salvaged = rocks::salvage(&from, &saved, go_on).inspect_err(|_| {
        // Whoever finds it would take it for something.
        let _ = fs::remove_dir_all(&saved);
    })?;
    restore_beside(data_dir, to).map_err(&unusable)?;
    folder::sync(to).map_err(&unusable)?;
    Ok(salvaged)
}

/// [`salvage`], in place: what can be read and the damaged store change places in one step. Gives
/// where the damaged one is now; `None` if nothing is damaged, and everything as it was.
///
/// # Errors
/// [`BackupError`] if a broker runs on `data_dir`, nothing at all can be read, or the folder cannot
/// be written. Everything is as it was then.
pub fn repair(
    data_dir: &Path,
    now_ms: u64,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(Salvaged, Option<PathBuf>), BackupError> {
    let unusable = BackupError::at(data_dir, "the data folder cannot be written");
    let store = data_dir.join(STORE);
    // Held to the end: no broker may write to what is about to be replaced.
    let _lock = enter(&store)?;
    let beside = free_name(data_dir, now_ms);
    DirBuilder::new().mode(0o700).create(&beside).map_err(&unusable)?;
    let salvaged = rocks::salvage(&store, &beside, go_on).map_err(BackupError::from);
    let salvaged = salvaged.and_then(|salvaged| {
        if salvaged.is_whole() {
            fs::remove_dir_all(&beside).map_err(&unusable)?;
            return Ok(salvaged);
        }
        sync_files(&beside)?;
        folder::sync(data_dir).map_err(&unusable)?;
        exchange(&store, &beside, data_dir)?;
        Ok(salvaged)
    });
    let salvaged = salvaged.inspect_err(|_| {
        // Only a copy.
        let _ = fs::remove_dir_all(&beside);
    })?;
    folder::sync(data_dir).map_err(&unusable)?;
    let replaced = (!salvaged.is_whole()).then_some(beside);
    Ok((salvaged, replaced))
}

/// Lock a store that must be there.
fn enter(store: &Path) -> Result<folder::FolderLock, BackupError> {
    if !store.is_dir() {
        let error = std::io::ErrorKind::NotFound.into();
        return Err(BackupError::at(store, "there is no store to save anything of")(error));
    }
    Ok(folder::enter(store)?)
}
