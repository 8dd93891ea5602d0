//! Advisory locks: what each is for, and who takes it how. No program but this one should use these numbers, nor that of
//! `database/session.rs`, by which it tries whether such locks work at all.
//!
//! Whoever waits for another program for long says for which. Whoever publishes, or holds what a publisher waits for, is ended by
//! the database when it stops in the middle.

use std::{fmt, pin::pin, time::Duration};

use tokio_postgres::{Client, Error, Row, Transaction};

use crate::database::{Binds, DatabaseError, PooledConnection, Scripts as _, Statements};

/// Publishers, of loads and of prices, hold it for themselves from before they draw the time of their publication until they
/// commit.
const PUBLISH: i64 = 0x0053_4352_0000_0001;
/// Whoever migrates holds it for the session, so that replicas that start at once take turns.
const MIGRATE: i64 = 0x0053_4352_0000_0003;
/// A purge holds it for the session: one at a time.
const PURGE: i64 = 0x0053_4352_0000_0004;
/// Imports share it from when they look assets up until they have published. Who has it alone may delete assets that nothing
/// refers to.
const ASSETS: i64 = 0x0053_4352_0000_0005;
/// With the number of an import that has written records: it holds that from before it commits them until they are published or
/// deleted.
const UNPUBLISHED: i64 = 0x0055_0000_0000_0000;
/// Whoever applies a catalog holds it until the end: one at a time.
const CATALOG: i64 = 0x0053_4352_0000_0006;

/// Who waits for longer says for whom.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a turn to publish or to apply a catalog is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(300);
/// How long a transaction that others wait for may do nothing, or wait for a lock on a table.
const HOLDER_LIMIT: Duration = Duration::from_secs(5);
/// How long a migration waits for a lock on a table. It is then undone, and may be run again.
const MIGRATION_LIMIT: Duration = Duration::from_secs(20);

/// Who holds an advisory lock alone.
pub(super) struct Holder {
    /// The transaction; another one of the same program has another number.
    transaction: String,
    process: i32,
    account: Option<String>,
    program: Option<String>,
}

// === impl Holder ===

impl Holder {
    /// Whether it is the same program in the same transaction.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.transaction == other.transaction
    }

    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            transaction: row.try_get("transaction")?,
            process: row.try_get("pid")?,
            account: row.try_get("account")?,
            program: row.try_get("program")?,
        })
    }

    /// Whoever publishes now.
    pub(super) async fn of_publishing(connection: &PooledConnection) -> Result<Option<Self>, DatabaseError> {
        let row = connection.fetch_optional(HOLDER, &[&PUBLISH]).await?;
        Ok(row.as_ref().map(Self::from_row).transpose()?)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let (account, program) = (or_unknown(&self.account), or_unknown(&self.program));
        write!(f, "process {} of the database (account {account}, program {program})", self.process)
    }
}

const HOLDER: &str = "-- lock_holder
    SELECT l.virtualtransaction AS transaction, l.pid, a.usename::text AS account, a.application_name AS program
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid::bigint = $1::bigint >> 32 AND l.objid::bigint = $1::bigint & 4294967295 AND l.objsubid = 1";

/// Waits for a lock; `observer` looks who has it.
async fn wait_for<T>(
    lock: i64,
    what: &str,
    observer: &Client,
    locked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut locked = pin!(locked);
    tokio::select! {
        locked = &mut locked => return locked,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    match observer.fetch_optional(HOLDER, &[&lock]).await {
        Ok(Some(row)) => tracing::warn!("waiting for {} to {what}", Holder::from_row(&row)?),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "waiting to {what}; it cannot be said for whom"),
    }
    locked.await
}

/// From now on, the transaction waits for so long for a lock.
async fn limit_waits(transaction: &Transaction<'_>) -> Result<(), Error> {
    let limit = format!("-- lock: limit\nSET LOCAL lock_timeout = {}", TURN_LIMIT.as_millis());
    transaction.run_script(&limit).await
}

/// Waits for a turn, which lasts to the end of the transaction. `statement` takes the lock.
async fn wait_for_turn(
    transaction: &Transaction<'_>,
    lock: i64,
    statement: &str,
    what: &str,
    observer: &Client,
) -> Result<(), Error> {
    limit_waits(transaction).await?;
    let binds: Binds<'_> = &[&lock];
    let locked = transaction.run(statement, binds);
    wait_for(lock, what, observer, locked).await?;
    Ok(())
}

/// Others wait for this transaction from now on: one that does nothing is ended, and it waits for nobody for long.
async fn be_quick(transaction: &Transaction<'_>) -> Result<(), Error> {
    let millis = HOLDER_LIMIT.as_millis();
    let limits = format!(
        "-- lock: limits\nSET LOCAL lock_timeout = {millis}; SET LOCAL idle_in_transaction_session_timeout = {millis}"
    );
    transaction.run_script(&limits).await
}

