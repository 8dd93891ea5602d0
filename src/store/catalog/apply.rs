//! The transaction that applies a catalog: most of it without any lock that imports wait for; then, under the publish lock, what
//! imports rely on.

use super::{
    changes::{CatalogChanges, CatalogError},
    meters, organizations, prices, tenants,
    unused::Unused,
};
use crate::{
    catalog::{Catalog, InvalidCatalog},
    database::connect,
    store::{StoreConfig, StoreError, clock, locks},
};

/// Applies a catalog. What it names is created or changed; the rest stays.
pub async fn apply(config: &StoreConfig, catalog: &Catalog) -> Result<CatalogChanges, CatalogError> {
    run(config, catalog, Run::Apply).await
}

/// Says what applying a catalog would do, or why it could not be applied. Nothing is changed.
pub async fn try_out(config: &StoreConfig, catalog: &Catalog) -> Result<CatalogChanges, CatalogError> {
    run(config, catalog, Run::TryOut).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Apply,
    /// Does all of it, and takes it back.
    TryOut,
}

async fn run(config: &StoreConfig, catalog: &Catalog, run: Run) -> Result<CatalogChanges, CatalogError> {
    let open = || connect(&config.database_url, config.connect_timeout);
    let mut client = open().await.map_err(StoreError::from)?;
    let observer = open().await.map_err(StoreError::from)?;
    let transaction = client.transaction().await?;
    locks::lock_catalog(&transaction, &observer).await?;
    let looked = clock::last_published(&transaction).await?;
    let mut problems = Vec::new();
    let mut unused = Unused::default();
    let organizations = organizations::apply(&transaction, &catalog.organizations, &mut unused, &mut problems).await?;
    let tenants = tenants::apply(&transaction, &catalog.tenants, &mut unused, &mut problems).await?;
    let planned = meters::plan(&transaction, &catalog.meters, &mut unused, &mut problems).await?;

    locks::lock_publishing(&transaction, &observer).await?;
    // From here on nothing is imported.
    if clock::last_published(&transaction).await? != looked {
        unused.check(&transaction).await?;
    }
    let (meters, charging) = planned.write(&transaction).await?;
    let prices = prices::plan(&transaction, &catalog.prices, &mut problems).await?;
    if !problems.is_empty() {
        // Dropping the transaction rolls it back.
        return Err(InvalidCatalog(problems).into());
    }
    let mut published_at = None;
    if run == Run::Apply {
        if !charging.is_empty() || !prices.is_empty() {
            let now = clock::tick(&transaction, config.max_clock_skew).await?;
            charging.publish(&transaction, now.as_chrono()).await?;
            prices.publish(&transaction, now.as_chrono()).await?;
            published_at = Some(now);
        }
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(CatalogChanges { organizations, tenants, meters, prices: prices.changes, published_at })
}
