//! Reads blocks as COPY hands them over. Arrays are in the form of `array_send` in PostgreSQL's
//! `src/backend/utils/adt/arrayfuncs.c`: dimensions, flags, type, length, lower bound, and each element with its length.

use bytes::Bytes;

use super::{AssetKey, RecordRow, kind::Kind, rows_before};
use crate::store::{
    RecordFilter, StoreError,
    copy_out::{CopyColumns, micros_to_time},
    numeric::get_numeric,
};

/// Records that follow each other in a load, as the database sent them. They take half the memory that rows do, so they
/// become rows when they are needed.
#[derive(Clone, Debug)]
pub struct RecordBlock {
    number: i32,
    count: usize,
    assets: Bytes,
    kinds: Bytes,
    starts: Bytes,
    ends: Bytes,
    quantities: Bytes,
    trial_expiries: Option<Bytes>,
}

/// What [`RecordBlock::read`] reads.
pub(in crate::store) const BLOCK_COLUMNS: &str =
    "block_number, asset_keys, kinds, period_starts, period_ends, quantities, trial_expiries";

/// Elements of eight bytes, each with its length before it.
type Fixed<'a> = &'a [[u8; 12]];

// === impl RecordBlock ===

impl RecordBlock {
    pub(in crate::store) fn read(columns: &mut CopyColumns) -> Result<Self, StoreError> {
        let number = columns.i32()?;
        let (count, assets) = array(columns.value()?)?;
        let same = |columns: &mut CopyColumns| match array(columns.value()?)? {
            (other, elements) if other == count => Ok(elements),
            _ => Err(damaged()),
        };
        Ok(Self {
            number,
            count,
            assets,
            kinds: same(columns)?,
            starts: same(columns)?,
            ends: same(columns)?,
            quantities: same(columns)?,
            trial_expiries: columns.optional(same)?,
        })
    }

    /// Position in the load: 1, 2, 3, ...
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The number of its last row in the load.
    pub fn last_row(&self) -> i32 {
        rows_before(self.number).saturating_add(i32::try_from(self.count).unwrap_or(i32::MAX))
    }

    /// How many records it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds those of its rows that come after a row of the load and pass the filter.
    pub fn rows(&self, after: i32, filter: &RecordFilter, rows: &mut Vec<RecordRow>) -> Result<(), StoreError> {
        let fixed = self.fixed(&self.assets)?.iter().zip(self.fixed(&self.kinds)?);
        let fixed = fixed.zip(self.fixed(&self.starts)?.iter().zip(self.fixed(&self.ends)?));
        let mut quantities: &[u8] = &self.quantities;
        let mut expiries: Option<&[u8]> = self.trial_expiries.as_deref();
        for (row_number, ((asset, kind), (start, end))) in (rows_before(self.number) + 1..).zip(fixed) {
            let quantity = element(&mut quantities)?.ok_or_else(damaged)?;
            let expiry = expiries.as_mut().map(element).transpose()?.flatten();
            let (asset, kind) = (AssetKey(int(asset)?), Kind(int(kind)?));
            if row_number <= after || !filter.passes(asset, kind) {
                continue;
            }
            rows.push(RecordRow {
                row_number,
                asset,
                meter: kind.meter(),
                start: micros_to_time(int(start)?)?,
                end: micros_to_time(int(end)?)?,
                quantity: get_numeric(quantity).map_err(|error| StoreError::corrupt(error.to_string()))?,
                billing_region: kind.billing_region()?,
                platform: kind.platform(),
                trial: kind.trial(),
                trial_expiry: expiry
                    .map(|micros| micros_to_time(i64::from_be_bytes(micros.try_into().map_err(|_| damaged())?)))
                    .transpose()?,
            });
        }
        Ok(())
    }

    fn fixed<'a>(&self, elements: &'a [u8]) -> Result<Fixed<'a>, StoreError> {
        match elements.as_chunks() {
            (elements, []) if elements.len() == self.count => Ok(elements),
            _ => Err(damaged()),
        }
    }
}

/// How many elements an array has, and its elements.
fn array(mut array: Bytes) -> Result<(usize, Bytes), StoreError> {
    const HEADER: usize = 20;
    let header = if array.len() < HEADER { return Err(damaged()) } else { array.split_to(HEADER) };
    let word = |at: usize| header.get(at..at + 4).map_or([0; 4], |word| word.try_into().unwrap_or_default());
    let (dimensions, count) = (i32::from_be_bytes(word(0)), i32::from_be_bytes(word(12)));
    if dimensions != 1 {
        return Err(damaged());
    }
    Ok((usize::try_from(count).map_err(|_| damaged())?, array))
}

fn int(element: &[u8; 12]) -> Result<i64, StoreError> {
    match element {
        [0, 0, 0, 8, value @ ..] => Ok(i64::from_be_bytes(*value)),
        _ => Err(damaged()),
    }
}

/// The next element; `None` where it is null.
fn element<'a>(elements: &mut &'a [u8]) -> Result<Option<&'a [u8]>, StoreError> {
    let (length, rest) = elements.split_first_chunk().ok_or_else(damaged)?;
    let length = i32::from_be_bytes(*length);
    *elements = rest;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| damaged())?;
    let (element, rest) = elements.split_at_checked(length).ok_or_else(damaged)?;
    *elements = rest;
    Ok(Some(element))
}

fn damaged() -> StoreError {
    StoreError::corrupt("a block is not of arrays of one length without nulls")
}
