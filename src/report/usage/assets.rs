//! The assets of a report's records, looked up as they come.

use crate::{
    model::Asset,
    store::{AssetKey, RecordRow, Store, StoreError, VisibleTenant},
};

/// Where whoever reads a report keeps its assets, in the form that is needed there. A report may have any number of
/// them, so a book forgets some.
pub trait AssetBook: Send {
    /// Whether the asset is there.
    fn has(&self, key: AssetKey) -> bool;
    /// Keeps an asset.
    fn put(&mut self, key: AssetKey, asset: &Asset);
    /// Called before assets are put; where the book is full, it forgets all that it has.
    fn make_room(&mut self);
}

/// Makes sure that the assets of these rows are in the book.
pub(super) async fn look_up(
    store: &Store,
    tenant: &VisibleTenant,
    rows: &[RecordRow],
    book: &mut impl AssetBook,
) -> Result<(), StoreError> {
    book.make_room();
    let mut missing: Vec<AssetKey> = Vec::new();
    let mut last = None;
    for row in rows {
        // Records of one asset follow each other.
        if last != Some(row.asset) && !book.has(row.asset) {
            missing.push(row.asset);
        }
        last = Some(row.asset);
    }
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        for (key, asset) in store.assets(tenant, &missing).await? {
            book.put(key, &asset);
        }
    }
    Ok(())
}
