//! Headers of a message, with the method names that users of NATS clients know.

use agentcom_protocol as protocol;

/// Names and values. Names keep their case, may repeat, and are compared as given.
///
/// Adding a malformed header does not fail at once: the publish that carries it does, with
/// [`crate::PublishErrorKind::InvalidHeaders`].
///
/// ```
/// let mut headers = agentcom_client::HeaderMap::new();
/// headers.insert("Trace", "7f3a");
/// headers.append("Hop", "a");
/// headers.append("Hop", "b");
/// assert_eq!(headers.get("Trace"), Some("7f3a"));
/// assert_eq!(headers.get_all("Hop").count(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    fields: protocol::HeaderMap,
    /// The first header that was refused.
    refused: Option<protocol::HeaderError>,
}

impl HeaderMap {
    /// No headers.
    #[must_use]
    pub fn new() -> HeaderMap {
        HeaderMap::default()
    }

    /// Set a header; earlier values of the same name are gone. Costs a pass over all headers.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        if self.get(&name).is_some() {
            let mut kept = protocol::HeaderMap::new();
            for (other, value) in self.fields.iter().filter(|(other, _)| *other != name) {
                kept.append(other, value).expect("a header that was accepted before");
            }
            self.fields = kept;
        }
        self.append(name, value);
    }

    /// Add a value; earlier values of the same name stay.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        if let Err(error) = self.fields.append(name, value) {
            self.refused.get_or_insert(error);
        }
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.first(name)
    }

    /// The last value of a name.
    #[must_use]
    pub fn get_last(&self, name: &str) -> Option<&str> {
        self.iter().filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }

    /// All values of a name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.all(name)
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter()
    }

    /// Whether there is no header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// A block as it was received.
    pub(crate) fn received(fields: protocol::HeaderMap) -> HeaderMap {
        HeaderMap { fields, refused: None }
    }

    /// Append the block to `out` and return its size in bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<usize, protocol::HeaderError> {
        match &self.refused {
            Some(error) => Err(error.clone()),
            None => Ok(self.fields.encode(out)),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_replaces_and_append_keeps() {
        let mut headers: HeaderMap = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        headers.insert("a", "4");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", "2"), ("a", "4")]);
        assert_eq!((headers.get_last("a"), headers.len()), (Some("4"), 2));
    }

    #[test]
    fn a_refused_header_fails_the_encoding_and_not_the_caller() {
        let mut headers = HeaderMap::new();
        headers.insert("a", "1\r\nb: 2");
        assert!(headers.encode(&mut Vec::new()).is_err());
    }
}
