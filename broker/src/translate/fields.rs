//! What a request says, however it is spelled: words of a line, or members of a JSON object. A
//! field has one name in both, and the checks behind it are the same.

use std::borrow::Cow;
use std::sync::Arc;

use agentcom_protocol::{Body, Request, Verb};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::Invalid;
use crate::core::command::{Name, TaskId};

/// The arguments, options and body of one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'a> {
    /// A verb of ours.
    Words(&'a Request<'a>),
    /// A request in JSON, or a task of a batch.
    Json(&'a Map<String, Value>),
}

/// One item of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    /// What stood between two commas.
    Word(&'a str),
    /// A member of an array.
    Json(&'a Value),
}

/// Numbers that are allowed, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// What is counted.
    pub(super) what: &'static str,
    /// The smallest.
    pub(super) min: u64,
    /// The largest.
    pub(super) max: u64,
}

/// Most items of a list of names: the limit of the legacy hub on capabilities.
pub(super) const NAMES_MAX: usize = 20;

/// Enough of a wrong value to recognise it by, so that an answer stays short.
const EXCERPT_CHARS: usize = 64;

/// The key under which the body of a verb stands in JSON.
pub(super) fn body_key(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::TaskSubmit | Verb::QueuePut | Verb::ScheduleSet | Verb::MessageSend => {
            Some("payload")
        }
        Verb::ChannelCreate => Some("description"),
        Verb::ConfigSet => Some("value"),
        Verb::TaskProgress | Verb::TaskCheckpoint => Some("data"),
        Verb::TaskComplete | Verb::TaskStopped => Some("result"),
        Verb::TaskFail => Some("error"),
        Verb::TaskAnswer => Some("answer"),
        Verb::TaskSpawn => Some("tasks"),
        other => {
            let has_own_keys = matches!(other, Verb::TaskBatch | Verb::TaskPark);
            debug_assert!(other.body() == Body::None || has_own_keys, "{other:?}");
            None
        }
    }
}

