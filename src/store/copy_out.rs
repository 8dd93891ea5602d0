//! Rows as COPY sends them in binary form (PostgreSQL's manual, "COPY", "Binary Format"), read without detours.

use super::{StoreError, copy::EPOCH_MICROS, copy::SIGNATURE, numeric::get_numeric};
use crate::model::{Decimal, UtcTime};

/// Reads pieces, each of whole rows.
#[derive(Default)]
pub(super) struct CopyReader {
    past_header: bool,
}

/// The columns of a row, read one after the other.
pub(super) struct CopyColumns<'a> {
    rest: &'a [u8],
}

// === impl CopyReader ===

impl CopyReader {
    /// Reads the rows of a piece.
    pub(super) fn read(
        &mut self,
        piece: &[u8],
        mut row: impl FnMut(&mut CopyColumns<'_>) -> Result<(), StoreError>,
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

impl<'a> CopyColumns<'a> {
    pub(super) fn i32(&mut self) -> Result<i32, StoreError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, StoreError> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub(super) fn time(&mut self) -> Result<UtcTime, StoreError> {
        let micros = self.i64()?.checked_add(EPOCH_MICROS).and_then(UtcTime::from_unix_micros);
        micros.ok_or_else(|| StoreError::corrupt("a time is outside the calendar"))
    }

    pub(super) fn numeric(&mut self) -> Result<Decimal, StoreError> {
        let length = i32::from_be_bytes(self.array()?);
        let bytes = self.take(usize::try_from(length).map_err(|_| damaged())?)?;
        get_numeric(bytes).map_err(|error| StoreError::corrupt(error.to_string()))
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
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn damaged() -> StoreError {
    StoreError::corrupt("rows came in a form that COPY does not have")
}
