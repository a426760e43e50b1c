//! The bytes of every key and every value (`docs/storage.md` is the same in prose).
//!
//! ```text
//!   key     version | task id, 8 bytes big-endian [| body kind]      or  version | name
//!   value   version | crc32, 4 bytes little-endian | content
//! ```
//!
//! The checksum covers the key too, so a value that ended up under another key is noticed. What
//! is inside the value of a row is in `row/`.

use std::sync::Arc;

use super::{StoreError, row};
use crate::core::command::{ConfigView, Epoch, Message, MessageId, Name, TaskId, TokenDigest};
use crate::core::limits::{Order, QueueSettings, Rate};
use crate::core::record::{BodyKind, Record, Shelf, TaskRow, TokenRow};

/// Version of the keys, and of the values that never had another layout.
pub const FORMAT: u8 = 1;

/// Newest version of a value that this broker reads.
pub const NEWEST: u8 = row::NEWEST;

/// Bytes before the content of a value.
const HEADER_BYTES: usize = 5;

/// Where a record is kept: one column family each. The log has their numbers: a new one goes to the
/// end of both lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Rows of open tasks; all of them are read at start.
    TaskQueue,
    /// Rows of completed and cancelled tasks.
    TaskCompleted,
    /// Rows of dead tasks; read at start to be counted.
    TaskDeadLetter,
    /// Payloads, results and checkpoints.
    TaskBody,
    /// When tasks that are over are forgotten, soonest first.
    TaskExpiry,
    /// Keys under which work is recognised.
    TaskDedup,
    /// Work that comes again.
    Schedule,
    /// What is set about queues.
    Queue,
    /// Tokens of agents.
    Token,
    /// Messages, as long as they are kept anywhere.
    Message,
    /// What waits in which mailbox.
    Mailbox,
    /// Channels.
    Channel,
    /// Who listens to which channel.
    Subscriber,
    /// Settings that are shared.
    Config,
    /// Counters.
    Meta,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 15] = [
        Table::TaskQueue,
        Table::TaskCompleted,
        Table::TaskDeadLetter,
        Table::TaskBody,
        Table::TaskExpiry,
        Table::TaskDedup,
        Table::Schedule,
        Table::Queue,
        Table::Token,
        Table::Message,
        Table::Mailbox,
        Table::Channel,
        Table::Subscriber,
        Table::Config,
        Table::Meta,
    ];

    /// The tables in which the row of a task can be, those of tasks that are over first: only
    /// they are read while the broker runs.
    pub const OF_ROWS: [Table; 3] = [Table::TaskCompleted, Table::TaskDeadLetter, Table::TaskQueue];

    /// The tables whose keys begin with the id of a task.
    pub const WITH_TASKS: [Table; 4] =
        [Table::TaskQueue, Table::TaskCompleted, Table::TaskDeadLetter, Table::TaskBody];

    /// The tables that a core is restored from.
    pub const OF_START: [Table; 12] = [
        Table::Meta,
        Table::Queue,
        Table::Token,
        Table::Message,
        Table::Mailbox,
        Table::Channel,
        Table::Subscriber,
        Table::Config,
        Table::TaskDedup,
        Table::Schedule,
        Table::TaskDeadLetter,
        Table::TaskQueue,
    ];

    /// Whether it holds rows of tasks.
    #[must_use]
    pub fn has_rows(self) -> bool {
        Table::OF_ROWS.contains(&self)
    }

    /// The name of the column family; those that the legacy hub had too are called as there.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::TaskQueue => "task_queue",
            Table::TaskCompleted => "task_completed",
            Table::TaskDeadLetter => "task_dead_letter",
            Table::TaskBody => "task_body",
            Table::TaskExpiry => "task_expiry",
            Table::TaskDedup => "task_dedup",
            Table::Schedule => "schedule",
            Table::Queue => "queue",
            Table::Token => "token",
            Table::Message => "message_history",
            Table::Mailbox => "agent_mailbox",
            Table::Channel => "agent_channels",
            Table::Subscriber => "channel_subscriber",
            Table::Config => "agentcom_config",
            Table::Meta => "broker_meta",
        }
    }

    /// The table of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The table of the rows on a shelf.
    #[must_use]
    pub fn of(shelf: Shelf) -> Table {
        match shelf {
            Shelf::Open => Table::TaskQueue,
            Shelf::Done => Table::TaskCompleted,
            Shelf::Dead => Table::TaskDeadLetter,
        }
    }
}

