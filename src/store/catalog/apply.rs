//! The transaction that applies a catalog.

use super::{
    changes::{CatalogChanges, CatalogError},
    meters, organizations, prices, tenants,
};
use crate::{
    catalog::{Catalog, InvalidCatalog},
    database::connect,
    store::{StoreConfig, StoreError, locks},
};

/// Applies a catalog. What it names is created or changed; the rest stays.
pub async fn apply(config: &StoreConfig, catalog: &Catalog) -> Result<CatalogChanges, CatalogError> {
    let mut client = connect(&config.database_url, config.connect_timeout).await.map_err(StoreError::from)?;
    let transaction = client.transaction().await?;
    // Prices are published as loads are; the lock also makes two applies take turns.
    locks::lock_publishing(&transaction).await?;
    let mut problems = Vec::new();
    let changes = CatalogChanges {
        organizations: organizations::apply(&transaction, &catalog.organizations, &mut problems).await?,
        tenants: tenants::apply(&transaction, &catalog.tenants, &mut problems).await?,
        meters: meters::apply(&transaction, &catalog.meters, &mut problems).await?,
        prices: prices::apply(&transaction, &catalog.prices, config.max_clock_skew, &mut problems).await?,
    };
    if !problems.is_empty() {
        // Dropping the transaction rolls it back.
        return Err(InvalidCatalog(problems).into());
    }
    transaction.commit().await?;
    Ok(changes)
}
