//! Connections that calls take turns on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{ConnectOptions, DatabaseError, PooledConnection, session};
use crate::telemetry::metrics::PoolState;

/// How many connections, and how long what they do may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolOptions {
    pub(crate) size: usize,
    /// How long one statement may take.
    pub(crate) statement_timeout: Duration,
    /// How long to wait for a connection, a free one or a new one.
    pub(crate) connect_timeout: Duration,
}

#[derive(Clone)]
pub(crate) struct Pool {
    pool: deadpool_postgres::Pool,
    /// For connections that cancel statements.
    tls: MakeRustlsConnect,
    made: Arc<AtomicU64>,
}

// === impl Pool ===

impl Pool {
    /// Connections come when they are needed.
    pub(crate) fn new(target: &ConnectOptions, options: PoolOptions) -> Result<Self, DatabaseError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(target.config.clone(), target.hosts.clone(), fast);
        // Searches and filters differ by orders of magnitude in what they find, so one plan for all would be a bad one.
        let settings = format!(
            "SET statement_timeout = {}; SET plan_cache_mode = force_custom_plan;",
            options.statement_timeout.as_millis()
        );
        let made = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&made);
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(options.size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(options.connect_timeout),
                create: Some(options.connect_timeout),
                recycle: Some(options.connect_timeout),
            })
            .post_create(Hook::async_fn(move |client, _| {
                let settings = settings.clone();
                count.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    let unsuitable = session::prepare(client, &settings).await.map_err(HookError::Backend)?;
                    unsuitable.map_or(Ok(()), |reason| Err(HookError::message(reason)))
                })
            }))
            .build()
            .map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
        Ok(Self { pool, tls: target.tls.clone(), made })
    }

    /// A connection, for one call.
    pub(crate) async fn get(&self) -> Result<PooledConnection, DatabaseError> {
        Ok(PooledConnection::new(self.pool.get().await?, &self.tls))
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How the connections are used.
    pub(crate) fn state(&self, name: &'static str) -> PoolState {
        let status = self.pool.status();
        PoolState {
            pool: name,
            limit: status.max_size,
            open: status.size,
            used: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }
}