/// What a record asks of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// Set a key.
    Put(Table, &'a [u8], &'a [u8]),
    /// Remove a key.
    Delete(Table, &'a [u8]),
}

/// Hand the writes that make up `record` to `each`. What is in `value` does not matter; it is there to
/// be used again.
///
/// # Errors
/// [`StoreError::Write`] if a value could not be read back because it is too large.
pub fn encode(
    record: &Record,
    value: &mut Vec<u8>,
    mut each: impl FnMut(Write<'_>),
) -> Result<(), StoreError> {
    match record {
        Record::Task(row) => encode_task(row, value, each)?,
        Record::Body { task, kind, bytes } => {
            let key = body_key(*task, *kind);
            begin(value);
            value.extend_from_slice(bytes);
            seal(&key, FORMAT, value);
            each(Write::Put(Table::TaskBody, &key, value));
        }
        Record::Forget { task, shelf, has_result, has_checkpoint, has_headers, expires_ms } => {
            each(Write::Delete(Table::of(*shelf), &row_key(*task)));
            each(Write::Delete(Table::TaskBody, &body_key(*task, BodyKind::Payload)));
            if *has_result {
                each(Write::Delete(Table::TaskBody, &body_key(*task, BodyKind::Result)));
            }
            if *has_checkpoint {
                each(Write::Delete(Table::TaskBody, &body_key(*task, BodyKind::Checkpoint)));
            }
            if *has_headers {
                each(Write::Delete(Table::TaskBody, &body_key(*task, BodyKind::Headers)));
            }
            if let Some(expires_ms) = expires_ms {
                each(Write::Delete(Table::TaskExpiry, &expiry_key(*expires_ms, *task)));
            }
        }
        Record::LeftDead { task, expires_ms } => {
            each(Write::Delete(Table::TaskDeadLetter, &row_key(*task)));
            if let Some(expires_ms) = expires_ms {
                each(Write::Delete(Table::TaskExpiry, &expiry_key(*expires_ms, *task)));
            }
        }
        Record::TaskIdBound(bound) => put_counter(TASK_ID_BOUND, bound.0, each),
        Record::EpochBound(bound) => put_counter(EPOCH_BOUND, bound.0, each),
        Record::Dedup(row) => {
            let key = dedup_key(&row.queue, &row.key);
            begin(value);
            row::encode_dedup(row, value).map_err(too_large)?;
            seal(&key, row::DEDUP, value);
            each(Write::Put(Table::TaskDedup, &key, value));
        }
        Record::DedupFreed { queue, key } => {
            each(Write::Delete(Table::TaskDedup, &dedup_key(queue, key)));
        }
        Record::Schedule(row) => {
            let key = name_key(row.schedule.name.as_str());
            begin(value);
            let version = row::encode_schedule(row, value).map_err(too_large)?;
            seal(&key, version, value);
            each(Write::Put(Table::Schedule, &key, value));
        }
        Record::ScheduleRemoved { name } => {
            each(Write::Delete(Table::Schedule, &name_key(name.as_str())));
        }
        Record::Token(row) => {
            let key = token_key(&row.digest);
            let value = sealed(&key, FORMAT, &token_bytes(row));
            each(Write::Put(Table::Token, &key, &value));
        }
        Record::TokenRevoked { digest } => {
            each(Write::Delete(Table::Token, &token_key(digest)));
        }
        Record::Config(ConfigView { key, value, version }) => {
            let key = name_key(key.as_str());
            let content = [&version.to_le_bytes(), &value[..]].concat();
            let value = sealed(&key, FORMAT, &content);
            each(Write::Put(Table::Config, &key, &value));
        }
        Record::Message(message) => {
            let key = message_key(message.id);
            begin(value);
            row::message::encode(message, value).map_err(too_large)?;
            seal(&key, FORMAT, value);
            each(Write::Put(Table::Message, &key, value));
        }
        Record::MessageDropped { message } => {
            each(Write::Delete(Table::Message, &message_key(*message)));
        }
        Record::MessageIdBound(bound) => put_counter(MESSAGE_ID_BOUND, bound.0, each),
        Record::Mail { agent, message, sent_ms } => {
            let key = mail_key(agent, *message);
            let value = sealed(&key, FORMAT, &sent_ms.to_le_bytes());
            each(Write::Put(Table::Mailbox, &key, &value));
        }
        Record::MailDropped { agent, message } => {
            each(Write::Delete(Table::Mailbox, &mail_key(agent, *message)));
        }
        Record::Channel(row) => {
            let key = name_key(row.made.name.as_str());
            begin(value);
            row::message::encode_channel(row, value).map_err(too_large)?;
            seal(&key, FORMAT, value);
            each(Write::Put(Table::Channel, &key, value));
        }
        Record::Subscribed { channel, agent, order } => {
            let key = pair_key(channel, agent.as_str().as_bytes());
            let value = sealed(&key, FORMAT, &order.to_le_bytes());
            each(Write::Put(Table::Subscriber, &key, &value));
        }
        Record::Unsubscribed { channel, agent } => {
            let key = pair_key(channel, agent.as_str().as_bytes());
            each(Write::Delete(Table::Subscriber, &key));
        }
        Record::Queue { queue, settings } => {
            let key = name_key(queue.as_str());
            if *settings == QueueSettings::default() {
                each(Write::Delete(Table::Queue, &key));
            } else {
                let value = sealed(&key, FORMAT, &settings_bytes(settings));
                each(Write::Put(Table::Queue, &key, &value));
            }
        }
    }
    Ok(())
}

/// Whether a record can be read, of whichever table.
///
/// # Errors
/// As [`decode`].
pub fn check(table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(damaged(table, key, "the key is empty".into()));
    }
    match table {
        Table::TaskBody => decode_body(key, value).map(drop),
        Table::TaskExpiry => decode_expiry(key).map(drop),
        table => decode(table, key, value).map(drop),
    }
}

