//! Deleting records that need not be kept: those of superseded loads, and those of months past retention.
//!
//! What loads add up to stays, and the loads themselves with a mark, so that bills stay as they are, and a report that
//! needs what is gone can say so. Running reports are safe: records and mark go in one transaction, or the mark goes first,
//! and whoever misses records looks for the mark.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::{Client, error::SqlState};

use crate::{
    database::{Scripts as _, Statements, connect},
    model::Month,
    store::{
        StoreError, clock, locks,
        partitions::{month_of, partition_of},
        publication::sweep,
    },
};

/// Loads in one transaction.
const LOADS_AT_ONCE: usize = 50;
/// A lock that readers wait behind is asked for so long at a time, with a pause after each try.
const LOCK_LIMIT: Duration = Duration::from_millis(200);
const LOCK_PAUSE: Duration = Duration::from_millis(500);
/// How often.
const LOCK_TRIES: u32 = 240;

/// What need not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeRules {
    /// Records of loads that were superseded at least so long ago.
    pub superseded_for: Option<Duration>,
    /// Records of the months before this one.
    pub months_before: Option<Month>,
}

/// What was deleted, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Superseded loads.
    pub superseded: Records,
    /// Months, in order.
    pub months: Vec<(Month, Records)>,
    /// Assets that no record is left of; not known before it is done.
    pub assets: u64,
    /// Records of imports that did not come to their end.
    pub unpublished: u64,
}

/// Records, and how many loads they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub loads: u64,
    pub records: u64,
}

