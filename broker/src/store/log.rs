//! The log: a batch is on disk when it stands here, and RocksDB gets it after that.
//!
//! Two files take turns. One is filled from its start; meanwhile everything that stands in the
//! other is written into tables, and then that one is filled again, over what it holds. So the
//! files keep their size and their place on the disk, and a sync has nothing to write but the
//! batch: no entry in the journal of the file system, no page cache that has to be looked through,
//! and one request to the disk instead of two where that can write through its cache. RocksDB's own
//! log, which can only be appended to, is not used.
//!
//! `format.rs` has the bytes, `scan.rs` makes sense of them. Who reads the log at a start, and what
//! becomes of damage, is in `recovery.rs`.

pub(super) mod format;
pub(super) mod scan;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use self::format::{ALIGNMENT, HEAD_BYTES, HEADER_BYTES, Head, Salt};
use super::{StoreError, folder};
use crate::store::record::Write;

/// A file that has as much is full; its last batch may go beyond. 32 MiB: a few seconds of full
/// load, read in tens of milliseconds at a start.
const FILE_BYTES: u64 = 32 << 20;

/// A file grows by this. 256 KiB: a new store is small, and zeros are written rarely.
const GROWTH_BYTES: u64 = 256 << 10;

/// What is written begins and ends at a multiple of this, in the file and in memory: any disk can
/// take that as it is.
const PAGE_BYTES: u64 = 4096;
const PAGE: usize = PAGE_BYTES as usize;

/// What the buffer of a batch keeps after an unusually large one. 1 MiB: a turn of a few thousand
/// tasks.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// The names of the two files in the folder of the store.
const NAMES: [&str; 2] = ["batches-0.log", "batches-1.log"];

/// The log of a store that is open.
#[derive(Debug)]
pub(super) struct Log {
    files: [LogFile; 2],
    /// Which of them is being filled.
    current: usize,
    /// Where the frame of the batch begins that is being put together.
    at: u64,
    salt: Salt,
    /// That frame, and in front of it what stands in the same page of the file and has to be written
    /// again.
    pages: Pages,
}

#[derive(Debug)]
struct LogFile {
    file: File,
    bytes: u64,
    /// A write goes to the disk and is there when it returns.
    is_direct: bool,
}

/// Bytes that are to be written, at the start of a page in memory when that happens.
#[derive(Debug)]
struct Pages {
    /// They stand behind `start` others.
    bytes: Vec<u8>,
    start: usize,
}

impl Pages {
    /// Begin with these.
    fn new(first: &[u8]) -> Pages {
        let mut pages = Pages { bytes: Vec::new(), start: 0 };
        pages.begin(first);
        pages
    }

    /// Begin anew with these.
    fn begin(&mut self, first: &[u8]) {
        self.bytes.clear();
        self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        self.bytes.reserve(PAGE + first.len());
        self.start = self.bytes.as_ptr().align_offset(PAGE);
        self.bytes.resize(self.start, 0);
        self.bytes.extend_from_slice(first);
    }

    /// All of them, and zeros up to so many.
    fn filled(&mut self, length: usize) -> &[u8] {
        self.bytes.resize(self.start + length, 0);
        if self.bytes[self.start..].as_ptr().align_offset(PAGE) != 0 {
            // They did not fit where they began, and were moved.
            self.bytes.reserve(PAGE);
            let start = self.bytes.as_ptr().align_offset(PAGE);
            let end = self.bytes.len();
            self.bytes.resize(end + PAGE, 0);
            self.bytes.copy_within(self.start..end, start);
            self.bytes.truncate(start + length);
            self.start = start;
        }
        &self.bytes[self.start..]
    }
}

