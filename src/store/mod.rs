//! PostgreSQL: the only place that knows SQL. Rows become values of the model here, once.

mod catalog;
mod clock;
mod copy;
mod costs;
mod error;
mod import;
mod lease;
mod loads;
mod meters;
mod migrate;
mod numeric;
mod records;
mod tenants;

use std::{str::FromStr as _, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use lease::Lease;
use tokio_postgres::{NoTls, config::SslMode};

pub use catalog::{CatalogChanges, CatalogError, Changes, apply as apply_catalog};
pub use clock::{AsOf, Horizon};
pub use costs::{CostTenant, MonthUsage, OrganizationCosts, Price};
pub use error::StoreError;
pub use import::{
    Assumed, ImportSession, ImportTenant, LoadInForce, LoadKey, NewLoad, NewTotal, Publication, PublishedLoad,
    RecordToWrite,
};
pub use loads::{Load, StoredTotal};
pub use meters::{MeterKey, Meters};
pub use migrate::{SchemaError, check_schema, migrate};
pub use records::{AssetKey, RecordFilter, RecordRow, RowRange};
pub use tenants::{
    TenantKey, TenantPage, TenantPosition, TenantSearch, TenantSummary, VisibleOrganization, VisibleTenant,
};

/// Where the database is, and how much of it to use.
#[derive(Clone)]
pub struct StoreConfig {
    /// A PostgreSQL connection URL or key-value string; it may hold a password, so it is never printed.
    pub database_url: String,
    /// Connections for short calls.
    pub short_connections: usize,
    /// Connections that streams take turns on.
    pub export_connections: usize,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long to wait for a connection, a free one or a new one.
    pub connect_timeout: Duration,
}

/// The database, by two pools: exports cannot starve short calls.
#[derive(Clone)]
pub struct Store {
    short: Pool,
    export: Pool,
}

// === impl StoreConfig ===

impl StoreConfig {
    /// The defaults for a database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            short_connections: 8,
            export_connections: 8,
            statement_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
        }
    }

    fn parsed(&self) -> Result<tokio_postgres::Config, StoreError> {
        parse_url(&self.database_url, self.connect_timeout)
    }

    fn pool(&self, size: usize) -> Result<Pool, StoreError> {
        let manager =
            Manager::from_config(self.parsed()?, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let settings = format!("SET statement_timeout = {}", self.statement_timeout.as_millis());
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(self.connect_timeout),
                create: Some(self.connect_timeout),
                recycle: Some(self.connect_timeout),
            })
            .post_create(Hook::async_fn(move |client, _| {
                let settings = settings.clone();
                Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

// === impl Store ===

impl Store {
    /// Makes the pools; connections come when they are needed.
    pub fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(Self { short: config.pool(config.short_connections)?, export: config.pool(config.export_connections)? })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let client = self.short().await?;
        let statement = client.prepare_cached("-- ping\nSELECT 1").await?;
        client.query_one(&statement, &[]).await?;
        Ok(())
    }

    async fn short(&self) -> Result<Lease, StoreError> {
        Ok(Lease::new(self.short.get().await?))
    }

    async fn export(&self) -> Result<Lease, StoreError> {
        Ok(Lease::new(self.export.get().await?))
    }
}

/// A connection of its own, outside the pools. It closes when the client is dropped.
async fn connect(database_url: &str, connect_timeout: Duration) -> Result<tokio_postgres::Client, StoreError> {
    let (client, connection) = parse_url(database_url, connect_timeout)?.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "a database connection ended");
        }
    });
    // A writer that was cut off must not hold its locks for ever.
    client.batch_execute("SET idle_in_transaction_session_timeout = '10min'").await?;
    Ok(client)
}

fn parse_url(database_url: &str, connect_timeout: Duration) -> Result<tokio_postgres::Config, StoreError> {
    // The error of the library may quote the text, and the text may hold a password.
    let mut config = tokio_postgres::Config::from_str(database_url).map_err(|_| {
        let reason = "DATABASE_URL is not a PostgreSQL connection URL or key-value string (sslmode: disable or prefer)";
        StoreError::Unavailable(reason.to_owned())
    })?;
    if config.get_ssl_mode() == SslMode::Require {
        let reason = "DATABASE_URL asks for TLS (sslmode), which this version cannot speak to the database";
        return Err(StoreError::Unavailable(reason.to_owned()));
    }
    config.application_name(env!("CARGO_PKG_NAME"));
    config.connect_timeout(connect_timeout);
    config.keepalives_idle(Duration::from_secs(60));
    Ok(config)
}
