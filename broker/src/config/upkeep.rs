//! `[backup]`, `[compaction]` and `[disk]`: what is done by itself with everything that is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::setting::{Raw, Value, settings};
use crate::upkeep;

/// Upper edge: a year.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;

settings! {
    config => config.backup, keys "backup.";
    /// Copies of everything that is kept, made while the broker runs.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Backup {
        /// The folder that they are in. None: `backups` in the data folder, where a copy takes next
        /// to no room because it shares its files with the store. So it helps against mistakes, not
        /// against a disk that breaks: name a folder on another one for that.
        "dir" dir: Option<PathBuf> = None;
        /// Time between two backups. A day, as in the hub; the first one comes five minutes
        /// after the first start. 0: only when somebody asks for one.
        "every_ms" every: Duration = Duration::from_millis(86_400_000), in 0..=YEAR;
        /// How many are kept, the newest ones. 5: most of a week.
        "keep" keep: usize = 5, in 1..=1_000;
    }
}

settings! {
    config => config.compaction, keys "compaction.";
    /// Giving back the room of what was deleted. The store does that by itself while it is written
    /// to; once a day it is done for the rest.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Compaction {
        /// Time of day, in UTC; up to six hours later if the broker is busy then. 03:00: the quiet
        /// hours of most. "never": only when somebody asks for it.
        "at" at: TimeOfDay = TimeOfDay(Some(Duration::from_secs(3 * 3_600)));
    }
}

settings! {
    config => config.disk, keys "disk.";
    /// Room on the disk of the data folder.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Disk {
        /// Below so many free bytes new tasks and messages are refused, and what is under way goes
        /// on. 256 MiB: the log and the tables that are written from memory, twice. 0: they are
        /// taken in until a write fails, which stops the broker.
        "free_bytes_min" free_bytes_min: usize = 256 << 20, in 0..=1 << 50;
        /// Size of the file `reserve` in the data folder, which is deleted when nothing else is
        /// left, so that a broker can start on a full disk and running tasks can end. 128 MiB: the
        /// log and its tables. 0: no such file.
        "reserve_bytes" reserve_bytes: usize = 128 << 20, in 0..=1 << 50;
    }
}

/// Time since midnight; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay(pub Option<Duration>);

impl Value for TimeOfDay {
    fn parse(raw: &Raw, _: std::ops::RangeInclusive<u64>) -> Result<Self, String> {
        let accepted = || r#"a time of day such as "03:00", or "never""#.to_owned();
        let text = raw.text().ok_or_else(accepted)?;
        if text == "never" {
            return Ok(TimeOfDay(None));
        }
        let number = |text: &str, max: u64| -> Option<u64> {
            let is_whole = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
            text.parse().ok().filter(|number| is_whole && *number <= max)
        };
        let parts = text.split_once(':');
        let parsed = parts
            .and_then(|(hour, minute)| Some(number(hour, 23)? * 3_600 + number(minute, 59)? * 60));
        parsed.map(|seconds| TimeOfDay(Some(Duration::from_secs(seconds)))).ok_or_else(accepted)
    }

    fn to_toml(&self) -> Option<String> {
        let text = self.0.map_or_else(
            || "never".to_owned(),
            |at| format!("{:02}:{:02}", at.as_secs() / 3_600, at.as_secs() / 60 % 60),
        );
        text.to_toml()
    }
}

impl Config {
    /// What is done by itself with everything that is kept.
    #[must_use]
    pub fn upkeep(&self) -> upkeep::Settings {
        upkeep::Settings {
            data_dir: self.data_dir.clone(),
            backups: self.backups(),
            keep: self.backup.keep,
            backup_every: self.backup.every,
            compact_at: self.compaction.at.0,
            disk: self.disk(),
        }
    }

    /// How much room there should be.
    #[must_use]
    pub fn disk(&self) -> upkeep::DiskSettings {
        upkeep::DiskSettings {
            free_bytes_min: self.disk.free_bytes_min as u64,
            reserve_bytes: self.disk.reserve_bytes as u64,
        }
    }

    /// The folder of the backups.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.backup.dir.clone().unwrap_or_else(|| upkeep::usual_folder(&self.data_dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_hours_and_minutes_or_never() {
        let parse = |text: &str| TimeOfDay::parse(&Raw::Text(text.to_owned()), 0..=0);
        for text in ["00:00", "03:00", "23:59", "never"] {
            assert_eq!(parse(text).unwrap().to_toml().unwrap(), format!("{text:?}"));
        }
        for text in ["", "3:00", "24:00", "12:60", "12", "12:0", "+1:00", "12:00:00"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
