//! Writes loads with their totals.

use std::collections::BTreeSet;

use chrono::{NaiveDate, Utc};
use tokio_postgres::{Client, Error, Transaction, error::SqlState};

use crate::{
    database::Statements as _,
    model::{Month, UtcTime},
    store::{Layout, NewLoad, StoreError},
};

/// Makes partitions for the months of the loads: outside the transaction, so that its locks are short. With the present month, the
/// next one gets its own, so that no import of its first day has to wait for it.
pub(super) async fn ensure_months(client: &Client, layout: Layout, loads: &[NewLoad]) -> Result<(), StoreError> {
    let with_records = loads.iter().filter(|load| load.record_count > 0);
    let mut months: BTreeSet<Month> = with_records.map(|load| load.month).collect();
    if let Some(present) = Month::of(Utc::now().date_naive())
        && months.contains(&present)
    {
        months.extend(present.shifted(1));
    }
    for month in months {
        if let Err(error) = client.run("-- ensure_months\nSELECT ensure_usage_month($1)", &[&month.first_day()]).await {
            return Err(not_ensured(error, layout, month));
        }
    }
    Ok(())
}

/// Citus makes no partition while it moves records from one machine to another, and has no code that says so.
fn not_ensured(error: Error, layout: Layout, month: Month) -> StoreError {
    match error.as_db_error() {
        Some(found) if layout == Layout::Apart && *found.code() == SqlState::INTERNAL_ERROR => StoreError::unavailable(
            format!("there is no room for the records of {month} yet, and Citus makes none now: {found}"),
        ),
        _ => error.into(),
    }
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
