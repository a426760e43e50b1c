//! A task to keep, and many of them at once.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::after::{self, Names};
use super::command::{Asked, TaskNames};
use super::fields::{Fields, Range, name, wrong};
use super::usual::Usual;
use super::{Invalid, headers, json, labels, limits, placement};
use crate::core::command::{Command, Dedup, DedupMode, Name, Patience, Spec, Start, Submit};
use agentcom_protocol::{Request, Verb};

/// Priorities by word. Any number from 0 to 255 is a priority too; lower goes first.
const PRIORITIES: [(&str, u8); 4] = [("urgent", 0), ("high", 1), ("normal", 2), ("low", 3)];
/// What a task gets when nothing else is said.
const PRIORITY: u8 = 2;
/// Tries that a task gets when nothing else is said.
const ATTEMPTS: u32 = 3;
const ATTEMPTS_MAX: u64 = 100;
/// Three heart-beats of ten seconds may be missed.
const LEASE_MS: u64 = 30_000;
/// Longer than most work takes, and short enough that work that hangs is noticed the same day.
const ATTEMPT_MS: u64 = 3_600_000;
/// How long a key is remembered when nothing is said: a day, in which whoever was unsure whether
/// its submit arrived has asked again.
const DEDUP_MS: u64 = 86_400_000;
/// A debounced task waits for so many silences at most when nothing is said.
const DEBOUNCES: u64 = 10;

/// The task that a request describes.
pub(super) fn submit(fields: Fields<'_>) -> Result<Submit, Invalid> {
    submit_among(fields, &Names::new(), || Ok(Arc::new(spec(fields)?)))
}

/// The task that a request in words describes.
pub(super) fn submit_usual(request: &Request<'_>, usual: &mut Usual) -> Result<Submit, Invalid> {
    submit_among(Fields::Words(request), &Names::new(), || usual.spec(request))
}

/// `TASK BATCH`: a JSON array of tasks, which may have names for each other.
pub(super) fn batch(parsed: &[Map<String, Value>]) -> Result<Asked, Invalid> {
    let (submits, names) = tasks(parsed)?;
    Ok(Asked { command: Command::SubmitBatch(submits), deliver: None, names })
}

/// Tasks that may name each other, with their names.
pub(super) fn tasks(parsed: &[Map<String, Value>]) -> Result<(Vec<Submit>, TaskNames), Invalid> {
    let at = |position: usize| {
        move |error| Invalid::InBatch { position: position + 1, error: Box::new(error) }
    };
    let mut names = Names::with_capacity(parsed.len());
    let mut of_tasks: Vec<Option<Name>> = Vec::with_capacity(parsed.len());
    for (position, task) in parsed.iter().enumerate() {
        json::check_keys(Verb::TaskSubmit, task, &["name"]).map_err(at(position))?;
        let own = Fields::Json(task).name("name").map_err(at(position))?;
        if let Some(own) = &own
            && names.insert(own.clone(), position).is_some()
        {
            let error = wrong("name", own.as_str(), "a name that no other task of the batch has");
            return Err(at(position)(error));
        }
        of_tasks.push(own);
    }
    let submits = parsed.iter().enumerate().map(|(position, task)| {
        let fields = Fields::Json(task);
        submit_among(fields, &names, || Ok(Arc::new(spec(fields)?))).map_err(at(position))
    });
    Ok((submits.collect::<Result<_, Invalid>>()?, of_tasks.into()))
}

/// What a task has in common with others of its kind.
pub(super) fn spec(fields: Fields<'_>) -> Result<Spec, Invalid> {
    Ok(Spec {
        queue: fields.needed_name("queue")?,
        key: fields.name("key")?,
        needs: fields.names("needs")?.into(),
        labels: labels::tests(fields)?.into(),
        limits: limits::limits(fields)?.into(),
        rates: limits::rates(fields)?.into(),
        placement: placement::placement(fields)?.map(Arc::new),
        band: band(fields)?.unwrap_or(PRIORITY),
        attempts_max: attempts(fields)?.unwrap_or(ATTEMPTS),
        patience: Patience {
            lease_ms: fields.number("lease_ms", Range::SPAN)?.unwrap_or(LEASE_MS),
            attempt_ms: fields.number("attempt_ms", Range::SPAN)?.unwrap_or(ATTEMPT_MS),
            progress_ms: fields.number("progress_ms", Range::SPAN)?,
            queue_ms: fields.number("queue_ms", Range::LIFE)?,
            total_ms: fields.number("total_ms", Range::LIFE)?,
        },
        has_headers: false,
    })
}

