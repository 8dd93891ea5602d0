//! PostgreSQL: the only place that knows SQL. Rows become values of the model here, once.

mod admin;
mod blocks;
mod catalog;
mod clock;
mod costs;
mod error;
mod loads;
mod locks;
mod meters;
mod publication;
mod scope;
mod tenants;

use std::time::Duration;

use crate::{
    database::{ConnectOptions, Pool, PoolOptions, PooledConnection, Statements as _},
    model::UtcTime,
    telemetry::metrics::PoolState,
};

pub use admin::{
    Access, Grant, GrantError, PurgeError, PurgeRules, Purged, Records, SchemaError, check_schema, grant, migrate,
    present_month, purge,
};
pub use blocks::{
    AssetKey, BLOCK_ROWS, BlockRange, RecordBlock, RecordFilter, RecordRow, RecordRows, StoredDimensions, block_of,
};
pub use catalog::{CatalogChanges, CatalogError, Changes, apply as apply_catalog};
pub use clock::{AsOf, SnapshotTime};
pub use costs::{CostMonth, CostTenant, MonthUsage, OrganizationCosts, Price};
pub use error::StoreError;
pub use loads::{Load, StoredTotal};
pub use meters::{MeterKey, Meters};
pub use publication::{
    Assumed, Coverage, ImportSession, ImportTenant, LoadInForce, LoadKey, NewLoad, NewTotal, OmittedDay, Publication,
    PublishedLoad, RecordToWrite, UnicodeAsset,
};
pub use tenants::{
    Hidden, Lookup, TenantKey, TenantPage, TenantPosition, TenantSearch, TenantSummary, VisibleOrganization,
    VisibleTenant,
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

/// The database, by pools: exports cannot starve short calls, and neither can keep health from being looked at.
#[derive(Clone)]
pub struct Store {
    short: Pool,
    export: Pool,
    /// One connection, for looking whether the database is there.
    health: Pool,
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

    fn pool(&self, target: &ConnectOptions, size: usize) -> Result<Pool, StoreError> {
        let options =
            PoolOptions { size, statement_timeout: self.statement_timeout, connect_timeout: self.connect_timeout };
        Ok(Pool::new(target, options)?)
    }
}

// === impl Store ===

impl Store {
    /// Makes the pools; connections come when they are needed.
    pub fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        let target = ConnectOptions::parse(&config.database_url, config.connect_timeout)?;
        let short = config.pool(&target, config.short_connections)?;
        let export = config.pool(&target, config.export_connections)?;
        let health = config.pool(&target, 1)?;
        Ok(Self { short, export, health })
    }

    /// Grows whenever a connection is made for exports: behind it may be another database than before, one that was
    /// restored, say. Whoever keeps what exports read keeps it for one epoch.
    pub fn epoch(&self) -> u64 {
        self.export.made()
    }

    /// When the newest load was published.
    pub async fn newest_load(&self) -> Result<Option<UtcTime>, StoreError> {
        let client = self.health().await?;
        // Imports that run side by side may draw their numbers in another order than they publish in.
        let statement = "-- newest_load
            SELECT max(published_at) AS published_at
            FROM (SELECT published_at FROM usage_import ORDER BY import_id DESC LIMIT 20) AS newest";
        let row = client.fetch_one(statement, &[]).await?;
        Ok(row.try_get::<_, Option<_>>("published_at")?.map(UtcTime::from_chrono))
    }

    /// How the connections to the database are used.
    pub fn pools(&self) -> Vec<PoolState> {
        vec![self.short.state("short"), self.export.state("export")]
    }

    async fn short(&self) -> Result<PooledConnection, StoreError> {
        Ok(self.short.get().await?)
    }

    async fn health(&self) -> Result<PooledConnection, StoreError> {
        Ok(self.health.get().await?)
    }

    async fn export(&self) -> Result<PooledConnection, StoreError> {
        Ok(self.export.get().await?)
    }
}
