//! The arrows of a task, one at a time.

use super::*;
use crate::core::command::Patience;

const AT: Moment = Moment { tick: Tick(1_000), virtual_ms: 1_000, wall_ms: 5_000 };

pub(in crate::core) fn spec(queue: &str, band: u8) -> Arc<Spec> {
    Arc::new(Spec {
        rates: Arc::default(),
        placement: None,
        has_headers: false,
        queue: Name::parse(queue).unwrap(),
        key: None,
        needs: Arc::default(),
        labels: Arc::default(),
        limits: Arc::default(),
        band,
        attempts_max: 1,
        patience: Patience {
            lease_ms: 30_000,
            attempt_ms: 3_600_000,
            progress_ms: None,
            queue_ms: None,
            total_ms: None,
        },
    })
}

pub(in crate::core) fn row(task: u64, spec: &Arc<Spec>, phase: Phase) -> TaskRow {
    TaskRow {
        task: TaskId(task),
        spec: spec.clone(),
        phase,
        generation: Generation(0),
        place_ms: 0,
        submitted_ms: 0,
        details: None,
    }
}

fn task(attempts_max: u32) -> Task {
    let spec = Spec { attempts_max, ..(*spec("q", 1)).clone() };
    Task::submit(TaskId(1), Arc::new(spec), AT)
}

fn grant(task: &mut Task, agent: &str) {
    let agent = Name::parse(agent).unwrap();
    let holder = Holder { agent, identity: "login".into(), fixed_ms: None };
    task.grant(Arc::new(holder), 10_000, AT);
}

fn fail(task: &mut Task, error: &str, retry: Retry) {
    task.fail(&Failed { error, retry, reason: DeadReason::Failed }, &no_backoff(), AT);
}

fn no_backoff() -> CoreConfig {
    let mut config = CoreConfig::default();
    config.backoff.base_ms = 0;
    config
}

const AGAIN: Retry = Retry::Backoff { at_least_ms: 0 };

fn dead_reason(task: &Task) -> Option<DeadReason> {
    match task.row.end()?.how {
        Ending::Dead(reason) => Some(reason),
        _ => None,
    }
}

#[test]
fn generation_rises_on_grant_and_revocation_and_not_on_the_holders_own_end() {
    let mut task = task(9);
    grant(&mut task, "a");
    assert_eq!(task.row.generation, Generation(1));
    task.expire_offer(&no_backoff(), AT);
    assert_eq!(task.row.generation, Generation(2));
    grant(&mut task, "a");
    task.accept(AT);
    assert_eq!(task.row.generation, Generation(3));
    task.complete(AT);
    assert_eq!(task.row.generation, Generation(3));
}

#[test]
fn a_retry_waits_for_the_longer_of_back_off_and_the_agents_wish() {
    let mut task = task(9);
    grant(&mut task, "a");
    let retry = Retry::Backoff { at_least_ms: 777_000 };
    task.fail(
        &Failed { error: "e", retry, reason: DeadReason::Failed },
        &CoreConfig::default(),
        AT,
    );
    let wait = Wait::For { delay_ms: 777_000, anchor_ms: 5_000, keeps_place: false };
    assert_eq!(task.row.phase, Phase::Scheduled(Box::new(wait)));
    assert_eq!(task.soonest(), Some((Tick(778_000), Due::Start)));
    assert_eq!(task.row.generation, Generation(2));
}

#[test]
fn the_last_attempt_is_dead_and_keeps_its_generation() {
    let mut task = task(2);
    grant(&mut task, "a");
    fail(&mut task, "one", AGAIN);
    assert_eq!(task.row.phase, Phase::Ready);
    grant(&mut task, "a");
    fail(&mut task, "two", AGAIN);
    assert_eq!(dead_reason(&task), Some(DeadReason::Failed));
    assert_eq!(task.row.generation, Generation(3));
    let errors: Vec<&str> =
        task.row.details().failures.iter().map(|failure| &*failure.error).collect();
    assert_eq!(errors, ["one", "two"]);
}

