//! What records of a block have in common: its arrays, one element for each.

use bytes::BytesMut;

use super::arrays::{INT8, TIMESTAMPTZ, array, array_of, damaged, element, fixed, int, put_array};
use crate::{
    database::{
        copy_in::{put_i64, put_null, time_to_micros},
        copy_out::{CopyColumns, micros_to_time},
    },
    model::{AssetType, Platform, RecordDimensions, UsageKey, UtcTime},
    store::{MeterKey, StoreError, usage_key::billing_region},
};

/// Dimensions as a block stores them, once for all of its records that have them: with the type of the asset, so that a filter
/// by type needs no look at assets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredDimensions {
    pub asset_type: AssetType,
    pub dimensions: RecordDimensions<MeterKey>,
}

/// The columns of the arrays, in order.
pub(super) const DIMENSION_COLUMNS: [&str; 4] = ["kind_codes", "period_starts", "period_ends", "trial_expiries"];

/// An element of an array of numbers.
type Number = fn(&StoredDimensions) -> i64;

/// Appends the arrays of [`DIMENSION_COLUMNS`].
pub(super) fn put(dimensions: &[StoredDimensions], out: &mut BytesMut) {
    let count = dimensions.len().try_into().unwrap_or(i32::MAX);
    let numbers: [(u32, Number); 3] = [
        (INT8, StoredDimensions::pack),
        (TIMESTAMPTZ, |stored| time_to_micros(stored.dimensions.start)),
        (TIMESTAMPTZ, |stored| time_to_micros(stored.dimensions.end)),
    ];
    for (element_type, number) in numbers {
        put_array(element_type, count, out, |out| {
            dimensions.iter().for_each(|stored| put_i64(number(stored), out));
        });
    }
    if dimensions.iter().all(|stored| stored.dimensions.trial_expiry.is_none()) {
        put_null(out);
        return;
    }
    put_array(TIMESTAMPTZ, count, out, |out| {
        for stored in dimensions {
            match stored.dimensions.trial_expiry {
                Some(expiry) => put_i64(time_to_micros(expiry), out),
                None => put_null(out),
            }
        }
    });
}

/// Reads the arrays of [`DIMENSION_COLUMNS`].
pub(super) fn read(columns: &mut CopyColumns) -> Result<Vec<StoredDimensions>, StoreError> {
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

// === impl StoredDimensions ===

impl StoredDimensions {
    /// What its records are added up by.
    pub fn usage_key(&self) -> UsageKey<MeterKey> {
        let UsageKey { meter: &meter, billing_region, trial } = self.dimensions.usage_key();
        UsageKey { meter, billing_region, trial }
    }

    /// Its small columns in one number, since each array costs the database as much as the next, however small what is in
    /// it: `meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial`, with 0 for no platform. The view
    /// `usage_record` takes them apart for people with SQL.
    fn pack(&self) -> i64 {
        let RecordDimensions { meter, billing_region, platform, trial, .. } = &self.dimensions;
        let small = i64::from(self.asset_type.code()) << 6
            | i64::from(billing_region.code()) << 3
            | i64::from(platform.map_or(0, Platform::code)) << 1;
        meter.0 << 9 | small | i64::from(*trial)
    }

    /// Takes such a number apart.
    fn unpack(
        packed: i64,
        (start, end): (UtcTime, UtcTime),
        trial_expiry: Option<UtcTime>,
    ) -> Result<Self, StoreError> {
        let bits = |shift: u32, mask: i64| i16::try_from(packed >> shift & mask).unwrap_or_default();
        let asset_type = bits(6, 0b111);
        Ok(Self {
            asset_type: AssetType::from_code(asset_type.into())
                .ok_or_else(|| StoreError::corrupt(format!("there is no asset type {asset_type}")))?,
            dimensions: RecordDimensions {
                meter: MeterKey(packed >> 9),
                start,
                end,
                billing_region: billing_region(bits(3, 0b111))?,
                platform: Platform::from_code(bits(1, 0b11).into()),
                trial: packed & 1 == 1,
                trial_expiry,
            },
        })
    }
}
