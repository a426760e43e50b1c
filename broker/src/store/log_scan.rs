//! What does a write-ahead log hold, and where does it stop making sense? Bytes in, verdict out; or
//! bytes out again, without what makes none ([`salvage`]).
//!
//! ```text
//!   log        block | block | ...                     32 KiB each, the last one shorter
//!   block      fragment | fragment | ... | fewer than 7 bytes that mean nothing
//!   fragment   masked crc32c, 4 | length, 2 | kind, 1 | content        little-endian
//!   record     Full   or   First, Middle..., Last
//!   content of a record    sequence number, 8 | count, 4 | the changes
//! ```
//!
//! The checksum covers the kind and the content. A record is one batch; the next one's number is
//! its number plus its count. The commit loop begins a batch only after the one before is synced,
//! so a power cut can tear no batch but the last one. It may tear it anywhere: any page of it may
//! be missing, zero or old, with sound pages behind. Hence the one question that tells a torn end
//! from rot: **does another batch begin behind the bad place?** If so, the bad one was synced.
//!
//! Where a header is damaged, its length says nothing about where the next fragment is, so every
//! byte of the block is tried. Bytes of an old log that a file system left in a page it never
//! wrote carry lower numbers than what they replace, and are no batch of this log. Recycled logs
//! look different; RocksDB is not asked to recycle (`rocks.rs`).

use super::crc32c::crc32c;

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
/// Sequence number and count, before the changes of a batch.
const BATCH_HEADER_BYTES: usize = 12;
/// RocksDB's numbers have 56 bits.
const SEQUENCE_MAX: u64 = (1 << 56) - 1;

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogScan {
    /// Number of the first batch; `None` if no batch is complete.
    pub(super) first: Option<u64>,
    /// The first batch has no changes: RocksDB begins a log with such a one after a start that
    /// dropped a torn end.
    pub(super) begins_empty: bool,
    /// The number that follows the last complete batch before the damage.
    pub(super) next: Option<u64>,
    /// The first bad place.
    pub(super) damage: Option<Damage>,
}

/// A place where a log stops making sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Where the record begins that is not whole: replaying ends here.
    pub(super) at: usize,
    /// What does not fit.
    pub(super) reason: &'static str,
    /// Another batch begins behind it, so it was synced.
    pub(super) is_followed: bool,
}

/// Read `log`. No batch of it has a number below `floor`: what the logs before it end with, 0 if
/// there are none.
pub(super) fn scan(log: &[u8], floor: u64) -> LogScan {
    let mut scan = LogScan::default();
    let mut at = 0;
    loop {
        match read_batch(log, at) {
            Ok(None) => return scan,
            Ok(Some(batch)) => {
                if scan.first.is_none() {
                    scan.first = Some(batch.sequence);
                    scan.begins_empty = batch.count == 0;
                }
                scan.next = Some(batch.sequence.saturating_add(batch.count));
                at = batch.end;
            }
            Err(Fault { at: bad, reason }) => {
                let is_followed = batch_behind(log, bad, scan.next.unwrap_or(floor)).is_some();
                scan.damage = Some(Damage { at: skip_trailer(at), reason, is_followed });
                return scan;
            }
        }
    }
}

/// What can be had of a log, whatever is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// A log of every batch that is whole.
    pub(super) log: Vec<u8>,
    /// The number that follows the last of them.
    pub(super) next: Option<u64>,
    /// What is left out.
    pub(super) gaps: Vec<Gap>,
}

/// A part of a log that holds no whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where it begins.
    pub(super) at: usize,
    /// How long it is.
    pub(super) bytes: usize,
    /// What does not fit.
    pub(super) reason: &'static str,
    /// Another batch begins behind it.
    pub(super) is_followed: bool,
}