#[test]
fn time_outs_count_as_attempts_and_always_raise_the_generation() {
    let mut task = task(2);
    for (generation, dead) in [(2, None), (4, Some(DeadReason::Timeout))] {
        grant(&mut task, "a");
        task.accept(AT);
        task.time_out("slow", &no_backoff(), AT);
        assert_eq!(task.row.generation, Generation(generation));
        assert_eq!(dead_reason(&task), dead);
    }
}

#[test]
fn lost_and_released_work_keeps_its_place_and_counts_no_attempt() {
    let mut task = task(1);
    let place = task.row.place_ms;
    let later = Moment { tick: Tick(9_999), virtual_ms: 9_999, wall_ms: 9_999 };
    grant(&mut task, "a");
    task.accept(AT);
    task.lose(&CoreConfig::default(), later);
    grant(&mut task, "a");
    task.release(0, later);
    let details = task.row.details();
    assert_eq!((details.lost, details.releases, details.attempts), (1, 1, 0));
    assert_eq!(task.row.place_ms, place);
    grant(&mut task, "a");
    task.release(50, later);
    task.due(later);
    assert_eq!(task.row.place_ms, place);
}

#[test]
fn each_limit_ends_the_task_at_its_count_and_not_before() {
    let config = CoreConfig { offers_max: 3, lost_max: 3, declines_max: 3, ..no_backoff() };
    let check = |end: fn(&mut Task, &CoreConfig), reason| {
        let mut task = task(9);
        for count in 1..=3 {
            assert_eq!(task.row.phase, Phase::Ready, "after {} of 3", count - 1);
            grant(&mut task, &format!("agent-{count}"));
            end(&mut task, &config);
        }
        assert_eq!(dead_reason(&task), Some(reason));
    };
    check(|task, config| task.expire_offer(config, AT), DeadReason::Lost);
    check(|task, config| task.decline(None, config, AT), DeadReason::Rejected);
    let lose = |task: &mut Task, config: &CoreConfig| {
        task.accept(AT);
        task.lose(config, AT);
    };
    check(lose, DeadReason::Lost);
}

#[test]
fn no_retry_is_planned_beyond_the_tasks_total_time() {
    let mut spec = (*spec("q", 1)).clone();
    (spec.attempts_max, spec.patience.total_ms) = (9, Some(1_000));
    let mut task = Task::submit(TaskId(1), Arc::new(spec), AT);
    grant(&mut task, "a");
    fail(&mut task, "e", Retry::In(1_000));
    assert_eq!(task.row.state(), State::Scheduled);
    task.due(AT);
    grant(&mut task, "a");
    fail(&mut task, "e", Retry::In(1_001));
    assert_eq!(dead_reason(&task), Some(DeadReason::Deadline));
}

#[test]
fn failures_are_bounded_in_number_and_old_ones_in_length() {
    let mut task = task(99);
    for attempt in 0..FAILURES_MAX + 2 {
        grant(&mut task, "a");
        fail(&mut task, &format!("{attempt}{}", "x".repeat(ERROR_BYTES_MAX)), AGAIN);
    }
    let failures = &task.row.details().failures;
    assert_eq!(failures.len(), FAILURES_MAX);
    assert!(failures[0].error.starts_with('2'), "the oldest go first");
    let lengths: Vec<usize> = failures.iter().map(|failure| failure.error.len()).collect();
    assert_eq!(lengths[FAILURES_MAX - 2..], [OLD_ERROR_BYTES_MAX, ERROR_BYTES_MAX]);
}

#[test]
fn a_long_error_is_cut_between_characters() {
    let text = "ä".repeat(ERROR_BYTES_MAX);
    assert_eq!(truncated(&text, ERROR_BYTES_MAX).len(), ERROR_BYTES_MAX);
    assert_eq!(truncated(&format!("x{text}"), ERROR_BYTES_MAX).len(), ERROR_BYTES_MAX - 1);
    assert_eq!(truncated("short", ERROR_BYTES_MAX), "short");
}

/// What a million waiting tasks cost is mostly this.
#[test]
fn a_waiting_task_is_small() {
    assert_eq!(size_of::<Task>(), 72);
    assert_eq!(size_of::<Option<Task>>(), 72);
}
