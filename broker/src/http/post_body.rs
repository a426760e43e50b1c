//! A message in a body or a frame: field by field to a [`Post`], or every mistake at once.

use serde_json::Value;

use super::form::{Form, excerpt, too_long};
use crate::core::command::{Destination, MessageKind, Name, Post};
use crate::translate::message::{self, BROADCAST, Payload, TooLong};

impl<'a> Form<'a> {
    /// The message in the body; `kind` is the name of the field that says what it is for. Give
    /// `to` if that is known already. `None` if something is wrong, which was noted then.
    pub(super) fn post(&mut self, kind: &str, from: Name, to: Option<Destination>) -> Option<Post> {
        let payload = self.payload();
        let to = match to {
            Some(to) => Some(to),
            None => self.to(),
        };
        let kind = self.kind(kind);
        let reply_to = self.text_of("reply_to", message::reply_to);
        if !self.is_clean() {
            return None;
        }
        let payload = payload?;
        Some(Post {
            from,
            to: to?,
            kind: kind?,
            label: payload.label,
            payload: payload.json,
            reply_to,
        })
    }

    fn payload(&mut self) -> Option<Payload> {
        match self.field("payload") {
            None => self.required("payload"),
            Some(Value::Object(payload)) => match message::payload(payload.clone()) {
                Ok(payload) => return Some(payload),
                Err(TooLong { max, unit, .. }) => {
                    self.refuse("payload", "too_long", too_long(max, unit), None);
                }
            },
            Some(other) => self.wrong_type("payload", "object", other),
        }
        None
    }

    /// One agent by its name, or everybody: by that word, or by nobody's name.
    fn to(&mut self) -> Option<Destination> {
        match self.field("to") {
            None => return Some(Destination::Broadcast { is_named: false }),
            Some(Value::String(text)) if text == BROADCAST => {
                return Some(Destination::Broadcast { is_named: true });
            }
            Some(Value::String(text)) => match Name::parse(text) {
                Ok(agent) => return Some(Destination::Agent(agent)),
                Err(error) => {
                    self.refuse("to", "invalid_value", error.to_string(), Some(excerpt(text)));
                }
            },
            Some(other) => self.wrong_type("to", "string", other),
        }
        None
    }

    fn kind(&mut self, field: &str) -> Option<MessageKind> {
        match self.field(field) {
            None => return Some(MessageKind::default()),
            Some(Value::String(text)) => match MessageKind::parse(text) {
                Some(kind) => return Some(kind),
                None => {
                    let words: Vec<&str> = MessageKind::ALL.map(MessageKind::as_str).to_vec();
                    let detail = format!("must be one of {}", words.join(", "));
                    self.refuse(field, "invalid_value", detail, Some(excerpt(text)));
                }
            },
            Some(other) => self.wrong_type(field, "string", other),
        }
        None
    }

    /// The text `name`, if `parse` takes it; `None` if it is absent, or wrong, which was noted then.
    pub(super) fn text_of<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&'a str) -> Result<T, TooLong>,
    ) -> Option<T> {
        match self.field(name) {
            None => {}
            Some(Value::String(text)) => match parse(text) {
                Ok(parsed) => return Some(parsed),
                Err(TooLong { max, unit, .. }) => {
                    self.refuse(name, "too_long", too_long(max, unit), Some(excerpt(text)));
                }
            },
            Some(other) => self.wrong_type(name, "string", other),
        }
        None
    }

    /// The text `name` of at most so many characters; `None` if it is absent, or wrong, which was
    /// noted then.
    pub(super) fn text(&mut self, name: &str, most: usize) -> Option<&'a str> {
        self.text_of(name, |text| match text.chars().count() {
            found if found <= most => Ok(text),
            found => Err(TooLong { found, max: most, unit: "characters" }),
        })
    }

    /// [`Form::text`] of a field that must be there.
    pub(super) fn required_text(&mut self, name: &str, most: usize) -> Option<&'a str> {
        if self.field(name).is_none() {
            self.required(name);
        }
        self.text(name, most)
    }

    /// The whole number `name`; `None` if it is absent, or wrong, which was noted then.
    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        match self.field(name) {
            None => {}
            Some(value) => match value.as_i64() {
                Some(number) => return Some(number),
                None => self.wrong_type(name, "integer", value),
            },
        }
        None
    }

    /// Note that a field must be there.
    pub(super) fn required(&mut self, name: &str) {
        self.refuse(name, "required", "field is required".to_owned(), None);
    }
}
