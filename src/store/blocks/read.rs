//! Reads blocks as COPY hands them over.

use bytes::Bytes;

use super::{
    AssetKey, BlockRecords, BlockWriter, LoadLocation, RecordRow, RecordRows, StoredDimensions,
    arrays::{array, array_of, damaged, element, fixed, int},
    dimensions::{self, DIMENSION_COLUMNS},
    rows_before,
};
use crate::{
    database::{
        copy_in::{put_header, put_trailer},
        copy_out::{CopyColumns, CopyReader},
        numeric::get_numeric,
    },
    model::Decimal,
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
pub(super) fn block_columns() -> String {
    format!("block_number, asset_keys, kind_numbers, quantities, {}", DIMENSION_COLUMNS.join(", "))
}

// === impl RecordBlock ===

impl RecordBlock {
    pub(in crate::store) fn read(columns: &mut CopyColumns) -> Result<Self, StoreError> {
        let number = columns.i32()?;
        let (count, assets) = array(columns.value()?)?;
        let kind_numbers = array_of(count, columns.value()?)?;
        let quantities = array_of(count, columns.value()?)?;
        Ok(Self { number, count, assets, kind_numbers, quantities, dimensions: dimensions::read(columns)? })
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

    /// What its records are of, by the positions that [`visit`](Self::visit) names.
    pub fn dimensions(&self) -> &[StoredDimensions] {
        &self.dimensions
    }

    /// Visits its records, in order: the asset, the position of the dimensions, and the quantity. No rows are made.
    pub fn visit(&self, mut record: impl FnMut(AssetKey, usize, Decimal)) -> Result<(), StoreError> {
        self.each(|_, asset, dimensions, quantity| {
            record(asset, dimensions, decimal(quantity)?);
            Ok(())
        })
    }

    /// Adds those of its rows that come after a row of the load and pass the filter.
    pub fn read_into(
        &self,
        after: i32,
        filter: &RecordFilter,
        records: &mut impl BlockRecords,
    ) -> Result<(), StoreError> {
        let passes: Vec<bool> = self.dimensions.iter().map(|dimensions| filter.passes_dimensions(dimensions)).collect();
        // Where those of the dimensions that have a row are among the records' dimensions.
        let mut slots = vec![None; self.dimensions.len()];
        self.each(|row_number, asset, index, quantity| {
            if row_number <= after || !passes[index] || !filter.passes_asset(asset) {
                return Ok(());
            }
            let dimensions =
                *slots[index].get_or_insert_with(|| records.add_dimensions(self.dimensions[index].clone()));
            records.push(RecordRow { row_number, asset, dimensions, quantity: decimal(quantity)? });
            Ok(())
        })
    }

    /// Each record: its number in the load, its asset, the position of its dimensions, and its encoded quantity.
    #[inline]
    fn each(
        &self,
        mut record: impl FnMut(i32, AssetKey, usize, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (kind_numbers, []) = self.kind_numbers.as_chunks() else { return Err(damaged()) };
        if kind_numbers.len() != self.count {
            return Err(damaged());
        }
        let mut quantities: &[u8] = &self.quantities;
        let fixed = fixed(&self.assets, self.count)?.iter().zip(kind_numbers);
        for (row_number, (asset, kind_number)) in (rows_before(self.number) + 1..).zip(fixed) {
            let quantity = element(&mut quantities)?.ok_or_else(damaged)?;
            let index = dimensions_index(kind_number)?;
            if index >= self.dimensions.len() {
                return Err(damaged());
            }
            record(row_number, AssetKey(int(asset)?), index, quantity)?;
        }
        Ok(())
    }
}

fn decimal(quantity: &[u8]) -> Result<Decimal, StoreError> {
    get_numeric(quantity).map_err(|error| StoreError::corrupt(error.to_string()))
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
