//! Did anything vanish that was on disk already? A note, beside the store, of a write known to
//! have been synced.
//!
//! RocksDB cannot tell a log that was deleted or shortened from one that never was. The note can:
//! a store that ends before it has lost acknowledged work. It is written lazily and not synced
//! itself; a note that is older than the truth only guards a little less.
//!
//! File `synced`: version, sequence number (8 bytes little-endian), CRC-32 of both (4 bytes).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FORMAT: u8 = 1;
const FILE_BYTES: usize = 13;

/// Time between two notes: what a crash leaves unguarded, against a small write each time.
const INTERVAL: Duration = Duration::from_millis(100);

/// The note.
#[derive(Debug)]
pub(super) struct Watermark {
    path: PathBuf,
    written: Option<Instant>,
}

impl Watermark {
    /// The note beside the store in `folder`.
    pub(super) fn beside(folder: &Path) -> Watermark {
        Watermark { path: folder.join("synced"), written: None }
    }

    /// The sequence number noted; `None` if there is no note or it is torn, which a power cut in
    /// the middle of writing it can do.
    pub(super) fn noted(&self) -> Option<u64> {
        let bytes: [u8; FILE_BYTES] = fs::read(&self.path).ok()?.try_into().ok()?;
        let sequence = u64::from_le_bytes(bytes[1..9].try_into().ok()?);
        (bytes == encoded(sequence)).then_some(sequence)
    }

    /// Note `sequence` if the last note is old enough.
    pub(super) fn note_lazily(&mut self, sequence: u64) {
        if self.written.is_none_or(|written| written.elapsed() >= INTERVAL) {
            self.note(sequence);
        }
    }

    /// Note `sequence` now. A note that cannot be written guards a little less; the writes it is
    /// about are safe, so that is no reason to stop.
    pub(super) fn note(&mut self, sequence: u64) {
        self.written = Some(Instant::now());
        if let Err(error) = self.write(sequence) {
            tracing::warn!(path = %self.path.display(), %error, "the note of the last synced write cannot be written");
        }
    }

    /// Over the old bytes, all within one sector: a crash leaves the old note or the new one.
    fn write(&self, sequence: u64) -> io::Result<()> {
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&self.path)?;
        file.write_all_at(&encoded(sequence), 0)
    }
}

fn encoded(sequence: u64) -> [u8; FILE_BYTES] {
    let mut bytes = [FORMAT; FILE_BYTES];
    bytes[1..9].copy_from_slice(&sequence.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..9]);
    bytes[9..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_a_torn_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut watermark = Watermark::beside(folder.path());
        assert_eq!(watermark.noted(), None);
        watermark.note(77);
        assert_eq!(watermark.noted(), Some(77));
        watermark.note(78);
        assert_eq!(watermark.noted(), Some(78));
        fs::write(&watermark.path, &encoded(79)[..12]).unwrap();
        assert_eq!(watermark.noted(), None);
    }
}
