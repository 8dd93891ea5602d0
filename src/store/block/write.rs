//! Writes blocks in the binary form of COPY; see [`super::read`] for that of arrays.

use bytes::{BufMut as _, BytesMut};
use chrono::NaiveDate;

use super::{BLOCK_ROWS, RecordRow, block_of, kind::Kind};
use crate::{
    model::AssetType,
    store::copy::{put_date, put_i32, put_i64, put_null, put_sized, time_to_micros},
    store::numeric::put_numeric,
};

/// The statement whose input a [`BlockWriter`] writes; the columns are in the same order.
pub(in crate::store) const COPY_BLOCKS: &str = "-- copy_blocks
    COPY usage_block (tenant_key, load_id, usage_month, block_number, asset_keys, kinds, period_starts, period_ends,
                      quantities, trial_expiries)
    FROM STDIN (FORMAT binary)";
const COLUMN_COUNT: i16 = 10;

// PostgreSQL's `pg_type.dat`.
const INT8: u32 = 20;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;

/// The load that a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place {
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
    kinds: BytesMut,
    starts: BytesMut,
    ends: BytesMut,
    quantities: BytesMut,
    trial_expiries: BytesMut,
    any_expiry: bool,
}

// === impl BlockWriter ===

impl BlockWriter {
    /// Adds the next row of the load. A full block must be finished first.
    pub(in crate::store) fn push(&mut self, row: &RecordRow, asset_type: AssetType) {
        debug_assert!(self.count < BLOCK_ROWS, "a full block is to be finished");
        if self.count == 0 {
            self.number = block_of(row.row_number);
        }
        self.count += 1;
        put_i64(row.asset.0, &mut self.assets);
        put_i64(Kind::new(row.meter, asset_type, row.billing_region, row.platform, row.trial).0, &mut self.kinds);
        put_i64(time_to_micros(row.start), &mut self.starts);
        put_i64(time_to_micros(row.end), &mut self.ends);
        put_sized(&mut self.quantities, |out| put_numeric(row.quantity, out));
        match row.trial_expiry {
            Some(expiry) => put_i64(time_to_micros(expiry), &mut self.trial_expiries),
            None => put_null(&mut self.trial_expiries),
        }
        self.any_expiry |= row.trial_expiry.is_some();
    }

    pub(in crate::store) fn is_full(&self) -> bool {
        self.count == BLOCK_ROWS
    }

    /// Writes the block, if it has rows, and starts the next one.
    pub(in crate::store) fn finish_block(&mut self, place: &Place, out: &mut BytesMut) {
        if self.count == 0 {
            return;
        }
        out.put_i16(COLUMN_COUNT);
        put_i64(place.tenant_key, out);
        put_i64(place.load_id, out);
        put_date(place.usage_month, out);
        put_i32(self.number, out);
        put_array(INT8, self.count, false, &mut self.assets, out);
        put_array(INT8, self.count, false, &mut self.kinds, out);
        put_array(TIMESTAMPTZ, self.count, false, &mut self.starts, out);
        put_array(TIMESTAMPTZ, self.count, false, &mut self.ends, out);
        put_array(NUMERIC, self.count, false, &mut self.quantities, out);
        if self.any_expiry {
            put_array(TIMESTAMPTZ, self.count, true, &mut self.trial_expiries, out);
        } else {
            put_null(out);
            self.trial_expiries.clear();
        }
        self.any_expiry = false;
        self.count = 0;
    }
}

/// Puts an array of elements, and clears them.
fn put_array(element_type: u32, count: i32, nulls: bool, elements: &mut BytesMut, out: &mut BytesMut) {
    put_sized(out, |out| {
        out.put_i32(1); // dimensions
        out.put_i32(nulls.into());
        out.put_u32(element_type);
        out.put_i32(count);
        out.put_i32(1); // the first element's number
        out.put_slice(elements);
    });
    elements.clear();
}
