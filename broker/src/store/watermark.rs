//! Did anything vanish that was on disk already? A note, beside the store, of a write known to
//! have been synced.
//!
//! RocksDB cannot tell a log that was deleted or shortened from one that never was. The note can:
//! a store that ends before it has lost acknowledged work. It is written lazily and not synced
//! itself; a note that is older than the truth only guards a little less.
//!
//! The first note of a run is synced, before anything is acknowledged. So a note never vanishes by
//! itself, and whoever deletes it has said that losses are accepted (`recovery.rs`).
//!
//! File `synced`: version, sequence number (8 bytes little-endian), CRC-32 of both (4 bytes).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder;

const FORMAT: u8 = 1;
const FILE_BYTES: usize = 13;

/// Time between two notes: what a crash leaves unguarded, against a small write each time.
const INTERVAL: Duration = Duration::from_millis(100);

/// The file of the note.
#[derive(Debug)]
pub(super) struct Watermark {
    path: PathBuf,
    /// When it was last written in this run, and whether that was for good once.
    written: Option<Instant>,
    is_kept: bool,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The write with this number was synced.
    Synced(u64),
    /// There is no file: the store is new, or somebody deleted it.
    Missing,
    /// What the file holds is no note, or cannot be read.
    Damaged,
}

impl Watermark {
    /// The note beside the store in `folder`.
    pub(super) fn beside(folder: &Path) -> Watermark {
        Watermark { path: folder.join("synced"), written: None, is_kept: false }
    }

    /// What is noted.
    pub(super) fn noted(&self) -> Note {
        match fs::read(&self.path) {
            Ok(bytes) => decoded(&bytes).map_or(Note::Damaged, Note::Synced),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Note::Missing,
            Err(_) => Note::Damaged,
        }
    }

    /// Note `sequence` for good, unless that was done in this run already.
    pub(super) fn note_first(&mut self, sequence: u64) {
        if !self.is_kept {
            self.is_kept = true;
            self.try_to(|watermark| watermark.write_for_good(sequence));
        }
    }

    /// Note `sequence` if the last note is old enough.
    pub(super) fn note_lazily(&mut self, sequence: u64) {
        if self.written.is_none_or(|written| written.elapsed() >= INTERVAL) {
            self.note(sequence);
        }
    }

    /// Note `sequence` now.
    pub(super) fn note(&mut self, sequence: u64) {
        self.written = Some(Instant::now());
        self.try_to(|watermark| watermark.write(sequence).map(drop));
    }

    /// A note that cannot be written guards a little less; the writes it is about are safe, so
    /// that is no reason to stop.
    fn try_to(&self, write: impl FnOnce(&Watermark) -> io::Result<()>) {
        if let Err(error) = write(self) {
            tracing::warn!(path = %self.path.display(), %error, "the note of the last synced write cannot be written");
        }
    }

    /// Over the old bytes, all within one sector: a crash leaves the old note or the new one.
    fn write(&self, sequence: u64) -> io::Result<File> {
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&self.path)?;
        file.write_all_at(&encoded(sequence), 0)?;
        Ok(file)
    }

    fn write_for_good(&self, sequence: u64) -> io::Result<()> {
        let file = self.write(sequence)?;
        // Whatever else was in the file would make the note a damaged one.
        file.set_len(FILE_BYTES as u64)?;
        file.sync_all()?;
        folder::sync(self.path.parent().expect("the note is in the store's folder"))
    }
}

fn encoded(sequence: u64) -> [u8; FILE_BYTES] {
    let mut bytes = [FORMAT; FILE_BYTES];
    bytes[1..9].copy_from_slice(&sequence.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..9]);
    bytes[9..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decoded(bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(bytes.get(1..9)?.try_into().ok()?);
    (bytes == encoded(sequence)).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_a_torn_one_is_told_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut watermark = Watermark::beside(folder.path());
        assert_eq!(watermark.noted(), Note::Missing);
        watermark.note(77);
        assert_eq!(watermark.noted(), Note::Synced(77));
        watermark.note(78);
        assert_eq!(watermark.noted(), Note::Synced(78));
        fs::write(&watermark.path, &encoded(79)[..12]).unwrap();
        assert_eq!(watermark.noted(), Note::Damaged);
    }

    #[test]
    fn the_first_note_of_a_run_replaces_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut watermark = Watermark::beside(folder.path());
        fs::write(&watermark.path, [7; 100]).unwrap();
        assert_eq!(watermark.noted(), Note::Damaged);
        watermark.note_first(5);
        assert_eq!(watermark.noted(), Note::Synced(5));
        watermark.note_first(6);
        assert_eq!(watermark.noted(), Note::Synced(5));
    }
}
