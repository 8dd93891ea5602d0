//! The connections of an import, and whom it may import for.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    auth::TenantScope,
    database::Statements as _,
    model::{OrganizationId, Source, TenantId},
    store::{Layout, Store, StoreError, TenantKey, clock, import_connections::Connections, scope},
};

/// A tenant that usage may be imported for.
#[derive(Clone, Copy, Debug)]
pub struct ImportTenant {
    pub key: TenantKey,
    pub organization_id: OrganizationId,
}

/// Two connections: one for the transaction that publishes, one for what is looked up meanwhile.
pub struct ImportSession {
    pub(super) connections: Connections,
    pub(super) source: Source,
    pub(super) store: Store,
    pub(super) layout: Layout,
    /// Whether a transaction or a lock may be left on one of them.
    pub(super) is_busy: bool,
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
    /// Connects for an import that is prepared. Where that fails, [`open`](Self::open) finds out.
    pub async fn connect_ahead(store: &Store) {
        if store.idle_imports.is_empty()
            && let Ok(connections) = connect(store).await
        {
            store.idle_imports.give_back(connections);
        }
    }

    /// Connects for an import of a source.
    pub async fn open(store: &Store, source: Source) -> Result<Self, StoreError> {
        loop {
            let before = store.idle_imports.take();
            let is_new = before.is_none();
            let connections = match before {
                Some(connections) => connections,
                None => connect(store).await?,
            };
            // Again when it publishes; here, so that hours of work are not for nothing.
            let layout = Layout::of(&connections.lookups);
            match tokio::try_join!(clock::check(&connections.lookups, store.max_clock_skew), layout) {
                // The database has closed them meanwhile, say.
                Err(StoreError::Database(_)) if !is_new => {}
                checked => {
                    let ((), layout) = checked?;
                    return Ok(Self { connections, source, store: store.clone(), layout, is_busy: false });
                }
            }
        }
    }

    /// Leaves the connections to the next import, if they are as they were.
    pub fn end(self) {
        if !self.is_busy {
            self.store.idle_imports.give_back(self.connections);
        }
    }
}

async fn connect(store: &Store) -> Result<Connections, StoreError> {
    let (publisher, lookups) = tokio::try_join!(store.connect(), store.connect())?;
    Ok(Connections::new(publisher, lookups))
}