/// The record in a key and a value of one of the tables that a core is restored from.
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode(table: Table, key: &[u8], value: &[u8]) -> Result<Record, StoreError> {
    match table {
        Table::TaskQueue | Table::TaskDeadLetter | Table::TaskCompleted => {
            decode_row(table, key, value).map(|row| Record::Task(Box::new(row)))
        }
        Table::TaskDedup => {
            let (_, content) = open(table, key, value)?;
            let row = row::decode_dedup(content).map_err(|reason| damaged(table, key, reason))?;
            Ok(Record::Dedup(row))
        }
        Table::Schedule => {
            let (version, content) = open(table, key, value)?;
            let row = row::decode_schedule(version, content)
                .map_err(|reason| damaged(table, key, reason))?;
            Ok(Record::Schedule(Box::new(row)))
        }
        Table::Queue => {
            let (_, content) = open(table, key, value)?;
            let queue = std::str::from_utf8(&key[1..]).ok().and_then(|text| Name::parse(text).ok());
            let queue = queue.ok_or_else(|| damaged(table, key, "the key is no name".into()))?;
            let settings = settings_of(content).map_err(|reason| damaged(table, key, reason))?;
            Ok(Record::Queue { queue, settings })
        }
        Table::Token => {
            let (_, content) = open(table, key, value)?;
            let row = token_of(&key[1..], content);
            row.map(|row| Record::Token(Box::new(row)))
                .ok_or_else(|| damaged(table, key, "not a token".into()))
        }
        Table::Config => {
            let (_, content) = open(table, key, value)?;
            let name = std::str::from_utf8(&key[1..]).ok().and_then(|text| Name::parse(text).ok());
            let name = name.ok_or_else(|| damaged(table, key, "the key is no name".into()))?;
            let Some((version, value)) = content.split_first_chunk() else {
                return Err(damaged(table, key, format!("{} bytes, not 8", content.len())));
            };
            let version = u64::from_le_bytes(*version);
            Ok(Record::Config(ConfigView { key: name, value: value.into(), version }))
        }
        Table::Message => decode_message(key, value).map(|message| Record::Message(message.into())),
        Table::Mailbox => {
            let sent_ms = number_of(table, key, value)?;
            let (agent, id) = pair_of(table, key)?;
            let id = id.try_into().map_err(|_| damaged(table, key, "no message id".into()))?;
            Ok(Record::Mail { agent, message: MessageId(u64::from_be_bytes(id)), sent_ms })
        }
        Table::Channel => {
            let (_, content) = open(table, key, value)?;
            let channel = std::str::from_utf8(&key[1..]).unwrap_or_default();
            let row = row::message::decode_channel(channel, content);
            let row = row.map_err(|reason| damaged(table, key, reason))?;
            Ok(Record::Channel(Box::new(row)))
        }
        Table::Subscriber => {
            let order = number_of(table, key, value)?;
            let (channel, agent) = pair_of(table, key)?;
            let agent = std::str::from_utf8(agent).ok().and_then(|text| Name::parse(text).ok());
            let agent = agent.ok_or_else(|| damaged(table, key, "no name".into()))?;
            Ok(Record::Subscribed { channel, agent, order })
        }
        Table::Meta => {
            let number = number_of(table, key, value)?;
            match &key[1..] {
                name if name == TASK_ID_BOUND.as_bytes() => Ok(Record::TaskIdBound(TaskId(number))),
                name if name == EPOCH_BOUND.as_bytes() => Ok(Record::EpochBound(Epoch(number))),
                name if name == MESSAGE_ID_BOUND.as_bytes() => {
                    Ok(Record::MessageIdBound(MessageId(number)))
                }
                _ => Err(damaged(table, key, "there is no such counter".into())),
            }
        }
        Table::TaskBody | Table::TaskExpiry => {
            unreachable!("{} is not read at start", table.name())
        }
    }
}

