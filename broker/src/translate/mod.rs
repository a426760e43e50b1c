//! The doors' common dictionary: words and JSON on one side, [`Command`](crate::core::command::Command)s and
//! replies on the other. Every door that carries text uses it, so a rule of spelling exists once.

pub mod json;
pub mod words;

use crate::core::command::{Name, NameError};

/// A value that a door cannot translate. Says which one, what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name breaks the rule for names.
    #[error("{field} {error}")]
    Name {
        /// Where.
        field: &'static str,
        /// What is wrong.
        error: NameError,
    },
    /// Not one of the words or numbers that are allowed.
    #[error("{field} is {found}; allowed is {allowed}")]
    Value {
        /// Where.
        field: &'static str,
        /// What was there.
        found: String,
        /// What may be.
        allowed: &'static str,
    },
    /// Something that must be there is not.
    #[error("{field} is missing; it must be {allowed}")]
    Missing {
        /// What.
        field: &'static str,
        /// What may be.
        allowed: &'static str,
    },
    /// The body is not JSON of the right shape.
    #[error("the body is not the JSON that is expected here: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
}

/// Priorities by word. Any number from 0 to 255 is a priority too; lower goes first.
pub const PRIORITIES: [(&str, u8); 4] = [("urgent", 0), ("high", 1), ("normal", 2), ("low", 3)];
/// What a task gets when nothing else is said.
pub const PRIORITY_DEFAULT: u8 = 2;
/// Tries that a task gets when nothing else is said.
pub const ATTEMPTS_DEFAULT: u32 = 3;
/// Three heart-beats of ten seconds may be missed.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// One task after the other.
pub const CREDIT_DEFAULT: u32 = 1;

pub(crate) fn name(field: &'static str, text: &str) -> Result<Name, Invalid> {
    Name::parse(text).map_err(|error| Invalid::Name { field, error })
}

pub(crate) fn names<'a>(
    field: &'static str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<Name>, Invalid> {
    let mut names = texts.map(|text| name(field, text)).collect::<Result<Vec<Name>, Invalid>>()?;
    names.sort();
    names.dedup();
    if names.len() > NAMES_MAX {
        let found = format!("a list of {}", names.len());
        return Err(Invalid::Value { field, found, allowed: "a list of at most 20 names" });
    }
    Ok(names)
}

/// The limit of the legacy hub on capabilities.
const NAMES_MAX: usize = 20;

pub(crate) fn priority(found: &str) -> Result<u8, Invalid> {
    let word = PRIORITIES.iter().find(|(word, _)| *word == found).map(|&(_, band)| band);
    word.or_else(|| found.parse().ok()).ok_or_else(|| Invalid::Value {
        field: "priority",
        found: found.to_owned(),
        allowed: "urgent, high, normal, low, or a number from 0 to 255",
    })
}

pub(crate) fn attempts(found: u64) -> Result<u32, Invalid> {
    within("attempts", found, 1, 100, "a number from 1 to 100")
}

pub(crate) fn credit(found: u64) -> Result<u32, Invalid> {
    within("credit", found, 1, 1_000, "a number from 1 to 1000")
}

pub(crate) fn lease_ms(found: u64) -> Result<u64, Invalid> {
    within("lease_ms", found, 1_000, 86_400_000, "milliseconds from 1000 to 86400000")
        .map(u64::from)
}

pub(crate) fn retry_after_ms(found: u64) -> Result<u64, Invalid> {
    within("retry_after_ms", found, 0, 86_400_000, "milliseconds from 0 to 86400000").map(u64::from)
}

fn within(
    field: &'static str,
    found: u64,
    min: u64,
    max: u32,
    allowed: &'static str,
) -> Result<u32, Invalid> {
    match u32::try_from(found) {
        Ok(value) if (min..=u64::from(max)).contains(&found) => Ok(value),
        _ => Err(Invalid::Value { field, found: found.to_string(), allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_on_both_sides_of_each_edge() {
        assert!(attempts(0).is_err() && attempts(1).is_ok());
        assert!(attempts(100).is_ok() && attempts(101).is_err());
        assert!(lease_ms(999).is_err() && lease_ms(1000).is_ok());
        assert!(lease_ms(86_400_000).is_ok() && lease_ms(86_400_001).is_err());
        assert!(credit(0).is_err() && credit(1000).is_ok() && credit(1001).is_err());
        assert!(lease_ms(u64::MAX).is_err());
    }

    #[test]
    fn a_priority_is_a_word_or_a_small_number() {
        assert_eq!(priority("high"), Ok(1));
        assert_eq!(priority("255"), Ok(255));
        assert!(priority("256").is_err() && priority("-1").is_err() && priority("High").is_err());
    }

    #[test]
    fn lists_of_names_are_sorted_unique_and_bounded() {
        let list = names("needs", ["b", "a", "b"].into_iter()).expect("names");
        assert_eq!(list.iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<String> = (0..21).map(|n| format!("n{n}")).collect();
        assert!(names("needs", many.iter().map(String::as_str)).is_err());
        assert!(names("needs", many[1..].iter().map(String::as_str)).is_ok());
    }
}
