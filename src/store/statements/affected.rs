//! Which closed months a change of prices is of, and who may be billed otherwise by one.

use chrono::NaiveDate;

use crate::{
    database::{Binds, Statements as _},
    model::{Currency, Month, MonthRange, OrganizationId, UtcTime},
    store::{Store, StoreError},
};

/// Closed months with billable usage that a change of prices is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffectedMonths {
    /// How many organizations have such months.
    pub organizations: i64,
    /// The first and the last of them.
    pub first: Month,
    pub last: Month,
}

impl Store {
    /// The closed months with usage that the prices are of which were published at a moment, and of meters that began or ceased to
    /// be charged then. `None`: there are none.
    pub async fn affected_months(&self, published_at: UtcTime) -> Result<Option<AffectedMonths>, StoreError> {
        let client = self.short().await?;
        let sql = "-- affected_months
            WITH changed AS (
                SELECT meter_key, currency, billing_region, effective_from FROM price WHERE applied_at = $1
                UNION ALL
                SELECT meter_key, NULL, NULL, '0001-01-01' FROM uncharged_meter
                WHERE applied_at = $1 OR superseded_at = $1
            ),
            closed AS (
                SELECT organization_id, max(billing_month) AS last_month FROM statement GROUP BY organization_id
                HAVING max(billing_month) >= (SELECT min(effective_from) FROM changed)
            ),
            affected AS (
                SELECT closed.organization_id, u.usage_month
                FROM closed
                JOIN organization o USING (organization_id)
                JOIN tenant t USING (organization_id)
                JOIN usage_month_total u ON u.tenant_key = t.tenant_key AND u.usage_month <= closed.last_month
                WHERE NOT u.trial AND EXISTS (
                    SELECT FROM changed c
                    WHERE c.meter_key = u.meter_key AND u.usage_month >= c.effective_from
                      AND (c.currency IS NULL OR c.currency = o.currency)
                      AND (c.billing_region IS NULL OR c.billing_region = u.billing_region)
                )
            )
            SELECT count(DISTINCT organization_id) AS organizations, min(usage_month) AS first, max(usage_month) AS last
            FROM affected";
        let row = client.fetch_one(sql, &[&published_at.as_chrono()]).await?;
        let month = |column| {
            let day: Option<NaiveDate> = row.try_get(column)?;
            Ok::<_, StoreError>(day.and_then(Month::of))
        };
        let organizations: i64 = row.try_get("organizations")?;
        Ok(month("first")?.zip(month("last")?).map(|(first, last)| AffectedMonths { organizations, first, last }))
    }

    /// The organizations that have usage in some months and are billed in one of these currencies (`None`: in any), ordered
    /// by name and id.
    pub async fn organizations_billed_in(
        &self,
        currencies: Option<&[Currency]>,
        months: MonthRange,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let client = self.short().await?;
        let sql = "-- organizations_billed_in
            SELECT o.organization_id FROM organization o
            WHERE ($1::text[] IS NULL OR o.currency = ANY ($1)) AND EXISTS (
                SELECT FROM tenant t JOIN usage_month m USING (tenant_key)
                WHERE t.organization_id = o.organization_id AND m.usage_month BETWEEN $2 AND $3
                OFFSET 0
            )
            ORDER BY o.name, o.organization_id";
        let codes: Option<Vec<&str>> =
            currencies.map(|currencies| currencies.iter().map(|currency| currency.code()).collect());
        let (start, end) = (months.start().first_day(), months.end().first_day());
        let binds: Binds<'_> = &[&codes, &start, &end];
        let rows = client.fetch_all(sql, binds).await?;
        rows.iter().map(|row| Ok(OrganizationId::from_uuid(row.try_get("organization_id")?))).collect()
    }
}
