//! Names with numbers, `repo:1`, in JSON an object: limits on leases and grants that tasks have in
//! common, what they use of their agents, and weights of keys.

use serde_json::Value;

use super::Invalid;
use super::fields::{Fields, Item, NAMES_MAX, name, wrong};
use crate::core::command::{LeaseLimit, Name, RateLimit, Resource};
use crate::core::limits::{RATE_GRANTS_MAX, RATE_PERIOD_MS_MAX, Rate, WEIGHT_MAX, WEIGHTS_MAX};

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

/// Most resources of one task: all are looked at whenever an agent has room for it or not.
const USES_MAX: usize = 8;

/// What a task uses of its agent, sorted by name.
pub(super) fn uses(fields: Fields<'_>) -> Result<Vec<Resource>, Invalid> {
    resources(fields, "uses", USES_MAX)
}

/// What an agent has for tasks to use, sorted by name.
pub(super) fn capacity(fields: Fields<'_>) -> Result<Vec<Resource>, Invalid> {
    resources(fields, "capacity", NAMES_MAX)
}

fn resources(
    fields: Fields<'_>,
    field: &'static str,
    max: usize,
) -> Result<Vec<Resource>, Invalid> {
    let pairs = Pairs { field, example: ("gpu", 2), number_max: u32::MAX, max };
    let resources = pairs.read(fields)?.unwrap_or_default();
    Ok(resources.into_iter().map(|(name, amount)| Resource { name, amount }).collect())
}

/// The rates of a task, `api:60/60000`, in JSON `{"api":"60/60000"}`; sorted by name.
pub(super) fn rates(fields: Fields<'_>) -> Result<Vec<RateLimit>, Invalid> {
    const ALLOWED: &str = "a name with grants/milliseconds behind it, such as api:60/60000";
    let of_text = |name_: &str, found: &str, whole: &str| {
        let numbers = found.split_once('/');
        let numbers =
            numbers.and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
        let numbers = numbers.filter(|(grants, period_ms)| {
            (1..=RATE_GRANTS_MAX).contains(grants) && (1..=RATE_PERIOD_MS_MAX).contains(period_ms)
        });
        let Some((grants, period_ms)) = numbers else {
            let allowed =
                format!("{ALLOWED}, with up to {RATE_GRANTS_MAX} in up to {RATE_PERIOD_MS_MAX}");
            return Err(wrong("rates", whole, &allowed));
        };
        Ok(RateLimit { name: name("rates", name_)?, rate: Rate { grants, period_ms } })
    };
    let of_word = |item: Item<'_>| {
        let text = item.text("rates")?;
        match text.split_once(':') {
            Some((name, rate)) => of_text(name, rate, text),
            None => Err(wrong("rates", text, ALLOWED)),
        }
    };
    let mut rates = match fields {
        Fields::Words(_) => {
            let items = fields.list("rates")?.into_iter();
            items.map(of_word).collect::<Result<Vec<_>, Invalid>>()?
        }
        Fields::Json(map) => match map.get("rates") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(rates)) => {
                let rate = |(name, rate): (&String, &Value)| match rate.as_str() {
                    Some(text) => of_text(name, text, text),
                    None => Err(wrong("rates", &rate.to_string(), "grants/milliseconds in quotes")),
                };
                rates.iter().map(rate).collect::<Result<Vec<_>, Invalid>>()?
            }
            Some(other) => {
                let allowed = "an object such as {\"api\":\"60/60000\"}";
                return Err(wrong("rates", &other.to_string(), allowed));
            }
        },
    };
    rates.sort();
    rates.dedup();
    if rates.len() > LIMITS_MAX {
        let found = format!("a list of {}", rates.len());
        return Err(wrong("rates", &found, &format!("a list of at most {LIMITS_MAX}")));
    }
    Ok(rates)
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

    fn rates_of(spelled: Result<&str, Value>) -> Result<Vec<String>, String> {
        let found = match spelled {
            Ok(list) => {
                let options = vec![("rates", list)];
                let (verb, arguments) = (Verb::TaskSubmit, vec!["q"]);
                rates(Fields::Words(&Request { verb, tag: "1", arguments, options, body: b"" }))
            }
            Err(json) => {
                let body = json!({ "rates": json });
                rates(Fields::Json(body.as_object().unwrap()))
            }
        };
        let shown = |RateLimit { name, rate }: &RateLimit| {
            format!("{name}:{}/{}", rate.grants, rate.period_ms)
        };
        let found = found.map_err(|invalid| invalid.to_string())?;
        Ok(found.iter().map(shown).collect())
    }

    #[test]
    fn rates_are_read_in_both_spellings() {
        let both = Ok(vec!["api:60/60000".to_owned(), "disk:1/5".to_owned()]);
        assert_eq!(rates_of(Ok("disk:1/5,api:60/60000")), both);
        assert_eq!(rates_of(Err(json!({"disk": "1/5", "api": "60/60000"}))), both);
        // One rate by the second and one by the hour.
        assert_eq!(rates_of(Ok("api:9/1000,api:99/3600000")).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for list in ["api", "api:60", "api:0/5", "api:1/0", "api:10001/5", "api:1/3600001", ":1/1"]
        {
            let sentence = rates_of(Ok(list)).unwrap_err();
            assert!(sentence.contains("rates"), "{sentence}");
        }
        assert!(rates_of(Ok("a:1/1,b:1/1,c:1/1,d:1/1,e:1/1")).unwrap_err().contains("at most 4"));
        for wrong in [json!({"api": 60}), json!(["api:1/1"]), json!("api:1/1")] {
            rates_of(Err(wrong)).unwrap_err();
        }
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
