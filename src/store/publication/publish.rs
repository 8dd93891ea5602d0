//! The transaction that publishes: records first, without any lock; then, under the publish lock, the loads.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use chrono::NaiveDate;
use futures_util::SinkExt as _;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Assumed, ImportSession, LoadInForce, LoadKey, NewLoad, RecordToWrite, assets::AssetKeys, coverage, in_force,
};
use crate::{
    database::{
        DatabaseError, Statements as _,
        copy_in::{put_header, put_trailer},
    },
    model::{Source, UtcTime},
    store::{
        StoreError,
        blocks::{BlockWriter, COPY_BLOCKS, LoadLocation, StoredDimensions},
        clock, locks,
    },
    telemetry::traces,
};

const COPY_BUFFER_BYTES: usize = 256 << 10;

/// What a publication did.
#[derive(Clone, Debug)]
pub struct Publication {
    /// When; `None` where nothing had to be published after all.
    pub published_at: Option<UtcTime>,
    /// What became of each load, in the order given.
    pub loads: Vec<PublishedLoad>,
}

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedLoad {
    /// It is the first of its day and source.
    First,
    /// It superseded another one.
    Superseded(LoadInForce),
    /// Another import has published the same content meanwhile, so it was left out.
    Unchanged,
}

impl ImportSession {
    /// Publishes loads whose records arrive in batches, sorted by load and row number. All of it, or nothing: when the
    /// channel ends before every record has come, nothing is published.
    pub async fn publish(
        &mut self,
        loads: &[NewLoad],
        assumed: &Assumed,
        records: mpsc::Receiver<Vec<RecordToWrite>>,
        file_name: &str,
        imported_by: &str,
        written: impl Fn(u64),
    ) -> Result<Publication, StoreError> {
        self.ensure_months(loads).await?;
        let transaction = self.publisher.transaction().await?;
        locks::share_assets(&transaction).await?;
        let ids = allocate_ids(&transaction, loads.len()).await?;
        let mut assets = AssetKeys::new(&self.lookups).await?;
        let copy = copy_records(&transaction, loads, &ids, records, &mut assets, written);
        let count = step("copy_blocks", copy).await?;
        assets.finish().await?;
        let expected: u64 = loads.iter().map(|load| u64::try_from(load.record_count).unwrap_or(0)).sum();
        if count != expected {
            return Err(DatabaseError::Failed(format!(
                "only {count} of {expected} records arrived; nothing was published"
            ))
            .into());
        }

        locks::lock_publishing(&transaction).await?;
        // From here on neither loads nor the catalog change.
        step("check_assumed", check_assumed(&transaction, &self.source, assumed)).await?;
        let keys: Vec<LoadKey> = loads.iter().map(|load| load.key).collect();
        let mut in_force = in_force(&transaction, &self.source, &keys).await?;
        let outcomes: Vec<PublishedLoad> = loads
            .iter()
            .map(|load| match in_force.remove(&load.key) {
                None => PublishedLoad::First,
                Some(present) if present.has(&load.digest) => PublishedLoad::Unchanged,
                Some(load) => PublishedLoad::Superseded(load),
            })
            .collect();
        let unchanged: HashSet<usize> =
            (0..loads.len()).filter(|&index| outcomes[index] == PublishedLoad::Unchanged).collect();
        for &index in &unchanged {
            delete_records(&transaction, &loads[index], ids[index]).await?;
        }
        if unchanged.len() == loads.len() {
            // Rolling back is all that is left to do.
            return Ok(Publication { published_at: None, loads: outcomes });
        }
        let published_at = clock::tick(&transaction).await?;
        let row = transaction
            .fetch_one(
                "-- insert_import
                INSERT INTO usage_import (source, file_name, imported_by, published_at)
                VALUES ($1, $2, $3, $4) RETURNING import_id",
                &[&self.source.as_str(), &file_name, &imported_by, &published_at.as_chrono()],
            )
            .await?;
        let import_id: i64 = row.try_get("import_id")?;
        let published: Vec<(i64, &NewLoad)> = ids
            .iter()
            .copied()
            .zip(loads)
            .enumerate()
            .filter(|(index, _)| !unchanged.contains(index))
            .map(|(_, load)| load)
            .collect();
        let source = self.source.as_str();
        insert_loads(&transaction, &published, source, import_id, published_at).await?;
        insert_totals(&transaction, &published).await?;
        add_months(&transaction, &published, published_at).await?;
        step("commit", async { Ok(transaction.commit().await?) }).await?;
        Ok(Publication { published_at: Some(published_at), loads: outcomes })
    }

    /// Months get their partitions outside the transaction, so that its locks are short.
    async fn ensure_months(&self, loads: &[NewLoad]) -> Result<(), StoreError> {
        let with_records = loads.iter().filter(|load| load.record_count > 0);
        let mut months: Vec<NaiveDate> = with_records.map(|load| load.month.first_day()).collect();
        months.sort_unstable();
        months.dedup();
        for month in months {
            self.lookups.run("-- ensure_months\nSELECT ensure_usage_month($1)", &[&month]).await?;
        }
        Ok(())
    }
}

/// A part of the publication, as a span of its own in traces.
async fn step<T>(name: &str, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    work.instrument(traces::statement(&format!("-- {name}"))).await
}

