//! Work that comes again.

use agentcom_protocol::Verb;

use super::fields::{Fields, Range, wrong};
use super::{Invalid, submit};
use crate::core::command::{Command, Missed, Overlap, Schedule, When};
use crate::core::cron::Cron;

/// Most missed times that are made up for one by one.
const MISSED_MAX: u32 = 1_000;

pub(super) fn command(verb: Verb, fields: Fields<'_>) -> Result<Command, Invalid> {
    if verb == Verb::ScheduleList {
        let limit = fields.number("limit", Range::count(1, 1_000))?.unwrap_or(100);
        let limit = usize::try_from(limit).expect("limits are small");
        return Ok(Command::ListSchedules { after: fields.name("after")?, limit });
    }
    let name = fields.needed_name("schedule")?;
    match verb {
        Verb::ScheduleShow => Ok(Command::ShowSchedule { name }),
        Verb::ScheduleRemove => Ok(Command::RemoveSchedule { name }),
        _ => Ok(Command::SetSchedule(Box::new(Schedule {
            name,
            when: when(fields)?,
            spec: submit::spec(fields)?,
            payload: fields.body("payload")?,
            missed: fields.text("missed")?.map_or(Ok(Missed::Once), missed)?,
            overlap: fields.text("overlap")?.map_or(Ok(Overlap::Allow), overlap)?,
            is_paused: fields.flag("paused")?,
        }))),
    }
}

fn when(fields: Fields<'_>) -> Result<When, Invalid> {
    let period_ms = fields.number("every_ms", Range::LIFE)?;
    let offset_ms = fields.number("offset_ms", Range::DELAY)?;
    match (fields.text("cron")?, period_ms) {
        (Some(_), Some(_)) => Err(Invalid::Both { one: "cron".into(), other: "every_ms".into() }),
        (Some(_), None) if offset_ms.is_some() => {
            Err(Invalid::Both { one: "cron".into(), other: "offset_ms".into() })
        }
        // A word has no blanks.
        (Some(text), None) => Cron::parse(&text.replace('_', " "))
            .map(When::Cron)
            .map_err(|error| Invalid::Cron { error }),
        (None, Some(period_ms)) => Ok(When::Every { period_ms, offset_ms: offset_ms.unwrap_or(0) }),
        (None, None) => {
            let allowed = "there, or every_ms, to say when".into();
            Err(Invalid::Missing { field: "cron", allowed })
        }
    }
}

fn missed(found: &str) -> Result<Missed, Invalid> {
    let at_most = |max: &str| max.parse().ok().filter(|max| (1..=MISSED_MAX).contains(max));
    match found.split_once(':') {
        None if found == "once" => Ok(Missed::Once),
        None if found == "skip" => Ok(Missed::Skip),
        Some(("all", max)) if at_most(max).is_some() => {
            Ok(Missed::All(at_most(max).unwrap_or(MISSED_MAX)))
        }
        _ => {
            let allowed = format!("once, skip, or all:number from 1 to {MISSED_MAX}");
            Err(wrong("missed", found, &allowed))
        }
    }
}

fn overlap(found: &str) -> Result<Overlap, Invalid> {
    match found {
        "allow" => Ok(Overlap::Allow),
        "skip" => Ok(Overlap::Skip),
        "replace" => Ok(Overlap::Replace),
        _ => Err(wrong("overlap", found, "allow, skip or replace")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(mut body: Value) -> Result<Schedule, String> {
        (body["schedule"], body["queue"]) = ("s".into(), "q".into());
        match command(Verb::ScheduleSet, Fields::Json(body.as_object().unwrap())) {
            Ok(Command::SetSchedule(schedule)) => Ok(*schedule),
            Ok(other) => panic!("{other:?}"),
            Err(invalid) => Err(invalid.to_string()),
        }
    }

    #[test]
    fn a_schedule_has_a_calendar_or_a_period() {
        for cron in ["0 3 * * *", "0_3_*_*_*"] {
            let when = set(json!({ "cron": cron })).unwrap().when;
            assert!(matches!(when, When::Cron(cron) if cron.as_str() == "0 3 * * *"));
        }
        let when = set(json!({"every_ms": 60000})).unwrap().when;
        assert_eq!(when, When::Every { period_ms: 60_000, offset_ms: 0 });
        for body in [
            json!({}),
            json!({"cron": "0 3 * *"}),
            json!({"cron": "0 3 * * *", "every_ms": 60000}),
            json!({"cron": "0 3 * * *", "offset_ms": 1}),
            json!({"every_ms": 999}),
        ] {
            set(body.clone()).expect_err(&body.to_string());
        }
    }

    #[test]
    fn what_happens_to_missed_times_is_one_of_three_things() {
        let missed = |found: &str| {
            set(json!({"every_ms": 60000, "missed": found})).map(|schedule| schedule.missed)
        };
        assert_eq!(missed("once"), Ok(Missed::Once));
        assert_eq!(missed("skip"), Ok(Missed::Skip));
        assert_eq!(missed("all:10"), Ok(Missed::All(10)));
        for found in ["all", "all:0", "all:1001", "all:x", "never", "once:1"] {
            missed(found).expect_err(found);
        }
    }
}
