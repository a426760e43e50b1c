//! Clients that mean harm, or are broken: they get an answer or are cut off, and a well-behaved
//! client beside them notices nothing. (T1-T16 of the threat list; R17-R25 of the promises.)

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, MODERN, Options, QUIET, Random, Wire, occurrences, oracle};

const MIB: u64 = 1024 * 1024;

/// A well-behaved publisher and subscriber, to have beside the others.
struct Bystander {
    publisher: Wire,
    subscriber: Wire,
    rounds: usize,
}

impl Bystander {
    #[track_caller]
    fn on(broker: &Broker) -> Self {
        let publisher = broker.connect(QUIET).case("bystander");
        let mut subscriber = broker.connect(QUIET).case("bystander");
        subscriber.send("SUB bystander.> 1\r\n");
        subscriber.flush();
        Self { publisher, subscriber, rounds: 0 }
    }

    /// One message goes through, the next one in order and nothing else.
    #[track_caller]
    fn round(&mut self) {
        self.rounds += 1;
        let payload = format!("{:08}", self.rounds);
        self.publisher.send(format!("PUB bystander.x 8\r\n{payload}\r\n"));
        self.subscriber.expect(format!("MSG bystander.x 1 8\r\n{payload}\r\n"));
    }
}

/// Whether anybody is subscribed to `subject`, as the no-responders reply tells a `MODERN` client.
#[track_caller]
fn is_heard(asking: &mut Wire, subject: &str) -> bool {
    asking.send(format!("SUB inbox asked\r\nPUB {subject} inbox 0\r\n\r\nUNSUB asked\r\n"));
    occurrences(&asking.read_to_pong(), "NATS/1.0 503") == 0
}

/// What `broker` has grown by since it held `before`; 0 where nobody can tell.
fn growth(broker: &Broker, before: Option<u64>) -> u64 {
    match (before, broker.resident_bytes()) {
        (Some(before), Some(now)) => now.saturating_sub(before),
        _ => 0,
    }
}

#[test]
fn half_a_frame_is_cut_off_when_its_time_is_up() {
    if oracle::skips("it waits for the other half without end") {
        return;
    }
    let broker = Broker::start(Options::default().timeout("half_frame_ms", 300));
    let mut idle = broker.connect(QUIET).case("idle between frames");
    for half in ["P", "PUB a", "PUB a 10\r\n", "PUB a 10\r\nhello", "PUB a 5\r\nhello", "PING\r"] {
        let mut wire = broker.connect(QUIET).case(half);
        // An answer to a PING would be the other half.
        wire.show_pings();
        wire.send(half);
        let last = wire.read_to_end();
        assert!(last.is_empty() || last.starts_with(b"-ERR '"), "{}", last.escape_ascii());
    }
    idle.expect_nothing();
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    let before = broker.resident_bytes();
    for verb in ["PUB ", "SUB ", "CONNECT "] {
        let mut wire = broker.connect(QUIET).case(verb);
        wire.send(verb);
        wire.send(vec![b'x'; 2 * MIB as usize]);
        wire.expect_end("-ERR 'maximum control line exceeded'\r\n");
        bystander.round();
    }
    let grown = growth(&broker, before);
    assert!(grown < 8 * MIB, "grown by {grown} bytes");
}

#[test]
fn a_size_is_digits_or_it_is_nothing() {
    const SIZES: &str = "-1 -0 +2 2.0 2e0 0x2 2x x2 2, '2' NaN \u{0662} \u{ff12} 2\0 2147483648 \
        4294967296 4294967298 9223372036854775808 18446744073709551616 18446744073709551618 \
        0000000000000000000000000000000002";
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    for size in SIZES.split(' ') {
        for line in [
            format!("PUB a {size}\r\nhi\r\n"),
            format!("HPUB a 0 {size}\r\nhi\r\n"),
            format!("HPUB a {size} 2\r\nhi\r\n"),
        ] {
            let mut wire = broker.connect(MODERN).case(&line);
            wire.send(format!("SUB a 1\r\n{line}"));
            wire.expect_closed();
        }
    }
    bystander.round();
}

#[test]
fn a_flood_whose_answers_are_never_read_costs_little() {
    if oracle::skips("it keeps 64 MiB of answers for each client") {
        return;
    }
    let broker = Broker::start(Options::default().limit("pending_bytes_max", 2 * MIB));
    let mut bystander = Bystander::on(&broker);
    for line in ["PING\r\n", "SUB a..b 1\r\n"] {
        let before = broker.resident_bytes();
        let mut deaf = broker.connect(QUIET).case(line);
        // A broker that stops reading is as good as one that hangs up.
        deaf.set_write_timeout(Duration::from_secs(1));
        let flood = line.repeat(10_000);
        let mut sent = 0;
        while sent < 64 * MIB && deaf.try_send(&flood).is_ok() {
            sent += flood.len() as u64;
            bystander.round();
        }
        let grown = growth(&broker, before);
        assert!(grown < 24 * MIB, "grown by {grown} bytes for {sent} bytes of {line:?}");
        bystander.round();
    }
}

