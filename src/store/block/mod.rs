//! Records as they are stored: in blocks, a column an array, so that a thousand records cost the database what one would.
//!
//! Every block of a load but its last has [`BLOCK_ROWS`] records, so a row's number says which block it is in.

mod kind;
mod read;
mod write;

use super::MeterKey;
use crate::model::{BillingRegion, Decimal, Platform, UtcTime};
pub(super) use kind::Kind;
pub(super) use read::BLOCK_COLUMNS;
pub use read::RecordBlock;
pub(super) use write::{BlockWriter, COPY_BLOCKS, Place};

/// How many records a block has.
pub const BLOCK_ROWS: i32 = 1024;

/// Stands for an asset of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetKey(pub(in crate::store) i64);

#[cfg(any(test, feature = "bench"))]
impl AssetKey {
    pub(crate) fn made_up(key: i64) -> Self {
        Self(key)
    }
}

/// A record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Position in the load: 1, 2, 3, ...
    pub row_number: i32,
    /// What generated it.
    pub asset: AssetKey,
    /// What was measured.
    pub meter: MeterKey,
    /// The first moment of the period.
    pub start: UtcTime,
    /// The first moment after it.
    pub end: UtcTime,
    /// The amount.
    pub quantity: Decimal,
    /// Where it is billed.
    pub billing_region: BillingRegion,
    /// The hosting platform.
    pub platform: Option<Platform>,
    /// Whether it was under trial.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
}

/// The block of a load that a row is in.
pub fn block_of(row_number: i32) -> i32 {
    (row_number - 1) / BLOCK_ROWS + 1
}

/// The last row before a block.
pub(super) fn rows_before(block: i32) -> i32 {
    (block - 1).saturating_mul(BLOCK_ROWS)
}

/// Blocks as they come back from a database that was given these rows.
#[cfg(any(test, feature = "bench"))]
pub(crate) fn blocks_of(rows: &[RecordRow], type_of: impl Fn(AssetKey) -> crate::model::AssetType) -> Vec<RecordBlock> {
    const PLACE: Place = Place { tenant_key: 1, load_id: 2, usage_month: chrono::NaiveDate::MIN };
    let mut written = bytes::BytesMut::new();
    super::copy::put_header(&mut written);
    let mut writer = BlockWriter::default();
    for row in rows {
        if writer.is_full() {
            writer.finish_block(&PLACE, &mut written);
        }
        writer.push(row, type_of(row.asset));
    }
    writer.finish_block(&PLACE, &mut written);
    super::copy::put_trailer(&mut written);
    let mut blocks = Vec::new();
    let read = super::copy_out::CopyReader::default().read(written.freeze(), |columns| {
        // What is not asked for again: tenant, load and month.
        columns.value()?;
        columns.value()?;
        columns.value()?;
        blocks.push(RecordBlock::read(columns)?);
        Ok(())
    });
    assert!(read.is_ok(), "{read:?}");
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{model::AssetType, store::RecordFilter};

    prop_compose! {
        fn row()(
            asset in 1_i64..9, meter in 1_i64..1 << 40, start in any::<u32>(), length in 1_i64..99,
            coefficient in 0..10_u128.pow(38), scale in 0..=38_u8, region in 1..=4, platform in 0..=2,
            trial in any::<bool>(), expiry in prop::option::of(any::<u32>()),
        ) -> RecordRow {
            let time = |micros| UtcTime::from_unix_micros(micros).expect("in range");
            RecordRow {
                row_number: 0, asset: AssetKey(asset), meter: MeterKey(meter),
                start: time(start.into()), end: time(i64::from(start) + length),
                quantity: Decimal::new(coefficient, scale).expect("in range"),
                billing_region: BillingRegion::from_code(region).expect("in range"),
                platform: Platform::from_code(platform), trial, trial_expiry: expiry.map(|expiry| time(expiry.into())),
            }
        }
    }

    /// The type of an asset; any that follows from the key will do.
    fn type_of(asset: AssetKey) -> AssetType {
        AssetType::from_code(i32::try_from(asset.0 % 5 + 1).expect("small")).expect("in range")
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(row(), 1..60), repeat in 1..40_usize) {
            let rows: Vec<RecordRow> = rows.repeat(repeat).into_iter().zip(1..)
                .map(|(row, row_number)| RecordRow { row_number, ..row }).collect();
            let mut read = Vec::new();
            for block in blocks_of(&rows, type_of) {
                block.rows(0, &RecordFilter::default(), &mut read).expect("readable");
            }
            prop_assert_eq!(&read, &rows);
        }

        #[test]
        fn a_filter_lets_pass_what_it_says(
            rows in prop::collection::vec(row(), 1..60), after in 0..30_i32,
            asset in prop::option::of(1_i64..9), region in prop::option::of(1..=4), trial in prop::option::of(any::<bool>()),
            kind in prop::option::of(1..=5),
        ) {
            let rows: Vec<RecordRow> =
                rows.into_iter().zip(1..).map(|(row, row_number)| RecordRow { row_number, ..row }).collect();
            let mut filter = RecordFilter::default();
            if let Some(asset) = asset { filter.assets([AssetKey(asset)]); }
            if let Some(region) = region.and_then(BillingRegion::from_code) { filter.billing_regions([region]); }
            if let Some(trial) = trial { filter.trial(trial); }
            if let Some(kind) = kind.and_then(AssetType::from_code) { filter.asset_types([kind]); }
            let wanted: Vec<RecordRow> = rows.iter().filter(|row| {
                row.row_number > after
                    && asset.is_none_or(|asset| row.asset.0 == asset)
                    && region.is_none_or(|region| i32::from(row.billing_region.code()) == region)
                    && trial.is_none_or(|trial| row.trial == trial)
                    && kind.is_none_or(|kind| i32::from(type_of(row.asset).code()) == kind)
            }).copied().collect();
            let mut read = Vec::new();
            for block in blocks_of(&rows, type_of) {
                block.rows(after, &filter, &mut read).expect("readable");
            }
            prop_assert_eq!(read, wanted);
        }
    }

    #[test]
    fn rows_have_their_blocks() {
        assert_eq!([1, 1024, 1025, 2048, 2049].map(block_of), [1, 1, 2, 2, 3]);
        assert_eq!([1, 2, 3].map(rows_before), [0, 1024, 2048]);
    }
}
