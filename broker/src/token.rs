//! Tokens as their holders know them: 64 hex digits. What the broker keeps is in `core/token.rs`.

use std::io;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use crate::core::command::TokenDigest;

/// Length in hex digits: 32 random bytes, as every token of the legacy hub.
pub const DIGITS: usize = 64;

/// Longest token that is looked up, in bytes: the limit of the legacy hub on what is shown.
const SHOWN_BYTES_MAX: usize = 256;

/// How many of its first digits a token is recognised by.
const PREFIX_DIGITS: usize = 8;

/// A token that nobody has had before.
///
/// # Errors
/// If the system has no randomness to give.
pub fn fresh() -> io::Result<String> {
    let mut bytes = [0; DIGITS / 2];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a shown token is looked up by; `None` if it can be none.
#[must_use]
pub fn digest(shown: &str) -> Option<TokenDigest> {
    let can_be = !shown.is_empty() && shown.len() <= SHOWN_BYTES_MAX;
    can_be.then(|| TokenDigest(Sha256::digest(shown.as_bytes()).into()))
}

/// What people recognise a token by.
#[must_use]
pub fn prefix(token: &str) -> &str {
    token.get(..PREFIX_DIGITS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_tokens_are_long_and_differ() {
        let (one, other) = (fresh().unwrap(), fresh().unwrap());
        assert_eq!(one.len(), DIGITS);
        assert!(one.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{one}");
        assert_ne!(one, other);
        assert_eq!(prefix(&one), &one[..8]);
    }

    #[test]
    fn a_digest_is_that_of_the_whole_token() {
        // printf %s abc | sha256sum
        assert_eq!(digest("abc").unwrap().0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_ne!(digest("abc"), digest("abd"));
        assert_eq!((digest(""), digest(&"x".repeat(257))), (None, None));
        assert!(digest(&"x".repeat(256)).is_some());
    }
}
