//! The order in which tasks leave, lane by lane and class by class.

use proptest::prelude::*;

use super::super::command::LeaseLimit;
use super::super::eligible::{Profile, ProfileId};
use super::super::limits::{Order, QueueSettings};
use super::super::record::Phase;
use super::super::task::tests::{row, spec};
use super::*;

fn ready(task: u64, spec: &Arc<Spec>, eligible_ms: u64) -> TaskRow {
    let mut row = row(task, spec, Phase::Ready);
    row.place_ms = eligible_ms + band_offset_ms(spec.band);
    row
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Somebody who has room for everything, and shuns one kind of work.
struct Anyone {
    name: Name,
    shunned: Option<Arc<Spec>>,
}

impl Anyone {
    fn but(shunned: Option<Arc<Spec>>) -> Anyone {
        Anyone { name: name("anyone"), shunned }
    }
}

impl Taker for Anyone {
    fn name(&self) -> &Name {
        &self.name
    }

    fn has_room(&self, _: &Spec) -> bool {
        true
    }

    fn may_take(&self, _: Place, spec: &Spec) -> bool {
        self.shunned.as_deref().is_none_or(|shunned| !std::ptr::eq(shunned, spec))
    }
}

/// A backlog, and an agent that takes from some queues.
struct Stage {
    backlog: Backlog,
    eligible: Eligible,
    agent: ProfileId,
}

impl Stage {
    fn new(queues: &[&str]) -> Stage {
        let mut eligible = Eligible::default();
        let queues = queues.iter().map(|queue| name(queue)).collect();
        let agent = eligible.add_profile(Profile { queues, ..Profile::default() });
        Stage { backlog: Backlog::default(), eligible, agent }
    }

    fn push(&mut self, row: &TaskRow) -> Option<LaneId> {
        self.backlog.push(row, &mut self.eligible)
    }

    fn push_all(&mut self, rows: &[TaskRow]) {
        for row in rows {
            self.push(row);
        }
    }

    fn remove(&mut self, row: &TaskRow) {
        self.backlog.remove(row, &mut self.eligible);
    }

    fn set_fair(&mut self, is_fair: bool, weights: &[(&str, u32)]) {
        let order = if is_fair { Order::Fair } else { Order::Deadline };
        let weights = weights.iter().map(|(key, weight)| (name(key), *weight)).collect();
        let settings = QueueSettings { order, weights, ..QueueSettings::default() };
        self.backlog.set_order(&name("q"), &settings);
    }

    fn best(&self) -> Option<TaskId> {
        self.backlog.best(self.eligible.classes(self.agent), &Anyone::but(None))
    }
}

/// The order in which the tasks leave for an agent that takes from `queues`.
fn check(rows: &[TaskRow], queues: &[&str], expected: &[u64]) {
    let mut stage = Stage::new(queues);
    for row in rows {
        stage.push(row);
    }
    let mut order = Vec::new();
    while let Some(task) = stage.best() {
        stage.remove(rows.iter().find(|row| row.task == task).unwrap());
        order.push(task.0);
    }
    assert_eq!(order, expected);
}

#[test]
fn equal_tasks_leave_in_the_order_of_arrival() {
    let q = spec("q", 2);
    check(&[ready(2, &q, 0), ready(1, &q, 0), ready(3, &q, 0)], &[], &[1, 2, 3]);
}

#[test]
fn a_better_band_overtakes_within_its_offset_and_not_beyond() {
    let (high, urgent) = (spec("q", 1), spec("q", 0));
    check(&[ready(1, &high, 0), ready(2, &urgent, 59_999)], &[], &[2, 1]);
    check(&[ready(1, &high, 0), ready(2, &urgent, 60_001)], &[], &[1, 2]);
}

#[test]
fn a_task_that_comes_back_with_its_old_place_goes_first_again() {
    let q = spec("q", 0);
    check(&[ready(5, &q, 100), ready(1, &q, 3)], &[], &[1, 5]);
}

#[test]
fn a_class_that_does_not_suit_is_not_in_the_way() {
    let (a, b) = (spec("a", 0), spec("b", 0));
    check(&[ready(1, &a, 0), ready(2, &b, 1), ready(3, &a, 2)], &["b"], &[2]);
}

#[test]
fn what_few_suit_is_found_behind_many_others() {
    let mut rows: Vec<TaskRow> =
        (1..200).map(|task| ready(task, &spec(&format!("q{task}"), 0), task)).collect();
    rows.push(ready(200, &spec("mine", 0), 999));
    check(&rows, &["mine"], &[200]);
}

#[test]
fn offsets_never_fall_from_band_to_band() {
    for band in 1..=u8::MAX {
        assert!(band_offset_ms(band) > band_offset_ms(band - 1), "band {band}");
    }
}

#[test]
fn only_the_first_task_of_an_empty_lane_asks_for_agents() {
    let (one, other) = (spec("q", 0), spec("q", 1));
    let mut stage = Stage::new(&[]);
    assert!(stage.push(&ready(1, &one, 0)).is_some());
    assert!(stage.push(&ready(2, &one, 0)).is_none());
    assert!(stage.push(&ready(3, &other, 0)).is_some());
}

#[test]
fn a_closed_queue_gives_nothing_and_keeps_its_order() {
    let q = spec("q", 0);
    let rows = [ready(1, &q, 0), ready(2, &q, 1), ready(3, &q, 2)];
    let mut stage = Stage::new(&[]);
    stage.push(&rows[1]);
    stage.backlog.close(&name("q"));
    assert_eq!(stage.push(&rows[0]), None);
    stage.push(&rows[2]);
    assert_eq!(stage.best(), None);
    stage.remove(&rows[0]);
    assert_eq!(stage.backlog.open(&name("q")).len(), 1);
    assert_eq!(stage.best(), Some(TaskId(2)));
    assert_eq!(stage.backlog.first_of(&name("q"), 9), [TaskId(2), TaskId(3)]);
}

proptest! {
    /// Whatever comes and goes, the best task is the one that a search through all of them finds.
    #[test]
    fn the_best_is_the_best_of_all(
        steps in prop::collection::vec((0u64..60, 0usize..8, prop::bool::ANY), 0..150),
        shunned in 0usize..8,
    ) {
        let specs: Vec<Arc<Spec>> =
            (0..8).map(|kind| spec(&format!("q{}", kind / 2), (kind % 2) as u8)).collect();
        let mut stage = Stage::new(&["q0", "q1", "q3"]);
        let mut inside: Vec<TaskRow> = Vec::new();
        for (task, kind, comes) in steps {
            let position = inside.iter().position(|row| row.task.0 == task);
            match (position, comes) {
                (Some(position), false) => stage.remove(&inside.swap_remove(position)),
                (None, true) => {
                    let row = ready(task, &specs[kind], task * 7 % 50);
                    stage.push(&row);
                    inside.push(row);
                }
                _ => {}
            }
            let suits = |spec: &Arc<Spec>| {
                spec.queue != name("q2") && !Arc::ptr_eq(spec, &specs[shunned])
            };
            let expected = inside.iter().filter(|row| suits(&row.spec)).map(Place::of).min();
            let classes = stage.eligible.classes(stage.agent);
            let anyone = Anyone::but(Some(specs[shunned].clone()));
            let found = stage.backlog.best(classes, &anyone);
            prop_assert_eq!(found, expected.map(|place| place.task));
        }
    }
}

fn limited(queue: &str, limits: &[(&str, u32)]) -> Arc<Spec> {
    let limits = limits.iter().map(|&(limit, max)| LeaseLimit { name: name(limit), max }).collect();
    Arc::new(Spec { limits, ..(*spec(queue, 0)).clone() })
}

#[test]
fn a_reached_limit_blocks_its_lanes_until_a_lease_ends() {
    let (one, two, free) =
        (limited("q", &[("repo", 1)]), limited("r", &[("repo", 2)]), limited("q", &[]));
    let mut stage = Stage::new(&[]);
    stage.push(&ready(1, &one, 0));
    stage.push(&ready(2, &two, 1));
    stage.push(&ready(3, &free, 2));
    stage.backlog.count_grant(&one);
    assert_eq!(stage.best(), Some(TaskId(2)), "two is its own limit");
    stage.backlog.count_grant(&two);
    assert_eq!(stage.best(), Some(TaskId(3)));
    assert_eq!(stage.push(&ready(4, &limited("s", &[("repo", 2)]), 0)), None);
    assert_eq!(stage.backlog.count_end(&two).len(), 2);
    assert_eq!(stage.best(), Some(TaskId(4)));
    assert_eq!(stage.backlog.count_end(&one).len(), 1);
    assert_eq!(stage.best(), Some(TaskId(1)));
}

#[test]
fn a_task_with_two_limits_waits_for_both() {
    let (both, a, b) =
        (limited("q", &[("a", 1), ("b", 1)]), limited("q", &[("a", 1)]), limited("q", &[("b", 1)]));
    let mut stage = Stage::new(&[]);
    stage.backlog.count_lease(&a);
    stage.backlog.count_lease(&b);
    assert_eq!(stage.push(&ready(1, &both, 0)), None);
    assert!(stage.backlog.count_end(&a).is_empty());
    assert_eq!(stage.best(), None);
    assert_eq!(stage.backlog.count_end(&b).len(), 1);
    assert_eq!(stage.best(), Some(TaskId(1)));
}

fn keyed(queue: &str, key: &str) -> Arc<Spec> {
    Arc::new(Spec { key: Some(name(key)), ..(*spec(queue, 0)).clone() })
}

/// The keys of the tasks in the order in which they are granted.
fn shares(stage: &mut Stage, rows: &[TaskRow], count: usize) -> Vec<String> {
    let grant = |_| {
        let task = stage.best().unwrap();
        let row = rows.iter().find(|row| row.task == task).unwrap();
        stage.backlog.count_grant(&row.spec);
        stage.remove(row);
        row.spec.key.as_ref().unwrap().to_string()
    };
    (0..count).map(grant).collect()
}

#[test]
fn keys_of_a_fair_queue_take_turns_however_much_one_has() {
    let (big, small) = (keyed("q", "big"), keyed("q", "small"));
    let mut rows: Vec<TaskRow> = (1..9).map(|task| ready(task, &big, 0)).collect();
    rows.extend((9..12).map(|task| ready(task, &small, 5)));
    for is_fair in [false, true] {
        let mut stage = Stage::new(&[]);
        stage.set_fair(is_fair, &[]);
        stage.push_all(&rows);
        let expected = if is_fair {
            ["big", "small", "big", "small", "big", "small", "big"]
        } else {
            ["big"; 7]
        };
        assert_eq!(shares(&mut stage, &rows, 7), expected);
    }
}

#[test]
fn a_key_of_a_larger_weight_gets_so_much_more() {
    let (big, small) = (keyed("q", "big"), keyed("q", "small"));
    let mut rows: Vec<TaskRow> = (1..20).map(|task| ready(task, &big, 0)).collect();
    rows.extend((20..40).map(|task| ready(task, &small, 5)));
    let mut stage = Stage::new(&[]);
    stage.set_fair(true, &[("big", 3)]);
    stage.push_all(&rows);
    let turns = shares(&mut stage, &rows, 12);
    for (count, _) in turns.iter().enumerate() {
        let granted = |key: &str| turns[..=count].iter().filter(|turn| *turn == key).count() as f64;
        let (big, small) = (granted("big") / 3.0, granted("small"));
        assert!((big - small).abs() <= 1.0 / 3.0 + 1.0, "{turns:?}");
    }
    assert_eq!(turns.iter().filter(|key| *key == "big").count(), 9, "{turns:?}");
    // Other weights count from now on.
    stage.set_fair(true, &[("small", 3)]);
    let turns = shares(&mut stage, &rows, 12);
    assert!(turns.iter().filter(|key| *key == "small").count() >= 8, "{turns:?}");
}

#[test]
fn a_key_that_comes_back_has_saved_nothing_up() {
    let (busy, lazy) = (keyed("q", "busy"), keyed("q", "lazy"));
    let rows: Vec<TaskRow> = (1..100).map(|task| ready(task, &busy, 0)).collect();
    let late: Vec<TaskRow> = (100..110).map(|task| ready(task, &lazy, 9)).collect();
    let mut stage = Stage::new(&[]);
    stage.set_fair(true, &[]);
    stage.push_all(&rows);
    shares(&mut stage, &rows, 50);
    stage.push_all(&late);
    let all: Vec<TaskRow> = rows.iter().chain(&late).cloned().collect();
    let turns = shares(&mut stage, &all, 10);
    let lazy = turns.iter().filter(|key| *key == "lazy").count();
    assert_eq!(lazy, 5, "{turns:?}");
}

#[test]
fn lanes_of_one_key_stay_together_while_others_are_served() {
    let lane_of = |band| {
        let spec = Spec { key: Some(name("slow")), ..Spec::clone(&spec("q", band)) };
        Arc::new(spec)
    };
    let mut stage = Stage::new(&[]);
    stage.set_fair(true, &[]);
    stage.push(&ready(1, &lane_of(1), 0));
    // Others are served meanwhile: nobody was there for the slow key.
    for _ in 0..3 {
        stage.backlog.count_grant(&keyed("q", "quick"));
    }
    stage.push(&ready(2, &lane_of(0), 0));
    assert_eq!(stage.best(), Some(TaskId(2)));
}

#[test]
fn a_queue_can_become_fair_while_work_waits() {
    let (big, small) = (keyed("q", "big"), keyed("q", "small"));
    let mut rows: Vec<TaskRow> = (1..9).map(|task| ready(task, &big, 0)).collect();
    rows.push(ready(9, &small, 5));
    let mut stage = Stage::new(&[]);
    stage.push_all(&rows);
    shares(&mut stage, &rows, 2);
    stage.set_fair(true, &[]);
    assert_eq!(shares(&mut stage, &rows, 2), ["big", "small"]);
    stage.set_fair(false, &[]);
    assert_eq!(stage.best(), Some(TaskId(4)));
}
