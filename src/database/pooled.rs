//! A connection of a pool, for one call.
//!
//! When a call is cancelled (its client is gone, its deadline has passed) its statement goes on in the database. Handed
//! back as it is, the connection would make the next caller wait for that statement. So it is taken out of the pool, the
//! statement is cancelled, and the connection is closed: a cancel that comes late hits nobody else. So is one in the middle of
//! a transaction.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::{StreamExt as _, future::join3};
use tokio_postgres::Row;
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Instrument as _;

use super::{Binds, DatabaseError, Statements};
use crate::telemetry::traces;

const CANCEL_LIMIT: Duration = Duration::from_secs(5);

/// Searches and filters differ by orders of magnitude in what they find, so one plan for all would be a bad one.
pub(super) const PLAN_ANEW: &str = "SET plan_cache_mode = force_custom_plan";
const KEEP_PLAN: &str = "SET plan_cache_mode = force_generic_plan";

pub(crate) struct PooledConnection {
    /// There until the connection is given back.
    object: Option<Object>,
    /// How many statements were sent whose answers have not come.
    pending: AtomicUsize,
    is_frozen: bool,
    tls: MakeRustlsConnect,
}

// === impl PooledConnection ===

impl PooledConnection {
    pub(crate) fn new(object: Object, tls: &MakeRustlsConnect) -> Self {
        Self { object: Some(object), pending: AtomicUsize::new(0), is_frozen: false, tls: tls.clone() }
    }

    /// Reads what a COPY TO STDOUT sends, piece by piece: PostgreSQL puts a row into each.
    pub(crate) async fn copy_out<E: From<DatabaseError>>(
        &self,
        sql: &str,
        mut take: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let object = self.object()?;
        self.pending.fetch_add(1, Ordering::Relaxed);
        let copy = async {
            let stream = object.copy_out(sql).await.map_err(DatabaseError::from)?;
            let mut stream = std::pin::pin!(stream);
            while let Some(piece) = stream.next().await {
                // After an error the rest is still on its way, so the connection is given up.
                take(piece.map_err(DatabaseError::from)?)?;
            }
            Ok(())
        };
        copy.instrument(traces::statement(sql)).await.inspect(|()| {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// For what works on any client, such as the comparison of schemas. It must not be cancelled while it runs.
    pub(crate) fn client(&self) -> Result<&tokio_postgres::Client, DatabaseError> {
        Ok(self.object()?)
    }

    fn object(&self) -> Result<&Object, DatabaseError> {
        self.object.as_ref().ok_or_else(|| DatabaseError::Unavailable("the connection was given back".to_owned()))
    }

    /// Runs a statement to its end.
    async fn finish<T>(
        &self,
        sql: &str,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let result = statement.instrument(traces::statement(sql)).await;
        // Not reached when this future is dropped before the answer.
        self.pending.fetch_sub(1, Ordering::Relaxed);
        Ok(result?)
    }

    /// Rows of a statement for which one plan is as good as another. To plan one that finds a few rows by its key takes several
    /// times as long as to run it.
    pub(crate) async fn fetch_all_by_kept_plan(&self, sql: &str, binds: Binds<'_>) -> Result<Vec<Row>, DatabaseError> {
        let object = self.object()?;
        let fetch = async {
            let statement = object.prepare_cached(sql).await?;
            // They are sent in this order, without waiting for answers.
            let statements = join3(
                object.batch_execute(KEEP_PLAN),
                object.query(&statement, binds),
                object.batch_execute(PLAN_ANEW),
            );
            Ok::<_, tokio_postgres::Error>(statements.await)
        };
        self.pending.fetch_add(1, Ordering::Relaxed);
        let fetched = fetch.instrument(traces::statement(sql)).await;
        // A connection that goes on keeping plans is not given back.
        if !matches!(fetched, Ok((_, _, Err(_)))) || object.is_closed() {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
        let (kept, rows, anew) = fetched?;
        let rows = rows?;
        kept.and(anew)?;
        Ok(rows)
    }

    /// From the next statement on, the database stays as it is then, for this connection.
    pub(crate) async fn freeze(&mut self) -> Result<(), DatabaseError> {
        self.is_frozen = true;
        self.run("-- freeze\nBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &[]).await.map(drop)
    }

    /// Ends what [`freeze`](Self::freeze) began, if it did.
    pub(crate) async fn thaw(mut self) -> Result<(), DatabaseError> {
        if self.is_frozen {
            self.run("-- thaw\nCOMMIT", &[]).await?;
            self.is_frozen = false;
        }
        Ok(())
    }
}

/// Statements are prepared once for each connection.
impl Statements for PooledConnection {
    type Error = DatabaseError;

    async fn fetch_all(&self, sql: &str, binds: Binds<'_>) -> Result<Vec<Row>, DatabaseError> {
        let object = self.object()?;
        self.finish(sql, async { object.query(&object.prepare_cached(sql).await?, binds).await }).await
    }

    async fn fetch_one(&self, sql: &str, binds: Binds<'_>) -> Result<Row, DatabaseError> {
        let object = self.object()?;
        self.finish(sql, async { object.query_one(&object.prepare_cached(sql).await?, binds).await }).await
    }

    async fn fetch_optional(&self, sql: &str, binds: Binds<'_>) -> Result<Option<Row>, DatabaseError> {
        let object = self.object()?;
        self.finish(sql, async { object.query_opt(&object.prepare_cached(sql).await?, binds).await }).await
    }

    async fn run(&self, sql: &str, binds: Binds<'_>) -> Result<u64, DatabaseError> {
        let object = self.object()?;
        self.finish(sql, async { object.execute(&object.prepare_cached(sql).await?, binds).await }).await
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let pending = self.pending.load(Ordering::Relaxed) > 0;
        if !pending && !self.is_frozen {
            return;
        }
        let client = Object::take(object);
        let tls = self.tls.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let cancel = client.cancel_token();
            if pending && tokio::time::timeout(CANCEL_LIMIT, cancel.cancel_query(tls)).await.is_err() {
                tracing::warn!("a statement could not be cancelled in time");
            }
            drop(client);
        });
    }
}
