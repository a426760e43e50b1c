//! Keys and values as bytes: there and back, and what damage does to them.

use super::*;
use crate::core::command::{
    AfterEnd, Assign, DeadReason, DedupMode, Destination, Failure, Generation, LabelOp, LabelTest,
    LeaseLimit, MessageKind, Missed, NewChannel, Overlap, ParkTimeout, Patience, Placement, Post,
    Preference, RateLimit, Resource, Schedule, Spec, State, TokenDigest, When,
};
use crate::core::cron::Cron;
use crate::core::record::{
    Asked, Cancelling, ChannelRow, DedupRow, Details, Edge, End, EndVerb, Ending, Holder, LeaseEnd,
    Parent, Parking, Phase, ScheduleRow, Span, TokenRow, Wait, Window,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn names(texts: &[&str]) -> Arc<[Name]> {
    texts.iter().map(|text| name(text)).collect()
}

fn small_spec() -> Spec {
    Spec {
        rates: Arc::default(),
        placement: None,
        has_headers: false,
        queue: name("images"),
        key: None,
        needs: names(&["big", "gpu"]),
        labels: Arc::default(),
        limits: Arc::default(),
        band: 2,
        attempts_max: 3,
        patience: Patience {
            lease_ms: 30_000,
            attempt_ms: 3_600_000,
            progress_ms: None,
            queue_ms: None,
            total_ms: None,
        },
    }
}

/// A waiting task like most.
pub(in crate::store) fn small_row() -> TaskRow {
    TaskRow {
        task: TaskId(7),
        spec: Arc::new(small_spec()),
        phase: Phase::Ready,
        generation: Generation(0),
        place_ms: 600_123,
        submitted_ms: 1_700_000_000_000,
        details: None,
    }
}

/// A task with everything.
fn row(phase: Phase) -> TaskRow {
    let mut spec = small_spec();
    let ops = [
        LabelOp::Equal,
        LabelOp::NotEqual,
        LabelOp::Less,
        LabelOp::AtMost,
        LabelOp::Greater,
        LabelOp::AtLeast,
        LabelOp::Exists,
    ];
    spec.key = Some(name("tenant"));
    spec.labels = ops.into_iter().map(|op| test("mem", op)).collect();
    spec.limits = [LeaseLimit { name: name("repo"), max: 3 }].into();
    spec.patience.progress_ms = Some(1);
    spec.patience.queue_ms = Some(2);
    spec.patience.total_ms = Some(u64::MAX);
    let edge = |on, is_blocked| Edge { task: TaskId(3), on, is_blocked };
    let details = Details {
        updated_ms: 1_700_000_000_001,
        event_seq: 99,
        progress_seq: 12,
        checkpoint_seq: Some(4),
        attempts: 1,
        lost: 2,
        offers_expired: 3,
        declines: 4,
        releases: 5,
        redrives: 6,
        excluded: names(&["bob"]),
        last_end: Some(Box::new(LeaseEnd {
            generation: Generation(3),
            agent: name("bob"),
            verb: EndVerb::Decline,
            digest: u64::MAX,
            outcome: State::Ready,
        })),
        failures: vec![Failure {
            generation: Generation(2),
            agent: name("bob"),
            at_ms: 5,
            error: "no".into(),
        }],
        cancelling: Some(Box::new(Cancelling {
            reason: "enough".into(),
            is_deadline: true,
            grace_ms: 7,
            anchor_ms: 8,
        })),
        dedup: Some(name("once")),
        after: vec![
            edge(AfterEnd::Any, false),
            edge(AfterEnd::SuccessElseBlock, true),
            edge(AfterEnd::SuccessElseCancel, false),
            edge(AfterEnd::SuccessElseFail, false),
        ],
        start: Some(Wait::Until { wall_ms: 9 }),
        version: 3,
        parent: Some(Parent {
            task: TaskId(2),
            generation: Generation(1),
            depth: 4,
            ends_with_parent: true,
        }),
        questions: vec![Asked {
            key: name("colour"),
            text: b"which?".as_slice().into(),
            default: Some(b"red".as_slice().into()),
            answer: None,
        }],
        parking: Some(Box::new(Parking {
            keys: vec![name("colour")],
            children: true,
            hold_ms: 1,
            park_ms: 2,
            on_timeout: ParkTimeout::Cancel,
            anchor_ms: 3,
            attempt_left_ms: 4,
            is_escalated: false,
        })),
        redriven_ms: Some(10),
        has_result: true,
        was_accepted: true,
        window: None,
        former: None,
    };
    TaskRow {
        spec: Arc::new(spec),
        phase,
        generation: Generation(5),
        details: Some(Box::new(details)),
        ..small_row()
    }
}

fn phases() -> Vec<Phase> {
    let by = Some(name("alice"));
    let agent = name("alice");
    let holder =
        |fixed_ms| Arc::new(Holder { agent: agent.clone(), identity: "login".into(), fixed_ms });
    let over = |how, expires_ms| Phase::Over(Box::new(End { how, by: by.clone(), expires_ms }));
    let mut phases = vec![
        Phase::Held,
        Phase::Scheduled(Box::new(Wait::Until { wall_ms: u64::MAX })),
        Phase::Scheduled(Box::new(Wait::For { delay_ms: 1, anchor_ms: 2, keeps_place: true })),
        Phase::Ready,
        Phase::Parked,
        Phase::Offered(holder(None)),
        Phase::Running(holder(Some(3))),
        over(Ending::Completed, None),
        over(Ending::Cancelled("enough".into()), Some(77)),
    ];
    phases.extend(DeadReason::ALL.map(|reason| over(Ending::Dead(reason), None)));
    phases
}

/// Table, key, and the value that is put there, if none is removed.
type Written = (Table, Vec<u8>, Option<Vec<u8>>);

fn encoded(record: &Record) -> Vec<Written> {
    let mut writes = Vec::new();
    let mut value = b"whatever".to_vec();
    encode(record, &mut value, |write| {
        writes.push(match write {
            Write::Put(table, key, value) => (table, key.to_vec(), Some(value.to_vec())),
            Write::Delete(table, key) => (table, key.to_vec(), None),
        });
    })
    .unwrap();
    writes
}

/// The one value that a record sets, leaving times of expiry aside.
fn put(record: &Record) -> (Table, Vec<u8>, Vec<u8>) {
    let values = encoded(record).into_iter().filter_map(|(table, key, value)| {
        (table != Table::TaskExpiry).then_some((table, key, value?))
    });
    let values: Vec<_> = values.collect();
    let [value] = &values[..] else { panic!("{values:?}") };
    value.clone()
}

fn task(row: TaskRow) -> Record {
    Record::Task(Box::new(row))
}

#[test]
fn every_phase_of_a_row_is_read_as_it_was_written() {
    for phase in phases() {
        let row = row(phase);
        let (table, key, value) = put(&task(row.clone()));
        assert_eq!(decode_row(table, &key, &value), Ok(row));
    }
    let (table, key, value) = put(&task(small_row()));
    assert_eq!(decode_row(table, &key, &value), Ok(small_row()));
}

#[test]
fn every_verb_that_ended_a_lease_is_read_as_it_was_written() {
    for verb in EndVerb::ALL {
        let mut row = row(Phase::Ready);
        row.details_mut().last_end.as_mut().unwrap().verb = verb;
        let (table, key, value) = put(&task(row.clone()));
        assert_eq!(decode_row(table, &key, &value), Ok(row));
    }
}

#[test]
fn keys_settings_and_counters_are_read_as_they_were_written() {
    let dedup = |mode, ended| DedupRow {
        queue: name("images"),
        key: name("once"),
        task: TaskId(7),
        mode,
        anchor_ms: 5,
        ended,
    };
    let settings = |paused, leases_max, keep_dead_ms| {
        let order = if paused { Order::Fair } else { Order::Deadline };
        let rate = paused.then_some(Rate { grants: 7, period_ms: 1_000 });
        let weights = [(name("big"), 3), (name("bigger"), 1_000)];
        let weights = weights.into_iter().filter(|_| paused).collect();
        let settings =
            QueueSettings { paused, leases_max, rate, order, weights, keep_ms: 1, keep_dead_ms };
        Record::Queue { queue: name("images"), settings }
    };
    let modes = [
        DedupMode::Return(1),
        DedupMode::Reject(2),
        DedupMode::Replace,
        DedupMode::Debounce { delay_ms: 3, max_ms: 4 },
        DedupMode::UntilDone,
        DedupMode::WhileRunning,
    ];
    let token = |agent, prefix: &str| {
        let (digest, prefix) = (TokenDigest([200; 32]), prefix.into());
        let row = TokenRow { digest, agent: name(agent), prefix, issued_ms: u64::MAX };
        Record::Token(Box::new(row))
    };
    let mut records: Vec<Record> =
        modes.into_iter().map(|mode| Record::Dedup(dedup(mode, None))).collect();
    let ended = State::ALL.map(|state| (state, Generation(9)));
    records.extend(ended.map(|end| Record::Dedup(dedup(DedupMode::Return(1), Some(end)))));
    let schedule = |when, missed, overlap| {
        let schedule = Schedule {
            name: name("nightly"),
            when,
            spec: small_spec(),
            payload: b"go".as_slice().into(),
            missed,
            overlap,
            is_paused: overlap == Overlap::Skip,
        };
        let (schedule, last_task) = (Arc::new(schedule), Some(TaskId(8)));
        let row = ScheduleRow { schedule, handled_ms: 1, last_task, fired: 2, skipped: 3 };
        Record::Schedule(Box::new(row))
    };
    let cron = When::Cron(Cron::parse("*/5 0 * * 1-5").unwrap());
    let every = When::Every { period_ms: 1_000, offset_ms: 7 };
    records.push(schedule(cron, Missed::All(9), Overlap::Allow));
    records.push(schedule(every.clone(), Missed::Once, Overlap::Skip));
    records.push(schedule(every.clone(), Missed::Skip, Overlap::Replace));
    let Record::Schedule(mut late) = schedule(every, Missed::Skip, Overlap::Replace) else {
        unreachable!("made above");
    };
    records.extend([token("alice", "2feecf6e"), token(&"a".repeat(64), "")]);
    Arc::make_mut(&mut late.schedule).spec = Spec::clone(&late_row().spec);
    records.push(Record::Schedule(late));
    records.push(settings(true, None, None));
    records.push(settings(false, Some(0), Some(u64::MAX)));
    records.push(Record::TaskIdBound(TaskId(1025)));
    records.push(Record::EpochBound(Epoch(u64::MAX)));
    records.push(Record::MessageIdBound(MessageId(7)));
    for value in [b"".as_slice(), b"{}"] {
        let (key, value) = (name("default_repo"), value.into());
        records.push(Record::Config(ConfigView { key, value, version: 300 }));
    }
    records.extend(MessageKind::ALL.map(|kind| message(kind, Destination::Agent(name("ben")))));
    for to in [
        Destination::Broadcast { is_named: true },
        Destination::Broadcast { is_named: false },
        Destination::Channel(name("dev")),
    ] {
        records.push(message(MessageKind::Chat, to));
    }
    let agent = name("ben");
    records.push(Record::Mail { agent: agent.clone(), message: MessageId(300), sent_ms: 5 });
    for by in [None, Some(name("ann"))] {
        let made = NewChannel { name: name("dev"), description: "\u{fc}".into(), by };
        records.push(Record::Channel(Box::new(ChannelRow { made, created_ms: 9 })));
    }
    records.push(Record::Subscribed { channel: name("dev"), agent, order: 3 });
    for record in records {
        let (table, key, value) = put(&record);
        assert_eq!(decode(table, &key, &value), Ok(record));
    }
}

fn message(kind: MessageKind, to: Destination) -> Record {
    let is_to_channel = matches!(to, Destination::Channel(_));
    let post = Post {
        from: name("ann"),
        to,
        kind,
        payload: br#"{"channel":"x"}"#.as_slice().into(),
        label: is_to_channel.then(|| "x".into()),
        reply_to: (kind == MessageKind::Response).then(|| "what you said".into()),
    };
    let channel_seq = u64::from(is_to_channel);
    Record::Message(Message { id: MessageId(300), channel_seq, sent_ms: 5, post }.into())
}

#[test]
fn what_is_dropped_is_deleted_under_the_key_that_it_was_put_under() {
    let (agent, channel) = (name("ben"), name("dev"));
    for (kept, dropped) in [
        (
            message(MessageKind::Chat, Destination::Agent(agent.clone())),
            Record::MessageDropped { message: MessageId(300) },
        ),
        (
            Record::Mail { agent: agent.clone(), message: MessageId(1), sent_ms: 5 },
            Record::MailDropped { agent: agent.clone(), message: MessageId(1) },
        ),
        (
            Record::Subscribed { channel: channel.clone(), agent: agent.clone(), order: 3 },
            Record::Unsubscribed { channel, agent },
        ),
    ] {
        let (table, key, _) = put(&kept);
        assert_eq!(encoded(&dropped), [(table, key, None)]);
    }
}

#[test]
fn settings_that_are_the_defaults_are_not_kept() {
    let (queue, settings) = (name("images"), QueueSettings::default());
    let writes = encoded(&Record::Queue { queue, settings });
    assert_eq!(writes, [(Table::Queue, name_key("images"), None)]);
}

#[test]
fn a_task_that_ends_leaves_the_queue_table() {
    let tables = |phase| {
        let writes = encoded(&task(row(phase)));
        let table = |(table, _, value): Written| (value.is_some(), table);
        writes.into_iter().map(table).collect::<Vec<_>>()
    };
    for phase in phases() {
        let expected = match &phase {
            Phase::Over(end) => {
                let table = match end.how {
                    Ending::Dead(_) => Table::TaskDeadLetter,
                    _ => Table::TaskCompleted,
                };
                let mut expected = vec![(false, Table::TaskQueue), (true, table)];
                expected.extend(end.expires_ms.map(|_| (true, Table::TaskExpiry)));
                expected
            }
            _ => vec![(true, Table::TaskQueue)],
        };
        assert_eq!(tables(phase), expected);
    }
}

#[test]
fn a_forgotten_task_leaves_nothing_behind() {
    let mut row = row(phases()[8].clone());
    row.details_mut().checkpoint_seq = Some(1);
    let mut written: Vec<(Table, Vec<u8>)> = Vec::new();
    let body = |kind| Record::Body { task: row.task, kind, bytes: Arc::default() };
    let records = [
        body(BodyKind::Payload),
        body(BodyKind::Result),
        body(BodyKind::Checkpoint),
        body(BodyKind::Headers),
        task(row.clone()),
        Record::Forget {
            task: row.task,
            shelf: row.shelf(),
            has_result: true,
            has_checkpoint: true,
            has_headers: true,
            expires_ms: Some(77),
        },
    ];
    for (table, key, value) in records.iter().flat_map(encoded) {
        match value {
            Some(_) => written.push((table, key)),
            None => written.retain(|other| *other != (table, key.clone())),
        }
    }
    assert_eq!(written, []);
}

#[test]
fn times_of_expiry_are_in_order_and_name_their_tasks() {
    let keys = [(1, 300), (256, 2), (256, 3), (u64::MAX, 1)];
    let keys = keys.map(|(wall_ms, task)| expiry_key(wall_ms, TaskId(task)));
    assert!(keys.is_sorted());
    assert_eq!(decode_expiry(&keys[1]), Ok((256, TaskId(2))));
    assert!(decode_expiry(&keys[1][..16]).is_err());
}

#[test]
fn any_changed_bit_and_any_cut_is_noticed() {
    let (table, key, value) = put(&task(row(Phase::Ready)));
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
    let (table, _, value) = put(&task(row(Phase::Ready)));
    let error = decode_row(table, &row_key(TaskId(8)), &value).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_younger_format_is_told_apart_from_damage() {
    let (table, key, mut value) = put(&task(row(Phase::Ready)));
    value[0] = NEWEST + 1;
    let sum = checksum(&key, value[0], &value[HEADER_BYTES..]);
    value[1..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    let error = decode_row(table, &key, &value).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 4, .. }), "{error}");
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The examples of `docs/storage.md`. If this fails, the format changed: that is a new version.
#[test]
fn bytes_on_disk_stay_what_they_are() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let check = |record, key, value| {
        let (_, found_key, found_value) = put(&record);
        assert_eq!((hex(&found_key), hex(&found_value)), (String::from(key), String::from(value)));
    };
    check(task(small_row()), EXAMPLE_ROW.0, EXAMPLE_ROW.1);
    let bytes = b"ok".as_slice().into();
    let body = Record::Body { task: TaskId(7), kind: BodyKind::Result, bytes };
    check(body, EXAMPLE_BODY.0, EXAMPLE_BODY.1);
    check(Record::TaskIdBound(TaskId(1025)), EXAMPLE_BOUND.0, EXAMPLE_BOUND.1);
}

