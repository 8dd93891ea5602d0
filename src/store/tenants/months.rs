//! A tenant, and the months that have usage.

use super::{TenantSummary, VisibleTenant};
use crate::{
    database::Binds,
    model::{Month, StatementNumber, UtcTime},
    store::{SnapshotTime, Store, StoreError, columns},
};

/// A month of a tenant that has usage.
#[derive(Clone, Debug)]
pub struct UsageMonth {
    pub month: Month,
    pub revision: [u8; 32],
    pub record_count: i64,
    /// When its newest load was published.
    pub data_as_of: UtcTime,
    /// The statement of its organization's month.
    pub statement: Option<StatementNumber>,
    pub is_closed: bool,
}

impl Store {
    /// What the tenant is now.
    pub async fn tenant_summary(&self, tenant: &VisibleTenant) -> Result<TenantSummary, StoreError> {
        let client = self.short().await?;
        let statement = TenantSummary::statement_of_one();
        let rows = client.fetch_all_by_kept_plan(&statement, &[&tenant.key()]).await?;
        let row = rows.first().ok_or_else(|| StoreError::corrupt("a tenant that was found is gone"))?;
        TenantSummary::from_row(row)
    }

    /// The months of a tenant that have usage at a snapshot, in order.
    pub async fn usage_months(
        &self,
        tenant: &VisibleTenant,
        snapshot: SnapshotTime,
    ) -> Result<Vec<UsageMonth>, StoreError> {
        let client = self.short().await?;
        let statement = "-- usage_months
            SELECT m.usage_month, m.revision, m.published_at, total.record_count, s.sequence_number,
                   m.usage_month <= newest.billing_month AS is_closed
            FROM usage_month m
            CROSS JOIN LATERAL (
                SELECT sum(record_count)::bigint AS record_count FROM unnest(m.totals)
            ) AS total
            CROSS JOIN (
                SELECT max(billing_month) AS billing_month FROM statement
                WHERE organization_id = $3 AND closed_at <= $2
            ) AS newest
            LEFT JOIN statement s ON s.organization_id = $3 AND s.billing_month = m.usage_month AND s.closed_at <= $2
            WHERE m.tenant_key = $1 AND m.published_at = (
                SELECT max(last.published_at) FROM usage_month last
                WHERE last.tenant_key = m.tenant_key AND last.usage_month = m.usage_month AND last.published_at <= $2
            ) AND total.record_count > 0
            ORDER BY m.usage_month";
        let organization = tenant.organization_id().as_uuid();
        let binds: Binds<'_> = &[&tenant.key(), &snapshot.time().as_chrono(), &organization];
        let rows = client.fetch_all_by_kept_plan(statement, binds).await?;
        let months = rows.iter().map(|row| {
            let month = columns::month(row, "usage_month")?;
            let sequence: Option<i64> = row.try_get("sequence_number")?;
            Ok(UsageMonth {
                month,
                revision: columns::bytes(row, "revision")?,
                record_count: row.try_get("record_count")?,
                data_as_of: UtcTime::from_chrono(row.try_get("published_at")?),
                statement: sequence
                    .map(|sequence| StatementNumber { billing_month: month, sequence: sequence.cast_unsigned() }),
                is_closed: row.try_get::<_, Option<bool>>("is_closed")?.unwrap_or(false),
            })
        });
        months.collect()
    }
}