#[test]
fn slow_consumers_are_told_and_cut_off_while_their_neighbour_gets_everything() {
    if oracle::skips("it cuts slow consumers off without a word") {
        return;
    }
    const SLOW: usize = 5;
    const WINDOW: usize = 16;
    const PAYLOAD: usize = 16 * 1024;
    const FAREWELL: &[u8] = b"-ERR 'Slow Consumer'\r\n";
    let broker = Broker::start(Options::default().limit("pending_bytes_max", MIB));
    let mut publisher = broker.connect(MODERN);
    let mut healthy = broker.connect(QUIET).case("healthy");
    healthy.send("SUB a 1\r\n");
    healthy.flush();
    let mut slow: Vec<Wire> = (0..SLOW).map(|_| broker.connect(QUIET).case("slow")).collect();
    for wire in &mut slow {
        wire.send("SUB a 1\r\nSUB slow 2\r\n");
        wire.flush();
    }
    let before = broker.resident_bytes();
    let payload = "x".repeat(PAYLOAD);
    let window = format!("PUB a {PAYLOAD}\r\n{payload}\r\n").repeat(WINDOW);
    let heard = format!("MSG a 1 {PAYLOAD}\r\n{payload}\r\n").repeat(WINDOW);
    // The healthy one reads each window before the next; the sockets' buffers fill up for the rest.
    let mut published = 0;
    while is_heard(&mut publisher, "slow") {
        assert!(published < 1024 * MIB as usize, "nobody is cut off after {published} bytes");
        publisher.send(&window);
        healthy.expect(&heard);
        published += WINDOW * PAYLOAD;
    }
    let grown = growth(&broker, before);
    assert!(grown < (SLOW as u64 + 16) * MIB, "grown by {grown} bytes for {SLOW} slow consumers");
    for mut wire in slow {
        let got = wire.read_to_end();
        let tail = got[got.len().saturating_sub(60)..].escape_ascii();
        assert!(got.ends_with(FAREWELL), "told nothing after {} bytes: {tail}", got.len());
    }
    healthy.expect_nothing();
}

#[test]
fn a_consumer_that_takes_nothing_is_cut_off_when_a_write_takes_too_long() {
    let settings = Options::default().timeout("write_ms", 300);
    let broker = Broker::start(settings.limit("pending_bytes_max", 64 * MIB));
    let mut publisher = broker.connect(MODERN);
    let mut stuck = broker.connect(QUIET).case("stuck");
    stuck.send("SUB a 1\r\n");
    stuck.flush();
    // More than the sockets' buffers hold, less than may be pending.
    let payload = "x".repeat(MIB as usize);
    for _ in 0..48 {
        publisher.send(format!("PUB a {MIB}\r\n{payload}\r\n"));
    }
    publisher.flush();
    let begun = Instant::now();
    while is_heard(&mut publisher, "a") {
        assert!(begun.elapsed() < Duration::from_secs(10), "still subscribed");
    }
    stuck.read_to_end();
}

#[test]
fn control_bytes_in_a_name_are_refused_with_a_reason_and_reach_nobody() {
    if oracle::skips("it passes them on") {
        return;
    }
    let broker = Broker::start(Options::default());
    let mut spy = broker.connect(QUIET).case("spy");
    spy.send("SUB > 1\r\n");
    spy.flush();
    for byte in ["\0", "\x01", "\x1b", "\x7f", "a\rb"] {
        for line in [
            format!("PUB a{byte} 2\r\nhi\r\n"),
            format!("PUB a b{byte} 2\r\nhi\r\n"),
            format!("HPUB a{byte} 0 2\r\nhi\r\n"),
            format!("SUB a{byte} 1\r\n"),
            format!("SUB a q{byte} 1\r\n"),
            format!("SUB a 1{byte}\r\n"),
        ] {
            let mut wire = broker.connect(MODERN).case(&line);
            wire.send(&line);
            wire.finish();
            let answer = wire.read_to_end();
            assert!(answer.starts_with(b"-ERR '"), "{line:?}: {}", answer.escape_ascii());
        }
    }
    spy.expect_nothing();
}

#[test]
fn patterns_that_all_match_cost_no_more_than_their_messages() {
    const TOKENS: usize = 12;
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    let mut wire = broker.connect(QUIET);
    // Every way to write a literal or a wildcard in each place.
    for bits in 0..1 << TOKENS {
        let token = |place: usize| if bits >> place & 1 == 0 { "t" } else { "*" };
        let pattern = (0..TOKENS).map(token).collect::<Vec<_>>().join(".");
        wire.send(format!("SUB {pattern} {bits}\r\n"));
    }
    wire.expect_nothing();
    let subject = ["t"; TOKENS].join(".");
    for _ in 0..10 {
        wire.send(format!("PUB {subject} 0\r\n\r\n"));
        assert_eq!(occurrences(&wire.read_to_pong(), "MSG "), 1 << TOKENS);
        bystander.round();
    }
}

