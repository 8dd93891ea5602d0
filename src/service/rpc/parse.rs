//! Fields of requests, parsed into values that cannot be wrong, or an error that names the field.

use std::{fmt::Display, str::FromStr};

use prost_types::Timestamp;

use crate::{
    contract::proto,
    model::{Month, MonthRange, Source, UtcTime, checked_text},
    reports::{InvalidField, PageSize},
};

/// More than twice the longest token that there is, one of a tenant whose names have the greatest length.
const MAX_TOKEN_BYTES: usize = 4096;

pub(super) fn source(text: &str) -> Result<Source, InvalidField> {
    Ok(optional("source", text)?.unwrap_or_default())
}

/// The values of numbers, each once.
pub(super) fn codes<T: Ord>(
    field: &str,
    codes: &[i32],
    from_code: impl Fn(i32) -> Option<T>,
) -> Result<Vec<T>, InvalidField> {
    let known = |(index, &code): (usize, &i32)| {
        from_code(code)
            .ok_or_else(|| InvalidField::new(format!("{field}[{index}]"), format!("there is no value {code}")))
    };
    let mut values = codes.iter().enumerate().map(known).collect::<Result<Vec<T>, _>>()?;
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

pub(super) fn missing(field: &str) -> InvalidField {
    InvalidField::new(field, "is required")
}

pub(super) fn required<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, InvalidField> {
    optional(field, text)?.ok_or_else(|| missing(field))
}

pub(super) fn optional<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<Option<T>, InvalidField> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|error: T::Err| InvalidField::new(field, error))
}

/// Checks each text of a list: 1 to so many bytes.
pub(super) fn texts(field: &str, texts: Vec<String>, max_bytes: usize) -> Result<Vec<String>, InvalidField> {
    for (index, text) in texts.iter().enumerate() {
        let checked = checked_text(text, 1, max_bytes);
        checked.map_err(|error| InvalidField::new(format!("{field}[{index}]"), error))?;
    }
    Ok(texts)
}

/// The months from one on; the last one may be unset.
pub(super) fn months(
    start: Option<proto::YearMonth>,
    end: Option<proto::YearMonth>,
) -> Result<MonthRange, InvalidField> {
    let start = month("start_month", start)?.ok_or_else(|| missing("start_month"))?;
    let end = month("end_month", end)?.unwrap_or(start);
    MonthRange::new(start, end).map_err(|error| InvalidField::new("end_month", error))
}

/// A text of at most so many bytes.
pub(super) fn bounded(field: &str, text: String, max_bytes: usize) -> Result<String, InvalidField> {
    if text.len() <= max_bytes {
        return Ok(text);
    }
    Err(InvalidField::new(field, format!("has {} bytes; the maximum is {max_bytes}", text.len())))
}

/// A token from an earlier answer.
pub(super) fn token(field: &str, text: String) -> Result<String, InvalidField> {
    bounded(field, text, MAX_TOKEN_BYTES)
}

pub(super) fn page_size(asked: i32, (default, max): (u16, u16)) -> Result<PageSize, InvalidField> {
    PageSize::new(asked, default, max).map_err(|error| InvalidField::new("page_size", error))
}

pub(super) fn month(field: &str, month: Option<proto::YearMonth>) -> Result<Option<Month>, InvalidField> {
    let parsed = month.map(|month| Month::new(month.year, month.month)).transpose();
    parsed.map_err(|error| InvalidField::new(field, error))
}

/// The moment of a report. Clocks may count nanoseconds: they are cut off to microseconds.
pub(super) fn moment(field: &str, time: Option<Timestamp>) -> Result<Option<UtcTime>, InvalidField> {
    let cut = |time: Timestamp| UtcTime::from_unix(time.seconds, time.nanos - time.nanos.max(0) % 1_000);
    time.map(cut).transpose().map_err(|error| InvalidField::new(field, error))
}