/// A purge did not come to its end. What it did is done, and it may be run again.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// Two at once would wait for each other.
    #[error("another purge is running; wait for it to end")]
    Running,
    /// A lock was not to be had.
    #[error("{0}; the rest was not purged: run it again when less is going on")]
    Busy(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for PurgeError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The present month (UTC), by the clock of the database: that of this machine may be wrong, and what is purged is gone.
pub async fn present_month(database_url: &str) -> Result<Month, StoreError> {
    let client = connect(database_url, Duration::from_secs(10)).await.map_err(StoreError::from)?;
    let row = client.fetch_one("-- present_month\nSELECT (now() AT TIME ZONE 'UTC')::date AS today", &[]).await?;
    Month::of(row.try_get("today")?).ok_or_else(|| StoreError::corrupt("the database is of no year that there is"))
}

/// Purges by rules, by an account that owns the tables. With `dry_run`, it only says what it would do. Nothing is purged where
/// the clocks of this machine and the database differ by more than `max_clock_skew`, or where the publication clock was wrong.
pub async fn purge(
    database_url: &str,
    rules: PurgeRules,
    max_clock_skew: Duration,
    dry_run: bool,
) -> Result<Purged, PurgeError> {
    let mut client = connect(database_url, Duration::from_secs(10)).await.map_err(StoreError::from)?;
    if !locks::try_lock_purge(&client).await? {
        return Err(PurgeError::Running);
    }
    let purged = match clock::check(&client, max_clock_skew).await {
        Ok(()) => run(&mut client, rules, dry_run).await,
        Err(error) => Err(error.into()),
    };
    // The connection would let go of it, too, but in a while.
    locks::unlock_purge(&client).await?;
    purged
}

async fn run(client: &mut Client, rules: PurgeRules, dry_run: bool) -> Result<Purged, PurgeError> {
    let mut purged = Purged { unpublished: sweep(client, None, dry_run).await?, ..Purged::default() };
    // Months first: what goes with them need not be deleted one by one.
    if let Some(before) = rules.months_before {
        purged.months = months(client, before).await?;
        if !dry_run {
            purged.assets = purge_months(client, before, &purged.months).await?;
        }
    }
    if let Some(age) = rules.superseded_for {
        purged.superseded = purge_superseded(client, age, rules.months_before, dry_run).await?;
    }
    Ok(purged)
}

/// Loads that were published at or before the cutoff and were not in force at it.
async fn purge_superseded(
    client: &mut Client,
    age: Duration,
    not_before: Option<Month>,
    dry_run: bool,
) -> Result<Records, PurgeError> {
    let seconds = age.as_secs_f64();
    let rows = client
        .fetch_all(
            "-- purge: superseded loads
            SELECT superseded.*
            FROM (
                SELECT DISTINCT tenant_key, usage_month, (usage_month + interval '1 month')::date - 1 AS last_day
                FROM usage_load WHERE $2::date IS NULL OR usage_month >= $2
            ) AS month
            CROSS JOIN LATERAL (
                SELECT l.tenant_key, l.usage_month, l.load_id, l.record_count FROM usage_load l
                WHERE l.tenant_key = month.tenant_key AND l.usage_month = month.usage_month
                  AND l.published_at <= now() - make_interval(secs => $1)
                  AND l.records_purged_at IS NULL AND l.record_count > 0
                EXCEPT ALL
                SELECT tenant_key, usage_month, load_id, record_count
                FROM loads_in_force(month.tenant_key, month.usage_month, month.last_day,
                                    now() - make_interval(secs => $1))
            ) AS superseded
            -- The usage that a statement has billed is kept with its month.
            WHERE NOT EXISTS (
                SELECT FROM usage_load l JOIN tenant t USING (tenant_key)
                JOIN statement s ON s.organization_id = t.organization_id AND s.billing_month >= l.usage_month
                                AND s.horizon >= l.published_at
                CROSS JOIN LATERAL loads_in_force(l.tenant_key, l.usage_day, l.usage_day, s.horizon) AS billed
                WHERE l.tenant_key = superseded.tenant_key AND l.load_id = superseded.load_id
                  AND billed.load_id = l.load_id
            )
            ORDER BY superseded.usage_month, superseded.tenant_key, superseded.load_id",
            &[&seconds, &not_before.map(Month::first_day)],
        )
        .await?;
    let mut purged = Records::default();
    for some in rows.chunks(LOADS_AT_ONCE) {
        let transaction = client.transaction().await?;
        for row in some {
            let (tenant, load): (i64, i64) = (row.try_get("tenant_key")?, row.try_get("load_id")?);
            let month: NaiveDate = row.try_get("usage_month")?;
            purged.loads += 1;
            purged.records += count(i64::from(row.try_get::<_, i32>("record_count")?));
            if dry_run {
                continue;
            }
            let mark = "-- purge: mark a load
                UPDATE usage_load SET records_purged_at = now() WHERE tenant_key = $1 AND load_id = $2";
            transaction.run(mark, &[&tenant, &load]).await?;
            let delete = "-- purge: delete its records
                DELETE FROM usage_block WHERE tenant_key = $1 AND usage_month = $2 AND load_id = $3";
            transaction.run(delete, &[&tenant, &month, &load]).await?;
        }
        transaction.commit().await?;
    }
    Ok(purged)
}

/// Months before one of which there is anything left: a partition, or loads without a mark.
async fn months(client: &Client, before: Month) -> Result<Vec<(Month, Records)>, PurgeError> {
    let kept = client
        .fetch_all(
            "-- purge: kept loads
            SELECT usage_month, count(*) AS loads, sum(record_count)::bigint AS records
            FROM usage_load
            WHERE usage_month < $1 AND records_purged_at IS NULL AND record_count > 0
            GROUP BY usage_month",
            &[&before.first_day()],
        )
        .await?;
    let kept = kept.iter().map(|row| {
        let records = Records { loads: count(row.try_get("loads")?), records: count(row.try_get("records")?) };
        Ok::<(NaiveDate, _), tokio_postgres::Error>((row.try_get("usage_month")?, records))
    });
    let kept: HashMap<NaiveDate, Records> = kept.collect::<Result<_, _>>()?;
    let mut months = partitions(client).await?;
    months.retain(|month| *month < before);
    months.sort_unstable();
    let records = |month: Month| kept.get(&month.first_day()).copied().unwrap_or_default();
    Ok(months.into_iter().map(|month| (month, records(month))).collect())
}

/// The months that have a partition. Their names are read here: PostgreSQL may evaluate an expression on rows that a join
/// would leave out, and so read the names of all relations as months.
async fn partitions(client: &Client) -> Result<Vec<Month>, PurgeError> {
    let statement = "-- purge: partitions
        SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'usage_block'::regclass";
    let rows = client.fetch_all(statement, &[]).await?;
    let months = rows.iter().map(|row| {
        let name: &str = row.try_get("name")?;
        let month = month_of(name);
        Ok(month.ok_or_else(|| StoreError::corrupt(format!("{name}, a partition of usage_block, is of no month")))?)
    });
    months.collect()
}

/// Marks what goes; then deletes assets that only it refers to, which are the names of people and machines; then drops the
/// partitions. Whatever ends it between two of these, the next run goes on with the same months.
async fn purge_months(client: &mut Client, before: Month, months: &[(Month, Records)]) -> Result<u64, PurgeError> {
    let mark = "-- purge: mark months
        UPDATE usage_load SET records_purged_at = now()
        WHERE usage_month < $1 AND records_purged_at IS NULL AND record_count > 0";
    client.run(mark, &[&before.first_day()]).await?;
    let days: Vec<NaiveDate> = months.iter().map(|(month, _)| month.first_day()).collect();
    let tenants = "-- purge: tenants\nSELECT DISTINCT tenant_key FROM usage_load WHERE usage_month = ANY ($1)";
    let mut assets = 0;
    for row in client.fetch_all(tenants, &[&days]).await? {
        assets += delete_assets(client, row.try_get("tenant_key")?).await?;
    }
    for (month, _) in months {
        drop_month(client, *month).await?;
    }
    Ok(assets)
}

/// The loads of a tenant whose records are kept; with a moment, those that were published later.
async fn kept_loads(
    client: &impl Statements<Error = tokio_postgres::Error>,
    tenant: i64,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<i64>, PurgeError> {
    let statement = "-- purge: kept loads of a tenant
        SELECT load_id FROM usage_load WHERE tenant_key = $1 AND records_purged_at IS NULL AND ($2::timestamptz IS NULL OR published_at > $2)";
    let rows = client.fetch_all(statement, &[&tenant, &since]).await?;
    Ok(rows.iter().map(|row| row.try_get("load_id")).collect::<Result<_, _>>()?)
}

/// Deletes the assets of a tenant that no kept record refers to. They are found first, and only what was published since is
/// looked at under the lock, so imports wait for no more than that.
async fn delete_assets(client: &mut Client, tenant: i64) -> Result<u64, PurgeError> {
    let since = clock::last_published(client).await?;
    let kept = kept_loads(client, tenant, None).await?;
    let find = "-- purge: find assets
        SELECT a.asset_key FROM asset a
        WHERE a.tenant_key = $1 AND NOT EXISTS (
            SELECT FROM usage_record kept
            WHERE kept.tenant_key = $1 AND kept.load_id = ANY ($2) AND kept.asset_key = a.asset_key
        )";
    let found = client.fetch_all(find, &[&tenant, &kept]).await?;
    if found.is_empty() {
        return Ok(0);
    }
    let keys: Vec<i64> = found.iter().map(|row| row.try_get("asset_key")).collect::<Result<_, _>>()?;
    let delete = "-- purge: delete assets
        DELETE FROM asset a
        WHERE a.tenant_key = $1 AND a.asset_key = ANY ($2) AND NOT EXISTS (
            SELECT FROM usage_record kept
            WHERE kept.tenant_key = $1 AND kept.load_id = ANY ($3) AND kept.asset_key = a.asset_key
        )";
    for _ in 0..LOCK_TRIES {
        let transaction = client.transaction().await?;
        if locks::try_lock_assets(&transaction).await? {
            let kept = kept_loads(&transaction, tenant, Some(since)).await?;
            let deleted = transaction.run(delete, &[&tenant, &keys, &kept]).await?;
            transaction.commit().await?;
            return Ok(deleted);
        }
        drop(transaction);
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(PurgeError::Busy("imports were running all the time"))
}

/// Drops the partition of a month. What was imported into it meanwhile goes with it, and is marked; an import that has written to
/// it and not published yet cannot publish any more.
async fn drop_month(client: &mut Client, month: Month) -> Result<(), PurgeError> {
    let partition = partition_of(month);
    let day = month.first_day();
    let sql = format!(
        "/* purge: drop a month */ SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = '5s';
        LOCK TABLE ONLY usage_block IN ACCESS EXCLUSIVE MODE;
        SELECT discard_unpublished_import(unpublished_import_id) FROM unpublished_import
        WHERE '{day}' = ANY (usage_months);
        UPDATE usage_load SET records_purged_at = now()
        WHERE usage_month = '{day}' AND records_purged_at IS NULL AND record_count > 0;
        DROP TABLE {partition}",
        LOCK_LIMIT.as_millis()
    );
    for _ in 0..LOCK_TRIES {
        let transaction = client.transaction().await?;
        match transaction.run_script(&sql).await {
            Ok(()) => {
                transaction.commit().await?;
                return Ok(());
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                transaction.rollback().await?;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(PurgeError::Busy("the table of records was never free for a moment"))
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
