//! The small columns of a record in one number. Each array costs the database as much as the next, however small what is
//! in it; the view `usage_record` takes them apart for people with SQL, in the same way.

use crate::{
    model::{AssetType, BillingRegion, Platform},
    store::{MeterKey, StoreError, loads::billing_region},
};

/// `meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial`, with 0 for no platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Kind(pub(super) i64);

// === impl Kind ===

impl Kind {
    pub(super) fn new(
        meter: MeterKey,
        asset_type: AssetType,
        billing_region: BillingRegion,
        platform: Option<Platform>,
        trial: bool,
    ) -> Self {
        let platform = platform.map_or(0, Platform::code);
        let small =
            i64::from(asset_type.code()) << 6 | i64::from(billing_region.code()) << 3 | i64::from(platform) << 1;
        Self(meter.0 << 9 | small | i64::from(trial))
    }

    pub(in crate::store) fn meter(self) -> MeterKey {
        MeterKey(self.0 >> 9)
    }

    /// The code of the type.
    pub(in crate::store) fn asset_type(self) -> i16 {
        self.bits(6, 0b111)
    }

    /// The code of the region.
    pub(in crate::store) fn region(self) -> i16 {
        self.bits(3, 0b111)
    }

    pub(super) fn billing_region(self) -> Result<BillingRegion, StoreError> {
        billing_region(self.region())
    }

    pub(super) fn platform(self) -> Option<Platform> {
        Platform::from_code(self.bits(1, 0b11).into())
    }

    pub(in crate::store) fn trial(self) -> bool {
        self.0 & 1 == 1
    }

    fn bits(self, shift: u32, mask: i64) -> i16 {
        i16::try_from(self.0 >> shift & mask).unwrap_or_default()
    }
}
