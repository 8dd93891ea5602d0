//! Connections that calls take turns on.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{ConnectOptions, DatabaseError, PooledConnection, pooled::PLAN_ANEW, session};
use crate::telemetry::metrics::PoolState;

/// How many connections, and how long what they do may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolOptions {
    pub(crate) size: usize,
    /// How long one statement may take.
    pub(crate) statement_timeout: Duration,
    /// How long to wait for a connection, a free one or a new one.
    pub(crate) connect_timeout: Duration,
    /// A query whose one value tells what a connection leads to.
    pub(crate) identity: &'static str,
}

#[derive(Clone)]
pub(crate) struct Pool {
    pool: deadpool_postgres::Pool,
    /// For connections that cancel statements.
    tls: MakeRustlsConnect,
    /// A digest of the newest connection's identity.
    identity: Arc<AtomicU64>,
}

// === impl Pool ===

impl Pool {
    /// Connections come when they are needed.
    pub(crate) fn new(target: &ConnectOptions, options: PoolOptions) -> Result<Self, DatabaseError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(target.config.clone(), target.hosts.clone(), fast);
        let settings = format!("SET statement_timeout = {}; {PLAN_ANEW};", options.statement_timeout.as_millis());
        let identity = Arc::new(AtomicU64::new(0));
        let newest = Arc::clone(&identity);
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
                let newest = Arc::clone(&newest);
                Box::pin(async move {
                    if let Some(unsuitable) = session::prepare(client, &settings).await.map_err(HookError::Backend)? {
                        return Err(HookError::message(unsuitable));
                    }
                    let answer = client.simple_query(options.identity).await.map_err(HookError::Backend)?;
                    newest.store(digest(&answer), Ordering::Relaxed);
                    Ok(())
                })
            }))
            .build()
            .map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
        Ok(Self { pool, tls: target.tls.clone(), identity })
    }

    /// A connection, for one call.
    pub(crate) async fn get(&self) -> Result<PooledConnection, DatabaseError> {
        Ok(PooledConnection::new(self.pool.get().await?, &self.tls))
    }

    /// Differs where the newest connection leads to something else than the one before it did.
    pub(crate) fn identity(&self) -> u64 {
        self.identity.load(Ordering::Relaxed)
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

/// A digest of the values that were queried.
fn digest(answer: &[SimpleQueryMessage]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in answer {
        if let SimpleQueryMessage::Row(row) = message {
            row.get(0).hash(&mut hasher);
        }
    }
    hasher.finish()
}
