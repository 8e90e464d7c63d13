//! A day of the calendar (UTC): how the audit log is cut.

use std::fmt;
use std::str::FromStr;

const SECONDS: i64 = 86_400;

/// The days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;

/// From 1 March of the year 0, where this reckoning begins, to 1 January 1970.
const TO_1970: i64 = 719_468;

/// A day, counted from 1 January 1970; written as `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i64);

/// Text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as 2026-11-23")]
pub struct BadDay;

impl Day {
    /// The day of a time in seconds since 1970, from 1970 to 9999.
    pub fn of(seconds: i64) -> Self {
        const LAST: i64 = 2_932_896;
        Self(seconds.div_euclid(SECONDS).clamp(0, LAST))
    }

    /// Its first second, in seconds since 1970.
    pub fn starts(self) -> i64 {
        self.0 * SECONDS
    }

    /// Year, month and day of the month. Years are counted from March, so that the leap day comes last; source: H. Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms" (2013).
    fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + TO_1970;
        let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day)
    }

    fn of_civil(year: i64, month: i64, day: i64) -> Self {
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        Self(era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Self, BadDay> {
        let parts: Vec<i64> = text.split('-').filter_map(|part| part.parse().ok()).collect();
        let &[year @ 1970..=9999, month @ 1..=12, day @ 1..=31] = parts.as_slice() else {
            return Err(BadDay);
        };
        let found = Self::of_civil(year, month, day);
        // What the calendar doesn't have, such as 30 February, would come back as another day.
        if found.to_string() == text { Ok(found) } else { Err(BadDay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let known = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_416_299, "2026-11-23")];
        for (seconds, day) in known {
            assert_eq!(Day::of(seconds).to_string(), day);
            assert_eq!(day.parse(), Ok(Day::of(seconds)));
        }
        assert_eq!(Day::of(951_782_400 + 86_399), Day::of(951_782_400));
        for day in (0..60_000).map(|day| Day::of(day * SECONDS)) {
            assert_eq!(day.to_string().parse(), Ok(day));
        }
    }

    #[test]
    fn what_the_calendar_has_not_is_no_day() {
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "1969-12-31",
            "2026-11-23-1",
            "../2026",
            "+2026-01-01",
        ] {
            assert_eq!(text.parse::<Day>(), Err(BadDay), "{text:?}");
        }
    }
}