/// Key of a row, in each of the tables of rows.
#[must_use]
pub fn row_key(task: TaskId) -> [u8; 9] {
    let mut key = [FORMAT; 9];
    key[1..].copy_from_slice(&task.0.to_be_bytes());
    key
}

/// Key of a body.
#[must_use]
pub fn body_key(task: TaskId, kind: BodyKind) -> [u8; 10] {
    let mut key = [FORMAT; 10];
    key[1..9].copy_from_slice(&task.0.to_be_bytes());
    key[9] = match kind {
        BodyKind::Payload => 0,
        BodyKind::Result => 1,
        BodyKind::Checkpoint => 2,
        BodyKind::Headers => 3,
    };
    key
}

/// The task that a key of a row or a body is about; `None` if it is no such key.
#[must_use]
pub fn task_of_key(key: &[u8]) -> Option<TaskId> {
    let (_, id) = key.split_first()?;
    Some(TaskId(u64::from_be_bytes(*id.first_chunk()?)))
}

/// Key of the time at which a task is forgotten.
#[must_use]
pub fn expiry_key(wall_ms: u64, task: TaskId) -> [u8; 17] {
    let mut key = [FORMAT; 17];
    key[1..9].copy_from_slice(&wall_ms.to_be_bytes());
    key[9..].copy_from_slice(&task.0.to_be_bytes());
    key
}

/// The time and the task in a key of [`Table::TaskExpiry`].
///
/// # Errors
/// [`StoreError::Damaged`] if it is no such key.
pub fn decode_expiry(key: &[u8]) -> Result<(u64, TaskId), StoreError> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    match (key.get(1..9).and_then(number), key.get(9..).and_then(number)) {
        (Some(wall_ms), Some(task)) => Ok((wall_ms, TaskId(task))),
        _ => Err(damaged(Table::TaskExpiry, key, "not 17 bytes".into())),
    }
}

fn token_key(digest: &TokenDigest) -> Vec<u8> {
    [&[FORMAT], &digest.0[..]].concat()
}

/// Agent and prefix, each behind its length, then the time.
fn token_bytes(row: &TokenRow) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for text in [row.agent.as_str(), &row.prefix] {
        bytes.push(u8::try_from(text.len()).expect("names and prefixes are short"));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&row.issued_ms.to_le_bytes());
    bytes
}

