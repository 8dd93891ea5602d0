//! What loads make of their months. It is read on another connection while the loads are written, a part of the months after the
//! other: nobody else changes them meanwhile, and the publish lock is held for less.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, NaiveDate, Utc};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

use super::{insert::ChangedLoad, sums::Sums};
use crate::{
    database::{Scripts as _, Statements as _},
    model::{Month, Source, TenantId, UtcTime},
    store::{LoadContent, StoreError, TenantKey, columns, revision},
};

/// How many are read at once.
const PART: usize = 1000;
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// A month of a tenant as it stands with the loads.
pub(super) struct NewMonth {
    tenant: TenantKey,
    month: Month,
    revision: [u8; 32],
    /// As [`Sums`] writes them.
    totals: String,
}

type ByMonth<'a> = BTreeMap<(TenantKey, Month), Vec<&'a ChangedLoad<'a>>>;

/// Computes the months that loads belong to. The caller holds the publish lock, and the loads are not published yet; it has seen this
/// as the last publication. Totals are added to those of before, and those of superseded loads are taken away; only the revision goes
/// over all loads in force.
pub(super) async fn compute_months(
    client: &Client,
    loads: &[ChangedLoad<'_>],
    source: &Source,
    last_published_at: DateTime<Utc>,
    months: mpsc::Sender<Vec<NewMonth>>,
) -> Result<(), StoreError> {
    // Whoever waits for a lock that this waits behind waits for the publisher, which waits for this: the database cannot see that.
    client.run_script(&format!("-- months: limit\nSET lock_timeout = {}", LOCK_LIMIT.as_millis())).await?;
    let mut changed: ByMonth<'_> = BTreeMap::new();
    for load in loads {
        changed.entry((load.load.key.tenant, load.load.month)).or_default().push(load);
    }
    while !changed.is_empty() {
        let rest = changed.keys().nth(PART).copied();
        let rest = rest.map_or_else(BTreeMap::new, |first| changed.split_off(&first));
        let part = compute_part(client, &std::mem::replace(&mut changed, rest), source, last_published_at).await?;
        if months.send(part).await.is_err() {
            break;
        }
    }
    Ok(client.run_script("-- months: limit\nSET lock_timeout = 0").await?)
}

async fn compute_part(
    client: &Client,
    changed: &ByMonth<'_>,
    source: &Source,
    last_published_at: DateTime<Utc>,
) -> Result<Vec<NewMonth>, StoreError> {
    let superseded = superseded_totals(client, changed).await?;
    let (tenants, first_days): (Vec<i64>, Vec<NaiveDate>) =
        changed.keys().map(|(tenant, month)| (tenant.0, month.first_day())).unzip();
    let rows = client
        .fetch_all(
            "-- months_before
            SELECT changed.tenant_key, changed.usage_month, tenant.tenant_id, before.totals::text AS totals,
                   present.days, present.sources, present.digests,
                   (SELECT last_published_at FROM publication_clock) AS last_published_at
            FROM unnest($1::bigint[], $2::date[]) AS changed (tenant_key, usage_month)
            CROSS JOIN LATERAL (
                SELECT tenant_id FROM tenant t WHERE t.tenant_key = changed.tenant_key OFFSET 0
            ) AS tenant
            LEFT JOIN LATERAL (
                SELECT totals FROM usage_month m
                WHERE m.tenant_key = changed.tenant_key AND m.usage_month = changed.usage_month
                ORDER BY published_at DESC LIMIT 1
            ) AS before ON true
            CROSS JOIN LATERAL (
                SELECT array_agg(usage_day) AS days, array_agg(source) AS sources, array_agg(digest) AS digests
                FROM loads_in_force(changed.tenant_key, changed.usage_month,
                                    (changed.usage_month + interval '1 month')::date - 1, 'infinity')
                WHERE record_count > 0
            ) AS present",
            &[&tenants, &first_days],
        )
        .await?;
    if rows.len() != changed.len() {
        return Err(StoreError::corrupt("a tenant is gone"));
    }
    let mut months = Vec::with_capacity(rows.len());
    for row in &rows {
        // The other connection may lead to a standby that is late, say.
        if row.try_get::<_, DateTime<Utc>>("last_published_at")? != last_published_at {
            return Err(StoreError::unavailable("the two connections of an import do not lead to the same database"));
        }
        let key = (TenantKey(row.try_get("tenant_key")?), columns::month(row, "usage_month")?);
        let loads = changed.get(&key).map(Vec::as_slice).unwrap_or_default();
        let mut sums = Sums::default();
        if let Some(before) = row.try_get("totals")? {
            sums.add_text(before)?;
        }
        for load in loads {
            sums.add(&load.load.totals);
        }
        for totals in superseded.get(&key).into_iter().flatten() {
            sums.take_away_text(totals)?;
        }
        let (tenant, month) = key;
        months.push(NewMonth {
            tenant,
            month,
            revision: revision_with(row, month, loads, source)?,
            totals: sums.to_text()?,
        });
    }
    Ok(months)
}

/// The revision of a month with the loads that are new.
fn revision_with(row: &Row, month: Month, loads: &[&ChangedLoad<'_>], source: &Source) -> Result<[u8; 32], StoreError> {
    let days: Vec<NaiveDate> = row.try_get::<_, Option<_>>("days")?.unwrap_or_default();
    let sources: Vec<&str> = row.try_get::<_, Option<_>>("sources")?.unwrap_or_default();
    let digests: Vec<&[u8]> = row.try_get::<_, Option<_>>("digests")?.unwrap_or_default();
    let changed: HashSet<NaiveDate> = loads.iter().map(|load| load.load.key.usage_day).collect();
    let present = days.into_iter().zip(sources).zip(digests).map(|((usage_day, source), digest)| LoadContent {
        usage_day,
        source,
        digest,
    });
    let with_records = loads.iter().filter(|load| load.load.record_count > 0);
    let added = with_records.map(|load| LoadContent {
        usage_day: load.load.key.usage_day,
        source: source.as_str(),
        digest: &load.load.digest.sha256,
    });
    let stays = |load: &LoadContent<'_>| load.source != source.as_str() || !changed.contains(&load.usage_day);
    let mut contents: Vec<LoadContent<'_>> = present.filter(stays).chain(added).collect();
    contents.sort_unstable();
    let tenant = TenantId::from_uuid(row.try_get::<_, Uuid>("tenant_id")?);
    Ok(revision(tenant, month, contents))
}

/// What the loads have added up to that are superseded.
async fn superseded_totals(
    client: &Client,
    changed: &ByMonth<'_>,
) -> Result<BTreeMap<(TenantKey, Month), Vec<String>>, StoreError> {
    let superseded = changed.values().flatten().filter_map(|load| Some((load.load.key.tenant.0, load.superseded?)));
    let (tenants, ids): (Vec<i64>, Vec<i64>) = superseded.unzip();
    let mut totals: BTreeMap<_, Vec<String>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(totals);
    }
    let rows = client
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
