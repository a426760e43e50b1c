//! The content of a row's value, spelled out: one file per version.
//!
//! The types written to disk repeat those of the core on purpose: a change of the core's types
//! must not silently change the format. A new layout is a new version beside the others. A row is
//! written in the oldest version from 2 on that has room for all of it; every one stays readable.
//!
//! This is the only folder that names bincode. It only ever sees bytes that carried our checksum.

pub(in crate::store) mod message;
mod v1;
mod v2;
mod v3;

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};

use crate::core::command::{Name, TaskId};
use crate::core::record::{DedupRow, ScheduleRow, TaskRow};

/// Newest version of a row.
pub(super) const NEWEST: u8 = 3;

/// Version of the dedup keys that are written.
pub(super) const DEDUP: u8 = 2;

/// Most memory that decoding one row may claim. Rows have some hundred bytes; this only has to
/// be larger than any real one and smaller than what would hurt.
const ROW_BYTES_MAX: usize = 1 << 20;

const BINCODE: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<ROW_BYTES_MAX>,
> = bincode::config::standard().with_limit::<ROW_BYTES_MAX>();

/// Append the content of a row to `value`, and give its version; the error is a sentence, and
/// means that the row is too large to be read back.
pub(super) fn encode(row: &TaskRow, value: &mut Vec<u8>) -> Result<u8, String> {
    let version = match v3::RowV3::of(row) {
        Some(row) => write(row, value).map(|()| 3),
        None => write(v2::RowV2::of(row), value).map(|()| 2),
    }?;
    if value.len() > ROW_BYTES_MAX {
        return Err(format!("the row of task {} has {} bytes", row.task.0, value.len()));
    }
    Ok(version)
}

/// The row of `task` in `content`; the error says what does not fit.
pub(super) fn decode(version: u8, task: TaskId, content: &[u8]) -> Result<TaskRow, String> {
    match version {
        1 => whole::<v1::RowV1<'_>>(content)?.into_row(),
        2 => whole::<v2::RowV2<'_>>(content)?.into_row(task),
        _ => whole::<v3::RowV3<'_>>(content)?.into_row(task),
    }
}

/// Append the content of a dedup key's value.
pub(super) fn encode_dedup(row: &DedupRow, value: &mut Vec<u8>) -> Result<(), String> {
    write(v2::DedupV2::of(row), value)
}

/// The dedup key in `content`.
pub(super) fn decode_dedup(content: &[u8]) -> Result<DedupRow, String> {
    whole::<v2::DedupV2<'_>>(content)?.into_row()
}

/// Append the content of a schedule's value, and give its version.
pub(super) fn encode_schedule(row: &ScheduleRow, value: &mut Vec<u8>) -> Result<u8, String> {
    match v3::ScheduleV3::of(row) {
        Some(row) => write(row, value).map(|()| 3),
        None => write(v2::ScheduleV2::of(row), value).map(|()| 2),
    }
}

/// The schedule in `content`.
pub(super) fn decode_schedule(version: u8, content: &[u8]) -> Result<ScheduleRow, String> {
    match version {
        ..=2 => whole::<v2::ScheduleV2<'_>>(content)?.into_row(),
        _ => whole::<v3::ScheduleV3<'_>>(content)?.into_row(),
    }
}

fn write(stored: impl Encode, value: &mut Vec<u8>) -> Result<(), String> {
    bincode::encode_into_std_write(stored, value, BINCODE)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn whole<'a, T: BorrowDecode<'a, ()>>(content: &'a [u8]) -> Result<T, String> {
    let (stored, read) =
        bincode::borrow_decode_from_slice(content, BINCODE).map_err(|error| error.to_string())?;
    if read != content.len() {
        return Err(format!("{read} of {} bytes used", content.len()));
    }
    Ok(stored)
}

fn code<T: PartialEq>(codes: &[T], value: &T) -> u8 {
    let position = codes.iter().position(|known| known == value);
    position.and_then(|position| u8::try_from(position).ok()).expect("every value has a code")
}

fn value<T: Copy>(codes: &[T], code: u8, what: &str) -> Result<T, String> {
    codes.get(usize::from(code)).copied().ok_or_else(|| format!("{what} {code} is unknown"))
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| format!("name {text:?} {error}"))
}

fn names(texts: &[&str]) -> Result<Arc<[Name]>, String> {
    if texts.is_empty() {
        Ok(Arc::default())
    } else {
        texts.iter().map(|text| name(text)).collect()
    }
}

/// A list that several rows may share; one without items costs nothing.
fn shared<T>(items: Vec<T>) -> Arc<[T]> {
    if items.is_empty() { Arc::default() } else { items.into() }
}

fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}
