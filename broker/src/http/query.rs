//! The part of a target behind `?`: every mistake at once, like a body.

use std::collections::HashMap;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use super::error::{FieldError, HttpError};
use super::form::excerpt;

/// Parameters being read. Where one is wrong, the mistake is noted and a default goes on.
pub(super) struct Parameters {
    texts: HashMap<String, String>,
    errors: Vec<FieldError>,
}

/// What axum makes of the query.
pub(super) type Raw = Result<Query<HashMap<String, String>>, QueryRejection>;

impl Parameters {
    /// The parameters of a request; what cannot be read has none.
    pub(super) fn of(raw: Raw) -> Parameters {
        let texts = raw.map(|Query(texts)| texts).unwrap_or_default();
        Parameters { texts, errors: Vec::new() }
    }

    /// The text `name`, unless it is absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The number `name`; negative ones count as 0. `None` if it is absent.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        let text = self.texts.get(name)?;
        match text.parse::<i64>() {
            Ok(number) => u64::try_from(number).ok().or(Some(0)),
            Err(_) => {
                self.errors.push(FieldError {
                    field: name.to_owned(),
                    error: "wrong_type",
                    detail: "expected integer, got string".to_owned(),
                    value: Some(excerpt(text)),
                });
                None
            }
        }
    }

    /// All that is wrong, if anything is.
    pub(super) fn finish(self) -> Result<(), HttpError> {
        if self.errors.is_empty() { Ok(()) } else { Err(HttpError::Invalid(self.errors)) }
    }
}
