//! The assets of a report's records, looked up as they come.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::Asset,
    store::{AssetKey, RecordRow, Store, StoreError, VisibleTenant},
};

/// Past so many assets the older ones are forgotten: a report may have any number of them, and memory stays flat.
const MAX_CACHED: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Assets {
    known: HashMap<AssetKey, Arc<Asset>>,
}

impl Assets {
    /// Makes sure that the assets of these rows are known.
    pub(super) async fn prefetch(
        &mut self,
        store: &Store,
        tenant: &VisibleTenant,
        rows: &[RecordRow],
    ) -> Result<(), StoreError> {
        if self.known.len() > MAX_CACHED {
            self.known.clear();
        }
        let mut missing: Vec<AssetKey> =
            rows.iter().map(|row| row.asset).filter(|asset| !self.known.contains_key(asset)).collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let found = store.assets(tenant, &missing).await?;
            self.known.extend(found.into_iter().map(|(key, asset)| (key, Arc::new(asset))));
        }
        Ok(())
    }

    /// The asset of a prefetched row.
    pub(super) fn get(&self, key: AssetKey) -> Result<Arc<Asset>, StoreError> {
        let known = self.known.get(&key).map(Arc::clone);
        known.ok_or_else(|| StoreError::Corrupt(format!("a record names an asset that is not there ({key:?})")))
    }
}
