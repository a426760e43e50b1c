//! RocksDB behind the seam, in a folder of its own: what was synced is there after opening anew,
//! and what is damaged is reported.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentcom_broker::commit::turn::{Committer, Voice};
use agentcom_broker::core::command::{
    Action, Attach, Command, Generation, LeaseOp, Name, Now, Patience, Push, Rejection, Reply,
    Request, RequestId, Retry, SessionId, Spec, Start, State, Submit, TaskEvent, TaskId,
};
use agentcom_broker::core::limits::CoreConfig;
use agentcom_broker::core::record::{BodyKind, Record, TaskRow};
use agentcom_broker::store::memory::MemoryStore;
use agentcom_broker::store::record;
use agentcom_broker::store::rocks::{self, RocksStore};
use agentcom_broker::store::{Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

/// Keeps nothing.
struct Deaf;

impl Voice for Deaf {
    fn reply(&mut self, _: RequestId, _: Result<Reply, Rejection>) {}
    fn deliver(&mut self, _: SessionId, _: Push) {}
    fn event(&mut self, _: TaskEvent) {}
    fn flush(&mut self) {}
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Some history: task 1 completed, 2 running, 3 dead, 4 and 5 ready.
fn requests() -> Vec<Request> {
    let submit = |payload: &str| {
        let patience = Patience {
            lease_ms: 30_000,
            attempt_ms: 3_600_000,
            progress_ms: None,
            queue_ms: None,
            total_ms: None,
        };
        let spec = Spec {
            rates: Arc::default(),
            placement: None,
            has_headers: false,
            queue: name("q"),
            key: None,
            needs: [name("gpu")].into(),
            labels: Arc::default(),
            limits: Arc::default(),
            band: 1,
            attempts_max: 3,
            patience,
        };
        let payload = payload.as_bytes().into();
        let (start, after) = (Start::Now, vec![]);
        Command::Submit(Box::new(Submit {
            spec: Arc::new(spec),
            payload,
            headers: None,
            start,
            dedup: None,
            after,
        }))
    };
    let op = |task, action| {
        let (task, generation) = (TaskId(task), Generation(1));
        Command::Lease(LeaseOp { session: SessionId(1), task, generation, action })
    };
    let fail = Action::Fail { error: "no".into(), retry: Retry::Never };
    let commands = vec![
        Command::Attach(Attach {
            session: SessionId(1),
            agent: name("alice"),
            identity: "login".into(),
            capabilities: vec![name("gpu")],
            labels: vec![],
            capacity: vec![],
            queues: vec![],
            credit: 3,
            holding: vec![],
        }),
        submit("one"),
        submit("two"),
        submit("three"),
        op(1, Action::Complete { result: b"result".as_slice().into() }),
        op(2, Action::Accept),
        op(3, fail),
        Command::Detach { session: SessionId(1) },
        submit("four"),
        submit(""),
    ];
    let number = |(id, command)| Request { id: RequestId(id), command };
    (0..).zip(commands).map(number).collect()
}

fn play<S: Store>(store: S) -> Committer<S, Deaf> {
    let now = Now { wall_ms: 5, ..Now::default() };
    let mut committer = Committer::restore(CoreConfig::default(), store, Deaf, now).unwrap();
    for request in requests() {
        committer.turn([request], now);
    }
    committer
}

type Contents = (Vec<Record>, Vec<Option<TaskRow>>, Vec<Option<Arc<[u8]>>>);

/// Everything that a store can tell.
fn contents(store: &impl Store) -> Contents {
    let mut records = Vec::new();
    store.scan(&mut |record| records.push(record)).unwrap();
    records.sort_by_key(|record| match record {
        Record::Task(row) => (2, row.task.0),
        Record::TaskIdBound(_) => (1, 0),
        _ => (0, 0),
    });
    let tasks = || (0..7).map(TaskId);
    let rows = tasks().map(|task| store.row(task).unwrap()).collect();
    let kinds = [BodyKind::Payload, BodyKind::Result];
    let bodies = tasks().flat_map(|task| kinds.map(|kind| store.body(task, kind).unwrap()));
    (records, rows, bodies.collect())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The file of the log that is filled first.
fn log(folder: &Path) -> PathBuf {
    folder.join("batches-0.log")
}

/// Where the batches stand in a file of the log (`docs/storage.md`).
fn batches(log: &[u8]) -> Vec<Range<usize>> {
    let salt = &log[16..24];
    let starts = (4096..log.len()).step_by(32).filter(|at| log[*at..].starts_with(salt));
    let length = |at: usize| u32::from_le_bytes(log[at + 16..at + 20].try_into().unwrap());
    starts.map(|at| at..at + 24 + length(at) as usize).collect()
}

#[test]
fn opened_anew_it_tells_what_the_memory_store_tells() {
    let folder = folder();
    let memory = MemoryStore::new();
    drop(play(memory.clone()));
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let rocks = RocksStore::open(folder.path()).unwrap();
    let (records, rows, bodies) = contents(&rocks);
    assert_eq!(records.len(), 6, "three open rows, a dead one, the bounds of ids and epochs");
    let states: Vec<_> = rows.iter().flatten().map(TaskRow::state).collect();
    let expected = [State::Completed, State::Running, State::Dead, State::Ready, State::Ready];
    assert_eq!(states, expected);
    assert_eq!(bodies.iter().flatten().count(), 6, "five payloads, one of them empty, one result");
    assert_eq!((records, rows, bodies), contents(&memory));
}

#[test]
fn what_was_appended_and_not_synced_is_not_read() {
    let folder = folder();
    let mut store = RocksStore::open(folder.path()).unwrap();
    let bytes: Arc<[u8]> = b"x".as_slice().into();
    let body = Record::Body { task: TaskId(1), kind: BodyKind::Payload, bytes: bytes.clone() };
    store.append(&[body]).unwrap();
    assert_eq!(store.body(TaskId(1), BodyKind::Payload), Ok(None));
    store.sync().unwrap();
    assert_eq!(store.body(TaskId(1), BodyKind::Payload), Ok(Some(bytes)));
}

#[test]
fn a_second_broker_on_the_same_folder_is_told_so() {
    let folder = folder();
    let _first = RocksStore::open(folder.path()).unwrap();
    let second = RocksStore::open(folder.path()).err().expect("the folder is in use");
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
}

fn copy(folder: &Path) -> TempDir {
    let copy = self::folder();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn note(folder: &Path) -> PathBuf {
    folder.join("synced")
}

#[track_caller]
fn refusal(folder: &Path) -> StoreError {
    RocksStore::open(folder).err().expect("acknowledged writes are missing")
}

/// Keep a payload of `bytes` bytes for `task`, which must not be 0, and the bound of ids.
fn keep(store: &mut RocksStore, task: u64, bytes: usize) {
    let payload = (0..bytes).map(|at| (at % 251) as u8).collect();
    let (task, kind) = (TaskId(task), BodyKind::Payload);
    let body = Record::Body { task, kind, bytes: payload };
    store.append(&[Record::TaskIdBound(TaskId(1025)), body]).unwrap();
    store.sync().unwrap();
}

fn holds(store: &RocksStore, task: u64) -> bool {
    store.body(TaskId(task), BodyKind::Payload).unwrap().is_some()
}

/// A store as a power cut leaves it that spared all pages: payloads of tasks 1, 2 and 3, of which
/// the last was not acknowledged yet, so that the note is older. Where they stand in the log.
fn before_the_cut() -> (TempDir, PathBuf, [Range<usize>; 3]) {
    let folder = folder();
    let mut store = RocksStore::open(folder.path()).unwrap();
    let mut noted = Vec::new();
    for (task, bytes) in [(1, 700), (2, 40_000), (3, 150_000)] {
        store.rest();
        noted = fs::read(note(folder.path())).unwrap_or_default();
        keep(&mut store, task, bytes);
    }
    let killed = copy(folder.path());
    fs::write(note(killed.path()), noted).unwrap();
    let log = log(killed.path());
    let batches = batches(&fs::read(&log).unwrap());
    (killed, log, batches.try_into().unwrap())
}

type Damage = fn(&mut Vec<u8>, Range<usize>);

/// What can become of the pages of a batch that is being written when the power goes.
const TORN: [(&str, Damage); 9] = [
    ("cut in a header", |log, batch| log.truncate(batch.start + 3)),
    ("cut in a content", |log, batch| log.truncate(batch.start + 5000)),
    ("cut where a page ends", |log, batch| log.truncate(page(&batch).start)),
    ("first page zero", |log, batch| log[batch.start..next_page(batch.start + 7)].fill(0)),
    ("a page zero in the middle", |log, batch| log[page(&batch)].fill(0)),
    ("a page of garbage in the middle", |log, batch| garbage(&mut log[page(&batch)])),
    ("first page garbage", |log, batch| {
        garbage(&mut log[batch.start..next_page(batch.start + 7)]);
    }),
    ("all zero", |log, batch| log[batch].fill(0)),
    ("all garbage", |log, batch| garbage(&mut log[batch])),
];

fn next_page(at: usize) -> usize {
    at.next_multiple_of(4096)
}

/// A page in the middle of `batch`.
fn page(batch: &Range<usize>) -> Range<usize> {
    let start = next_page(batch.start + batch.len() / 2);
    start..start + 4096
}

fn garbage(bytes: &mut [u8]) {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in bytes {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        *byte = noise as u8;
    }
}

#[test]
fn however_a_power_cut_tears_the_last_batch_the_others_are_there() {
    let (folder, log, [.., last]) = before_the_cut();
    for (shape, tear) in TORN {
        let torn = copy(folder.path());
        let log = torn.path().join(log.file_name().unwrap());
        let mut bytes = fs::read(&log).unwrap();
        tear(&mut bytes, last.clone());
        fs::write(&log, bytes).unwrap();
        let mut store =
            RocksStore::open(torn.path()).unwrap_or_else(|error| panic!("{shape}: {error}"));
        assert_eq!([1, 2, 3].map(|task| holds(&store, task)), [true, true, false], "{shape}");
        // It goes on as if nothing had been.
        keep(&mut store, 4, 100);
        drop(store);
        let store =
            RocksStore::open(torn.path()).unwrap_or_else(|error| panic!("{shape}: {error}"));
        assert_eq!([2, 3, 4].map(|task| holds(&store, task)), [true, false, true], "{shape}");
    }
}

/// Any pages may be missing, and the file may be shorter than what arrived of it.
#[test]
fn whichever_pages_of_the_last_batch_arrived_the_others_are_there() {
    let (folder, log, [.., last]) = before_the_cut();
    let sound = fs::read(&log).unwrap();
    let first_page = last.start / 4096;
    // Of each page: it is there, or zero, or garbage.
    let pages = prop::collection::vec(prop::option::weighted(0.7, any::<bool>()), 40);
    let cut = prop::option::of(1..last.len());
    let config = ProptestConfig { cases: 50, failure_persistence: None, ..Default::default() };
    let check = |(pages, cut): (Vec<Option<bool>>, Option<usize>)| {
        let mut bytes = sound.clone();
        for (at, is_zero) in (first_page..).zip(pages) {
            let page = (at * 4096).max(last.start)..((at + 1) * 4096).min(last.end);
            match is_zero.filter(|_| !page.is_empty()) {
                None => {}
                Some(true) => bytes[page].fill(0),
                Some(false) => garbage(&mut bytes[page]),
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(last.end - cut);
        }
        let is_whole = bytes.get(last.clone()) == sound.get(last.clone());
        let torn = copy(folder.path());
        fs::write(torn.path().join(log.file_name().unwrap()), bytes).unwrap();
        let store = RocksStore::open(torn.path()).unwrap();
        prop_assert_eq!([1, 2, 3].map(|task| holds(&store, task)), [true, true, is_whole]);
        Ok(())
    };
    TestRunner::new(config).run(&(pages, cut), check).unwrap();
}

#[test]
fn a_start_that_dropped_a_torn_end_and_was_interrupted_can_be_repeated() {
    let (folder, log, [.., last]) = before_the_cut();
    let mut bytes = fs::read(&log).unwrap();
    bytes[page(&last)].fill(0);
    fs::write(&log, bytes).unwrap();
    let later = copy(folder.path());
    drop(RocksStore::open(later.path()).unwrap());
    // It had written the tables, and not yet begun a new log, or half of it.
    for file in ["batches-0.log", "batches-1.log"] {
        fs::copy(folder.path().join(file), later.path().join(file)).unwrap();
        let later = copy(later.path());
        let store = RocksStore::open(later.path()).unwrap();
        assert_eq!([1, 2, 3].map(|task| holds(&store, task)), [true, true, false]);
    }
}

#[test]
fn damage_before_the_last_batch_refuses_the_start_and_changes_nothing() {
    let (folder, log, [first, second, _]) = before_the_cut();
    let sound = fs::read(&log).unwrap();
    let damages: [(&str, Damage); 4] = [
        ("a bit of a header", |log, batch| log[batch.start + 5] ^= 2),
        ("a bit of a content", |log, batch| log[batch.start + batch.len() / 2] ^= 2),
        ("zeros", |log, batch| log[batch].fill(0)),
        ("garbage", |log, batch| garbage(&mut log[batch])),
    ];
    for (what, damage) in damages {
        for batch in [&first, &second] {
            let rotten = copy(folder.path());
            let log = rotten.path().join(log.file_name().unwrap());
            let mut bytes = sound.clone();
            damage(&mut bytes, batch.clone());
            fs::write(&log, &bytes).unwrap();
            for _ in 0..2 {
                let error = refusal(rotten.path());
                let StoreError::LogDamaged { at, .. } = error else { panic!("{what}: {error}") };
                assert_eq!(at, batch.start as u64, "{what}");
            }
            assert!(fs::read(&log).unwrap() == bytes, "{what}");
            // A note that cannot be read is no consent.
            fs::write(note(rotten.path()), b"?").unwrap();
            let error = refusal(rotten.path());
            assert!(matches!(error, StoreError::LogDamaged { .. }), "{what}: {error}");
            // Whoever deletes it has accepted the loss.
            fs::remove_file(note(rotten.path())).unwrap();
            let store = RocksStore::open(rotten.path()).unwrap();
            let found = [1, 2, 3].map(|task| holds(&store, task));
            assert_eq!(found, [batch == &second, false, false], "{what}");
        }
    }
}

#[test]
fn a_shortened_log_does_not_start() {
    let folder = folder();
    let mut committer = play(RocksStore::open(folder.path()).unwrap());
    committer.close();
    let killed = copy(folder.path());
    let bytes = fs::read(log(killed.path())).unwrap();
    for rest in [&[][..], &bytes[..100], &bytes[..4096], &bytes[..5000]] {
        fs::write(log(killed.path()), rest).unwrap();
        let error = refusal(killed.path());
        assert!(matches!(error, StoreError::Behind { .. }), "{error}");
    }
}

#[test]
fn after_a_clean_stop_the_log_is_not_needed() {
    let folder = folder();
    let mut committer = play(RocksStore::open(folder.path()).unwrap());
    committer.close();
    drop(committer);
    let before = contents(&RocksStore::open(copy(folder.path()).path()).unwrap());
    fs::remove_file(log(folder.path())).unwrap();
    assert_eq!(contents(&RocksStore::open(folder.path()).unwrap()), before);
}

#[test]
fn what_is_in_tables_is_not_missed_in_the_log_and_what_is_not_is() {
    let folder = folder();
    let mut store = RocksStore::open(folder.path()).unwrap();
    // Both files of the log are filled, and the first one again.
    for task in 1..80 {
        keep(&mut store, task, 1 << 20);
    }
    store.upkeep().unwrap().compact(record::Table::Queue).unwrap();
    let in_tables = fs::read(log(folder.path())).unwrap();
    keep(&mut store, 80, 1 << 20);
    store.rest();
    let killed = copy(folder.path());
    let other = killed.path().join("batches-1.log");
    assert!(fs::metadata(&other).unwrap().len() > 32 << 20);
    let holds_all = |folder: &Path| {
        let store = RocksStore::open(folder).unwrap();
        (1..=80).all(|task| holds(&store, task))
    };
    assert!(holds_all(copy(killed.path()).path()));
    fs::write(log(killed.path()), in_tables).unwrap();
    let error = refusal(killed.path());
    assert!(matches!(error, StoreError::Behind { .. }), "{error}");
    fs::copy(log(folder.path()), log(killed.path())).unwrap();
    fs::remove_file(other).unwrap();
    assert!(holds_all(killed.path()));
}

#[test]
fn a_store_at_rest_has_noted_its_last_write() {
    let folder = folder();
    let mut committer = play(RocksStore::open(folder.path()).unwrap());
    assert!(committer.is_restless());
    committer.rest();
    assert!(!committer.is_restless());
    let killed = copy(folder.path());
    let bytes = fs::read(log(killed.path())).unwrap();
    let end = batches(&bytes).pop().unwrap().end;
    fs::write(log(killed.path()), &bytes[..end - 3]).unwrap();
    let error = refusal(killed.path());
    assert!(matches!(error, StoreError::Behind { .. }), "{error}");
}

#[test]
fn a_flipped_bit_refuses_the_start_or_tears_the_last_batch() {
    let folder = folder();
    let committer = play(RocksStore::open(folder.path()).unwrap());
    let killed = copy(folder.path());
    drop(committer);
    fs::write(note(killed.path()), early_note()).unwrap();
    let sound = fs::read(log(killed.path())).unwrap();
    let with = |bytes: &[u8]| {
        let copy = copy(killed.path());
        fs::write(log(copy.path()), bytes).unwrap();
        RocksStore::open(copy.path()).map(|store| contents(&store))
    };
    let batches = batches(&sound);
    let without_the_last = with(&sound[..batches.last().unwrap().end - 1]).unwrap();
    assert_ne!(Ok(&without_the_last), with(&sound).as_ref());
    let (mut torn, mut refused) = (0, 0);
    for position in batches.into_iter().flatten().step_by(31) {
        let mut bytes = sound.clone();
        bytes[position] ^= 0x10;
        match with(&bytes) {
            Ok(found) => {
                assert_eq!(found, without_the_last, "byte {position}");
                torn += 1;
            }
            Err(StoreError::LogDamaged { .. }) => refused += 1,
            Err(error) => panic!("byte {position}: {error}"),
        }
    }
    assert!(torn > 0 && refused > torn, "{torn} torn, {refused} refused");
}

/// The note of a store that has written once.
fn early_note() -> Vec<u8> {
    let folder = folder();
    keep(&mut RocksStore::open(folder.path()).unwrap(), 1, 1);
    fs::read(note(folder.path())).unwrap()
}

#[test]
fn without_a_note_or_with_a_damaged_one_a_whole_store_starts() {
    let (folder, ..) = before_the_cut();
    for _ in 0..2 {
        fs::write(note(folder.path()), b"?").unwrap();
        assert!(holds(&RocksStore::open(folder.path()).unwrap(), 3));
        fs::remove_file(note(folder.path())).unwrap();
        assert!(holds(&RocksStore::open(folder.path()).unwrap(), 3));
    }
}

/// What a broker before the second version of rows left behind is all there, and is written anew
/// in the newest version when it changes.
#[test]
fn a_store_of_version_1_goes_on() {
    let folder = folder();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store-v1");
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let states = |store: &RocksStore| -> Vec<Option<State>> {
        (1..10).map(|task| store.row(TaskId(task)).unwrap().map(|row| row.state())).collect()
    };
    let store = RocksStore::open(folder.path()).unwrap();
    let expected = [
        State::Completed,
        State::Dead,
        State::Scheduled,
        State::Running,
        State::Ready,
        State::Running,
        State::Offered,
        State::Offered,
        State::Ready,
    ];
    assert_eq!(states(&store), expected.map(Some));
    assert_eq!(store.body(TaskId(1), BodyKind::Result), Ok(Some(b"done".as_slice().into())));
    let declined = store.row(TaskId(5)).unwrap().unwrap();
    assert_eq!(declined.details().excluded[..], [name("alice")]);
    assert_eq!((declined.generation, declined.details().declines), (Generation(2), 1));

    let now = Now { wall_ms: 1_795_674_100_000, ..Now::default() };
    let mut committer = Committer::restore(CoreConfig::default(), store, Deaf, now).unwrap();
    let holding = [4, 6, 7].map(|task| (TaskId(task), Generation(1))).to_vec();
    let attach = Command::Attach(Attach {
        session: SessionId(1),
        agent: name("alice"),
        identity: "anonymous".into(),
        capabilities: vec![name("gpu")],
        labels: vec![],
        capacity: vec![],
        queues: vec![],
        credit: 9,
        holding,
    });
    let complete = |task| {
        let (task, generation) = (TaskId(task), Generation(1));
        let action = Action::Complete { result: Arc::default() };
        Command::Lease(LeaseOp { session: SessionId(1), task, generation, action })
    };
    let commands =
        [attach, complete(4), complete(7), Command::Redrive { task: TaskId(2), delay_ms: 0 }];
    for (id, command) in (0..).zip(commands) {
        committer.turn([Request { id: RequestId(id), command }], now);
    }
    drop(committer);
    let store = RocksStore::open(folder.path()).unwrap();
    let states = states(&store);
    assert_eq!((states[3], states[6]), (Some(State::Completed), Some(State::Completed)));
    assert_eq!(states[1], Some(State::Offered), "redriven, and granted to alice");
    assert_eq!(states[7], Some(State::Offered), "not named, so lost, and offered anew");
}

/// Before the broker had a log of its own, a torn end was RocksDB's: it is not dropped without a word.
#[test]
fn what_is_damaged_in_the_log_of_an_older_broker_is_refused_and_told() {
    let outer = folder();
    let (from, to) = (outer.path().join("from"), outer.path().join("to"));
    fs::create_dir(&from).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store-v1");
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "log") && !bytes.is_empty() {
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
        }
        fs::write(from.join(path.file_name().unwrap()), bytes).unwrap();
    }
    let error = refusal(&from);
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let salvaged = rocks::salvage(&from, &to, &mut |_| true).unwrap();
    assert!(salvaged.log.is_some_and(|loss| loss.reason.is_some()));
    assert!(RocksStore::open(&to).unwrap().row(TaskId(1)).unwrap().is_some());
}

/// Change what is in the closed store in `folder`, behind its back.
fn tamper(folder: &Path, change: impl FnOnce(&rocksdb::DB)) {
    let tables = record::Table::ALL.map(record::Table::name).into_iter().chain(["default"]);
    change(&rocksdb::DB::open_cf(&rocksdb::Options::default(), folder, tables).unwrap());
}

fn scanned(store: &RocksStore) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    store.scan(&mut |record| records.push(record)).map(|()| records)
}

#[test]
fn without_the_bound_of_ids_it_does_not_start_unless_the_loss_is_accepted() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let bound = record::name_key(record::TASK_ID_BOUND);
    for damage in [None, Some(b"not what was written")] {
        tamper(folder.path(), |db| {
            let table = db.cf_handle("broker_meta").unwrap();
            match damage {
                None => db.delete_cf(table, &bound).unwrap(),
                Some(bytes) => db.put_cf(table, &bound, bytes).unwrap(),
            }
        });
        fs::write(note(folder.path()), early_note()).unwrap();
        let error = scanned(&RocksStore::open(folder.path()).unwrap()).unwrap_err();
        assert!(matches!(error, StoreError::IdsUnknown { .. }), "{error}");
        fs::remove_file(note(folder.path())).unwrap();
        let records = scanned(&RocksStore::open(folder.path()).unwrap()).unwrap();
        // Task 5 is the last one.
        assert!(records.contains(&Record::TaskIdBound(TaskId(6))), "{records:?}");
    }
}

#[test]
fn a_damaged_row_is_set_aside_and_the_others_are_served() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let key = record::row_key(TaskId(4));
    let mut damaged = Vec::new();
    tamper(folder.path(), |db| {
        let table = db.cf_handle("task_queue").unwrap();
        damaged = db.get_cf(table, key).unwrap().unwrap();
        damaged[9] ^= 4;
        db.put_cf(table, key, &damaged).unwrap();
    });
    for _ in 0..2 {
        let store = RocksStore::open(folder.path()).unwrap();
        let tasks = scanned(&store).unwrap().into_iter().filter_map(|record| match record {
            Record::Task(row) => Some(row.task.0),
            _ => None,
        });
        // The dead one is read first.
        assert_eq!(tasks.collect::<Vec<_>>(), [3, 2, 5]);
        assert_eq!(store.damaged_rows(), 1);
        let error = store.row(TaskId(4)).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let copies = fs::read_dir(folder.path().join("damaged")).unwrap();
        let copies: Vec<_> = copies.map(|copy| fs::read(copy.unwrap().path()).unwrap()).collect();
        assert_eq!(copies, [damaged.as_slice()]);
    }
}

#[test]
fn a_row_of_a_younger_format_does_not_start() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let key = record::row_key(TaskId(4));
    tamper(folder.path(), |db| {
        let version = record::NEWEST + 1;
        let sum = crc32fast::hash(&[key.as_slice(), &[version], b"content"].concat());
        let value = [&[version][..], &sum.to_le_bytes(), b"content"].concat();
        db.put_cf(db.cf_handle("task_queue").unwrap(), key, value).unwrap();
    });
    let error = scanned(&RocksStore::open(folder.path()).unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { .. }), "{error}");
}

#[test]
fn a_table_file_with_a_flipped_bit_does_not_start_and_is_named() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    tamper(folder.path(), |db| db.flush_cf(db.cf_handle("task_queue").unwrap()).unwrap());
    let mut refused = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sst") {
            continue;
        }
        let copy = copy(folder.path());
        let file = copy.path().join(path.file_name().unwrap());
        let mut bytes = fs::read(&file).unwrap();
        bytes[20] ^= 1;
        fs::write(&file, bytes).unwrap();
        let Err(error) = RocksStore::open(copy.path()).and_then(|store| scanned(&store)) else {
            continue;
        };
        let file = path.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(file), "{error}");
        refused += 1;
    }
    assert!(refused > 0);
}
