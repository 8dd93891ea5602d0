//! Rows as COPY sends them in binary form (PostgreSQL's manual, "COPY", "Binary Format"), read without detours.

use bytes::Bytes;

use super::{
    DatabaseError,
    copy_in::{EPOCH_MICROS, SIGNATURE},
};
use crate::model::UtcTime;

/// Reads pieces, each of whole rows.
#[derive(Default)]
pub(crate) struct CopyReader {
    past_header: bool,
}

/// The columns of a row, read one after the other.
pub(crate) struct CopyColumns {
    rest: Bytes,
}

// === impl CopyReader ===

impl CopyReader {
    /// Reads the rows of a piece.
    pub(crate) fn read<E: From<DatabaseError>>(
        &mut self,
        piece: Bytes,
        mut row: impl FnMut(&mut CopyColumns) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut columns = CopyColumns { rest: piece };
        if !self.past_header {
            let signature = columns.take(SIGNATURE.len())?;
            let (_flags, extension) = (columns.array::<4>()?, columns.array::<4>()?);
            if signature != SIGNATURE {
                return Err(damaged().into());
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
    pub(crate) fn i16(&mut self) -> Result<i16, DatabaseError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DatabaseError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DatabaseError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// A column as it is.
    pub(crate) fn value(&mut self) -> Result<Bytes, DatabaseError> {
        let length = i32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| damaged())?)
    }

    /// A column that may be null.
    pub(crate) fn optional<T, E: From<DatabaseError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if self.rest.starts_with(&(-1_i32).to_be_bytes()) {
            self.take(4)?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// A column of a fixed length.
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DatabaseError> {
        if usize::try_from(i32::from_be_bytes(self.array()?)) != Ok(N) {
            return Err(damaged());
        }
        self.array()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DatabaseError> {
        self.take(N)?.as_ref().try_into().map_err(|_| damaged())
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DatabaseError> {
        if length > self.rest.len() { Err(damaged()) } else { Ok(self.rest.split_to(length)) }
    }
}

/// A time as PostgreSQL counts it.
pub(crate) fn micros_to_time(micros: i64) -> Result<UtcTime, DatabaseError> {
    let time = micros.checked_add(EPOCH_MICROS).and_then(UtcTime::from_unix_micros);
    time.ok_or_else(|| DatabaseError::Malformed("a time is outside the calendar".to_owned()))
}

fn damaged() -> DatabaseError {
    DatabaseError::Malformed("rows came in a form that COPY does not have".to_owned())
}
