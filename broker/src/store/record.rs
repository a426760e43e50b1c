//! The bytes of every key and every value (`docs/storage.md` is the same in prose).
//!
//! ```text
//!   key     version | task id, 8 bytes big-endian [| body kind]      or  version | name
//!   value   version | crc32, 4 bytes little-endian | content
//! ```
//!
//! The checksum covers the key too, so a value that ended up under another key is noticed. What
//! is inside the value of a row is in `row.rs`.

use std::sync::Arc;

use super::{StoreError, row};
use crate::core::command::TaskId;
use crate::core::record::{BodyKind, Phase, Record, TaskRow};

/// Version of the keys and values written by this broker.
pub const FORMAT: u8 = 1;

/// Bytes before the content of a value.
const HEADER_BYTES: usize = 5;

/// Where a record is kept: one column family each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Rows of open tasks; all of them are read at start.
    TaskQueue,
    /// Rows of completed tasks.
    TaskCompleted,
    /// Rows of dead tasks.
    TaskDeadLetter,
    /// Payloads and results.
    TaskBody,
    /// Counters.
    Meta,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 5] = [
        Table::TaskQueue,
        Table::TaskCompleted,
        Table::TaskDeadLetter,
        Table::TaskBody,
        Table::Meta,
    ];

    /// The tables in which the row of a task can be, those of tasks that are over first: only
    /// they are read while the broker runs.
    pub const OF_ROWS: [Table; 3] = [Table::TaskCompleted, Table::TaskDeadLetter, Table::TaskQueue];

    /// The name of the column family; the first and third are names of the legacy hub.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::TaskQueue => "task_queue",
            Table::TaskCompleted => "task_completed",
            Table::TaskDeadLetter => "task_dead_letter",
            Table::TaskBody => "task_body",
            Table::Meta => "broker_meta",
        }
    }
}

/// What a record asks of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Set a key.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove a key.
    Delete(Table, Vec<u8>),
}

/// Hand the writes that make up `record` to `each`.
///
/// # Errors
/// [`StoreError::Write`] if a row could not be read back because it is too large.
pub fn encode(record: &Record, mut each: impl FnMut(Write)) -> Result<(), StoreError> {
    match record {
        Record::Task(row) => {
            let key = row_key(row.task);
            let table = match row.phase {
                Phase::Completed { .. } => Table::TaskCompleted,
                Phase::Dead { .. } => Table::TaskDeadLetter,
                _ => Table::TaskQueue,
            };
            let value = encode_row(&key, row)?;
            if table != Table::TaskQueue {
                each(Write::Delete(Table::TaskQueue, key.clone()));
            }
            each(Write::Put(table, key, value));
        }
        Record::Body { task, kind, bytes } => {
            let key = body_key(*task, *kind);
            let mut value = Vec::with_capacity(HEADER_BYTES + bytes.len());
            value.extend_from_slice(&[0; HEADER_BYTES]);
            value.extend_from_slice(bytes);
            seal(&key, &mut value);
            each(Write::Put(Table::TaskBody, key, value));
        }
        Record::TaskIdBound(bound) => {
            let key = task_id_bound_key();
            let mut value = vec![0; HEADER_BYTES];
            value.extend_from_slice(&bound.0.to_le_bytes());
            seal(&key, &mut value);
            each(Write::Put(Table::Meta, key, value));
        }
    }
    Ok(())
}

/// Key of a row, in each of the tables of rows.
#[must_use]
pub fn row_key(task: TaskId) -> Vec<u8> {
    let mut key = Vec::with_capacity(10);
    key.push(FORMAT);
    key.extend_from_slice(&task.0.to_be_bytes());
    key
}

/// Key of a body.
#[must_use]
pub fn body_key(task: TaskId, kind: BodyKind) -> Vec<u8> {
    let mut key = row_key(task);
    key.push(match kind {
        BodyKind::Payload => 0,
        BodyKind::Result => 1,
    });
    key
}

