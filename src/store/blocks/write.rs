//! Writes blocks in the binary form of COPY.

use std::collections::HashMap;

use bytes::{BufMut as _, BytesMut};
use chrono::NaiveDate;

use super::{
    AssetKey, BLOCK_ROWS, StoredDimensions,
    arrays::{INT2, INT8, NUMERIC, put_array},
    block_of,
    dimensions::{self, DIMENSION_COLUMNS},
};
use crate::{
    database::copy_in::{put_date, put_i16, put_i32, put_i64, put_sized},
    database::numeric::put_numeric,
    model::Decimal,
};

/// The statement whose input a [`BlockWriter`] writes; the columns are in the same order.
pub(in crate::store) fn copy_blocks() -> String {
    format!(
        "-- copy_blocks
        COPY usage_block (tenant_key, load_id, usage_month, block_number, asset_keys, kind_numbers, quantities, {})
        FROM STDIN (FORMAT binary)",
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
    count: i32,
    assets: BytesMut,
    kind_numbers: BytesMut,
    quantities: BytesMut,
    /// By their numbers, from 1.
    dimensions: Vec<StoredDimensions>,
    numbers: HashMap<StoredDimensions, i16>,
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
        debug_assert!(self.count < BLOCK_ROWS, "a full block is to be finished");
        if self.count == 0 {
            self.number = block_of(row_number);
        }
        self.count += 1;
        put_i64(asset.0, &mut self.assets);
        let number = match self.numbers.get(&dimensions) {
            Some(number) => *number,
            None => {
                // No more than there are rows.
                let number = i16::try_from(self.dimensions.len() + 1).unwrap_or(i16::MAX);
                self.dimensions.push(dimensions.clone());
                self.numbers.insert(dimensions, number);
                number
            }
        };
        put_i16(number, &mut self.kind_numbers);
        put_sized(&mut self.quantities, |out| put_numeric(quantity, out));
    }

    pub(in crate::store) fn is_full(&self) -> bool {
        self.count == BLOCK_ROWS
    }

    /// Writes the block, if it has rows, and starts the next one.
    pub(in crate::store) fn finish_block(&mut self, location: &LoadLocation, out: &mut BytesMut) {
        if self.count == 0 {
            return;
        }
        // Those before the dimensions, and these.
        out.put_i16(i16::try_from(7 + DIMENSION_COLUMNS.len()).unwrap_or(i16::MAX));
        put_i64(location.tenant_key, out);
        put_i64(location.load_id, out);
        put_date(location.usage_month, out);
        put_i32(self.number, out);
        for (element_type, elements) in
            [(INT8, &mut self.assets), (INT2, &mut self.kind_numbers), (NUMERIC, &mut self.quantities)]
        {
            put_array(element_type, self.count, out, |out| out.put_slice(elements));
            elements.clear();
        }
        dimensions::put(&self.dimensions, out);
        self.dimensions.clear();
        self.numbers.clear();
        self.count = 0;
    }
}
