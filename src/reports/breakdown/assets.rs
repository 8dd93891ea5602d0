//! The assets of a month: numbered while records are read, then named and put in order.

use std::collections::HashMap;

use super::budget::{GROUP_BYTES, GroupPermit};
use crate::{
    model::{Asset, AssetType, UtcTime},
    reports::ReportError,
    store::{AssetKey, Store, StoreError, VisibleTenant},
};

/// How many assets are asked for at a time.
const ASKED_AT_ONCE: usize = 4096;
/// Bytes of ids and names of a month's assets.
const MAX_TEXT_BYTES: usize = 128 << 20;

/// Assets in the order in which they were first seen. A key stands for an asset under one of its names.
#[derive(Default)]
pub(super) struct AssetSlots {
    slots: HashMap<AssetKey, u32>,
    seen: Vec<SeenAsset>,
    /// When the records that are read were delivered.
    delivered: Option<UtcTime>,
    /// How often the asset has changed from one record to the next.
    changes: u64,
    /// The asset of the last record: those of an asset follow each other.
    last: Option<(AssetKey, u32)>,
}

#[derive(Clone, Copy)]
struct SeenAsset {
    key: AssetKey,
    /// When it was delivered last, and there the greater, the later in the report.
    last_seen: (Option<UtcTime>, u64),
}

/// The assets of a month in the order of rows, each once, under its newest name.
#[derive(Default)]
pub(super) struct NamedAssets {
    by_rank: Vec<NamedAsset>,
}

/// An asset in little memory.
struct NamedAsset {
    asset_type: AssetType,
    /// Ids have at most 512 bytes.
    id_bytes: u16,
    /// The id, and the name behind it.
    text: Box<str>,
}

// === impl AssetSlots ===

impl AssetSlots {
    /// What follows was delivered at this time.
    pub(super) fn begin(&mut self, delivered: UtcTime) {
        if self.delivered != Some(delivered) {
            self.delivered = Some(delivered);
            self.last = None;
        }
    }

    /// The number of an asset. Records come in the order of the report.
    #[inline]
    pub(super) fn slot(&mut self, key: AssetKey) -> u32 {
        match self.last {
            Some((last, slot)) if last == key => slot,
            _ => self.change(key),
        }
    }

    fn change(&mut self, key: AssetKey) -> u32 {
        self.changes += 1;
        // There are far fewer than this number can count.
        let next = u32::try_from(self.seen.len()).unwrap_or(u32::MAX);
        let slot = *self.slots.entry(key).or_insert(next);
        let now = (self.delivered, self.changes);
        match self.seen.get_mut(slot as usize) {
            Some(seen) => seen.last_seen = seen.last_seen.max(now),
            None => self.seen.push(SeenAsset { key, last_seen: now }),
        }
        self.last = Some((key, slot));
        slot
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// The keys, by their slots.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = AssetKey> {
        self.seen.iter().map(|seen| seen.key)
    }

    /// Looks up the assets, and returns them with the rank of each slot. `kept`: how many groups and assets there are.
    pub(super) async fn resolve(
        self,
        store: &Store,
        tenant: &VisibleTenant,
        kept: usize,
        permit: &mut GroupPermit,
    ) -> Result<(NamedAssets, Vec<u32>), ReportError> {
        let Self { slots, seen, .. } = self;
        let mut keys: Vec<AssetKey> = seen.iter().map(|seen| seen.key).collect();
        keys.sort_unstable();
        let mut found = Vec::with_capacity(keys.len());
        let mut text_bytes = 0;
        for keys in keys.chunks(ASKED_AT_ONCE) {
            for (key, asset) in store.assets(tenant, keys).await? {
                text_bytes += asset.id.len() + asset.name.len();
                found.extend(slots.get(&key).map(|&slot| (slot, NamedAsset::new(&asset))));
            }
            if text_bytes > MAX_TEXT_BYTES {
                return Err(ReportError::TooManyGroups);
            }
            permit.cover(kept + text_bytes / GROUP_BYTES)?;
        }
        if found.len() != seen.len() {
            return Err(StoreError::Missing("a record names an asset that is not there".to_owned()).into());
        }
        Ok(NamedAssets::ranked(found, &seen))
    }
}

