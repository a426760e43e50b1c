//! May a store be opened, and what has to be dropped for it? Asked before RocksDB sees the logs,
//! because no recovery mode of it is right: the strict ones refuse what a power cut leaves, and
//! the others drop acknowledged batches without a word.
//!
//! | the logs | which shows in | and then |
//! |---|---|---|
//! | are whole | [`Replay::Whole`] | RocksDB replays them, and refuses what it does not like |
//! | end in a batch that was never acknowledged | [`Replay::UpTo`] | it is dropped, and the broker's log says so |
//! | are damaged in front of a batch that was synced | [`StoreError::LogDamaged`] | nothing is opened or changed |
//! | the same, and newer logs follow | [`StoreError::Corrupt`] | nothing is opened or changed |
//! | end in a torn batch, before the noted write | [`StoreError::Behind`] | nothing is opened or changed |
//!
//! Whoever deleted the note accepts the loss: what `LogDamaged` and `Behind` are about is then
//! dropped from the bad place on. (With newer logs there is no such place: RocksDB begins a new one
//! when it writes a table, and that table holds changes from behind the bad place.)

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::log_scan::scan;
use super::watermark::Note;

/// Bytes of a batch without changes. A log that is not longer holds nothing that anybody misses:
/// RocksDB makes it in a start that drops a torn end, and a power cut may come right then.
const EMPTY_BATCH_BYTES: usize = 7 + 12;

/// How the logs are to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replay {
    /// To their end; anything that does not fit refuses the start.
    Whole,
    /// To the first place that does not fit. An earlier start did the same, went on, and was ended
    /// before it had removed that log; nothing is lost.
    Again,
    /// To the first place that does not fit.
    UpTo(Loss),
}

/// What is not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// The log with the bad place.
    pub(super) log: PathBuf,
    /// Where the batch begins that is not whole.
    pub(super) at: u64,
    /// What does not fit there.
    pub(super) reason: &'static str,
    /// Bytes from there to the end of the log.
    pub(super) bytes: u64,
    /// Other batches follow in the same log, so this one was synced.
    is_followed: bool,
}

/// Look at the logs in `folder`.
///
/// # Errors
/// [`StoreError::LogDamaged`], [`StoreError::Corrupt`] and [`StoreError::Behind`] as above, and
/// [`StoreError::Open`] if the logs cannot be read.
pub(super) fn examine(folder: &Path, note: Note) -> Result<Replay, StoreError> {
    let mut replay = Replay::Whole;
    // The number that follows the last batch that can be replayed; 0 if there is none.
    let mut next = 0;
    for (log, bytes) in read_logs(folder).map_err(|error| open_error(folder, &error))? {
        let bytes = bytes.map_err(|error| open_error(folder, &error))?;
        let scan = scan(&bytes, next);
        if let Replay::UpTo(loss) = &replay {
            if scan.first.is_none() && bytes.len() <= EMPTY_BATCH_BYTES {
                continue;
            }
            let goes_on = match next {
                0 => scan.begins_empty,
                _ => scan.first == Some(next),
            };
            if !goes_on {
                return Err(corrupt(folder, loss));
            }
            replay = Replay::Again;
        }
        next = scan.next.unwrap_or(next);
        if let Some(damage) = scan.damage {
            replay = Replay::UpTo(Loss {
                log,
                at: damage.at as u64,
                reason: damage.reason,
                bytes: (bytes.len() - damage.at) as u64,
                is_followed: damage.is_followed,
            });
        }
    }
    match (replay, note) {
        (Replay::UpTo(loss), Note::Synced(_) | Note::Damaged) if loss.is_followed => {
            let Loss { log, at, reason, bytes, .. } = loss;
            Err(StoreError::LogDamaged { log, at, reason, bytes })
        }
        // Where no batch can be read, only RocksDB knows how far its tables go.
        (Replay::UpTo(_), Note::Synced(noted)) if (1..=noted).contains(&next) => {
            Err(StoreError::Behind { folder: folder.to_owned(), found: next - 1, noted })
        }
        (replay, _) => Ok(replay),
    }
}

fn corrupt(folder: &Path, loss: &Loss) -> StoreError {
    let Loss { log, at, reason, .. } = loss;
    let log = log.display();
    let reason =
        format!("the log {log} does not make sense at byte {at} ({reason}), and was synced");
    StoreError::Corrupt { folder: folder.to_owned(), reason: reason.into() }
}

pub(super) type Log = (PathBuf, io::Result<Vec<u8>>);

/// The logs in `folder`, oldest first; each is read when it is asked for.
pub(super) fn read_logs(folder: &Path) -> io::Result<impl Iterator<Item = Log>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        logs.extend(number.filter(|_| is_log).map(|number| (number, path)));
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| {
        let bytes = fs::read(&path);
        (path, bytes)
    }))
}

