//! Spreads records and assets over the machines of Citus, by tenant.

use std::time::Duration;

use tokio_postgres::Client;

use super::migrate::{SchemaError, compare};
use crate::{
    database::{ConnectOptions, DatabaseError, Scripts as _, Statements as _},
    store::{Layout, StoreError, locks},
};

/// What became of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// The machines that they may lie on.
    pub workers: u32,
    /// Whether they lay together before.
    pub is_new: bool,
}

/// Spreads the tables of records over the workers of Citus, all of it or nothing; where that was done before, nothing changes. The
/// schema is this program's.
pub async fn distribute(database_url: &str) -> Result<Distributed, SchemaError> {
    let options = ConnectOptions::parse(database_url, Duration::from_secs(10)).map_err(StoreError::from)?;
    let mut client = options.connect().await.map_err(StoreError::from)?;
    let observer = options.connect().await.map_err(StoreError::from)?;
    locks::lock_migrations(&client, &observer).await.map_err(StoreError::from)?;
    compare(&client).await?;
    Ok(spread(&mut client, &observer).await?)
}

async fn spread(client: &mut Client, observer: &Client) -> Result<Distributed, StoreError> {
    let layout = Layout::of(client).await?;
    if layout == Layout::Together {
        return Err(unsuitable(
            "there is no Citus in this database: CREATE EXTENSION citus on it and on its workers first",
        ));
    }
    let workers = workers(client).await?;
    if workers == 0 {
        return Err(unsuitable("Citus has no workers: add them first with SELECT citus_add_node('HOST', PORT)"));
    }
    if layout == Layout::Apart {
        forget_what_was_here(client).await?;
        return Ok(Distributed { workers, is_new: false });
    }
    let transaction = client.transaction().await?;
    locks::wait_for_imports(&transaction, observer).await?;
    // The function that makes partitions runs as their owner, wherever it is called.
    transaction
        .run_script(
            "-- distribute
            SET LOCAL citus.multi_shard_modify_mode TO 'sequential';
            SET LOCAL citus.shard_replication_factor TO 1;
            SELECT create_distributed_table('asset', 'tenant_key', colocate_with => 'none');
            SELECT create_distributed_table('usage_block', 'tenant_key', colocate_with => 'asset')",
        )
        .await?;
    transaction.commit().await?;
    forget_what_was_here(client).await?;
    Ok(Distributed { workers, is_new: true })
}

/// Citus keeps the rows that it has copied, where nobody sees them.
async fn forget_what_was_here(client: &Client) -> Result<(), StoreError> {
    let truncate = "-- distribute: forget
        SELECT truncate_local_data_after_distributing_table('asset');
        SELECT truncate_local_data_after_distributing_table('usage_block')";
    Ok(client.run_script(truncate).await?)
}

fn unsuitable(why: &str) -> StoreError {
    DatabaseError::Unsuitable(why.to_owned()).into()
}

async fn workers(client: &Client) -> Result<u32, StoreError> {
    let statement = "-- workers
        SELECT count(*) AS workers FROM pg_catalog.pg_dist_node
        WHERE noderole = 'primary' AND isactive AND shouldhaveshards";
    Ok(u32::try_from(client.fetch_one(statement, &[]).await?.try_get::<_, i64>("workers")?).unwrap_or(u32::MAX))
}
