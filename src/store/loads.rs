//! Loads in force: the manifest of a tenant's month, and what it adds up to.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use tokio_postgres::Row;

use super::{Horizon, MeterKey, RecordFilter, Store, StoreError, VisibleTenant, numeric::parse_sum};
use crate::model::{BillingRegion, Month, UsageKey, UtcTime};

/// A load in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Key within the tenant.
    pub id: i64,
    /// The UTC day.
    pub usage_day: NaiveDate,
    /// Who delivered it.
    pub source: String,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// How many records it has; they are numbered from 1.
    pub record_count: i32,
    /// When it was published.
    pub published_at: UtcTime,
    /// Whether its records are kept no longer.
    pub is_purged: bool,
}

/// What records add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTotal {
    /// Of which meter, region and trial.
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    /// Of how many records.
    pub record_count: i64,
}

// === impl Load ===

impl Load {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let digest: &[u8] = row.try_get("digest")?;
        Ok(Self {
            id: row.try_get("load_id")?,
            usage_day: row.try_get("usage_day")?,
            source: row.try_get("source")?,
            digest: digest.try_into().map_err(|_| StoreError::corrupt("a digest is not of 32 bytes"))?,
            record_count: row.try_get("record_count")?,
            published_at: UtcTime::from_chrono(row.try_get("published_at")?),
            is_purged: row.try_get("is_purged")?,
        })
    }
}

// === impl StoredTotal ===

impl StoredTotal {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: usage_key(row)?,
            quantity: parse_sum(row.try_get("quantity")?)?,
            record_count: row.try_get("record_count")?,
        })
    }
}

impl Store {
    /// The loads of a month that are in force at a horizon, ordered by day and source.
    pub async fn loads_in_force(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        horizon: Horizon,
    ) -> Result<Vec<Load>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- loads_in_force
                SELECT DISTINCT ON (usage_day, source)
                       load_id, usage_day, source, digest, record_count, published_at,
                       records_purged_at IS NOT NULL AS is_purged
                FROM usage_load
                WHERE tenant_key = $1 AND usage_month = $2 AND published_at <= $3
                ORDER BY usage_day, source, published_at DESC",
            )
            .await?;
        let rows = client.query(&statement, &[&tenant.key(), &month.first_day(), &horizon.time().as_chrono()]).await?;
        rows.iter().map(Load::from_row).collect()
    }

    /// Whether records of any of these loads have been purged, or will be in a moment.
    pub async fn are_purged(&self, tenant: &VisibleTenant, loads: &[Load]) -> Result<bool, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- are_purged
                SELECT count(records_purged_at) > 0 AS are_purged FROM usage_load
                WHERE tenant_key = $1 AND load_id = ANY ($2)",
            )
            .await?;
        Ok(client.query_one(&statement, &[&tenant.key(), &load_ids(loads)]).await?.try_get("are_purged")?)
    }

    /// What loads add up to, from the totals that were stored with them. Filters by asset do not apply here.
    pub async fn stored_totals(
        &self,
        tenant: &VisibleTenant,
        loads: &[Load],
        filter: &RecordFilter,
    ) -> Result<Vec<StoredTotal>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- stored_totals
                SELECT meter_key, billing_region, trial, sum(quantity)::text AS quantity,
                       sum(record_count)::bigint AS record_count
                FROM usage_total
                WHERE tenant_key = $1 AND load_id = ANY ($2)
                  AND ($3::bigint[] IS NULL OR meter_key = ANY ($3))
                  AND ($4::smallint[] IS NULL OR billing_region = ANY ($4))
                  AND ($5::boolean IS NULL OR trial = $5)
                GROUP BY meter_key, billing_region, trial",
            )
            .await?;
        let rows = client
            .query(
                &statement,
                &[&tenant.key(), &load_ids(loads), &filter.meter_keys, &filter.billing_regions, &filter.trial],
            )
            .await?;
        rows.iter().map(StoredTotal::from_row).collect()
    }

    /// What the records of loads add up to, for filters that the stored totals cannot answer.
    pub async fn added_up_totals(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        loads: &[Load],
        filter: &RecordFilter,
    ) -> Result<Vec<StoredTotal>, StoreError> {
        let client = self.export().await?;
        let statement = client
            .prepare_cached(
                "-- added_up_totals
                SELECT meter_key, billing_region, trial, sum(quantity)::text AS quantity, count(*) AS record_count
                FROM usage_block, unnest(asset_keys, kinds, quantities) AS r (asset_key, kind, quantity),
                     LATERAL (SELECT kind >> 9, (kind >> 6 & 7)::smallint, (kind >> 3 & 7)::smallint, kind & 1 = 1)
                         AS k (meter_key, asset_type, billing_region, trial)
                WHERE tenant_key = $1 AND usage_month = $2 AND load_id = ANY ($3)
                  AND ($4::bigint[] IS NULL OR meter_key = ANY ($4))
                  AND ($5::smallint[] IS NULL OR billing_region = ANY ($5))
                  AND ($6::boolean IS NULL OR trial = $6)
                  AND ($7::smallint[] IS NULL OR asset_type = ANY ($7))
                  AND ($8::bigint[] IS NULL OR asset_keys && $8 AND asset_key = ANY ($8))
                GROUP BY meter_key, billing_region, trial",
            )
            .await?;
        let rows = client
            .query(
                &statement,
                &[
                    &tenant.key(),
                    &month.first_day(),
                    &load_ids(loads),
                    &filter.meter_keys,
                    &filter.billing_regions,
                    &filter.trial,
                    &filter.asset_types,
                    &filter.asset_keys,
                ],
            )
            .await?;
        rows.iter().map(StoredTotal::from_row).collect()
    }
}

fn load_ids(loads: &[Load]) -> Vec<i64> {
    loads.iter().map(|load| load.id).collect()
}

pub(super) fn usage_key(row: &Row) -> Result<UsageKey<MeterKey>, StoreError> {
    Ok(UsageKey {
        meter: MeterKey(row.try_get("meter_key")?),
        billing_region: billing_region(row.try_get("billing_region")?)?,
        trial: row.try_get("trial")?,
    })
}

pub(super) fn billing_region(code: i16) -> Result<BillingRegion, StoreError> {
    BillingRegion::from_code(code.into())
        .ok_or_else(|| StoreError::corrupt(format!("there is no billing region {code}")))
}