fn open_error(folder: &Path, error: &io::Error) -> StoreError {
    StoreError::Open { folder: folder.to_owned(), reason: error.to_string().into() }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::log_scan::writer::write;
    use super::*;

    /// A log of batches with these numbers, one change each, without its last `cut` bytes.
    fn log(sequences: &[u64], cut: usize) -> Vec<u8> {
        let mut log = Vec::new();
        for sequence in sequences {
            write(&mut log, *sequence, 1, 50);
        }
        log.truncate(log.len() - cut);
        log
    }

    fn folder(logs: &[Vec<u8>]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, log) in (8..).zip(logs) {
            fs::write(folder.path().join(format!("{number:06}.log")), log).unwrap();
        }
        // Neither is a write-ahead log.
        fs::write(folder.path().join("LOG"), b"text").unwrap();
        fs::write(folder.path().join("notes.log"), b"text").unwrap();
        folder
    }

    /// One word for what becomes of `logs`, and how many bytes are dropped or in danger.
    #[track_caller]
    fn check(logs: &[Vec<u8>], note: Note, expected: (&str, u64)) {
        let folder = folder(logs);
        let found = match examine(folder.path(), note) {
            Ok(Replay::Whole) => ("whole", 0),
            Ok(Replay::Again) => ("again", 0),
            Ok(Replay::UpTo(loss)) => ("dropped", loss.bytes),
            Err(StoreError::LogDamaged { bytes, .. }) => ("damaged", bytes),
            Err(StoreError::Corrupt { .. }) => ("corrupt", 0),
            Err(StoreError::Behind { found, .. }) => ("behind", found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected);
    }

    /// Bytes of a batch in a log.
    const BATCH: usize = 7 + 12 + 50;

    fn with_flip(mut log: Vec<u8>, at: usize) -> Vec<u8> {
        log[at] ^= 1;
        log
    }

    #[test]
    fn a_whole_log_is_replayed_whatever_the_note_says() {
        for note in [Note::Missing, Note::Damaged, Note::Synced(2), Note::Synced(99)] {
            check(&[log(&[1, 2], 0)], note, ("whole", 0));
            check(&[log(&[1, 2], 0), log(&[3], 0), vec![]], note, ("whole", 0));
            check(&[], note, ("whole", 0));
        }
    }

    #[test]
    fn a_torn_end_is_dropped_up_to_the_noted_write() {
        let torn = [log(&[5, 6, 7], 3)];
        let rest = (BATCH - 3) as u64;
        check(&torn, Note::Synced(6), ("dropped", rest));
        check(&torn, Note::Damaged, ("dropped", rest));
        check(&torn, Note::Synced(7), ("behind", 6));
        check(&torn, Note::Missing, ("dropped", rest));
    }

    #[test]
    fn a_torn_end_in_front_of_empty_logs_is_still_the_end() {
        let rest = BATCH as u64 - 3;
        check(&[log(&[5, 6], 3), vec![], vec![]], Note::Synced(5), ("dropped", rest));
        check(&[log(&[5, 6], 3), vec![0; EMPTY_BATCH_BYTES]], Note::Synced(5), ("dropped", rest));
        check(&[log(&[5, 6], 3), vec![0; EMPTY_BATCH_BYTES + 1]], Note::Synced(5), ("corrupt", 0));
    }

    #[test]
    fn damage_before_a_synced_batch_is_refused_unless_the_loss_is_accepted() {
        let rotten = [with_flip(log(&[5, 6, 7], 0), BATCH + 30)];
        let rest = 2 * BATCH as u64;
        check(&rotten, Note::Synced(5), ("damaged", rest));
        check(&rotten, Note::Damaged, ("damaged", rest));
        check(&rotten, Note::Missing, ("dropped", rest));
    }

    #[test]
    fn damage_in_an_older_log_is_no_torn_end_whatever_the_note_says() {
        for note in [Note::Missing, Note::Damaged, Note::Synced(5)] {
            check(&[log(&[5, 6], 3), log(&[7, 8], 0)], note, ("corrupt", 0));
            check(&[with_flip(log(&[5, 6, 7], 0), 30), log(&[8], 0)], note, ("corrupt", 0));
            // Even if nothing can be read in the log that follows.
            check(&[log(&[5, 6], 3), log(&[7], 3)], note, ("corrupt", 0));
        }
    }

    #[test]
    fn a_log_that_goes_on_where_a_torn_one_was_cut_shows_an_interrupted_start() {
        let logs = [log(&[5, 6], 3), log(&[6], 0)];
        check(&logs, Note::Synced(5), ("again", 0));
        let mut restarted = Vec::new();
        write(&mut restarted, 5, 0, 0);
        check(&[log(&[5], 3), restarted], Note::Synced(4), ("again", 0));
        check(&[log(&[5], 3), log(&[6], 0)], Note::Synced(4), ("corrupt", 0));
        let logs = [log(&[5, 6], 3), log(&[6, 7], 3)];
        check(&logs, Note::Synced(6), ("dropped", BATCH as u64 - 3));
        check(&logs, Note::Synced(7), ("behind", 6));
    }

    #[test]
    fn where_nothing_can_be_read_the_note_is_left_to_the_tables() {
        check(&[log(&[5], 3)], Note::Synced(9), ("dropped", BATCH as u64 - 3));
    }
}