/// Takes the publish lock for the rest of the transaction, which should be short.
pub(super) async fn lock_publishing(transaction: &Transaction<'_>, observer: &Client) -> Result<(), Error> {
    let statement = "-- lock_publishing\nSELECT pg_advisory_xact_lock($1)";
    wait_for_turn(transaction, PUBLISH, statement, "publish", observer).await?;
    be_quick(transaction).await
}

/// Waits for other catalogs, and keeps them away for the rest of the transaction.
pub(super) async fn lock_catalog(transaction: &Transaction<'_>, observer: &Client) -> Result<(), Error> {
    let statement = "-- lock_catalog\nSELECT pg_advisory_xact_lock($1)";
    wait_for_turn(transaction, CATALOG, statement, "apply its catalog", observer).await
}

/// Waits for other migrations, and keeps them away for the rest of the session.
pub(super) async fn lock_migrations(client: &Client, observer: &Client) -> Result<(), Error> {
    let limit = |millis: u128| format!("-- migrate: limit\nSET lock_timeout = {millis}");
    client.run_script(&limit(TURN_LIMIT.as_millis())).await?;
    let locked = client.run("-- migrate: lock\nSELECT pg_advisory_lock($1)", &[&MIGRATE]);
    wait_for(MIGRATE, "migrate", observer, locked).await?;
    // A migration that waits for a table has everyone else wait behind it.
    client.run_script(&limit(MIGRATION_LIMIT.as_millis())).await
}

/// Keeps other purges away; `false`: one is running.
pub(super) async fn try_lock_purge(client: &Client) -> Result<bool, Error> {
    client.fetch_one("-- purge: lock\nSELECT pg_try_advisory_lock($1) AS locked", &[&PURGE]).await?.try_get("locked")
}

pub(super) async fn unlock_purge(client: &Client) -> Result<(), Error> {
    client.run("-- purge: unlock\nSELECT pg_advisory_unlock($1)", &[&PURGE]).await.map(drop)
}

/// Keeps the assets that are found or made from now on from being purged before records that refer to them are published. The
/// session holds it until [`release_all`].
pub(super) async fn share_assets(transaction: &Transaction<'_>, observer: &Client) -> Result<(), Error> {
    limit_waits(transaction).await?;
    let locked = transaction.run("-- lock_assets\nSELECT pg_advisory_lock_shared($1)", &[&ASSETS]);
    wait_for(ASSETS, "delete assets", observer, locked).await?;
    Ok(())
}

/// Waits for imports that are writing, and keeps others from beginning to, for the transaction.
pub(super) async fn wait_for_imports(transaction: &Transaction<'_>, observer: &Client) -> Result<(), Error> {
    let locked = transaction.run("-- distribute: lock\nSELECT pg_advisory_xact_lock($1)", &[&ASSETS]);
    wait_for(ASSETS, "spread records", observer, locked).await.map(drop)
}

/// Says that an import with records that are not published is running. The session holds it until [`release_all`].
pub(super) async fn own_unpublished(transaction: &Transaction<'_>, import: i64) -> Result<(), Error> {
    let statement = "-- lock_unpublished\nSELECT pg_advisory_lock($1)";
    transaction.run(statement, &[&(UNPUBLISHED | import)]).await.map(drop)
}

/// Whether an import with records that are not published has ended; then nobody else deletes them until the transaction ends.
pub(super) async fn try_lock_unpublished(transaction: &Transaction<'_>, import: i64) -> Result<bool, Error> {
    let statement = "-- sweep: lock\nSELECT pg_try_advisory_xact_lock($1) AS locked";
    transaction.fetch_one(statement, &[&(UNPUBLISHED | import)]).await?.try_get("locked")
}

/// Lets go of what the session holds beyond its transactions.
pub(super) async fn release_all(client: &Client) -> Result<(), Error> {
    client.run("-- unlock_all\nSELECT pg_advisory_unlock_all()", &[]).await.map(drop)
}

/// Keeps imports from looking assets up until the transaction ends; `false`: some are running. It is not waited for, since
/// imports would wait behind it.
pub(super) async fn try_lock_assets(transaction: &Transaction<'_>) -> Result<bool, Error> {
    let statement = "-- purge: assets\nSELECT pg_try_advisory_xact_lock($1) AS locked";
    let locked = transaction.fetch_one(statement, &[&ASSETS]).await?.try_get("locked")?;
    if locked {
        be_quick(transaction).await?;
    }
    Ok(locked)
}
