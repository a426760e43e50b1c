//! Quotas as JSON: what is set for whom, `{"agent:ada": {"messages": 600}}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::quota::Quota;

/// Identities that may have something of their own. 1,000: the setting must fit into 64 KiB.
pub const OWN_MAX: usize = 1_000;

/// A quota.
#[must_use]
pub fn quota(mut quota: Quota) -> Value {
    let fields = quota.fields().map(|(name, number)| (name.to_owned(), (*number).into()));
    Value::Object(fields.into_iter().collect())
}

/// The quotas that are set; what they do not name is as in `defaults`.
///
/// # Errors
/// Field by field, what was found and what is allowed.
pub fn own(set: &Value, defaults: Quota) -> Result<BTreeMap<String, Quota>, Vec<(String, String)>> {
    let none = Map::new();
    let identities = match set {
        Value::Null => &none,
        Value::Object(identities) => identities,
        _ => return Err(vec![("quotas".to_owned(), "must be an object".to_owned())]),
    };
    if identities.len() > OWN_MAX {
        let found = identities.len();
        return Err(vec![("quotas".to_owned(), format!("has {found} members, at most {OWN_MAX}"))]);
    }
    let (mut own, mut errors) = (BTreeMap::new(), Vec::new());
    for (identity, fields) in identities {
        let mut quota = defaults;
        errors.extend(wrong(identity, fields, &mut quota));
        own.insert(identity.clone(), quota);
    }
    if errors.is_empty() { Ok(own) } else { Err(errors) }
}

/// What is wrong about the fields of an identity; the others are in `quota`.
fn wrong(identity: &str, fields: &Value, quota: &mut Quota) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    let is_identity = identity == "operator"
        || identity == "token"
        || ["user:", "agent:", "address:"].iter().any(|kind| identity.starts_with(kind));
    if !is_identity {
        let allowed =
            "is no identity; there are user:NAME, agent:NAME, address:IP, token, operator";
        errors.push((identity.to_owned(), allowed.to_owned()));
    }
    let Some(fields) = fields.as_object() else {
        errors.push((identity.to_owned(), "must be an object of numbers".to_owned()));
        return errors;
    };
    for (name, value) in fields {
        let field = quota.fields().into_iter().find(|(known, _)| known == name);
        let sentence = match (field, value.as_u64()) {
            (Some((_, number)), Some(value)) => {
                *number = value;
                continue;
            }
            (Some(_), None) => "must be a whole number, 0 for no limit".to_owned(),
            (None, _) => {
                let known = Quota::default().fields().map(|(name, _)| name);
                format!("is no quota; there are {}", known.join(", "))
            }
        };
        errors.push((format!("{identity}.{name}"), sentence));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_set_is_as_for_everybody() {
        let defaults = Quota { messages: 5, bytes: 7, ..Quota::default() };
        let set = json!({"agent:ada": {"messages": 600, "connections": 2}, "user:bob": {}});
        let own = own(&set, defaults).unwrap();
        assert_eq!(own["agent:ada"], Quota { messages: 600, connections: 2, ..defaults });
        assert_eq!(own["user:bob"], defaults);
        assert_eq!(quota(own["agent:ada"])["messages"], 600);
        assert!(super::own(&Value::Null, defaults).unwrap().is_empty());
    }

    #[test]
    fn every_mistake_is_told_with_what_is_allowed() {
        let set = json!({"ada": {}, "user:bob": {"messages": -1, "mesages": 1}, "token": 5});
        let errors = own(&set, Quota::default()).unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["ada", "token", "user:bob.mesages", "user:bob.messages"]);
        assert!(errors[2].1.contains("connections, subscriptions"), "{errors:?}");
        assert!(own(&json!([]), Quota::default()).is_err());
    }
}
