//! PostgreSQL: the only place that knows SQL. Rows become values of the model here, once.

mod block;
mod catalog;
mod clock;
mod copy;
mod copy_out;
mod costs;
mod error;
mod grants;
mod hosts;
mod import;
mod lease;
mod loads;
mod meters;
mod migrate;
mod numeric;
mod purge;
mod records;
mod target;
mod tenant_list;
mod tenants;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use lease::Lease;
use target::Target;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{model::UtcTime, telemetry::metrics::PoolState};

pub use block::{AssetKey, BLOCK_ROWS, RecordBlock, RecordKind, RecordRow, RecordRows, block_of};
pub use catalog::{CatalogChanges, CatalogError, Changes, apply as apply_catalog};
pub use clock::{AsOf, Horizon};
pub use costs::{CostMonth, CostTenant, MonthUsage, OrganizationCosts, Price};
pub use error::StoreError;
pub use grants::{Access, Grant, GrantError, grant};
pub use import::{
    Assumed, Coverage, ImportSession, ImportTenant, LoadInForce, LoadKey, NewLoad, NewTotal, OmittedDay, Publication,
    PublishedLoad, RecordToWrite, UnicodeAsset,
};
pub use loads::{Load, StoredTotal};
pub use meters::{MeterKey, Meters};
pub use migrate::{SchemaError, check_schema, migrate};
pub use purge::{PurgeError, PurgeRules, Purged, Records, present_month, purge};
pub use records::{BlockRange, RecordFilter};
pub use tenant_list::{TenantPage, TenantPosition, TenantSearch, TenantSummary};
pub use tenants::{Hidden, Lookup, TenantKey, VisibleOrganization, VisibleTenant};

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
    watch: Pool,
    /// How many connections were made for exports.
    epoch: Arc<AtomicU64>,
    /// For connections that cancel statements.
    tls: MakeRustlsConnect,
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

    /// `made` counts connections.
    fn pool(&self, target: &Target, size: usize, made: Arc<AtomicU64>) -> Result<Pool, StoreError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(target.config.clone(), target.hosts.clone(), fast);
        // Searches and filters differ by orders of magnitude in what they find, so one plan for all would be a bad one. They
        // end early, too, where the planner thinks of all rows: compiling a statement would take longer than running it.
        let settings = format!(
            "SET statement_timeout = {}; SET plan_cache_mode = force_custom_plan; SET jit = off",
            self.statement_timeout.as_millis()
        );
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
                made.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    client.batch_execute(&settings).await.map_err(HookError::Backend)?;
                    target::watch_client(client).await.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

// === impl Store ===

impl Store {
    /// Makes the pools; connections come when they are needed.
    pub fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        let target = Target::parse(&config.database_url, config.connect_timeout)?;
        let epoch = Arc::new(AtomicU64::new(0));
        let short = config.pool(&target, config.short_connections, Arc::default())?;
        let export = config.pool(&target, config.export_connections, Arc::clone(&epoch))?;
        let watch = config.pool(&target, 1, Arc::default())?;
        Ok(Self { short, export, watch, epoch, tls: target.tls })
    }

    /// Grows whenever a connection is made for exports: behind it may be another database than before, one that was
    /// restored, say. Whoever keeps what exports read keeps it for one epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// When the newest load was published.
    pub async fn newest_load(&self) -> Result<Option<UtcTime>, StoreError> {
        let client = self.watch().await?;
        // Imports that run side by side may draw their numbers in another order than they publish in.
        let statement = client
            .prepare_cached(
                "-- newest_load
                SELECT max(published_at) AS published_at
                FROM (SELECT published_at FROM usage_import ORDER BY import_id DESC LIMIT 20) AS newest",
            )
            .await?;
        let row = client.query_one(&statement, &[]).await?;
        Ok(row.try_get::<_, Option<_>>("published_at")?.map(UtcTime::from_chrono))
    }

    /// How the connections to the database are used.
    pub fn pools(&self) -> Vec<PoolState> {
        let state = |name, pool: &Pool| {
            let status = pool.status();
            PoolState {
                pool: name,
                limit: status.max_size,
                open: status.size,
                used: status.size.saturating_sub(status.available),
                waiting: status.waiting,
            }
        };
        vec![state("short", &self.short), state("export", &self.export)]
    }

    async fn short(&self) -> Result<Lease, StoreError> {
        Ok(Lease::new(self.short.get().await?, &self.tls))
    }

    async fn watch(&self) -> Result<Lease, StoreError> {
        Ok(Lease::new(self.watch.get().await?, &self.tls))
    }

    async fn export(&self) -> Result<Lease, StoreError> {
        Ok(Lease::new(self.export.get().await?, &self.tls))
    }
}

/// A connection of its own, outside the pools. It closes when the client is dropped.
async fn connect(database_url: &str, connect_timeout: Duration) -> Result<tokio_postgres::Client, StoreError> {
    Target::parse(database_url, connect_timeout)?.connect().await
}