/// Take every whole batch out of `log`; `floor` as for [`scan`].
pub(super) fn salvage(log: &[u8], floor: u64) -> Salvaged {
    let mut salvaged = Salvaged::default();
    let mut at = 0;
    loop {
        match read_batch(log, at) {
            Ok(None) => return salvaged,
            Ok(Some(batch)) => {
                append(&mut salvaged.log, &content(log, at, batch.end));
                salvaged.next = Some(batch.sequence.saturating_add(batch.count));
                at = batch.end;
            }
            Err(Fault { at: bad, reason }) => {
                let start = skip_trailer(at);
                // From the next byte at least: what begins like a batch need not be one.
                let behind = batch_behind(log, bad.max(start + 1), salvaged.next.unwrap_or(floor));
                let end = behind.unwrap_or(log.len());
                let (bytes, is_followed) = (end - start, behind.is_some());
                salvaged.gaps.push(Gap { at: start, bytes, reason, is_followed });
                at = end;
            }
        }
    }
}

/// Content of the batch that stands from `at` to `end`, and is whole.
fn content(log: &[u8], at: usize, end: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let mut at = skip_trailer(at);
    while let Some(Ok(fragment)) = (at < end).then(|| fragment(log, at)) {
        if fragment.kind != Kind::Other {
            content.extend_from_slice(fragment.content);
        }
        at = skip_trailer(fragment.end);
    }
    content
}

/// Append a batch with this content to `log`, as RocksDB does.
fn append(log: &mut Vec<u8>, content: &[u8]) {
    let mut content = content;
    let mut is_first = true;
    while is_first || !content.is_empty() {
        let left = block_end(log.len()) - log.len();
        if left < HEADER_BYTES {
            log.resize(log.len() + left, 0);
            continue;
        }
        let (part, rest) = content.split_at(content.len().min(left - HEADER_BYTES));
        let kind = match (is_first, rest.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let summed = [&[kind], part].concat();
        log.extend_from_slice(&masked(crc32c(&summed)).to_le_bytes());
        let length = u16::try_from(part.len()).expect("a part fits into a block of 32 KiB");
        log.extend_from_slice(&length.to_le_bytes());
        log.extend_from_slice(&summed);
        (content, is_first) = (rest, false);
    }
}

struct Batch {
    sequence: u64,
    count: u64,
    end: usize,
}

struct Fault {
    at: usize,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Full,
    First,
    Middle,
    Last,
    /// Facts about the log itself.
    Other,
}

struct Fragment<'a> {
    kind: Kind,
    content: &'a [u8],
    end: usize,
}

/// The batch at `at`; `None` if the log ends there.
fn read_batch(log: &[u8], at: usize) -> Result<Option<Batch>, Fault> {
    let mut at = at;
    let mut header = Vec::with_capacity(BATCH_HEADER_BYTES);
    let mut is_open = false;
    loop {
        at = skip_trailer(at);
        if at >= log.len() && !is_open {
            return Ok(None);
        }
        let Fragment { kind, content, end } =
            fragment(log, at).map_err(|reason| Fault { at, reason })?;
        match (kind, is_open) {
            (Kind::Other, _) => {
                at = end;
                continue;
            }
            (Kind::Full | Kind::First, false) | (Kind::Middle | Kind::Last, true) => {}
            (Kind::Full | Kind::First, true) => {
                return Err(Fault { at, reason: "a record does not end" });
            }
            (Kind::Middle | Kind::Last, false) => {
                return Err(Fault { at, reason: "a record does not begin" });
            }
        }
        is_open = true;
        let wanted = BATCH_HEADER_BYTES - header.len();
        header.extend_from_slice(&content[..wanted.min(content.len())]);
        if matches!(kind, Kind::Full | Kind::Last) {
            let numbers = header.split_first_chunk().and_then(|(sequence, count)| {
                let count = u32::from_le_bytes(count.try_into().ok()?);
                Some((u64::from_le_bytes(*sequence), u64::from(count)))
            });
            let too_short = Fault { at, reason: "a batch is too short" };
            let (sequence, count) = numbers.ok_or(too_short)?;
            return Ok(Some(Batch { sequence, count, end }));
        }
        at = end;
    }
}