/// A task that may name others, whose spec, but for headers, is found by `spec`.
fn submit_among(
    fields: Fields<'_>,
    names: &Names,
    spec: impl FnOnce() -> Result<Arc<Spec>, Invalid>,
) -> Result<Submit, Invalid> {
    let headers = headers::headers(fields)?;
    let mut spec = spec()?;
    if headers.is_some() {
        Arc::make_mut(&mut spec).has_headers = true;
    }
    let start = start(fields)?.unwrap_or_default();
    let dedup = dedup(fields)?;
    if let (Some(Dedup { mode: DedupMode::Debounce { .. }, .. }), false) =
        (&dedup, start == Start::Now)
    {
        return Err(Invalid::Both {
            one: "dedup_mode=debounce".into(),
            other: "a time to start".into(),
        });
    }
    let after = after::edges(fields, names)?;
    Ok(Submit { spec, payload: fields.body("payload")?, headers, start, dedup, after })
}

/// Attempts, if they are given.
pub(super) fn attempts(fields: Fields<'_>) -> Result<Option<u32>, Invalid> {
    let attempts = fields.number("attempts", Range::count(1, ATTEMPTS_MAX))?;
    Ok(attempts.map(|found| u32::try_from(found).expect("checked against ATTEMPTS_MAX")))
}

/// A priority, if one is given.
pub(super) fn band(fields: Fields<'_>) -> Result<Option<u8>, Invalid> {
    fields.word("priority")?.map(|found| priority(&found)).transpose()
}

fn priority(found: &str) -> Result<u8, Invalid> {
    let word = PRIORITIES.iter().find(|(word, _)| *word == found).map(|&(_, band)| band);
    word.or_else(|| found.parse().ok()).ok_or_else(|| {
        wrong("priority", found, "urgent, high, normal, low, or a number from 0 to 255")
    })
}

/// When it is to start, if that is given.
pub(super) fn start(fields: Fields<'_>) -> Result<Option<Start>, Invalid> {
    let delay_ms = fields.number("delay_ms", Range::DELAY)?;
    match (delay_ms, fields.number("at_ms", Range::WALL)?) {
        (None, None) => Ok(None),
        (Some(delay_ms), None) => Ok(Some(Start::In(delay_ms))),
        (None, Some(at_ms)) => Ok(Some(Start::At(at_ms))),
        (Some(_), Some(_)) => Err(Invalid::Both { one: "delay_ms".into(), other: "at_ms".into() }),
    }
}

fn dedup(fields: Fields<'_>) -> Result<Option<Dedup>, Invalid> {
    let key = fields.text("dedup")?;
    let mode = fields.text("dedup_mode")?;
    let window_ms = fields.number("dedup_ms", Range::WINDOW)?;
    let longest_ms = fields.number("debounce_max_ms", Range::WINDOW)?;
    let Some(key) = key else {
        if mode.is_some() || window_ms.is_some() || longest_ms.is_some() {
            let allowed = "the key that the other options are about".into();
            return Err(Invalid::Missing { field: "dedup", allowed });
        }
        return Ok(None);
    };
    let mode = mode.unwrap_or("return");
    if let (Some(found), true) = (longest_ms, mode != "debounce") {
        return Err(wrong("debounce_max_ms", &found.to_string(), "used with debounce only"));
    }
    let window_or = |default: u64| window_ms.unwrap_or(default);
    let unlimited = |mode: DedupMode| match window_ms {
        None => Ok(mode),
        Some(found) => {
            let allowed = "used with return, reject and debounce only";
            Err(wrong("dedup_ms", &found.to_string(), allowed))
        }
    };
    let mode = match mode {
        "return" => DedupMode::Return(window_or(DEDUP_MS)),
        "reject" => DedupMode::Reject(window_or(DEDUP_MS)),
        "replace" => unlimited(DedupMode::Replace)?,
        "until_done" => unlimited(DedupMode::UntilDone)?,
        "while_running" => unlimited(DedupMode::WhileRunning)?,
        "debounce" => debounce(window_ms, longest_ms)?,
        found => {
            let allowed = "return, reject, replace, debounce, until_done or while_running";
            return Err(wrong("dedup_mode", found, allowed));
        }
    };
    Ok(Some(Dedup { key: name("dedup", key)?, mode }))
}

