//! Holders that wait: for answers, or for the parts that they made of their task.

use serde_json::{Map, Value};

use super::command::{Asked, Asker};
use super::fields::{Fields, Range, wrong};
use super::{Invalid, submit};
use crate::core::command::{
    Action, Command, Generation, LeaseOp, Park, ParkTimeout, Question, Spawn,
};

/// How long the holder stays with the task if nothing is said: as long as somebody at a screen
/// takes to answer.
const HOLD_MS: u64 = 300_000;
/// How long a task may be set aside if nothing is said: a week, in which everybody looks once.
const PARK_MS: u64 = 7 * 86_400_000;

/// What may be said about the wait.
pub(super) const PARK_KEYS: [&str; 5] =
    ["questions", "children", "hold_ms", "park_ms", "on_timeout"];

pub(super) fn park(fields: Fields<'_>, asker: &Asker<'_>) -> Result<Command, Invalid> {
    let action = match fields {
        Fields::Json(_) => waits(fields)?,
        Fields::Words(request) => {
            let map: Map<String, Value> = serde_json::from_slice(request.body)
                .map_err(|error| Invalid::Json { reason: error.to_string() })?;
            check_keys(&map, &PARK_KEYS)?;
            waits(Fields::Json(&map))?
        }
    };
    operation(action, fields, asker)
}

/// What the holder waits for; in words, all of it stands in the body.
fn waits(fields: Fields<'_>) -> Result<Action, Invalid> {
    let on_timeout = match fields.text("on_timeout")? {
        None => ParkTimeout::Fail,
        Some(found) => {
            let known = ParkTimeout::ALL.into_iter().find(|known| known.as_str() == found);
            known.ok_or_else(|| wrong("on_timeout", found, "default, fail, cancel or escalate"))?
        }
    };
    let questions = fields.objects("questions")?;
    Ok(Action::Park(Park {
        questions: questions.iter().map(question).collect::<Result<_, Invalid>>()?,
        children: fields.flag("children")?,
        hold_ms: fields.number("hold_ms", Range::PAUSE)?.unwrap_or(HOLD_MS),
        park_ms: fields.number("park_ms", Range::LIFE)?.unwrap_or(PARK_MS),
        on_timeout,
    }))
}

fn check_keys(map: &Map<String, Value>, known: &[&str]) -> Result<(), Invalid> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(found) => {
            let found = found.chars().take(64).collect();
            Err(Invalid::Unknown { found, allowed: known.join(", ") })
        }
    }
}

fn question(map: &Map<String, Value>) -> Result<Question, Invalid> {
    check_keys(map, &["key", "text", "text_base64", "default", "default_base64"])?;
    let fields = Fields::Json(map);
    let has_default = map.contains_key("default") || map.contains_key("default_base64");
    Ok(Question {
        key: fields.needed_name("key")?,
        text: fields.body("text")?,
        default: has_default.then(|| fields.body("default")).transpose()?,
    })
}

pub(super) fn spawn(fields: Fields<'_>, asker: &Asker<'_>) -> Result<Asked, Invalid> {
    let (children, names) = submit::tasks(&fields.objects("tasks")?)?;
    let end_with_parent = !fields.flag("detach")?;
    let action = Action::Spawn(Spawn { children, end_with_parent });
    Ok(Asked { names, ..Asked::from(operation(action, fields, asker)?) })
}

fn operation(action: Action, fields: Fields<'_>, asker: &Asker<'_>) -> Result<Command, Invalid> {
    let generation = Generation(fields.needed("generation", Range::ID)?);
    Ok(Command::Lease(LeaseOp { session: asker.session, task: fields.task()?, generation, action }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: &Value) -> Result<Question, String> {
        question(body.as_object().unwrap()).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_question_has_a_key_a_text_and_perhaps_a_default() {
        let found = asked(&json!({"key": "color", "text": "which?"})).unwrap();
        assert_eq!((&*found.text, found.default), (&b"which?"[..], None));
        let found = asked(&json!({"key": "color", "text": "", "default": "red"})).unwrap();
        assert_eq!(found.default.as_deref(), Some(&b"red"[..]));
        for body in [json!({"text": "which?"}), json!({"key": "a b"}), json!({"key": 1})] {
            asked(&body).unwrap_err();
        }
        assert!(asked(&json!({"key": "a", "colour": 1})).unwrap_err().contains("colour"));
    }
}
