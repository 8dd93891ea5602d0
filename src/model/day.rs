//! Days in UTC.

use std::str::FromStr;

use chrono::{Datelike as _, NaiveDate};

/// A UTC date of the years 1 to 9999, written YYYY-MM-DD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDay(NaiveDate);

/// A text is not a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDay {
    #[error("a day is written YYYY-MM-DD, for instance 2022-02-01")]
    Form,
    /// The day does not exist in the calendar.
    #[error("there is no such day")]
    Calendar,
    /// Outside the years 1 to 9999.
    #[error("the year must be 1 to 9999")]
    Year,
}

impl FromStr for UsageDay {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let has_form = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        if !has_form {
            return Err(InvalidDay::Form);
        }
        let day: NaiveDate = text.parse().map_err(|_| InvalidDay::Calendar)?;
        if day.year() < 1 { Err(InvalidDay::Year) } else { Ok(Self(day)) }
    }
}

impl From<UsageDay> for NaiveDate {
    fn from(day: UsageDay) -> Self {
        day.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_one_form() {
        assert_eq!(
            "2024-02-29".parse::<UsageDay>().map(|day| NaiveDate::from(day).to_string()),
            Ok("2024-02-29".to_owned())
        );
        for text in
            ["", "2022-2-1", "2022-02", "20220201", "2022-02-01T00:00:00Z", " 2022-02-01", "2022/02/01", "+022-02-01"]
        {
            assert_eq!(text.parse::<UsageDay>(), Err(InvalidDay::Form), "{text:?}");
        }
        for text in ["2023-02-29", "2022-13-01", "2022-00-10"] {
            assert_eq!(text.parse::<UsageDay>(), Err(InvalidDay::Calendar), "{text:?}");
        }
        assert_eq!("0000-01-01".parse::<UsageDay>(), Err(InvalidDay::Year));
    }
}
