//! Assets as messages have them, kept for all streams: a month names each asset on every day, and a row of `asset` never
//! changes.

use std::{collections::HashMap, sync::Arc};

use quick_cache::{Weighter, sync::Cache};

use crate::{
    contract::put_part,
    model::{Asset, Part, TenantId},
    reports::{ReportError, UsageChunk, UsageReport},
    store::{AssetKey, BlockRecords},
};

/// Room for the pages: some 600,000 assets, where keys follow each other.
const MAX_BYTES: usize = 48 << 20;
/// What a page takes besides the bytes of its assets.
const OVERHEAD_BYTES: usize = 96 + size_of::<Page>();
/// How many keys a page is for.
const PAGE_KEYS: usize = 64;
/// About how large the page of a usual tenant is.
const USUAL_PAGE_BYTES: usize = 6 << 10;

/// What all streams share. Pages that are asked for often stay when there is no more room.
pub struct AssetCache(Cache<PageKey, Arc<Page>, PageWeighter>);

/// By which connections it was read, whose page, and which. Behind new connections may be another database, where keys stand for
/// other assets.
type PageKey = (u64, TenantId, i64);

#[derive(Clone)]
struct PageWeighter;

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

impl Default for AssetCache {
    fn default() -> Self {
        Self(Cache::with_weighter(MAX_BYTES / USUAL_PAGE_BYTES, MAX_BYTES as u64, PageWeighter))
    }
}

impl Weighter<PageKey, Arc<Page>> for PageWeighter {
    fn weight(&self, _: &PageKey, page: &Arc<Page>) -> u64 {
        page.size() as u64
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

    /// The same, for several at a time.
    pub fn look_up(&self, key: AssetKey) -> Option<&[u8]> {
        let (number, slot) = page_of(key);
        self.pages[self.find(number).ok()?].1.get(slot)
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
        let mut missing = Vec::new();
        for &key in keys {
            let (number, slot) = page_of(key);
            // Keys come in order, and so do their pages.
            if self.pages.last().is_none_or(|(last, _)| *last != number) {
                self.pages.push((number, self.cached(number)));
            }
            if self.pages.last().is_none_or(|(_, page)| page.get(slot).is_none()) {
                missing.push(key);
            }
        }
        missing
    }

    /// An empty page where there is none.
    fn cached(&self, number: i64) -> Arc<Page> {
        self.cache.0.get(&(self.epoch, self.tenant, number)).unwrap_or_default()
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
        for (number, added) in added {
            let index = self.find(number).unwrap_or_else(|index| {
                self.pages.insert(index, (number, Arc::default()));
                index
            });
            // Another stream may have put more there meanwhile.
            let cached = self.cached(number);
            let here = &mut self.pages[index].1;
            let find =
                |slot| added.get(&slot).map(Vec::as_slice).or_else(|| here.get(slot)).or_else(|| cached.get(slot));
            *here = Arc::new(Page::of(find));
            self.cache.0.insert((self.epoch, self.tenant, number), Arc::clone(here));
        }
    }
}

/// Looks up the assets of a chunk, and reads those that are not there.
pub(in crate::service) async fn fetch_assets<R: BlockRecords>(
    assets: &mut CurrentAssets,
    report: &UsageReport,
    chunk: &UsageChunk<R>,
) -> Result<(), ReportError> {
    let missing = assets.prefetch(report.epoch(), &chunk.asset_keys());
    if !missing.is_empty() {
        assets.put(report.assets(&missing).await?);
    }
    Ok(())
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
            assert!(cache.0.weight() <= MAX_BYTES as u64, "{}", cache.0.weight());
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
