//! Asset ids that people cannot tell apart: the same characters, composed in another way.

use std::collections::BTreeMap;

use super::{
    codec::CheckedRow,
    findings::{UsageWarning, WarningKind},
    place::Place,
};
use crate::model::{AssetType, TenantId, composed};

/// How many ids are looked at; beyond, a delivery is imported without this warning.
const MAX_IDS: usize = 100_000;

/// The ids of a delivery that may have several forms.
#[derive(Default)]
pub(super) struct UnicodeIds(BTreeMap<UnicodeId, Place>);

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
        if row.asset_id.is_ascii() || self.0.len() >= MAX_IDS {
            return;
        }
        let id = UnicodeId {
            tenant_id: row.tenant_id,
            asset_type: row.asset_type,
            composed: composed(row.asset_id).into_owned(),
            id: row.asset_id.to_owned(),
        };
        self.0.entry(id).or_insert(row.place);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UnicodeId> {
        self.0.keys()
    }

    /// Those that are alike, among each other and with ids that are there already: `present` has them by the position of an
    /// id of the delivery.
    pub(super) fn warning(&self, present: &[(usize, String)]) -> Option<UsageWarning> {
        let mut warning: Option<UsageWarning> = None;
        let mut found = |one: &UnicodeId, other: &str, place: Place| match &mut warning {
            Some(warning) => warning.count += 1,
            None => {
                warning = Some(UsageWarning {
                    kind: WarningKind::NormalForm,
                    count: 1,
                    first: (place.input(), place.number()),
                    example: format!(
                        "{} \"{}\" and \"{}\" of tenant {} are written alike, and stay two assets",
                        one.asset_type,
                        one.id.escape_default(),
                        other.escape_default(),
                        one.tenant_id
                    ),
                });
            }
        };
        let ids: Vec<(&UnicodeId, Place)> = self.0.iter().map(|(id, &place)| (id, place)).collect();
        for pair in ids.windows(2) {
            let [(one, _), (other, place)] = pair else { continue };
            let is_alike = (one.tenant_id, one.asset_type) == (other.tenant_id, other.asset_type)
                && one.composed == other.composed;
            if is_alike {
                found(other, &one.id, *place);
            }
        }
        for (position, other) in present {
            let Some(&(id, place)) = ids.get(*position) else { continue };
            // Those of the delivery have been compared above.
            if !self.0.contains_key(&UnicodeId { id: other.clone(), ..id.clone() }) {
                found(id, other, place);
            }
        }
        warning
    }
}
