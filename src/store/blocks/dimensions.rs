//! What records of a block have in common.

use crate::{
    model::{AssetType, BillingRegion, Platform, UsageKey, UtcTime},
    store::{MeterKey, StoreError, loads::billing_region},
};

/// What a record is but for its asset and amount. Records that follow each other are of few kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind {
    /// What was measured.
    pub meter: MeterKey,
    /// What kind of thing generated it.
    pub asset_type: AssetType,
    /// The first moment of the period.
    pub start: UtcTime,
    /// The first moment after it.
    pub end: UtcTime,
    /// Where it is billed.
    pub billing_region: BillingRegion,
    /// The hosting platform.
    pub platform: Option<Platform>,
    /// Whether it was under trial.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
}

// === impl RecordKind ===

impl RecordKind {
    /// What its records are added up by.
    pub fn usage_key(&self) -> UsageKey<MeterKey> {
        UsageKey { meter: self.meter, billing_region: self.billing_region, trial: self.trial }
    }

    /// Its small columns in one number, since each array costs the database as much as the next, however small what is in
    /// it: `meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial`, with 0 for no platform. The view
    /// `usage_record` takes them apart for people with SQL.
    pub(super) fn pack(&self) -> i64 {
        let platform = self.platform.map_or(0, Platform::code);
        let small = i64::from(self.asset_type.code()) << 6
            | i64::from(self.billing_region.code()) << 3
            | i64::from(platform) << 1;
        self.meter.0 << 9 | small | i64::from(self.trial)
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
            meter: MeterKey(packed >> 9),
            asset_type: AssetType::from_code(asset_type.into())
                .ok_or_else(|| StoreError::corrupt(format!("there is no asset type {asset_type}")))?,
            start,
            end,
            billing_region: billing_region(bits(3, 0b111))?,
            platform: Platform::from_code(bits(1, 0b11).into()),
            trial: packed & 1 == 1,
            trial_expiry,
        })
    }
}
