//! Tokens: what somebody shows to be let in as an agent.

use std::fmt;
use std::sync::Arc;

use super::Name;

/// The SHA-256 digest of a token. The token itself is known to whoever got it, and to nobody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

/// A digest can be guessed at offline, so it stays out of logs.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(********)")
    }
}

/// A new token for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueToken {
    /// Whose.
    pub agent: Name,
    /// Of the token.
    pub digest: TokenDigest,
    /// Its first characters, for people to recognise it by.
    pub prefix: Arc<str>,
    /// What becomes of those that the agent has.
    pub issue: Issue,
}

/// How a new token stands to those that the agent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// It is the first; refused if the agent has one.
    First,
    /// One more.
    Another,
    /// In place of all others; refused if the agent has none.
    InPlaceOfAll,
}

/// A token, as far as anybody may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// Whose.
    pub agent: Name,
    /// Its first characters.
    pub prefix: Arc<str>,
    /// Wall clock when it was issued.
    pub issued_ms: u64,
}
