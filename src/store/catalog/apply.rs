//! The transaction that applies a catalog.

use std::time::Duration;

use super::{
    changes::{CatalogChanges, CatalogError},
    meters, organizations, prices, tenants,
};
use crate::{
    catalog::{Catalog, InvalidCatalog},
    database::connect,
    store::{StoreError, locks},
};

/// Applies a catalog. What it names is created or changed; the rest stays.
pub async fn apply(database_url: &str, catalog: &Catalog) -> Result<CatalogChanges, CatalogError> {
    let mut client = connect(database_url, Duration::from_secs(10)).await.map_err(StoreError::from)?;
    let transaction = client.transaction().await?;
    // Prices are published as loads are; the lock also makes two applies take turns.
    locks::lock_publishing(&transaction).await?;
    let mut problems = Vec::new();
    let changes = CatalogChanges {
        organizations: organizations::apply(&transaction, &catalog.organizations, &mut problems).await?,
        tenants: tenants::apply(&transaction, &catalog.tenants, &mut problems).await?,
        meters: meters::apply(&transaction, &catalog.meters, &mut problems).await?,
        prices: prices::apply(&transaction, &catalog.prices, &mut problems).await?,
    };
    if !problems.is_empty() {
        // Dropping the transaction rolls it back.
        return Err(InvalidCatalog(problems).into());
    }
    transaction.commit().await?;
    Ok(changes)
}
