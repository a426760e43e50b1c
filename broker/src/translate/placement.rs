//! Which agent of those that can do it: what a task uses, prefers, and for whom it is.

use super::Invalid;
use super::fields::{Fields, Range, sorted, wrong};
use super::{labels, limits};
use crate::core::command::{Assign, Placement, Preference};

/// Most preferences of one task: all are looked at for each kind of agent that idles.
const PREFER_MAX: usize = 8;
/// Largest weight of a preference: enough to say that one counts more than all others.
const WEIGHT_MAX: u32 = 1_000;

/// What is said about that, if anything is.
pub(super) fn placement(fields: Fields<'_>) -> Result<Option<Placement>, Invalid> {
    let placement = Placement {
        resources: limits::uses(fields)?.into(),
        prefer: preferences(fields)?.into(),
        assign: assign(fields)?,
        sticky_ms: fields.number("sticky_ms", Range::PAUSE)?.unwrap_or(0),
    };
    Ok((placement != Placement::default()).then_some(placement))
}

/// `gpu`, `mem>=16`, or `5:mem>=16` for one that counts five times as much.
fn preferences(fields: Fields<'_>) -> Result<Vec<Preference>, Invalid> {
    let items = fields.list("prefer")?;
    let found = items.into_iter().map(|item| preference(item.text("prefer")?));
    let found = sorted("prefer", found.collect::<Result<_, Invalid>>()?)?;
    if found.len() > PREFER_MAX {
        let shown = format!("a list of {}", found.len());
        return Err(wrong("prefer", &shown, &format!("a list of at most {PREFER_MAX}")));
    }
    Ok(found)
}

fn preference(text: &str) -> Result<Preference, Invalid> {
    let (weight, test) = match text.split_once(':') {
        // A label has no colon, but what it is compared with may have one.
        Some((weight, test)) if !weight.contains(['<', '>', '=', '!']) => {
            let weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
            let weight = weight.ok_or_else(|| {
                let allowed = format!("a test of a label, or 1 to {WEIGHT_MAX}:test");
                wrong("prefer", text, &allowed)
            });
            (weight?, test)
        }
        _ => (1, text),
    };
    Ok(Preference { weight, test: labels::test("prefer", test)? })
}

fn assign(fields: Fields<'_>) -> Result<Option<Assign>, Invalid> {
    let for_ms = fields.number("assign_ms", Range::LIFE)?;
    match fields.name("assign_to")? {
        Some(agent) => Ok(Some(Assign { agent, for_ms })),
        None if for_ms.is_some() => {
            let allowed = "the agent that assign_ms is about".into();
            Err(Invalid::Missing { field: "assign_to", allowed })
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::command::LabelOp;

    fn read(body: Value) -> Result<Option<Placement>, String> {
        placement(Fields::Json(body.as_object().unwrap())).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn who_says_nothing_does_not_mind() {
        assert_eq!(read(json!({})), Ok(None));
        assert_eq!(read(json!({"uses": {}, "prefer": [], "sticky_ms": 0})), Ok(None));
    }

    #[test]
    fn a_preference_has_a_weight_or_counts_once() {
        let body = json!({"prefer": ["ssd", "5:mem>=16", "url=a:1"]});
        let found = read(body).unwrap().unwrap().prefer;
        let shown: Vec<_> =
            found.iter().map(|it| (it.weight, it.test.op, &*it.test.value)).collect();
        assert_eq!(
            shown,
            [(1, LabelOp::Exists, ""), (1, LabelOp::Equal, "a:1"), (5, LabelOp::AtLeast, "16")]
        );
        for wrong in ["0:ssd", "1001:ssd", "x:ssd", "5:", "", ":ssd"] {
            let sentence = read(json!({ "prefer": [wrong] })).unwrap_err();
            assert!(sentence.contains("prefer"), "{sentence}");
        }
        let many: Vec<String> = (0..9).map(|number| format!("l{number}")).collect();
        assert!(read(json!({ "prefer": many })).unwrap_err().contains("at most 8"));
    }

    #[test]
    fn a_time_for_an_agent_needs_the_agent() {
        let found = read(json!({"assign_to": "bob"})).unwrap().unwrap();
        assert_eq!(found.assign.map(|assign| assign.for_ms), Some(None));
        let found = read(json!({"assign_to": "bob", "assign_ms": 1000})).unwrap().unwrap();
        assert_eq!(found.assign.map(|assign| assign.for_ms), Some(Some(1000)));
        let sentence = read(json!({"assign_ms": 1000})).unwrap_err();
        assert!(sentence.contains("assign_to"), "{sentence}");
    }

    #[test]
    fn resources_are_a_few_names_with_amounts() {
        let found = read(json!({"uses": {"gpu": 2, "mem": 64}})).unwrap().unwrap();
        assert_eq!(found.resources.len(), 2);
        let many: serde_json::Map<String, Value> =
            (0..9).map(|number| (format!("r{number}"), 1.into())).collect();
        assert!(read(json!({ "uses": many })).unwrap_err().contains("at most 8"));
        read(json!({"uses": {"gpu": 0}})).unwrap_err();
    }
}