impl Log {
    /// Begin an empty log in `folder`. What is in the files there is lost.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn begin(folder: &Path, salt: Salt) -> io::Result<Log> {
        // One after the other: at any time, one of them has a head that is whole.
        let first = LogFile::begin(&folder.join(NAMES[0]), salt)?;
        let second = LogFile::begin(&folder.join(NAMES[1]), salt)?;
        folder::sync(folder)?;
        Ok(Log {
            files: [first, second],
            current: 0,
            at: HEAD_BYTES as u64,
            salt,
            pages: Pages::new(&[0; HEADER_BYTES]),
        })
    }

    /// Add a write to the batch.
    pub(super) fn put(&mut self, write: Write<'_>) {
        format::put(&mut self.pages.bytes, write);
    }

    /// Return when the batch is on disk, under `number`. The next batch begins.
    ///
    /// # Errors
    /// What the system says; then nobody knows what is on disk, and the log must not be used again.
    pub(super) fn sync(&mut self, number: u64) -> io::Result<()> {
        let bytes = |from: u64, to: u64| usize::try_from(to - from).expect("it fits into memory");
        let start = self.at - self.at % PAGE_BYTES;
        let frame = &mut self.pages.bytes[self.pages.start + bytes(start, self.at)..];
        format::seal(frame, self.salt, number);
        let next = self.at + (frame.len().next_multiple_of(ALIGNMENT)) as u64;
        let file = &mut self.files[self.current];
        let end = match next.next_multiple_of(PAGE_BYTES) {
            end if end <= file.bytes => end,
            _ => next.next_multiple_of(GROWTH_BYTES),
        };
        let pages = self.pages.filled(bytes(start, end));
        file.write(pages, start)?;
        let mut again = [0; PAGE + HEADER_BYTES];
        let shared = &pages[bytes(start, next - next % PAGE_BYTES)..bytes(start, next)];
        again[..shared.len()].copy_from_slice(shared);
        let first = &again[..shared.len() + HEADER_BYTES];
        self.pages.begin(first);
        self.at = next;
        Ok(())
    }

    /// Whether it is time to go on in the other file.
    pub(super) fn is_full(&self) -> bool {
        self.at >= FILE_BYTES
    }

    /// Go on in the other file, over what stands there, which is in tables by now.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn go_on_in_the_other(&mut self) -> io::Result<()> {
        self.current = 1 - self.current;
        // The batch stands behind what shares its page in the file that is full.
        let shared = usize::try_from(self.at % PAGE_BYTES).expect("less than a page");
        self.pages.bytes.drain(self.pages.start..self.pages.start + shared);
        self.at = HEAD_BYTES as u64;
        let file = &mut self.files[self.current];
        if file.bytes > FILE_BYTES + GROWTH_BYTES {
            file.file.set_len(FILE_BYTES)?;
            file.bytes = FILE_BYTES;
        }
        Ok(())
    }
}

impl LogFile {
    fn begin(path: &Path, salt: Salt) -> io::Result<LogFile> {
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        let head = format::head(salt);
        let mut pages = Pages::new(&head);
        let head = pages.filled(head.len());
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
        let direct = File::options().write(true).custom_flags(flags).open(path);
        let direct = direct.and_then(|file| file.write_all_at(head, 0).map(|()| file));
        let (file, is_direct) = match direct {
            Ok(direct) => (direct, true),
            // Not every file system lets one write past its cache.
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                    file.write_all_at(head, 0)?;
                    (file, false)
                }
                _ => return Err(error),
            },
        };
        file.sync_all()?;
        Ok(LogFile { file, bytes: HEAD_BYTES as u64, is_direct })
    }

    /// Return when `pages` are on disk, at `start`.
    fn write(&mut self, pages: &[u8], start: u64) -> io::Result<()> {
        self.file.write_all_at(pages, start)?;
        self.bytes = self.bytes.max(start + pages.len() as u64);
        if self.is_direct { Ok(()) } else { self.file.sync_data() }
    }
}

/// The files of the log in a folder, as they were read.
#[derive(Debug)]
pub(super) struct LogFiles {
    paths: [PathBuf; 2],
    bytes: [Vec<u8>; 2],
    salts: [Salt; 2],
    /// A file with frames, if nobody knows what marks them.
    headless: Option<usize>,
}

