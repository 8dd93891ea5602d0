//! Filters of the detailed usage report.

use super::{AssetType, BillingRegion};

/// Narrows a report. Every list that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Of these types.
    pub asset_types: Vec<AssetType>,
    /// Of these assets.
    pub asset_ids: Vec<String>,
    /// Of these meters, by name.
    pub meter_names: Vec<String>,
    /// Billed in these regions.
    pub billing_regions: Vec<BillingRegion>,
    /// Only trial usage, or only other usage.
    pub trial: Option<bool>,
}

impl UsageFilter {
    /// The most asset ids, and the most meter names.
    pub const MAX_NAMES: usize = 1000;
}
