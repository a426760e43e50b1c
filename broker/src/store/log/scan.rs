//! What does a log hold, and where does it stop making sense? Bytes in, verdict out.
//!
//! Whatever stands in the files was written by one run, each number once; so frames are looked for
//! by the salt alone, wherever they are, and put in the order of their numbers. Those that are in the
//! tables already are passed over, damaged or not.
//!
//! A batch is begun only after the one before is synced, so a power cut can tear no batch but the
//! last one. It may tear it anywhere: any page of it may be missing, zero or old, with sound pages
//! behind. Hence the one question that tells a torn end from rot: **does a later batch begin
//! anywhere?** If so, the bad one was synced.

use std::ops::Range;

use super::format::{self, ALIGNMENT, HEAD_BYTES, Header, Salt};

/// A log that was read: both of its files, and what marks the frames in each.
pub(in crate::store) type Files<'a> = [(&'a [u8], Salt); 2];

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Scan<'a> {
    /// The contents of the batches up to the damage, the oldest first.
    pub(in crate::store) batches: Vec<&'a [u8]>,
    /// The first bad place.
    pub(in crate::store) damage: Option<Damage>,
}

/// A place where a log stops making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Damage {
    /// In which file.
    pub(in crate::store) file: usize,
    /// Where the batch begins that is not whole, or should.
    pub(in crate::store) at: usize,
    /// What does not fit.
    pub(in crate::store) reason: &'static str,
    /// How many later batches begin somewhere. If any does, this one was synced.
    pub(in crate::store) followers: u64,
}

/// What can be had of a log, whatever is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Salvaged<'a> {
    /// The contents of all batches that are whole, the oldest first.
    pub(in crate::store) batches: Vec<&'a [u8]>,
    /// The number of the last of them, if there is one.
    pub(in crate::store) last: Option<u64>,
    /// Where others should be.
    pub(in crate::store) gaps: Vec<Gap>,
}

/// Batches that follow one another and are not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Gap {
    /// The first bad place.
    pub(in crate::store) damage: Damage,
    /// How many they are.
    pub(in crate::store) batches: u64,
}

/// Read the batches from number `next` on, which is the first one that the tables do not have.
pub(in crate::store) fn scan<'a>(files: &Files<'a>, next: u64) -> Scan<'a> {
    let mut scan = Scan::default();
    walk(files, next, |step| match step {
        Step::Batch(content, _) => {
            scan.batches.push(content);
            true
        }
        Step::Gap(gap) => {
            scan.damage = Some(gap.damage);
            false
        }
    });
    scan
}

/// Take every whole batch from number `next` on.
pub(in crate::store) fn salvage<'a>(files: &Files<'a>, next: u64) -> Salvaged<'a> {
    let mut salvaged = Salvaged::default();
    walk(files, next, |step| {
        match step {
            Step::Batch(content, number) => {
                salvaged.batches.push(content);
                salvaged.last = Some(number);
            }
            Step::Gap(gap) => salvaged.gaps.push(gap),
        }
        true
    });
    salvaged
}

/// The number of the oldest batch that begins anywhere.
pub(in crate::store) fn first(files: &Files<'_>) -> Option<u64> {
    headers(files, 0).first().map(|found| found.header.number)
}

enum Step<'a> {
    Batch(&'a [u8], u64),
    Gap(Gap),
}

/// A header that was found.
#[derive(Clone, Copy)]
struct Found {
    header: Header,
    file: usize,
    at: usize,
}