/// The task that a key of a row or a body is about; `None` if it is no such key.
#[must_use]
pub fn task_of_key(key: &[u8]) -> Option<TaskId> {
    let (_, id) = key.split_first()?;
    Some(TaskId(u64::from_be_bytes(*id.first_chunk()?)))
}

/// Key of the bound of task ids.
#[must_use]
pub fn task_id_bound_key() -> Vec<u8> {
    [&[FORMAT], &b"task_id_bound"[..]].concat()
}

/// The row in a value of one of the tables of rows.
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_row(table: Table, key: &[u8], value: &[u8]) -> Result<TaskRow, StoreError> {
    let content = open(table, key, value)?;
    row::decode(content).map_err(|reason| damaged(table, key, reason))
}

/// The body in a value of [`Table::TaskBody`].
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_body(key: &[u8], value: &[u8]) -> Result<Arc<[u8]>, StoreError> {
    Ok(open(Table::TaskBody, key, value)?.into())
}

/// The bound of task ids in its value.
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_task_id_bound(key: &[u8], value: &[u8]) -> Result<TaskId, StoreError> {
    let content = open(Table::Meta, key, value)?;
    let bytes = content
        .try_into()
        .map_err(|_| damaged(Table::Meta, key, format!("{} bytes, not 8", content.len())))?;
    Ok(TaskId(u64::from_le_bytes(bytes)))
}

fn encode_row(key: &[u8], row: &TaskRow) -> Result<Vec<u8>, StoreError> {
    let mut value = Vec::with_capacity(256);
    value.extend_from_slice(&[0; HEADER_BYTES]);
    row::encode(row, &mut value).map_err(|reason| StoreError::Write { reason: reason.into() })?;
    seal(key, &mut value);
    Ok(value)
}

