//! What one identity may have and do over TCP, through all its connections: too much is refused with
//! the reason or read more slowly, never lost, and coming anew gains nothing.

use std::time::{Duration, Instant};

use agentcom_tests::{Broker, Options, QUIET, Wire, oracle, until};
use serde_json::{Value, json};

use crate::http::{JSON, register};

fn broker(quotas: &[(&'static str, u64)]) -> Option<Broker> {
    let options =
        quotas.iter().fold(Options::default(), |options, (key, value)| options.quota(key, *value));
    let skips = oracle::skips("it has no quotas");
    (!skips).then(|| Broker::start(options))
}

fn with_token(headers: &str) -> String {
    let token = headers.split_whitespace().last().expect("a bearer token");
    json!({"verbose": false, "auth_token": token}).to_string()
}

const FULL: &str = "-ERR 'maximum connections exceeded'\r\n";

#[test]
fn connections_of_an_identity_are_counted_together() {
    let Some(broker) = broker(&[("connections", 2)]) else { return };
    let (ann, bob) = (register(&broker, "ann").0, register(&broker, "bob").0);
    let strangers = [broker.connect(QUIET), broker.connect(QUIET)];
    for first in ["PING\r\n", "PUB x 2\r\nhi\r\n", "CONNECT {}\r\n"] {
        let mut third = broker.connect_raw();
        third.send(first);
        third.expect_end(FULL);
    }
    // Whoever says who they are counts for themselves.
    let agents = [&ann, &ann, &bob].map(|token| broker.connect(&with_token(token)));
    let mut third = broker.connect_raw();
    third.send(format!("CONNECT {}\r\n", with_token(&ann)));
    third.expect_end(FULL);
    let operators: Vec<Wire> =
        (0..3).map(|_| broker.connect(&with_token(&broker.bearer()))).collect();
    drop(strangers);
    let again = until(|| {
        let mut wire = broker.connect_raw();
        wire.send("PING\r\n");
        (wire.expect_line() == "PONG").then_some(())
    });
    assert!(again.is_some(), "the places of connections that are over are taken");
    drop((agents, operators));
}

#[test]
fn subscriptions_of_all_connections_are_counted_together() {
    let Some(broker) = broker(&[("subscriptions", 3)]) else { return };
    let (mut one, mut two) = (broker.connect(QUIET), broker.connect(QUIET));
    one.send("SUB a 1\r\nSUB b 2\r\nPING\r\n");
    one.expect("PONG\r\n");
    two.send("SUB a 1\r\nSUB b 2\r\nPUB b 1\r\nx\r\nUNSUB 1\r\nSUB c 3\r\nPING\r\n");
    two.expect("-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n");
    one.expect("MSG b 2 1\r\nx\r\n");
    drop(one);
    let freed = until(|| {
        two.send("SUB d 4\r\nPING\r\n");
        (two.expect_line() == "PONG").then_some(()).or_else(|| {
            two.expect("PONG\r\n");
            None
        })
    });
    assert!(freed.is_some(), "subscriptions of a connection that is over still count");
}

#[test]
fn who_sends_too_much_is_read_more_slowly_and_loses_nothing() {
    // One more each half a second, beyond the first 120.
    let Some(broker) = broker(&[("messages", 120)]) else { return };
    let mut receiver = broker.connect(&with_token(&broker.bearer()));
    receiver.send("SUB x 1\r\n");
    receiver.flush();
    let mut sender = broker.connect(QUIET);
    let started = Instant::now();
    let publish = |number: usize| format!("PUB x {}\r\n{number}\r\n", number.to_string().len());
    sender.send((0..121).map(publish).collect::<String>());
    let message = |number: usize| format!("MSG x 1 {}\r\n{number}\r\n", number.to_string().len());
    receiver.expect((0..120).map(message).collect::<String>());
    // Another connection of the same identity, too.
    let mut again = broker.connect(QUIET);
    again.send(publish(121) + &publish(122) + &publish(123));
    let mut last = [(); 4].map(|()| receiver.expect_line());
    last.sort();
    assert_eq!(last, [120, 121, 122, 123].map(|number| message(number).trim_end().to_owned()));
    // Two connections may find the same one allowed, however late that is; so four come no sooner
    // than three would.
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_400), "four more after {took:?}");
}