/// Hand the batches from `next` on to `go_on`, and the gaps between them, until it wants no more.
fn walk<'a>(files: &Files<'a>, next: u64, mut go_on: impl FnMut(Step<'a>) -> bool) {
    let found = headers(files, next);
    let content = |found: &Found| format::content(files[found.file].0, found.at, found.header);
    let mut expected = next;
    // Where the frame behind the last whole one should begin.
    let mut behind = (0, HEAD_BYTES);
    // The first bad place since then.
    let mut bad: Option<Damage> = None;
    // Where the gaps are.
    let mut passed: Vec<(usize, Range<usize>)> = Vec::new();
    for (index, found_here) in found.iter().enumerate() {
        let Found { header, file, at } = *found_here;
        let content = content(found_here);
        let is_in_gap = |(of, places): &(usize, Range<usize>)| *of == file && places.contains(&at);
        if content.is_err() && passed.iter().any(is_in_gap) {
            // The batch of this place is missed already; what is damaged here is its number.
            continue;
        }
        let followers = || found[index..].iter().filter(|later| later.header.number > expected);
        if header.number > expected && bad.is_none() {
            let (file, at) = behind;
            let followers = followers().count() as u64;
            bad = Some(Damage { file, at, reason: "a batch is missing", followers });
        }
        match content {
            Ok(content) => {
                if let Some(damage) = bad.take() {
                    if damage.file == file {
                        passed.push((file, damage.at..at));
                    } else {
                        passed.extend([(damage.file, damage.at..usize::MAX), (file, 0..at)]);
                    }
                    let batches = header.number.saturating_sub(expected);
                    if !go_on(Step::Gap(Gap { damage, batches })) {
                        return;
                    }
                }
                if !go_on(Step::Batch(content, header.number)) {
                    return;
                }
                expected = header.number.saturating_add(1);
                behind = (file, at + format::frame_bytes(content.len()));
            }
            Err(reason) if bad.is_none() && header.number == expected => {
                let followers = followers().count() as u64;
                bad = Some(Damage { file, at, reason, followers });
            }
            Err(_) => {}
        }
    }
    if let Some(damage) = bad {
        go_on(Step::Gap(Gap { damage, batches: damage.followers + 1 }));
    }
}