/// The fragment at `at`, which is no trailer; the error says what does not fit.
fn fragment(log: &[u8], at: usize) -> Result<Fragment<'_>, &'static str> {
    let header = log.get(at..).and_then(|rest| rest.first_chunk::<HEADER_BYTES>());
    let header = header.ok_or("it ends within a record")?;
    if *header == [0; HEADER_BYTES] {
        return Err("zeros stand in place of a record");
    }
    let [sum @ .., low, high, kind] = *header;
    let start = at + HEADER_BYTES;
    let end = start + usize::from(u16::from_le_bytes([low, high]));
    if end > block_end(at) {
        return Err("a length is too large");
    }
    let summed = log.get(start - 1..end).ok_or("it ends within a record")?;
    if masked(crc32c(summed)) != u32::from_le_bytes(sum) {
        return Err("a checksum does not fit");
    }
    let kind = match kind {
        1 => Kind::Full,
        2 => Kind::First,
        3 => Kind::Middle,
        4 => Kind::Last,
        _ => Kind::Other,
    };
    Ok(Fragment { kind, content: &log[start..end], end })
}

/// RocksDB does not store checksums as they are, because a log may hold parts of logs.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Where the next batch begins at or behind `bad`, with a number of at least `floor`.
fn batch_behind(log: &[u8], bad: usize, floor: u64) -> Option<usize> {
    let mut at = bad;
    while at < log.len() {
        match fragment(log, at) {
            Ok(fragment) if begins_batch(&fragment, floor) => return Some(at),
            Ok(fragment) => at = skip_trailer(fragment.end),
            Err(_) => {
                let end = block_end(at);
                let begins = |at| {
                    may_begin_batch(log, at, floor)
                        && fragment(log, at).is_ok_and(|fragment| begins_batch(&fragment, floor))
                };
                if let Some(found) = (at + 1..end.min(log.len())).find(|at| begins(*at)) {
                    return Some(found);
                }
                at = end;
            }
        }
    }
    None
}

/// Whether `fragment` is the start of a batch of this log. The start of one may be too short to
/// show its number where a block ends; it has to end exactly there.
fn begins_batch(fragment: &Fragment<'_>, floor: u64) -> bool {
    match (fragment.kind, fragment.content.first_chunk()) {
        (Kind::Full | Kind::First, Some(sequence)) => {
            (floor..=SEQUENCE_MAX).contains(&u64::from_le_bytes(*sequence))
        }
        (Kind::First, None) => fragment.end.is_multiple_of(BLOCK_BYTES),
        _ => false,
    }
}

/// What [`begins_batch`] asks, without the checksum: cheap enough to ask it of every byte, and
/// hardly ever true by chance.
fn may_begin_batch(log: &[u8], at: usize, floor: u64) -> bool {
    let end = block_end(at).min(log.len());
    match log[at..end].split_first_chunk() {
        Some(([_, _, _, _, _, _, 1 | 2], content)) => match content.first_chunk() {
            Some(sequence) => (floor..=SEQUENCE_MAX).contains(&u64::from_le_bytes(*sequence)),
            None => true,
        },
        _ => false,
    }
}

/// Where the block ends that holds `at`.
fn block_end(at: usize) -> usize {
    (at / BLOCK_BYTES + 1) * BLOCK_BYTES
}

/// The next place where a fragment can begin: no header stands across the end of a block.
fn skip_trailer(at: usize) -> usize {
    let end = block_end(at);
    if end - at < HEADER_BYTES { end } else { at }
}

#[cfg(test)]
pub(super) mod writer {
    //! Writes logs as RocksDB does.

    use super::*;

    /// Append a batch with `changes_bytes` bytes of changes.
    pub(in super::super) fn write(
        log: &mut Vec<u8>,
        sequence: u64,
        count: u32,
        changes_bytes: usize,
    ) {
        let mut content = sequence.to_le_bytes().to_vec();
        content.extend_from_slice(&count.to_le_bytes());
        content.extend((0..changes_bytes).map(|at| (at % 251) as u8));
        append(log, &content);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::writer::write;
    use super::*;

    /// Number of the first batch; every batch has two changes.
    const FIRST: u64 = 100;

    /// A log of batches with so many bytes of changes each, and where each of them stands.
    fn log(sizes: &[usize]) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut log = Vec::new();
        let mut batches = Vec::new();
        for (number, size) in (0..).zip(sizes) {
            let start = skip_trailer(log.len());
            write(&mut log, FIRST + 2 * number, 2, *size);
            batches.push(start..log.len());
        }
        (log, batches)
    }

