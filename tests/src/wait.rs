//! The one place that waits for another process by looking again and again.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Short enough not to be felt in a test, long enough not to burn a core that the broker needs.
const PAUSE: Duration = Duration::from_millis(5);

/// Look until `look` finds something; `None` once `DEADLINE` has passed.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::park_timeout(PAUSE);
    }
}