/// All headers of batches from `next` on, in the order of their numbers.
fn headers(files: &Files<'_>, next: u64) -> Vec<Found> {
    let mut found = Vec::new();
    for (file, (bytes, salt)) in files.iter().enumerate() {
        for at in (HEAD_BYTES..bytes.len()).step_by(ALIGNMENT) {
            let header = format::read_header(bytes, at, *salt);
            if let Some(header) = header.filter(|header| header.number >= next) {
                found.push(Found { header, file, at });
            }
        }
    }
    found.sort_by_key(|found| found.header.number);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::{HEADER_BYTES, frame_bytes, head, seal};
    use super::*;

    const SALTS: [Salt; 2] = [Salt(0x5eed_0000_0000_0001), Salt(0x5eed_0000_0000_0002)];
    /// Number of the first batch.
    const FIRST: u64 = 100;

    /// Two files with batches of these sizes, in the first file up to number `split`, and where each
    /// of them stands.
    struct Written {
        files: [Vec<u8>; 2],
        batches: Vec<(usize, Range<usize>)>,
    }

    impl Written {
        fn new(sizes: &[usize], split: usize) -> Written {
            let mut files = SALTS.map(head);
            let mut batches = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                let file = usize::from(index >= split);
                let start = files[file].len();
                files[file].extend(frame(FIRST + index as u64, *size, SALTS[file]));
                batches.push((file, start..files[file].len()));
            }
            Written { files, batches }
        }

        fn files(&self) -> Files<'_> {
            [(&self.files[0], SALTS[0]), (&self.files[1], SALTS[1])]
        }

        fn scan(&self) -> Scan<'_> {
            scan(&self.files(), FIRST)
        }

        /// The bytes of a batch that mean something.
        fn meant(&self, batch: usize, sizes: &[usize]) -> Range<usize> {
            let start = self.batches[batch].1.start;
            start..start + HEADER_BYTES + sizes[batch]
        }
    }

    fn frame(number: u64, size: usize, salt: Salt) -> Vec<u8> {
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend((0..size).map(|at| (at % 251) as u8));
        seal(&mut frame, salt, number);
        frame.resize(frame_bytes(size), 0);
        frame
    }

    const SIZES: [&[usize]; 4] =
        [&[0], &[0, 1, 300, 7], &[5_000, 70_000, 40, 40_000, 9], &[4_072, 4_073, 8, 4_000]];

    /// Positions of `range`: all of a short one, both ends and a sample of a long one.
    fn positions(range: &Range<usize>) -> impl Iterator<Item = usize> {
        let Range { start, end } = *range;
        range.clone().filter(move |at| at - start < 40 || end - at < 40 || at % 499 == 0)
    }

    #[test]
    fn a_sound_log_is_read_to_its_end() {
        for sizes in SIZES {
            for split in 0..=sizes.len() {
                let written = Written::new(sizes, split);
                let scan = written.scan();
                let lengths: Vec<_> = scan.batches.iter().map(|batch| batch.len()).collect();
                assert_eq!((&lengths[..], scan.damage), (sizes, None));
            }
        }
        let empty: Files<'_> = [(&[], SALTS[0]), (&[], SALTS[1])];
        assert_eq!(scan(&empty, 0), Scan::default());
    }

    #[test]
    fn what_the_tables_have_is_passed_over_damaged_or_not() {
        let mut written = Written::new(&[10, 20, 30], 2);
        written.files[0][HEAD_BYTES + 30] ^= 1;
        let scan = scan(&written.files(), FIRST + 1);
        assert_eq!((scan.batches.len(), scan.damage), (2, None));
    }

    #[test]
    fn what_an_earlier_round_left_behind_is_no_batch_any_more() {
        let sizes = [500; 40];
        let mut older = Written::new(&sizes, 40);
        // A new round goes over the first of them.
        let mut at = HEAD_BYTES;
        for number in [200, 201] {
            let frame = frame(number, 700, SALTS[0]);
            older.files[0][at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        let scan = scan(&older.files(), 200);
        assert_eq!((scan.batches.len(), scan.damage), (2, None));
    }

    #[test]
    fn a_payload_cannot_pretend_to_be_a_batch() {
        let forged = frame(FIRST + 9, 40, Salt(0xbad));
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.resize(ALIGNMENT, 0);
        bytes.extend_from_slice(&forged);
        seal(&mut bytes, SALTS[0], FIRST);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let mut written = Written::new(&[], 0);
        written.files[0].extend_from_slice(&bytes);
        let scan = written.scan();
        assert_eq!((scan.batches.len(), scan.damage), (1, None));
    }

    #[test]
    fn a_flipped_bit_anywhere_before_the_last_batch_is_rot() {
        for sizes in SIZES {
            for split in [1, sizes.len()] {
                let mut written = Written::new(sizes, split);
                for bad in 0..sizes.len() - 1 {
                    let (file, _) = written.batches[bad];
                    for at in positions(&written.meant(bad, sizes)) {
                        for bit in 0..8 {
                            written.files[file][at] ^= 1 << bit;
                            let scan = written.scan();
                            let damage = scan.damage.expect("damage");
                            assert_eq!(scan.batches.len(), bad, "bit {bit} of byte {at}");
                            assert!(damage.followers > 0, "bit {bit} of byte {at}");
                            written.files[file][at] ^= 1 << bit;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_cut_within_the_last_batch_is_a_torn_end() {
        for sizes in SIZES {
            let whole = Written::new(sizes, sizes.len());
            let last = sizes.len() - 1;
            for cut in positions(&whole.meant(last, sizes)) {
                let mut written = Written::new(sizes, sizes.len());
                written.files[0].truncate(cut);
                let scan = written.scan();
                assert_eq!(scan.batches.len(), last, "cut at {cut}");
                let followers = scan.damage.map_or(0, |damage| damage.followers);
                assert_eq!(followers, 0, "cut at {cut}");
                // It shows as soon as the header is there.
                let start = whole.batches[last].1.start;
                assert_eq!(scan.damage.is_some(), cut >= start + HEADER_BYTES, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_place_of_a_damage_is_told() {
        let mut written = Written::new(&[10, 20, 30, 40], 4);
        let (_, batch) = written.batches[1].clone();
        written.files[0][batch.start + HEADER_BYTES] ^= 1;
        let reason = "the checksum of a batch does not fit";
        let at = batch.start;
        assert_eq!(written.scan().damage, Some(Damage { file: 0, at, reason, followers: 2 }));
        written.files[0][batch.start] ^= 1;
        let reason = "a batch is missing";
        assert_eq!(written.scan().damage, Some(Damage { file: 0, at, reason, followers: 2 }));
    }

    #[test]
    fn several_gaps_are_salvaged_around() {
        let sizes = [10, 20, 30, 40, 50, 60, 70];
        let mut written = Written::new(&sizes, 4);
        for bad in [0, 2, 3, 6] {
            let (file, batch) = written.batches[bad].clone();
            written.files[file][batch.start + HEADER_BYTES] ^= 1;
        }
        let files = written.files();
        let salvaged = salvage(&files, FIRST);
        let lengths: Vec<_> = salvaged.batches.iter().map(|batch| batch.len()).collect();
        assert_eq!((lengths, salvaged.last), (vec![20, 50, 60], Some(FIRST + 5)));
        let gaps: Vec<_> =
            salvaged.gaps.iter().map(|gap| (gap.batches, gap.damage.followers)).collect();
        assert_eq!(gaps, [(1, 6), (2, 4), (1, 0)]);
    }

    #[test]
    fn a_batch_whose_number_is_damaged_is_missed_once() {
        for split in [1, 2, 4] {
            for bad in 0..3 {
                let mut written = Written::new(&[10, 20, 30, 40], split);
                let (file, batch) = written.batches[bad].clone();
                // The highest byte of its number.
                written.files[file][batch.start + 15] = 0x5a;
                let files = written.files();
                let salvaged = salvage(&files, FIRST);
                let gaps: Vec<_> = salvaged.gaps.iter().map(|gap| gap.batches).collect();
                assert_eq!((salvaged.batches.len(), &gaps[..]), (3, &[1][..]), "{split}, {bad}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

        /// Whatever became of the pages of the last batch, and of them alone, nothing follows.
        #[test]
        fn pages_that_never_arrived_are_a_torn_end(
            sizes in prop::collection::vec(0..20_000_usize, 1..6),
            split in any::<prop::sample::Index>(),
            pages in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..9),
            seed in any::<u64>(),
        ) {
            let split = split.index(sizes.len() + 1);
            let mut written = Written::new(&sizes, split);
            let last = sizes.len() - 1;
            let (file, torn) = (written.batches[last].0, written.meant(last, &sizes));
            let before = written.files.clone();
            let mut noise = seed | 1;
            for (page, is_zero) in pages {
                let count = (torn.end - 1) / 4096 - torn.start / 4096 + 1;
                let page = torn.start / 4096 + page.index(count);
                let page = (page * 4096).max(torn.start)..((page + 1) * 4096).min(torn.end);
                for byte in &mut written.files[file][page] {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    *byte = if is_zero { 0 } else { noise as u8 };
                }
            }
            prop_assume!(written.files != before);
            let scan = written.scan();
            prop_assert_eq!(scan.batches.len(), last);
            prop_assert_eq!(scan.damage.map_or(0, |damage| damage.followers), 0);
        }

        /// Whatever is damaged, nothing is read that was not written, and nothing out of order.
        #[test]
        fn what_is_read_of_a_damaged_log_was_written(
            sizes in prop::collection::vec(0..6_000_usize, 1..9),
            split in any::<prop::sample::Index>(),
            damages in prop::collection::vec(
                (0..2_usize, any::<prop::sample::Index>(), 1..400_usize, any::<u8>()), 1..6),
        ) {
            let split = split.index(sizes.len() + 1);
            let whole = Written::new(&sizes, split);
            let mut damaged = Written::new(&sizes, split);
            for (file, at, bytes, value) in damages {
                let bytes_all = damaged.files[file].len();
                let at = at.index(bytes_all);
                damaged.files[file][at..(at + bytes).min(bytes_all)].fill(value);
            }
            let all = whole.scan().batches;
            let read = damaged.scan().batches;
            prop_assert!(all.starts_with(&read));
            let files = damaged.files();
            let saved = salvage(&files, FIRST).batches;
            prop_assert!(saved.starts_with(&read));
            let mut written = all.iter();
            prop_assert!(saved.iter().all(|batch| written.any(|other| other == batch)));
        }

        /// The same in any batch but the last; every other one can be salvaged.
        #[test]
        fn a_bad_page_before_the_last_batch_is_rot(
            sizes in prop::collection::vec(0..50_000_usize, 2..6),
            split in any::<prop::sample::Index>(),
            bad in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            is_zero in any::<bool>(),
        ) {
            let split = split.index(sizes.len() + 1);
            let mut written = Written::new(&sizes, split);
            let bad = bad.index(sizes.len() - 1);
            let (file, meant) = (written.batches[bad].0, written.meant(bad, &sizes));
            let at = meant.start + at.index(meant.len());
            let page = at..(at / 4096 * 4096 + 4096).min(meant.end);
            let before = written.files.clone();
            written.files[file][page].fill(if is_zero { 0 } else { 0x5a });
            prop_assume!(written.files != before);
            let scan = written.scan();
            prop_assert_eq!(scan.batches.len(), bad);
            prop_assert!(scan.damage.is_some_and(|damage| damage.followers > 0));
            let files = written.files();
            let salvaged = salvage(&files, FIRST);
            prop_assert_eq!(salvaged.batches.len(), sizes.len() - 1);
            prop_assert_eq!(salvaged.gaps.len(), 1);
        }
    }
}