/// Fill in the header of a value whose content is in place.
fn seal(key: &[u8], value: &mut [u8]) {
    value[0] = FORMAT;
    let sum = checksum(key, FORMAT, &value[HEADER_BYTES..]);
    value[1..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// The content of a value whose checksum is right.
fn open<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let Some((header, content)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(damaged(table, key, format!("{} bytes are too few", value.len())));
    };
    let [version, sum @ ..] = *header;
    let (written, found) = (u32::from_le_bytes(sum), checksum(key, version, content));
    if written != found {
        return Err(damaged(table, key, format!("checksum {written:08x}, bytes say {found:08x}")));
    }
    if version != FORMAT {
        let table = table.name();
        return Err(StoreError::NewerFormat { table, found: version, known: FORMAT });
    }
    Ok(content)
}

fn checksum(key: &[u8], version: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(content);
    hasher.finalize()
}

fn damaged(table: Table, key: &[u8], reason: String) -> StoreError {
    StoreError::Damaged { table: table.name(), key: hex(key), reason: reason.into() }
}

/// A key for people: hexadecimal digits.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{DeadReason, Generation, Name, State};
    use crate::core::record::{EndVerb, Holder, LeaseEnd};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn names(texts: &[&str]) -> Arc<[Name]> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn row(phase: Phase) -> TaskRow {
        TaskRow {
            task: TaskId(7),
            queue: name("images"),
            needs: names(&["big", "gpu"]),
            band: 2,
            attempts_max: 3,
            lease_ms: 30_000,
            phase,
            generation: Generation(5),
            place_ms: 600_123,
            attempts: 1,
            lost: 2,
            offers_expired: 3,
            declines: 4,
            excluded: names(&["bob"]),
            last_end: Some(Box::new(LeaseEnd {
                generation: Generation(3),
                agent: name("bob"),
                verb: EndVerb::Decline,
                digest: u64::MAX,
                outcome: State::Ready,
            })),
            error: Some("no".into()),
            submitted_ms: 1_700_000_000_000,
            updated_ms: 1_700_000_000_001,
        }
    }

    fn phases() -> Vec<Phase> {
        let by = name("alice");
        let holder = Holder { agent: by.clone(), identity: "login".into() };
        let mut phases = vec![
            Phase::Scheduled { delay_ms: u64::MAX, anchor_ms: 1 },
            Phase::Ready,
            Phase::Offered(holder.clone()),
            Phase::Running(holder),
            Phase::Completed { by: by.clone() },
        ];
        for reason in [
            DeadReason::Failed,
            DeadReason::NonRetryable,
            DeadReason::Timeout,
            DeadReason::Lost,
            DeadReason::Rejected,
        ] {
            phases.push(Phase::Dead { reason, by: by.clone() });
        }
        phases
    }

    fn encoded(record: &Record) -> Vec<Write> {
        let mut writes = Vec::new();
        encode(record, |write| writes.push(write)).unwrap();
        writes
    }

    /// The one value that a record sets.
    fn put(record: &Record) -> (Table, Vec<u8>, Vec<u8>) {
        match encoded(record).pop() {
            Some(Write::Put(table, key, value)) => (table, key, value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_phase_of_a_row_is_read_as_it_was_written() {
        for phase in phases() {
            let row = row(phase);
            let (table, key, value) = put(&Record::Task(Box::new(row.clone())));
            assert_eq!(decode_row(table, &key, &value), Ok(row));
        }
    }

    #[test]
    fn a_task_that_ends_leaves_the_queue_table() {
        let tables = |phase| match &encoded(&Record::Task(Box::new(row(phase))))[..] {
            [Write::Put(table, ..)] => (*table, false),
            [Write::Delete(Table::TaskQueue, _), Write::Put(table, ..)] => (*table, true),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = phases().into_iter().map(tables).collect();
        assert_eq!(found[..4], [(Table::TaskQueue, false); 4]);
        assert_eq!(found[4], (Table::TaskCompleted, true));
        assert_eq!(found[5..], [(Table::TaskDeadLetter, true); 5]);
    }

    #[test]
    fn any_changed_bit_and_any_cut_is_noticed() {
        let (table, key, value) = put(&Record::Task(Box::new(row(Phase::Ready))));
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_row(table, &key, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..value.len() {
            assert!(decode_row(table, &key, &value[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_value_under_another_key_is_noticed() {
        let (table, _, value) = put(&Record::Task(Box::new(row(Phase::Ready))));
        let error = decode_row(table, &row_key(TaskId(8)), &value).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_younger_format_is_told_apart_from_damage() {
        let (table, key, mut value) = put(&Record::Task(Box::new(row(Phase::Ready))));
        value[0] = FORMAT + 1;
        let sum = checksum(&key, value[0], &value[HEADER_BYTES..]);
        value[1..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        let error = decode_row(table, &key, &value).unwrap_err();
        assert!(matches!(error, StoreError::NewerFormat { found: 2, .. }), "{error}");
    }

    /// The example of `docs/storage.md`. If this fails, the format changed: that is a new version.
    #[test]
    fn bytes_on_disk_stay_what_they_are() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let check = |record, key, value| {
            let (_, found_key, found_value) = put(&record);
            assert_eq!(
                (hex(&found_key), hex(&found_value)),
                (String::from(key), String::from(value))
            );
        };
        let mut small = row(Phase::Ready);
        small.last_end = None;
        small.error = None;
        check(Record::Task(Box::new(small)), EXAMPLE_ROW.0, EXAMPLE_ROW.1);
        let body = Record::Body {
            task: TaskId(7),
            kind: BodyKind::Result,
            bytes: b"ok".as_slice().into(),
        };
        check(body, EXAMPLE_BODY.0, EXAMPLE_BODY.1);
        check(Record::TaskIdBound(TaskId(1025)), EXAMPLE_BOUND.0, EXAMPLE_BOUND.1);
    }

    const EXAMPLE_ROW: (&str, &str) = (
        "010000000000000007",
        "017c54e5bf0706696d616765730203626967036770750203fb30750105fc\
         3b280900010203040103626f620000fd0068e5cf8b010000fd0168e5cf8b010000",
    );
    const EXAMPLE_BODY: (&str, &str) = ("01000000000000000701", "01fd81b9e16f6b");
    const EXAMPLE_BOUND: (&str, &str) =
        ("017461736b5f69645f626f756e64", "011d7c3d490104000000000000");
}
