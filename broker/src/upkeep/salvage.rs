//! What can be read of a damaged store goes into a data folder of its own, with which a broker can
//! start. The damaged one stays as it is.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::BackupError;
use super::archive::STORE;
use super::restore::restore_beside;
use crate::store::{Salvaged, folder, rocks};

/// Save what can be read of the store in `data_dir` in the new data folder `to`, with what stands
/// beside it. `go_on` hears how many records were read, and may end it.
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
    if !from.is_dir() {
        let error = std::io::ErrorKind::NotFound.into();
        return Err(BackupError::at(&from, "there is no store to save anything of")(error));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(&unusable)?;
    if fs::read_dir(to).map_err(&unusable)?.next().is_some() {
        let error = std::io::ErrorKind::DirectoryNotEmpty.into();
        return Err(BackupError::at(to, "name a new folder, this one holds something")(error));
    }
    let salvaged = rocks::salvage(&from, &to.join(STORE), go_on)?;
    restore_beside(data_dir, to).map_err(&unusable)?;
    folder::sync(to).map_err(&unusable)?;
    Ok(salvaged)
}
