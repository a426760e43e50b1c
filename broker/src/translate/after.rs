//! Edges: which tasks have to end before this one may begin, and what if they end badly.

use hashbrown::HashMap;
use serde_json::{Map, Value};

use super::Invalid;
use super::fields::{Fields, Item, wrong};
use crate::core::command::{After, AfterEnd, AfterTask, Name, TaskId};

/// Positions of the named tasks of a batch.
pub(super) type Names = HashMap<Name, usize>;

const WORDS: &str = "a list of tasks, each alone or with :any, :block, :cancel or :fail behind it";
const JSON: &str =
    "an array of numbers of tasks, names of the batch, or objects with task, on and else";

/// The edges of a task. `names` are those of its batch; none outside of one.
pub(super) fn edges(fields: Fields<'_>, names: &Names) -> Result<Vec<After>, Invalid> {
    let items = fields.list("after")?;
    items.into_iter().map(|item| edge(item, names)).collect()
}

fn edge(item: Item<'_>, names: &Names) -> Result<After, Invalid> {
    match item {
        Item::Word(word) => {
            let (task, end) = word.split_once(':').unwrap_or((word, "block"));
            let task = task.parse().ok().map(|task| AfterTask::Kept(TaskId(task)));
            match (task, end_of(end)) {
                (Some(task), Some(on)) => Ok(After { task, on }),
                _ => Err(wrong("after", word, WORDS)),
            }
        }
        Item::Json(Value::Object(fields)) => object(fields, names),
        Item::Json(value) => {
            Ok(After { task: named(value, names)?, on: AfterEnd::SuccessElseBlock })
        }
    }
}

fn object(fields: &Map<String, Value>, names: &Names) -> Result<After, Invalid> {
    let refuse = || wrong("after", &Value::Object(fields.clone()).to_string(), JSON);
    if fields.keys().any(|key| !["task", "on", "else"].contains(&key.as_str())) {
        return Err(refuse());
    }
    let task = named(fields.get("task").ok_or_else(refuse)?, names)?;
    let text = |key: &str, default: &'static str| match fields.get(key) {
        None | Some(Value::Null) => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong("after", &other.to_string(), ENDS)),
    };
    let on = match (text("on", "success")?.as_str(), text("else", "block")?.as_str()) {
        ("any", "block") => AfterEnd::Any,
        ("success", end) if end != "any" => end_of(end).ok_or_else(|| wrong("after", end, ENDS))?,
        (on, end) => return Err(wrong("after", &format!("on {on} else {end}"), ENDS)),
    };
    Ok(After { task, on })
}

const ENDS: &str = "on any, or on success with else block, cancel or fail";

/// A number of a task, or a name of the batch.
fn named(value: &Value, names: &Names) -> Result<AfterTask, Invalid> {
    let found = match value {
        Value::Number(number) => number.as_u64().map(|task| AfterTask::Kept(TaskId(task))),
        Value::String(text) => {
            let position = Name::parse(text).ok().and_then(|name| names.get(&name).copied());
            position.map(AfterTask::InBatch)
        }
        _ => None,
    };
    found.ok_or_else(|| wrong("after", &value.to_string(), JSON))
}

fn end_of(word: &str) -> Option<AfterEnd> {
    match word {
        "any" => Some(AfterEnd::Any),
        "block" => Some(AfterEnd::SuccessElseBlock),
        "cancel" => Some(AfterEnd::SuccessElseCancel),
        "fail" => Some(AfterEnd::SuccessElseFail),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(found: Result<After, Invalid>) -> String {
        match found {
            Ok(After { task: AfterTask::Kept(task), on }) => format!("{} {on:?}", task.0),
            Ok(After { task: AfterTask::InBatch(at), on }) => format!("#{at} {on:?}"),
            Err(invalid) => invalid.to_string(),
        }
    }

    fn of_json(value: &Value) -> String {
        let names = Names::from_iter([(Name::parse("build").unwrap(), 3)]);
        shown(edge(Item::Json(value), &names))
    }

    #[test]
    fn an_edge_in_words_names_a_task_and_what_to_do_if_it_ends_badly() {
        for (word, edge_) in [
            ("17", "17 SuccessElseBlock"),
            ("17:block", "17 SuccessElseBlock"),
            ("17:any", "17 Any"),
            ("17:cancel", "17 SuccessElseCancel"),
            ("17:fail", "17 SuccessElseFail"),
        ] {
            assert_eq!(shown(edge(Item::Word(word), &Names::new())), edge_);
        }
        for word in ["", "build", "17:", "17:run", "-1", ":any", "17:any:fail"] {
            assert!(edge(Item::Word(word), &Names::new()).is_err(), "{word}");
        }
    }

    #[test]
    fn an_edge_in_json_is_a_number_a_name_or_an_object() {
        for (value, edge) in [
            (json!(17), "17 SuccessElseBlock"),
            (json!("build"), "#3 SuccessElseBlock"),
            (json!({"task": 17, "on": "any"}), "17 Any"),
            (json!({"task": "build", "else": "fail"}), "#3 SuccessElseFail"),
            (json!({"task": 17, "on": "success", "else": "cancel"}), "17 SuccessElseCancel"),
        ] {
            assert_eq!(of_json(&value), edge);
        }
        for value in [
            json!("17"),
            json!("deploy"),
            json!(1.5),
            json!({}),
            json!({"task": 17, "on": "never"}),
            json!({"task": 17, "on": "any", "else": "fail"}),
            json!({"task": 17, "else": "any"}),
            json!({"task": 17, "then": "x"}),
        ] {
            assert!(of_json(&value).contains("allowed is"), "{value}: {}", of_json(&value));
        }
    }
}