    /// `log` ends behind its first `whole` batches: what follows is torn.
    #[track_caller]
    fn check_torn(log: &[u8], batches: &[Range<usize>], whole: usize, what: &str) {
        let scan = scan(log, FIRST);
        let first = (whole > 0).then_some(FIRST);
        let next = (whole > 0).then_some(FIRST + 2 * whole as u64);
        assert_eq!((scan.first, scan.next), (first, next), "{what}");
        let damage = scan.damage.expect(what);
        assert_eq!((damage.at, damage.is_followed), (batches[whole].start, false), "{what}");
    }

    /// Batch `bad` of `log` is damaged, and it shows that others follow.
    #[track_caller]
    fn check_rotten(log: &[u8], batches: &[Range<usize>], bad: usize, what: &str) {
        let damage = scan(log, FIRST).damage.expect(what);
        assert_eq!((damage.at, damage.is_followed), (batches[bad].start, true), "{what}");
    }

    /// Logs with every kind of neighbourhood: within one block, over several, ends of blocks with
    /// room for a trailer only, for an empty first fragment, and for a very short one.
    fn logs() -> Vec<(Vec<u8>, Vec<Range<usize>>)> {
        let up_to_block_end = |left| BLOCK_BYTES - HEADER_BYTES - BATCH_HEADER_BYTES - left;
        let mut logs = vec![log(&[0, 1, 300, 7]), log(&[5000, 70_000, 40, 40_000, 9])];
        for left in [0, 3, 7, 8, 12, 15, 18, 19, 20, 40] {
            logs.push(log(&[up_to_block_end(left), 60, 3]));
            logs.push(log(&[up_to_block_end(left), 40_000]));
        }
        logs
    }

    /// Positions of `range`: all of a short one, both ends and a sample of a long one.
    fn positions(range: &Range<usize>) -> impl Iterator<Item = usize> {
        let Range { start, end } = *range;
        range.clone().filter(move |at| at - start < 40 || end - at < 40 || at % 499 == 0)
    }

    #[test]
    fn a_sound_log_is_read_to_its_end() {
        for (log, batches) in logs() {
            let next = Some(FIRST + 2 * batches.len() as u64);
            assert_eq!(
                scan(&log, FIRST),
                LogScan { first: Some(FIRST), next, ..LogScan::default() }
            );
        }
        assert_eq!(scan(&[], 0), LogScan::default());
    }

