//! What a damaged store does to a start (promises R3 and R7): a torn end costs nothing that was
//! acknowledged, and everything else is refused with a sentence, or set aside, but never silent.
//!
//! The disk is played by hand: the broker is killed, and its files are patched.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle, until};
use serde_json::json;

/// A broker that was killed. Its log holds two tasks; the second one was just being written, as
/// far as the note of what was synced knows.
struct Killed {
    broker: Broker,
    tasks: [u64; 2],
    /// Where the batches of the tasks stand in the log.
    batches: [Range<usize>; 2],
    /// The store's files as the kill left them.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Killed {
    /// `None` where nats-server stands in for the broker.
    fn after(payloads: [&str; 2]) -> Option<Self> {
        if oracle::skips("it keeps nothing without JetStream") {
            return None;
        }
        let mut broker = Broker::start(Options::default());
        let mut wire = broker.connect(QUIET);
        let store = store(&broker);
        let first = wire.submit("q", payloads[0]);
        let note = fs::read(store.join("synced")).expect("a note");
        let second = wire.submit("q", payloads[1]);
        broker.kill();
        let batches = batches(&fs::read(log(&store)).expect("a log"));
        let batches = batches.try_into().expect("two batches");
        fs::write(store.join("synced"), note).expect("write the older note");
        let files = fs::read_dir(&store).expect("the store").map(|entry| {
            let path = entry.expect("a file").path();
            let bytes = fs::read(&path).expect("its bytes");
            (path, bytes)
        });
        let files = files.collect();
        Some(Self { broker, tasks: [first, second], batches, files })
    }

    /// Put the files back, with the log patched.
    fn patch(&self, patch: impl FnOnce(&mut Vec<u8>)) {
        let store = store(&self.broker);
        fs::remove_dir_all(&store).expect("remove the store");
        fs::create_dir(&store).expect("make the folder again");
        for (path, bytes) in &self.files {
            fs::write(path, bytes).expect("write a file back");
        }
        let log = log(&store);
        let mut bytes = fs::read(&log).expect("the log");
        patch(&mut bytes);
        fs::write(log, bytes).expect("write the patched log");
    }

    /// It does not start, and says `words`; the check of the store says the same.
    #[track_caller]
    fn expect_refusal(&self, words: &[&str]) {
        let arguments = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
        let data_dir = self.broker.folder().join("data");
        let refusal = Broker::refusal(&data_dir, &arguments, None);
        let data_dir = data_dir.to_str().expect("a path of text");
        let check = self.broker.run(&["store", "check", "--data-dir", data_dir]);
        for (code, said) in [(refusal.code, &refusal.stderr), (check.code, &check.err)] {
            assert_eq!(code, Some(1), "{said}");
            for word in words {
                assert!(said.contains(word), "{word:?} is not in {said}");
            }
        }
    }

    /// It starts; a connection to it.
    #[track_caller]
    fn start(&mut self) -> Wire {
        self.broker.start_again();
        self.broker.connect(QUIET)
    }

    /// Everything that the broker said on stderr so far.
    fn said(&self) -> String {
        fs::read_to_string(self.broker.folder().join("stderr.log")).expect("its stderr")
    }
}

fn store(broker: &Broker) -> PathBuf {
    broker.folder().join("data").join("store")
}

/// The file of the log that is filled first.
fn log(store: &Path) -> PathBuf {
    store.join("batches-0.log")
}

/// Bytes in front of what a batch of the log holds (`docs/storage.md`).
const HEADER: usize = 24;

/// Where the batches stand in a file of the log.
fn batches(log: &[u8]) -> Vec<Range<usize>> {
    let salt = &log[16..24];
    let starts = (4096..log.len()).step_by(32).filter(|at| log[*at..].starts_with(salt));
    let length = |at: usize| u32::from_le_bytes(log[at + 16..at + 20].try_into().unwrap());
    starts.map(|at| at..at + HEADER + length(at) as usize).collect()
}

/// A page in the middle of `batch`.
fn page(batch: &Range<usize>) -> Range<usize> {
    let start = (batch.start + batch.len() / 2).next_multiple_of(4096);
    start..start + 4096
}

/// From the start of `batch` to the end of its first page.
fn first_page(batch: &Range<usize>) -> Range<usize> {
    batch.start..(batch.start + 1).next_multiple_of(4096)
}

fn garbage(bytes: &mut [u8]) {
    for (byte, noise) in bytes.iter_mut().zip((1_u32..).map(|at| at.wrapping_mul(0x9e37_79b9))) {
        *byte = noise.to_be_bytes()[0];
    }
}

#[test]
fn however_the_power_cut_tears_the_last_batch_the_broker_starts_and_has_the_others() {
    type Damage = fn(&mut Vec<u8>, Range<usize>);
    // Without its header nobody knows that there was one.
    let shapes: [(&str, bool, Damage); 9] = [
        ("cut in a header", false, |log, batch| log.truncate(batch.start + 3)),
        ("cut in a content", true, |log, batch| log.truncate(batch.start + 5000)),
        ("cut where a page ends", true, |log, batch| log.truncate(page(&batch).start)),
        ("first page zero", false, |log, batch| log[first_page(&batch)].fill(0)),
        ("a page zero in the middle", true, |log, batch| log[page(&batch)].fill(0)),
        ("a page of garbage in the middle", true, |log, batch| garbage(&mut log[page(&batch)])),
        ("first page garbage", false, |log, batch| garbage(&mut log[first_page(&batch)])),
        ("all zero", false, |log, batch| log[batch].fill(0)),
        ("all garbage", false, |log, batch| garbage(&mut log[batch])),
    ];
    let Some(mut killed) = Killed::after(["first", &"long ".repeat(30_000)]) else { return };
    let ([first, second], [_, torn]) = (killed.tasks, killed.batches.clone());
    let mut count = 0;
    for (shape, shows, damage) in shapes {
        killed.patch(|log| damage(log, torn.clone()));
        let mut wire = killed.start();
        assert_eq!(wire.show(first)["state"], "ready", "{shape}");
        // Its number is one of those that the first batch set aside: used, for all one can tell.
        wire.expect_declined(&format!("TASK SHOW s {second}\r\n"), "gone");
        assert!(wire.submit("q", "another") > second, "{shape}: a number is given out once");
        count += usize::from(shows);
        assert_eq!(killed.said().matches("never acknowledged").count(), count, "{shape}");
        killed.broker.kill();
    }
    // Unharmed, the last batch is there: it was all on disk.
    killed.patch(|_| {});
    let mut wire = killed.start();
    assert_eq!(wire.show(second)["state"], "ready");
}

