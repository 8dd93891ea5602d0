//! What a catalog changes that must not change any more once there is usage of it.

use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::{database::Statements as _, store::StoreError};

/// What had no usage when it was looked at.
#[derive(Default)]
pub(super) struct Unused {
    /// Organizations that get another currency.
    pub(super) organizations: Vec<Uuid>,
    /// Tenants that get another organization.
    pub(super) tenants: Vec<Uuid>,
    /// Meters that get another name or unit.
    pub(super) meters: Vec<i64>,
}

// === impl Unused ===

impl Unused {
    /// Makes sure that it has none now. The caller holds the publish lock.
    pub(super) async fn check(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let row = transaction
            .fetch_one(
                "-- catalog: usage meanwhile
                SELECT EXISTS (SELECT FROM tenant t JOIN usage_load l USING (tenant_key)
                               WHERE t.organization_id = ANY ($1) OR t.tenant_id = ANY ($2))
                       OR EXISTS (SELECT FROM usage_total WHERE meter_key = ANY ($3)) AS has_usage",
                &[&self.organizations, &self.tenants, &self.meters],
            )
            .await?;
        if row.try_get("has_usage")? { Err(StoreError::UsedMeanwhile) } else { Ok(()) }
    }
}
