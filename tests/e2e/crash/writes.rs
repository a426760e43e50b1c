//! A disk that takes no more, or fails: everybody is told, messages go on, and what was acknowledged
//! is there after the next start.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, SyncFault, oracle};

/// Everybody is told within this time (issue of the durable plane: within a second).
const SOON: Duration = Duration::from_secs(1);
/// Files end at 2 MiB: enough for the start, and for some dozens of submits.
const FILE_BLOCKS: u32 = 4_096;

#[test]
fn when_the_disk_is_full_everybody_is_told_and_nothing_acknowledged_is_lost() {
    if oracle::skips("it keeps nothing without JetStream") {
        return;
    }
    let mut broker = Broker::start(Options::default().file_blocks(FILE_BLOCKS));
    let mut submitter = broker.connect(QUIET);
    let mut waiting = broker.connect(QUIET);
    let mut taking = broker.connect(QUIET);
    let mut listener = broker.connect(QUIET);
    listener.send("SUB news 1\r\n");
    listener.flush();
    let body = "x".repeat(50_000);
    let mut kept = vec![submitter.submit("q", &body)];
    waiting.send(format!("TASK AWAIT a {} timeout_ms=600000\r\n", kept[0]));
    taking.send("QUEUE TAKE t other wait_ms=600000\r\n");

    let (refused, took) = loop {
        let asked = Instant::now();
        let size = body.len();
        let answer = submitter.ask(format!("TASK SUBMIT s q {size}\r\n{body}\r\n"));
        let Some(fields) = answer.strip_prefix("OK s task=") else {
            break (answer, asked.elapsed());
        };
        kept.push(fields.split(' ').next().and_then(|task| task.parse().ok()).expect("a number"));
        assert!(kept.len() < 1_000, "the disk is never full");
    };
    assert!(refused.starts_with("ERR s uncertain '"), "{refused:?}");
    assert!(took < SOON, "after {took:?}");
    let asked = Instant::now();
    submitter.expect_declined("QUEUE SET s q keep_ms=5\r\n", "unavailable");
    for (wire, tag) in [(&mut waiting, "a"), (&mut taking, "t")] {
        let told = wire.expect_line();
        assert!(told.starts_with(&format!("ERR {tag} unavailable '")), "{told:?}");
    }
    assert!(asked.elapsed() < SOON, "after {:?}", asked.elapsed());
    // Routing needs no disk.
    submitter.send("PUB news 5\r\nhello\r\n");
    listener.expect("MSG news 1 5\r\nhello\r\n");
    assert_eq!(broker.wait().code(), Some(1));

    broker.lift_file_limit();
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    for task in kept {
        assert_eq!(wire.show(task)["state"], "ready");
    }
    wire.submit("q", "there is room again");
}

/// Work goes on from several sides while the disk begins to fail: whatever was acknowledged until
/// then is there afterwards, nothing is acknowledged from then on, and the broker ends by itself,
/// because after a failed sync nobody knows what the disk holds.
#[test]
fn when_a_sync_fails_nothing_more_is_acknowledged_and_nothing_acknowledged_is_lost() {
    if oracle::skips("it keeps nothing without JetStream") {
        return;
    }
    let disk = Arc::new(SyncFault::new());
    let mut broker = Broker::start(Options::default().sync_fault(&disk));
    let mut listener = broker.connect(QUIET);
    listener.send("SUB news 1\r\n");
    listener.flush();
    let begun = Barrier::new(5);
    let kept: Vec<u64> = thread::scope(|threads| {
        let submit = || {
            let mut wire = broker.connect(QUIET);
            let mut kept = vec![wire.submit("q", "before")];
            begun.wait();
            loop {
                let answer = wire.ask("TASK SUBMIT s q 1\r\nx\r\n");
                let Some(fields) = answer.strip_prefix("OK s task=") else {
                    let is_clear = ["ERR s uncertain '", "ERR s unavailable '"]
                        .iter()
                        .any(|code| answer.starts_with(code));
                    assert!(is_clear, "{answer:?}");
                    wire.expect_declined("TASK SUBMIT s q 1\r\nx\r\n", "unavailable");
                    return kept;
                };
                let number = fields.split(' ').next().and_then(|task| task.parse().ok());
                kept.push(number.expect("a number"));
            }
        };
        let submitters = [(); 4].map(|()| threads.spawn(submit));
        begun.wait();
        disk.set_broken(true);
        submitters.into_iter().flat_map(|submitter| submitter.join().expect("submit")).collect()
    });
    // Routing needs no disk.
    let mut speaker = broker.connect(QUIET);
    speaker.send("PUB news 5\r\nhello\r\n");
    listener.expect("MSG news 1 5\r\nhello\r\n");
    assert_eq!(broker.wait().code(), Some(1));

    disk.set_broken(false);
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    for task in kept {
        assert_eq!(wire.show(task)["state"], "ready");
    }
    wire.submit("q", "the disk works again");
}