fn test(label: &str, op: LabelOp) -> LabelTest {
    LabelTest { label: name(label), op, value: "16".into() }
}

/// A row with all that version 3 adds.
fn late_row() -> TaskRow {
    let mut row = row(Phase::Ready);
    let placement = Placement {
        resources: [Resource { name: name("gpu"), amount: 2 }].into(),
        prefer: [Preference { weight: 7, test: test("region", LabelOp::Equal) }].into(),
        assign: Some(Assign { agent: name("bob"), for_ms: Some(9) }),
        sticky_ms: 11,
    };
    let rate = Rate { grants: 3, period_ms: 1_000 };
    row.spec = Arc::new(Spec {
        rates: [RateLimit { name: name("api"), rate }].into(),
        placement: Some(Arc::new(placement)),
        has_headers: true,
        ..Spec::clone(&row.spec)
    });
    let details = row.details_mut();
    let span = Some(Span { length_ms: 5, anchor_ms: 6 });
    details.window = Some(Box::new(Window { agent: name("bob"), span }));
    details.former = Some(name("carol"));
    let parking = details.parking.as_mut().unwrap();
    (parking.on_timeout, parking.is_escalated) = (ParkTimeout::Escalate, true);
    row
}

#[test]
fn a_row_has_version_3_only_if_it_needs_it() {
    let version = |row: &TaskRow| {
        let (table, key, value) = put(&task(row.clone()));
        assert_eq!(decode_row(table, &key, &value).as_ref(), Ok(row));
        value[0]
    };
    assert_eq!((version(&small_row()), version(&row(Phase::Ready))), (2, 2));
    assert_eq!(version(&late_row()), 3);
    type Part = fn(&mut TaskRow, &TaskRow);
    let parts: [Part; 6] = [
        |row, late| row.spec = Arc::new(Spec { has_headers: true, ..Spec::clone(&late.spec) }),
        |row, late| {
            let rates = late.spec.rates.clone();
            row.spec = Arc::new(Spec { rates, ..Spec::clone(&row.spec) });
        },
        |row, late| {
            let placement = late.spec.placement.clone();
            row.spec = Arc::new(Spec { placement, ..Spec::clone(&row.spec) });
        },
        |row, late| row.details_mut().window = late.details().window.clone(),
        |row, late| row.details_mut().former = late.details().former.clone(),
        |row, late| row.details_mut().parking = late.details().parking.clone(),
    ];
    for part in parts {
        let mut row = row(Phase::Ready);
        part(&mut row, &late_row());
        assert_eq!(version(&row), 3);
    }
}

