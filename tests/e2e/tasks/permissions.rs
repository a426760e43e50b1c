//! A verb, and the subject of the same request, are opened by the same permission; and nobody gets
//! the broker to speak where he may not himself.

use agentcom_tests::{Broker, Options, User, Wire};

use super::broker_with;

const ROOT: &str = r#"{"verbose":false,"pedantic":false,"user":"root","pass":"r"}"#;
const METER: &str = r#"{"verbose":false,"pedantic":false,"user":"meter","pass":"m"}"#;
const ROBOT: &str = r#"{"verbose":false,"pedantic":false,"user":"robot","pass":"x"}"#;

/// Root may do everything, the meter no requests at all, the robot nothing but requests.
fn broker() -> Option<Broker> {
    let meter = User::new("meter", "m").publish(&["telemetry.>"], &[]);
    let robot = User::new("robot", "x").publish(&["$AC.API.>"], &[]);
    let root = User::new("root", "r");
    broker_with(Options::default().user(root).user(meter).user(robot))
}

/// A connection that hears whatever is published where nobody but the broker and root may.
fn spy(broker: &Broker) -> Wire {
    let mut spy = broker.connect(ROOT).case("spy");
    spy.send("SUB orders.> 1\r\nSUB $AC.EVENT.TASK.completed 2\r\n");
    spy.flush();
    spy
}

#[test]
fn a_verb_needs_the_permission_of_its_subject() {
    let Some(broker) = broker() else { return };
    let task = broker.connect(ROOT).submit("q", "secret");
    let mut meter = broker.connect(METER);
    meter.expect_declined("TASK SUBMIT t q 0\r\n\r\n", "denied");
    meter.expect_declined(&format!("TASK SHOW t {task}\r\n"), "denied");
    meter.expect_declined("WORKER START t meter\r\n", "denied");
    meter.expect_nothing();
    let mut robot = broker.connect(ROBOT);
    robot.start_worker("robot");
    assert_eq!(robot.offer().payload, b"secret");
}

#[test]
fn the_broker_answers_nowhere_that_the_client_could_not_publish_to() {
    let Some(broker) = broker() else { return };
    let mut spy = spy(&broker);
    let mut robot = broker.connect(ROBOT);
    let body = r#"{"queue":"q"}"#;
    for reply in ["orders.cancel", "$AC.EVENT.TASK.completed", "$AC.API.TASK.SUBMIT"] {
        robot.send(format!("PUB $AC.API.TASK.SUBMIT {reply} {}\r\n{body}\r\n", body.len()));
        robot.expect_error(&format!("Permissions Violation for Publish with Reply of \"{reply}\""));
    }
    let body = r#"{"agent":"robot","deliver":"orders.cancel"}"#;
    robot.send(format!("SUB in 1\r\nPUB $AC.API.WORKER.START in {}\r\n{body}\r\n", body.len()));
    robot.expect_error("Permissions Violation for Publish to \"orders.cancel\"");
    spy.expect_nothing();
}

#[test]
fn where_the_client_listens_it_may_be_answered() {
    let Some(broker) = broker() else { return };
    let mut robot = broker.connect(ROBOT);
    let body = r#"{"queue":"q"}"#;
    robot.send(format!("SUB in.* 1\r\nPUB $AC.API.TASK.SUBMIT in.1 {}\r\n{body}\r\n", body.len()));
    let answer = robot.expect_line();
    assert!(answer.starts_with("MSG in.1 1 ") && answer.contains(r#""task":1"#), "{answer}");
}

#[test]
fn nobody_may_forge_an_event_whatever_his_permissions() {
    let Some(broker) = broker() else { return };
    let mut spy = spy(&broker);
    let mut root = broker.connect(ROOT);
    root.send("PUB $AC.EVENT.TASK.completed 2\r\n{}\r\n");
    root.expect_error("Permissions Violation for Publish to \"$AC.EVENT.TASK.completed\"");
    spy.expect_nothing();
}

#[test]
fn a_second_login_does_not_speak_for_the_agent_of_the_first() {
    let Some(broker) = broker() else { return };
    let mut wire = broker.connect(ROOT);
    wire.start_worker("root");
    wire.handshake(METER);
    broker.connect(ROOT).submit("q", "for root");
    wire.expect_nothing();
}

#[test]
fn a_start_that_is_declined_does_not_silence_the_next() {
    let Some(broker) = broker() else { return };
    let mut robot = broker.connect(ROBOT);
    robot.start_worker("taken");
    let mut root = broker.connect(ROOT);
    root.send("WORKER START 1 taken\r\nWORKER START 2 free can=x\r\n");
    assert!(root.expect_line().starts_with("ERR 1 name_taken "));
    assert!(root.expect_line().starts_with("OK 2 agent=free "));
    let task = broker.connect(ROOT).submit("q needs=x", "");
    assert_eq!(root.offer().task, task);
    robot.expect_nothing();
}

#[test]
fn who_stops_sending_still_hears_the_answers() {
    let Some(broker) = broker() else { return };
    for farewell in ["", "QUIT\r\n"] {
        let mut wire = broker.connect(ROOT).case(farewell);
        wire.send(format!("TASK SUBMIT t q 2\r\nhi\r\n{farewell}"));
        if farewell.is_empty() {
            wire.finish();
        }
        let answer = wire.read_to_end();
        assert!(answer.starts_with(b"OK t task="), "{}", answer.escape_ascii());
    }
}
