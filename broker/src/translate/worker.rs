//! An agent offers its hands.

use serde_json::Value;

use super::command::Asker;
use super::fields::{Fields, Item, Range, wrong};
use super::{Invalid, labels, limits};
use crate::core::command::{Attach, Command, Generation, TaskId};

/// One task after the other, if nothing is said.
const CREDIT: u64 = 1;
/// Most leases of one agent.
const CREDIT_MAX: u64 = 1_000;

pub(super) fn start(fields: Fields<'_>, asker: &Asker<'_>) -> Result<Command, Invalid> {
    let credit = fields.number("credit", Range::count(1, CREDIT_MAX))?.unwrap_or(CREDIT);
    let agent = fields.needed_name("agent")?;
    asker.check_speaker("agent", &agent)?;
    Ok(Command::Attach(Attach {
        session: asker.session,
        agent,
        identity: asker.identity.into(),
        capabilities: fields.names("can")?,
        labels: labels::owned(fields)?,
        capacity: limits::capacity(fields)?,
        queues: fields.names("queues")?,
        credit: u32::try_from(credit).expect("checked against CREDIT_MAX"),
        holding: holding(fields)?,
    }))
}

/// The resume list: `17:3`, or `{"task":17,"generation":3}`.
fn holding(fields: Fields<'_>) -> Result<Vec<(TaskId, Generation)>, Invalid> {
    let items = fields.list("holding")?;
    let lease = |item: Item<'_>| match item {
        Item::Word(word) => {
            let lease = word.split_once(':').and_then(|(task, generation)| {
                Some((TaskId(task.parse().ok()?), Generation(generation.parse().ok()?)))
            });
            lease.ok_or_else(|| {
                wrong("holding", word, "a list of task:generation, such as 17:3,18:1")
            })
        }
        Item::Json(value) => {
            let number = |key: &str| value.get(key).and_then(Value::as_u64);
            let is_whole = value.as_object().is_some_and(|fields| fields.len() == 2);
            match (number("task"), number("generation")) {
                (Some(task), Some(generation)) if is_whole => {
                    Ok((TaskId(task), Generation(generation)))
                }
                _ => Err(wrong(
                    "holding",
                    &value.to_string(),
                    "an array of objects such as {\"task\":17,\"generation\":3}",
                )),
            }
        }
    };
    items.into_iter().map(lease).collect()
}

#[cfg(test)]
mod tests {
    use agentcom_protocol::{Request, Verb};
    use serde_json::json;

    use super::*;

    fn of_words(list: &str) -> Result<Vec<(u64, u64)>, String> {
        let request = Request {
            verb: Verb::WorkerStart,
            tag: "1",
            arguments: vec!["alice"],
            options: vec![("holding", list)],
            body: b"",
        };
        plain(holding(Fields::Words(&request)))
    }

    fn of_json(list: Value) -> Result<Vec<(u64, u64)>, String> {
        let body = json!({ "holding": list });
        plain(holding(Fields::Json(body.as_object().unwrap())))
    }

    fn plain(found: Result<Vec<(TaskId, Generation)>, Invalid>) -> Result<Vec<(u64, u64)>, String> {
        let leases = found.map_err(|invalid| invalid.to_string())?;
        Ok(leases.into_iter().map(|(task, generation)| (task.0, generation.0)).collect())
    }

    #[test]
    fn a_resume_list_is_read_in_both_spellings() {
        let both = Ok(vec![(17, 3), (18, 1)]);
        assert_eq!(of_words("17:3,18:1"), both);
        let list = json!([{"task": 17, "generation": 3}, {"task": 18, "generation": 1}]);
        assert_eq!(of_json(list), both);
        assert_eq!(of_words(""), Ok(vec![]));
        assert_eq!(of_json(json!([])), Ok(vec![]));
    }

    #[test]
    fn what_is_no_lease_is_refused_with_an_example() {
        for list in ["17", "17:", ":3", "17:3:1", "a:b", "17:-1", "17:18446744073709551616"] {
            let sentence = of_words(list).unwrap_err();
            assert!(sentence.contains(list) && sentence.contains("17:3,18:1"), "{sentence}");
        }
        for item in [json!(17), json!("17:3"), json!({"task": 17}), json!({"task": -1})] {
            of_json(json!([item])).unwrap_err();
        }
        of_json(json!([{"task": 17, "generation": 3, "x": 1}])).unwrap_err();
        of_json(json!("17:3")).unwrap_err();
    }
}
