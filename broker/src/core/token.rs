//! Who may come in as which agent? Tokens, by what they are digested to.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::command::{Name, TokenDigest};
use super::record::TokenRow;

/// Every token that is valid.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_digest: HashMap<TokenDigest, TokenRow>,
    by_agent: BTreeMap<Name, Vec<TokenDigest>>,
}

impl Tokens {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Those of one agent.
    pub(super) fn of(&self, agent: &Name) -> &[TokenDigest] {
        self.by_agent.get(agent).map_or(&[], |digests| digests)
    }

    /// Whoever has one, by name.
    pub(super) fn agents(&self) -> impl Iterator<Item = &Name> {
        self.by_agent.keys()
    }

    /// One token.
    pub(super) fn find(&self, digest: &TokenDigest) -> Option<&TokenRow> {
        self.by_digest.get(digest)
    }

    /// All of them, agent by agent.
    pub(super) fn iter(&self) -> impl Iterator<Item = &TokenRow> {
        self.by_agent.values().flatten().map(|digest| &self.by_digest[digest])
    }

    /// One more; the digest is not there yet.
    pub(super) fn insert(&mut self, row: TokenRow) {
        let digests = self.by_agent.entry(row.agent.clone()).or_default();
        digests.push(row.digest);
        let before = self.by_digest.insert(row.digest, row);
        assert!(before.is_none(), "a token is issued once");
    }

    /// Take all tokens of an agent away; gives what they were.
    pub(super) fn remove_of(&mut self, agent: &Name) -> Vec<TokenDigest> {
        let digests = self.by_agent.remove(agent).unwrap_or_default();
        for digest in &digests {
            self.by_digest.remove(digest);
        }
        digests
    }
}
