//! Writes loads, their totals, and what they make of their months.

use chrono::NaiveDate;
use tokio_postgres::{Client, Transaction};

use crate::{
    database::Statements as _,
    model::UtcTime,
    store::{NewLoad, StoreError},
};

/// Makes partitions for the months of the loads: outside the transaction, so that its locks are short.
pub(super) async fn ensure_months(client: &Client, loads: &[NewLoad]) -> Result<(), StoreError> {
    let with_records = loads.iter().filter(|load| load.record_count > 0);
    let mut months: Vec<NaiveDate> = with_records.map(|load| load.month.first_day()).collect();
    months.sort_unstable();
    months.dedup();
    for month in months {
        client.run("-- ensure_months\nSELECT ensure_usage_month($1)", &[&month]).await?;
    }
    Ok(())
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

pub(super) async fn delete_records(
    transaction: &Transaction<'_>,
    load: &NewLoad,
    load_id: i64,
) -> Result<(), StoreError> {
    transaction
        .run(
            "-- delete_records
            SELECT discard_unpublished_records($1, $2, $3)",
            &[&load.key.tenant.0, &load.month.first_day(), &load_id],
        )
        .await?;
    Ok(())
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

pub(super) async fn insert_loads(
    transaction: &Transaction<'_>,
    loads: &[(i64, &NewLoad)],
    source: &str,
    import_id: i64,
    published_at: UtcTime,
) -> Result<(), StoreError> {
    let tenants: Vec<i64> = loads.iter().map(|(_, load)| load.key.tenant.0).collect();
    let ids: Vec<i64> = loads.iter().map(|&(id, _)| id).collect();
    let months: Vec<NaiveDate> = loads.iter().map(|(_, load)| load.month.first_day()).collect();
    let days: Vec<NaiveDate> = loads.iter().map(|(_, load)| load.key.usage_day).collect();
    let digests: Vec<&[u8]> = loads.iter().map(|(_, load)| load.digest.sha256.as_slice()).collect();
    let versions: Vec<i16> = loads.iter().map(|(_, load)| load.digest.version.number()).collect();
    let counts: Vec<i32> = loads.iter().map(|(_, load)| load.record_count).collect();
    transaction
        .run(
            "-- insert_loads
            INSERT INTO usage_load (tenant_key, load_id, usage_month, usage_day, source, import_id, digest_version,
                                    digest, record_count, published_at)
            SELECT tenant_key, load_id, usage_month, usage_day, $8, $9, digest_version, digest, record_count, $10
            FROM unnest($1::bigint[], $2::bigint[], $3::date[], $4::date[], $5::smallint[], $6::bytea[], $7::integer[])
                 AS new (tenant_key, load_id, usage_month, usage_day, digest_version, digest, record_count)",
            &[
                &tenants,
                &ids,
                &months,
                &days,
                &versions,
                &digests,
                &counts,
                &source,
                &import_id,
                &published_at.as_chrono(),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn insert_totals(transaction: &Transaction<'_>, loads: &[(i64, &NewLoad)]) -> Result<(), StoreError> {
    let mut tenants: Vec<i64> = Vec::new();
    let mut load_ids: Vec<i64> = Vec::new();
    let mut meters: Vec<i64> = Vec::new();
    let mut regions: Vec<i16> = Vec::new();
    let mut trials: Vec<bool> = Vec::new();
    let mut counts: Vec<i32> = Vec::new();
    let mut quantities: Vec<String> = Vec::new();
    for &(id, load) in loads {
        for total in &load.totals {
            tenants.push(load.key.tenant.0);
            load_ids.push(id);
            meters.push(total.key.meter.0);
            regions.push(total.key.billing_region.code());
            trials.push(total.key.trial);
            counts.push(total.record_count);
            quantities.push(total.quantity.to_plain_string());
        }
    }
    transaction
        .run(
            "-- insert_totals
            INSERT INTO usage_total (tenant_key, load_id, meter_key, billing_region, trial, record_count, quantity)
            SELECT tenant_key, load_id, meter_key, billing_region, trial, record_count, quantity::numeric
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::boolean[], $6::integer[],
                        $7::text[])
                 AS new (tenant_key, load_id, meter_key, billing_region, trial, record_count, quantity)",
            &[&tenants, &load_ids, &meters, &regions, &trials, &counts, &quantities],
        )
        .await?;
    Ok(())
}

/// Adds up the months that the loads belong to, as they stand now.
pub(super) async fn add_months(
    transaction: &Transaction<'_>,
    loads: &[(i64, &NewLoad)],
    published_at: UtcTime,
) -> Result<(), StoreError> {
    let mut months: Vec<(i64, NaiveDate)> =
        loads.iter().map(|(_, load)| (load.key.tenant.0, load.month.first_day())).collect();
    months.sort_unstable();
    months.dedup();
    let (tenants, months): (Vec<i64>, Vec<NaiveDate>) = months.into_iter().unzip();
    let statement = "-- add_months\nSELECT add_usage_months($1, $2, $3)";
    transaction.run(statement, &[&tenants, &months, &published_at.as_chrono()]).await?;
    Ok(())
}
