//! Asset ids that people cannot tell apart: the same characters, composed in another way.

use std::collections::BTreeMap;

use super::{
    codec::CheckedRow,
    findings::{UsageWarning, WarningKind},
    record_location::Place,
};
use crate::model::{AssetType, TenantId, composed};

/// How many ids are looked at; beyond, a delivery is imported without this warning.
const MAX_IDS: usize = 100_000;

/// The ids of a delivery that may have several forms, each with the first place that it stands at.
#[derive(Default)]
pub(super) struct UnicodeIds {
    places: BTreeMap<UnicodeId, Place>,
    /// The last one that was added: records of an asset follow each other.
    last: Option<UnicodeId>,
}

/// An asset whose id has other characters than those of ASCII.
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
        if let Some(place) = self.last.as_ref().filter(is_last).and_then(|last| self.places.get_mut(last)) {
            *place = row.place.min(*place);
            return;
        }
        if self.places.len() >= MAX_IDS {
            return;
        }
        let id = UnicodeId {
            tenant_id: row.tenant_id,
            asset_type: row.asset_type,
            composed: composed(row.asset_id).into_owned(),
            id: row.asset_id.to_owned(),
        };
        let place = self.places.entry(id.clone()).or_insert(row.place);
        *place = row.place.min(*place);
        self.last = Some(id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UnicodeId> {
        self.places.keys()
    }

    /// Those that are alike, among each other and with ids that are there already: `present` has them by the position of an
    /// id of the delivery.
    pub(super) fn warning(&self, present: &[(usize, String)]) -> Option<UsageWarning> {
        let ids: Vec<(&UnicodeId, Place)> = self.places.iter().map(|(id, &place)| (id, place)).collect();
        let among_each_other = ids.windows(2).filter_map(|pair| {
            let [(one, one_place), (other, other_place)] = pair else { return None };
            let is_alike =
                (one.tenant_id, one.asset_type, &one.composed) == (other.tenant_id, other.asset_type, &other.composed);
            // The later of the two is the one that makes it odd.
            let (first, second) = if one_place < other_place { (one, other) } else { (other, one) };
            is_alike.then(|| (*one_place.max(other_place), *second, first.id.as_str()))
        });
        let with_present = present.iter().filter_map(|(position, other)| {
            let &(id, place) = ids.get(*position)?;
            // Those of the delivery have been compared above.
            let is_here = self.places.contains_key(&UnicodeId { id: other.clone(), ..id.clone() });
            (!is_here).then_some((place, id, other.as_str()))
        });
        let found: Vec<(Place, &UnicodeId, &str)> = among_each_other.chain(with_present).collect();
        let &(place, id, other) = found.iter().min_by_key(|(place, ..)| *place)?;
        Some(UsageWarning {
            kind: WarningKind::NormalForm,
            count: found.len() as u64,
            first: (place.input(), place.number()),
            example: format!(
                "{} \"{}\" and \"{}\" of tenant {} are written alike, and stay two assets",
                id.asset_type,
                id.id.escape_default(),
                other.escape_default(),
                id.tenant_id
            ),
        })
    }
}