#[test]
fn a_flipped_bit_before_a_batch_that_was_synced_refuses_the_start() {
    let Some(mut killed) = Killed::after(["first", "second"]) else { return };
    let ([first, second], [rotten, _]) = (killed.tasks, killed.batches.clone());
    for at in [0, 8, 16, 20, HEADER, rotten.len() / 2, rotten.len() - 1] {
        killed.patch(|log| log[rotten.start + at] ^= 1);
        let place = format!(".log is damaged at byte {}", rotten.start);
        killed.expect_refusal(&[&place, "`synced`", "backup"]);
    }
    // The operator does what the sentence says.
    fs::remove_file(store(&killed.broker).join("synced")).expect("delete the note");
    let mut wire = killed.start();
    for task in [first, second] {
        wire.expect_declined(&format!("TASK SHOW s {task}\r\n"), "not_found");
    }
    assert!(killed.said().contains("the end of the log was dropped"), "{}", killed.said());
}

#[test]
fn a_log_that_ends_before_the_noted_write_refuses_the_start() {
    let Some(mut killed) = Killed::after(["first", "second"]) else { return };
    let [first, second] = killed.tasks;
    // The start moves these two into tables; at rest the broker notes the write of a third.
    let mut wire = killed.start();
    let store = store(&killed.broker);
    let third = wire.submit("q", "third");
    drop(wire);
    let is_noted = || {
        let note = fs::read(store.join("synced")).expect("a note");
        let log = fs::read(log(&store)).expect("the log");
        let last = batches(&log).pop().expect("a batch").start;
        note[1..9] == log[last + 8..last + 16]
    };
    until(|| is_noted().then_some(())).expect("a note of the last write");
    killed.broker.kill();
    let log = log(&store);
    let sound = fs::read(&log).expect("the log");
    let end = batches(&sound).pop().expect("a batch").end;
    let patches: [fn(&mut Vec<u8>, usize); 3] = [
        |bytes, end| bytes.truncate(end - 1),
        |bytes, _| bytes.clear(),
        |bytes, end| bytes[end - 1] ^= 1,
    ];
    for patch in patches {
        let mut bytes = sound.clone();
        patch(&mut bytes, end);
        fs::write(&log, bytes).expect("write the patched log");
        killed.expect_refusal(&["was already on disk", "`synced`", "backup"]);
    }
    fs::remove_file(store.join("synced")).expect("delete the note");
    let mut wire = killed.start();
    assert_eq!([first, second].map(|task| wire.show(task)["state"].clone()), ["ready", "ready"]);
    wire.expect_declined(&format!("TASK SHOW s {third}\r\n"), "not_found");
}

#[test]
fn a_log_that_was_deleted_refuses_the_start() {
    let Some(killed) = Killed::after(["first", "second"]) else { return };
    fs::remove_file(log(&store(&killed.broker))).expect("delete the log");
    killed.expect_refusal(&["was already on disk", "`synced`", "backup"]);
}

#[test]
fn a_damaged_row_is_set_aside_and_the_other_tasks_are_worked_on() {
    let Some(mut killed) = Killed::after(["first", "second"]) else { return };
    let [first, second] = killed.tasks;
    let batch = killed.batches[0].clone();
    killed.patch(|log| {
        // The row holds the queue's name, behind its length; nothing else of the batch does.
        let batch = &mut log[batch];
        let row = batch.windows(2).position(|pair| pair == b"\x01q");
        batch[row.expect("the row") + 1] = b'p';
        reseal(batch);
    });
    let mut wire = killed.start();
    wire.expect_declined(&format!("TASK SHOW s {first}\r\n"), "unreadable");
    assert!(killed.said().contains("the row of an open task is damaged"), "{}", killed.said());
    let copies = fs::read_dir(store(&killed.broker).join("damaged")).expect("the copies");
    assert_eq!(copies.count(), 1);
    let bearer = killed.broker.bearer();
    let metrics = killed.broker.http_get("/metrics", &bearer).body;
    assert!(metrics.contains("\nagentcom_damaged_rows 1\n"), "{metrics}");

    wire.start_worker("alice");
    let offer = wire.offer();
    assert_eq!(offer.task, second);
    let lease = offer.lease();
    assert_eq!(
        wire.ask(format!("TASK COMPLETE c {lease} 2\r\nok\r\n")),
        format!("OK c task={second} state=completed")
    );
    assert_eq!(wire.show(second)["result"], json!("ok"));
    // Whoever asks is told at every start.
    killed.broker.kill();
    let mut wire = killed.start();
    wire.expect_declined(&format!("TASK SHOW s {first}\r\n"), "unreadable");
}

/// Give `batch` the checksum that fits: CRC-32 of number, length and content.
fn reseal(batch: &mut [u8]) {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&batch[8..20]);
    sum.update(&batch[HEADER..]);
    batch[20..HEADER].copy_from_slice(&sum.finalize().to_le_bytes());
}
