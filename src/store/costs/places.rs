//! How many decimal places quantities have.

use std::collections::HashMap;

use chrono::NaiveDate;
use tokio::time::Instant;

use super::reader::PART;
use crate::{
    database::{Binds, DatabaseError, Statements as _},
    model::{MeterId, MonthRange, OrganizationId, TenantId, UtcTime},
    store::{Store, StoreError},
};

impl Store {
    /// The most decimal places that quantities of each meter have had until a moment, in an organization's months. A bill does not
    /// say it: what assets add up to may have fewer.
    pub async fn quantity_places(
        &self,
        organization: OrganizationId,
        tenant: Option<TenantId>,
        months: MonthRange,
        as_of: UtcTime,
    ) -> Result<HashMap<MeterId, u8>, StoreError> {
        let _turn = self.cost_turns.take(organization, self.connect_timeout).await?;
        let end = (!self.statement_timeout.is_zero()).then(|| Instant::now() + self.statement_timeout);
        let client = self.short().await?;
        let tenants = "-- places: tenants\nSELECT tenant_key FROM tenant
            WHERE organization_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)";
        let tenants = client.fetch_all(tenants, &[&organization.as_uuid(), &tenant.map(TenantId::as_uuid)]).await?;
        let tenants: Vec<i64> = tenants.iter().map(|row| row.try_get("tenant_key")).collect::<Result<_, _>>()?;
        // The totals of a load have as many places as the longest of its quantities.
        let sql = "-- quantity_places
            SELECT m.meter_id, max(scale(total.quantity)) AS places
            FROM unnest($1::bigint[]) AS asked (tenant_key)
            CROSS JOIN LATERAL (
                SELECT totals FROM usage_load l
                WHERE l.tenant_key = asked.tenant_key AND l.usage_month = $2 AND l.published_at <= $3
                OFFSET 0
            ) AS load
            CROSS JOIN LATERAL unnest(load.totals) AS total
            JOIN meter m ON m.meter_key = total.meter_key
            GROUP BY m.meter_id";
        let mut places: HashMap<MeterId, u8> = HashMap::new();
        let as_of = as_of.as_chrono();
        for month in months.iter() {
            let first_day: NaiveDate = month.first_day();
            for part in tenants.chunks(PART) {
                if end.is_some_and(|end| Instant::now() > end) {
                    return Err(DatabaseError::StatementTimeout.into());
                }
                let binds: Binds<'_> = &[&part, &first_day, &as_of];
                for row in client.fetch_all(sql, binds).await? {
                    let found: i32 = row.try_get("places")?;
                    let found = u8::try_from(found)
                        .map_err(|_| StoreError::Corrupt(format!("quantities with {found} decimal places")))?;
                    let most = places.entry(MeterId::from_uuid(row.try_get("meter_id")?)).or_default();
                    *most = found.max(*most);
                }
            }
        }
        Ok(places)
    }
}