fn debounce(delay_ms: Option<u64>, longest_ms: Option<u64>) -> Result<DedupMode, Invalid> {
    let Some(delay_ms) = delay_ms else {
        let allowed = "the silence that a debounced task waits for, in milliseconds".into();
        return Err(Invalid::Missing { field: "dedup_ms", allowed });
    };
    let max_ms = longest_ms.unwrap_or((delay_ms * DEBOUNCES).min(Range::WINDOW.max));
    if max_ms < delay_ms {
        let allowed = format!("at least the {delay_ms} of dedup_ms");
        return Err(wrong("debounce_max_ms", &max_ms.to_string(), &allowed));
    }
    Ok(DedupMode::Debounce { delay_ms, max_ms })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::command::{After, AfterEnd, AfterTask, TaskId};

    fn parsed(mut body: Value) -> Result<Submit, String> {
        body["queue"] = "q".into();
        submit(Fields::Json(body.as_object().unwrap())).map_err(|invalid| invalid.to_string())
    }

    fn mode(body: Value) -> Result<DedupMode, String> {
        parsed(body).map(|submit| submit.dedup.expect("a key").mode)
    }

    #[test]
    fn a_task_that_says_nothing_has_the_defaults() {
        let found = parsed(json!({})).unwrap();
        assert_eq!((found.spec.band, found.spec.attempts_max), (2, 3));
        let Patience { lease_ms, attempt_ms, progress_ms, queue_ms, total_ms } =
            found.spec.patience;
        assert_eq!((lease_ms, attempt_ms), (30_000, 3_600_000));
        assert_eq!((progress_ms, queue_ms, total_ms), (None, None, None));
        assert_eq!((found.start, found.dedup, found.after), (Start::Now, None, vec![]));
    }

    #[test]
    fn a_start_is_a_delay_or_a_time_and_not_both() {
        assert_eq!(parsed(json!({"delay_ms": 5})).unwrap().start, Start::In(5));
        assert_eq!(parsed(json!({"at_ms": 5})).unwrap().start, Start::At(5));
        let both = parsed(json!({"at_ms": 5, "delay_ms": 5})).unwrap_err();
        assert_eq!(both, "give delay_ms or at_ms, not both");
    }

    #[test]
    fn every_mode_of_a_key_has_its_own_times() {
        let day = 86_400_000;
        for (body, expected) in [
            (json!({}), DedupMode::Return(day)),
            (json!({"dedup_ms": 1000}), DedupMode::Return(1000)),
            (json!({"dedup_mode": "reject"}), DedupMode::Reject(day)),
            (json!({"dedup_mode": "replace"}), DedupMode::Replace),
            (json!({"dedup_mode": "until_done"}), DedupMode::UntilDone),
            (json!({"dedup_mode": "while_running"}), DedupMode::WhileRunning),
            (
                json!({"dedup_mode": "debounce", "dedup_ms": 2000}),
                DedupMode::Debounce { delay_ms: 2000, max_ms: 20_000 },
            ),
            (
                json!({"dedup_mode": "debounce", "dedup_ms": 2000, "debounce_max_ms": 2000}),
                DedupMode::Debounce { delay_ms: 2000, max_ms: 2000 },
            ),
        ] {
            let mut body = body;
            body["dedup"] = "k".into();
            assert_eq!(mode(body.clone()), Ok(expected), "{body}");
        }
        for body in [
            json!({"dedup": "k", "dedup_mode": "sometimes"}),
            json!({"dedup": "k", "dedup_mode": "debounce"}),
            json!({"dedup": "k", "dedup_mode": "replace", "dedup_ms": 1000}),
            json!({"dedup": "k", "debounce_max_ms": 1000}),
            json!({"dedup": "k", "dedup_mode": "debounce", "dedup_ms": 2000,
                "debounce_max_ms": 1999}),
            json!({"dedup": "k", "dedup_mode": "debounce", "dedup_ms": 2000, "delay_ms": 5}),
            json!({"dedup_mode": "reject"}),
            json!({"dedup": "a b"}),
        ] {
            parsed(body.clone()).expect_err(&body.to_string());
        }
    }

    fn objects(body: &Value) -> Vec<Map<String, Value>> {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn the_tasks_of_a_batch_may_wait_for_each_other_by_name() {
        let body = json!([
            {"queue": "q", "name": "build", "payload": "b"},
            {"queue": "q", "after": ["build", {"task": 17, "on": "any"}]},
        ]);
        let Asked { command, names, .. } = batch(&objects(&body)).unwrap();
        let Command::SubmitBatch(tasks) = command else { panic!("{command:?}") };
        let after = [
            After { task: AfterTask::InBatch(0), on: AfterEnd::SuccessElseBlock },
            After { task: AfterTask::Kept(TaskId(17)), on: AfterEnd::Any },
        ];
        assert_eq!(tasks[1].after, after);
        assert_eq!(names.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_mistake_in_a_batch_says_in_which_task() {
        for (body, expected) in [
            (json!([{"queue": "q"}, {}]), "number 2 of the batch: queue is missing"),
            (json!([{"queue": "q", "colour": 1}]), "number 1 of the batch: there is no field"),
            (
                json!([{"queue": "q", "name": "a"}, {"queue": "q", "name": "a"}]),
                "number 2 of the batch: name is a",
            ),
            (json!([{"queue": "q", "after": ["b"]}]), "number 1 of the batch: after is \"b\""),
        ] {
            let sentence = batch(&objects(&body)).unwrap_err().to_string();
            assert!(sentence.starts_with(expected), "{sentence}");
        }
    }
}
