//! Writes loads with their totals.

use std::collections::BTreeSet;

use chrono::{NaiveDate, Utc};
use tokio_postgres::{Client, Transaction};

use crate::{
    database::Statements as _,
    model::{Month, UtcTime},
    store::{NewLoad, StoreError, partitions::partition_of},
};

/// Makes partitions for the months of the loads: outside the transaction, so that its locks are short. With the present month, the
/// next one gets its own, so that no import of its first day has to wait for it.
pub(super) async fn ensure_months(client: &Client, loads: &[NewLoad]) -> Result<(), StoreError> {
    let mut months = months_with_records(loads);
    if let Some(present) = Month::of(Utc::now().date_naive())
        && months.contains(&present)
    {
        months.extend(present.shifted(1));
    }
    for month in months {
        client.run("-- ensure_months\nSELECT ensure_usage_month($1)", &[&month.first_day()]).await?;
    }
    Ok(())
}

/// Whether all of them have partitions. A purge may have dropped one meanwhile.
pub(super) async fn have_months(client: &Client, loads: &[NewLoad]) -> Result<bool, StoreError> {
    let partitions: Vec<String> = months_with_records(loads).into_iter().map(partition_of).collect();
    let statement = "-- have_months
        SELECT coalesce(bool_and(to_regclass(name) IS NOT NULL), true) AS have FROM unnest($1::text[]) AS name";
    Ok(client.fetch_one(statement, &[&partitions]).await?.try_get("have")?)
}

fn months_with_records(loads: &[NewLoad]) -> BTreeSet<Month> {
    loads.iter().filter(|load| load.record_count > 0).map(|load| load.month).collect()
}

pub(super) async fn allocate_ids(transaction: &Transaction<'_>, count: usize) -> Result<Vec<i64>, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = transaction
        .fetch_all(
            "-- allocate_ids
            SELECT nextval('load_id_seq') AS load_id FROM generate_series(1, $1::bigint)",
            &[&count],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get("load_id")?)).collect()
}

/// Returns the key of the import.
pub(super) async fn insert_import(
    transaction: &Transaction<'_>,
    source: &str,
    file_name: &str,
    imported_by: &str,
    published_at: UtcTime,
) -> Result<i64, StoreError> {
    let row = transaction
        .fetch_one(
            "-- insert_import
            INSERT INTO usage_import (source, file_name, imported_by, published_at)
            VALUES ($1, $2, $3, $4) RETURNING import_id",
            &[&source, &file_name, &imported_by, &published_at.as_chrono()],
        )
        .await?;
    Ok(row.try_get("import_id")?)
}

/// A load that is published.
pub(super) struct ChangedLoad<'a> {
    pub(super) id: i64,
    pub(super) load: &'a NewLoad,
    /// As [`totals_text`](super::sums::totals_text) writes them.
    pub(super) totals: &'a str,
    /// The id of the load that it supersedes.
    pub(super) superseded: Option<i64>,
}

pub(super) async fn insert_loads(
    transaction: &Transaction<'_>,
    loads: &[ChangedLoad<'_>],
    source: &str,
    import_id: i64,
    published_at: UtcTime,
) -> Result<(), StoreError> {
    let tenants: Vec<i64> = loads.iter().map(|changed| changed.load.key.tenant.0).collect();
    let ids: Vec<i64> = loads.iter().map(|changed| changed.id).collect();
    let months: Vec<NaiveDate> = loads.iter().map(|changed| changed.load.month.first_day()).collect();
    let days: Vec<NaiveDate> = loads.iter().map(|changed| changed.load.key.usage_day).collect();
    let digests: Vec<&[u8]> = loads.iter().map(|changed| changed.load.digest.sha256.as_slice()).collect();
    let versions: Vec<i16> = loads.iter().map(|changed| changed.load.digest.version.number()).collect();
    let counts: Vec<i32> = loads.iter().map(|changed| changed.load.record_count).collect();
    let totals: Vec<&str> = loads.iter().map(|changed| changed.totals).collect();
    transaction
        .run(
            "-- insert_loads
            INSERT INTO usage_load (tenant_key, load_id, usage_month, usage_day, source, import_id, digest_version,
                                    digest, record_count, published_at, totals)
            SELECT tenant_key, load_id, usage_month, usage_day, $9, $10, digest_version, digest, record_count, $11,
                   totals::usage_sum[]
            FROM unnest($1::bigint[], $2::bigint[], $3::date[], $4::date[], $5::smallint[], $6::bytea[], $7::integer[],
                        $8::text[])
                 AS new (tenant_key, load_id, usage_month, usage_day, digest_version, digest, record_count, totals)",
            &[
                &tenants,
                &ids,
                &months,
                &days,
                &versions,
                &digests,
                &counts,
                &totals,
                &source,
                &import_id,
                &published_at.as_chrono(),
            ],
        )
        .await?;
    Ok(())
}
