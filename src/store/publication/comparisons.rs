//! How contents of an import compare with what was published.

use std::collections::HashMap;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use crate::{
    database::{Statements as _, numeric::parse_sum},
    model::UtcTime,
    store::{ImportSession, LoadKey, MeterKey, StoreError, TenantKey},
};

impl ImportSession {
    /// When contents were published before a moment: the last time of each, for those that were.
    pub async fn earlier_publications(
        &self,
        contents: &[(LoadKey, [u8; 32], UtcTime)],
    ) -> Result<HashMap<LoadKey, UtcTime>, StoreError> {
        if contents.is_empty() {
            return Ok(HashMap::new());
        }
        let tenants: Vec<i64> = contents.iter().map(|(key, ..)| key.tenant.0).collect();
        let days: Vec<NaiveDate> = contents.iter().map(|(key, ..)| key.usage_day).collect();
        let digests: Vec<&[u8]> = contents.iter().map(|(_, digest, _)| digest.as_slice()).collect();
        let before: Vec<_> = contents.iter().map(|(.., before)| before.as_chrono()).collect();
        let rows = self
            .connections
            .lookups
            .fetch_all(
                "-- earlier_publications
                SELECT l.tenant_key, l.usage_day, max(l.published_at) AS published_at
                FROM unnest($1::bigint[], $2::date[], $3::bytea[], $4::timestamptz[])
                     AS wanted (tenant_key, usage_day, digest, before)
                JOIN usage_load l ON l.tenant_key = wanted.tenant_key
                                 AND l.usage_month = date_trunc('month', wanted.usage_day)::date
                                 AND l.usage_day = wanted.usage_day AND l.digest = wanted.digest
                                 AND l.published_at < wanted.before
                WHERE l.source = $5
                GROUP BY l.tenant_key, l.usage_day",
                &[&tenants, &days, &digests, &before, &self.source.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let tenant = TenantKey(row.try_get("tenant_key")?);
                let key = LoadKey { tenant, usage_day: row.try_get("usage_day")? };
                Ok((key, UtcTime::from_chrono(row.try_get("published_at")?)))
            })
            .collect()
    }

    /// What loads add up to, per load and meter.
    pub async fn meter_totals(
        &self,
        loads: &[(TenantKey, i64)],
    ) -> Result<Vec<((TenantKey, i64), MeterKey, BigDecimal)>, StoreError> {
        if loads.is_empty() {
            return Ok(Vec::new());
        }
        let tenants: Vec<i64> = loads.iter().map(|(tenant, _)| tenant.0).collect();
        let ids: Vec<i64> = loads.iter().map(|&(_, id)| id).collect();
        let rows = self
            .connections
            .lookups
            .fetch_all(
                "-- meter_totals
                SELECT t.tenant_key, t.load_id, t.meter_key, sum(t.quantity)::text AS quantity
                FROM unnest($1::bigint[], $2::bigint[]) AS wanted (tenant_key, load_id)
                JOIN usage_total t ON t.tenant_key = wanted.tenant_key AND t.load_id = wanted.load_id
                GROUP BY t.tenant_key, t.load_id, t.meter_key",
                &[&tenants, &ids],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let load = (TenantKey(row.try_get("tenant_key")?), row.try_get("load_id")?);
                let quantity = parse_sum(row.try_get("quantity")?)?;
                Ok((load, MeterKey(row.try_get("meter_key")?), quantity))
            })
            .collect()
    }
}
