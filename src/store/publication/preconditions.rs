//! What must still hold when an import publishes.

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{
    coverage::omitted,
    in_force::{InForce, Sources, in_force},
};
use crate::{
    database::Statements as _,
    model::{LoadDigest, Source},
    store::{Coverage, ImportTenant, LoadKey, Meters, StoreError},
};

/// What an import relied on when it checked and compared. It still holds, or nothing is published.
pub struct Preconditions {
    /// The loads in force, when it compared.
    pub seen: InForce,
    /// Loads that were left out, since the same content was in force.
    pub unchanged: Vec<(LoadKey, LoadDigest)>,
    /// The tenants of all loads.
    pub tenants: Vec<ImportTenant>,
    pub meters: Meters,
    /// What a complete delivery says is empty; `None`: the delivery says nothing of what it leaves out.
    pub coverage: Option<Coverage>,
}

// === impl Preconditions ===

impl Preconditions {
    /// Whether nothing has been published since the loads in force were looked at. The caller holds the publish lock.
    pub(super) fn nothing_published_since(&self, last_published_at: DateTime<Utc>) -> bool {
        self.seen.last_published_at == last_published_at
    }

    /// Checks that all of it still holds. The caller holds the publish lock.
    pub(super) async fn check(&self, transaction: &Transaction<'_>, source: &Source) -> Result<(), StoreError> {
        // A purge moves no clock.
        let keys: Vec<LoadKey> = self.unchanged.iter().map(|&(key, _)| key).collect();
        let present = in_force(transaction, source, &keys, Sources::Own).await?;
        if self.unchanged.iter().any(|(key, digest)| present.own(*key).is_none_or(|load| !load.has(digest))) {
            return Err(StoreError::Changed("another import restated a day of this one"));
        }
        if let Some(coverage) = &self.coverage {
            let (omitted, _) = omitted(transaction, source, coverage, None).await?;
            if !omitted.iter().map(|day| day.key).eq(coverage.omitted.iter().copied()) {
                return Err(StoreError::Changed(
                    "what this delivery leaves out changed, by another import or in the catalog",
                ));
            }
        }
        let tenants: Vec<i64> = self.tenants.iter().map(|tenant| tenant.key.0).collect();
        let organizations: Vec<Uuid> = self.tenants.iter().map(|tenant| tenant.organization_id.as_uuid()).collect();
        let row = transaction
            .fetch_one(
                "-- moved_tenants
            SELECT count(*) AS moved
            FROM unnest($1::bigint[], $2::uuid[]) AS expected (tenant_key, organization_id)
            WHERE NOT EXISTS (
                SELECT FROM tenant t
                WHERE t.tenant_key = expected.tenant_key AND t.organization_id = expected.organization_id
                -- One by one: a catalog may have a million others.
                OFFSET 0
            )",
                &[&tenants, &organizations],
            )
            .await?;
        if row.try_get::<_, i64>("moved")? > 0 || !self.meters.are_there(transaction).await? {
            return Err(StoreError::Changed("the catalog changed"));
        }
        Ok(())
    }
}
