//! Why a handler gives an attempt up.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::answer::{milliseconds, option};

/// Why an attempt failed, for the submitter, and whether another one can help.
///
/// Every error converts into one that is worth a retry, so `?` works in handlers.
#[derive(Clone, PartialEq, Eq)]
pub struct JobError {
    pub(crate) error: Bytes,
    class: &'static str,
    retry_after: Option<Duration>,
}

impl JobError {
    /// Another attempt may succeed.
    #[must_use]
    pub fn retry(error: impl Into<Bytes>) -> JobError {
        JobError { error: error.into(), class: "retry", retry_after: None }
    }

    /// No further attempt can help: the task is dead at once.
    #[must_use]
    pub fn fatal(error: impl Into<Bytes>) -> JobError {
        JobError { error: error.into(), class: "fatal", retry_after: None }
    }

    /// Whoever the work called wants fewer calls: no attempt is used up, the task is tried again
    /// after this time, and until then nothing that has one of its rates
    /// ([`crate::TaskBuilder::rate`]) is handed out.
    #[must_use]
    pub fn rate_limited(error: impl Into<Bytes>, retry_after: Duration) -> JobError {
        let (error, class) = (error.into(), "rate_limited");
        JobError { error, class, retry_after: Some(retry_after) }
    }

    /// Not before this time has passed, in whole milliseconds. Default: the broker's back-off.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> JobError {
        self.retry_after = Some(delay);
        self
    }

    pub(crate) fn options(&self) -> [Option<String>; 2] {
        let after = self.retry_after.map(|after| option("retry_after_ms", milliseconds(after)));
        [Some(option("class", self.class)), after]
    }
}

impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> JobError {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        JobError::retry(text)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobError({}: {})", self.class, String::from_utf8_lossy(&self.error))
    }
}
