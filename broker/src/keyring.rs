//! Whose token it is, for doors that cannot wait for the core: the tokens that are valid, as the
//! commit thread tells of them once they are on disk.

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::core::command::{Name, TokenDigest};
use crate::token;

/// Every valid token, by its digest, and the agent that has it. As many as the core allows.
#[derive(Debug, Default)]
pub struct Keyring(RwLock<HashMap<TokenDigest, Name>>);

impl Keyring {
    /// The agent that has the token `shown`.
    #[must_use]
    pub fn agent(&self, shown: &str) -> Option<Name> {
        let digest = token::digest(shown)?;
        self.0.read().get(&digest).cloned()
    }

    pub(crate) fn insert(&self, digest: TokenDigest, agent: Name) {
        self.0.write().insert(digest, agent);
    }

    pub(crate) fn remove(&self, digest: &TokenDigest) {
        self.0.write().remove(digest);
    }
}
