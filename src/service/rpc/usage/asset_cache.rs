//! Assets as messages have them, kept for all streams: a month names each asset on every day, and a row of `asset` never
//! changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    contract::put_part,
    model::{Asset, Part, TenantId},
    store::AssetKey,
};

/// Room for what is kept, in two generations: some 300,000 assets each, where keys follow each other.
const MAX_BYTES: usize = 48 << 20;
/// What a page takes besides the bytes of its assets.
const OVERHEAD_BYTES: usize = 96 + size_of::<Page>();
/// How many keys a page is for.
const PAGE_KEYS: usize = 64;

/// What all streams share.
#[derive(Default)]
pub struct AssetCache(Mutex<Generations>);

/// When one generation is full it becomes the old one, and what was not asked for since it did is forgotten.
#[derive(Default)]
struct Generations {
    /// The connections that it was read by. Behind new ones may be another database, where keys stand for other assets.
    epoch: u64,
    young: HashMap<PageKey, Arc<Page>>,
    young_bytes: usize,
    old: HashMap<PageKey, Arc<Page>>,
}

/// Whose page, and which.
type PageKey = (TenantId, i64);

/// `asset_name`, `asset_id` and `asset_type` of assets whose keys follow each other, encoded, one behind the other. Reports
/// come across assets about in the order of their keys, so they walk through memory instead of jumping about in it, which
/// took longer than all the encoding.
struct Page {
    /// Where each ends. One that is not there is empty, as no other is.
    ends: [u32; PAGE_KEYS],
    bytes: Vec<u8>,
}

/// The assets of the records that a stream is at.
pub struct CurrentAssets {
    cache: Arc<AssetCache>,
    tenant: TenantId,
    epoch: u64,
    /// By their numbers, in order.
    pages: Vec<(i64, Arc<Page>)>,
    /// The page that was looked at last: records of one asset follow each other, and so do assets.
    last: usize,
}

// === impl AssetCache ===

impl AssetCache {
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Generations ===

impl Generations {
    fn get(&mut self, key: PageKey) -> Option<Arc<Page>> {
        if let Some(page) = self.young.get(&key) {
            return Some(Arc::clone(page));
        }
        let page = self.old.remove(&key)?;
        self.put(key, Arc::clone(&page));
        Some(page)
    }

    fn put(&mut self, key: PageKey, page: Arc<Page>) {
        self.young_bytes += page.size();
        if let Some(before) = self.young.insert(key, page) {
            self.young_bytes -= before.size();
        }
        if self.young_bytes > MAX_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

// === impl Page ===

impl Page {
    fn get(&self, slot: usize) -> Option<&[u8]> {
        let start = slot.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start as usize..self.ends[slot] as usize).filter(|asset| !asset.is_empty())
    }

    /// A page of what is found for each slot.
    fn of<'a>(find: impl Fn(usize) -> Option<&'a [u8]>) -> Self {
        let mut page = Self::default();
        for slot in 0..PAGE_KEYS {
            page.bytes.extend_from_slice(find(slot).unwrap_or_default());
            // Assets are short.
            page.ends[slot] = u32::try_from(page.bytes.len()).unwrap_or(u32::MAX);
        }
        page.bytes.shrink_to_fit();
        page
    }

    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { ends: [0; PAGE_KEYS], bytes: Vec::new() }
    }
}

/// The page that a key is on, and its slot there.
fn page_of(key: AssetKey) -> (i64, usize) {
    let keys = PAGE_KEYS as i64;
    (key.number().div_euclid(keys), usize::try_from(key.number().rem_euclid(keys)).unwrap_or_default())
}

// === impl CurrentAssets ===

impl CurrentAssets {
    pub fn new(cache: Arc<AssetCache>, tenant: TenantId) -> Self {
        Self { cache, tenant, epoch: 0, pages: Vec::new(), last: 0 }
    }

    /// An asset of the records that were looked up last.
    pub fn get(&mut self, key: AssetKey) -> Option<&[u8]> {
        let (number, slot) = page_of(key);
        if self.pages.get(self.last).is_none_or(|(last, _)| *last != number) {
            self.last = self.find(number).ok()?;
        }
        self.pages[self.last].1.get(slot)
    }

    fn find(&self, number: i64) -> Result<usize, usize> {
        self.pages.binary_search_by_key(&number, |(number, _)| *number)
    }

    /// Looks up the assets of the next records, whose keys are in order; returns the keys of those that are not there. In another
    /// `epoch` than before, keys may stand for other assets.
    pub fn prefetch(&mut self, epoch: u64, keys: &[AssetKey]) -> Vec<AssetKey> {
        self.pages.clear();
        self.last = 0;
        self.epoch = epoch;
        let mut generations = self.cache.generations();
        if generations.epoch < epoch {
            *generations = Generations { epoch, ..Generations::default() };
        }
        let mut missing = Vec::new();
        for &key in keys {
            let (number, slot) = page_of(key);
            // Keys come in order, and so do their pages.
            if self.pages.last().is_none_or(|(last, _)| *last != number) {
                self.pages.push((number, generations.get((self.tenant, number)).unwrap_or_default()));
            }
            if self.pages.last().is_none_or(|(_, page)| page.get(slot).is_none()) {
                missing.push(key);
            }
        }
        missing
    }

