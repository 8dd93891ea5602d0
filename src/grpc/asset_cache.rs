//! Assets as messages have them, kept for all streams: a month names each asset on every day, and a row of `asset` never
//! changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;

use crate::{
    model::{Asset, TenantId},
    proto,
    report::AssetBook,
    store::AssetKey,
};

/// Room for what is kept, in two halves: some 150,000 assets each.
const MAX_BYTES: usize = 48 << 20;
/// What an asset takes besides its bytes.
const OVERHEAD_BYTES: usize = 96;

/// `asset_name`, `asset_id` and `asset_type` of an asset, encoded.
pub(crate) type EncodedAsset = Arc<[u8]>;

/// What all streams share.
#[derive(Default)]
pub(crate) struct AssetCache(Mutex<Halves>);

/// When one half is full it becomes the old one, and what was not asked for since it did is forgotten.
#[derive(Default)]
struct Halves {
    /// The connections that it was read by. Behind new ones may be another database, where keys stand for other assets.
    epoch: u64,
    young: HashMap<(TenantId, AssetKey), EncodedAsset>,
    young_bytes: usize,
    old: HashMap<(TenantId, AssetKey), EncodedAsset>,
}

/// The assets of the records that a stream is at.
pub(crate) struct CurrentAssets {
    cache: Arc<AssetCache>,
    tenant: TenantId,
    epoch: u64,
    current: HashMap<AssetKey, EncodedAsset>,
    /// The asset that was asked for last: records of one asset follow each other.
    last: Option<(AssetKey, EncodedAsset)>,
}

// === impl AssetCache ===

impl AssetCache {
    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Halves ===

impl Halves {
    fn get(&mut self, key: (TenantId, AssetKey)) -> Option<EncodedAsset> {
        if let Some(asset) = self.young.get(&key) {
            return Some(Arc::clone(asset));
        }
        let asset = self.old.remove(&key)?;
        self.put(key, Arc::clone(&asset));
        Some(asset)
    }

    fn put(&mut self, key: (TenantId, AssetKey), asset: EncodedAsset) {
        self.young_bytes += asset.len() + OVERHEAD_BYTES;
        self.young.insert(key, asset);
        if self.young_bytes > MAX_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

// === impl CurrentAssets ===

impl CurrentAssets {
    pub(crate) fn new(cache: Arc<AssetCache>, tenant: TenantId) -> Self {
        Self { cache, tenant, epoch: 0, current: HashMap::new(), last: None }
    }

    /// An asset of the records that were looked up last.
    pub(crate) fn get(&mut self, key: AssetKey) -> Option<&[u8]> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != key) {
            self.last = Some((key, Arc::clone(self.current.get(&key)?)));
        }
        self.last.as_ref().map(|(_, asset)| &**asset)
    }
}

impl AssetBook for CurrentAssets {
    fn turn_to(&mut self, epoch: u64, keys: &[AssetKey]) -> Vec<AssetKey> {
        self.current.clear();
        self.last = None;
        self.epoch = epoch;
        let mut missing = Vec::new();
        let mut halves = self.cache.halves();
        if halves.epoch < epoch {
            *halves = Halves { epoch, ..Halves::default() };
        }
        for &key in keys {
            match halves.get((self.tenant, key)) {
                Some(asset) => _ = self.current.insert(key, asset),
                None => missing.push(key),
            }
        }
        missing
    }

    fn put(&mut self, assets: Vec<(AssetKey, Asset)>) {
        let mut halves = self.cache.halves();
        for (key, asset) in assets {
            let part = proto::UsageRecord {
                asset_name: asset.name,
                asset_id: asset.id,
                asset_type: asset.asset_type.code().into(),
                ..Default::default()
            };
            let encoded = EncodedAsset::from(part.encode_to_vec());
            if halves.epoch == self.epoch {
                halves.put((self.tenant, key), Arc::clone(&encoded));
            }
            self.current.insert(key, encoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AssetType;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let cache = Arc::new(AssetCache::default());
        let tenant = |number| TenantId::from_uuid(uuid::Uuid::from_u128(number));
        let mut assets = CurrentAssets::new(Arc::clone(&cache), tenant(1));
        let key = AssetKey::made_up;
        let asset = Asset { asset_type: AssetType::User, id: "i".repeat(500), name: "n".repeat(1000) };
        assert_eq!(assets.turn_to(1, &[key(0), key(1)]), [key(0), key(1)]);
        assets.put(vec![(key(0), asset.clone()), (key(1), asset.clone())]);
        let encoded = assets.get(key(0)).expect("just put").to_vec();
        for number in 2..100_000 {
            assets.put(vec![(key(number), asset.clone())]);
            if number % 1000 == 0 {
                assert!(assets.turn_to(1, &[key(0)]).is_empty(), "it is asked for time and again");
            }
            let halves = cache.halves();
            assert!((halves.young.len() + halves.old.len()) * encoded.len() <= MAX_BYTES + 2 * encoded.len());
        }
        assert_eq!(assets.turn_to(1, &[key(0), key(1)]), [key(1)]);
        assert_eq!(assets.get(key(0)), Some(&*encoded));
        assert_eq!(assets.get(key(1)), None, "it is of none of these records");

        let mut other = CurrentAssets::new(Arc::clone(&cache), tenant(2));
        assert_eq!(other.turn_to(1, &[key(0)]), [key(0)], "keys of tenants are their own");
        assert_eq!(assets.turn_to(2, &[key(0)]), [key(0)], "by new connections it may be another asset");
        assert_eq!(other.turn_to(1, &[key(0)]), [key(0)]);
        other.put(vec![(key(0), asset)]);
        assert_eq!(other.turn_to(2, &[key(0)]), [key(0)], "what was read by old connections is not kept");
    }
}
