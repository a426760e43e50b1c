//! Where a value came from: shown by `--print-config`, named in every complaint.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from. Later ones win over earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag on the command line.
    Flag {
        /// As it was spelled, without its value.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            // A path may hold line breaks; in a comment of the printed file it must not.
            Origin::File { path, line } => {
                write!(f, "{}:{line}", path.display().to_string().escape_debug())
            }
            Origin::Environment { variable } => f.write_str(variable),
            Origin::Flag { flag } => f.write_str(flag),
        }
    }
}
