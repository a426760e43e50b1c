//! Whether a job should go on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Somebody wants the work stopped ([`crate::Job::cancellation`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancellation {
    /// Why, in somebody's words; empty if they gave none.
    pub reason: String,
    /// How long there is to stop before the broker takes the task away; `None` if the broker was
    /// asked while the connection was down.
    pub grace: Option<Duration>,
}

/// What the broker says about a job that runs, where the job can see it.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    stop: CancellationToken,
    cancellation: OnceLock<Cancellation>,
    is_revoked: AtomicBool,
}

impl StopSignal {
    /// Stop, and say so.
    pub(crate) fn cancel(&self, cancellation: Cancellation) {
        // A second one only shortens the time.
        let _ = self.cancellation.set(cancellation);
        self.stop.cancel();
    }

    /// Stop; there is nobody to say it to.
    pub(crate) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
        self.stop.cancel();
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.get()
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }
}
