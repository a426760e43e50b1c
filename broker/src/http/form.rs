//! A body, field by field: the mistakes of all of them are told at once.

use serde_json::{Map, Value};

use super::error::{FieldError, HttpError};
use super::schemas::Field;

/// Enough of a value to recognise it by: the legacy contract's 8.1.
const EXCERPT_CHARS: usize = 50;

/// A body being read. Where a field is wrong, the mistake is noted and a default goes on.
pub(super) struct Form<'a> {
    fields: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// The body with these fields.
    pub(super) fn new(fields: &'a Map<String, Value>) -> Form<'a> {
        Form { fields, errors: Vec::new() }
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// All that is wrong, if anything is.
    pub(super) fn finish(self) -> Result<(), HttpError> {
        if self.errors.is_empty() { Ok(()) } else { Err(HttpError::Invalid(self.errors)) }
    }

    /// All that is wrong.
    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// The value of `name`, unless it is absent or null.
    pub(super) fn field(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// The items of the list `name`, of at most so many; none if it is absent or wrong.
    pub(super) fn list(&mut self, name: &str, most: usize) -> &'a [Value] {
        match self.field(name) {
            None => &[],
            Some(Value::Array(list)) if list.len() <= most => list,
            Some(Value::Array(_)) => {
                self.refuse(name, "too_long", too_long(most, "items"), None);
                &[]
            }
            Some(other) => {
                self.wrong_type(name, "array", other);
                &[]
            }
        }
    }

    /// Note the fields that are not of the type that the schemas say, unless something is noted of
    /// them already. Of a list, only the first bad item is told.
    pub(super) fn check_types(&mut self, fields: impl IntoIterator<Item = Field>) {
        for (name, kind) in fields {
            let Some(value) = self.field(name) else { continue };
            let is_of_it = |error: &FieldError| {
                let rest = error.field.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            };
            if self.errors.iter().any(is_of_it) {
                continue;
            }
            let item_kind = kind.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>'));
            match (item_kind, value) {
                (Some(kind), Value::Array(items)) => {
                    if let Some(place) = items.iter().position(|item| !is_kind(item, kind)) {
                        self.wrong_type(&format!("{name}[{place}]"), kind, &items[place]);
                    }
                }
                (Some(_), other) => self.wrong_type(name, "array", other),
                (None, value) if is_kind(value, kind) => {}
                (None, other) => self.wrong_type(name, &kind.replace('_', " "), other),
            }
        }
    }

    /// Note a value of another type.
    pub(super) fn wrong_type(&mut self, field: &str, want: &str, value: &Value) {
        let have = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let shown = match value {
            Value::String(text) => excerpt(text),
            Value::Array(_) | Value::Object(_) => Value::Null,
            scalar => scalar.clone(),
        };
        let value = (!shown.is_null()).then_some(shown);
        self.refuse(field, "wrong_type", format!("expected {want}, got {have}"), value);
    }

    /// Note a mistake.
    pub(super) fn refuse(
        &mut self,
        field: &str,
        error: &'static str,
        detail: String,
        value: Option<Value>,
    ) {
        self.errors.push(FieldError { field: field.to_owned(), error, detail, value });
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "object" => value.is_object(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "positive_integer" => value.as_u64().is_some_and(|number| number > 0),
        "number" => value.is_number(),
        _ => true,
    }
}

/// What is said of something that is too long.
pub(super) fn too_long(most: usize, unit: &str) -> String {
    format!("exceeds maximum length of {most} {unit}")
}

/// `text`, or its beginning and dots.
pub(super) fn excerpt(text: &str) -> Value {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}
