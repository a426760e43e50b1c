//! More clients than the process may open sockets for: it says so or lets them wait, keeps its
//! promises to those who are in, does not burn a core, and is itself again when they leave.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle};
use serde_json::json;

/// What the broker may open.
const DESCRIPTORS: u32 = 256;
/// How many try to connect, and how many of them do not give up. (They are sockets of the test
/// too, which may open no more than a thousand.)
const ATTEMPTS: usize = 1000;
const STUBBORN: usize = 300;
/// Where they keep coming, how many crowds there are, and how many of each stay.
const CROWDS: usize = 2;
const CROWD: usize = 250;
/// How often the broker pings, which is how this test waits without sleeping.
const PING_MS: u64 = 500;
/// How many pings the broker is watched for.
const PINGS: u32 = 4;

#[test]
fn a_crowd_at_the_door_spoils_nothing_for_those_inside() {
    if oracle::skips("it raises and reserves descriptors in another way") {
        return;
    }
    let options = Options::default().timeout("ping_interval_ms", PING_MS).timeout("ping_max", 1000);
    let broker = Broker::start(options.descriptors(DESCRIPTORS));
    let mut agent = broker.connect(QUIET).case("agent");
    agent.start_worker("alice");
    let mut early = broker.connect(QUIET).case("early");

    let mut crowd = VecDeque::new();
    for attempt in 0..ATTEMPTS {
        let socket = TcpStream::connect(broker.tcp());
        crowd.push_back(socket.unwrap_or_else(|error| panic!("attempt {attempt}: {error}")));
        if crowd.len() > STUBBORN {
            crowd.pop_front();
        }
    }
    work(&mut early, &mut agent, "in the crowd");
    // The other door has descriptors of its own.
    assert_eq!(broker.http_get("/health", "").status, 200);
    check_that_it_rests(&broker, &mut early);
    work(&mut early, &mut agent, "still in the crowd");

    drop(crowd);
    check_that_somebody_is_let_in(&broker);
    work(&mut early, &mut agent, "alone again");
}

#[test]
fn a_crowd_that_keeps_coming_does_not_stop_the_store() {
    // Enough for the store to need new files in between.
    const TASKS: usize = 100;
    const PAYLOAD: usize = 1_000_000;
    if oracle::skips("it raises and reserves descriptors in another way") {
        return;
    }
    let broker = Broker::start(Options::default().descriptors(DESCRIPTORS));
    let mut early = broker.connect(QUIET).case("early");
    let payload = "x".repeat(PAYLOAD);
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        // However it ends, the crowd ends with it.
        let _over = Raise(&is_over);
        for _ in 0..CROWDS {
            threads.spawn(|| crowd(&broker, &is_over));
        }
        for _ in 0..TASKS {
            early.submit("q", &payload);
        }
    });
}

/// Connect again and again, holding on to the newest connections.
fn crowd(broker: &Broker, is_over: &AtomicBool) {
    // Where the queue at the door is full too, the next one tries.
    const PATIENCE: Duration = Duration::from_millis(100);
    let mut crowd = VecDeque::new();
    while !is_over.load(Ordering::Relaxed) {
        crowd.extend(TcpStream::connect_timeout(&broker.tcp(), PATIENCE));
        if crowd.len() > CROWD {
            crowd.pop_front();
        }
    }
}

/// Raises a flag when it goes.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A durable task goes all the way.
#[track_caller]
fn work(early: &mut Wire, agent: &mut Wire, payload: &str) {
    let task = early.submit("q", payload);
    let offer = agent.offer();
    assert_eq!((offer.task, offer.payload.as_slice()), (task, payload.as_bytes()));
    agent.send(format!("TASK COMPLETE c {} 4\r\ndone\r\n", offer.lease()));
    agent.expect(format!("OK c task={task} state=completed\r\n"));
    assert_eq!(early.show(task)["result"], json!("done"));
}

/// While nothing happens but the crowd's waiting, the broker uses next to no processor time.
#[track_caller]
fn check_that_it_rests(broker: &Broker, early: &mut Wire) {
    early.show_pings();
    let (begun, before) = (Instant::now(), broker.processor_time());
    for _ in 0..PINGS {
        early.expect("PING\r\n");
        early.send("PONG\r\n");
    }
    let (watched, after) = (begun.elapsed(), broker.processor_time());
    let (Some(before), Some(after)) = (before, after) else { return };
    // A tenth of a core is far more than a pause between two attempts costs, and far less than a
    // loop without one.
    let used = after - before;
    assert!(used < watched / 10, "{used:?} of processor time in {watched:?}");
}

/// The broker may need a moment to see that the crowd has left.
#[track_caller]
fn check_that_somebody_is_let_in(broker: &Broker) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let greeted = Wire::try_open(broker.tcp()).map(|mut wire| wire.ask("PING\r\n"));
        match greeted {
            Ok(answer) if answer == "PONG" => return,
            other => assert!(Instant::now() < deadline, "nobody is let in: {other:?}"),
        }
    }
}
