//! A disk that is full (promise R5): the reason is said, what is under way is brought to its end,
//! messages are routed, and nothing needs a restart once there is room, or to start without any.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, SmallDisk, Wire, oracle, until};
use serde_json::json;

use crate::http::{JSON, register};

const MIB: u64 = 1 << 20;

/// How soon a change of the room must be noticed.
const SOON: Duration = Duration::from_secs(5);

/// What becomes of a submit, once it is what is `wanted`.
#[track_caller]
fn await_submit(wire: &mut Wire, wanted: &str) {
    let started = Instant::now();
    let answered = until(|| {
        let answer = wire.ask("TASK SUBMIT s jobs 1\r\nx\r\n");
        answer.starts_with(wanted).then_some(())
    });
    assert!(answered.is_some(), "a submit is never answered {wanted:?}");
    assert!(started.elapsed() < SOON, "{wanted:?} after {:?}", started.elapsed());
}

fn metric(broker: &Broker, name: &str) -> u64 {
    let text = broker.http_get("/metrics", &broker.bearer()).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn a_full_disk_stops_new_work_only_and_only_while_it_is_full() {
    if oracle::skips("it keeps nothing without JetStream") {
        return;
    }
    let Some(disk) = SmallDisk::mount(300 * MIB).map(Arc::new) else { return };
    let options = Options::default()
        .disk("free_bytes_min", 64 * MIB)
        .disk("reserve_bytes", 32 * MIB)
        .on(&disk);
    let mut broker = Broker::start(options);
    let reserve = disk.path().join("data").join("reserve");
    assert!(until(|| reserve.exists().then_some(())).is_some(), "nothing is held in reserve");
    let ann = register(&broker, "ann").0;
    // Looked at often; what was set counts at once after the start below.
    let thresholds = r#"{"check_interval_ms":100}"#;
    let headers = broker.bearer() + JSON;
    broker.http_put("/api/config/alert-thresholds", &headers, thresholds);
    let mut wire = broker.connect(QUIET);
    let tasks: Vec<u64> = (0..3).map(|number| wire.submit("work", &number.to_string())).collect();
    let mut alice = broker.connect(QUIET);
    alice.start_worker("alice queues=work credit=2");
    let offers = [alice.offer(), alice.offer()];
    for offer in &offers {
        let accepted = alice.ask(format!("TASK ACCEPT a {}\r\n", offer.lease()));
        assert!(accepted.starts_with("OK a"), "{accepted}");
    }

    disk.fill();
    await_submit(&mut wire, "ERR s no_room");
    let sentence = wire.expect_declined("MESSAGE SEND m ann from=bob 2\r\nhi\r\n", "no_room");
    assert!(sentence.contains("make room"), "{sentence}");
    let over_http =
        broker.http_post("/api/tasks", &(broker.bearer() + JSON), r#"{"description":"x"}"#);
    assert_eq!(over_http.status, 503, "{over_http:?}");
    assert_eq!(over_http.json()["error"], "no_room");
    assert_eq!(metric(&broker, "agentcom_disk_scarce"), 1);
    // Messages that nobody keeps, and reads.
    wire.send("SUB greet 1\r\nPUB greet 2\r\nhi\r\n");
    wire.expect("MSG greet 1 2\r\nhi\r\n");
    assert_eq!(wire.show(tasks[2])["payload"], "2");
    assert_eq!(broker.http_get("/api/mailbox/ann", &ann).json()["count"], 0);
    // The reserve is for what is under way.
    assert!(until(|| (!reserve.exists()).then_some(())).is_some(), "the reserve is not given up");
    let large = "r".repeat(500_000);
    let complete = format!("TASK COMPLETE c {} {}\r\n{large}\r\n", offers[0].lease(), large.len());
    assert!(alice.ask(complete).starts_with("OK c"));

    disk.clear();
    await_submit(&mut wire, "OK s");
    assert_eq!(metric(&broker, "agentcom_disk_scarce"), 0);
    assert!(until(|| reserve.exists().then_some(())).is_some(), "nothing is held in reserve again");

    // A start with not a byte left but what is in reserve.
    broker.kill();
    disk.fill();
    broker.start_again();
    let mut wire = broker.connect(QUIET);
    await_submit(&mut wire, "ERR s no_room");
    assert_eq!(wire.show(offers[0].task)["state"], "completed");
    assert_eq!(wire.show(offers[1].task)["state"], "running");
    let mut alice = broker.connect(QUIET);
    let lease = offers[1].lease().replace(" ", ":");
    alice.start_worker(&format!("alice queues=work holding={lease}"));
    let complete = format!("TASK COMPLETE c {} 4\r\ndone\r\n", offers[1].lease());
    assert!(alice.ask(complete).starts_with("OK c"));
    let alerts = || broker.http_get("/api/alerts", "").json()["alerts"].clone();
    let has = |rule: &str| {
        let alerts = alerts();
        alerts.as_array().is_some_and(|all| all.iter().any(|alert| alert["rule_id"] == rule))
    };
    assert!(until(|| has("disk_scarce").then_some(())).is_some(), "no alert: {}", alerts());
    assert!(has("disk_filling"), "{}", alerts());
    disk.clear();
    await_submit(&mut wire, "OK s");
    assert!(until(|| (!has("disk_scarce")).then_some(())).is_some(), "{}", alerts());
    assert_eq!(broker.http_get("/health", "").json()["status"], json!("ok"));
}
