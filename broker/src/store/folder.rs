//! The folder of a store: there to stay once it is made, and one broker's at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Held as long as the store is open. The kernel lets go of it when the process ends, however
/// that comes about.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _folder: File,
}

/// Make `folder` if it is missing, and lock it before anything in it is looked at.
///
/// # Errors
/// [`StoreError::Locked`] or [`StoreError::Open`].
pub(crate) fn enter(folder: &Path) -> Result<FolderLock, StoreError> {
    let opened = fs::create_dir_all(folder).and_then(|()| File::open(folder));
    let opened = opened.map_err(|error| open_error(folder, &error))?;
    match opened.try_lock() {
        // A file system that cannot lock folders leaves it to RocksDB's own lock file.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(FolderLock { _folder: opened }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
    }
}

/// Return when `folder` will be found after a power cut: a new folder is an entry in its parent,
/// which may be new itself, and so on.
///
/// # Errors
/// [`StoreError::Open`] if `folder` or its parent cannot be synced. Whoever made the folders
/// further up, and whether they may be opened, is not known; those are tried.
pub(super) fn sync_with_parents(folder: &Path) -> Result<(), StoreError> {
    let absolute = fs::canonicalize(folder).map_err(|error| open_error(folder, &error))?;
    for (height, ancestor) in absolute.ancestors().enumerate() {
        match sync(ancestor) {
            Err(error) if height < 2 => return Err(open_error(ancestor, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Return when the entries of `folder` are on disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A copy of a store that nobody has open. Tables, which never change once they are written, are
/// shared where the file system can do that. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Twin {
    folder: PathBuf,
}

impl Twin {
    /// Make `to`, in place of whatever is there, a copy of the store in `from`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of(from: &Path, to: &Path) -> io::Result<Twin> {
        match fs::remove_dir_all(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let twin = Twin { folder: to.to_owned() };
        self::twin(from, to)?;
        Ok(twin)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // Only a copy; the next one goes to the same place.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Make `to` a copy of the store in `from`, as [`Twin`] does, to be kept.
///
/// # Errors
/// What the system says.
pub(crate) fn twin(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            twin(&source, &target)?;
            continue;
        }
        let is_table = source.extension().is_some_and(|extension| extension == "sst");
        if !is_table || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn open_error(folder: &Path, error: &io::Error) -> StoreError {
    StoreError::Open { folder: folder.to_owned(), reason: error.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_entered_once_at_a_time() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a").join("b");
        let first = enter(&folder).unwrap();
        let error = enter(&folder).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        drop(first);
        enter(&folder).unwrap();
        sync_with_parents(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = enter(file.path()).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
    }
}
