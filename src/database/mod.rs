//! PostgreSQL without the words of our domain: how to connect, pools, COPY, exact numbers, and what can go wrong.

pub(crate) mod copy_in;
pub(crate) mod copy_out;
mod error;
mod hosts;
pub(crate) mod numeric;
mod options;
mod pool;
mod pooled;
mod tls;

pub use error::DatabaseError;
pub(crate) use options::ConnectOptions;
pub(crate) use pool::{Pool, PoolOptions};
pub(crate) use pooled::PooledConnection;

/// A connection of its own, outside the pools. It closes when the client is dropped.
pub(crate) async fn connect(
    database_url: &str,
    connect_timeout: std::time::Duration,
) -> Result<tokio_postgres::Client, DatabaseError> {
    ConnectOptions::parse(database_url, connect_timeout)?.connect().await
}
