//! Values of columns that several statements have.

use chrono::NaiveDate;
use tokio_postgres::Row;

use super::StoreError;
use crate::model::Month;

/// The month of its first day.
pub(super) fn month(row: &Row, column: &str) -> Result<Month, StoreError> {
    let first_day: NaiveDate = row.try_get(column)?;
    Month::of(first_day).ok_or_else(|| StoreError::corrupt(format!("{first_day} is in no month")))
}

/// A digest, a revision or a key.
pub(super) fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::corrupt(format!("{column} is not of {N} bytes")))
}
