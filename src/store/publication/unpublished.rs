//! Records that are committed before the loads that they are of are published, and what becomes of them where they are not.
//!
//! They are in no report: reports read the records of loads. An import says in `unpublished_import` what it wrote, in the
//! transaction that writes it, and strikes that out in the one that publishes. Who finds an entry whose import does not run
//! any more deletes its records. On the machines of Citus, these may appear later, so an entry stays until all that it says was deleted.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use tokio_postgres::{Client, Error, Transaction};

use super::{
    insert::allocate_ids,
    places::{Places, with},
};
use crate::{
    database::{Scripts as _, Statements},
    store::{Layout, NewLoad, StoreError, locks},
};

/// How long a machine may take to show what it has committed: Citus finishes within a minute what was cut off between two machines.
const VISIBLE_LIMIT: Duration = Duration::from_secs(90);
const VISIBLE_PAUSE: Duration = Duration::from_millis(20);

/// Records that an import has written, or is writing.
pub(super) struct Unpublished {
    id: i64,
    /// Of its loads, in their order.
    pub(super) load_ids: Vec<i64>,
}

// === impl Unpublished ===

impl Unpublished {
    /// Says what will be written, in the transaction that does. The session holds its lock until it is released.
    pub(super) async fn begin(
        transaction: &Transaction<'_>,
        layout: Layout,
        loads: &[NewLoad],
    ) -> Result<Self, StoreError> {
        // Publishing waits for the disk, and so for all that was written before it. A worker of Citus keeps what a coordinator loses.
        if layout != Layout::Apart {
            transaction.run_script("-- begin_import: commit\nSET LOCAL synchronous_commit = off").await?;
        }
        let load_ids = allocate_ids(transaction, loads.len()).await?;
        let number = "-- begin_import: id\nSELECT nextval('unpublished_import_id_seq') AS id";
        let id = transaction.fetch_one(number, &[]).await?.try_get("id")?;
        locks::own_unpublished(transaction, id).await?;
        let (tenants, months) = tenants_and_months(loads.iter());
        transaction
            .run(
                "-- begin_import
                INSERT INTO unpublished_import (unpublished_import_id, tenant_keys, usage_months, load_ids, record_count)
                VALUES ($1, $2, $3, $4, $5)",
                &[&id, &tenants, &months, &load_ids, &record_count(loads.iter())],
            )
            .await?;
        Ok(Self { id, load_ids })
    }

    /// Waits until all of it can be read: on other machines, what is committed becomes visible a little later.
    pub(super) async fn wait_until_visible(&self, client: &Client, loads: &[NewLoad]) -> Result<(), StoreError> {
        let began = Instant::now();
        let written: Vec<(&NewLoad, i64)> = loads.iter().zip(self.load_ids.iter().copied()).collect();
        let places = Places::of(client, Layout::Apart, loads.iter().map(|load| load.key.tenant)).await?;
        let parts = places.parts(&written, |(load, _)| load.key.tenant);
        for part in parts.ok_or_else(|| StoreError::corrupt("records lie apart and have no place"))? {
            let of_part: Vec<(&NewLoad, i64)> = part.into_iter().map(|n| written[n]).collect();
            while !are_visible(client, &places, &of_part).await? {
                self.check_not_purged(client).await?;
                if began.elapsed() > VISIBLE_LIMIT {
                    return Err(StoreError::unavailable(
                        "a machine that records were written to does not show them yet",
                    ));
                }
                tokio::time::sleep(VISIBLE_PAUSE).await;
            }
        }
        Ok(())
    }

    /// A purge of a month takes what imports have written to it, and what they said of that.
    async fn check_not_purged(&self, client: &Client) -> Result<(), StoreError> {
        let find =
            "-- find_import\nSELECT FROM unpublished_import WHERE unpublished_import_id = $1 AND discarded_at IS NULL";
        if client.fetch_all(find, &[&self.id]).await?.is_empty() { Err(StoreError::MONTH_PURGED) } else { Ok(()) }
    }

