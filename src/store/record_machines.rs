//! Connections to the machines that records lie on: what a tenant has is read where it is.

use std::{
    collections::HashMap,
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use super::{StoreConfig, StoreError};
use crate::{
    database::{ConnectOptions, DatabaseError, Pool, PooledConnection, Statements as _},
    telemetry::metrics::PoolState,
};

/// How long it is remembered where a tenant is. Once it is elsewhere, the machine asks that one.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Of so many tenants.
const MOST_KNOWN: usize = 100_000;

/// Workers of Citus.
pub(super) struct RecordMachines {
    machines: Vec<Machine>,
    /// The machine of each tenant, by its position; `None` where it is not one of these.
    places: Mutex<HashMap<i64, (Option<usize>, Instant)>>,
    strangers: Once,
}

struct Machine {
    host: String,
    port: u16,
    pool: Pool,
}

// === impl RecordMachines ===

impl RecordMachines {
    /// The hosts of a connection string; connections come when they are needed.
    pub(super) fn new(config: &StoreConfig, url: &str) -> Result<Self, StoreError> {
        let options = ConnectOptions::parse(url, config.connect_timeout)?;
        let machine = |(host, port, options): (String, u16, ConnectOptions)| {
            Ok::<_, StoreError>(Machine { host, port, pool: config.pool(&options, config.export_connections)? })
        };
        let machines = options.each_host().into_iter().map(machine).collect::<Result<Vec<_>, _>>()?;
        if machines.is_empty() {
            return Err(DatabaseError::InvalidOptions("--records-database-url names no host".to_owned()).into());
        }
        Ok(Self { machines, places: Mutex::default(), strangers: Once::new() })
    }

    /// A connection to the machine of a tenant; `None` where it is not among these, and the coordinator has to ask it. It knows which
    /// one it is.
    pub(super) async fn connection(
        &self,
        tenant: i64,
        coordinator: &Pool,
    ) -> Result<Option<PooledConnection>, StoreError> {
        let place = match self.known(tenant) {
            Some(place) => place,
            None => self.find(tenant, coordinator).await?,
        };
        let Some(place) = place else { return Ok(None) };
        let connection = self.machines[place].pool.get().await;
        if connection.is_err() {
            // It may be elsewhere by now.
            self.forget(tenant);
        }
        Ok(Some(connection?))
    }

    /// Has the coordinator asked anew.
    pub(super) fn forget(&self, tenant: i64) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
    }

    fn known(&self, tenant: i64) -> Option<Option<usize>> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&tenant).filter(|(_, since)| since.elapsed() < KNOWN_FOR).map(|&(place, _)| place)
    }

    async fn find(&self, tenant: i64, coordinator: &Pool) -> Result<Option<usize>, StoreError> {
        let statement = "-- machine_of_tenant
            SELECT n.nodename::text AS host, n.nodeport AS port
            FROM pg_catalog.pg_dist_placement p JOIN pg_catalog.pg_dist_node n ON n.groupid = p.groupid
            WHERE p.shardid = get_shard_id_for_distribution_column('asset', $1::bigint) AND n.noderole = 'primary'
            ORDER BY p.placementid LIMIT 1";
        let row = coordinator.get().await?.fetch_one(statement, &[&tenant]).await?;
        let (host, port): (String, i32) = (row.try_get("host")?, row.try_get("port")?);
        let is_it = |machine: &Machine| machine.host == host && i32::from(machine.port) == port;
        let place = self.machines.iter().position(is_it);
        if place.is_none() {
            self.strangers.call_once(|| {
                tracing::warn!(
                    "the records database has no host {host}:{port}, which Citus has records on: they are read by the coordinator, which is slower"
                );
            });
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST_KNOWN {
            places.clear();
        }
        places.insert(tenant, (place, Instant::now()));
        Ok(place)
    }

    /// Differs where a new connection leads to something else than the one before it did.
    pub(super) fn identity(&self) -> u64 {
        self.machines.iter().fold(0, |all, machine| all.rotate_left(1) ^ machine.pool.identity())
    }

    /// How the connections to all machines are used.
    pub(super) fn state(&self) -> PoolState {
        let none = PoolState { pool: "records", limit: 0, open: 0, used: 0, waiting: 0 };
        self.machines.iter().fold(none, |all, machine| {
            let PoolState { pool, limit, open, used, waiting } = machine.pool.state("records");
            PoolState {
                pool,
                limit: all.limit + limit,
                open: all.open + open,
                used: all.used + used,
                waiting: all.waiting + waiting,
            }
        })
    }
}
