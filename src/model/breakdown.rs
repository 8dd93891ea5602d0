//! What a breakdown of costs is by, and which of its rows are wanted.

use super::{AssetType, BillingRegion, CostGroup, OrganizationId, TenantId, UsageFilter};

/// Whose bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillSubject {
    /// An organization's, or that of one of its tenants.
    Organization(OrganizationId, Option<TenantId>),
    /// A tenant's, whose organization need not be known.
    Tenant(TenantId),
}

/// A set of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CostGroups(u8);

/// Selects rows. Every list that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BreakdownFilter {
    pub asset_types: Vec<AssetType>,
    pub asset_ids: Vec<String>,
    /// By name, not by id.
    pub meter_names: Vec<String>,
    pub billing_regions: Vec<BillingRegion>,
}

/// A filter selects rows by what they are not grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingGroup {
    /// Asset types need the group asset, or asset type.
    OfAssetTypes,
    /// Asset ids need the group asset.
    OfAssetIds,
}

// === impl CostGroups ===

impl CostGroups {
    pub fn contains(self, group: CostGroup) -> bool {
        self.0 & 1 << group.code() != 0
    }

    /// Its groups, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = CostGroup> {
        CostGroup::ALL.iter().copied().filter(move |&group| self.contains(group))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether rows tell the types of assets.
    pub fn tells_asset_type(self) -> bool {
        self.contains(CostGroup::Asset) || self.contains(CostGroup::AssetType)
    }
}

impl FromIterator<CostGroup> for CostGroups {
    fn from_iter<I: IntoIterator<Item = CostGroup>>(groups: I) -> Self {
        Self(groups.into_iter().fold(0, |set, group| set | 1 << group.code()))
    }
}

// === impl BreakdownFilter ===

impl BreakdownFilter {
    /// The maximum number of entries of each list.
    pub const MAX_ENTRIES: usize = UsageFilter::MAX_ENTRIES;

    /// Whether rows tell what it selects them by.
    pub fn check(&self, groups: CostGroups) -> Result<(), MissingGroup> {
        if !self.asset_types.is_empty() && !groups.tells_asset_type() {
            return Err(MissingGroup::OfAssetTypes);
        }
        if !self.asset_ids.is_empty() && !groups.contains(CostGroup::Asset) {
            return Err(MissingGroup::OfAssetIds);
        }
        Ok(())
    }

    /// Whether it lets every row pass.
    pub fn is_empty(&self) -> bool {
        self.asset_types.is_empty()
            && self.asset_ids.is_empty()
            && self.meter_names.is_empty()
            && self.billing_regions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        use CostGroup::{Asset, AssetType, Platform, UsageDay};
        assert!(CostGroups::default().is_empty());
        let groups: CostGroups = [Platform, Asset, Platform].into_iter().collect();
        assert_eq!(groups.iter().collect::<Vec<_>>(), [Asset, Platform]);
        assert!(groups.tells_asset_type() && !groups.contains(UsageDay) && !groups.contains(AssetType));
        let all: CostGroups = CostGroup::ALL.iter().copied().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), CostGroup::ALL);
    }

    #[test]
    fn a_filter_needs_the_groups_that_it_selects_by() {
        let of = |groups: &[CostGroup]| groups.iter().copied().collect::<CostGroups>();
        let types = BreakdownFilter { asset_types: vec![AssetType::User], ..BreakdownFilter::default() };
        let ids = BreakdownFilter { asset_ids: vec!["joe".to_owned()], ..BreakdownFilter::default() };
        let lines = BreakdownFilter { billing_regions: vec![BillingRegion::Eu], ..BreakdownFilter::default() };
        assert_eq!(types.check(of(&[CostGroup::UsageDay])), Err(MissingGroup::OfAssetTypes));
        assert_eq!(types.check(of(&[CostGroup::AssetType])), Ok(()));
        assert_eq!(types.check(of(&[CostGroup::Asset])), Ok(()));
        assert_eq!(ids.check(of(&[CostGroup::AssetType, CostGroup::UsageDay])), Err(MissingGroup::OfAssetIds));
        assert_eq!(ids.check(of(&[CostGroup::Asset])), Ok(()));
        assert_eq!(lines.check(of(&[])), Ok(()));
        assert!(BreakdownFilter::default().is_empty() && !types.is_empty() && !ids.is_empty() && !lines.is_empty());
    }
}
