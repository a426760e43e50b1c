//! Times that come again: the five fields of cron, in UTC.
//!
//! ```text
//!   minute hour day month weekday        0-59 0-23 1-31 1-12 0-7 (0 and 7 are Sunday)
//!   *      every      a,b  a list      a-b  a range      */n or a-b/n  every n-th
//! ```
//!
//! As everywhere, a day is right if it is right for *day* or for *weekday*, when both are
//! restricted. There is no summer time in UTC, so every time comes once.

use std::fmt;
use std::sync::Arc;

use super::calendar::date;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// How far ahead a next time is looked for. 29 February, in the worst case, comes after 8 years.
const DAYS_AHEAD: u64 = 9 * 366;

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: Arc<str>,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// Text that is not a [`Cron`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("has {found} fields; allowed are five: minute hour day month weekday")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// A field that is not understood.
    #[error(
        "has {found:?} as its {field}; allowed are *, numbers from {min} to {max}, lists, ranges and /steps"
    )]
    Field {
        /// Which.
        field: &'static str,
        /// What was there.
        found: String,
        /// Smallest number.
        min: u32,
        /// Largest number.
        max: u32,
    },
    /// A day that does not exist, such as 31 February.
    #[error("names a time that never comes")]
    Never,
}

impl Cron {
    /// Check `text` once; a `Cron` has a next time for ever.
    ///
    /// # Errors
    /// [`CronError`], which says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &fields[..] else {
            return Err(CronError::Fields { found: fields.len() });
        };
        let weekdays = field("weekday", weekday, 0, 7)?;
        let cron = Cron {
            text: fields.join(" ").into(),
            minutes: field("minute", minute, 0, 59)?,
            hours: field("hour", hour, 0, 23)?,
            days: field("day", day, 1, 31)?,
            months: field("month", month, 1, 12)?,
            weekdays: weekdays | weekdays >> 7 & 1,
            any_day: day == "*",
            any_weekday: weekday == "*",
        };
        cron.next_after(0).map(|_| cron).ok_or(CronError::Never)
    }

    /// The first time after `wall_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next_after(&self, wall_ms: u64) -> Option<u64> {
        let from = (wall_ms / MINUTE_MS + 1) * MINUTE_MS;
        let today = from / DAY_MS;
        (today..today + DAYS_AHEAD).find_map(|day| {
            if !self.is_day(day) {
                return None;
            }
            let minutes = ones(self.hours)
                .flat_map(|hour| ones(self.minutes).map(move |minute| hour * 60 + minute));
            let times = minutes.map(|minute| day * DAY_MS + u64::from(minute) * MINUTE_MS);
            times.into_iter().find(|&time| time >= from)
        })
    }

    /// The expression, one space between its fields.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn is_day(&self, day: u64) -> bool {
        let (_, month, day_of_month) = date(day);
        // 1 January 1970 was a Thursday.
        let weekday = (day + 4) % 7;
        let is_day = self.days >> day_of_month & 1 == 1;
        let is_weekday = self.weekdays >> weekday & 1 == 1;
        let fits = match (self.any_day, self.any_weekday) {
            (false, false) => is_day || is_weekday,
            _ => is_day && is_weekday,
        };
        fits && self.months >> month & 1 == 1
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The numbers that a field allows, one bit each.
fn field(field: &'static str, text: &str, min: u32, max: u32) -> Result<u64, CronError> {
    let wrong = || CronError::Field { field, found: text.to_owned(), min, max };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(step.parse::<u32>().map_err(|_| wrong())?)),
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((first, last)) => (number(first)?, number(last)?),
            None if step.is_some() => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        if first < min || last > max || first > last || step == Some(0) {
            return Err(wrong());
        }
        for number in (first..=last).step_by(step.unwrap_or(1) as usize) {
            bits |= 1 << number;
        }
    }
    Ok(bits)
}

fn ones(bits: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| bits >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26 05:22:00 UTC, a Thursday.
    const NOW: u64 = 1_795_670_520_000;

    fn next(text: &str, after: u64) -> u64 {
        Cron::parse(text).unwrap().next_after(after).unwrap()
    }

    /// How long it is from `NOW` to the next time, as days, hours and minutes.
    fn wait(text: &str) -> (u64, u64, u64) {
        let minutes = (next(text, NOW) - NOW) / MINUTE_MS;
        (minutes / 1_440, minutes / 60 % 24, minutes % 60)
    }

    #[test]
    fn the_next_time_is_the_first_that_fits() {
        assert_eq!(wait("* * * * *"), (0, 0, 1));
        assert_eq!(wait("22 5 * * *"), (1, 0, 0));
        assert_eq!(wait("30 5 * * *"), (0, 0, 8));
        assert_eq!(wait("*/15 * * * *"), (0, 0, 8));
        assert_eq!(wait("0 6-8/2 * * *"), (0, 0, 38));
        assert_eq!(wait("0 0 1 * *"), (4, 18, 38));
        assert_eq!(wait("0 0 * * 0"), (2, 18, 38));
        assert_eq!(wait("0 0 * * 7"), (2, 18, 38));
        assert_eq!(wait("0 0 * * 1-5"), (0, 18, 38));
        assert_eq!(wait("0 0 25 12 *"), (28, 18, 38));
        assert_eq!(wait("59/1 23 * * *"), (0, 18, 37));
    }

    #[test]
    fn day_and_weekday_are_alternatives_when_both_are_restricted() {
        assert_eq!(wait("0 0 1 * 6"), (1, 18, 38));
        assert_eq!(wait("0 0 28 * 1"), (1, 18, 38));
    }

    #[test]
    fn leap_days_come_when_they_come() {
        let leap = "0 0 29 2 *";
        let day = |ms: u64| ms / DAY_MS;
        let first = next(leap, NOW);
        assert_eq!(date(day(first)), (2028, 2, 29));
        assert_eq!(day(next(leap, first)) - day(first), 4 * 365 + 1);
        // 2096 and 2104: 2100 is no leap year.
        let before = 3_981_225_600_000;
        assert_eq!(date(day(next(leap, before))), (2096, 2, 29));
        let last = next(leap, before);
        assert_eq!(day(next(leap, last)) - day(last), 8 * 365 + 1);
    }

    #[test]
    fn what_is_no_expression_is_told_with_what_is_allowed() {
        let error = |text: &str| Cron::parse(text).unwrap_err();
        assert_eq!(error("* * * *"), CronError::Fields { found: 4 });
        for text in
            ["60 * * * *", "* 24 * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "x * * * *"]
        {
            assert!(matches!(error(text), CronError::Field { .. }), "{text}");
        }
        assert_eq!(error("0 0 31 2 *"), CronError::Never);
    }
}
