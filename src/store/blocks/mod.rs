//! Records as they are stored: in blocks, a column a string of bytes, so that a thousand records cost the database what one
//! would. What records of a block have in common is there once.
//!
//! Every block of a load but its last has [`BLOCK_ROWS`] records, so a row's number says which block it is in.

mod arrays;
mod dimensions;
mod filter;
mod packed;
mod query;
mod read;
mod records;
mod totals;
mod write;

pub use dimensions::StoredDimensions;
pub use filter::RecordFilter;
pub use query::BlockRange;
pub use read::RecordBlock;
pub use records::{BlockRecords, RecordColumns, RecordRow, RecordRows};
pub(super) use write::{BlockWriter, LoadLocation, copy_blocks};

use super::StoreError;

/// How many records a block has.
pub const BLOCK_ROWS: i32 = 1024;

/// Stands for an asset of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetKey(pub(in crate::store) i64);

impl AssetKey {
    /// The number itself. Assets that were first seen together have numbers that follow each other.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The key of a number.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// The block of a load that a row is in.
pub fn block_of(row_number: i32) -> i32 {
    (row_number - 1) / BLOCK_ROWS + 1
}

fn damaged() -> StoreError {
    StoreError::corrupt("the columns of a block do not fit each other")
}

/// The last row before a block.
pub(super) fn rows_before(block: i32) -> i32 {
    (block - 1).saturating_mul(BLOCK_ROWS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{AssetType, BillingRegion, Decimal, Platform, RecordDimensions, UtcTime},
        store::{MeterKey, RecordFilter},
    };

    prop_compose! {
        fn dimensions()(
            meter in 1_i64..1 << 40, asset_type in 1..=5, start in any::<u32>(), length in 1_i64..99, region in 1..=4,
            platform in 0..=2, trial in any::<bool>(), expiry in prop::option::of(any::<u32>()),
        ) -> StoredDimensions {
            let time = |micros| UtcTime::from_unix_micros(micros).expect("in range");
            StoredDimensions {
                asset_type: AssetType::from_code(asset_type).expect("in range"),
                dimensions: RecordDimensions {
                    platform: Platform::from_code(platform), trial, trial_expiry: expiry.map(|expiry| time(expiry.into())),
                    ..RecordDimensions::new(
                        MeterKey(meter), time(start.into()), time(i64::from(start) + length),
                        BillingRegion::from_code(region).expect("in range"),
                    )
                },
            }
        }
    }

    prop_compose! {
        fn records()(
            dimensions in prop::collection::vec(dimensions(), 1..40),
            rows in prop::collection::vec(
                (1_i64..9, any::<prop::sample::Index>(), 0..10_u128.pow(38), 0..=38_u8), 1..60),
            repeat in 1..40_usize,
        ) -> RecordRows {
            let rows = rows.repeat(repeat).into_iter().zip(1..).map(|((asset, index, coefficient, scale), row_number)| {
                RecordRow {
                    row_number, asset: AssetKey(asset), dimensions: index.index(dimensions.len()),
                    quantity: Decimal::new(coefficient, scale).expect("in range"),
                }
            });
            RecordRows { rows: rows.collect(), dimensions }
        }
    }

    /// Records without the positions of their dimensions, which are chosen anew.
    fn flat(records: &RecordRows) -> Vec<(RecordRow, StoredDimensions)> {
        records
            .rows
            .iter()
            .map(|row| (RecordRow { dimensions: 0, ..*row }, records.dimensions[row.dimensions].clone()))
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in records()) {
            let mut read = RecordRows::default();
            for block in RecordBlock::of_rows(&records) {
                block.read_into(0, &RecordFilter::default(), &mut read).expect("readable");
            }
            prop_assert_eq!(flat(&read), flat(&records));
            let mut visited = Vec::new();
            for block in RecordBlock::of_rows(&records) {
                block.visit(|asset, dimensions, quantity| {
                    visited.push((asset, block.dimensions()[dimensions].clone(), quantity));
                }).expect("readable");
            }
            let expected = flat(&records).into_iter().map(|(row, stored)| (row.asset, stored, row.quantity));
            prop_assert_eq!(visited, expected.collect::<Vec<_>>());
        }

        #[test]
        fn a_filter_lets_pass_what_it_says(
            records in records(), after in 0..30_i32,
            asset in prop::option::of(1_i64..9), region in prop::option::of(1..=4), trial in prop::option::of(any::<bool>()),
            asset_type in prop::option::of(1..=5),
        ) {
            let mut filter = RecordFilter::default();
            if let Some(asset) = asset { filter.assets([AssetKey(asset)]); }
            if let Some(region) = region.and_then(BillingRegion::from_code) { filter.billing_regions([region]); }
            if let Some(trial) = trial { filter.trial(trial); }
            if let Some(asset_type) = asset_type.and_then(AssetType::from_code) { filter.asset_types([asset_type]); }
            let wanted: Vec<_> = flat(&records).into_iter().filter(|(row, stored)| {
                row.row_number > after
                    && asset.is_none_or(|asset| row.asset.0 == asset)
                    && region.is_none_or(|region| i32::from(stored.dimensions.billing_region.code()) == region)
                    && trial.is_none_or(|trial| stored.dimensions.trial == trial)
                    && asset_type.is_none_or(|asset_type| i32::from(stored.asset_type.code()) == asset_type)
            }).collect();
            let mut read = RecordRows::default();
            for block in RecordBlock::of_rows(&records) {
                block.read_into(after, &filter, &mut read).expect("readable");
            }
            prop_assert_eq!(flat(&read), wanted);
        }
    }

    #[test]
    fn rows_have_their_blocks() {
        assert_eq!([1, 1024, 1025, 2048, 2049].map(block_of), [1, 1, 2, 2, 3]);
        assert_eq!([1, 2, 3].map(rows_before), [0, 1024, 2048]);
    }
}