/// What a broker of version 1 wrote is still read: the example of its documentation, and one with
/// everything that a row had then.
#[test]
fn rows_of_version_1_are_still_read() {
    let row = decode_row(Table::TaskQueue, &unhex(EXAMPLE_ROW.0), &unhex(ROW_V1)).unwrap();
    let details = row.details().clone();
    assert_eq!((row.task, row.generation, row.state()), (TaskId(7), Generation(5), State::Ready));
    assert_eq!((&row.spec.queue, &row.spec.needs), (&name("images"), &names(&["big", "gpu"])));
    assert_eq!((row.spec.band, row.spec.attempts_max, row.place_ms), (2, 3, 600_123));
    assert_eq!((row.spec.patience.lease_ms, row.submitted_ms), (30_000, 1_700_000_000_000));
    assert_eq!((details.attempts, details.lost), (1, 2));
    assert_eq!((details.offers_expired, details.declines), (3, 4));
    assert_eq!((&details.excluded, details.updated_ms), (&names(&["bob"]), 1_700_000_000_001));
}

/// Version 1 of the example row, as its documentation had it.
const ROW_V1: &str = "017c54e5bf0706696d616765730203626967036770750203fb30750105fc\
     3b280900010203040103626f620000fd0068e5cf8b010000fd0168e5cf8b010000";

const EXAMPLE_ROW: (&str, &str) = (
    "010000000000000007",
    "0282acfc3e06696d616765730002036269670367707500000203fb3075fc80\
     ee36000000000200fc3b280900fd0068e5cf8b01000000",
);
const EXAMPLE_BODY: (&str, &str) = ("01000000000000000701", "01fd81b9e16f6b");
const EXAMPLE_BOUND: (&str, &str) = ("017461736b5f69645f626f756e64", "011d7c3d490104000000000000");
