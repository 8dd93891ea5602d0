//! Reads the values of a row by their types, from whatever it came in, and refuses those that are not sound.

use std::{fmt::Display, str::FromStr};

use chrono::{DateTime, SecondsFormat};

use super::{
    findings::{Findings, WarningKind},
    record_location::RecordLocation,
};
use crate::model::{Column, Decimal, Form, InvalidDecimal, InvalidText, InvalidTime, UtcTime, checked_text};

/// A row as it came in a file: a text for each column, in the report's order.
pub(super) type RawRecord<'a> = [&'a str; Column::COUNT];

/// Reads the values of a row, and refuses those that are not sound.
pub struct RowReader<'f, 'a> {
    location: RecordLocation,
    findings: &'f mut Findings,
    /// The texts of the row, if it is from CSV.
    texts: Option<&'f RawRecord<'a>>,
}

impl<'f, 'a> RowReader<'f, 'a> {
    pub(super) fn new(location: RecordLocation, findings: &'f mut Findings, texts: Option<&'f RawRecord<'a>>) -> Self {
        Self { location, findings, texts }
    }

    /// Adds a problem, with the original text if the row is from CSV.
    pub(super) fn refuse(&mut self, column: Column, value: impl Display, reason: impl Display) {
        match self.texts {
            Some(texts) => self.findings.refuse(self.location, column.name(), texts[column.index()], &reason),
            None => self.findings.refuse(self.location, column.name(), &value.to_string(), &reason),
        }
    }

    pub(super) fn warn(&mut self, kind: WarningKind, example: impl FnOnce() -> String) {
        self.findings.warn(kind, self.location, example);
    }

    /// Values other than texts may have blanks around them: programs that align columns leave them there.
    fn read<T>(&mut self, column: Column, value: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let trimmed = value.trim_ascii();
        if trimmed.is_empty() {
            self.refuse(column, value, "is missing");
            return None;
        }
        read(trimmed).map_err(|reason| self.refuse(column, value, reason)).ok()
    }

    /// Parses a required value.
    pub fn parse<T: FromStr<Err: Display>>(&mut self, column: Column, value: &str) -> Option<T> {
        // Nearly all values are in canonical form.
        value
            .parse()
            .ok()
            .or_else(|| self.read(column, value, |text| text.parse().map_err(|error: T::Err| error.to_string())))
    }

    /// An empty value is unset.
    pub(super) fn parse_optional<T: FromStr<Err: Display>>(
        &mut self,
        column: Column,
        value: &str,
    ) -> Option<Option<T>> {
        if value.trim_ascii().is_empty() { Some(None) } else { self.parse(column, value).map(Some) }
    }

    /// Checks a free text against the limits of its column.
    pub fn text<'t>(&mut self, column: Column, value: &'t str) -> Option<&'t str> {
        let Form::Text { min_bytes, max_bytes } = column.form() else { return Some(value) };
        checked_text(value, min_bytes, max_bytes)
            .map_err(|error| match error {
                InvalidText::Empty => self.refuse(column, value, "is missing"),
                error => self.refuse(column, value, error),
            })
            .ok()
    }

    pub fn quantity(&mut self, value: &str) -> Option<Decimal> {
        if let Ok(quantity) = value.parse() {
            return Some(quantity);
        }
        self.read(Column::Quantity, value, |text| {
            text.parse().map_err(|error| match error {
                InvalidDecimal::Negative => {
                    "is negative; to correct usage, deliver the whole day again with the correct quantities".to_owned()
                }
                error => error.to_string(),
            })
        })
    }

    pub(super) fn flag(&mut self, value: &str) -> Option<bool> {
        match value {
            "FALSE" => Some(false),
            "TRUE" => Some(true),
            value => self.read(Column::Trial, value, |text| match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => Ok(true),
                "false" | "f" | "0" => Ok(false),
                _ => Err("not TRUE or FALSE".to_owned()),
            }),
        }
    }

    /// Converts the code of a value in the contract. 0 means unset.
    pub fn code<T: FromStr<Err: Display>>(
        &mut self,
        column: Column,
        code: i32,
        from_code: impl Fn(i32) -> Option<T>,
    ) -> Option<T> {
        if code == 0 {
            self.refuse(column, "", "is missing");
            return None;
        }
        // An unknown code gets the same error as an unknown name.
        from_code(code).or_else(|| self.parse(column, &code.to_string()))
    }

    /// Like [`code`](Self::code), but 0 is allowed and means unset.
    pub fn optional_code<T: FromStr<Err: Display>>(
        &mut self,
        column: Column,
        code: i32,
        from_code: impl Fn(i32) -> Option<T>,
    ) -> Option<Option<T>> {
        if code == 0 { Some(None) } else { self.code(column, code, from_code).map(Some) }
    }

    /// Converts seconds since 1970 and nanoseconds.
    pub fn optional_time(&mut self, column: Column, time: Option<(i64, i32)>) -> Option<Option<UtcTime>> {
        let Some((seconds, nanos)) = time else { return Some(None) };
        if !(0..1_000_000_000).contains(&nanos) {
            self.refuse(column, nanos, "nanos must be from 0 to 999999999");
            return None;
        }
        let refused = |error: InvalidTime| {
            let moment = DateTime::from_timestamp(seconds, nanos.unsigned_abs());
            let shown = moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            self.refuse(column, shown.unwrap_or_else(|| format!("{seconds} s after 1970")), error);
        };
        UtcTime::from_unix(seconds, nanos).map(Some).map_err(refused).ok()
    }

    /// Like [`optional_time`](Self::optional_time), but required.
    pub fn time(&mut self, column: Column, time: Option<(i64, i32)>) -> Option<UtcTime> {
        if time.is_none() {
            self.refuse(column, "", "is missing");
        }
        self.optional_time(column, time)?
    }
}
