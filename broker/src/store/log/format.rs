//! The bytes of the log.
//!
//! ```text
//!   file     head, 4096 | frame | frame | ...          what was written earlier follows
//!   head     "AgentCom log\n" | format, 1 | 0, 2 | salt, 8 | CRC-32, 4 | zeros     little-endian
//!   frame    salt, 8 | number, 8 | length, 4 | CRC-32, 4 | content | zeros to a multiple of 32
//!   content  write | write | ...
//!   write    table, 1; 128 more to delete | key length, 2 | value length, 4 | key | value
//! ```
//!
//! A frame is one batch, numbered without gaps. Its checksum covers number, length and content. A
//! header is never torn in two: it stands within one sector of the disk.
//!
//! The salt is a random number of each file, so no payload can contain what looks like a frame.

use crate::store::record::{Table, Write};

/// Bytes of a head: a page, so that frames never share one with it.
pub(in crate::store) const HEAD_BYTES: usize = 4096;

/// Frames begin at multiples of this.
pub(in crate::store) const ALIGNMENT: usize = 32;

/// Bytes in front of the content of a frame.
pub(in crate::store) const HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 13] = b"AgentCom log\n";
pub(in crate::store) const FORMAT: u8 = 1;
/// Bytes of a head that its checksum covers.
const SUMMED_BYTES: usize = 24;
const DELETE: u8 = 0x80;
const WRITE_HEADER_BYTES: usize = 7;

/// What marks the frames of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Salt(pub(in crate::store) u64);

/// What the head of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Head {
    Known(Salt),
    /// Another format.
    Unknown(u8),
    Damaged,
}

/// The head of a file.
pub(in crate::store) fn head(salt: Salt) -> Vec<u8> {
    let mut head = [&MAGIC[..], &[FORMAT, 0, 0], &salt.0.to_le_bytes()].concat();
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head.resize(HEAD_BYTES, 0);
    head
}

/// Read the head of a file.
pub(in crate::store) fn read_head(file: &[u8]) -> Head {
    let Some((summed, rest)) = file.split_first_chunk::<SUMMED_BYTES>() else {
        return Head::Damaged;
    };
    let sum = rest.first_chunk().map(|sum| u32::from_le_bytes(*sum));
    if !summed.starts_with(MAGIC) || sum != Some(crc32fast::hash(summed)) {
        return Head::Damaged;
    }
    match summed[MAGIC.len()] {
        FORMAT => Head::Known(Salt(u64::from_le_bytes(eight(&summed[16..])))),
        other => Head::Unknown(other),
    }
}

/// What stands in front of the content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Header {
    pub(in crate::store) number: u64,
    length: u32,
    sum: u32,
}

/// Write the header of `frame`, which has room for it in front of its content.
///
/// # Panics
/// If the content has 4 GiB or more; no turn takes in as much.
pub(in crate::store) fn seal(frame: &mut [u8], salt: Salt, number: u64) {
    let (header, content) = frame.split_at_mut(HEADER_BYTES);
    let length = u32::try_from(content.len()).expect("less than 4 GiB a turn");
    header[..8].copy_from_slice(&salt.0.to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..20].copy_from_slice(&length.to_le_bytes());
    header[20..].copy_from_slice(&sum(number, length, content).to_le_bytes());
}

/// The header at `at`, if one with this salt stands there.
pub(in crate::store) fn read_header(file: &[u8], at: usize, salt: Salt) -> Option<Header> {
    let header = file.get(at..)?.first_chunk::<HEADER_BYTES>()?;
    if u64::from_le_bytes(eight(header)) != salt.0 {
        return None;
    }
    let (number, length) = (u64::from_le_bytes(eight(&header[8..])), four(&header[16..]));
    Some(Header { number, length, sum: four(&header[20..]) })
}

/// The content of the frame at `at`, which has this header; the error says what does not fit.
pub(in crate::store) fn content(
    file: &[u8],
    at: usize,
    header: Header,
) -> Result<&[u8], &'static str> {
    let start = at + HEADER_BYTES;
    let content = file.get(start..start + header.length as usize);
    let content = content.ok_or("the file ends within a batch")?;
    if sum(header.number, header.length, content) != header.sum {
        return Err("the checksum of a batch does not fit");
    }
    Ok(content)
}

/// Bytes of a frame with so many bytes of content.
pub(in crate::store) fn frame_bytes(content: usize) -> usize {
    (HEADER_BYTES + content).next_multiple_of(ALIGNMENT)
}

fn sum(number: u64, length: u32, content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number.to_le_bytes());
    sum.update(&length.to_le_bytes());
    sum.update(content);
    sum.finalize()
}

/// Append a write to a content.
pub(in crate::store) fn put(content: &mut Vec<u8>, write: Write<'_>) {
    let (kind, key, value) = match write {
        Write::Put(table, key, value) => (table as u8, key, value),
        Write::Delete(table, key) => (table as u8 | DELETE, key, &[][..]),
    };
    let key_length = u16::try_from(key.len()).expect("keys are ids and names");
    let value_length = u32::try_from(value.len()).expect("less than 4 GiB a turn");
    content.push(kind);
    content.extend_from_slice(&key_length.to_le_bytes());
    content.extend_from_slice(&value_length.to_le_bytes());
    content.extend_from_slice(key);
    content.extend_from_slice(value);
}