impl LogFiles {
    /// Read the log in `folder`; one that is not there holds nothing.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it cannot be read, [`StoreError::NewerFormat`].
    pub(super) fn read(folder: &Path) -> Result<LogFiles, StoreError> {
        let paths = NAMES.map(|name| folder.join(name));
        let [first, second] = paths.each_ref().map(|path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        });
        let open_error = |error: io::Error| StoreError::Open {
            folder: folder.to_owned(),
            reason: format!("its log cannot be read: {error}").into(),
        };
        let bytes = [first.map_err(open_error)?, second.map_err(open_error)?];
        let heads = bytes.each_ref().map(|bytes| format::read_head(bytes));
        if let Some(found) = heads.iter().find_map(|head| match head {
            Head::Unknown(format) => Some(*format),
            Head::Known(_) | Head::Damaged => None,
        }) {
            return Err(StoreError::NewerFormat { table: "the log", found, known: format::FORMAT });
        }
        let salt = |head: Head| match head {
            Head::Known(salt) => Some(salt),
            Head::Unknown(_) | Head::Damaged => None,
        };
        // A start gives both the same, so one can stand in for the other.
        let any = heads.iter().find_map(|head| salt(*head));
        let with_frames = bytes.iter().position(|bytes| bytes.len() > HEAD_BYTES);
        let headless = with_frames.filter(|_| any.is_none());
        let bytes = if any.is_some() { bytes } else { [Vec::new(), Vec::new()] };
        let salts = heads.map(|head| salt(head).or(any).unwrap_or(Salt(0)));
        Ok(LogFiles { paths, bytes, salts, headless })
    }

    /// The file that holds batches of which none can be found, because no head tells what marks them.
    pub(super) fn headless(&self) -> Option<&Path> {
        self.headless.map(|file| self.path(file))
    }

    /// Where a file is.
    pub(super) fn path(&self, file: usize) -> &Path {
        &self.paths[file]
    }

    /// What was read.
    pub(super) fn files(&self) -> scan::Files<'_> {
        let [first, second] = &self.bytes;
        [(first, self.salts[0]), (second, self.salts[1])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::Table;

    const SALT: Salt = Salt(0x5a17);

    fn put(log: &mut Log, number: u64, bytes: usize) {
        let value = vec![number as u8; bytes];
        log.put(Write::Put(Table::TaskBody, &number.to_be_bytes(), &value));
        log.sync(number).unwrap();
    }

    /// The numbers that the writes of the batches from `next` on have as their keys.
    fn numbers(folder: &Path, next: u64) -> Vec<u64> {
        let files = LogFiles::read(folder).unwrap();
        let scan = scan::scan(&files.files(), next);
        assert_eq!(scan.damage, None);
        let writes = scan.batches.iter().flat_map(|batch| format::writes(batch));
        let key = |write| match write {
            Some(Write::Put(_, key, _)) => u64::from_be_bytes(key.try_into().unwrap()),
            other => panic!("{other:?}"),
        };
        writes.map(key).collect()
    }

    #[test]
    fn what_was_synced_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(numbers(folder.path(), 1).is_empty());
        let mut log = Log::begin(folder.path(), SALT).unwrap();
        assert!(numbers(folder.path(), 1).is_empty());
        for (number, bytes) in (1..).zip([0, 9, 5_000, 300_000, 4_000]) {
            put(&mut log, number, bytes);
        }
        assert_eq!(numbers(folder.path(), 1), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(folder.path(), 4), [4, 5]);
        Log::begin(folder.path(), SALT).unwrap();
        assert!(numbers(folder.path(), 1).is_empty());
    }

    #[test]
    fn the_files_take_turns_and_keep_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), SALT).unwrap();
        let (mut number, mut first) = (0, vec![]);
        for _ in 0..5 {
            first.push(number + 1);
            while !log.is_full() {
                number += 1;
                put(&mut log, number, 3 << 20);
            }
            // What is in this file and in the one before is there, whatever older things follow.
            let from = first[first.len().saturating_sub(2)];
            let expected: Vec<u64> = (from..=number).collect();
            assert_eq!(numbers(folder.path(), from), expected);
            log.go_on_in_the_other().unwrap();
        }
        for name in NAMES {
            let bytes = fs::metadata(folder.path().join(name)).unwrap().len();
            assert!(bytes <= FILE_BYTES + (4 << 20), "{name} has {bytes} bytes");
        }
    }

    #[test]
    fn a_batch_that_is_begun_goes_on_in_the_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), SALT).unwrap();
        for (number, bytes) in (1..).zip([10, 5_000, 300_000]) {
            put(&mut log, number, bytes);
            let next: u64 = number + 10;
            log.put(Write::Put(Table::TaskBody, &next.to_be_bytes(), &[7; 9_000]));
            log.go_on_in_the_other().unwrap();
            log.sync(next).unwrap();
            assert_eq!(numbers(folder.path(), next), [next]);
        }
    }

    #[test]
    fn pages_begin_at_a_page_however_they_grow() {
        let mut pages = Pages::new(b"first");
        for bytes in [0_usize, 1, 4_000, 4_096, 9_000, 70_000, 300_000, 2_000_000, 10] {
            let more: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            more.chunks(1_000).for_each(|some| pages.bytes.extend_from_slice(some));
            let length = (5 + bytes).next_multiple_of(PAGE);
            let filled = pages.filled(length);
            assert_eq!(filled.as_ptr().align_offset(PAGE), 0, "{bytes} bytes");
            let mut expected = [b"first", &more[..]].concat();
            expected.resize(length, 0);
            assert!(filled == expected, "{bytes} bytes");
            pages.begin(b"first");
        }
        assert!(pages.bytes.capacity() <= BUFFER_BYTES_KEPT + 2 * PAGE);
    }

    #[test]
    fn through_the_cache_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), SALT).unwrap();
        for (file, name) in log.files.iter_mut().zip(NAMES) {
            file.file = File::options().write(true).open(folder.path().join(name)).unwrap();
            file.is_direct = false;
        }
        for (number, bytes) in (1..).zip([0, 9, 5_000, 300_000, 4_000]) {
            put(&mut log, number, bytes);
        }
        log.go_on_in_the_other().unwrap();
        put(&mut log, 6, 10);
        assert_eq!(numbers(folder.path(), 1), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn one_head_stands_in_for_the_other_and_without_both_nothing_is_made_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), SALT).unwrap();
        put(&mut log, 1, 10);
        let spoil = |name| {
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        spoil(NAMES[0]);
        assert_eq!(numbers(folder.path(), 1), [1]);
        spoil(NAMES[1]);
        let files = LogFiles::read(folder.path()).unwrap();
        assert_eq!(files.headless(), Some(&*folder.path().join(NAMES[0])));
    }

    #[test]
    fn a_first_start_that_was_cut_short_left_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let head = format::head(SALT);
        for bytes in [&[][..], &head[..100], &[0; HEAD_BYTES], &head] {
            fs::write(folder.path().join(NAMES[0]), bytes).unwrap();
            assert!(numbers(folder.path(), 1).is_empty());
        }
    }
}
