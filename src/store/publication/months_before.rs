//! The months that loads belong to, as they stand before them. They are read on another connection, a part of them after the other,
//! while the loads are checked and written: nobody else changes them meanwhile, and the publish lock is held for less.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::revisions::{LoadsByMonth, MonthKey, PART, Revisions};
use crate::{
    database::{Scripts as _, Statements as _},
    model::Source,
    store::{StoreError, TenantKey, columns},
};

const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// A month of a tenant.
pub(super) struct MonthBefore {
    pub(super) key: MonthKey,
    /// What it adds up to, as [`Sums`](super::sums::Sums) writes it.
    pub(super) totals: Option<String>,
    /// Its revision with the loads.
    pub(super) revision: [u8; 32],
    /// What was published last of all, as this connection sees it.
    pub(super) last_published_at: DateTime<Utc>,
}

/// Reads the months of loads. The caller holds the publish lock.
pub(super) async fn read_months(
    client: &Client,
    source: &Source,
    loads: &LoadsByMonth<'_>,
    ahead: &Revisions,
    parts: mpsc::Sender<Vec<MonthBefore>>,
) -> Result<(), StoreError> {
    // Whoever waits for a lock that this waits behind waits for the publisher, which waits for this: the database cannot see that.
    client.run_script(&format!("-- months: limit\nSET lock_timeout = {}", LOCK_LIMIT.as_millis())).await?;
    let keys: Vec<MonthKey> = loads.keys().copied().collect();
    for keys in keys.chunks(PART) {
        if parts.send(read_part(client, source, loads, ahead, keys).await?).await.is_err() {
            break;
        }
    }
    Ok(client.run_script("-- months: limit\nSET lock_timeout = 0").await?)
}

async fn read_part(
    client: &Client,
    source: &Source,
    loads: &LoadsByMonth<'_>,
    ahead: &Revisions,
    keys: &[MonthKey],
) -> Result<Vec<MonthBefore>, StoreError> {
    let (tenants, first_days): (Vec<i64>, Vec<NaiveDate>) =
        keys.iter().map(|(tenant, month)| (tenant.0, month.first_day())).unzip();
    let rows = client
        .fetch_all(
            "-- months_before
            SELECT changed.tenant_key, changed.usage_month, before.published_at, before.totals::text AS totals,
                   (SELECT last_published_at FROM publication_clock) AS last_published_at
            FROM unnest($1::bigint[], $2::date[]) AS changed (tenant_key, usage_month)
            LEFT JOIN LATERAL (
                SELECT published_at, totals FROM usage_month m
                WHERE m.tenant_key = changed.tenant_key AND m.usage_month = changed.usage_month
                ORDER BY published_at DESC LIMIT 1
            ) AS before ON true",
            &[&tenants, &first_days],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    let mut changed_since = Vec::new();
    for row in &rows {
        let key = (TenantKey(row.try_get("tenant_key")?), columns::month(row, "usage_month")?);
        let revision = ahead.get(key, row.try_get("published_at")?);
        if revision.is_none() {
            changed_since.push(key);
        }
        found.push((key, revision, row));
    }
    let now = if changed_since.is_empty() {
        Revisions::default()
    } else {
        Revisions::read(client, source, loads, &changed_since).await?
    };
    let months = found.into_iter().map(|(key, revision, row)| {
        let revision = match revision {
            Some(revision) => revision,
            None => now.get(key, row.try_get("published_at")?).ok_or_else(|| now.why_missing(key))?,
        };
        let (totals, last_published_at) = (row.try_get("totals")?, row.try_get("last_published_at")?);
        Ok(MonthBefore { key, totals, revision, last_published_at })
    });
    months.collect()
}
