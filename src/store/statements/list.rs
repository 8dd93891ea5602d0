//! Finds statements, and the keys that signed them.

use super::{COLUMNS, Statement};
use crate::{
    database::Statements as _,
    model::{Month, OrganizationId, StatementNumber, UtcTime},
    statement::PublicKey,
    store::{SnapshotTime, Store, StoreError, VisibleOrganization, VisibleTenant, columns},
};

/// A key that has signed statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub id: String,
    pub public: PublicKey,
    /// When the first statement that it signed was published.
    pub first_used_at: UtcTime,
}

impl Store {
    /// Statements of an organization, the newest first: at most so many, before a month.
    pub async fn statements(
        &self,
        organization: &VisibleOrganization,
        before: Option<Month>,
        limit: u16,
    ) -> Result<Vec<Statement>, StoreError> {
        let client = self.short().await?;
        let sql = format!(
            "-- statements
            SELECT {COLUMNS} FROM statement
            WHERE organization_id = $1 AND ($2::date IS NULL OR billing_month < $2)
            ORDER BY billing_month DESC
            LIMIT $3"
        );
        let before = before.map(Month::first_day);
        let rows = client.fetch_all(&sql, &[&organization.id().as_uuid(), &before, &i64::from(limit)]).await?;
        rows.iter().map(Statement::from_row).collect()
    }

    /// The statement of an organization's month.
    pub async fn statement_of_month(
        &self,
        organization: &VisibleOrganization,
        month: Month,
    ) -> Result<Option<Statement>, StoreError> {
        let client = self.short().await?;
        let sql = format!(
            "-- statement_of_month\nSELECT {COLUMNS} FROM statement WHERE organization_id = $1 AND billing_month = $2"
        );
        let row = client.fetch_optional(&sql, &[&organization.id().as_uuid(), &month.first_day()]).await?;
        row.as_ref().map(Statement::from_row).transpose()
    }

    /// The organizations that have usage up to a month, or statements, ordered by name and id.
    pub async fn organizations_with_usage(&self, until: Month) -> Result<Vec<OrganizationId>, StoreError> {
        let client = self.short().await?;
        let sql = "-- organizations_with_usage
            SELECT o.organization_id FROM organization o
            WHERE EXISTS (
                SELECT FROM tenant t JOIN usage_month m USING (tenant_key)
                WHERE t.organization_id = o.organization_id AND m.usage_month <= $1
                OFFSET 0
            ) OR EXISTS (SELECT FROM statement s WHERE s.organization_id = o.organization_id OFFSET 0)
            ORDER BY o.name, o.organization_id";
        let rows = client.fetch_all(sql, &[&until.first_day()]).await?;
        rows.iter().map(|row| Ok(OrganizationId::from_uuid(row.try_get("organization_id")?))).collect()
    }

    /// What a statement of a tenant's organization has of the usage, by the statement's number.
    pub async fn statement_horizon(
        &self,
        tenant: &VisibleTenant,
        number: StatementNumber,
    ) -> Result<Option<SnapshotTime>, StoreError> {
        let client = self.short().await?;
        let sql = "-- statement_horizon
            SELECT horizon FROM statement WHERE organization_id = $1 AND billing_month = $2 AND sequence_number = $3";
        let organization: OrganizationId = tenant.organization_id();
        let (month, sequence) = (number.billing_month.first_day(), number.sequence.cast_signed());
        let row = client.fetch_optional(sql, &[&organization.as_uuid(), &month, &sequence]).await?;
        // Whoever sees the statement sees what was published before it.
        row.map(|row| Ok(SnapshotTime::published(UtcTime::from_chrono(row.try_get("horizon")?)))).transpose()
    }

    /// The keys that have ever signed a statement, the newest first.
    pub async fn statement_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let client = self.short().await?;
        let sql = "-- statement_keys
            SELECT key_id, public_key, first_used_at FROM statement_key ORDER BY first_used_at DESC, key_id";
        let rows = client.fetch_all(sql, &[]).await?;
        let keys = rows.iter().map(|row| {
            Ok(StoredKey {
                id: row.try_get("key_id")?,
                public: PublicKey(columns::bytes(row, "public_key")?),
                first_used_at: UtcTime::from_chrono(row.try_get("first_used_at")?),
            })
        });
        keys.collect()
    }
}
