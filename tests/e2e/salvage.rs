//! What can be read of a damaged store is saved into a new one, nothing that is damaged comes along,
//! and the damaged store stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use agentcom_tests::{Broker, Options, QUIET, Said, Wire, oracle};

const TASKS: usize = 2_000;

fn broker() -> Option<Broker> {
    let skips = oracle::skips("it keeps nothing without JetStream");
    (!skips).then(|| Broker::start(Options::default()))
}

fn payload(number: usize) -> String {
    // Not so regular that it is next to nothing once it is compressed.
    (0..20)
        .map(|part| format!("{:08x}", (number * 20 + part) as u32 * 2_654_435_761 % 4_000_000_007))
        .collect()
}

fn submit(broker: &Broker, count: usize) -> Vec<u64> {
    let mut wire = broker.connect(QUIET);
    (0..count).map(|number| wire.submit("jobs", &payload(number))).collect()
}

fn data(broker: &Broker) -> PathBuf {
    broker.folder().join("data")
}

/// The files of the store, but for the information log, which RocksDB writes when it only looks.
fn files(broker: &Broker) -> Vec<(PathBuf, Vec<u8>)> {
    files_of(&data(broker).join("store"))
}

fn files_of(store: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(store).expect("the store");
    let paths = entries.map(|entry| entry.expect("a file").path()).filter(|path| path.is_file());
    let mut files: Vec<(PathBuf, Vec<u8>)> =
        paths.map(|path| (path.clone(), fs::read(&path).expect("its bytes"))).collect();
    files.sort();
    files
}

fn contents(files: Vec<(PathBuf, Vec<u8>)>) -> Vec<Vec<u8>> {
    files.into_iter().map(|(_, bytes)| bytes).collect()
}

/// Turn a bit in the middle of the largest table.
fn flip_in_a_table(broker: &Broker) {
    let files = files(broker).into_iter();
    let tables = files.filter(|(path, _)| path.extension().is_some_and(|found| found == "sst"));
    let (path, mut bytes) = tables.max_by_key(|(_, bytes)| bytes.len()).expect("a table");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("write it");
}

/// Turn a bit in the middle of what the log holds.
fn flip_in_the_log(broker: &Broker) {
    let path = data(broker).join("store/batches-0.log");
    let mut log = fs::read(&path).expect("the log");
    let end = log.iter().rposition(|byte| *byte != 0).expect("something in the log");
    // Frames begin at multiples of 32, and the length is in the middle of what stands in front.
    let middle = (4096 + (end - 4096) / 2) / 32 * 32;
    let salt = log[16..24].to_vec();
    let starts = (middle..end).step_by(32);
    let batch = starts.into_iter().find(|at| log[*at..].starts_with(&salt)).expect("a batch");
    log[batch + 18] ^= 1;
    fs::write(path, log).expect("write it");
}

fn salvage(broker: &Broker, to: &Path) -> Said {
    let (from, to) = (data(broker), to.to_str().expect("a path of text"));
    let from = from.to_str().expect("a path of text");
    broker.run(&["store", "salvage", to, "--data-dir", from])
}

