//! PostgreSQL without the words of our domain: how to connect, pools, statements, COPY, exact numbers, and what can go wrong.

#![allow(clippy::disallowed_methods, reason = "everything else runs statements by what is here")]

mod connection_string;
pub(crate) mod copy_in;
pub(crate) mod copy_out;
mod error;
mod hosts;
pub(crate) mod numeric;
mod options;
mod pool;
mod pooled;
mod session;
mod statement;
mod tls;

pub use error::DatabaseError;
pub(crate) use options::{ConnectOptions, connect};
pub(crate) use pool::{Pool, PoolOptions};
pub(crate) use pooled::PooledConnection;
pub(crate) use statement::{Binds, PreparedStatement, Scripts, Statements};
