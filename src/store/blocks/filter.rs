//! Which records of a load are wanted.

use super::{AssetKey, StoredDimensions};
use crate::{
    model::{AssetType, BillingRegion, UsageKey},
    store::MeterKey,
};

/// Which records; `None` lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    pub(super) meter_keys: Option<Vec<i64>>,
    pub(super) billing_regions: Option<Vec<i16>>,
    pub(super) trial: Option<bool>,
    pub(super) asset_types: Option<Vec<i16>>,
    pub(super) asset_keys: Option<Vec<i64>>,
}

// === impl RecordFilter ===

impl RecordFilter {
    /// Only these meters.
    pub fn meters(&mut self, meters: impl IntoIterator<Item = MeterKey>) {
        let mut keys: Vec<i64> = meters.into_iter().map(|key| key.0).collect();
        keys.sort_unstable();
        self.meter_keys = Some(keys);
    }

    /// Only these regions.
    pub fn billing_regions(&mut self, regions: impl IntoIterator<Item = BillingRegion>) {
        self.billing_regions = Some(regions.into_iter().map(BillingRegion::code).collect());
    }

    /// Only trial usage, or only other usage.
    pub fn trial(&mut self, trial: bool) {
        self.trial = Some(trial);
    }

    /// Only assets of these types.
    pub fn asset_types(&mut self, types: impl IntoIterator<Item = AssetType>) {
        self.asset_types = Some(types.into_iter().map(AssetType::code).collect());
    }

    /// Only these assets.
    pub fn assets(&mut self, assets: impl IntoIterator<Item = AssetKey>) {
        let mut keys: Vec<i64> = assets.into_iter().map(|key| key.0).collect();
        keys.sort_unstable();
        self.asset_keys = Some(keys);
    }

    /// Whether records of these dimensions pass, if their assets do.
    pub(super) fn passes_dimensions(&self, stored: &StoredDimensions) -> bool {
        self.passes_total(&stored.usage_key())
            && self.asset_types.as_ref().is_none_or(|types| types.contains(&stored.asset_type.code()))
    }

    /// Whether records of an asset pass, if their dimensions do.
    pub(super) fn passes_asset(&self, asset: AssetKey) -> bool {
        self.asset_keys.as_ref().is_none_or(|keys| keys.binary_search(&asset.0).is_ok())
    }

    /// Whether records of a total pass, as far as a total tells.
    pub fn passes_total(&self, key: &UsageKey<MeterKey>) -> bool {
        self.billing_regions.as_ref().is_none_or(|regions| regions.contains(&key.billing_region.code()))
            && self.trial.is_none_or(|trial| trial == key.trial)
            && self.meter_keys.as_ref().is_none_or(|keys| keys.binary_search(&key.meter.0).is_ok())
    }

    /// Whether it looks at assets, which stored totals know nothing of.
    pub fn is_by_asset(&self) -> bool {
        self.asset_types.is_some() || self.asset_keys.is_some()
    }

    /// Whether it lets every record pass.
    pub fn is_empty(&self) -> bool {
        !self.is_by_asset() && self.meter_keys.is_none() && self.billing_regions.is_none() && self.trial.is_none()
    }
}