/// Save what can be read, have the broker use that, and give what the command said. The damaged store
/// must not change.
fn save(broker: &mut Broker) -> String {
    let to = broker.folder().join("saved");
    let before = files(broker);
    let said = salvage(broker, &to);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(files(broker) == before, "the damaged store was changed");
    fs::rename(data(broker), broker.folder().join("damaged")).expect("set it aside");
    fs::rename(&to, data(broker)).expect("use the new one");
    let folder = data(broker);
    let folder = folder.to_str().expect("a path of text");
    let checked = broker.run(&["store", "check", "--data-dir", folder]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    broker.start_again();
    said.out
}

/// How many of the tasks are there with their payloads. None may have another one.
fn whole(wire: &mut Wire, tasks: &[u64]) -> usize {
    let mut is_whole = |(number, task): (usize, &u64)| {
        let answer = wire.ask(format!("TASK SHOW t {task}\r\n"));
        answer.starts_with("OK t") && {
            let has_its_own = answer.contains(&payload(number));
            assert!(has_its_own || answer.contains("\"payload\":\"\""), "task {task}: {answer}");
            has_its_own
        }
    };
    tasks.iter().enumerate().filter(|task| is_whole(*task)).count()
}

#[test]
fn around_a_bit_that_turned_in_a_table_everything_is_saved() {
    let Some(mut broker) = broker() else { return };
    let tasks = submit(&broker, TASKS);
    // What is in memory becomes tables.
    broker.run_well(&["backup", "create"]);
    broker.terminate();
    flip_in_a_table(&broker);
    let said = save(&mut broker);
    assert!(said.contains("is damaged"), "{said}");
    let mut wire = broker.connect(QUIET);
    let kept = whole(&mut wire, &tasks);
    assert!((TASKS * 9 / 10..TASKS).contains(&kept), "{kept} of {TASKS} are whole");
    let next = wire.submit("jobs", "x");
    assert!(next > tasks[TASKS - 1] + (1 << 32), "{next} may have been given out before");
    // The operator's token came along.
    assert_eq!(broker.http_get("/api/admin/alerts", &broker.bearer()).status, 200);
}

#[test]
fn without_its_index_everything_is_saved() {
    let Some(mut broker) = broker() else { return };
    let tasks = submit(&broker, 100);
    broker.terminate();
    fs::remove_file(data(&broker).join("store/CURRENT")).expect("spoil the store");
    save(&mut broker);
    assert_eq!(whole(&mut broker.connect(QUIET), &tasks), tasks.len());

    // Tables alone tell enough, too.
    broker.run_well(&["backup", "create"]);
    broker.terminate();
    for (path, _) in files(&broker) {
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with("MANIFEST-") || name == "CURRENT" {
            fs::remove_file(&path).expect("spoil the store");
        }
    }
    fs::rename(broker.folder().join("damaged"), broker.folder().join("damaged first")).unwrap();
    let said = save(&mut broker);
    assert!(said.contains("the index of the store was lost"), "{said}");
    assert_eq!(whole(&mut broker.connect(QUIET), &tasks), tasks.len());
}

#[test]
fn around_a_bad_place_in_the_log_everything_is_saved() {
    let Some(mut broker) = broker() else { return };
    let tasks = submit(&broker, 200);
    broker.kill();
    flip_in_the_log(&broker);
    let said = save(&mut broker);
    assert!(said.contains("are lost:"), "{said}");
    // Each was a batch of its own.
    assert_eq!(whole(&mut broker.connect(QUIET), &tasks), 199);
}

#[test]
fn a_store_is_repaired_in_place() {
    let Some(mut broker) = broker() else { return };
    let tasks = submit(&broker, 50);
    let folder = data(&broker);
    let folder = folder.to_str().expect("a path of text");
    let repair = ["store", "repair", "--data-dir", folder];
    let said = broker.run(&repair);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("another broker"), "{said:?}");
    broker.kill();
    let before = files(&broker);
    assert_eq!(broker.run_well(&repair), "nothing is damaged, and nothing was changed\n");
    assert!(files(&broker) == before, "it was changed");
    flip_in_the_log(&broker);
    let before = files(&broker);
    let said = broker.run(&["store", "check", "--data-dir", folder]);
    assert!(said.code == Some(1) && said.err.contains("damaged"), "{said:?}");
    let said = broker.run(&repair);
    assert_eq!(said.code, Some(0), "{said:?}");
    let (_, replaced) = said.out.split_once("the damaged store is in ").expect("where it is");
    let (replaced, _) = replaced.split_once(" until").expect("where it is");
    assert!(contents(files_of(Path::new(replaced))) == contents(before), "it was changed");
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    assert_eq!(whole(&mut wire, &tasks), 49);
    assert!(wire.submit("jobs", "x") > tasks[49] + (1 << 32));
}

#[test]
fn a_repair_that_cannot_be_done_changes_nothing() {
    let Some(mut broker) = broker() else { return };
    submit(&broker, 1);
    broker.terminate();
    for (path, _) in files(&broker) {
        let name = path.file_name().expect("a name").to_string_lossy();
        let endings = [".sst", ".log"];
        let is_read = |ending| name.ends_with(ending);
        if name.starts_with("MANIFEST-") || name == "CURRENT" || endings.iter().any(is_read) {
            fs::write(&path, "x").expect("spoil the store");
        }
    }
    let before = files(&broker);
    let folder = data(&broker);
    let said = broker.run(&["store", "repair", "--data-dir", folder.to_str().expect("text")]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(files(&broker) == before, "the damaged store was changed");
    let names = fs::read_dir(&folder).expect("the data folder");
    let names: Vec<_> = names.map(|entry| entry.expect("a name").file_name()).collect();
    let is_left = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("store.");
    assert!(!names.iter().any(is_left), "{names:?}");
}

#[test]
fn nothing_is_saved_into_something_or_while_a_broker_runs() {
    let Some(mut broker) = broker() else { return };
    submit(&broker, 1);
    let to = broker.folder().join("saved");
    let running = salvage(&broker, &to);
    assert_eq!(running.code, Some(1), "{running:?}");
    assert!(running.err.contains("another broker uses"), "{running:?}");
    broker.terminate();
    fs::create_dir_all(&to).expect("make it");
    fs::write(to.join("mine"), "").expect("put something there");
    let full = salvage(&broker, &to);
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.err.contains("name a new folder"), "{full:?}");
}
