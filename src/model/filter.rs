//! Filters of the detailed usage report.

use super::{AssetType, BillingRegion};

/// Restricts a report. Every list that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    pub asset_types: Vec<AssetType>,
    pub asset_ids: Vec<String>,
    /// By name, not by id.
    pub meter_names: Vec<String>,
    pub billing_regions: Vec<BillingRegion>,
    /// `true`: only trial usage; `false`: only billable usage.
    pub trial: Option<bool>,
}

impl UsageFilter {
    /// The maximum number of entries of each list.
    pub const MAX_ENTRIES: usize = 1000;
}
