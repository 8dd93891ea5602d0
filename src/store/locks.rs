//! Advisory locks: what each is for, and who takes it how. No program but this one should use these numbers.

use tokio_postgres::{Client, Error, Row, Transaction};

use crate::database::{DatabaseError, PooledConnection, Statements as _};

/// Publishers, of loads and of prices, hold it for themselves from before they draw the time of their publication until they
/// commit. Readers that name a moment share it while they read the clock of the database, so that no publication can appear
/// at or before that moment later.
const PUBLISH: i64 = 0x0053_4352_0000_0001;
/// Whoever migrates holds it for the session, so that replicas that start at once take turns.
const MIGRATE: i64 = 0x0053_4352_0000_0003;
/// A purge holds it for the session: one at a time.
const PURGE: i64 = 0x0053_4352_0000_0004;
/// Imports share it from when they look assets up until they commit. Who has it alone may delete assets that nothing refers
/// to.
const ASSETS: i64 = 0x0053_4352_0000_0005;

/// Takes the publish lock for the rest of the transaction.
pub(super) async fn lock_publishing(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.run("-- lock_publishing\nSELECT pg_advisory_xact_lock($1)", &[&PUBLISH]).await.map(drop)
}

/// The present (`now`), read while the publish lock is shared, and whether this is a `standby`, which sees no locks of the
/// primary. It waits for a publisher that has drawn its time and not committed yet.
pub(super) async fn present_between_publications(connection: &PooledConnection) -> Result<Row, DatabaseError> {
    // The lock is held to the end of the statement. In another one, the present could be read after a later publisher has
    // drawn its time.
    let statement = "-- snapshot_as_of
        WITH waited AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1))
        SELECT clock_timestamp() AS now, pg_is_in_recovery() AS standby FROM waited";
    connection.fetch_one(statement, &[&PUBLISH]).await
}

/// Waits for other migrations, and keeps them away for the rest of the session.
pub(super) async fn lock_migrations(client: &Client) -> Result<(), Error> {
    client.run("-- migrate: lock\nSELECT pg_advisory_lock($1)", &[&MIGRATE]).await.map(drop)
}

/// Keeps other purges away; `false`: one is running.
pub(super) async fn try_lock_purge(client: &Client) -> Result<bool, Error> {
    client.fetch_one("-- purge: lock\nSELECT pg_try_advisory_lock($1) AS locked", &[&PURGE]).await?.try_get("locked")
}

pub(super) async fn unlock_purge(client: &Client) -> Result<(), Error> {
    client.run("-- purge: unlock\nSELECT pg_advisory_unlock($1)", &[&PURGE]).await.map(drop)
}

/// Keeps the assets that are found or made from now on from being purged before the transaction's records refer to them.
pub(super) async fn share_assets(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.run("-- lock_assets\nSELECT pg_advisory_xact_lock_shared($1)", &[&ASSETS]).await.map(drop)
}

/// Keeps imports from looking assets up until the transaction ends; `false`: some are running. It is not waited for, since
/// imports would wait behind it.
pub(super) async fn try_lock_assets(transaction: &Transaction<'_>) -> Result<bool, Error> {
    let statement = "-- purge: assets\nSELECT pg_try_advisory_xact_lock($1) AS locked";
    transaction.fetch_one(statement, &[&ASSETS]).await?.try_get("locked")
}
