//! Finds asset ids that differ only in their Unicode normal form.

use std::collections::BTreeMap;

use super::{
    codec::CheckedRow,
    findings::{UsageWarning, WarningKind},
    record_location::RecordLocation,
};
use crate::model::{AssetType, TenantId, composed};

/// The maximum number of ids that are compared. Ids beyond it get no warning.
const MAX_IDS: usize = 100_000;

/// The ids of a delivery that may have several forms, each with its first location.
#[derive(Default)]
pub(super) struct UnicodeIds {
    first_locations: BTreeMap<UnicodeId, RecordLocation>,
    /// The last id that was added: records of an asset are consecutive.
    last: Option<UnicodeId>,
}

/// An asset whose id is not pure ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnicodeId {
    pub(super) tenant_id: TenantId,
    pub(super) asset_type: AssetType,
    /// The id in its composed form (NFC).
    pub(super) composed: String,
    pub(super) id: String,
}

// === impl UnicodeIds ===

impl UnicodeIds {
    pub(super) fn add(&mut self, row: &CheckedRow<'_>) {
        if row.asset_id.is_ascii() {
            return;
        }
        let is_last = |last: &&UnicodeId| {
            last.id == row.asset_id && (last.tenant_id, last.asset_type) == (row.tenant_id, row.asset_type)
        };
        if let Some(location) = self.last.as_ref().filter(is_last).and_then(|last| self.first_locations.get_mut(last)) {
            *location = row.location.min(*location);
            return;
        }
        if self.first_locations.len() >= MAX_IDS {
            return;
        }
        let id = UnicodeId {
            tenant_id: row.tenant_id,
            asset_type: row.asset_type,
            composed: composed(row.asset_id).into_owned(),
            id: row.asset_id.to_owned(),
        };
        let location = self.first_locations.entry(id.clone()).or_insert(row.location);
        *location = row.location.min(*location);
        self.last = Some(id);
    }

    /// Adds those of later loads.
    pub(super) fn extend(&mut self, later: Self) {
        for (id, location) in later.first_locations {
            if self.first_locations.len() < MAX_IDS || self.first_locations.contains_key(&id) {
                let first = self.first_locations.entry(id).or_insert(location);
                *first = location.min(*first);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UnicodeId> {
        self.first_locations.keys()
    }

    /// A warning about ids that differ only in form, from each other or from stored ids. `present` has the stored ids,
    /// with
    /// the position of the id of the delivery.
    pub(super) fn warning(&self, present: &[(usize, String)]) -> Option<UsageWarning> {
        let ids: Vec<(&UnicodeId, RecordLocation)> =
            self.first_locations.iter().map(|(id, &location)| (id, location)).collect();
        let among_each_other = ids.windows(2).filter_map(|pair| {
            let [(one, one_location), (other, other_location)] = pair else { return None };
            let is_alike =
                (one.tenant_id, one.asset_type, &one.composed) == (other.tenant_id, other.asset_type, &other.composed);
            // The later of the two is reported.
            let (first, second) = if one_location < other_location { (one, other) } else { (other, one) };
            is_alike.then(|| (*one_location.max(other_location), *second, first.id.as_str()))
        });
        let with_present = present.iter().filter_map(|(position, other)| {
            let &(id, location) = ids.get(*position)?;
            // Ids of the delivery were compared above.
            let is_here = self.first_locations.contains_key(&UnicodeId { id: other.clone(), ..id.clone() });
            (!is_here).then_some((location, id, other.as_str()))
        });
        let found: Vec<(RecordLocation, &UnicodeId, &str)> = among_each_other.chain(with_present).collect();
        let &(location, id, other) = found.iter().min_by_key(|(location, ..)| *location)?;
        Some(UsageWarning {
            kind: WarningKind::NormalForm,
            count: found.len() as u64,
            first: (location.input(), location.number()),
            example: format!(
                "{} \"{}\" and \"{}\" of tenant {} look alike, but are two assets",
                id.asset_type,
                id.id.escape_default(),
                other.escape_default(),
                id.tenant_id
            ),
        })
    }
}
