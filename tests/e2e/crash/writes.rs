//! A disk that takes no more: everybody is told, messages go on, and what was acknowledged is there
//! after the next start.

use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, oracle};

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
