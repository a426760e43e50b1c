//! Times of the broker for people: how long ago, or how soon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `at_ms` (milliseconds since 1970) as seen from now, such as `5m ago` or `in 2h`.
pub(crate) fn relative(at_ms: u64) -> String {
    seen_from(now_ms(), at_ms)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn seen_from(now_ms: u64, at_ms: u64) -> String {
    let distance = short(Duration::from_millis(now_ms.abs_diff(at_ms)));
    if at_ms > now_ms { format!("in {distance}") } else { format!("{distance} ago") }
}

/// The largest unit of a duration that is there at least once.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_is_enough() {
        for (at_ms, text) in [
            (1_000_000, "0ms ago"),
            (999_001, "999ms ago"),
            (999_000, "1s ago"),
            (1_060_000, "in 1m"),
            (1_059_999, "in 59s"),
            (1_000_000 + 86_400_000, "in 1d"),
            (1_000_000 + 86_399_999, "in 23h"),
        ] {
            assert_eq!(seen_from(1_000_000, at_ms), text, "{at_ms}");
        }
    }
}