#[test]
fn garbage_hurts_nobody_else() {
    const PIECES: &str = "PUB |HPUB |SUB |UNSUB |CONNECT |PING|PONG|MSG |+OK|-ERR |INFO |HELP\r\n|\
        pub |a|a.b|*|>|..| |\t|\r\n|\r\n|\n|\r|\0|0|1|5|999999999|4294967297|-1|hello|{}|{\"verbose\":true}|\
        NATS/1.0\r\n\r\n|SUB x 1\r\n|PUB x 5\r\nhello\r\n|PUB x 5\r\nhellohello\r\n|UNSUB 1 1\r\n";
    let pieces: Vec<&str> = PIECES.split('|').collect();
    let mut random = Random::seeded();
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    let before = broker.resident_bytes();
    for _ in 0..1000 {
        let mut wire = broker.connect(MODERN);
        let mut frame = Vec::new();
        for _ in 0..1 + random.below(40) {
            match random.below(10) {
                0 => frame.push(random.below(256) as u8),
                _ => frame.extend(random.pick(&pieces).as_bytes()),
            }
        }
        let cut = random.below(frame.len());
        wire.send(&frame[..cut]);
        wire.send(&frame[cut..]);
        bystander.round();
    }
    let grown = growth(&broker, before);
    assert!(grown < 64 * MIB, "grown by {grown} bytes");
}

#[test]
fn a_thousand_clients_that_stop_half_way_are_no_burden() {
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    let before = broker.resident_bytes();
    let long = format!("CONNECT {{\"name\":\"{}", "x".repeat(4000));
    let ways = ["", &long, "CONNECT {}\r\nSUB a", "PUB a 99\r\nhalf"];
    let halves: Vec<Wire> = (0..1000)
        .map(|number| {
            let mut wire = broker.connect_raw();
            wire.send(ways[number % ways.len()]);
            wire
        })
        .collect();
    for _ in 0..100 {
        bystander.round();
    }
    let grown = growth(&broker, before);
    let each = grown / halves.len() as u64;
    assert!(each < 32 * 1024, "grown by {each} bytes for each client");
    drop(halves);
    bystander.round();
    broker.connect(QUIET).expect_nothing();
}

#[test]
fn a_bomb_of_subscriptions_stops_at_the_limit() {
    if oracle::skips("it has no limit by default") {
        return;
    }
    const LIMIT: usize = 100_000;
    let broker = Broker::start(Options::default());
    let mut bystander = Bystander::on(&broker);
    let before = broker.resident_bytes();
    let mut bomb = broker.connect(QUIET);
    for start in (0..LIMIT).step_by(1000) {
        let batch: String =
            (start..start + 1000).map(|n| format!("SUB bomb.{n}.* {n}\r\n")).collect();
        bomb.send(batch);
    }
    bomb.expect_nothing();
    bomb.send("SUB bomb.x last\r\n");
    bomb.expect_error("maximum subscriptions exceeded");
    bomb.send("PUB bomb.99999.x 0\r\n\r\n");
    bomb.expect("MSG bomb.99999.x 99999 0\r\n\r\n");
    bystander.round();
    let grown = growth(&broker, before);
    assert!(grown < 100 * MIB, "grown by {grown} bytes");
}

#[test]
fn who_sends_nothing_before_login_is_sent_away_even_where_no_login_is_needed() {
    if oracle::skips("without credentials it waits for CONNECT without end") {
        return;
    }
    let broker = Broker::start(Options::default().timeout("half_frame_ms", 300));
    let mut silent = broker.connect_raw().case("silent");
    let mut dribbling = broker.connect_raw().case("dribbling");
    dribbling.send("CONNECT {\"ver");
    silent.expect_end("-ERR 'Authentication Timeout'\r\n");
    dribbling.expect_end("-ERR 'Authentication Timeout'\r\n");
}

#[test]
fn a_client_that_sends_and_never_reads_does_not_hold_up_its_neighbours() {
    let broker = Broker::start(Options::default().limit("pending_bytes_max", 2 * MIB));
    let mut bystander = Bystander::on(&broker);
    let mut deaf = broker.connect(QUIET);
    deaf.set_write_timeout(Duration::from_millis(500));
    deaf.send("SUB loop 1\r\n");
    let payload = "x".repeat(64 * 1024);
    let echo = format!("PUB loop {}\r\n{payload}\r\n", payload.len());
    for _ in 0..1000 {
        match deaf.try_send(&echo) {
            Ok(()) => bystander.round(),
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(kind) => panic!("sending: {kind}"),
        }
    }
    bystander.round();
}
