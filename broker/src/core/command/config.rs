//! Settings that agents and operators share: small values under names, kept until they are changed.

use std::sync::Arc;

use super::Name;

/// What may be asked about shared settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigCommand {
    /// Look at one.
    Get {
        /// Which.
        key: Name,
    },
    /// Set one.
    Set {
        /// Which.
        key: Name,
        /// To what: opaque bytes.
        value: Arc<[u8]>,
        /// The version that is changed, to notice that somebody else was faster: 0 if there is
        /// none yet; `None`: whatever it is.
        version: Option<u64>,
    },
    /// Look at all of them, in the order of their names.
    List,
}

/// A shared setting as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigView {
    /// Its name.
    pub key: Name,
    /// Opaque bytes.
    pub value: Arc<[u8]>,
    /// 1 when it was first set, one more with each change.
    pub version: u64,
}
