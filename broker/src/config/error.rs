//! What can be wrong with a configuration. Every complaint names the place, the key, what was
//! found there, and what would have been accepted.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origin::Origin;

/// The configuration cannot be used. The broker does not start; the exit code is 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--config` cannot be read.
    #[error("{}: the configuration file cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: not TOML: {message}")]
    Syntax {
        /// The place.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// It can be read, and these things are wrong with it.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such key.
    Unknown {
        /// The place.
        origin: Origin,
        /// The key found, in full.
        key: String,
        /// The key that was probably meant, or all that could have stood there.
        instead: String,
    },
    /// The key is right, the value is not.
    Value {
        /// The place.
        origin: Origin,
        /// The key, in full.
        key: String,
        /// What was found; secrets are described, not quoted.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// Each value is right, but not together.
    Contradiction {
        /// The place of the key named first.
        origin: Origin,
        /// What does not fit, with both keys, both values, and what would.
        sentence: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unknown { origin, key, instead } => {
                write!(f, "{origin}: there is no setting `{key}`; {instead}")
            }
            Fault::Value { origin, key, found, accepted } => {
                write!(f, "{origin}: `{key}` is {found}; accepted is {accepted}")
            }
            Fault::Contradiction { origin, sentence } => write!(f, "{origin}: {sentence}"),
        }
    }
}