    /// Takes the assets that were not there.
    pub fn put(&mut self, assets: Vec<(AssetKey, Asset)>) {
        let mut added: HashMap<i64, HashMap<usize, Vec<u8>>> = HashMap::new();
        for (key, asset) in assets {
            let mut encoded = Vec::new();
            put_part(Part::Asset, &asset.values(), &mut encoded);
            let (number, slot) = page_of(key);
            added.entry(number).or_default().insert(slot, encoded);
        }
        let cache = Arc::clone(&self.cache);
        let mut generations = cache.generations();
        let is_kept = generations.epoch == self.epoch;
        for (number, added) in added {
            let index = self.find(number).unwrap_or_else(|index| {
                self.pages.insert(index, (number, Arc::default()));
                index
            });
            let here = &mut self.pages[index].1;
            // Another stream may have put more there meanwhile.
            let kept = if is_kept { generations.get((self.tenant, number)) } else { None };
            let kept = kept.unwrap_or_default();
            let find = |slot| added.get(&slot).map(Vec::as_slice).or_else(|| here.get(slot)).or_else(|| kept.get(slot));
            *here = Arc::new(Page::of(find));
            if is_kept {
                generations.put((self.tenant, number), Arc::clone(here));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    use crate::{contract::proto, model::AssetType};

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let cache = Arc::new(AssetCache::default());
        let tenant = |number| TenantId::from_uuid(uuid::Uuid::from_u128(number));
        let mut assets = CurrentAssets::new(Arc::clone(&cache), tenant(1));
        let key = AssetKey::from_number;
        let asset = Asset { asset_type: AssetType::User, id: "i".repeat(500), name: "n".repeat(1000) };
        assert_eq!(assets.prefetch(1, &[key(0), key(1000)]), [key(0), key(1000)]);
        assert_eq!(assets.get(key(0)), None);
        assets.put(vec![(key(0), asset.clone()), (key(1000), asset.clone())]);
        let encoded = assets.get(key(0)).expect("just put").to_vec();
        for number in (2000..100_000).step_by(100) {
            assert!(assets.prefetch(1, &[key(0)]).is_empty(), "it is asked for time and again");
            assets.put((number..number + 100).map(|number| (key(number), asset.clone())).collect());
            assert_eq!(assets.get(key(number + 99)), Some(&*encoded));
            let generations = cache.generations();
            let bytes: usize = generations.young.values().chain(generations.old.values()).map(|page| page.size()).sum();
            assert!(bytes <= MAX_BYTES + 2 * PAGE_KEYS * asset.name.len() * 2, "{bytes}");
        }
        assert_eq!(assets.prefetch(1, &[key(0), key(1000)]), [key(1000)]);
        assert_eq!(assets.get(key(0)), Some(&*encoded));

        let mut other = CurrentAssets::new(Arc::clone(&cache), tenant(2));
        assert_eq!(other.prefetch(1, &[key(0)]), [key(0)], "keys of tenants are their own");
        assert_eq!(assets.prefetch(2, &[key(0)]), [key(0)], "by new connections it may be another asset");
        assert_eq!(other.prefetch(1, &[key(0)]), [key(0)]);
        other.put(vec![(key(0), asset)]);
        assert_eq!(other.prefetch(2, &[key(0)]), [key(0)], "what was read by old connections is not kept");
    }

    #[test]
    fn what_streams_put_onto_one_page_adds_up() {
        let cache = Arc::new(AssetCache::default());
        let stream = || CurrentAssets::new(Arc::clone(&cache), TenantId::from_uuid(uuid::Uuid::nil()));
        let key = AssetKey::from_number;
        let asset = |number: i64| Asset { asset_type: AssetType::User, id: number.to_string(), name: String::new() };
        let keys = [-64, -1, 0, 1, 63, 64, 200].map(key);
        let (mut one, mut other) = (stream(), stream());
        assert_eq!(one.prefetch(1, &keys), keys);
        assert_eq!(other.prefetch(1, &keys[1..]), keys[1..]);
        let put = |stream: &mut CurrentAssets, keys: &[AssetKey]| {
            stream.put(keys.iter().map(|&key| (key, asset(key.number()))).collect());
        };
        put(&mut one, &keys[..4]);
        put(&mut other, &keys[3..]);
        let mut third = stream();
        assert!(third.prefetch(1, &keys).is_empty());
        for key in keys {
            let part = proto::UsageRecord { asset_id: key.number().to_string(), asset_type: 1, ..Default::default() };
            assert_eq!(third.get(key), Some(&*part.encode_to_vec()), "{key:?}");
        }
        for unknown in [2, 300] {
            assert_eq!(third.get(key(unknown)), None);
        }
    }
}
