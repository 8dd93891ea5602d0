//! What records of a block have in common.

use crate::{
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
    pub(super) fn pack(&self) -> i64 {
        let RecordDimensions { meter, billing_region, platform, trial, .. } = &self.dimensions;
        let small = i64::from(self.asset_type.code()) << 6
            | i64::from(billing_region.code()) << 3
            | i64::from(platform.map_or(0, Platform::code)) << 1;
        meter.0 << 9 | small | i64::from(*trial)
    }

    /// Takes such a number apart.
    pub(super) fn unpack(
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
