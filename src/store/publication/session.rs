//! The connections of an import, and whom it may import for.

use std::{collections::HashMap, time::Duration};

use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    auth::TenantScope,
    database::{Statements as _, connect},
    model::{OrganizationId, Source, TenantId},
    store::{Store, StoreConfig, StoreError, TenantKey, clock, scope},
};

/// A tenant that usage may be imported for.
#[derive(Clone, Copy, Debug)]
pub struct ImportTenant {
    pub key: TenantKey,
    pub organization_id: OrganizationId,
}

/// Two connections: one for the transaction that publishes, one for what is looked up meanwhile.
pub struct ImportSession {
    pub(super) publisher: Client,
    pub(super) lookups: Client,
    pub(super) source: Source,
    pub(super) max_clock_skew: Duration,
}

impl Store {
    /// Those of these tenants that a caller may import for.
    pub async fn import_tenants(
        &self,
        scope: &TenantScope,
        ids: &[TenantId],
    ) -> Result<HashMap<TenantId, ImportTenant>, StoreError> {
        let client = self.short().await?;
        let statement = format!(
            "-- import_tenants
            SELECT tenant_key, tenant_id, organization_id FROM tenant WHERE tenant_id = ANY ($2) AND {}",
            scope::condition("organization_id", "$1")
        );
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let rows = client.fetch_all(&statement, &[&scope::bind(scope), &ids]).await?;
        rows.iter()
            .map(|row| {
                let tenant = ImportTenant {
                    key: TenantKey(row.try_get("tenant_key")?),
                    organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
                };
                Ok((TenantId::from_uuid(row.try_get("tenant_id")?), tenant))
            })
            .collect()
    }
}

// === impl ImportSession ===

impl ImportSession {
    /// Connects for an import of a source.
    pub async fn open(config: &StoreConfig, source: Source) -> Result<Self, StoreError> {
        let open = || connect(&config.database_url, config.connect_timeout);
        let (publisher, lookups) = tokio::try_join!(open(), open())?;
        // Again when it publishes; here, so that hours of work are not for nothing.
        clock::check(&lookups, config.max_clock_skew).await?;
        Ok(Self { publisher, lookups, source, max_clock_skew: config.max_clock_skew })
    }
}
