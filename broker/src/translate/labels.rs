//! Labels: what is true of an agent, and what a task wants to be true.

use std::sync::Arc;

use serde_json::Value;

use super::Invalid;
use super::fields::{Fields, Item, NAMES_MAX, name, sorted, wrong};
use crate::core::command::{LabelOp, LabelTest, Name};

/// Longest value of a label, in characters, as that of a name.
const VALUE_CHARS_MAX: usize = 64;

/// Every operator, those that others begin with first.
const OPERATORS: [(&str, LabelOp); 6] = [
    (">=", LabelOp::AtLeast),
    ("<=", LabelOp::AtMost),
    ("!=", LabelOp::NotEqual),
    (">", LabelOp::Greater),
    ("<", LabelOp::Less),
    ("=", LabelOp::Equal),
];

/// The tests of a task: `mem>=16`, `os=linux`, `gpu`. Sorted, without duplicates.
pub(super) fn tests(fields: Fields<'_>) -> Result<Vec<LabelTest>, Invalid> {
    let items = fields.list("labels")?;
    let tests = items.into_iter().map(|item| test("labels", item.text("labels")?));
    sorted("labels", tests.collect::<Result<_, Invalid>>()?)
}

pub(super) fn test(field: &'static str, text: &str) -> Result<LabelTest, Invalid> {
    let end = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
    let (label, behind) = text.split_at(end);
    let label = name(field, label)?;
    if behind.is_empty() {
        return Ok(LabelTest { label, op: LabelOp::Exists, value: Arc::default() });
    }
    let operator = OPERATORS.iter().find(|(sign, _)| behind.starts_with(sign));
    match operator {
        Some(&(sign, op)) => {
            Ok(LabelTest { label, op, value: value(field, &behind[sign.len()..])? })
        }
        None => Err(wrong(field, text, "a label, or a label, one of = != < <= > >=, and a value")),
    }
}

/// The labels of an agent: `os:linux`, `gpu`; in JSON an object. Sorted by label.
pub(super) fn owned(fields: Fields<'_>) -> Result<Vec<(Name, Arc<str>)>, Invalid> {
    let mut labels = match fields {
        Fields::Words(_) => {
            let label = |item: Item<'_>| {
                let text = item.text("labels")?;
                let (label, found) = text.split_once(':').unwrap_or((text, ""));
                let is_bare = !text.contains(':');
                let found = if is_bare { Arc::default() } else { value("labels", found)? };
                Ok((name("labels", label)?, found))
            };
            let items = fields.list("labels")?;
            items.into_iter().map(label).collect::<Result<Vec<_>, Invalid>>()?
        }
        Fields::Json(map) => match map.get("labels") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(labels)) => {
                let label = |(label, found): (&String, &Value)| {
                    Ok((name("labels", label)?, json_value(found)?))
                };
                labels.iter().map(label).collect::<Result<Vec<_>, Invalid>>()?
            }
            Some(other) => {
                let allowed = "an object of labels, such as {\"os\":\"linux\",\"mem\":16}";
                return Err(wrong("labels", &other.to_string(), allowed));
            }
        },
    };
    labels.sort();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let found = format!("two values of {}", twice[0].0);
        return Err(wrong("labels", &found, "one value for each label"));
    }
    if labels.len() > NAMES_MAX {
        let found = format!("a list of {}", labels.len());
        return Err(wrong("labels", &found, &format!("a list of at most {NAMES_MAX}")));
    }
    Ok(labels)
}

/// A value: text, a whole number, or `true` for a label that is just there.
fn json_value(found: &Value) -> Result<Arc<str>, Invalid> {
    match found {
        Value::String(text) => value("labels", text),
        Value::Number(number) if !number.is_f64() => value("labels", &number.to_string()),
        Value::Bool(true) => Ok(Arc::default()),
        other => Err(wrong("labels", &other.to_string(), "a text, a whole number or true")),
    }
}

fn value(field: &'static str, text: &str) -> Result<Arc<str>, Invalid> {
    let chars = text.chars().count();
    if (1..=VALUE_CHARS_MAX).contains(&chars) && !text.contains(char::is_control) {
        return Ok(text.into());
    }
    let allowed = format!("a value of 1 to {VALUE_CHARS_MAX} printable characters");
    Err(wrong(field, text, &allowed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> String {
        match test("labels", text) {
            Ok(LabelTest { label, op, value }) => format!("{label} {op:?} {value}"),
            Err(invalid) => invalid.to_string(),
        }
    }

    fn of_json(body: &Value) -> Result<Vec<String>, String> {
        let labels = owned(Fields::Json(body.as_object().unwrap())).map_err(|e| e.to_string())?;
        Ok(labels.iter().map(|(label, value)| format!("{label}:{value}")).collect())
    }

    #[test]
    fn every_operator_is_told_from_those_that_begin_like_it() {
        for (text, test) in [
            ("mem>=16", "mem AtLeast 16"),
            ("mem>16", "mem Greater 16"),
            ("mem<=16", "mem AtMost 16"),
            ("mem<16", "mem Less 16"),
            ("os=linux", "os Equal linux"),
            ("os!=linux", "os NotEqual linux"),
            ("gpu", "gpu Exists "),
            ("os==x", "os Equal =x"),
        ] {
            assert_eq!(parsed(text), test);
        }
    }

    #[test]
    fn what_is_no_test_is_refused() {
        for text in ["", "=x", "os=", "mem>=", "os!linux", "a b=1", "os=\u{7}"] {
            assert!(test("labels", text).is_err(), "{text:?}");
        }
        assert!(test("labels", &format!("os={}", "x".repeat(64))).is_ok());
        assert!(test("labels", &format!("os={}", "x".repeat(65))).is_err());
    }

    #[test]
    fn labels_of_an_agent_are_an_object_in_json() {
        let labels = json!({"labels": {"os": "linux", "mem": 16, "gpu": true}});
        assert_eq!(of_json(&labels).unwrap(), ["gpu:", "mem:16", "os:linux"]);
        for wrong in [json!({"os": 1.5}), json!({"os": false}), json!(["os:linux"]), json!("os")] {
            of_json(&json!({ "labels": wrong })).unwrap_err();
        }
    }
}
