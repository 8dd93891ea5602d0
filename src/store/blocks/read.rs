//! Reads blocks as COPY hands them over. Arrays are in the form of `array_send` in PostgreSQL's
//! `src/backend/utils/adt/arrayfuncs.c`: dimensions, flags, type, length, lower bound, and each element with its length.

use bytes::Bytes;

use super::{AssetKey, BlockWriter, LoadLocation, RecordRow, RecordRows, StoredDimensions, rows_before};
use crate::{
    database::{
        copy_in::{put_header, put_trailer},
        copy_out::{CopyColumns, CopyReader, micros_to_time},
        numeric::get_numeric,
    },
    store::{RecordFilter, StoreError},
};

/// Records that follow each other in a load, as the database sent them. They take less memory than rows do, so they become
/// rows when they are needed.
#[derive(Clone, Debug)]
pub struct RecordBlock {
    number: i32,
    count: usize,
    assets: Bytes,
    kind_numbers: Bytes,
    quantities: Bytes,
    dimensions: Vec<StoredDimensions>,
}

/// What [`RecordBlock::read`] reads.
pub(in crate::store) const BLOCK_COLUMNS: &str =
    "block_number, asset_keys, kind_numbers, quantities, kind_codes, period_starts, period_ends, trial_expiries";

/// Elements of eight bytes, each with its length before it.
type Fixed<'a> = &'a [[u8; 12]];

// === impl RecordBlock ===

impl RecordBlock {
    pub(in crate::store) fn read(columns: &mut CopyColumns) -> Result<Self, StoreError> {
        let number = columns.i32()?;
        let (count, assets) = array(columns.value()?)?;
        let kind_numbers = array_of(count, columns.value()?)?;
        let quantities = array_of(count, columns.value()?)?;
        Ok(Self { number, count, assets, kind_numbers, quantities, dimensions: read_dimensions(columns)? })
    }

    /// Blocks as they come back from a database that was given these rows.
    pub fn of_rows(records: &RecordRows) -> Vec<Self> {
        const LOCATION: LoadLocation = LoadLocation { tenant_key: 1, load_id: 2, usage_month: chrono::NaiveDate::MIN };
        let mut written = bytes::BytesMut::new();
        put_header(&mut written);
        let mut writer = BlockWriter::default();
        for row in &records.rows {
            if writer.is_full() {
                writer.finish_block(&LOCATION, &mut written);
            }
            writer.push(row.row_number, row.asset, records.dimensions[row.dimensions].clone(), row.quantity);
        }
        writer.finish_block(&LOCATION, &mut written);
        put_trailer(&mut written);
        let mut blocks = Vec::new();
        let read = CopyReader::default().read::<StoreError>(written.freeze(), |columns| {
            // What is not asked for again: tenant, load and month.
            columns.value()?;
            columns.value()?;
            columns.value()?;
            blocks.push(Self::read(columns)?);
            Ok(())
        });
        debug_assert!(read.is_ok(), "{read:?}");
        blocks
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
    pub fn rows(&self, after: i32, filter: &RecordFilter, records: &mut RecordRows) -> Result<(), StoreError> {
        let passes: Vec<bool> = self.dimensions.iter().map(|dimensions| filter.passes_dimensions(dimensions)).collect();
        // Where those of the dimensions that have a row are among the records' dimensions.
        let mut slots = vec![None; self.dimensions.len()];
        let (kind_numbers, []) = self.kind_numbers.as_chunks() else { return Err(damaged()) };
        if kind_numbers.len() != self.count {
            return Err(damaged());
        }
        let mut quantities: &[u8] = &self.quantities;
        let fixed = fixed(&self.assets, self.count)?.iter().zip(kind_numbers);
        for (row_number, (asset, kind_number)) in (rows_before(self.number) + 1..).zip(fixed) {
            let quantity = element(&mut quantities)?.ok_or_else(damaged)?;
            let asset = AssetKey(int(asset)?);
            let index = dimensions_index(kind_number)?;
            let passes = passes.get(index).ok_or_else(damaged)?;
            if row_number <= after || !passes || !filter.passes_asset(asset) {
                continue;
            }
            let dimensions = *slots[index].get_or_insert_with(|| {
                records.dimensions.push(self.dimensions[index].clone());
                records.dimensions.len() - 1
            });
            records.rows.push(RecordRow {
                row_number,
                asset,
                dimensions,
                quantity: get_numeric(quantity).map_err(|error| StoreError::corrupt(error.to_string()))?,
            });
        }
        Ok(())
    }
}

fn read_dimensions(columns: &mut CopyColumns) -> Result<Vec<StoredDimensions>, StoreError> {
    let (count, packed) = array(columns.value()?)?;
    let (starts, ends) = (array_of(count, columns.value()?)?, array_of(count, columns.value()?)?);
    let expiries = columns.optional(|columns| array_of(count, columns.value()?))?;
    let mut expiries: Option<&[u8]> = expiries.as_deref();
    let periods = fixed(&starts, count)?.iter().zip(fixed(&ends, count)?);
    let dimensions = fixed(&packed, count)?.iter().zip(periods).map(|(packed, (start, end))| {
        let expiry = expiries.as_mut().map(element).transpose()?.flatten();
        let expiry = expiry.map(|expiry| expiry.try_into().map(i64::from_be_bytes).map_err(|_| damaged()));
        StoredDimensions::unpack(
            int(packed)?,
            (micros_to_time(int(start)?)?, micros_to_time(int(end)?)?),
            expiry.transpose()?.map(micros_to_time).transpose()?,
        )
    });
    dimensions.collect()
}

fn fixed(elements: &[u8], count: usize) -> Result<Fixed<'_>, StoreError> {
    match elements.as_chunks() {
        (elements, []) if elements.len() == count => Ok(elements),
        _ => Err(damaged()),
    }
}

/// The elements of an array that must have so many.
fn array_of(count: usize, value: Bytes) -> Result<Bytes, StoreError> {
    match array(value)? {
        (other, elements) if other == count => Ok(elements),
        _ => Err(damaged()),
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

/// Which of the dimensions a number stands for.
fn dimensions_index(element: &[u8; 6]) -> Result<usize, StoreError> {
    match element {
        [0, 0, 0, 2, value @ ..] => {
            let number = usize::try_from(i16::from_be_bytes(*value)).ok();
            number.and_then(|number| number.checked_sub(1)).ok_or_else(damaged)
        }
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
