//! The assets of a report's records, looked up as they come.

use crate::{
    model::Asset,
    store::{AssetKey, RecordRow, Store, StoreError, VisibleTenant},
};

/// Where whoever reads a report keeps its assets, in the form that is needed there.
pub trait AssetBook: Send {
    /// Turns to the next records, which have these assets; returns those that are not there. In another `epoch` than
    /// before, keys may stand for other assets.
    fn turn_to(&mut self, epoch: u64, keys: &[AssetKey]) -> Vec<AssetKey>;
    /// Takes the assets that were not there.
    fn put(&mut self, assets: Vec<(AssetKey, Asset)>);
}

/// Makes sure that the assets of these rows are in the book.
pub(super) async fn look_up(
    store: &Store,
    tenant: &VisibleTenant,
    rows: &[RecordRow],
    book: &mut impl AssetBook,
) -> Result<(), StoreError> {
    let mut keys: Vec<AssetKey> = rows.iter().map(|row| row.asset).collect();
    // Records of one asset follow each other, so this is next to nothing.
    keys.dedup();
    keys.sort_unstable();
    keys.dedup();
    let missing = book.turn_to(store.epoch(), &keys);
    if !missing.is_empty() {
        book.put(store.assets(tenant, &missing).await?);
    }
    Ok(())
}
