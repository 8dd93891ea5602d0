//! Times in UTC, in microseconds.

mod spelling;

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SecondsFormat, Timelike as _, Utc};

/// A moment in UTC with microseconds, which is what PostgreSQL keeps: millions of them are handed through, and each is
/// one number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime {
    /// Since 1970; in the years 1 to 9999.
    micros: i64,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 1970-01-01 in days since the day before 0001-01-01.
const UNIX_EPOCH_DAY: i64 = 719_163;
/// 0001-01-01T00:00:00Z.
const MIN_MICROS: i64 = -62_135_596_800 * MICROS_PER_SECOND;
/// 9999-12-31T23:59:59.999999Z.
const MAX_MICROS: i64 = 253_402_300_800 * MICROS_PER_SECOND - 1;

/// A text, or seconds and nanoseconds, is not a valid time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    #[error("not an ISO 8601 date and time such as 2022-02-01T13:00:00Z")]
    Form,
    /// The text has no time zone.
    #[error("has no time zone: append Z for UTC, or an offset such as +01:00")]
    NoZone,
    /// The day or time of day does not exist.
    #[error("there is no such day or time of day")]
    Calendar,
    /// Unix time and PostgreSQL have no leap seconds.
    #[error("leap seconds are not supported: use the second before or after it")]
    LeapSecond,
    /// More precise than a microsecond.
    #[error("is more precise than a microsecond")]
    Precision,
    /// Outside the years 1 to 9999.
    #[error("the year must be 1 to 9999")]
    Year,
}

impl UtcTime {
    /// From a clock or the database. Truncated to microseconds.
    pub fn from_chrono(time: DateTime<Utc>) -> Self {
        Self { micros: time.timestamp_micros() }
    }

    /// From seconds since 1970 and nanoseconds, as protobuf has it.
    pub fn from_unix(seconds: i64, nanos: i32) -> Result<Self, InvalidTime> {
        let nanos = u32::try_from(nanos).map_err(|_| InvalidTime::Form)?;
        let time = DateTime::from_timestamp(seconds, nanos).ok_or(InvalidTime::Year)?;
        Self::checked(time)
    }

    pub fn midnight(day: NaiveDate) -> Self {
        Self::from_chrono(day.and_time(NaiveTime::MIN).and_utc())
    }

    /// Converts for arithmetic and the database.
    pub fn as_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros).unwrap_or_default()
    }

    /// The UTC date as a number: days since the one before 0001-01-01.
    pub fn day_number(self) -> i32 {
        // The days of the years 1 to 9999 fit.
        i32::try_from(self.micros.div_euclid(MICROS_PER_DAY) + UNIX_EPOCH_DAY).unwrap_or_default()
    }

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
            return Err(InvalidTime::LeapSecond);
        }
        if !time.nanosecond().is_multiple_of(1_000) {
            return Err(InvalidTime::Precision);
        }
        if !(1..=9999).contains(&time.year()) {
            return Err(InvalidTime::Year);
        }
        Ok(Self::from_chrono(time))
    }

    /// Writes what reports are full of: whole seconds of years with four digits.
    fn to_canonical(self) -> Option<[u8; 20]> {
        let day = NaiveDate::from_num_days_from_ce_opt(self.day_number())?;
        let micros = self.micros.rem_euclid(MICROS_PER_DAY);
        if micros % MICROS_PER_SECOND != 0 || day.year() > 9999 {
            return None;
        }
        let second = u32::try_from(micros / MICROS_PER_SECOND).ok()?;
        let year = day.year().unsigned_abs();
        let mut text = *b"0000-00-00T00:00:00Z";
        let numbers = [year / 100, year % 100, day.month(), day.day(), second / 3600, second / 60 % 60, second % 60];
        for (number, at) in numbers.into_iter().zip([0, 2, 5, 8, 11, 14, 17]) {
            text[at] += u8::try_from(number / 10).ok()?;
            text[at + 1] += u8::try_from(number % 10).ok()?;
        }
        Some(text)
    }

    /// Reads what reports are full of: whole seconds in UTC, in the one spelling that is written.
    fn from_canonical(text: &[u8]) -> Option<Self> {
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = text else {
            return None;
        };
        let two = |tens: u8, ones: u8| {
            let digits = [tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0')];
            digits.iter().all(|digit| *digit <= 9).then(|| u32::from(digits[0]) * 10 + u32::from(digits[1]))
        };
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let day = NaiveDate::from_ymd_opt(year.cast_signed(), two(m1, m2)?, two(d1, d2)?)?;
        let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
        if year == 0 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = i64::from(day.num_days_from_ce()) - UNIX_EPOCH_DAY;
        let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
        Some(Self { micros: seconds * MICROS_PER_SECOND })
    }
}

/// Reads every exact spelling of ISO 8601's extended format with a zone: a space for the `T`, no seconds, `24:00`, any
/// number of zeros behind the microsecond, `Z`, `UTC` or an offset with or without a colon, as PostgreSQL writes it.
impl FromStr for UtcTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        match Self::from_canonical(text.as_bytes()) {
            Some(time) => Ok(time),
            None => spelling::read(text),
        }
    }
}

/// ISO 8601 with a `Z`; whole seconds where there is no fraction, and no trailing zeros in one.
impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.to_canonical() {
            return f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?);
        }
        let time = self.as_chrono();
        if time.nanosecond() == 0 {
            return f.write_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        let text = time.to_rfc3339_opts(SecondsFormat::Micros, false);
        let text = text.strip_suffix("+00:00").unwrap_or(&text);
        write!(f, "{}Z", text.trim_end_matches('0'))
    }
}

impl UtcTime {
    /// Appends what [`Display`](fmt::Display) writes.
    pub fn write_to(self, out: &mut Vec<u8>) {
        match self.to_canonical() {
            Some(text) => out.extend_from_slice(&text),
            None => out.extend_from_slice(self.to_string().as_bytes()),
        }
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
}
