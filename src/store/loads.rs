//! Loads in force: the manifest of a tenant's month, and what it adds up to.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use tokio_postgres::Row;

use super::{
    Layout, MeterKey, RecordFilter, SnapshotTime, Store, StoreError, VisibleTenant, columns, usage_key::usage_key,
};
use crate::{
    database::{Binds, Statements as _, numeric::parse_sum},
    model::{Month, UsageKey, UtcTime},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Key within the tenant.
    pub id: i64,
    /// The UTC day.
    pub usage_day: NaiveDate,
    pub source: String,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// How many records it has; they are numbered from 1.
    pub record_count: i32,
    pub published_at: UtcTime,
    /// Whether its records are kept no longer.
    pub is_purged: bool,
}

/// What records add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTotal {
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    pub record_count: i64,
}

// === impl Load ===

impl Load {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("load_id")?,
            usage_day: row.try_get("usage_day")?,
            source: row.try_get("source")?,
            digest: columns::bytes(row, "digest")?,
            record_count: row.try_get("record_count")?,
            published_at: UtcTime::from_chrono(row.try_get("published_at")?),
            is_purged: row.try_get("is_purged")?,
        })
    }
}

// === impl StoredTotal ===

impl StoredTotal {
    pub(in crate::store) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: usage_key(row)?,
            quantity: parse_sum(row.try_get("quantity")?)?,
            record_count: row.try_get("record_count")?,
        })
    }
}

impl Store {
    /// The loads of a month that are in force at a snapshot, ordered by day and source.
    pub async fn loads_in_force(
        &self,
        tenant: &VisibleTenant,
        month: Month,
        snapshot: SnapshotTime,
    ) -> Result<Vec<Load>, StoreError> {
        let client = self.short().await?;
        let statement = "-- loads_in_force
            SELECT l.load_id, l.usage_day, l.source, l.digest, l.record_count, l.published_at,
                   l.records_purged_at IS NOT NULL AS is_purged,
                   pg_is_in_recovery() AND clock.last_published_at < $3 AS is_behind
            FROM publication_clock clock
            LEFT JOIN loads_in_force($1, $2, ($2::date + interval '1 month')::date - 1, $3) l ON true
            ORDER BY l.usage_day, l.source";
        let binds: Binds<'_> = &[&tenant.key(), &month.first_day(), &snapshot.time().as_chrono()];
        let rows = client.fetch_all_by_kept_plan(statement, binds).await?;
        // The snapshot may be that of another standby.
        if rows.first().map_or(Ok(false), |row| row.try_get("is_behind"))? {
            return Err(StoreError::unavailable("this standby is behind another one"));
        }
        let there = rows.iter().filter(|row| !matches!(row.try_get::<_, Option<i64>>("load_id"), Ok(None)));
        there.map(Load::from_row).collect()
    }

    /// Whether records of any of these loads have been purged, or will be in a moment.
    pub async fn are_purged(&self, tenant: &VisibleTenant, loads: &[Load]) -> Result<bool, StoreError> {
        let client = self.short().await?;
        let statement = "-- are_purged
            SELECT count(records_purged_at) > 0 AS are_purged FROM usage_load
            WHERE tenant_key = $1 AND load_id = ANY ($2)";
        Ok(client.fetch_one(statement, &[&tenant.key(), &load_ids(loads)]).await?.try_get("are_purged")?)
    }

    /// Whether the database only follows another one.
    pub async fn is_standby(&self) -> Result<bool, StoreError> {
        let client = self.short().await?;
        let statement = "-- is_standby\nSELECT pg_is_in_recovery() AS is_standby";
        Ok(client.fetch_one(statement, &[]).await?.try_get("is_standby")?)
    }

    /// Whether records of a tenant lie on a machine that may show what is published a little later, or may just have moved. It is asked
    /// anew where they are.
    pub async fn may_show_later(&self, tenant: &VisibleTenant) -> Result<bool, StoreError> {
        self.forget_place(tenant.key());
        let client = self.short().await?;
        Ok(Layout::of(client.client()?).await? == Layout::Apart)
    }

    /// What loads add up to, from the totals that were stored with them; `None` where some of these are missing. Filters by
    /// asset do not apply here.
    pub async fn stored_totals(
        &self,
        tenant: &VisibleTenant,
        loads: &[Load],
        filter: &RecordFilter,
    ) -> Result<Option<Vec<StoredTotal>>, StoreError> {
        let client = self.short().await?;
        let statement = "-- stored_totals
            SELECT meter_key, billing_region, trial, sum(quantity)::text AS quantity,
                   sum(record_count)::bigint AS record_count
            FROM usage_total
            WHERE tenant_key = $1 AND load_id = ANY ($2)
            GROUP BY meter_key, billing_region, trial";
        let rows = client.fetch_all_by_kept_plan(statement, &[&tenant.key(), &load_ids(loads)]).await?;
        let mut totals: Vec<StoredTotal> = rows.iter().map(StoredTotal::from_row).collect::<Result<_, _>>()?;
        let found: i64 = totals.iter().map(|total| total.record_count).sum();
        if found != loads.iter().map(|load| i64::from(load.record_count)).sum::<i64>() {
            return Ok(None);
        }
        totals.retain(|total| filter.passes_total(&total.key));
        Ok(Some(totals))
    }
}

pub(super) fn load_ids(loads: &[Load]) -> Vec<i64> {
    loads.iter().map(|load| load.id).collect()
}
