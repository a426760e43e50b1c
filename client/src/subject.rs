//! The subject of a received message: text that shares the bytes it arrived in.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// A subject. Cloning one is cheap, and one taken from a message points into the buffer that the
/// message was read into.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Always UTF-8: checked where it is made.
    bytes: Bytes,
}

impl Subject {
    /// The part `text` of `chunk`. Bytes that are not UTF-8 are replaced, at the price of a copy.
    pub(crate) fn slice(chunk: &Bytes, text: &[u8]) -> Subject {
        match std::str::from_utf8(text) {
            Ok(_) => Subject { bytes: chunk.slice_ref(text) },
            Err(_) => Subject::from(String::from_utf8_lossy(text).into_owned()),
        }
    }

    /// A subject from static text, without an allocation.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Subject {
        Subject { bytes: Bytes::from_static(text.as_bytes()) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("a subject is UTF-8 since it was made")
    }

    /// The text, in memory of its own.
    #[must_use]
    pub fn into_string(self) -> String {
        self.as_str().to_owned()
    }
}

impl Deref for Subject {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Subject {
        Subject { bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Subject {
        Subject { bytes: Bytes::from(text) }
    }
}

impl PartialEq<str> for Subject {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Subject {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
