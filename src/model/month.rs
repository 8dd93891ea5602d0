//! Calendar months in UTC.

use std::{fmt, str::FromStr};

use chrono::{Datelike as _, NaiveDate};

use super::UtcTime;

/// A calendar month in UTC, half-open: from its first midnight to the next month's. Years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: u32,
}

/// Months in a row, both ends included; at most [`MonthRange::MAX_MONTHS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthRange {
    start: Month,
    end: Month,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMonth {
    #[error("the year must be 1 to 9999, not {0}")]
    Year(i64),
    #[error("the month must be 1 to 12, not {0}")]
    Month(i64),
    #[error("a month is written YYYY-MM, for instance 2022-02")]
    Form,
}

/// Two months are not a valid range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMonthRange {
    #[error("the last month ({end}) is before the first ({start})")]
    Backwards { start: Month, end: Month },
    /// More than [`MonthRange::MAX_MONTHS`].
    #[error("{0} months were requested; the maximum is {max}", max = MonthRange::MAX_MONTHS)]
    TooLong(i32),
}

// === impl Month ===

impl Month {
    /// The year is 1 to 9999, the month 1 to 12.
    pub fn new(year: i32, month: i32) -> Result<Self, InvalidMonth> {
        if !(1..=9999).contains(&year) {
            return Err(InvalidMonth::Year(year.into()));
        }
        match u32::try_from(month) {
            Ok(number @ 1..=12) => Ok(Self { year, month: number }),
            _ => Err(InvalidMonth::Month(month.into())),
        }
    }

    /// The month that a day lies in; `None` outside the years 1 to 9999.
    pub fn of(day: NaiveDate) -> Option<Self> {
        Self::new(day.year(), i32::try_from(day.month()).ok()?).ok()
    }

    /// 1 to 9999.
    pub fn year(self) -> i32 {
        self.year
    }

    /// 1 to 12.
    pub fn number(self) -> u32 {
        self.month
    }

    pub fn first_day(self) -> NaiveDate {
        day(self.year, self.month)
    }

    /// The first moment after the month.
    pub fn end(self) -> UtcTime {
        let first_day_after = if self.month == 12 { day(self.year + 1, 1) } else { day(self.year, self.month + 1) };
        UtcTime::midnight(first_day_after)
    }

    /// So many months later, or earlier where it is negative; `None` outside the years 1 to 9999.
    pub fn shifted(self, months: i32) -> Option<Self> {
        let ordinal = self.ordinal().checked_add(months)?;
        Self::new(ordinal.div_euclid(12), ordinal.rem_euclid(12) + 1).ok()
    }

    fn ordinal(self) -> i32 {
        self.year * 12 + self.month.cast_signed() - 1
    }
}

/// chrono knows every day of the years that a [`Month`] can have, and of the year after them.
fn day(year: i32, month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(NaiveDate::MAX)
}

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth::Form)?;
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(InvalidMonth::Form);
        }
        let number = |part: &str| part.parse::<i32>().map_err(|_| InvalidMonth::Form);
        Self::new(number(year)?, number(month)?)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

// === impl MonthRange ===

impl MonthRange {
    /// The maximum number of months of one request.
    pub const MAX_MONTHS: i32 = 18;

    /// Both ends are included.
    pub fn new(start: Month, end: Month) -> Result<Self, InvalidMonthRange> {
        let count = end.ordinal() - start.ordinal() + 1;
        if count < 1 {
            return Err(InvalidMonthRange::Backwards { start, end });
        }
        if count > Self::MAX_MONTHS {
            return Err(InvalidMonthRange::TooLong(count));
        }
        Ok(Self { start, end })
    }

    pub fn single(month: Month) -> Self {
        Self { start: month, end: month }
    }

    pub fn start(self) -> Month {
        self.start
    }

    pub fn end(self) -> Month {
        self.end
    }

    pub fn contains(self, month: Month) -> bool {
        (self.start..=self.end).contains(&month)
    }

    /// Every month of the range, in order.
    pub fn iter(self) -> impl Iterator<Item = Month> {
        (0..=self.end.ordinal() - self.start.ordinal()).filter_map(move |months| self.start.shifted(months))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect(text)
    }

    #[test]
    fn bounds_are_named() {
        assert_eq!(Month::new(2022, 0), Err(InvalidMonth::Month(0)));
        assert_eq!(Month::new(2022, 13), Err(InvalidMonth::Month(13)));
        assert_eq!(Month::new(0, 1), Err(InvalidMonth::Year(0)));
        assert_eq!(Month::new(10000, 1), Err(InvalidMonth::Year(10000)));
        assert_eq!("2022-13".parse::<Month>(), Err(InvalidMonth::Month(13)));
        for text in ["", "2022", "2022-2", "22-02", "2022-02-01", "2022/02", "+022-02", "2022-+2"] {
            assert_eq!(text.parse::<Month>(), Err(InvalidMonth::Form), "{text:?}");
        }
    }

    #[test]
    fn ends_where_the_next_begins() {
        for (text, end) in [
            ("2024-02", "2024-03-01T00:00:00Z"),
            ("2023-02", "2023-03-01T00:00:00Z"),
            ("2022-12", "2023-01-01T00:00:00Z"),
        ] {
            assert_eq!(month(text).end().to_string(), end);
        }
        assert_eq!(month("9999-12").end().to_string(), "+10000-01-01T00:00:00Z");
    }

    #[test]
    fn months_are_counted_over_years() {
        assert_eq!(month("2022-11").shifted(3), Some(month("2023-02")));
        assert_eq!(month("2022-02").shifted(-120), Some(month("2012-02")));
        assert_eq!(month("2022-01").shifted(-1), Some(month("2021-12")));
        assert_eq!((month("9999-12").shifted(1), month("0001-01").shifted(-1)), (None, None));
        assert_eq!(month("2022-01").shifted(i32::MAX), None);
    }

    #[test]
    fn ranges_have_1_to_18_months() {
        let range = MonthRange::new(month("2021-11"), month("2022-02")).expect("4 months");
        let months: Vec<_> = range.iter().map(|month| month.to_string()).collect();
        assert_eq!(months, ["2021-11", "2021-12", "2022-01", "2022-02"]);
        assert!(MonthRange::new(month("2021-01"), month("2022-06")).is_ok());
        assert_eq!(MonthRange::new(month("2021-01"), month("2022-07")), Err(InvalidMonthRange::TooLong(19)));
        let (start, end) = (month("2022-02"), month("2022-01"));
        assert_eq!(MonthRange::new(start, end), Err(InvalidMonthRange::Backwards { start, end }));
    }
}