/// The writes of a content. `None` in place of one that makes no sense, which ends them.
pub(in crate::store) fn writes(content: &[u8]) -> impl Iterator<Item = Option<Write<'_>>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let write = split_write(&mut rest);
        if write.is_none() {
            rest = &[];
        }
        Some(write)
    })
}

fn split_write<'a>(rest: &mut &'a [u8]) -> Option<Write<'a>> {
    let (header, behind) = rest.split_first_chunk::<WRITE_HEADER_BYTES>()?;
    let [kind, low, high, value_length @ ..] = *header;
    let table = *Table::ALL.get(usize::from(kind & !DELETE))?;
    let (key, behind) = behind.split_at_checked(u16::from_le_bytes([low, high]).into())?;
    let length = u32::from_le_bytes(value_length);
    let (value, behind) = behind.split_at_checked(length as usize)?;
    *rest = behind;
    Some(if kind & DELETE == 0 { Write::Put(table, key, value) } else { Write::Delete(table, key) })
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    *bytes.first_chunk().expect("it is within a header")
}

fn four(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("it is within a header"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_read_back_and_any_flipped_bit_of_it_is_noticed() {
        let salt = Salt(0x0123_4567_89ab_cdef);
        let whole = head(salt);
        assert_eq!(read_head(&whole), Head::Known(salt));
        for at in 0..SUMMED_BYTES + 4 {
            let mut head = whole.clone();
            head[at] ^= 1;
            assert_eq!(read_head(&head), Head::Damaged, "byte {at}");
        }
        for end in [0, 5, SUMMED_BYTES, SUMMED_BYTES + 3] {
            assert_eq!(read_head(&whole[..end]), Head::Damaged);
        }
    }

    #[test]
    fn the_head_of_another_format_says_so() {
        let mut head = head(Salt(1));
        head[MAGIC.len()] = FORMAT + 1;
        let sum = crc32fast::hash(&head[..SUMMED_BYTES]);
        head[SUMMED_BYTES..SUMMED_BYTES + 4].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read_head(&head), Head::Unknown(FORMAT + 1));
    }

    /// The example of `docs/storage.md`.
    #[test]
    fn bytes_on_disk_stay_what_they_are() {
        let salt = Salt(0x1122_3344_5566_7788);
        let bytes = |hex: &str| -> Vec<u8> {
            let digits: Vec<_> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
            let byte = |pair: &[char]| {
                u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits")
            };
            digits.chunks(2).map(byte).collect()
        };
        let expected = bytes("4167656e74436f6d206c6f670a 010000 8877665544332211 68d11c39");
        assert_eq!(head(salt)[..28], expected);
        let mut frame = vec![0; HEADER_BYTES];
        let (body, row) = (bytes("01 0000000000000011 01"), bytes("01 0000000000000011"));
        put(&mut frame, Write::Put(Table::TaskBody, &body, b"abc"));
        put(&mut frame, Write::Delete(Table::TaskQueue, &row));
        seal(&mut frame, salt, 7);
        let expected = bytes(
            "8877665544332211 0700000000000000 24000000 db3d48ea
             03 0a00 03000000 01000000000000001101 616263
             80 0900 00000000 010000000000000011",
        );
        assert_eq!(frame, expected);
        assert_eq!(frame_bytes(frame.len() - HEADER_BYTES), 64);
    }

    #[test]
    fn no_header_stands_across_two_sectors() {
        assert_eq!((512 % ALIGNMENT, HEAD_BYTES % ALIGNMENT), (0, 0));
        const { assert!(HEADER_BYTES <= ALIGNMENT) };
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn writes_are_read_back(
            writes in prop::collection::vec(
                (0..Table::ALL.len(), any::<Vec<u8>>(), prop::option::of(any::<Vec<u8>>())), 0..9),
            cut in 1..9_usize,
        ) {
            let mut content = Vec::new();
            let expected: Vec<_> = writes.iter()
                .map(|(table, key, value)| match value {
                    Some(value) => Write::Put(Table::ALL[*table], key, value),
                    None => Write::Delete(Table::ALL[*table], key),
                })
                .collect();
            expected.iter().for_each(|write| put(&mut content, *write));
            let read: Option<Vec<_>> = super::writes(&content).collect();
            prop_assert_eq!(read, Some(expected));
            // However it is shortened within its last write, that one makes no sense.
            if let Some((_, key, value)) = writes.last() {
                let last = WRITE_HEADER_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
                let cut = &content[..content.len() - cut.min(last - 1)];
                let read: Vec<_> = super::writes(cut).collect();
                prop_assert_eq!(read.len(), writes.len());
                prop_assert_eq!(read.last(), Some(&None));
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(content: Vec<u8>) {
            let count = writes(&content).count();
            prop_assert!(count <= content.len());
        }
    }
}
