//! Parses the unambiguous spellings of a time.

use chrono::{NaiveDate, TimeDelta};

use super::{InvalidTime, UtcTime};

/// The unread rest of a text.
struct Cursor<'a>(&'a [u8]);

/// Parses a time.
pub(super) fn read(text: &str) -> Result<UtcTime, InvalidTime> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.date()?;
    if !cursor.skip(|byte| matches!(byte, b'T' | b't' | b' ')) {
        return Err(InvalidTime::Form);
    }
    let time_of_day = cursor.time_of_day()?;
    let offset = cursor.zone()?;
    let day = day.ok_or(InvalidTime::Calendar)?;
    let (nanos, leap_second) = time_of_day.ok_or(InvalidTime::Calendar)?;
    if leap_second {
        return Err(InvalidTime::LeapSecond);
    }
    if nanos % 1_000 != 0 {
        return Err(InvalidTime::Precision);
    }
    // Both are less than a day, so neither overflows.
    let since_midnight = TimeDelta::nanoseconds(nanos) - TimeDelta::seconds(offset);
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let time = midnight.checked_add_signed(since_midnight).ok_or(InvalidTime::Year)?;
    UtcTime::checked(time)
}

// === impl Cursor ===

impl Cursor<'_> {
    /// Skips the next byte if it satisfies `is_it`.
    fn skip(&mut self, is_it: impl Fn(u8) -> bool) -> bool {
        match self.0 {
            [first, rest @ ..] if is_it(*first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn two_digits(&mut self) -> Option<i64> {
        let [tens, ones, rest @ ..] = self.0 else { return None };
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        self.0 = rest;
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    }

    /// `None`: the day does not exist in the calendar.
    fn date(&mut self) -> Result<Option<NaiveDate>, InvalidTime> {
        let is_signed = self.skip(|byte| matches!(byte, b'+' | b'-'));
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Without a dash it is not a year, but for instance Unix time or the basic format.
        if (digits > 4 || (is_signed && digits == 4)) && self.0.get(digits) == Some(&b'-') {
            return Err(InvalidTime::Year);
        }
        let form = InvalidTime::Form;
        let (Some(century), Some(year)) = (self.two_digits(), self.two_digits()) else { return Err(form) };
        let mut part = || if self.skip(|byte| byte == b'-') { self.two_digits() } else { None };
        let (Some(month), Some(day)) = (part(), part()) else { return Err(form) };
        let year = century * 100 + year;
        if year == 0 {
            return Err(InvalidTime::Year);
        }
        let number = |part: i64| u32::try_from(part).unwrap_or_default();
        Ok(NaiveDate::from_ymd_opt(i32::try_from(year).unwrap_or_default(), number(month), number(day)))
    }

    /// Nanoseconds since midnight, and whether it is a leap second; `None`: a day has no such time.
    fn time_of_day(&mut self) -> Result<Option<(i64, bool)>, InvalidTime> {
        let hour = self.two_digits().ok_or(InvalidTime::Form)?;
        if !self.skip(|byte| byte == b':') {
            return Err(InvalidTime::Form);
        }
        let minute = self.two_digits().ok_or(InvalidTime::Form)?;
        let (mut second, mut nanos) = (0, 0);
        if self.skip(|byte| byte == b':') {
            second = self.two_digits().ok_or(InvalidTime::Form)?;
            if self.skip(|byte| matches!(byte, b'.' | b',')) {
                nanos = self.fraction()?;
            }
        }
        let is_last_midnight = (hour, minute, second, nanos) == (24, 0, 0, 0);
        if (hour > 23 && !is_last_midnight) || minute > 59 || second > 60 {
            return Ok(None);
        }
        Ok(Some((((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos, second == 60)))
    }

    /// The digits behind the second, in nanoseconds. Whatever is finer makes them end in another digit than 0.
    fn fraction(&mut self) -> Result<i64, InvalidTime> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        if digits.is_empty() {
            return Err(InvalidTime::Form);
        }
        self.0 = rest;
        let (nanosecond_digits, finer) = digits.split_at(count.min(9));
        let nanos = nanosecond_digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
            * 10_i64.pow(u32::try_from(9 - nanosecond_digits.len()).unwrap_or_default());
        Ok(if finer.iter().all(|digit| *digit == b'0') { nanos } else { nanos | 1 })
    }

    /// Seconds ahead of UTC. The rest of the text is nothing else.
    fn zone(&mut self) -> Result<i64, InvalidTime> {
        if self.0.is_empty() {
            return Err(InvalidTime::NoZone);
        }
        self.skip(|byte| byte == b' ');
        if self.0.eq_ignore_ascii_case(b"Z")
            || self.0.eq_ignore_ascii_case(b"UTC")
            || self.0.eq_ignore_ascii_case(b"GMT")
        {
            return Ok(0);
        }
        let is_behind = self.0.first() == Some(&b'-');
        if !self.skip(|byte| matches!(byte, b'+' | b'-')) {
            return Err(InvalidTime::Form);
        }
        let mut parts = [self.two_digits().ok_or(InvalidTime::Form)?, 0, 0];
        let has_colons = self.0.first() == Some(&b':');
        for part in &mut parts[1..] {
            if self.0.is_empty() || self.0[0] == b' ' {
                break;
            }
            if has_colons && !self.skip(|byte| byte == b':') {
                return Err(InvalidTime::Form);
            }
            *part = self.two_digits().ok_or(InvalidTime::Form)?;
        }
        let [hours, minutes, seconds] = parts;
        // Go appends the name of the zone.
        let is_utc = parts == [0; 3] && [" UTC", " GMT"].iter().any(|name| self.0 == name.as_bytes());
        if !self.0.is_empty() && !is_utc {
            return Err(InvalidTime::Form);
        }
        // The limits of PostgreSQL.
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(InvalidTime::Calendar);
        }
        let ahead = (hours * 60 + minutes) * 60 + seconds;
        Ok(if is_behind { -ahead } else { ahead })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_exact_spelling_is_read() {
        for (text, written) in [
            ("2022-02-01T13:00Z", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00:00Z", "2022-02-01T13:00:00Z"),
            ("2022-02-01t13:00:00z", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00:00+00", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00+00:00", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00-00:00", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00+0000", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00:00 UTC", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00 utc", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00 GMT", "2022-02-01T13:00:00Z"),
            ("2022-02-01T13:00:00UTC", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00:00 +0000", "2022-02-01T13:00:00Z"),
            ("2022-02-01 13:00:00.5 +0000 UTC", "2022-02-01T13:00:00.5Z"),
            ("2022-02-01T00:30:00+01:00", "2022-01-31T23:30:00Z"),
            ("2022-01-31T19:30:00-0330", "2022-01-31T23:00:00Z"),
            ("2022-02-01T05:30+0530", "2022-02-01T00:00:00Z"),
            ("1900-01-01 00:19:32+00:19:32", "1900-01-01T00:00:00Z"),
            ("2022-02-28T24:00:00Z", "2022-03-01T00:00:00Z"),
            ("2022-02-28 24:00+01", "2022-02-28T23:00:00Z"),
            ("2022-02-01T13:00:00.1234560000000Z", "2022-02-01T13:00:00.123456Z"),
            ("2022-02-01T13:00:00,5Z", "2022-02-01T13:00:00.5Z"),
            ("2022-02-01T13:00:00.0000000Z", "2022-02-01T13:00:00Z"),
            ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00Z"),
        ] {
            let read = read(text).map(|time| time.to_string()).unwrap_or_default();
            assert_eq!(read, written, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_guessed_or_rounded() {
        for (text, error) in [
            ("", InvalidTime::Form),
            ("now", InvalidTime::Form),
            ("2022-02-01", InvalidTime::Form),
            ("1/2/2022 13:00", InvalidTime::Form),
            ("20220201T130000Z", InvalidTime::Form),
            ("1684108800", InvalidTime::Form),
            ("45047.5", InvalidTime::Form),
            ("-1684108800", InvalidTime::Form),
            ("2022-2-1T13:00:00Z", InvalidTime::Form),
            ("2022-02-01T13Z", InvalidTime::Form),
            ("2022-02-01T13:00:00.Z", InvalidTime::Form),
            ("2022-02-01T13:00:00ZZ", InvalidTime::Form),
            ("2022-02-01T13:00:00 ", InvalidTime::Form),
            ("2022-02-01T13:00:00 CET", InvalidTime::Form),
            ("2022-02-01T13:00:00+1", InvalidTime::Form),
            ("2022-02-01 13:00:00 +0100 UTC", InvalidTime::Form),
            ("2022-02-01T13:00:00+01:0000", InvalidTime::Form),
            ("2022-02-01T13:00:00", InvalidTime::NoZone),
            ("2022-02-01 13:00", InvalidTime::NoZone),
            ("2022-02-30T00:00:00Z", InvalidTime::Calendar),
            ("2023-02-29T00:00:00Z", InvalidTime::Calendar),
            ("2022-13-01T00:00:00Z", InvalidTime::Calendar),
            ("2022-02-01T25:00:00Z", InvalidTime::Calendar),
            ("2022-02-01T24:00:01Z", InvalidTime::Calendar),
            ("2022-02-01T13:60:00Z", InvalidTime::Calendar),
            ("2022-02-01T13:00:00+16:00", InvalidTime::Calendar),
            ("2022-02-01T23:59:60Z", InvalidTime::LeapSecond),
            ("2022-02-01T13:00:00.0000001Z", InvalidTime::Precision),
            ("2022-02-01T13:00:00.0000000000000000001Z", InvalidTime::Precision),
            ("0000-01-01T00:00:00Z", InvalidTime::Year),
            ("-0001-01-01T00:00:00Z", InvalidTime::Year),
            ("+10000-01-01T00:00:00Z", InvalidTime::Year),
            ("10000-01-01T00:00:00Z", InvalidTime::Year),
            ("0001-01-01T00:00:00+01:00", InvalidTime::Year),
            ("9999-12-31T24:00:00Z", InvalidTime::Year),
        ] {
            assert_eq!(text.parse::<UtcTime>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        /// Against another way: what the library for dates reads.
        #[test]
        fn offsets_are_those_of_rfc_3339(
            micros in -62_000_000_000_000_000_i64..253_000_000_000_000_000, offset in -15 * 60..=15 * 60,
        ) {
            let time = UtcTime::from_unix_micros(micros).expect("in range");
            let zone = chrono::FixedOffset::east_opt(offset * 60).expect("an offset");
            let local = time.as_chrono().with_timezone(&zone);
            prop_assert_eq!(local.to_rfc3339().parse(), Ok(time));
            prop_assert_eq!(local.format("%Y-%m-%d %H:%M:%S%.9f%z").to_string().parse(), Ok(time));
        }

        #[test]
        fn the_quick_way_is_the_plain_way(seconds in -62_000_000_000_i64..253_000_000_000) {
            let time = UtcTime::from_unix_micros(seconds * 1_000_000).expect("in range");
            let text = time.to_string();
            prop_assert_eq!(&text, &time.as_chrono().to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
            prop_assert_eq!(time.day_number(), chrono::Datelike::num_days_from_ce(&time.day()));
            prop_assert_eq!(UtcTime::from_canonical(text.as_bytes()), Some(time));
            prop_assert_eq!(read(&text), Ok(time));
        }

        #[test]
        fn nothing_that_is_read_quickly_is_refused_otherwise(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z") {
            prop_assert_eq!(UtcTime::from_canonical(text.as_bytes()), read(&text).ok().filter(|_| !text.contains("T24")));
        }
    }
}
