//! What is too much, and what the client hears: each limit just inside and just outside.

use std::time::{Duration, Instant};

use agentcom_tests::{Broker, MODERN, Options, QUIET, occurrences};

#[test]
fn a_payload_may_be_as_large_as_info_says_and_no_larger() {
    let broker = Broker::start(Options::default().limit("payload_bytes_max", 100));
    for bytes in [99, 100] {
        let payload = "x".repeat(bytes);
        let mut wire = broker.connect(MODERN).case(&format!("{bytes} bytes"));
        wire.send(format!("SUB a 1\r\nPUB a {bytes}\r\n{payload}\r\n"));
        wire.expect(format!("MSG a 1 {bytes}\r\n{payload}\r\n"));
        let body = "x".repeat(bytes - 12);
        wire.send(format!("HPUB a 12 {bytes}\r\nNATS/1.0\r\n\r\n{body}\r\n"));
        wire.expect(format!("HMSG a 1 12 {bytes}\r\nNATS/1.0\r\n\r\n{body}\r\n"));
    }
    // Refused on the control line: no payload is sent here at all.
    for line in ["PUB a 101\r\n", "HPUB a 12 101\r\n", "PUB a 999999999\r\n"] {
        let mut wire = broker.connect(MODERN).case(line);
        wire.send(line);
        wire.expect_end("-ERR 'Maximum Payload Violation'\r\n");
    }
}

#[test]
fn a_control_line_may_be_as_long_as_the_limit_and_no_longer() {
    const LIMIT: usize = 128;
    const EXCEEDED: &str = "-ERR 'maximum control line exceeded'\r\n";
    let broker = Broker::start(Options::default().limit("control_line_bytes_max", LIMIT as u64));
    // The limit is on what follows the verb and the blank behind it.
    let line = |bytes: usize| format!("SUB {} 1\r\n", "s".repeat(bytes - " 1".len()));

    for bytes in [LIMIT - 1, LIMIT] {
        let (line, subject) = (line(bytes), "s".repeat(bytes - " 1".len()));
        for piece in [line.len(), line.len() - 2, line.len() - 1, 1] {
            let mut wire = broker.connect(QUIET).case(&format!("{bytes} bytes by {piece}"));
            for part in line.as_bytes().chunks(piece) {
                wire.send(part);
            }
            wire.expect_nothing();
            // " 0" takes as much of the line as " 1" did.
            let mut publisher = broker.connect(QUIET);
            publisher.send(format!("PUB {subject} 0\r\n\r\n"));
            publisher.flush();
            wire.expect(format!("MSG {subject} 1 0\r\n\r\n"));
        }
    }
    let over = line(LIMIT + 1);
    for piece in [over.len(), over.len() - 2, 1] {
        let mut wire = broker.connect(QUIET).case(&format!("complete, by {piece}"));
        for part in over.as_bytes().chunks(piece) {
            wire.send(part);
        }
        wire.expect_end(EXCEEDED);
    }
    for verb in ["PUB ", "HPUB ", "SUB ", "UNSUB ", "CONNECT "] {
        let mut wire = broker.connect(MODERN).case(&format!("{verb}growing"));
        wire.send(verb.to_string() + &"x".repeat(LIMIT + 1));
        wire.expect_end(EXCEEDED);
    }
}

#[test]
fn a_connection_too_many_is_told_so_after_info() {
    let broker = Broker::start(Options::default().limit("connections_max", 2));
    let mut first = broker.connect(QUIET);
    let mut second = broker.connect(QUIET);
    broker.connect_raw().expect_end("-ERR 'maximum connections exceeded'\r\n");
    first.expect_nothing();

    second.finish();
    second.expect_closed();
    // A broker may close a moment before it counts again.
    let accepted = (0..100).any(|_| {
        let mut wire = broker.connect_raw();
        wire.send("PING\r\n");
        wire.expect_line() == "PONG"
    });
    assert!(accepted, "the place stays taken");
}

#[test]
fn a_subscription_too_many_is_refused_and_the_connection_stays() {
    let broker = Broker::start(Options::default().limit("subscriptions_max", 2));
    let mut wire = broker.connect(QUIET);
    wire.send("SUB a 1\r\nSUB b 2\r\n");
    wire.expect_nothing();
    wire.send("SUB c 3\r\n");
    wire.expect_error("maximum subscriptions exceeded");
    wire.send("PUB c 0\r\n\r\nPUB b 0\r\n\r\n");
    wire.expect("MSG b 2 0\r\n\r\n");
    wire.send("UNSUB 1\r\nSUB c 3\r\nPUB c 0\r\n\r\n");
    wire.expect("MSG c 3 0\r\n\r\n");
    wire.expect_nothing();
}

#[test]
fn a_client_that_does_not_answer_pings_is_stale() {
    let settings = Options::default().timeout("ping_interval_ms", 300).timeout("ping_max", 2);
    let broker = Broker::start(settings);
    let mut silent = broker.connect(QUIET);
    silent.show_pings();
    silent.expect_end("PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
}

#[test]
fn a_client_that_answers_pings_stays() {
    let settings = Options::default().timeout("ping_interval_ms", 200).timeout("ping_max", 2);
    let broker = Broker::start(settings);
    let mut alive = broker.connect(QUIET);
    alive.show_pings();
    for _ in 0..8 {
        alive.expect("PING\r\n");
        alive.send("PONG\r\n");
    }
}

#[test]
fn a_client_that_keeps_talking_is_not_asked_whether_it_is_there() {
    let broker = Broker::start(Options::default().timeout("ping_interval_ms", 300));
    let mut talking = broker.connect(QUIET);
    talking.show_pings();
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let heard = talking.read_to_pong();
        asked += occurrences(&heard, "PING");
        talking.send("PONG\r\n".repeat(heard.len().min(1)));
    }
    // One, to measure how long the round trip takes.
    assert!(asked <= 1, "asked {asked} times in 2 s");
}
