//! A backup takes the place of the store of a broker that does not run.
//!
//! The backup is verified first, then copied beside the store and synced; then the two change places
//! in one step. Whatever ends this on the way, the data folder holds one whole store under the
//! name `store`: the old one or the new one. The old one is kept.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::archive::{GoOn, STORE};
use super::{Archive, BackupError, Phase, Progress, folder_name, sums};
use crate::core::command::{BackupView, Name};
use crate::operator;
use crate::store::folder;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is in use now.
    pub backup: BackupView,
    /// Where that is which was in use before; `None` if there was nothing.
    pub replaced: Option<PathBuf>,
    /// The operator's token came from the backup, because there was none.
    pub is_token_new: bool,
}

/// Put the backup `name` of `archive` in place of the store in `data_dir`.
///
/// # Errors
/// [`BackupError`]; a broker that runs is [`StoreError::Locked`](crate::store::StoreError::Locked).
pub fn restore(
    archive: &Archive,
    name: &Name,
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
    let copied = copy(&from, &beside, go_on)
        .and_then(|()| folder::sync(data_dir).map_err(&unusable))
        .and_then(|()| exchange(&store, &beside, data_dir));
    if let Err(error) = copied {
        // Only a copy.
        let _ = fs::remove_dir_all(&beside);
        return Err(error);
    }
    folder::sync(data_dir).map_err(&unusable)?;
    let replaced = match was_there {
        true => Some(beside),
        false => {
            fs::remove_dir(&beside).map_err(&unusable)?;
            None
        }
    };
    let is_token_new = restore_token(&from, data_dir).map_err(&unusable)?;
    Ok(Restored { backup, replaced, is_token_new })
}

/// `store.replaced-` and the time. The copy is made under the name that the old store gets by the
/// exchange, so that nothing that follows could be cut off.
fn free_name(data_dir: &Path, now_ms: u64) -> PathBuf {
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
        writer.sync_all().map_err(&unwritable)?;
        done += bytes;
    }
    folder::sync(to).map_err(BackupError::at(to, "cannot be written"))
}

fn exchange(store: &Path, beside: &Path, data_dir: &Path) -> Result<(), BackupError> {
    let exchanged = renameat_with(CWD, store, CWD, beside, RenameFlags::EXCHANGE);
    exchanged.map_err(|error| match error {
        rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => {
            BackupError::NoExchange { data_dir: data_dir.to_owned() }
        }
        error => BackupError::at(store, "cannot be replaced")(error.into()),
    })
}

/// The operator of the data folder stays who it is, if there is one.
fn restore_token(backup: &Path, data_dir: &Path) -> io::Result<bool> {
    let (kept, token) = (backup.join(operator::FILE), data_dir.join(operator::FILE));
    if token.exists() || !kept.exists() {
        return Ok(false);
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&token)?;
    file.write_all(&fs::read(kept)?)?;
    file.sync_all()?;
    folder::sync(data_dir)?;
    Ok(true)
}