/// Makes sure that what the import went by still holds.
async fn check_assumed(transaction: &Transaction<'_>, source: &Source, assumed: &Assumed) -> Result<(), StoreError> {
    let keys: Vec<LoadKey> = assumed.unchanged.iter().map(|&(key, _)| key).collect();
    let present = in_force(transaction, source, &keys).await?;
    if assumed.unchanged.iter().any(|(key, digest)| present.get(key).is_none_or(|load| !load.has(digest))) {
        return Err(StoreError::Changed("another import restated a day of this one"));
    }
    if let Some(coverage) = &assumed.coverage {
        let (omitted, _) = coverage::omitted(transaction, source, coverage, None).await?;
        if !omitted.iter().map(|day| day.key).eq(coverage.omitted.iter().copied()) {
            return Err(StoreError::Changed(
                "what this delivery leaves out changed, by another import or in the catalog",
            ));
        }
    }
    let tenants: Vec<i64> = assumed.tenants.iter().map(|tenant| tenant.key.0).collect();
    let organizations: Vec<Uuid> = assumed.tenants.iter().map(|tenant| tenant.organization_id.as_uuid()).collect();
    let row = transaction
        .fetch_one(
            "-- moved_tenants
            SELECT count(*) AS moved
            FROM unnest($1::bigint[], $2::uuid[]) AS assumed (tenant_key, organization_id)
            LEFT JOIN tenant t USING (tenant_key, organization_id)
            WHERE t.tenant_id IS NULL",
            &[&tenants, &organizations],
        )
        .await?;
    if row.try_get::<_, i64>("moved")? > 0 || !assumed.meters.are_there(transaction).await? {
        return Err(StoreError::Changed("the catalog changed"));
    }
    Ok(())
}

async fn allocate_ids(transaction: &Transaction<'_>, count: usize) -> Result<Vec<i64>, StoreError> {
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

/// Writes the records; returns how many there were.
async fn copy_records(
    transaction: &Transaction<'_>,
    loads: &[NewLoad],
    ids: &[i64],
    mut records: mpsc::Receiver<Vec<RecordToWrite>>,
    assets: &mut AssetKeys<'_>,
    written: impl Fn(u64),
) -> Result<u64, StoreError> {
    let sink = transaction.copy_in::<_, Bytes>(COPY_BLOCKS).await?;
    let mut sink = std::pin::pin!(sink);
    let mut buffer = BytesMut::with_capacity(COPY_BUFFER_BYTES * 2);
    put_header(&mut buffer);
    let mut block = BlockWriter::default();
    let mut block_load = 0;
    let location = |load: usize| LoadLocation {
        tenant_key: loads[load].key.tenant.0,
        load_id: ids[load],
        usage_month: loads[load].month.first_day(),
    };
    let mut count = 0_u64;
    while let Some(batch) = records.recv().await {
        let tenant_of = |record: &RecordToWrite| loads[record.load].key.tenant;
        for group in batch.chunk_by(|a, b| tenant_of(a) == tenant_of(b)) {
            assets.resolve(tenant_of(&group[0]), group).await?;
            for record in group {
                if record.load != block_load || block.is_full() {
                    block.finish_block(&location(block_load), &mut buffer);
                    block_load = record.load;
                }
                let asset = assets.get(&record.asset)?;
                let dimensions =
                    StoredDimensions { asset_type: record.asset.asset_type, dimensions: record.dimensions.clone() };
                block.push(record.row_number, asset, dimensions, record.quantity);
                if buffer.len() >= COPY_BUFFER_BYTES {
                    sink.send(buffer.split().freeze()).await?;
                }
            }
        }
        count += batch.len() as u64;
        written(batch.len() as u64);
    }
    block.finish_block(&location(block_load), &mut buffer);
    put_trailer(&mut buffer);
    sink.send(buffer.freeze()).await?;
    sink.finish().await?;
    Ok(count)
}

async fn delete_records(transaction: &Transaction<'_>, load: &NewLoad, load_id: i64) -> Result<(), StoreError> {
    transaction
        .run(
            "-- delete_records
            SELECT discard_unpublished_records($1, $2, $3)",
            &[&load.key.tenant.0, &load.month.first_day(), &load_id],
        )
        .await?;
    Ok(())
}

async fn insert_loads(
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
    let digests: Vec<&[u8]> = loads.iter().map(|(_, load)| load.digest.as_slice()).collect();
    let counts: Vec<i32> = loads.iter().map(|(_, load)| load.record_count).collect();
    transaction
        .run(
            "-- insert_loads
            INSERT INTO usage_load (tenant_key, load_id, usage_month, usage_day, source, import_id, digest,
                                    record_count, published_at)
            SELECT tenant_key, load_id, usage_month, usage_day, $7, $8, digest, record_count, $9
            FROM unnest($1::bigint[], $2::bigint[], $3::date[], $4::date[], $5::bytea[], $6::integer[])
                 AS new (tenant_key, load_id, usage_month, usage_day, digest, record_count)",
            &[&tenants, &ids, &months, &days, &digests, &counts, &source, &import_id, &published_at.as_chrono()],
        )
        .await?;
    Ok(())
}

async fn insert_totals(transaction: &Transaction<'_>, loads: &[(i64, &NewLoad)]) -> Result<(), StoreError> {
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
async fn add_months(
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
