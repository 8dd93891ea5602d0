//! How many decimal places quantities have.

use crate::{
    database::{Binds, Statements as _},
    model::{MonthRange, OrganizationId, TenantId, UtcTime},
    store::{Store, StoreError},
};

impl Store {
    /// The most decimal places that a quantity of an organization's months has had until a moment. A bill does not say it: what
    /// assets add up to may have fewer.
    pub async fn quantity_places(
        &self,
        organization: OrganizationId,
        tenant: Option<TenantId>,
        months: MonthRange,
        as_of: UtcTime,
    ) -> Result<u8, StoreError> {
        // The totals of a load have as many places as the longest of its quantities.
        let sql = "-- quantity_places
            SELECT coalesce(max(load.places), 0) AS places
            FROM tenant t CROSS JOIN LATERAL (
                SELECT max(scale(total.quantity)) AS places
                FROM usage_load l CROSS JOIN LATERAL unnest(l.totals) AS total
                WHERE l.tenant_key = t.tenant_key AND l.usage_month BETWEEN $3 AND $4 AND l.published_at <= $5
            ) AS load
            WHERE t.organization_id = $1 AND ($2::uuid IS NULL OR t.tenant_id = $2)";
        let (start, end) = (months.start().first_day(), months.end().first_day());
        let (organization, tenant) = (organization.as_uuid(), tenant.map(TenantId::as_uuid));
        let binds: Binds<'_> = &[&organization, &tenant, &start, &end, &as_of.as_chrono()];
        let places: i32 = self.short().await?.fetch_one(sql, binds).await?.try_get("places")?;
        u8::try_from(places).map_err(|_| StoreError::Corrupt(format!("quantities with {places} decimal places")))
    }
}
