//! Limits on leases that tasks have in common: `repo:1`; in JSON an object.

use serde_json::Value;

use super::Invalid;
use super::fields::{Fields, Item, name, wrong};
use crate::core::command::LeaseLimit;

/// Most limits of one task: each is looked at before every grant.
const LIMITS_MAX: usize = 4;
/// Most leases that a limit allows.
const LEASES_MAX: u64 = 1_000_000;

/// The limits of a task, sorted by name.
pub(super) fn limits(fields: Fields<'_>) -> Result<Vec<LeaseLimit>, Invalid> {
    let mut limits = match fields {
        Fields::Words(_) => {
            let items = fields.list("limits")?.into_iter();
            items.map(of_word).collect::<Result<Vec<_>, Invalid>>()?
        }
        Fields::Json(map) => match map.get("limits") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(limits)) => {
                let limits = limits.iter().map(|(name, max)| limit(name, max.as_u64(), max));
                limits.collect::<Result<Vec<_>, Invalid>>()?
            }
            Some(other) => {
                return Err(wrong("limits", &other.to_string(), "an object such as {\"repo\":1}"));
            }
        },
    };
    limits.sort();
    if let Some(twice) = limits.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let found = format!("two limits named {}", twice[0].name);
        return Err(wrong("limits", &found, "one limit of each name"));
    }
    if limits.len() > LIMITS_MAX {
        let found = format!("a list of {}", limits.len());
        return Err(wrong("limits", &found, &format!("a list of at most {LIMITS_MAX}")));
    }
    Ok(limits)
}

fn of_word(item: Item<'_>) -> Result<LeaseLimit, Invalid> {
    let text = item.text("limits")?;
    match text.split_once(':') {
        Some((name, max)) => limit(name, max.parse().ok(), text),
        None => Err(wrong("limits", text, "a list of name:leases, such as repo:1")),
    }
}

fn limit(
    text: &str,
    max: Option<u64>,
    found: impl std::fmt::Display,
) -> Result<LeaseLimit, Invalid> {
    let inside = max.filter(|max| (1..=LEASES_MAX).contains(max));
    match inside.and_then(|max| u32::try_from(max).ok()) {
        Some(max) => Ok(LeaseLimit { name: name("limits", text)?, max }),
        None => {
            let allowed = format!("a name with a number from 1 to {LEASES_MAX} behind it");
            Err(wrong("limits", &found.to_string(), &allowed))
        }
    }
}

#[cfg(test)]
mod tests {
    use agentcom_protocol::{Request, Verb};
    use serde_json::json;

    use super::*;

    fn of_words(list: &str) -> Result<String, Invalid> {
        let request = Request {
            verb: Verb::TaskSubmit,
            tag: "1",
            arguments: vec!["q"],
            options: vec![("limits", list)],
            body: b"",
        };
        limits(Fields::Words(&request)).map(|limits| shown(&limits))
    }

    fn of_json(body: &Value) -> Result<String, Invalid> {
        limits(Fields::Json(body.as_object().unwrap())).map(|limits| shown(&limits))
    }

    fn shown(limits: &[LeaseLimit]) -> String {
        let limits = limits.iter().map(|LeaseLimit { name, max }| format!("{name}:{max}"));
        limits.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn limits_are_read_in_both_spellings() {
        assert_eq!(of_words("repo:1,gpu:4").unwrap(), "gpu:4,repo:1");
        assert_eq!(of_json(&json!({"limits": {"repo": 1, "gpu": 4}})).unwrap(), "gpu:4,repo:1");
        assert_eq!(of_words("").unwrap(), "");
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for list in ["repo", "repo:0", "repo:x", ":1", "a:1,a:2", "a:1,b:1,c:1,d:1,e:1"] {
            assert!(of_words(list).is_err(), "{list}");
        }
        for limits in [json!({"repo": "1"}), json!({"repo": 0}), json!(["repo:1"]), json!("x")] {
            assert!(of_json(&json!({ "limits": limits })).is_err());
        }
    }
}
