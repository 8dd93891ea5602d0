//! Rows as COPY sends them in binary form (PostgreSQL's manual, "COPY", "Binary Format"), read without detours.

use bytes::Bytes;

use super::{StoreError, copy::EPOCH_MICROS, copy::SIGNATURE};
use crate::model::UtcTime;

/// Reads pieces, each of whole rows.
#[derive(Default)]
pub(super) struct CopyReader {
    past_header: bool,
}

/// The columns of a row, read one after the other.
pub(super) struct CopyColumns {
    rest: Bytes,
}

// === impl CopyReader ===

impl CopyReader {
    /// Reads the rows of a piece.
    pub(super) fn read(
        &mut self,
        piece: Bytes,
        mut row: impl FnMut(&mut CopyColumns) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut columns = CopyColumns { rest: piece };
        if !self.past_header {
            let signature = columns.take(SIGNATURE.len())?;
            let (_flags, extension) = (columns.array::<4>()?, columns.array::<4>()?);
            if signature != SIGNATURE {
                return Err(damaged());
            }
            columns.take(usize::try_from(i32::from_be_bytes(extension)).map_err(|_| damaged())?)?;
            self.past_header = true;
        }
        while !columns.rest.is_empty() {
            // A count below zero is the end.
            if i16::from_be_bytes(columns.array()?) >= 0 {
                row(&mut columns)?;
            }
        }
        Ok(())
    }
}

// === impl CopyColumns ===

impl CopyColumns {
    pub(super) fn i32(&mut self) -> Result<i32, StoreError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// A column as it is.
    pub(super) fn value(&mut self) -> Result<Bytes, StoreError> {
        let length = i32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| damaged())?)
    }

    /// A column that may be null.
    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.rest.starts_with(&(-1_i32).to_be_bytes()) {
            self.take(4)?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// A column of a fixed length.
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        if usize::try_from(i32::from_be_bytes(self.array()?)) != Ok(N) {
            return Err(damaged());
        }
        self.array()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.as_ref().try_into().map_err(|_| damaged())
    }

    fn take(&mut self, length: usize) -> Result<Bytes, StoreError> {
        if length > self.rest.len() { Err(damaged()) } else { Ok(self.rest.split_to(length)) }
    }
}

/// A time as PostgreSQL counts it.
pub(super) fn micros_to_time(micros: i64) -> Result<UtcTime, StoreError> {
    let time = micros.checked_add(EPOCH_MICROS).and_then(UtcTime::from_unix_micros);
    time.ok_or_else(|| StoreError::corrupt("a time is outside the calendar"))
}

fn damaged() -> StoreError {
    StoreError::corrupt("rows came in a form that COPY does not have")
}
