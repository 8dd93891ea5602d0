//! What a session must be like, whatever the database, its accounts and its operators have set.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::DatabaseError;

/// What statements rely on: how their texts are read, what they see of others, how long they may take. And the ways to run
/// them: most end early, where the planner thinks of all rows, so compiling one would take longer than running it.
const SETTINGS: &str = "SET standard_conforming_strings = on;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_deferrable = off;
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET TimeZone = 'UTC';
    SET bytea_output = 'hex';
    SET lock_timeout = 0;
    SET statement_timeout = 0;
    SET idle_session_timeout = 0;
    SET default_transaction_read_only = off;
    SET gin_fuzzy_search_limit = 0;
    SET jit = off;";

/// How often two sessions are compared. A pooler hands out the server connection that was given back last, or else takes
/// turns: one look finds out either, unless somebody else comes between.
const COMPARISONS: usize = 3;
/// An advisory lock that is for nothing. The others are in `store/locks.rs`, and no program but this one should use it.
const TRIAL_LOCK: i64 = 0x0053_4352_0000_0007;
/// A pooler may have no server connection free.
const COMPARISON_LIMIT: Duration = Duration::from_secs(10);

/// Sets what the service relies on, and then `more`. Returns why the database does not fit, if it does not.
pub(super) async fn prepare(client: &Client, more: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let script = format!(
        "{SETTINGS} {more}
        SELECT current_setting('server_encoding'), current_setting('session_replication_role');
        SELECT set_config(name, CASE name WHEN 'transaction_timeout' THEN '0' ELSE 'local' END, false) FROM pg_settings
        WHERE name = 'transaction_timeout' OR (name = 'synchronous_commit' AND setting = 'off')"
    );
    let answer = client.simple_query(&script).await?;
    let value = |column| first_row(&answer).and_then(|row| row.get(column)).unwrap_or_default();
    let (encoding, role) = (value(0), value(1));
    if encoding != "UTF8" {
        return Ok(Some(format!(
            "the database is encoded in {encoding}, and names need UTF8: make another one with CREATE DATABASE ... \
             ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    // The names that searches look into are kept by triggers.
    if role == "replica" {
        let reason =
            "session_replication_role is replica here, so that no trigger runs: set it to origin for this account";
        return Ok(Some(reason.to_owned()));
    }
    watch_client(client).await?;
    Ok(None)
}

/// Has the database look, once a second, whether the client of a statement is still there. A system that cannot, and a
/// server before version 14, go on as before.
async fn watch_client(client: &Client) -> Result<(), tokio_postgres::Error> {
    let set = client.batch_execute("SET client_connection_check_interval = '1s'").await;
    set.or_else(|error| if error.as_db_error().is_some() { Ok(()) } else { Err(error) })
}

/// Makes sure that each of two connections has a session of its own. A pooler that hands sessions out by the transaction
/// loses settings and prepared statements, and leaves locks behind with strangers.
pub(super) async fn refuse_shared(one: &Client, other: &Client) -> Result<(), DatabaseError> {
    let compared = tokio::time::timeout(COMPARISON_LIMIT, are_shared(one, other)).await;
    if compared.map_err(|_| DatabaseError::Unavailable("a second connection got no session in time".to_owned()))?? {
        return Err(DatabaseError::Unsuitable(
            "a pooler before the database shares sessions between connections, as PgBouncer does with pool_mode = \
             transaction or statement: connect to PostgreSQL itself, or set pool_mode = session"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Makes sure that a lock that one session has is none that another one gets. There are databases that know the functions and keep
/// nobody out, and everything would seem to work until two imports publish at once.
pub(super) async fn refuse_idle_locks(one: &Client, other: &Client) -> Result<(), DatabaseError> {
    let take = format!("SELECT pg_try_advisory_lock({TRIAL_LOCK})");
    // Where another program tries just now, it has it: that is the answer, too.
    let keep_out = !is_true(one, &take).await? || !is_true(other, &take).await?;
    one.batch_execute("SELECT pg_advisory_unlock_all()").await?;
    if keep_out {
        return Ok(());
    }
    Err(DatabaseError::Unsuitable(
        "advisory locks of this database keep nobody out (as those of CockroachDB), and imports rely on them: use PostgreSQL, or a \
         database whose advisory locks work"
            .to_owned(),
    ))
}

async fn is_true(client: &Client, query: &str) -> Result<bool, tokio_postgres::Error> {
    let answer = client.simple_query(query).await?;
    Ok(first_row(&answer).and_then(|row| row.get(0)) == Some("t"))
}

async fn are_shared(one: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    for _ in 0..COMPARISONS {
        let own = session(one).await?;
        match other.batch_execute("BEGIN").await {
            // Statement pooling has no transactions.
            Err(error) if error.as_db_error().is_some() => return Ok(true),
            begun => begun?,
        }
        // It keeps what it has until the transaction ends.
        let shared = session(other).await? == own || session(one).await? != own || session(one).await? != own;
        other.batch_execute("ROLLBACK").await?;
        if shared {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which process of the database serves a connection now. Without a prepared statement, which a pooler may know nothing of.
async fn session(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query("SELECT pg_backend_pid()").await?;
    Ok(first_row(&answer).and_then(|row| row.get(0)).map(str::to_owned))
}

fn first_row(answer: &[SimpleQueryMessage]) -> Option<&tokio_postgres::SimpleQueryRow> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
