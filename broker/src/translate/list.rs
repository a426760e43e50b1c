//! Lists of tasks.

use agentcom_protocol::Verb;

use super::Invalid;
use super::fields::{Fields, Range, wrong};
use crate::core::command::{Command, DeadReason, List, State, TaskId};
use crate::core::record::Shelf;

/// Tasks of one list, if nothing is said, and at most.
const LIST: (u64, u64) = (100, 1_000);

pub(super) fn command(verb: Verb, fields: Fields<'_>) -> Result<Command, Invalid> {
    let limit = fields.number("limit", Range::count(1, LIST.1))?.unwrap_or(LIST.0);
    let (shelf, state, reason) = match verb {
        Verb::DeadList => (Shelf::Dead, None, fields.text("reason")?.map(reason).transpose()?),
        _ => {
            let state = fields.text("state")?.map(state).transpose()?;
            (shelf(state, fields.flag("done")?)?, state, None)
        }
    };
    Ok(Command::List(List {
        shelf,
        queue: fields.name("queue")?,
        state,
        reason,
        after: fields.number("after", Range::ID)?.map(TaskId),
        limit: usize::try_from(limit).expect("limits are small"),
        has_bodies: false,
    }))
}

/// Where tasks in that state are; open ones if nothing is said.
fn shelf(state: Option<State>, done: bool) -> Result<Shelf, Invalid> {
    match state {
        None if done => Ok(Shelf::Done),
        Some(State::Completed | State::Cancelled) => Ok(Shelf::Done),
        Some(State::Dead) if !done => Ok(Shelf::Dead),
        Some(state) if done => {
            let allowed = "completed or cancelled together with done";
            Err(wrong("state", state.as_str(), allowed))
        }
        _ => Ok(Shelf::Open),
    }
}

fn state(found: &str) -> Result<State, Invalid> {
    let known = State::ALL.into_iter().find(|state| state.as_str() == found);
    known.ok_or_else(|| wrong("state", found, &one_of(&State::ALL.map(State::as_str))))
}

fn reason(found: &str) -> Result<DeadReason, Invalid> {
    let known = DeadReason::ALL.into_iter().find(|reason| reason.as_str() == found);
    known.ok_or_else(|| wrong("reason", found, &one_of(&DeadReason::ALL.map(DeadReason::as_str))))
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shelf_of(body: &Value) -> Result<Shelf, String> {
        match command(Verb::TaskList, Fields::Json(body.as_object().unwrap())) {
            Ok(Command::List(list)) => Ok(list.shelf),
            Ok(other) => panic!("{other:?}"),
            Err(invalid) => Err(invalid.to_string()),
        }
    }

    #[test]
    fn a_state_says_where_to_look() {
        assert_eq!(shelf_of(&json!({})), Ok(Shelf::Open));
        assert_eq!(shelf_of(&json!({"state": "running"})), Ok(Shelf::Open));
        assert_eq!(shelf_of(&json!({"done": true})), Ok(Shelf::Done));
        assert_eq!(shelf_of(&json!({"state": "cancelled"})), Ok(Shelf::Done));
        assert_eq!(shelf_of(&json!({"state": "dead"})), Ok(Shelf::Dead));
        shelf_of(&json!({"state": "running", "done": true})).unwrap_err();
        shelf_of(&json!({"state": "asleep"})).unwrap_err();
    }
}
