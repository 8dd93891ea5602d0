//! Reads blocks as COPY hands them over.

use bytes::Bytes;

use super::{
    AssetKey, BLOCK_ROWS, BlockRecords, BlockWriter, LoadLocation, RecordRow, RecordRows, StoredDimensions, damaged,
    dimensions::{self, DIMENSION_COLUMNS},
    packed::Packed,
    rows_before,
};
use crate::{
    database::{
        copy_in::{put_header, put_trailer},
        copy_out::{CopyColumns, CopyReader},
    },
    model::Decimal,
    store::{RecordFilter, StoreError},
};

/// The columns of the records, in order.
pub(super) const RECORD_COLUMNS: [&str; 7] =
    ["record_count", "first_asset_key", "last_asset_key", "asset_offsets", "kind_indexes", "coefficients", "scales"];

/// Records that follow each other in a load, as the database sent them. They take less memory than rows do, so they become
/// rows when they are needed.
#[derive(Clone, Debug)]
pub struct RecordBlock {
    number: i32,
    count: usize,
    first_asset: i64,
    asset_offsets: Packed,
    dimension_indexes: Packed,
    coefficients: Packed,
    /// One, where it is that of all.
    scales: Bytes,
    dimensions: Vec<StoredDimensions>,
}

/// What [`RecordBlock::read`] reads.
pub(super) fn block_columns() -> String {
    format!("block_number, {}, {}", RECORD_COLUMNS.join(", "), DIMENSION_COLUMNS.join(", "))
}

// === impl RecordBlock ===

impl RecordBlock {
    pub(in crate::store) fn read(columns: &mut CopyColumns) -> Result<Self, StoreError> {
        let number = columns.i32()?;
        let count = usize::try_from(columns.i16()?).map_err(|_| damaged())?;
        if !(1..=BLOCK_ROWS as usize).contains(&count) {
            return Err(damaged());
        }
        let (first_asset, last_asset) = (columns.i64()?, columns.i64()?);
        let block = Self {
            number,
            count,
            first_asset,
            asset_offsets: Packed::read(columns, count, 8)?,
            dimension_indexes: Packed::read(columns, count, 2)?,
            coefficients: Packed::read(columns, count, 16)?,
            scales: columns.value()?,
            dimensions: dimensions::read(columns)?,
        };
        let is_sound = last_asset >= first_asset
            && block.asset_offsets.numbers().all(|offset| offset <= last_asset.abs_diff(first_asset))
            && block.dimension_indexes.numbers().all(|index| index < block.dimensions.len() as u64)
            && [1, count].contains(&block.scales.len());
        if is_sound { Ok(block) } else { Err(damaged()) }
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
        self.each(|_, asset, dimensions, coefficient, scale| {
            record(asset, dimensions, decimal(coefficient, scale)?);
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
        self.each(|row_number, asset, index, coefficient, scale| {
            if row_number <= after || !passes[index] || !filter.passes_asset(asset) {
                return Ok(());
            }
            let dimensions =
                *slots[index].get_or_insert_with(|| records.add_dimensions(self.dimensions[index].clone()));
            records.push(RecordRow { row_number, asset, dimensions, quantity: decimal(coefficient, scale)? });
            Ok(())
        })
    }

    /// Each record: its number in the load, its asset, the position of its dimensions, its coefficient and its scale.
    #[inline]
    fn each(
        &self,
        mut record: impl FnMut(i32, AssetKey, usize, u128, u8) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let assets =
            self.asset_offsets.numbers().map(|offset| AssetKey(self.first_asset.wrapping_add_unsigned(offset)));
        let scales = self.scales.iter().copied().cycle();
        let records = (rows_before(self.number) + 1..).zip(assets).zip(self.dimension_indexes.numbers()).zip(scales);
        let mut with = |(((row_number, asset), index), scale): (((i32, AssetKey), u64), u8), coefficient: u128| {
            record(row_number, asset, index as usize, coefficient, scale)
        };
        // 64-bit numbers are much quicker to read, and nearly all quantities are such.
        if self.coefficients.is_narrow() {
            return records.zip(self.coefficients.numbers()).try_for_each(|(rest, number)| with(rest, number.into()));
        }
        records.zip(self.coefficients.wide_numbers()).try_for_each(|(rest, number)| with(rest, number))
    }
}

fn decimal(coefficient: u128, scale: u8) -> Result<Decimal, StoreError> {
    Decimal::new(coefficient, scale).ok_or_else(|| StoreError::corrupt("a quantity has more than 38 digits"))
}
