//! Moments in UTC, to the microsecond.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SecondsFormat, Timelike as _, Utc};

/// A moment in UTC with microseconds, which is what PostgreSQL keeps: millions of them are handed through, and each is
/// one number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime {
    /// Since 1970; always a moment that the calendar has.
    micros: i64,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z.
const MIN_MICROS: i64 = -62_135_596_800 * MICROS_PER_SECOND;
/// 9999-12-31T23:59:59.999999Z.
const MAX_MICROS: i64 = 253_402_300_800 * MICROS_PER_SECOND - 1;

/// A text or a pair of numbers is no moment that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// The text has another form.
    #[error("not an ISO 8601 date and time in UTC such as 2022-02-01T13:00:00Z")]
    Form,
    /// The text has another time zone.
    #[error("the time must be in UTC (a Z at the end)")]
    NotUtc,
    /// More precise than can be kept.
    #[error("the time has more than 6 digits behind the second")]
    Precision,
    /// Outside the years 1 to 9999.
    #[error("the year must be 1 to 9999")]
    Year,
}

impl UtcTime {
    /// From a clock or the database; what is finer than a microsecond is cut off.
    pub fn from_chrono(time: DateTime<Utc>) -> Self {
        Self { micros: time.timestamp_micros() }
    }

    /// From seconds since 1970 and nanoseconds, as protobuf has it.
    pub fn from_unix(seconds: i64, nanos: i32) -> Result<Self, InvalidTime> {
        let nanos = u32::try_from(nanos).map_err(|_| InvalidTime::Form)?;
        let time = DateTime::from_timestamp(seconds, nanos).ok_or(InvalidTime::Year)?;
        Self::checked(time)
    }

    /// The start of a day.
    pub fn midnight(day: NaiveDate) -> Self {
        Self::from_chrono(day.and_time(NaiveTime::MIN).and_utc())
    }

    /// For arithmetic and the database.
    pub fn as_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros).unwrap_or_default()
    }

    /// The UTC date.
    pub fn day(self) -> NaiveDate {
        self.as_chrono().date_naive()
    }

    /// Microseconds since 1970.
    pub fn unix_micros(self) -> i64 {
        self.micros
    }

    /// Seconds since 1970 and the nanoseconds after, as protobuf has it.
    pub fn unix_seconds_and_nanos(self) -> (i64, i32) {
        let micros = self.micros.rem_euclid(MICROS_PER_SECOND);
        // Below 10^9.
        (self.micros.div_euclid(MICROS_PER_SECOND), i32::try_from(micros * 1_000).unwrap_or_default())
    }

    /// From microseconds since 1970; `None` outside the years 1 to 9999.
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        (MIN_MICROS..=MAX_MICROS).contains(&micros).then_some(Self { micros })
    }

    fn checked(time: DateTime<Utc>) -> Result<Self, InvalidTime> {
        if time.nanosecond() >= 1_000_000_000 {
            // A leap second: PostgreSQL has none.
            return Err(InvalidTime::Form);
        }
        if !time.nanosecond().is_multiple_of(1_000) {
            return Err(InvalidTime::Precision);
        }
        if !(1..=9999).contains(&time.year()) {
            return Err(InvalidTime::Year);
        }
        Ok(Self::from_chrono(time))
    }
}

impl FromStr for UtcTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let Ok(time) = DateTime::parse_from_rfc3339(text) else {
            // A common slip deserves its own answer.
            let without_zone = DateTime::parse_from_rfc3339(&format!("{text}Z")).is_ok();
            return Err(if without_zone { InvalidTime::NotUtc } else { InvalidTime::Form });
        };
        if time.offset().local_minus_utc() != 0 {
            return Err(InvalidTime::NotUtc);
        }
        Self::checked(time.to_utc())
    }
}

/// ISO 8601 with a `Z`; whole seconds where there is no fraction, and no trailing zeros in one.
impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.as_chrono();
        if time.nanosecond() == 0 {
            return f.write_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        let text = time.to_rfc3339_opts(SecondsFormat::Micros, false);
        let text = text.strip_suffix("+00:00").unwrap_or(&text);
        write!(f, "{}Z", text.trim_end_matches('0'))
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_one_text() {
        for (text, written) in [
            ("2022-02-01T13:00:00Z", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00.000Z", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00+00:00", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00.500Z", "2022-02-01T13:00:00.5Z"),
            ("2022-02-01T13:00:00.000001Z", "2022-02-01T13:00:00.000001Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            let time: UtcTime = text.parse().expect(text);
            assert_eq!(time.to_string(), written);
            assert_eq!(UtcTime::from_unix_micros(time.unix_micros()), Some(time));
        }
        for (text, micros) in [("0001-01-01T00:00:00Z", MIN_MICROS), ("9999-12-31T23:59:59.999999Z", MAX_MICROS)] {
            assert_eq!(text.parse::<UtcTime>().expect(text).unix_micros(), micros);
        }
        assert_eq!(
            (UtcTime::from_unix_micros(MIN_MICROS - 1), UtcTime::from_unix_micros(MAX_MICROS + 1)),
            (None, None)
        );
    }

    #[test]
    fn nothing_is_guessed_or_rounded() {
        for (text, error) in [
            ("", InvalidTime::Form),
            ("2022-02-30T00:00:00Z", InvalidTime::Form),
            ("2022-02-01", InvalidTime::Form),
            ("1/2/2022 13:00", InvalidTime::Form),
            ("2022-02-01T23:59:60Z", InvalidTime::Form),
            ("2022-02-01T13:00:00", InvalidTime::NotUtc),
            ("2022-02-01T13:00:00+01:00", InvalidTime::NotUtc),
            ("2022-02-01T13:00:00.0000001Z", InvalidTime::Precision),
            ("0000-01-01T00:00:00Z", InvalidTime::Year),
        ] {
            assert_eq!(text.parse::<UtcTime>(), Err(error), "{text:?}");
        }
    }
}
