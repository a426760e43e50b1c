//! How much room the disk has. While there is next to none, nothing is taken in that would fill it
//! further, so that what is under way can be brought to its end; a file that holds some of it makes
//! sure that a broker can start on a full disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::board::DiskLevel;
use crate::core::command::Scarcity;

/// The file that holds room, in the data folder.
const RESERVE: &str = "reserve";

/// What an operator may say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Below so many free bytes nothing new is taken in; zero: always.
    pub free_bytes_min: u64,
    /// Size of the file that holds room; zero: there is none.
    pub reserve_bytes: u64,
}

/// What to do about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    Keep,
    /// Give its room to whoever needs it.
    GiveUp,
    /// Take it again.
    Lay,
}

impl DiskSettings {
    /// Whether room is scarce with so many free bytes, when it `was` or was not. It is so again
    /// only below the line, and ends a quarter above it, so that it does not flap.
    #[must_use]
    pub fn is_scarce(&self, was: bool, free_bytes: u64) -> bool {
        let line = self.free_bytes_min;
        free_bytes < if was { line.saturating_add(line / 4) } else { line }
    }

    fn reserve(&self, is_scarce: bool, is_laid: bool, free_bytes: u64) -> Reserve {
        // What is free once the file is laid must not be scarce at once.
        let needed = self.free_bytes_min.saturating_add(self.free_bytes_min / 4);
        let needed = needed.saturating_add(self.reserve_bytes);
        match (is_laid, is_scarce) {
            (true, true) if free_bytes < self.reserve_bytes / 2 => Reserve::GiveUp,
            (false, false) if self.reserve_bytes > 0 && free_bytes >= needed => Reserve::Lay,
            _ => Reserve::Keep,
        }
    }
}

/// The disk of a data folder.
#[derive(Debug)]
pub(super) struct Room {
    data_dir: PathBuf,
    settings: DiskSettings,
    scarcity: Option<Scarcity>,
    level: Option<DiskLevel>,
    /// The file system cannot hold room in reserve; it is not asked again and again.
    cannot_reserve: bool,
}

impl Room {
    pub(super) fn new(data_dir: PathBuf, settings: DiskSettings) -> Room {
        Room { data_dir, settings, scarcity: None, level: None, cannot_reserve: false }
    }

    /// How full the disk was when it was last looked, if that could be found out.
    pub(super) fn level(&self) -> Option<DiskLevel> {
        self.level
    }

    /// Look how much there is. Gives how little, if it is scarce.
    pub(super) fn look(&mut self) -> Option<Scarcity> {
        let Ok((free_bytes, used_pct)) = level(&self.data_dir) else { return self.scarcity };
        let was = self.scarcity.is_some();
        let is_scarce = self.settings.is_scarce(was, free_bytes);
        self.level = Some(DiskLevel { free_bytes, used_pct, is_scarce });
        let free_bytes_min = self.settings.free_bytes_min;
        self.scarcity = is_scarce.then_some(Scarcity { free_bytes, free_bytes_min });
        let reserve = self.data_dir.join(RESERVE);
        match self.settings.reserve(is_scarce, reserve.exists(), free_bytes) {
            Reserve::Keep => {}
            Reserve::GiveUp => give_up(&reserve),
            Reserve::Lay if self.cannot_reserve => {}
            Reserve::Lay => {
                if let Err(error) = lay(&reserve, self.settings.reserve_bytes) {
                    tracing::warn!(%error, path = %reserve.display(), "no room can be held in reserve");
                    self.cannot_reserve = true;
                }
            }
        }
        self.scarcity
    }
}

/// Before the store in `data_dir` is opened, which takes some room: give up what is in reserve if
/// nothing else is left.
pub fn make_room(data_dir: &Path, settings: DiskSettings) {
    let reserve = data_dir.join(RESERVE);
    if free_bytes(data_dir).is_ok_and(|free| free < settings.reserve_bytes) && reserve.exists() {
        give_up(&reserve);
    }
}

fn give_up(reserve: &Path) {
    match fs::remove_file(reserve) {
        Ok(()) => tracing::warn!(
            path = %reserve.display(),
            "the disk is full; the room that was held in reserve is given up"
        ),
        Err(error) => {
            tracing::error!(%error, path = %reserve.display(), "the disk is full, and the room that is held in reserve cannot be given up");
        }
    }
}

fn lay(reserve: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(reserve)?;
    let laid = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    laid.or_else(|error| {
        // Half a reserve would be taken for a whole one.
        fs::remove_file(reserve)?;
        Err(error.into())
    })
}

/// What is free for the broker on the disk of `folder`, in bytes.
///
/// # Errors
/// What the system says.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    Ok(level(folder)?.0)
}

/// Free bytes for the broker on the disk of `folder`, and how much of it is in use, in per cent, as
/// `df` counts it.
#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn level(folder: &Path) -> io::Result<(u64, f64)> {
    let room = statvfs(folder)?;
    let used = room.f_blocks.saturating_sub(room.f_bfree);
    let share = used as f64 / used.saturating_add(room.f_bavail).max(1) as f64;
    Ok((room.f_bavail.saturating_mul(room.f_frsize), 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: DiskSettings = DiskSettings { free_bytes_min: 400, reserve_bytes: 100 };

    #[test]
    fn room_is_scarce_below_the_line_until_a_quarter_above_it() {
        for (was, free, is) in [
            (false, 400, false),
            (false, 399, true),
            (true, 400, true),
            (true, 499, true),
            (true, 500, false),
        ] {
            assert_eq!(SETTINGS.is_scarce(was, free), is, "{was} {free}");
        }
        let never = DiskSettings { free_bytes_min: 0, ..SETTINGS };
        assert!(!never.is_scarce(true, 0));
    }

    #[test]
    fn the_reserve_is_given_up_last_and_laid_again_where_that_makes_nothing_scarce() {
        assert_eq!(SETTINGS.reserve(true, true, 50), Reserve::Keep);
        assert_eq!(SETTINGS.reserve(true, true, 49), Reserve::GiveUp);
        assert_eq!(SETTINGS.reserve(true, false, 0), Reserve::Keep);
        assert_eq!(SETTINGS.reserve(false, false, 599), Reserve::Keep);
        assert_eq!(SETTINGS.reserve(false, false, 600), Reserve::Lay);
        assert!(!SETTINGS.is_scarce(false, 600 - 100), "it would be scarce at once");
        let none = DiskSettings { reserve_bytes: 0, ..SETTINGS };
        assert_eq!(none.reserve(false, false, u64::MAX), Reserve::Keep);
    }

    #[test]
    fn the_file_holds_what_it_says_and_nothing_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut room = Room::new(
            folder.path().to_owned(),
            DiskSettings { free_bytes_min: 0, reserve_bytes: 1 << 20 },
        );
        assert_eq!(room.look(), None);
        let reserve = folder.path().join(RESERVE);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), 1 << 20);
        make_room(folder.path(), DiskSettings { free_bytes_min: 0, reserve_bytes: 1 << 20 });
        assert!(reserve.exists(), "there is room enough");
        make_room(folder.path(), DiskSettings { free_bytes_min: 0, reserve_bytes: u64::MAX });
        assert!(!reserve.exists());
    }
}
