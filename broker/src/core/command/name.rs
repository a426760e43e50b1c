//! Names: one rule for queues, agents, capabilities, keys and labels.

use std::fmt;
use std::sync::Arc;

/// A name of a queue, an agent, a capability, a key or a label: 1 to 64 characters out of
/// letters, digits, `-`, `_`, `.`. One rule for all, so that each can be a token or a suffix of a
/// subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Text that is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty; allowed are 1 to {max} characters", max = Name::LENGTH_MAX)]
    Empty,
    /// Too much there.
    #[error("is {length} characters long; allowed are 1 to {max}", max = Name::LENGTH_MAX)]
    TooLong {
        /// Length found, in characters.
        length: usize,
    },
    /// A character outside the allowed set.
    #[error("contains {found:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character {
        /// The first offender.
        found: char,
    },
}

impl Name {
    /// Longest name, in characters: the limit of the legacy hub for agent ids.
    pub const LENGTH_MAX: usize = 64;

    /// Check `text` once; a `Name` is valid for ever.
    ///
    /// # Errors
    /// [`NameError`], which says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(NameError::Character { found });
        }
        if text.len() > Name::LENGTH_MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        Ok(Name(text.into()))
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
