//! Which rows of a breakdown are wanted.

use std::collections::HashSet;

use crate::{
    model::{AssetType, BillingRegion, BreakdownFilter, CostGroup, CostGroups, MeterId, composed},
    reports::{CostLine, InvalidField, meters},
    store::Meters,
};

/// What lines are shared among, and which rows are wanted.
pub(super) struct Selection {
    pub(super) groups: CostGroups,
    meters: Option<HashSet<MeterId>>,
    billing_regions: Vec<BillingRegion>,
    asset_types: Vec<AssetType>,
    /// Their characters are composed.
    asset_ids: HashSet<String>,
}

// === impl Selection ===

impl Selection {
    /// # Errors
    ///
    /// There is no such meter.
    pub(super) fn new(groups: CostGroups, filter: BreakdownFilter, known: &Meters) -> Result<Self, InvalidField> {
        let BreakdownFilter { asset_types, asset_ids, meter_names, billing_regions } = filter;
        let meters = if meter_names.is_empty() {
            None
        } else {
            let keys = meters::named(&meter_names, known)?;
            Some(keys.into_iter().filter_map(|key| known.get(key).ok()).map(|meter| meter.id).collect())
        };
        let asset_ids = asset_ids.iter().map(|id| composed(id).into_owned()).collect();
        Ok(Self { groups, meters, billing_regions, asset_types, asset_ids })
    }

    /// All rows, by asset.
    pub(super) fn by_asset() -> Self {
        let groups = std::iter::once(CostGroup::Asset).collect();
        let (asset_ids, billing_regions, asset_types) = (HashSet::new(), Vec::new(), Vec::new());
        Self { groups, meters: None, billing_regions, asset_types, asset_ids }
    }

    /// Whether rows of a line are wanted.
    pub(super) fn passes_line(&self, line: &CostLine) -> bool {
        self.meters.as_ref().is_none_or(|meters| meters.contains(&line.meter.id))
            && (self.billing_regions.is_empty() || self.billing_regions.contains(&line.billing_region))
    }

    /// Whether rows are selected by their assets, or by the types of these.
    pub(super) fn is_by_asset(&self) -> bool {
        !self.asset_types.is_empty() || !self.asset_ids.is_empty()
    }

    /// Whether rows of an asset, or of all assets of a type, are wanted.
    pub(super) fn passes_asset(&self, asset_type: AssetType, id: Option<&str>) -> bool {
        (self.asset_types.is_empty() || self.asset_types.contains(&asset_type))
            && (self.asset_ids.is_empty() || id.is_some_and(|id| self.asset_ids.contains(composed(id).as_ref())))
    }
}
