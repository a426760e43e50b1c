//! The calendar: what a moment is called in UTC.

/// A moment in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Such as 2026.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

impl Civil {
    /// What `wall_ms` (milliseconds since 1970) is called.
    #[must_use]
    pub fn of(wall_ms: u64) -> Civil {
        let seconds = wall_ms / 1_000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        Civil { year, month, day, hour, minute, second }
    }
}

/// Year, month (1 to 12) and day of the month (1 to 31) of a day since 1 January 1970, by the rules
/// of the Gregorian calendar, counted in years that begin in March.
#[must_use]
pub fn date(day: u64) -> (u64, u64, u64) {
    // From 1 March of the year 0; an era is 400 years.
    let (era, day_of_era) = ((day + 719_468) / 146_097, (day + 719_468) % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, is_next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + is_next, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_the_name_that_clocks_show() {
        let name = |wall_ms| {
            let Civil { year, month, day, hour, minute, second } = Civil::of(wall_ms);
            [year, month, day, hour, minute, second]
        };
        assert_eq!(name(0), [1970, 1, 1, 0, 0, 0]);
        assert_eq!(name(951_782_399_999), [2000, 2, 28, 23, 59, 59]);
        assert_eq!(name(951_782_400_000), [2000, 2, 29, 0, 0, 0]);
        assert_eq!(name(1_795_670_520_000), [2026, 11, 26, 5, 22, 0]);
    }

    #[test]
    fn every_day_of_eighty_years_has_the_date_that_follows_from_the_day_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..80 * 365 {
            assert_eq!(date(day), expected, "day {day}");
            let (year, ..) = expected;
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            let days = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            expected = match expected {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == days[month as usize - 1] => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
        }
    }
}
