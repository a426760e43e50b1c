//! How often somebody may ask, as JSON: what is set for everybody, for some, and for whom not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::quota::{Action, Rate, Tier};

const NO_OBJECT: &str = "must be an object";

/// What everybody may do, by action or tier: `{"light": {"capacity": 9, "refill_rate_per_min": 9}}`.
/// Null is nothing.
///
/// # Errors
/// A sentence: what is allowed.
pub fn defaults(set: &Value) -> Result<BTreeMap<Action, Rate>, String> {
    let rate_of = |(name, rate): (&String, &Value)| match (Action::parse(name), rate_of(rate)) {
        (Some(action), Some(rate)) => Ok((action, rate)),
        (None, _) => {
            let names: Vec<&str> = Action::ALL.map(Action::as_str).to_vec();
            Err(format!("there are {}", names.join(", ")))
        }
        (_, None) => Err("each must have numeric 'capacity' and 'refill_rate_per_min'".to_owned()),
    };
    members(set)?.map(rate_of).collect()
}

/// What one agent may do instead, by tier.
///
/// # Errors
/// A sentence: what is allowed.
pub fn tiers(own: &Map<String, Value>) -> Result<BTreeMap<Tier, Rate>, String> {
    let given = Tier::ALL.into_iter().filter_map(|tier| Some((tier, own.get(tier.as_str())?)));
    let tiers: Option<BTreeMap<Tier, Rate>> =
        given.map(|(tier, rate)| Some((tier, rate_of(rate)?))).collect();
    match tiers {
        None => Err("each tier must have numeric 'capacity' and 'refill_rate_per_min'".to_owned()),
        Some(tiers) if tiers.is_empty() => {
            Err("at least one tier (light, normal, heavy) must be specified".to_owned())
        }
        Some(tiers) => Ok(tiers),
    }
}

/// [`tiers`] of some agents, by their names. Null is nobody.
///
/// # Errors
/// A sentence: what is allowed.
pub fn overrides(set: &Value) -> Result<BTreeMap<String, BTreeMap<Tier, Rate>>, String> {
    let own = |(agent, own): (&String, &Value)| match own {
        Value::Object(own) => Ok((agent.clone(), tiers(own)?)),
        _ => Err(NO_OBJECT.to_owned()),
    };
    members(set)?.map(own).collect()
}

/// Who is never limited. Null is nobody.
///
/// # Errors
/// A sentence: what is allowed.
pub fn whitelist(set: &Value) -> Result<BTreeSet<String>, String> {
    let sentence = || "agent_ids must be a list of strings".to_owned();
    match set {
        Value::Null => Ok(BTreeSet::new()),
        Value::Array(names) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect::<Option<_>>().ok_or_else(sentence)
        }
        _ => Err(sentence()),
    }
}

fn rate_of(value: &Value) -> Option<Rate> {
    let number = |key: &str| value.get(key).and_then(Value::as_f64).filter(|number| *number >= 0.0);
    Some(Rate { capacity: number("capacity")?, per_minute: number("refill_rate_per_min")? })
}

fn members(value: &Value) -> Result<impl Iterator<Item = (&String, &Value)>, String> {
    let members = match value {
        Value::Null => None,
        Value::Object(fields) => Some(fields),
        _ => return Err(NO_OBJECT.to_owned()),
    };
    Ok(members.into_iter().flatten())
}