fn token_of(digest: &[u8], content: &[u8]) -> Option<TokenRow> {
    let text = |bytes: &mut &[u8]| {
        let (length, rest) = bytes.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        *bytes = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    let mut rest = content;
    let (agent, prefix) = (text(&mut rest)?, text(&mut rest)?);
    Some(TokenRow {
        digest: TokenDigest(digest.try_into().ok()?),
        agent: Name::parse(&agent).ok()?,
        prefix: prefix.into(),
        issued_ms: u64::from_le_bytes(rest.try_into().ok()?),
    })
}

/// Key of a message.
#[must_use]
pub fn message_key(id: MessageId) -> Vec<u8> {
    [&[FORMAT], &id.0.to_be_bytes()[..]].concat()
}

/// The message in a value of [`Table::Message`].
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_message(key: &[u8], value: &[u8]) -> Result<Message, StoreError> {
    let table = Table::Message;
    let (_, content) = open(table, key, value)?;
    let id = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let id = id.ok_or_else(|| damaged(table, key, "the key is no message id".into()))?;
    row::message::decode(MessageId(id), content).map_err(|reason| damaged(table, key, reason))
}

fn mail_key(agent: &Name, message: MessageId) -> Vec<u8> {
    pair_key(agent, &message.0.to_be_bytes())
}

/// A name behind its length, and something else.
fn pair_key(name: &Name, rest: &[u8]) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let length = u8::try_from(name.len()).expect("a name is short");
    [&[FORMAT, length], name, rest].concat()
}

