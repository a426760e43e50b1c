//! Names with numbers, `repo:1`, in JSON an object: limits on leases that tasks have in common, and
//! weights of keys.

use serde_json::Value;

use super::Invalid;
use super::fields::{Fields, Item, name, wrong};
use crate::core::command::{LeaseLimit, Name};
use crate::core::limits::{WEIGHT_MAX, WEIGHTS_MAX};

/// Most limits of one task: each is looked at before every grant.
const LIMITS_MAX: usize = 4;
/// Most leases that a limit allows.
const LEASES_MAX: u32 = 1_000_000;

/// The limits of a task, sorted by name.
pub(super) fn limits(fields: Fields<'_>) -> Result<Vec<LeaseLimit>, Invalid> {
    const LIMITS: Pairs =
        Pairs { field: "limits", example: ("repo", 1), number_max: LEASES_MAX, max: LIMITS_MAX };
    let limits = LIMITS.read(fields)?.unwrap_or_default();
    Ok(limits.into_iter().map(|(name, max)| LeaseLimit { name, max }).collect())
}

/// Weights of keys, sorted by key, if any were named.
pub(super) fn weights(fields: Fields<'_>) -> Result<Option<Vec<(Name, u32)>>, Invalid> {
    const WEIGHTS: Pairs =
        Pairs { field: "weights", example: ("big", 3), number_max: WEIGHT_MAX, max: WEIGHTS_MAX };
    WEIGHTS.read(fields)
}

/// A list of names with a number each.
struct Pairs {
    field: &'static str,
    example: (&'static str, u32),
    number_max: u32,
    max: usize,
}

impl Pairs {
    /// Sorted by name; `None` if the field is not there.
    fn read(&self, fields: Fields<'_>) -> Result<Option<Vec<(Name, u32)>>, Invalid> {
        let (field, (name, number)) = (self.field, self.example);
        let mut pairs = match fields {
            Fields::Words(_) if fields.text(field)?.is_none() => return Ok(None),
            Fields::Words(_) => {
                let items = fields.list(field)?.into_iter();
                items.map(|item| self.of_word(item)).collect::<Result<Vec<_>, Invalid>>()?
            }
            Fields::Json(map) => match map.get(field) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Object(pairs)) => {
                    let pairs =
                        pairs.iter().map(|(name, number)| self.pair(name, number.as_u64(), number));
                    pairs.collect::<Result<Vec<_>, Invalid>>()?
                }
                Some(other) => {
                    let allowed = format!("an object such as {{\"{name}\":{number}}}");
                    return Err(wrong(field, &other.to_string(), &allowed));
                }
            },
        };
        pairs.sort();
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let found = format!("two {field} named {}", twice[0].0);
            return Err(wrong(field, &found, "one of each name"));
        }
        if pairs.len() > self.max {
            let found = format!("a list of {}", pairs.len());
            return Err(wrong(field, &found, &format!("a list of at most {}", self.max)));
        }
        Ok(Some(pairs))
    }

    fn of_word(&self, item: Item<'_>) -> Result<(Name, u32), Invalid> {
        let text = item.text(self.field)?;
        let (name, number) = self.example;
        match text.split_once(':') {
            Some((name, number)) => self.pair(name, number.parse().ok(), text),
            None => {
                let allowed = format!("a list of name:number, such as {name}:{number}");
                Err(wrong(self.field, text, &allowed))
            }
        }
    }

    fn pair(
        &self,
        text: &str,
        number: Option<u64>,
        found: impl std::fmt::Display,
    ) -> Result<(Name, u32), Invalid> {
        let number = number.and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (1..=self.number_max).contains(number)) {
            Some(number) => Ok((name(self.field, text)?, number)),
            None => {
                let max = self.number_max;
                let allowed = format!("a name with a number from 1 to {max} behind it");
                Err(wrong(self.field, &found.to_string(), &allowed))
            }
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