impl<'a> Fields<'a> {
    /// The value of `key` as text, if it is there.
    pub(super) fn text(self, key: &'static str) -> Result<Option<&'a str>, Invalid> {
        match self {
            Fields::Words(request) => Ok(word_of(request, key)),
            Fields::Json(map) => match map.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text)),
                Some(other) => Err(wrong(key, &other.to_string(), "a string")),
            },
        }
    }

    /// The same where a number will do as well.
    pub(super) fn word(self, key: &'static str) -> Result<Option<Cow<'a, str>>, Invalid> {
        match self {
            Fields::Json(map) if map.get(key).is_some_and(Value::is_number) => {
                Ok(Some(Cow::Owned(map[key].to_string())))
            }
            _ => Ok(self.text(key)?.map(Cow::Borrowed)),
        }
    }

    /// The value of `key` as a number out of `range`, if it is there.
    pub(super) fn number(self, key: &'static str, range: Range) -> Result<Option<u64>, Invalid> {
        let found = match self {
            Fields::Words(request) => match word_of(request, key) {
                None => return Ok(None),
                Some(word) => Item::Word(word),
            },
            Fields::Json(map) => match map.get(key) {
                None | Some(Value::Null) => return Ok(None),
                Some(value) => Item::Json(value),
            },
        };
        range.check(key, found).map(Some)
    }

    /// The value of `key` as a number out of `range`.
    pub(super) fn needed(self, key: &'static str, range: Range) -> Result<u64, Invalid> {
        let found = self.number(key, range)?;
        found.ok_or_else(|| Invalid::Missing { field: key, allowed: range.allowed().into() })
    }

    /// The task that the request is about.
    pub(super) fn task(self) -> Result<TaskId, Invalid> {
        self.needed("task", Range::ID).map(TaskId)
    }

    /// The value of `key` as a name, if it is there.
    pub(super) fn name(self, key: &'static str) -> Result<Option<Name>, Invalid> {
        self.text(key)?.map(|text| name(key, text)).transpose()
    }

    /// The value of `key` as a name.
    pub(super) fn needed_name(self, key: &'static str) -> Result<Name, Invalid> {
        self.name(key)?.ok_or(Invalid::Missing { field: key, allowed: "a name".into() })
    }

    /// Whether `key` is said to be so; `false` if nothing is.
    pub(super) fn flag(self, key: &'static str) -> Result<bool, Invalid> {
        let found = match self {
            Fields::Words(request) => word_of(request, key).map(Cow::Borrowed),
            Fields::Json(map) => {
                map.get(key).filter(|value| !value.is_null()).map(|value| value.to_string().into())
            }
        };
        match found.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(found) => Err(wrong(key, found, "true or false")),
        }
    }

    /// The objects of the request: its body in words, the array under `key` in JSON.
    pub(super) fn objects(self, key: &'static str) -> Result<Vec<Map<String, Value>>, Invalid> {
        let parsed = match self {
            Fields::Words(request) => serde_json::from_slice(request.body),
            Fields::Json(map) => serde_json::from_value(
                map.get(key).cloned().unwrap_or_else(|| Value::Array(vec![])),
            ),
        };
        parsed.map_err(|error| Invalid::Json { reason: format!("an array of {key}: {error}") })
    }

    /// The items of a list; none if it is not there.
    pub(super) fn list(self, key: &'static str) -> Result<Vec<Item<'a>>, Invalid> {
        match self {
            Fields::Words(request) => {
                let items = word_of(request, key).into_iter().flat_map(|list| list.split(','));
                Ok(items.filter(|item| !item.is_empty()).map(Item::Word).collect())
            }
            Fields::Json(map) => match map.get(key) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Array(items)) => Ok(items.iter().map(Item::Json).collect()),
                Some(other) => Err(wrong(key, &other.to_string(), "an array")),
            },
        }
    }

    /// A list of names, sorted and without duplicates.
    pub(super) fn names(self, key: &'static str) -> Result<Vec<Name>, Invalid> {
        let items = self.list(key)?;
        let names = items.into_iter().map(|item| name(key, item.text(key)?));
        let names: Vec<Name> = names.collect::<Result<_, Invalid>>()?;
        sorted(key, names)
    }

    /// The opaque bytes of the request, which stand under `key` in JSON.
    pub(super) fn body(self, key: &'static str) -> Result<Arc<[u8]>, Invalid> {
        let map = match self {
            Fields::Words(request) => return Ok(request.body.into()),
            Fields::Json(map) => map,
        };
        let coded_key = format!("{key}_base64");
        let text = self.text(key)?;
        let coded = match map.get(&coded_key) {
            None | Some(Value::Null) => None,
            Some(Value::String(coded)) => Some(coded),
            Some(other) => return Err(wrong_bytes(key, &other.to_string())),
        };
        match (text, coded) {
            (Some(text), None) => Ok(text.as_bytes().into()),
            (None, None) => Ok(Arc::from([])),
            (None, Some(coded)) => {
                BASE64.decode(coded).map(Arc::from).map_err(|_| wrong_bytes(key, coded))
            }
            (Some(_), Some(_)) => Err(Invalid::Both { one: key.into(), other: coded_key.into() }),
        }
    }
}

impl<'a> Item<'a> {
    /// The item as text.
    pub(super) fn text(self, field: &'static str) -> Result<&'a str, Invalid> {
        match self {
            Item::Word(word) => Ok(word),
            Item::Json(Value::String(text)) => Ok(text),
            Item::Json(other) => Err(wrong(field, &other.to_string(), "an array of strings")),
        }
    }
}

impl Range {
    /// Any number, such as that of a task.
    pub(super) const ID: Range = Range { what: "a whole number", min: 0, max: u64::MAX };

    /// Any other length of time.
    pub(super) const fn ms(min: u64, max: u64) -> Range {
        Range { what: "milliseconds", min, max }
    }

    /// How long one lease, attempt or silence may last.
    pub(super) const SPAN: Range = Range::ms(1_000, DAY_MS);
    /// How long somebody may be given, or asked to wait, within a day.
    pub(super) const PAUSE: Range = Range::ms(0, DAY_MS);
    /// How long a task may live, or wait for its time: up to a year.
    pub(super) const LIFE: Range = Range::ms(1_000, YEAR_MS);
    /// How long something starts later, or is kept: up to a year.
    pub(super) const DELAY: Range = Range::ms(0, YEAR_MS);
    /// How long a key is remembered: up to thirty days.
    pub(super) const WINDOW: Range = Range::ms(1_000, 30 * DAY_MS);
    /// How long an answer may be waited for: up to an hour.
    pub(super) const WAIT: Range = Range::ms(0, 3_600_000);
    /// A time of the wall clock: up to the end of the year 9999.
    pub(super) const WALL: Range =
        Range { what: "milliseconds since 1970", min: 0, max: 253_402_300_799_999 };

