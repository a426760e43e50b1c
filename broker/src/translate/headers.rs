//! Headers: names and values beside a payload. In words `name:value`, with the bytes that a word
//! cannot have as `%20` (the way of W3C baggage); in JSON an object. They are kept and handed on as
//! the JSON object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Invalid;
use super::fields::{Fields, Item, NAMES_MAX, name, wrong};
use crate::core::command::Name;

/// Longest value, in characters. With all names and escapes, headers stay below 64 KiB.
pub(super) const VALUE_CHARS_MAX: usize = 256;

/// The headers of a task, if there are any.
pub(super) fn headers(fields: Fields<'_>) -> Result<Option<Arc<[u8]>>, Invalid> {
    let pairs = match fields {
        Fields::Words(_) => {
            let pair = |item: Item<'_>| {
                let text = item.text("headers")?;
                match text.split_once(':') {
                    Some((name_, found)) => Ok((name("headers", name_)?, decoded(found)?)),
                    None => Err(wrong("headers", text, "a list of name:value")),
                }
            };
            let items = fields.list("headers")?.into_iter();
            items.map(pair).collect::<Result<Vec<_>, Invalid>>()?
        }
        Fields::Json(map) => match map.get("headers") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(pairs)) => {
                let pair = |(name_, found): (&String, &Value)| match found {
                    Value::String(text) => Ok((name("headers", name_)?, value(text)?)),
                    other => Err(wrong("headers", &other.to_string(), "a string")),
                };
                pairs.iter().map(pair).collect::<Result<Vec<_>, Invalid>>()?
            }
            Some(other) => {
                let allowed = "an object such as {\"Content-Type\":\"text/plain\"}";
                return Err(wrong("headers", &other.to_string(), allowed));
            }
        },
    };
    if pairs.len() > NAMES_MAX {
        let found = format!("a list of {}", pairs.len());
        return Err(wrong("headers", &found, &format!("a list of at most {NAMES_MAX}")));
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let count = pairs.len();
    let headers: BTreeMap<Name, String> = pairs.into_iter().collect();
    if headers.len() < count {
        return Err(wrong("headers", "one name twice", "one value for each name"));
    }
    let headers: serde_json::Map<String, Value> =
        headers.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
    Ok(Some(Value::Object(headers).to_string().into_bytes().into()))
}

/// The same, to show; an object even if the stored bytes are none.
pub(super) fn shown(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

/// A value of a word: `%` and two hexadecimal digits are a byte.
fn decoded(text: &str) -> Result<String, Invalid> {
    let not_so =
        || wrong("headers", text, "UTF-8 text, with % and two hexadecimal digits for a byte");
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((&first, rest)) = left.split_first() {
        left = rest;
        if first == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or_else(not_so)?);
            left = &rest[2..];
        } else {
            bytes.push(first);
        }
    }
    value(&String::from_utf8(bytes).map_err(|_| not_so())?)
}

fn value(text: &str) -> Result<String, Invalid> {
    let is_fine = text.chars().count() <= VALUE_CHARS_MAX && !text.contains(char::is_control);
    if is_fine {
        return Ok(text.to_owned());
    }
    let allowed = format!("a value of up to {VALUE_CHARS_MAX} printable characters");
    Err(wrong("headers", text, &allowed))
}

#[cfg(test)]
mod tests {
    use agentcom_protocol::{Request, Verb};
    use serde_json::json;

    use super::*;

    fn text(found: Result<Option<Arc<[u8]>>, Invalid>) -> Result<String, String> {
        let found = found.map_err(|invalid| invalid.to_string())?;
        Ok(found.map_or_else(String::new, |bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    fn of_words(list: &str) -> Result<String, String> {
        let (verb, tag, arguments) = (Verb::QueuePut, "1", vec!["q"]);
        let options = vec![("headers", list)];
        text(headers(Fields::Words(&Request { verb, tag, arguments, options, body: b"" })))
    }

    fn of_json(found: Value) -> Result<String, String> {
        let body = json!({ "headers": found });
        text(headers(Fields::Json(body.as_object().unwrap())))
    }

    #[test]
    fn headers_are_read_in_both_spellings_and_kept_in_one() {
        let both = Ok(r#"{"Content-Type":"text/plain","trace":"1:2"}"#.to_owned());
        assert_eq!(of_words("trace:1:2,Content-Type:text/plain"), both);
        assert_eq!(of_json(json!({"trace": "1:2", "Content-Type": "text/plain"})), both);
        assert_eq!((of_words(""), of_json(json!({}))), (Ok(String::new()), Ok(String::new())));
        let blank = Ok(r#"{"a":"x, y%é"}"#.to_owned());
        assert_eq!(of_words("a:x%2C%20y%25%C3%a9"), blank);
        assert_eq!(of_json(json!({"a": "x, y%é"})), blank);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for list in ["trace", ":x", "a b:1", "a:1,a:2", "a:%", "a:%2", "a:%+1", "a:%ff", "a:%0A"] {
            assert!(of_words(list).unwrap_err().contains("headers"), "{list}");
        }
        for found in [json!({"a": 1}), json!({"a": "x\ny"}), json!(["a:1"]), json!("a:1")] {
            of_json(found).unwrap_err();
        }
        assert!(of_json(json!({"a": "x".repeat(256)})).is_ok());
        of_json(json!({"a": "x".repeat(257)})).unwrap_err();
        let many = |count| {
            (0..count).map(|n| (format!("h{n}"), "".into())).collect::<serde_json::Map<_, _>>()
        };
        assert!(of_json(many(20).into()).is_ok());
        of_json(many(21).into()).unwrap_err();
    }
}
