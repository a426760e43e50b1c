//! RocksDB behind the seam, in a folder of its own: what was synced is there after opening anew,
//! and what is damaged is reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentcom_broker::commit::turn::{Committer, Voice};
use agentcom_broker::core::command::{
    Action, Attach, Command, Generation, LeaseOp, Name, Now, Push, Rejection, Reply, Request,
    RequestId, SessionId, State, Submit, TaskEvent, TaskId,
};
use agentcom_broker::core::limits::CoreConfig;
use agentcom_broker::core::record::{BodyKind, Record, TaskRow};
use agentcom_broker::store::memory::MemoryStore;
use agentcom_broker::store::rocks::RocksStore;
use agentcom_broker::store::{Store, StoreError};
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
        Command::Submit(Submit {
            queue: name("q"),
            payload: payload.as_bytes().into(),
            needs: vec![name("gpu")],
            band: 1,
            attempts_max: 3,
            lease_ms: 30_000,
        })
    };
    let op = |task, action| {
        let (task, generation) = (TaskId(task), Generation(1));
        Command::Lease(LeaseOp { session: SessionId(1), task, generation, action })
    };
    let fail = Action::Fail { error: "no".into(), retryable: false, retry_after_ms: None };
    let commands = vec![
        Command::Attach(Attach {
            session: SessionId(1),
            agent: name("alice"),
            identity: "login".into(),
            capabilities: vec![name("gpu")],
            queues: vec![],
            credit: 3,
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
        Record::Task(row) => row.task.0,
        _ => 0,
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

/// The write-ahead logs, oldest first.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &PathBuf| path.extension().is_some_and(|found| found == "log");
    let mut logs: Vec<_> = entries.filter(is_log).collect();
    logs.sort();
    logs
}

#[test]
fn opened_anew_it_tells_what_the_memory_store_tells() {
    let folder = folder();
    let memory = MemoryStore::new();
    drop(play(memory.clone()));
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let rocks = RocksStore::open(folder.path()).unwrap();
    let (records, rows, bodies) = contents(&rocks);
    assert_eq!(records.len(), 4, "three open rows and the bound of ids");
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

#[test]
fn a_torn_end_of_the_log_loses_only_what_was_torn() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let log = logs(folder.path()).pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 3]).unwrap();
    // The last write was never acknowledged, so nothing noted it.
    fs::remove_file(folder.path().join("synced")).unwrap();
    let store = RocksStore::open(folder.path()).unwrap();
    assert_eq!(store.row(TaskId(5)), Ok(None));
    assert!(store.row(TaskId(4)).unwrap().is_some());
}

#[test]
fn a_shortened_log_does_not_start() {
    let folder = folder();
    let mut committer = play(RocksStore::open(folder.path()).unwrap());
    committer.close();
    drop(committer);
    for log in logs(folder.path()) {
        fs::write(log, b"").unwrap();
    }
    let error = RocksStore::open(folder.path()).err().expect("acknowledged writes are missing");
    assert!(matches!(error, StoreError::Behind { .. }), "{error}");
}

/// A store whose acknowledged writes stand in several logs: one table was flushed, others not.
fn several_logs() -> TempDir {
    let folder = folder();
    let mut store = RocksStore::open(folder.path()).unwrap();
    let bytes: Arc<[u8]> = vec![7; 256 * 1024].into();
    store.append(&[Record::TaskIdBound(TaskId(1024))]).unwrap();
    for task in 0..100 {
        let (task, bytes) = (TaskId(task), bytes.clone());
        store.append(&[Record::Body { task, kind: BodyKind::Payload, bytes }]).unwrap();
        store.sync().unwrap();
    }
    drop(store);
    assert!(logs(folder.path()).len() > 1, "{:?}", logs(folder.path()));
    folder
}

#[test]
fn several_logs_are_no_obstacle() {
    let folder = several_logs();
    let store = RocksStore::open(folder.path()).unwrap();
    assert!((0..100).all(|task| store.body(TaskId(task), BodyKind::Payload).unwrap().is_some()));
}

#[test]
fn an_older_log_that_is_lost_or_shortened_does_not_start() {
    let folder = several_logs();
    let oldest = logs(folder.path()).remove(0);
    let bytes = fs::read(&oldest).unwrap();
    fs::write(&oldest, &bytes[..bytes.len() / 2]).unwrap();
    let error = RocksStore::open(folder.path()).err().expect("a log is shorter than it was");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    fs::remove_file(&oldest).unwrap();
    let error = RocksStore::open(folder.path()).err().expect("a log is missing");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_store_at_rest_has_noted_its_last_write() {
    let folder = folder();
    let mut committer = play(RocksStore::open(folder.path()).unwrap());
    assert!(committer.is_restless());
    committer.rest();
    assert!(!committer.is_restless());
    drop(committer);
    let log = logs(folder.path()).pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 3]).unwrap();
    let error = RocksStore::open(folder.path()).err().expect("the last write was acknowledged");
    assert!(matches!(error, StoreError::Behind { .. }), "{error}");
}

#[test]
fn a_damaged_log_is_never_served() {
    let folder = folder();
    drop(play(RocksStore::open(folder.path()).unwrap()));
    let log = logs(folder.path()).pop().unwrap();
    let sound = fs::read(&log).unwrap();
    let memory = MemoryStore::new();
    drop(play(memory.clone()));
    for position in (0..sound.len()).step_by(97) {
        let mut bytes = sound.clone();
        bytes[position] ^= 0x10;
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        fs::write(copy.path().join(log.file_name().unwrap()), bytes).unwrap();
        // Either it does not start, or a torn tail was dropped; what it tells is never wrong.
        let Ok(store) = RocksStore::open(copy.path()) else { continue };
        for task in (0..7).map(TaskId) {
            let found = store.body(task, BodyKind::Payload);
            let written = memory.body(task, BodyKind::Payload);
            assert!(matches!(found, Ok(None) | Err(_)) || found == written, "byte {position}");
        }
    }
}