    /// A number of things.
    pub(super) const fn count(min: u64, max: u64) -> Range {
        Range { what: "a number", min, max }
    }

    fn check(self, field: &'static str, found: Item<'_>) -> Result<u64, Invalid> {
        let (number, shown) = match found {
            Item::Word(word) => (word.parse().ok(), Cow::Borrowed(word)),
            Item::Json(value) => (value.as_u64(), Cow::Owned(value.to_string())),
        };
        let inside = number.filter(|number| (self.min..=self.max).contains(number));
        inside.ok_or_else(|| wrong(field, &shown, &self.allowed()))
    }

    fn allowed(self) -> String {
        let Range { what, min, max } = self;
        if max == u64::MAX { what.to_owned() } else { format!("{what} from {min} to {max}") }
    }
}

const DAY_MS: u64 = 86_400_000;
const YEAR_MS: u64 = 365 * DAY_MS;

/// Check a name.
pub(super) fn name(field: &'static str, text: &str) -> Result<Name, Invalid> {
    Name::parse(text).map_err(|error| Invalid::Name { field, error })
}

/// `items` in order, without duplicates, if there are not too many.
pub(super) fn sorted<T: Ord>(field: &'static str, mut items: Vec<T>) -> Result<Vec<T>, Invalid> {
    items.sort();
    items.dedup();
    if items.len() > NAMES_MAX {
        let found = format!("a list of {}", items.len());
        return Err(wrong(field, &found, &format!("a list of at most {NAMES_MAX}")));
    }
    Ok(items)
}

/// A value that is not allowed.
pub(super) fn wrong(field: &'static str, found: &str, allowed: &str) -> Invalid {
    let mut found: String = match found.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}...", &found[..end]),
        None => found.to_owned(),
    };
    if found.is_empty() {
        "empty".clone_into(&mut found);
    }
    Invalid::Value { field, found, allowed: allowed.to_owned().into() }
}

fn wrong_bytes(key: &'static str, found: &str) -> Invalid {
    wrong(key, found, &format!("text, or base64 with padding under {key}_base64"))
}

/// The word that stands for `key`: an argument, or the last option of that name.
fn word_of<'a>(request: &'a Request<'a>, key: &str) -> Option<&'a str> {
    let position = request.verb.arguments().iter().position(|argument| *argument == key);
    match position {
        Some(position) => request.arguments.get(position).copied(),
        None => request.option(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_number(value: &Value, range: Range) -> String {
        let map = json!({ "n": value });
        let fields = Fields::Json(map.as_object().unwrap());
        match fields.number("n", range) {
            Ok(found) => format!("{found:?}"),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn a_range_holds_on_both_sides_of_each_edge() {
        let range = Range::count(2, 5);
        for (word, fits) in [("1", false), ("2", true), ("5", true), ("6", false), ("x", false)] {
            assert_eq!(range.check("n", Item::Word(word)).is_ok(), fits, "{word}");
        }
        assert!(Range::SPAN.check("n", Item::Word("999")).is_err());
        assert!(Range::SPAN.check("n", Item::Word("86400000")).is_ok());
        assert!(Range::SPAN.check("n", Item::Word("86400001")).is_err());
        assert!(Range::ID.check("n", Item::Word("18446744073709551615")).is_ok());
        assert!(Range::ID.check("n", Item::Word("18446744073709551616")).is_err());
    }

    #[test]
    fn a_json_number_is_whole_and_says_what_it_should_be() {
        assert_eq!(json_number(&json!(3), Range::count(2, 5)), "Some(3)");
        assert_eq!(json_number(&json!(null), Range::count(2, 5)), "None");
        for (value, shown) in
            [(json!(1.5), "1.5"), (json!("3"), "\"3\""), (json!(-1), "-1"), (json!([]), "[]")]
        {
            let sentence = json_number(&value, Range::count(2, 5));
            assert_eq!(sentence, format!("n is {shown}; allowed is a number from 2 to 5"));
        }
    }

    #[test]
    fn a_wrong_value_is_repeated_in_part_only() {
        let Invalid::Value { found, .. } = wrong("n", &"x".repeat(1_000), "less") else { panic!() };
        assert_eq!(found.len(), EXCERPT_CHARS + 3);
    }
}
