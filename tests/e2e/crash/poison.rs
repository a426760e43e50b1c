//! A task that nobody can do is tried as often as was said, not once more and not once less, however
//! often the broker is killed meanwhile (promise R15).

use std::collections::BTreeMap;

use agentcom_tests::{QUIET, Wire};

use super::{broker, kill_and_start};

const TASKS: usize = 1_000;
const TRIES: u64 = 3;
const KILLS: usize = 5;
/// Between two kills: so many failures are acknowledged, and some more are on their way.
const STRIDE: usize = TASKS * TRIES as usize / (KILLS + 1);

/// What was not acknowledged when the broker was killed: failed again, which is no other failure.
fn fail_again(wire: &mut Wire, open: &mut BTreeMap<u64, String>) {
    for lease in std::mem::take(open).into_values() {
        let answer = wire.ask(format!("TASK FAIL f {lease} 2\r\nno\r\n"));
        assert!(answer.starts_with("OK f"), "{lease}: {answer}");
    }
}

#[test]
fn a_poisonous_task_is_tried_as_often_as_was_said() {
    let Some(mut broker) = broker() else { return };
    let mut wire = broker.connect(QUIET);
    let tasks: Vec<u64> =
        (0..TASKS).map(|_| wire.submit(&format!("poison attempts={TRIES}"), "x")).collect();
    let (mut failures, mut kills) = (0, 0);
    // Leases whose failure was not acknowledged, by their task.
    let mut open: BTreeMap<u64, String> = BTreeMap::new();
    while failures < TASKS * TRIES as usize {
        let offers = wire.take("poison consumer=p max=100 wait_ms=10000");
        assert!(!offers.is_empty(), "{failures} failures, and nothing comes");
        let mut batch = String::new();
        for offer in &offers {
            open.insert(offer.task, offer.lease());
            batch.push_str(&format!("TASK FAIL {} {} 2\r\nno\r\n", offer.task, offer.lease()));
        }
        wire.send(&batch);
        let is_last = kills < KILLS && failures + offers.len() > (kills + 1) * STRIDE;
        let heard = if is_last { offers.len() / 2 } else { offers.len() };
        for _ in 0..heard {
            let answer = wire.expect_line();
            let task = answer.strip_prefix("OK ").and_then(|rest| rest.split(' ').next());
            let task = task.and_then(|task| task.parse().ok());
            assert!(task.is_some_and(|task| open.remove(&task).is_some()), "{answer}");
        }
        failures += offers.len();
        if is_last {
            kill_and_start(&mut broker);
            kills += 1;
            wire = broker.connect(QUIET);
            // By this the connection speaks for the same consumer as before.
            assert!(wire.take("nothing consumer=p").is_empty());
            fail_again(&mut wire, &mut open);
        }
    }
    assert_eq!(kills, KILLS);
    for task in tasks {
        let view = wire.show(task);
        let tries = view["errors"].as_array().map(Vec::len);
        assert_eq!(
            (&view["state"], view["attempts"].as_u64(), tries),
            (&"dead".into(), Some(TRIES), Some(TRIES as usize)),
            "{view}"
        );
    }
}
