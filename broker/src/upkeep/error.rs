//! What can go wrong with a backup.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::command::Name;
use crate::store::StoreError;

/// Why a backup was not made, is not good, or was not restored. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is none of that name.
    #[error("there is no backup {name} in {}", folder.display())]
    None {
        /// The name asked for.
        name: Name,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Somebody makes one in the same folder.
    #[error("another backup is being made in {}; try again when it is done", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// It would not fit.
    #[error(
        "a backup in {} needs {needed} bytes, and {free} are free; make room, or name another folder with backup.dir", folder.display()
    )]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// It is not what was written.
    #[error("the backup {} is damaged: {reason}; use another one", folder.display())]
    Damaged {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system of the data folder cannot put a restored store in place at once.
    #[error(
        "the file system of {} cannot exchange two folders; move the folder `store` in it away and try again", data_dir.display()
    )]
    NoExchange {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// A file or a folder.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker is about to stop, or whoever asked does not want it any more.
    #[error("it was stopped before it was done")]
    Stopped,
}

impl BackupError {
    pub(super) fn at(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> BackupError {
        let path = path.to_owned();
        move |source| BackupError::Io { path: path.clone(), doing, source }
    }

    pub(super) fn damaged(folder: &Path, reason: String) -> BackupError {
        BackupError::Damaged { folder: folder.to_owned(), reason }
    }

    /// What became of reading `path`, which the reader may have given up.
    pub(super) fn or_stopped(path: &Path, error: io::Error) -> BackupError {
        match error.kind() {
            io::ErrorKind::Interrupted => BackupError::Stopped,
            _ => BackupError::at(path, "cannot be read")(error),
        }
    }
}
