//! Subjects and filters: checked once when parsed, never again.
//!
//! A subject is one or more tokens joined by dots. A token is any UTF-8 text without blanks and
//! control characters; `*` and `>` are wildcards only in a filter and only as a whole token
//! (`foo*` is a literal). The source of the rules is the NATS client protocol; that control
//! characters are refused is ours, so that nothing forwarded can forge a line of the protocol.

use memchr::memchr_iter;

/// The name a message is published to. Wildcards have no meaning in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject<'a>(&'a str);

/// What a subscription asks for: tokens, `*` for exactly one, and a last `>` for one or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter<'a>(&'a str);

/// Bytes that are no subject or no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Two dots in a row, one at an end, or nothing at all.
    #[error("has an empty token; allowed are non-empty tokens joined by single dots")]
    EmptyToken,
    /// `>` stands before the last token.
    #[error("has '>' before its last token; it is allowed only at the end")]
    TailInMiddle,
    /// A blank, a control character, or bytes that are not UTF-8.
    #[error(
        "has a byte that is not allowed; allowed is UTF-8 text without blanks and control characters"
    )]
    Byte,
}

impl<'a> Subject<'a> {
    /// Check `bytes` (without blanks around them).
    ///
    /// # Errors
    /// [`SubjectError`] for an empty token or a forbidden byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Subject<'a>, SubjectError> {
        checked_text(bytes).map(Subject)
    }

    /// The text of the subject.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether a token is `*` or `>`: legal, routed as a literal, and reported to a pedantic
    /// publisher.
    #[must_use]
    pub fn has_wildcard_token(&self) -> bool {
        tokens(self.0).any(|token| token == "*" || token == ">")
    }
}

impl<'a> Filter<'a> {
    /// Check `bytes` (without blanks around them).
    ///
    /// # Errors
    /// [`SubjectError`] for an empty token, a `>` that is not last, or a forbidden byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Filter<'a>, SubjectError> {
        let text = checked_text(bytes)?;
        match tokens(text).position(|token| token == ">") {
            Some(at) if at + 1 != tokens(text).count() => Err(SubjectError::TailInMiddle),
            _ => Ok(Filter(text)),
        }
    }

    /// The text of the filter.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether the filter is a plain subject.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !tokens(self.0).any(|token| token == "*" || token == ">")
    }

    /// Whether `subject` is wanted. Walks both; for one filter, not for many.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let mut wanted = tokens(self.0);
        let mut found = tokens(subject);
        loop {
            match (wanted.next(), found.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether every subject that `other` wants is wanted by `self` too.
    #[must_use]
    pub fn covers(&self, other: &str) -> bool {
        let mut wide = tokens(self.0);
        let mut narrow = tokens(other);
        loop {
            match (wide.next(), narrow.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether some subject is wanted by both.
    #[must_use]
    pub fn overlaps(&self, other: &str) -> bool {
        let mut left = tokens(self.0);
        let mut right = tokens(other);
        loop {
            match (left.next(), right.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }
}

/// The tokens of a subject or filter, in order.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split('.')
}

fn checked_text(bytes: &[u8]) -> Result<&str, SubjectError> {
    if bytes.iter().any(|&b| b <= b' ' || b == 0x7f) {
        return Err(SubjectError::Byte);
    }
    let mut token_start = 0;
    for dot in memchr_iter(b'.', bytes) {
        if dot == token_start {
            return Err(SubjectError::EmptyToken);
        }
        token_start = dot + 1;
    }
    if token_start == bytes.len() {
        return Err(SubjectError::EmptyToken);
    }
    match std::str::from_utf8(bytes) {
        // Beyond ASCII there are 32 more control characters; a terminal obeys some of them.
        Ok(text) if text.is_ascii() || !text.chars().any(char::is_control) => Ok(text),
        _ => Err(SubjectError::Byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_match(filter: &str, subject: &str, expected: bool) {
        let filter = Filter::parse(filter.as_bytes()).expect("a filter");
        assert_eq!(filter.matches(subject), expected, "{filter:?} on {subject}");
    }

    #[test]
    fn star_matches_exactly_one_token() {
        check_match("a.*.c", "a.b.c", true);
        check_match("a.*", "a", false);
        check_match("a.*", "a.b.c", false);
        check_match("*", "a", true);
    }

    #[test]
    fn tail_wildcard_needs_at_least_one_token() {
        check_match("a.>", "a", false);
        check_match("a.>", "a.b", true);
        check_match("a.>", "a.b.c", true);
        check_match(">", "a", true);
    }

    #[test]
    fn wildcards_inside_a_token_are_literal() {
        check_match("foo*", "foo*", true);
        check_match("foo*", "food", false);
        check_match("b>r", "b>r", true);
    }

    #[test]
    fn malformed_subjects_are_refused_with_the_reason() {
        for (text, error) in [
            ("", SubjectError::EmptyToken),
            (".a", SubjectError::EmptyToken),
            ("a.", SubjectError::EmptyToken),
            ("a..b", SubjectError::EmptyToken),
            ("a b", SubjectError::Byte),
            ("a\u{7f}", SubjectError::Byte),
            ("a\u{9b}2J", SubjectError::Byte),
            ("a\r\nPUB x 0", SubjectError::Byte),
        ] {
            assert_eq!(Subject::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(Subject::parse(b"a\xff"), Err(SubjectError::Byte));
        assert_eq!(Filter::parse(b"a.>.b"), Err(SubjectError::TailInMiddle));
        assert!(Subject::parse("größe.ä".as_bytes()).is_ok());
    }

    #[test]
    fn covering_is_matching_for_every_subject_of_the_narrow_filter() {
        let covers = |wide: &str, narrow: &str| Filter(wide).covers(narrow);
        assert!(covers("a.>", "a.b.>") && covers("a.*", "a.b") && covers(">", "*"));
        assert!(!covers("a.*", "a.>") && !covers("a.b", "a.*") && !covers("a.>", "a"));
    }

    #[test]
    fn overlap_needs_one_common_subject() {
        let overlaps = |a: &str, b: &str| Filter(a).overlaps(b);
        assert!(overlaps("a.*", "*.b") && overlaps(">", "a.b") && overlaps("a.>", "*.b.c"));
        assert!(!overlaps("a.*", "b.*") && !overlaps("a", "a.>") && !overlaps("a.b", "a.c"));
    }
}
