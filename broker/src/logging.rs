//! Log lines: to stderr, readable on a terminal, JSON for machines everywhere else.
//!
//! Control bytes in values are escaped by the formatters, so nothing a client sends can forge a
//! line. Secrets never come here at all.

mod flood;
mod line;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::ValueEnum;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, reload};

use self::flood::Flood;
pub use self::flood::LeftOut;

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

/// The log of this process; clones are the same.
#[derive(Clone)]
pub struct Log {
    set: Arc<dyn Fn(EnvFilter) + Send + Sync>,
    flood: Flood,
}

impl Log {
    /// Of a process that writes no lines.
    #[must_use]
    pub fn silent() -> Log {
        Log { set: Arc::new(|_| {}), flood: Flood::default() }
    }

    /// Write lines of `level` and above from now on, as in [`start`].
    ///
    /// # Errors
    /// [`LogLevelError`] if `level` is neither a level nor a list of them.
    pub fn set_level(&self, level: &str) -> Result<(), LogLevelError> {
        (self.set)(filter(level)?);
        Ok(())
    }

    /// Lines that were left out since this was asked last, because there were too many like them.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.flood.left_out()
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogLevelError> {
    EnvFilter::try_new(level).map_err(|_| LogLevelError { found: level.into() })
}

/// Send log lines of `level` and above to stderr, for the rest of the process. `format` is chosen
/// by whether stderr is a terminal if it is `None`. Call once.
///
/// # Errors
/// [`LogLevelError`] if `level` is neither a level nor a list of them.
pub fn start(format: Option<Format>, level: &str) -> Result<Log, LogLevelError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { Format::Text } else { Format::Json });
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            lines.with_ansi(colour).boxed()
        }
        Format::Json => {
            lines.event_format(line::Json).fmt_fields(fmt::format::JsonFields::new()).boxed()
        }
    };
    let flood = Flood::default();
    tracing_subscriber::registry().with(filter).with(flood.clone()).with(lines).init();
    // Fails if there is no subscriber any more, and this one stays.
    let set = move |filter| drop(handle.reload(filter));
    Ok(Log { set: Arc::new(set), flood })
}