#[test]
fn requests_beyond_the_quota_are_refused_and_tasks_do_not_suffer() {
    let Some(broker) = broker(&[("requests", 3)]) else { return };
    let mut wire = broker.connect(QUIET);
    let mut alice = broker.connect(QUIET);
    alice.start_worker("alice queues=jobs");
    let tasks = [wire.submit("jobs", "a"), wire.submit("other", "b")];
    assert_eq!(wire.show(tasks[1])["state"], "ready");
    let sentence = wire.expect_declined(&format!("TASK SHOW t {}\r\n", tasks[0]), "rate_limited");
    assert!(sentence.contains("try again in"), "{sentence}");
    let mut anew = broker.connect(QUIET);
    let body = json!({"task": tasks[0]}).to_string();
    let size = body.len();
    anew.send(format!("SUB inbox 1\r\nPUB $AC.API.TASK.SHOW inbox {size}\r\n{body}\r\n"));
    let answer = anew.expect_line();
    assert!(answer.contains("\"rate_limited\""), "{answer}");
    // What whoever holds a task says of it is no request.
    let offer = alice.offer();
    for verb in ["ACCEPT", "COMPLETE"] {
        let payload = if verb == "COMPLETE" { " 2\r\nok" } else { "" };
        let answer = alice.ask(format!("TASK {verb} a {}{payload}\r\n", offer.lease()));
        assert!(answer.starts_with("OK a"), "{answer}");
    }
    let operator = &mut broker.connect(&with_token(&broker.bearer()));
    for _ in 0..5 {
        assert_eq!(operator.show(tasks[0])["state"], "completed");
    }
}

#[test]
fn requests_that_wait_are_counted_until_they_are_answered() {
    let Some(broker) = broker(&[("in_flight", 1)]) else { return };
    let mut wire = broker.connect(QUIET);
    let task = wire.submit("jobs", "a");
    wire.send(format!("TASK AWAIT w {task}\r\n"));
    wire.flush();
    let mut other = broker.connect(QUIET);
    let answer = other.ask(format!("TASK SHOW t {task}\r\n"));
    assert!(answer.starts_with("ERR t rate_limited"), "{answer}");
    let operator = &mut broker.connect(&with_token(&broker.bearer()));
    assert!(operator.ask(format!("TASK CANCEL c {task}\r\n")).starts_with("OK c"));
    assert!(wire.expect_line().starts_with("OK w"));
    assert_eq!(other.show(task)["state"], "cancelled");
}

#[test]
fn quotas_of_single_identities_are_set_while_it_runs_and_kept() {
    let Some(mut broker) = broker(&[]) else { return };
    let ann = register(&broker, "ann").0;
    let put = |broker: &Broker, body: &Value| {
        broker.http_put("/api/admin/quotas", &(broker.bearer() + JSON), &body.to_string())
    };
    let mut wire = broker.connect(&with_token(&ann));
    wire.send("SUB a 1\r\nSUB b 2\r\n");
    wire.flush();
    let quotas = json!({"agent:ann": {"subscriptions": 2}});
    put(&broker, &quotas).expect(200, &json!({"status": "updated", "quotas": quotas}));
    wire.send("SUB c 3\r\nPING\r\n");
    wire.expect("-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n");
    let shown = broker.http_get("/api/admin/quotas", &broker.bearer()).json();
    assert_eq!(shown["quotas"], quotas);
    assert_eq!(shown["defaults"]["subscriptions"], 0);
    let used = &shown["usage"]["agent:ann"];
    assert_eq!((&used["connections"], &used["subscriptions"]), (&json!(1), &json!(2)), "{shown}");

    let wrong = put(&broker, &json!({"ann": {"subscriptions": "many"}}));
    assert_eq!(wrong.status, 400, "{wrong:?}");
    assert!(wrong.body.contains("agent:NAME") && wrong.body.contains("whole number"), "{wrong:?}");
    assert_eq!(broker.http_get("/api/admin/quotas", &ann).status, 403);

    broker.kill();
    broker.start_again();
    let is_limited = until(|| {
        let mut wire = broker.connect(&with_token(&ann));
        wire.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPING\r\n");
        (wire.expect_line() != "PONG").then_some(())
    });
    assert!(is_limited.is_some(), "the quota is forgotten");
}