    /// Strikes out what is published with the transaction: all but these loads.
    pub(super) async fn publish(
        &self,
        transaction: &Transaction<'_>,
        left_out: &[(&NewLoad, i64)],
    ) -> Result<(), StoreError> {
        let struck = if left_out.is_empty() {
            let delete = "-- end_import
                DELETE FROM unpublished_import WHERE unpublished_import_id = $1 AND discarded_at IS NULL";
            transaction.run(delete, &[&self.id]).await?
        } else {
            let (tenants, months) = tenants_and_months(left_out.iter().map(|&(load, _)| load));
            let ids: Vec<i64> = left_out.iter().map(|&(_, id)| id).collect();
            transaction
                .run(
                    "-- end_import: all but some
                    UPDATE unpublished_import SET tenant_keys = $2, usage_months = $3, load_ids = $4, record_count = $5
                    WHERE unpublished_import_id = $1 AND discarded_at IS NULL",
                    &[&self.id, &tenants, &months, &ids, &record_count(left_out.iter().map(|&(load, _)| load))],
                )
                .await?
        };
        if struck == 1 { Ok(()) } else { Err(StoreError::MONTH_PURGED) }
    }

    /// Deletes what was not published. Where that fails, the next import does it.
    pub(super) async fn discard(&self, client: &Client) {
        if let Err(error) = discard(client, self.id).await {
            tracing::warn!(%error, "records that were not published are left; the next import or a purge deletes them");
        }
    }
}

/// Whether the records of these loads, of tenants of one shard, are all there.
async fn are_visible(client: &Client, places: &Places, loads: &[(&NewLoad, i64)]) -> Result<bool, StoreError> {
    let (tenants, months) = tenants_and_months(loads.iter().map(|&(load, _)| load));
    let ids: Vec<i64> = loads.iter().map(|&(_, id)| id).collect();
    let statement = format!(
        "-- visible_records
        SELECT coalesce(sum(found.records), 0)::bigint AS records
        FROM unnest($1::bigint[], $2::date[], $3::bigint[]) AS written (tenant_key, usage_month, load_id)
        CROSS JOIN LATERAL (
            SELECT sum(record_count) AS records FROM usage_block
            WHERE tenant_key = written.tenant_key{} AND usage_month = written.usage_month AND load_id = written.load_id
        ) AS found",
        places.condition(4)
    );
    let of_shard = places.bind(&tenants);
    let parameters = with(vec![&tenants, &months, &ids], of_shard.as_ref());
    let row = client.fetch_one(&statement, &parameters).await?;
    Ok(row.try_get::<_, i64>("records")? == record_count(loads.iter().map(|&(load, _)| load)))
}

fn record_count<'a>(loads: impl Iterator<Item = &'a NewLoad>) -> i64 {
    loads.map(|load| i64::from(load.record_count)).sum()
}

/// Of each load, whose it is and of which month.
fn tenants_and_months<'a>(loads: impl Iterator<Item = &'a NewLoad>) -> (Vec<i64>, Vec<NaiveDate>) {
    loads.map(|load| (load.key.tenant.0, load.month.first_day())).unzip()
}

async fn discard(client: &impl Statements<Error = Error>, id: i64) -> Result<u64, StoreError> {
    let row = client.fetch_one("-- discard_import\nSELECT discard_unpublished_import($1) AS records", &[&id]).await?;
    Ok(u64::try_from(row.try_get::<_, i64>("records")?).unwrap_or(0))
}

/// Deletes what imports of these tenants have left that did not come to their end.
pub(super) async fn sweep_tenants(client: &mut Client, loads: &[NewLoad]) {
    let mut tenants: Vec<i64> = loads.iter().map(|load| load.key.tenant.0).collect();
    tenants.sort_unstable();
    tenants.dedup();
    match sweep(client, Some(&tenants), false).await {
        Ok(0) => {}
        Ok(records) => tracing::info!(records, "deleted the records of an import that did not come to its end"),
        Err(error) => tracing::warn!(%error, "what an import left that did not come to its end is still there"),
    }
}

/// Deletes what imports have left that did not come to their end, of these tenants or of all; returns how many records it is.
/// With `dry_run`, they stay.
pub(in crate::store) async fn sweep(
    client: &mut Client,
    tenants: Option<&[i64]>,
    dry_run: bool,
) -> Result<u64, StoreError> {
    let find = "-- sweep: find
        SELECT unpublished_import_id FROM unpublished_import
        -- Each of them is hashed: `&&` would compare all with all.
        WHERE $1::bigint[] IS NULL
           OR EXISTS (SELECT FROM unnest(tenant_keys) AS written (tenant_key) JOIN unnest($1) AS mine (tenant_key) USING (tenant_key))";
    let mut swept = 0;
    for row in client.fetch_all(find, &[&tenants]).await? {
        let id = row.try_get("unpublished_import_id")?;
        let transaction = client.transaction().await?;
        // An import that runs has it.
        if locks::try_lock_unpublished(&transaction, id).await? {
            swept += discard(&transaction, id).await?;
        }
        if dry_run {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
    }
    Ok(swept)
}