// === impl NamedAssets ===

impl NamedAssets {
    /// `found`: assets with their slots.
    fn ranked(mut found: Vec<(u32, NamedAsset)>, seen: &[SeenAsset]) -> (Self, Vec<u32>) {
        let last_seen = |slot: u32| seen[slot as usize].last_seen;
        found.sort_unstable_by(|(slot, a), (other, b)| {
            a.identity().cmp(&b.identity()).then(last_seen(*slot).cmp(&last_seen(*other)))
        });
        let mut ranks = vec![0; found.len()];
        let mut by_rank: Vec<NamedAsset> = Vec::new();
        for (slot, asset) in found {
            // Of equal ones, the last stays.
            if by_rank.last().is_some_and(|last| last.identity() == asset.identity()) {
                by_rank.pop();
            }
            ranks[slot as usize] = u32::try_from(by_rank.len()).unwrap_or(u32::MAX);
            by_rank.push(asset);
        }
        (Self { by_rank }, ranks)
    }

    /// Type and id of each, in order.
    pub(super) fn identities(&self) -> impl Iterator<Item = (AssetType, &str)> {
        self.by_rank.iter().map(NamedAsset::identity)
    }

    pub(super) fn get(&self, rank: u32) -> Option<Asset> {
        let asset = self.by_rank.get(rank as usize)?;
        let (asset_type, id) = asset.identity();
        Some(Asset { asset_type, id: id.to_owned(), name: asset.name().to_owned() })
    }
}

// === impl NamedAsset ===

impl NamedAsset {
    fn new(asset: &Asset) -> Self {
        let id_bytes = u16::try_from(asset.id.len()).unwrap_or(u16::MAX);
        let text = format!("{}{}", asset.id, asset.name).into_boxed_str();
        Self { asset_type: asset.asset_type, id_bytes, text }
    }

    /// Type and id.
    fn identity(&self) -> (AssetType, &str) {
        (self.asset_type, self.text.get(..usize::from(self.id_bytes)).unwrap_or_default())
    }

    fn name(&self) -> &str {
        self.text.get(usize::from(self.id_bytes)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(asset_type: AssetType, id: &str, name: &str) -> Asset {
        Asset { asset_type, id: id.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn assets_are_in_order_and_have_the_name_that_was_seen_last() {
        let given = [
            asset(AssetType::Endpoint, "a", "E"),
            asset(AssetType::User, "b", "new"),
            asset(AssetType::User, "b", "old"),
            asset(AssetType::User, "a", "A"),
        ];
        let mut slots = AssetSlots::default();
        // The old name is seen first, last and in between, but never after the new one.
        for key in [2, 2, 0, 1, 2, 3, 1] {
            let key = AssetKey::from_number(key);
            assert_eq!(slots.slot(key), slots.slot(key));
        }
        assert_eq!(slots.len(), 4);
        let found =
            slots.seen.iter().zip(0..).map(|(seen, slot)| {
                (slot, NamedAsset::new(&given[usize::try_from(seen.key.number()).expect("a key")]))
            });
        let (named, ranks) = NamedAssets::ranked(found.collect(), &slots.seen);
        let names: Vec<_> = (0..named.by_rank.len()).filter_map(|rank| named.get(rank as u32)).collect();
        assert_eq!(
            names,
            [
                asset(AssetType::User, "a", "A"),
                asset(AssetType::User, "b", "new"),
                asset(AssetType::Endpoint, "a", "E"),
            ]
        );
        // The slots are of the keys 2, 0, 1, 3.
        assert_eq!(ranks, [1, 2, 1, 0]);
        assert_eq!(named.get(3), None);
    }
}