    #[test]
    fn a_cut_anywhere_is_a_torn_end() {
        for (log, batches) in logs() {
            for (whole, batch) in batches.iter().enumerate() {
                for cut in positions(&(batch.start + 1..batch.end)) {
                    check_torn(&log[..cut], &batches, whole, &format!("cut at {cut}"));
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_before_the_last_batch_is_rot() {
        for (log, batches) in logs() {
            let (_, others) = batches.split_last().unwrap();
            for (bad, batch) in others.iter().enumerate() {
                for at in positions(batch) {
                    for bit in 0..8 {
                        let mut log = log.clone();
                        log[at] ^= 1 << bit;
                        check_rotten(&log, &batches, bad, &format!("bit {bit} of byte {at}"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_last_batch_looks_like_a_torn_end() {
        for (mut log, batches) in logs() {
            let last = batches.len() - 1;
            for at in positions(&batches[last]) {
                log[at] ^= 4;
                check_torn(&log, &batches, last, &format!("byte {at}"));
                log[at] ^= 4;
            }
        }
    }

    #[test]
    fn a_later_log_on_an_old_page_is_no_batch_of_this_one() {
        let (older, _) = log(&[5000, 9000, 300]);
        let mut log = Vec::new();
        let new = FIRST + 50;
        write(&mut log, new, 2, 4000);
        let at = log.len();
        write(&mut log, new + 2, 2, 20_000);
        // The page with the header, and another, hold what the file system had there before.
        for page in [at / 4096, at / 4096 + 1] {
            let page = page * 4096..(page + 1) * 4096;
            let kept = at.max(page.start)..page.end;
            log[kept.clone()].copy_from_slice(&older[kept]);
        }
        let scan = scan(&log, 0);
        assert_eq!(scan.next, Some(new + 2));
        let damage = scan.damage.unwrap();
        assert_eq!((damage.at, damage.is_followed), (at, false));
    }

    #[test]
    fn what_is_no_batch_is_passed_over() {
        let (mut log, batches) = log(&[10, 20]);
        let fact = [130, 1, 2, 3];
        let mut fragment = masked(crc32c(&fact)).to_le_bytes().to_vec();
        fragment.extend_from_slice(&[3, 0]);
        fragment.extend_from_slice(&fact);
        log.splice(batches[1].start..batches[1].start, fragment);
        let next = Some(FIRST + 4);
        assert_eq!(scan(&log, 0), LogScan { first: Some(FIRST), next, ..LogScan::default() });
    }

    /// Every batch but the `bad` one is had.
    #[track_caller]
    fn check_salvaged(log: &[u8], batches: &[Range<usize>], bad: usize) {
        let mut others = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            if number != bad {
                append(&mut others, &content(log, batch.start, batch.end));
            }
        }
        let salvaged = salvage(log, FIRST);
        assert_eq!(salvaged.gaps.len(), 1, "{:?}", salvaged.gaps);
        assert!(salvaged.log == others, "{:?} of {batches:?}", salvaged.gaps);
        assert_eq!(scan(&salvaged.log, FIRST).damage, None);
    }

    #[test]
    fn a_log_that_is_whole_is_salvaged_as_it_is() {
        let (log, _) = log(&[10, 50_000, 0, 20_000]);
        let whole = salvage(&log, 0);
        assert!(whole.log == log && whole.gaps.is_empty());
        assert_eq!(whole.next, scan(&log, 0).next);
        assert_eq!(salvage(&[], 0), Salvaged::default());
    }

    #[test]
    fn what_only_begins_like_a_batch_does_not_stop_the_search() {
        let (sound, _) = log(&[10]);
        let mut log = Vec::new();
        // Eight bytes: a number of a batch, and nothing else.
        append(&mut log, &FIRST.to_le_bytes());
        log.extend_from_slice(&sound);
        let salvaged = salvage(&log, 0);
        assert_eq!((salvaged.gaps.len(), salvaged.gaps[0].bytes), (1, HEADER_BYTES + 8));
        assert!(salvaged.log == sound);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

        /// Whatever became of the pages of the last batch, and of them alone, nothing follows.
        #[test]
        fn pages_that_never_arrived_are_a_torn_end(
            sizes in prop::collection::vec(0..20_000_usize, 0..5),
            last in 0..100_000_usize,
            pages in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..9),
            seed in any::<u64>(),
        ) {
            let (mut log, batches) = log(&[&sizes[..], &[last]].concat());
            let torn = batches.last().unwrap().clone();
            let before = log.clone();
            let mut noise = seed | 1;
            for (page, is_zero) in pages {
                let count = (torn.end - 1) / 4096 - torn.start / 4096 + 1;
                let page = torn.start / 4096 + page.index(count);
                let page = (page * 4096).max(torn.start)..((page + 1) * 4096).min(torn.end);
                for byte in &mut log[page] {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    *byte = if is_zero { 0 } else { noise as u8 };
                }
            }
            prop_assume!(log != before);
            check_torn(&log, &batches, batches.len() - 1, "torn");
        }

        /// The same in any batch but the last.
        #[test]
        fn a_bad_page_before_the_last_batch_is_rot(
            sizes in prop::collection::vec(0..50_000_usize, 2..6),
            bad in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            is_zero in any::<bool>(),
        ) {
            let (mut log, batches) = log(&sizes);
            let bad = bad.index(batches.len() - 1);
            let at = batches[bad].start + at.index(batches[bad].len());
            let page = at..(at / 4096 * 4096 + 4096).min(batches[bad].end);
            log[page].fill(if is_zero { 0 } else { 0x5a });
            prop_assume!(scan(&log, FIRST).damage.is_some());
            check_rotten(&log, &batches, bad, "rotten");
            check_salvaged(&log, &batches, bad);
        }
    }
}