fn pair_of(table: Table, key: &[u8]) -> Result<(Name, &[u8]), StoreError> {
    let parts = key.get(1..).and_then(|rest| {
        let (length, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        Some((Name::parse(std::str::from_utf8(name).ok()?).ok()?, rest))
    });
    parts.ok_or_else(|| damaged(table, key, "the key has no name".into()))
}

/// The 8 bytes of a value that is a number.
fn number_of(table: Table, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let (_, content) = open(table, key, value)?;
    let bytes = content.try_into();
    let bytes =
        bytes.map_err(|_| damaged(table, key, format!("{} bytes, not 8", content.len())))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Key of a name.
#[must_use]
pub fn name_key(name: &str) -> Vec<u8> {
    [&[FORMAT], name.as_bytes()].concat()
}

/// Name of the counter of task ids.
pub const TASK_ID_BOUND: &str = "task_id_bound";

/// Name of the counter of epochs.
pub const EPOCH_BOUND: &str = "epoch_bound";

/// Name of the counter of message ids.
pub const MESSAGE_ID_BOUND: &str = "message_id_bound";

/// The row in a value of one of the tables of rows.
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_row(table: Table, key: &[u8], value: &[u8]) -> Result<TaskRow, StoreError> {
    let (version, content) = open(table, key, value)?;
    let task = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let task = task.ok_or_else(|| damaged(table, key, "the key is no task id".into()))?;
    row::decode(version, TaskId(task), content).map_err(|reason| damaged(table, key, reason))
}

/// The body in a value of [`Table::TaskBody`].
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::NewerFormat`].
pub fn decode_body(key: &[u8], value: &[u8]) -> Result<Arc<[u8]>, StoreError> {
    open(Table::TaskBody, key, value).map(|(_, content)| content.into())
}

/// Leave room for the header of a value.
fn begin(value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&[0; HEADER_BYTES]);
}

fn encode_task(
    row: &TaskRow,
    value: &mut Vec<u8>,
    mut each: impl FnMut(Write<'_>),
) -> Result<(), StoreError> {
    let key = row_key(row.task);
    let table = Table::of(row.shelf());
    begin(value);
    let version = row::encode(row, value).map_err(too_large)?;
    seal(&key, version, value);
    if table != Table::TaskQueue {
        each(Write::Delete(Table::TaskQueue, &key));
    }
    each(Write::Put(table, &key, value));
    if let Some(expires_ms) = row.end().and_then(|end| end.expires_ms) {
        let key = expiry_key(expires_ms, row.task);
        let value = sealed(&key, FORMAT, &[]);
        each(Write::Put(Table::TaskExpiry, &key, &value));
    }
    Ok(())
}

fn put_counter(name: &str, number: u64, mut each: impl FnMut(Write<'_>)) {
    let key = name_key(name);
    let value = sealed(&key, FORMAT, &number.to_le_bytes());
    each(Write::Put(Table::Meta, &key, &value));
}

fn dedup_key(queue: &Name, key: &Name) -> Vec<u8> {
    pair_key(queue, key.as_str().as_bytes())
}

const PAUSED: u8 = 1;
const LEASES_MAX: u8 = 2;
const KEEP_DEAD: u8 = 4;
const FAIR: u8 = 8;
const RATE: u8 = 16;

fn settings_bytes(settings: &QueueSettings) -> Vec<u8> {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags = flag(settings.paused, PAUSED)
        | flag(settings.leases_max.is_some(), LEASES_MAX)
        | flag(settings.keep_dead_ms.is_some(), KEEP_DEAD)
        | flag(settings.order == Order::Fair, FAIR)
        | flag(settings.rate.is_some(), RATE);
    let rate = settings.rate.map_or((0, 0), |rate| (rate.grants.into(), rate.period_ms));
    let numbers = [
        settings.leases_max.unwrap_or(0),
        settings.keep_ms,
        settings.keep_dead_ms.unwrap_or(0),
        rate.0,
        rate.1,
    ];
    let mut bytes = vec![flags];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    for (key, weight) in settings.weights.iter() {
        bytes.push(u8::try_from(key.as_str().len()).expect("names have at most 64 bytes"));
        bytes.extend_from_slice(key.as_str().as_bytes());
        bytes.extend_from_slice(&weight.to_le_bytes());
    }
    bytes
}

fn settings_of(content: &[u8]) -> Result<QueueSettings, String> {
    let too_few = || format!("{} bytes are too few", content.len());
    let (head, mut rest) = content.split_at_checked(41).ok_or_else(too_few)?;
    let numbers: Vec<u64> = head[1..]
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes))
        .collect();
    let &[leases_max, keep_ms, keep_dead_ms, grants, period_ms] = &numbers[..] else {
        return Err(too_few());
    };
    let grants = u32::try_from(grants).map_err(|_| format!("a rate of {grants} grants"))?;
    let mut weights = Vec::new();
    while let Some((&length, more)) = rest.split_first() {
        let (key, more) = more.split_at_checked(length.into()).ok_or_else(too_few)?;
        let (weight, more) = more.split_first_chunk().ok_or_else(too_few)?;
        let key = std::str::from_utf8(key).ok().and_then(|text| Name::parse(text).ok());
        weights.push((key.ok_or("a key is no name")?, u32::from_le_bytes(*weight)));
        rest = more;
    }
    let has = |flag| head[0] & flag != 0;
    Ok(QueueSettings {
        paused: has(PAUSED),
        leases_max: has(LEASES_MAX).then_some(leases_max),
        rate: has(RATE).then_some(Rate { grants, period_ms }),
        order: if has(FAIR) { Order::Fair } else { Order::Deadline },
        weights: weights.into(),
        keep_ms,
        keep_dead_ms: has(KEEP_DEAD).then_some(keep_dead_ms),
    })
}

fn sealed(key: &[u8], version: u8, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + content.len());
    value.extend_from_slice(&[0; HEADER_BYTES]);
    value.extend_from_slice(content);
    seal(key, version, &mut value);
    value
}

/// Fill in the header of a value whose content is in place.
fn seal(key: &[u8], version: u8, value: &mut [u8]) {
    value[0] = version;
    let sum = checksum(key, version, &value[HEADER_BYTES..]);
    value[1..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// Version and content of a value whose checksum is right.
fn open<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), StoreError> {
    let Some((header, content)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(damaged(table, key, format!("{} bytes are too few", value.len())));
    };
    let [version, sum @ ..] = *header;
    let (written, found) = (u32::from_le_bytes(sum), checksum(key, version, content));
    if written != found {
        return Err(damaged(table, key, format!("checksum {written:08x}, bytes say {found:08x}")));
    }
    if version > NEWEST {
        let table = table.name();
        return Err(StoreError::NewerFormat { table, found: version, known: NEWEST });
    }
    Ok((version, content))
}

fn checksum(key: &[u8], version: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(content);
    hasher.finalize()
}

fn too_large(reason: String) -> StoreError {
    StoreError::Write { reason: reason.into() }
}

fn damaged(table: Table, key: &[u8], reason: String) -> StoreError {
    StoreError::Damaged { table: table.name(), key: hex(key), reason: reason.into() }
}

/// A key for people: hexadecimal digits.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(in crate::store) mod tests;
