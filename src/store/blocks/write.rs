//! Writes blocks in the binary form of COPY.

use std::collections::HashMap;

use bytes::{BufMut as _, BytesMut};
use chrono::NaiveDate;

use super::{
    AssetKey, BLOCK_ROWS, StoredDimensions, block_of,
    dimensions::{self, DIMENSION_COLUMNS},
    packed::put_packed,
    read::RECORD_COLUMNS,
};
use crate::{
    database::copy_in::{put_date, put_i16, put_i32, put_i64},
    model::Decimal,
};

/// What stands before the columns of the records.
const LOCATION_COLUMNS: [&str; 4] = ["tenant_key", "load_id", "usage_month", "block_number"];

/// The statement whose input a [`BlockWriter`] writes; the columns are in the same order.
pub(in crate::store) fn copy_blocks() -> String {
    format!(
        "-- copy_blocks
        COPY usage_block ({}, {}, {}) FROM STDIN (FORMAT binary)",
        LOCATION_COLUMNS.join(", "),
        RECORD_COLUMNS.join(", "),
        DIMENSION_COLUMNS.join(", ")
    )
}

/// The load that a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct LoadLocation {
    pub(in crate::store) tenant_key: i64,
    pub(in crate::store) load_id: i64,
    pub(in crate::store) usage_month: NaiveDate,
}

/// Collects the rows of a block.
#[derive(Default)]
pub(in crate::store) struct BlockWriter {
    number: i32,
    /// Of each row the asset, the index of the dimensions, and the quantity.
    rows: Vec<(i64, u16, Decimal)>,
    /// By their indexes.
    dimensions: Vec<StoredDimensions>,
    indexes: HashMap<StoredDimensions, u16>,
}

// === impl BlockWriter ===

impl BlockWriter {
    /// Adds the next row of the load. A full block must be finished first.
    pub(in crate::store) fn push(
        &mut self,
        row_number: i32,
        asset: AssetKey,
        dimensions: StoredDimensions,
        quantity: Decimal,
    ) {
        debug_assert!(!self.is_full(), "a full block is to be finished");
        if self.rows.is_empty() {
            self.number = block_of(row_number);
        }
        let index = match self.indexes.get(&dimensions) {
            Some(index) => *index,
            None => {
                // No more than there are rows.
                let index = u16::try_from(self.dimensions.len()).unwrap_or(u16::MAX);
                self.dimensions.push(dimensions.clone());
                self.indexes.insert(dimensions, index);
                index
            }
        };
        self.rows.push((asset.0, index, quantity));
    }

    pub(in crate::store) fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK_ROWS as usize
    }

    /// Writes the block, if it has rows, and starts the next one.
    pub(in crate::store) fn finish_block(&mut self, location: &LoadLocation, out: &mut BytesMut) {
        let assets = self.rows.iter().map(|row| row.0);
        let (Some(first), Some(last)) = (assets.clone().min(), assets.clone().max()) else { return };
        let columns = LOCATION_COLUMNS.len() + RECORD_COLUMNS.len() + DIMENSION_COLUMNS.len();
        out.put_i16(i16::try_from(columns).unwrap_or(i16::MAX));
        put_i64(location.tenant_key, out);
        put_i64(location.load_id, out);
        put_date(location.usage_month, out);
        put_i32(self.number, out);
        put_i16(i16::try_from(self.rows.len()).unwrap_or(i16::MAX), out);
        put_i64(first, out);
        put_i64(last, out);
        let offset = |asset: i64| u128::from(asset.abs_diff(first));
        put_packed(assets.map(offset), offset(last), out);
        let highest_index = self.dimensions.len() as u128 - 1;
        put_packed(self.rows.iter().map(|row| row.1.into()), highest_index, out);
        let coefficients = self.rows.iter().map(|row| row.2.coefficient());
        put_packed(coefficients.clone(), coefficients.max().unwrap_or(0), out);
        let scales = self.rows.iter().map(|row| u128::from(row.2.scale()));
        let is_one_scale = self.rows.iter().all(|row| row.2.scale() == self.rows[0].2.scale());
        put_packed(scales.take(if is_one_scale { 1 } else { self.rows.len() }), 0, out);
        dimensions::put(&self.dimensions, out);
        self.rows.clear();
        self.dimensions.clear();
        self.indexes.clear();
    }
}
