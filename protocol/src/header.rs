//! The header block of a message, for those who look inside. To the broker it is opaque.
//!
//! ```text
//! block = "NATS/1.0" [SP code [SP text]] CRLF *( name ":" [SP] value CRLF ) CRLF
//! ```

/// Names and values in the order of the block. Names keep their case and may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    status: Option<StatusLine>,
    fields: Vec<(String, String)>,
}

/// The status on the first line of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// Three digits; 503 means that nobody took the request.
    pub code: u16,
    /// For people; may be empty.
    pub text: String,
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The block does not start with `NATS/1.0`.
    #[error("header block does not start with NATS/1.0")]
    Version,
    /// The block does not end with an empty line.
    #[error("header block does not end with an empty line")]
    NoEnd,
    /// A line has no colon, an empty name, or half a line end in it.
    #[error("header line {line:?} is not name: value")]
    Line {
        /// The start of the line.
        line: String,
    },
    /// A name or value that cannot be put on the wire.
    #[error(
        "header {name:?} may not hold a colon, a blank or a line break in its name, nor a line break in its value"
    )]
    Forbidden {
        /// The name.
        name: String,
    },
}

impl HeaderMap {
    /// No headers.
    #[must_use]
    pub fn new() -> HeaderMap {
        HeaderMap::default()
    }

    /// Add a value; earlier ones of the same name stay. Blanks around a value do not survive the
    /// wire.
    ///
    /// # Errors
    /// [`HeaderError::Forbidden`] for a name or value that would break the block.
    pub fn append(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), HeaderError> {
        let (name, value) = (name.into(), value.into());
        let name_is_bad = name.is_empty() || name.chars().any(|c| c == ':' || c <= ' ');
        if name_is_bad || value.contains(['\r', '\n']) {
            return Err(HeaderError::Forbidden { name });
        }
        self.fields.push((name, value));
        Ok(())
    }

    /// The first value of a name, case as given.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name, case as given.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Every name and value in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The status of the block, if its first line has one.
    #[must_use]
    pub fn status(&self) -> Option<&StatusLine> {
        self.status.as_ref()
    }

    /// Whether there is neither a field nor a status.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.status.is_none()
    }

    /// Append the block to `out` and return its size in bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(b"NATS/1.0");
        if let Some(status) = &self.status {
            out.extend_from_slice(format!(" {:03}", status.code).as_bytes());
            if !status.text.is_empty() {
                out.push(b' ');
                out.extend_from_slice(status.text.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        out.len() - start
    }

    /// Take a block apart. `block` is exactly the block, with its final empty line.
    ///
    /// # Errors
    /// [`HeaderError`] when it does not follow the grammar.
    pub fn parse(block: &[u8]) -> Result<HeaderMap, HeaderError> {
        let text = String::from_utf8_lossy(block);
        let text = text.strip_prefix("NATS/1.0").ok_or(HeaderError::Version)?;
        // The line end of the last line, then the empty line.
        let lines = text.strip_suffix("\r\n\r\n").ok_or(HeaderError::NoEnd)?;
        let mut lines = lines.split("\r\n");
        let first = lines.next().unwrap_or_default();
        if !first.is_empty() && !first.starts_with(' ') {
            return Err(HeaderError::Version);
        }
        let mut map = HeaderMap { status: status_line(first), fields: Vec::new() };
        for line in lines {
            match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && !line.contains(['\r', '\n']) => {
                    map.fields.push((name.to_owned(), value.trim().to_owned()));
                }
                _ => {
                    let line = line.chars().take(LINE_EXCERPT_CHARS).collect();
                    return Err(HeaderError::Line { line });
                }
            }
        }
        Ok(map)
    }
}

/// Enough of a wrong line to recognise it by.
const LINE_EXCERPT_CHARS: usize = 40;

fn status_line(text: &str) -> Option<StatusLine> {
    let text = text.trim();
    let (code, text) = text.split_once(' ').unwrap_or((text, ""));
    let three_digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code = if three_digits { code.parse().ok()? } else { return None };
    Some(StatusLine { code, text: text.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_the_round_trip() {
        let mut map = HeaderMap::new();
        map.append("Trace", "a: b").expect("a legal field");
        map.append("trace", "").expect("a legal field");
        let mut block = Vec::new();
        assert_eq!(map.encode(&mut block), block.len());
        assert_eq!(HeaderMap::parse(&block), Ok(map));
    }

    #[test]
    fn the_status_of_an_unanswered_request_is_read() {
        let map = HeaderMap::parse(b"NATS/1.0 503\r\nNats-Subject: a\r\n\r\n").expect("a block");
        assert_eq!(map.status().map(|status| status.code), Some(503));
        assert_eq!(map.first("Nats-Subject"), Some("a"));
    }

    #[test]
    fn a_block_that_does_not_follow_the_grammar_is_refused_with_the_reason() {
        let line = |line: &str| HeaderError::Line { line: line.to_owned() };
        for (block, error) in [
            ("", HeaderError::Version),
            ("HTTP/1.1\r\n\r\n", HeaderError::Version),
            ("NATS/1.01\r\n\r\n", HeaderError::Version),
            ("NATS/1.0", HeaderError::NoEnd),
            ("NATS/1.0\r\n", HeaderError::NoEnd),
            ("NATS/1.0\r\nA: 1\r\n", HeaderError::NoEnd),
            ("NATS/1.0\r\nA: 1\n\n", HeaderError::NoEnd),
            ("NATS/1.0\r\nA\r\n\r\n", line("A")),
            ("NATS/1.0\r\n: 1\r\n\r\n", line(": 1")),
            ("NATS/1.0\r\nA: 1\r\n\r\nB: 2\r\n\r\n", line("")),
            ("NATS/1.0\r\nA: 1\nB: 2\r\n\r\n", line("A: 1\nB: 2")),
        ] {
            assert_eq!(HeaderMap::parse(block.as_bytes()), Err(error), "{block:?}");
        }
    }

    #[test]
    fn a_status_has_three_digits() {
        for (first, code) in [
            ("", None),
            (" 503", Some(503)),
            (" 100 Idle", Some(100)),
            (" +50", None),
            (" 1", None),
        ] {
            let map = HeaderMap::parse(format!("NATS/1.0{first}\r\n\r\n").as_bytes());
            let map = map.expect("a block");
            assert_eq!(map.status().map(|status| status.code), code, "{first:?}");
        }
    }

    #[test]
    fn a_field_cannot_smuggle_another_one_in() {
        let mut map = HeaderMap::new();
        assert!(map.append("a", "1\r\nb: 2").is_err());
        assert!(map.append("a:b", "1").is_err());
        assert!(map.append("", "1").is_err());
        assert!(map.is_empty());
    }
}
