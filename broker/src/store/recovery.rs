//! May a store be opened, and what has to be dropped for it? The tables know the number of the last
//! batch that they have; the log has those that follow, and a note says how far it went at least.
//!
//! | the log | and then |
//! |---|---|
//! | is whole | its batches are put into tables |
//! | ends in a batch that was never acknowledged | that is dropped, and the broker's log says so |
//! | is damaged in front of a batch that was synced | [`StoreError::LogDamaged`]; it stays as it is |
//! | ends before the noted batch | [`StoreError::Behind`]; it stays as it is |
//!
//! Whoever deleted the note accepts the loss: what `LogDamaged` and `Behind` are about is then
//! dropped from the bad place on.

use std::path::{Path, PathBuf};

use super::StoreError;
use super::log::LogFiles;
use super::log::scan::{Damage, Scan, scan};
use super::watermark::Note;

/// What a start puts into tables.
#[derive(Debug)]
pub(super) struct Recovery<'a> {
    /// Contents of batches, the oldest first.
    pub(super) batches: Vec<&'a [u8]>,
    /// The number of the last of them, or that of the tables.
    pub(super) number: u64,
    /// What is not among them.
    pub(super) loss: Option<Loss>,
}

/// What is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// The file with the bad place.
    pub(super) log: PathBuf,
    /// Where the batch begins that is not whole.
    pub(super) at: u64,
    /// What does not fit there.
    pub(super) reason: &'static str,
    /// How many batches that is, if it is known.
    pub(super) batches: Option<u64>,
}

/// Find out what the log in `folder` adds to tables that have everything up to batch `applied`.
///
/// # Errors
/// [`StoreError::LogDamaged`] and [`StoreError::Behind`] as above.
pub(super) fn examine<'a>(
    folder: &Path,
    log: &'a LogFiles,
    applied: u64,
    note: Note,
) -> Result<Recovery<'a>, StoreError> {
    let Scan { batches, damage } = scan(&log.files(), applied.saturating_add(1));
    let number = applied.saturating_add(batches.len() as u64);
    let was_synced = log.headless().is_some() || damage.is_some_and(|found| found.followers > 0);
    let headless = log.headless().map(|log| Loss {
        log: log.to_owned(),
        at: 0,
        reason: "neither file of the log has a head that is whole",
        batches: None,
    });
    let loss = headless.or_else(|| damage.map(|damage| loss(log, damage)));
    match loss {
        Some(loss) if was_synced && note != Note::Missing => {
            let Loss { log, at, reason, batches } = loss;
            Err(StoreError::LogDamaged { log, at, reason, batches })
        }
        loss => {
            not_behind(folder, number, note)?;
            Ok(Recovery { batches, number, loss })
        }
    }
}

/// A store holds everything that is known to have been synced.
fn not_behind(folder: &Path, found: u64, note: Note) -> Result<(), StoreError> {
    match note {
        Note::Synced(noted) if found < noted => {
            Err(StoreError::Behind { folder: folder.to_owned(), found, noted })
        }
        _ => Ok(()),
    }
}

fn loss(log: &LogFiles, damage: Damage) -> Loss {
    let Damage { file, at, reason, followers } = damage;
    Loss { log: log.path(file).to_owned(), at: at as u64, reason, batches: Some(followers + 1) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log::Log;
    use super::super::log::format::{HEAD_BYTES, Salt};
    use super::*;
    use crate::store::record::{Table, Write};

    /// Where the second of three batches begins.
    const SECOND: usize = HEAD_BYTES + 64;

    /// One word for what becomes of a log with the batches 5, 6 and 7 after `spoil`, with tables that
    /// have everything up to `applied`; and a number: that of the last batch, or how many are lost.
    #[track_caller]
    fn check(spoil: &[usize], applied: u64, note: Note, expected: (&str, u64)) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), Salt(0x5a17)).unwrap();
        for number in [5, 6, 7] {
            log.put(Write::Put(Table::Meta, b"key", &[0; 20]));
            log.sync(number).unwrap();
        }
        let path = folder.path().join("batches-0.log");
        let mut bytes = fs::read(&path).unwrap();
        for at in spoil {
            bytes[*at] ^= 1;
        }
        fs::write(&path, bytes).unwrap();
        let log = LogFiles::read(folder.path()).unwrap();
        let found = match examine(folder.path(), &log, applied, note) {
            Ok(Recovery { number, loss: None, .. }) => ("whole", number),
            Ok(Recovery { number, loss: Some(_), .. }) => ("dropped", number),
            Err(StoreError::LogDamaged { batches, .. }) => ("damaged", batches.unwrap()),
            Err(StoreError::Behind { found, .. }) => ("behind", found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_whole_log_is_taken_as_far_as_it_goes() {
        for note in [Note::Missing, Note::Damaged, Note::Synced(7)] {
            check(&[], 4, note, ("whole", 7));
            check(&[], 6, note, ("whole", 7));
            check(&[], 7, note, ("whole", 7));
            check(&[], 9, note, ("whole", 9));
        }
        check(&[], 4, Note::Synced(8), ("behind", 7));
    }

    #[test]
    fn a_torn_end_is_dropped_up_to_the_noted_write() {
        let torn = [SECOND + 64 + 30];
        check(&torn, 4, Note::Synced(6), ("dropped", 6));
        check(&torn, 4, Note::Damaged, ("dropped", 6));
        check(&torn, 4, Note::Missing, ("dropped", 6));
        check(&torn, 4, Note::Synced(7), ("behind", 6));
        check(&torn, 7, Note::Synced(7), ("whole", 7));
    }

    #[test]
    fn damage_before_a_synced_batch_is_refused_unless_the_loss_is_accepted() {
        for rotten in [[SECOND], [SECOND + 30]] {
            check(&rotten, 4, Note::Synced(5), ("damaged", 2));
            check(&rotten, 4, Note::Damaged, ("damaged", 2));
            check(&rotten, 4, Note::Missing, ("dropped", 5));
            // What the tables have is not missed.
            check(&rotten, 6, Note::Synced(7), ("whole", 7));
        }
    }

    #[test]
    fn a_log_without_any_head_is_refused_unless_the_loss_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("batches-1.log"), [1; 2 * HEAD_BYTES]).unwrap();
        let log = LogFiles::read(folder.path()).unwrap();
        let refusal = examine(folder.path(), &log, 4, Note::Synced(4)).unwrap_err();
        assert!(matches!(refusal, StoreError::LogDamaged { batches: None, .. }), "{refusal}");
        let recovery = examine(folder.path(), &log, 4, Note::Missing).unwrap();
        assert_eq!((recovery.number, recovery.batches.len()), (4, 0));
        assert!(recovery.loss.is_some());
    }

    #[test]
    fn tables_that_are_too_old_for_the_log_are_damage() {
        check(&[], 2, Note::Synced(2), ("damaged", 4));
        check(&[], 2, Note::Missing, ("dropped", 2));
    }
}
