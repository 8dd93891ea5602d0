//! One way to run a statement: prepared, with its binds, in a span that has the name of its first comment.

use std::{borrow::Cow, future::Future};

use tokio_postgres::{Client, GenericClient, Row, Statement, types::ToSql};
use tracing::Instrument as _;

use crate::telemetry::traces;

/// The values of `$1`, `$2`, ...
pub(crate) type Binds<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Runs statements, on pooled connections, connections of their own and transactions. SQL begins with a comment that names
/// the statement.
pub(crate) trait Statements {
    /// The driver's own error where callers need the code of PostgreSQL.
    type Error;

    fn fetch_all(&self, sql: &str, binds: Binds<'_>) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;

    fn fetch_one(&self, sql: &str, binds: Binds<'_>) -> impl Future<Output = Result<Row, Self::Error>> + Send;

    fn fetch_optional(
        &self,
        sql: &str,
        binds: Binds<'_>,
    ) -> impl Future<Output = Result<Option<Row>, Self::Error>> + Send;

    /// Returns how many rows were written.
    fn run(&self, sql: &str, binds: Binds<'_>) -> impl Future<Output = Result<u64, Self::Error>> + Send;
}

/// Statements without binds, several perhaps, separated by semicolons.
pub(crate) trait Scripts {
    fn run_script(&self, sql: &str) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send;
}

/// A statement that is run often on one connection.
pub(crate) struct PreparedStatement<'a> {
    client: &'a Client,
    statement: Statement,
    sql: Cow<'static, str>,
}

impl<C: GenericClient + Sync> Statements for C {
    type Error = tokio_postgres::Error;

    async fn fetch_all(&self, sql: &str, binds: Binds<'_>) -> Result<Vec<Row>, Self::Error> {
        self.query(sql, binds).instrument(traces::statement(sql)).await
    }

    async fn fetch_one(&self, sql: &str, binds: Binds<'_>) -> Result<Row, Self::Error> {
        self.query_one(sql, binds).instrument(traces::statement(sql)).await
    }

    async fn fetch_optional(&self, sql: &str, binds: Binds<'_>) -> Result<Option<Row>, Self::Error> {
        self.query_opt(sql, binds).instrument(traces::statement(sql)).await
    }

    async fn run(&self, sql: &str, binds: Binds<'_>) -> Result<u64, Self::Error> {
        self.execute(sql, binds).instrument(traces::statement(sql)).await
    }
}

impl<C: GenericClient + Sync> Scripts for C {
    async fn run_script(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.batch_execute(sql).instrument(traces::statement(sql)).await
    }
}

// === impl PreparedStatement ===

impl<'a> PreparedStatement<'a> {
    pub(crate) async fn new(
        client: &'a Client,
        sql: impl Into<Cow<'static, str>>,
    ) -> Result<Self, tokio_postgres::Error> {
        let sql = sql.into();
        let statement = client.prepare(&sql).instrument(traces::statement(&sql)).await?;
        Ok(Self { client, statement, sql })
    }

    pub(crate) async fn fetch_all(&self, binds: Binds<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.client.query(&self.statement, binds).instrument(traces::statement(&self.sql)).await
    }

    pub(crate) async fn run(&self, binds: Binds<'_>) -> Result<u64, tokio_postgres::Error> {
        self.client.execute(&self.statement, binds).instrument(traces::statement(&self.sql)).await
    }
}
