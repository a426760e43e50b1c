//! Log lines: to stderr, readable on a terminal, JSON for machines everywhere else.
//!
//! Control bytes in values are escaped by the formatters, so nothing a client sends can forge a
//! line. Secrets never come here at all.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Log lines were asked for that cannot be made out.
#[derive(Debug, thiserror::Error)]
#[error(
    "`--log-level` is {found:?}; accepted is error, warn, info, debug, trace, off, or a list such as info,agentcom_broker::net=debug"
)]
pub struct LogLevelError {
    /// What was asked for.
    found: String,
}

/// Send log lines of `level` and above to stderr, for the rest of the process. `format` is chosen
/// by whether stderr is a terminal if it is `None`. Call once.
///
/// # Errors
/// [`LogLevelError`] if `level` is neither a level nor a list of them.
pub fn start(format: Option<Format>, level: &str) -> Result<(), LogLevelError> {
    let filter = EnvFilter::try_new(level).map_err(|_| LogLevelError { found: level.into() })?;
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { Format::Text } else { Format::Json });
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    match format {
        Format::Text => {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            builder.with_ansi(colour).init();
        }
        Format::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
