//! The database, by pools: what runs long on one cannot keep what is short on another from running.

use std::{sync::Arc, time::Duration};

use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::{StoreError, cost_turns::CostTurns, import_connections::IdleConnections, record_machines::RecordMachines};
use crate::{
    database::{ConnectOptions, DatabaseError, Pool, PoolOptions, PooledConnection},
    telemetry::metrics::PoolState,
};

/// Where the database is, and how much of it to use.
#[derive(Clone)]
pub struct StoreConfig {
    /// A PostgreSQL connection URL or key-value string; it may hold a password, so it is never printed.
    pub database_url: String,
    /// The workers of Citus, as the hosts of one connection string: records that are spread are read where they are. `None`: by
    /// the database.
    pub records_database_url: Option<String>,
    /// Connections for short calls.
    pub short_connections: usize,
    /// Connections that streams take turns on.
    pub export_connections: usize,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long to wait for a connection, a free one or a new one.
    pub connect_timeout: Duration,
    /// How far the clocks of this machine and the database may differ where something is published.
    pub max_clock_skew: Duration,
}

/// The database, by pools: exports cannot starve short calls, and neither can keep health from being looked at.
#[derive(Clone)]
pub struct Store {
    short: Pool,
    export: Pool,
    /// One connection, for looking whether the database is there.
    health: Pool,
    /// Where records are read, if not by `export`.
    record_machines: Option<Arc<RecordMachines>>,
    options: ConnectOptions,
    pub(super) statement_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_clock_skew: Duration,
    pub(super) cost_turns: Arc<CostTurns>,
    /// Who computes revisions ahead of an import.
    pub(super) revisions_turn: Arc<tokio::sync::Mutex<()>>,
    /// For imports.
    pub(super) idle_imports: Arc<IdleConnections>,
    /// Set once connections were found to have sessions of their own, with locks that work.
    has_suitable_sessions: Arc<OnceCell<()>>,
}

/// A database that was restored is served by a process that started later, or has tables that were made anew.
const IDENTITY: &str = "SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
           (SELECT oid FROM pg_database WHERE datname = current_database()),
           to_regclass('asset')::oid, pg_relation_filenode(to_regclass('asset')))";

// === impl StoreConfig ===

impl StoreConfig {
    /// The defaults for a database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            records_database_url: None,
            short_connections: 8,
            export_connections: 8,
            statement_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            max_clock_skew: Duration::from_secs(300),
        }
    }

    pub(super) fn pool(&self, target: &ConnectOptions, size: usize) -> Result<Pool, StoreError> {
        let options = PoolOptions {
            size,
            statement_timeout: self.statement_timeout,
            connect_timeout: self.connect_timeout,
            identity: IDENTITY,
        };
        Ok(Pool::new(target, options)?)
    }
}

// === impl Store ===

impl Store {
    /// Makes the pools; connections come when they are needed.
    pub fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        let options = ConnectOptions::parse(&config.database_url, config.connect_timeout)?;
        let short = config.pool(&options, config.short_connections)?;
        let export = config.pool(&options, config.export_connections)?;
        let health = config.pool(&options, 1)?;
        let url = config.records_database_url.as_deref();
        let record_machines = url.map(|url| RecordMachines::new(config, url)).transpose()?.map(Arc::new);
        Ok(Self {
            record_machines,
            short,
            export,
            health,
            options,
            statement_timeout: config.statement_timeout,
            connect_timeout: config.connect_timeout,
            max_clock_skew: config.max_clock_skew,
            cost_turns: Arc::new(CostTurns::new(config.short_connections)),
            revisions_turn: Arc::default(),
            idle_imports: Arc::default(),
            has_suitable_sessions: Arc::default(),
        })
    }

    /// Makes sure, once, that connections have sessions of their own, with locks that work; returns two where they were opened for it.
    pub(super) async fn suitable_sessions(&self) -> Result<Option<(Client, Client)>, StoreError> {
        let mut opened = None;
        let compare = async || {
            opened = Some(self.options.suitable_sessions().await?);
            Ok::<(), DatabaseError>(())
        };
        self.has_suitable_sessions.get_or_try_init(compare).await?;
        Ok(opened)
    }

    /// Tells apart the databases that connections lead to: behind a new one may be another than before, one that was
    /// restored, say. Whoever keeps what was read keeps it for one epoch.
    pub fn epoch(&self) -> u64 {
        let records = self.record_machines.as_ref().map_or(0, |machines| machines.identity());
        records.rotate_left(2) ^ self.export.identity().rotate_left(1) ^ self.short.identity()
    }

    /// How the connections to the database are used.
    pub fn pools(&self) -> Vec<PoolState> {
        let mut pools = vec![self.short.state("short"), self.export.state("export")];
        pools.extend(self.record_machines.as_ref().map(|machines| machines.state()));
        pools
    }

    /// A connection of its own.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        Ok(self.options.connect().await?)
    }

    pub(super) async fn short(&self) -> Result<PooledConnection, StoreError> {
        Ok(self.short.get().await?)
    }

    pub(super) async fn health(&self) -> Result<PooledConnection, StoreError> {
        Ok(self.health.get().await?)
    }

    /// A connection that reads the records of a tenant.
    pub(super) async fn records_of(&self, tenant: i64) -> Result<PooledConnection, StoreError> {
        if let Some(machines) = &self.record_machines
            && let Some(connection) = machines.connection(tenant, &self.short).await?
        {
            return Ok(connection);
        }
        Ok(self.export.get().await?)
    }

    /// Has it asked anew where a tenant's records are.
    pub(super) fn forget_place(&self, tenant: i64) {
        if let Some(machines) = &self.record_machines {
            machines.forget(tenant);
        }
    }

    /// Whether records are read elsewhere than by the database.
    pub(super) fn reads_records_apart(&self) -> bool {
        self.record_machines.is_some()
    }
}
