//! What loads make of their months.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::Transaction;

use super::{
    insert::ChangedLoad,
    months_before::MonthBefore,
    revisions::{MonthKey, elsewhere},
    sums::Sums,
};
use crate::{
    database::Statements as _,
    model::{Month, UtcTime},
    store::{StoreError, TenantKey, columns},
};

/// A month of a tenant as it stands with the loads.
pub(super) struct NewMonth {
    tenant: TenantKey,
    month: Month,
    revision: [u8; 32],
    /// As [`Sums`] writes them.
    totals: String,
}

/// What a publication changes in months.
pub(super) struct MonthChanges<'a> {
    loads: BTreeMap<MonthKey, Vec<&'a ChangedLoad<'a>>>,
    /// What those have added up to that are superseded.
    superseded: BTreeMap<MonthKey, Vec<String>>,
    last_published_at: DateTime<Utc>,
}

/// Writes months as they stand from now on.
pub(super) async fn add_months(
    transaction: &Transaction<'_>,
    months: &[NewMonth],
    published_at: UtcTime,
) -> Result<(), StoreError> {
    let tenants: Vec<i64> = months.iter().map(|month| month.tenant.0).collect();
    let first_days: Vec<NaiveDate> = months.iter().map(|month| month.month.first_day()).collect();
    let revisions: Vec<&[u8]> = months.iter().map(|month| month.revision.as_slice()).collect();
    let totals: Vec<&str> = months.iter().map(|month| month.totals.as_str()).collect();
    transaction
        .run(
            "-- add_months
            INSERT INTO usage_month (tenant_key, usage_month, published_at, revision, totals)
            SELECT tenant_key, usage_month, $5, revision, totals::usage_sum[]
            FROM unnest($1::bigint[], $2::date[], $3::bytea[], $4::text[])
                 AS new (tenant_key, usage_month, revision, totals)",
            &[&tenants, &first_days, &revisions, &totals, &published_at.as_chrono()],
        )
        .await?;
    Ok(())
}

// === impl MonthChanges ===

impl<'a> MonthChanges<'a> {
    /// What these loads change. The caller holds the publish lock, and has seen this as the last publication.
    pub(super) async fn read(
        transaction: &Transaction<'_>,
        changed: &'a [ChangedLoad<'a>],
        last_published_at: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let superseded = superseded_totals(transaction, changed).await?;
        let mut loads: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for load in changed {
            loads.entry((load.load.key.tenant, load.load.month)).or_default().push(load);
        }
        Ok(Self { loads, superseded, last_published_at })
    }

    /// Those that change, as they stand with the loads.
    pub(super) fn apply(&self, months: &[MonthBefore]) -> Result<Vec<NewMonth>, StoreError> {
        months.iter().filter_map(|month| self.apply_to_month(month).transpose()).collect()
    }

    /// Totals are added to those of before, and those of superseded loads are taken away.
    fn apply_to_month(&self, before: &MonthBefore) -> Result<Option<NewMonth>, StoreError> {
        if before.last_published_at != self.last_published_at {
            return Err(elsewhere());
        }
        let Some(loads) = self.loads.get(&before.key) else { return Ok(None) };
        let mut sums = Sums::default();
        if let Some(totals) = &before.totals {
            sums.add_text(totals)?;
        }
        for load in loads {
            sums.add(&load.load.totals);
        }
        for totals in self.superseded.get(&before.key).into_iter().flatten() {
            sums.take_away_text(totals)?;
        }
        let (tenant, month) = before.key;
        Ok(Some(NewMonth { tenant, month, revision: before.revision, totals: sums.to_text()? }))
    }
}

/// What the loads have added up to that are superseded.
async fn superseded_totals(
    transaction: &Transaction<'_>,
    changed: &[ChangedLoad<'_>],
) -> Result<BTreeMap<MonthKey, Vec<String>>, StoreError> {
    let superseded = changed.iter().filter_map(|load| Some((load.load.key.tenant.0, load.superseded?)));
    let (tenants, ids): (Vec<i64>, Vec<i64>) = superseded.unzip();
    let mut totals: BTreeMap<_, Vec<String>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(totals);
    }
    let rows = transaction
        .fetch_all(
            "-- superseded_totals
            SELECT taken.tenant_key, l.usage_month, l.totals
            FROM unnest($1::bigint[], $2::bigint[]) AS taken (tenant_key, load_id)
            CROSS JOIN LATERAL (
                SELECT usage_month, totals::text FROM usage_load l
                WHERE l.tenant_key = taken.tenant_key AND l.load_id = taken.load_id OFFSET 0
            ) AS l",
            &[&tenants, &ids],
        )
        .await?;
    for row in rows {
        let key = (TenantKey(row.try_get("tenant_key")?), columns::month(&row, "usage_month")?);
        totals.entry(key).or_default().push(row.try_get("totals")?);
    }
    Ok(totals)
}
