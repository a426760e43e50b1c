//! The name of a backup's folder: when it was made, `2026-11-27_03-00-00`, in UTC. The names are in
//! the order of the times, and none of them can lead out of the folder that they stand in.

use crate::core::calendar::Civil;
use crate::core::command::Name;

/// The name of a backup that is made at `wall_ms` (milliseconds since 1970).
#[must_use]
pub(super) fn of(wall_ms: u64) -> Name {
    let Civil { year, month, day, hour, minute, second } = Civil::of(wall_ms);
    let text = format!("{year:04}-{month:02}-{day:02}_{hour:02}-{minute:02}-{second:02}");
    Name::parse(&text).expect("digits, '-' and '_' make a name")
}

/// Whether a folder of that name is a backup.
#[must_use]
pub(super) fn is_one(name: &str) -> bool {
    let pattern = b"0000-00-00_00-00-00";
    let fits = |(&found, &wanted): (&u8, &u8)| match wanted {
        b'0' => found.is_ascii_digit(),
        wanted => found == wanted,
    };
    name.len() == pattern.len() && name.as_bytes().iter().zip(pattern).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_time() {
        for (wall_ms, name) in [
            (0, "1970-01-01_00-00-00"),
            (951_782_399_999, "2000-02-28_23-59-59"),
            (951_782_400_000, "2000-02-29_00-00-00"),
            (1_795_670_520_000, "2026-11-26_05-22-00"),
        ] {
            assert_eq!(of(wall_ms).as_str(), name);
            assert!(is_one(name));
        }
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in [
            "..",
            "",
            "2026-11-26_05-22-0",
            "2026-11-26_05-22-000",
            "2026-11-26T05-22-00",
            "2026/11/26_05-22-00",
            "../6-11-26_05-22-00",
            "2026-11-26_05-22-00.unfinished",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }
}
