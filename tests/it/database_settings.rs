//! Databases as they are: what this program relies on it sets by itself, and what it cannot work on it refuses by name.

use std::time::Duration;

use secure_connect_reports::{
    auth::AuthConfig,
    ingest::LoadOutcome,
    service::{RunningServer, ServerConfig},
    store::{self, PurgeRules, StoreConfig, purge},
};
use tokio::task::JoinSet;

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, csv},
    calls::monthly_costs,
    pooler::Pooler,
    program, run,
};

const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What operators set for a database, and more than one of them for good reasons.
const HOSTILE: [&str; 21] = [
    "standard_conforming_strings = off",
    "default_transaction_isolation = serializable",
    "default_transaction_deferrable = on",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = sql_standard",
    "TimeZone = 'Asia/Kathmandu'",
    "bytea_output = escape",
    "extra_float_digits = -15",
    "array_nulls = off",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "statement_timeout = 300",
    "lock_timeout = 300",
    "idle_session_timeout = 300",
    "idle_in_transaction_session_timeout = 300",
    "plan_cache_mode = force_generic_plan",
    "jit_above_cost = 0",
    "default_transaction_read_only = on",
    "gin_fuzzy_search_limit = 1",
    "synchronous_commit = off",
    // The server's programs come with one language; errors are told by their codes.
    "lc_messages = 'C.UTF-8'",
];

async fn name(database: &Database) -> String {
    database.sql().await.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0)
}

async fn set(database: &Database, setting: &str) {
    let sql = format!("ALTER DATABASE {} SET {setting}", name(database).await);
    database.sql().await.batch_execute(&sql).await.unwrap();
}

fn config(url: &str) -> ServerConfig {
    let store = StoreConfig { connect_timeout: Duration::from_secs(5), ..StoreConfig::new(url) };
    ServerConfig::new(store, AuthConfig { insecure_no_auth: true, ..AuthConfig::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_database_change_nothing() {
    let plain = Database::with_catalog().await;
    let hostile = Database::empty();
    let connection = hostile.sql().await;
    let name = name(&hostile).await;
    for setting in HOSTILE {
        connection.batch_execute(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    store::migrate(&hostile.url).await.unwrap();
    hostile.apply(CATALOG).await;

    let mut seen = Vec::new();
    for database in [&plain, &hostile] {
        let days = [Row::on("2022-02-01", "1.5").asset("o'b\\ryan"), Row::on("2022-02-02", "2").bandwidth()];
        // Side by side, which a default of repeatable read made fail.
        let content = |n: usize| csv(&[Row::on("2022-02-03", &n.to_string())]);
        let mut imports = JoinSet::new();
        for n in 1..=6 {
            let (url, content) = (database.url.clone(), content(n));
            imports.spawn(async move { Database::at(&url).import_from(&format!("source-{n}"), &content).await });
        }
        let outcomes = imports.join_all().await;
        assert!(outcomes.iter().all(|report| matches!(report.loads[0].outcome, LoadOutcome::Published)));
        database.import(&csv(&days)).await;
        let restated = database.import(&csv(&[Row::on("2022-02-02", "3").bandwidth()])).await;
        assert!(matches!(restated.loads[0].outcome, LoadOutcome::Restated(_)));
        let superseded = PurgeRules { superseded_for: Some(Duration::ZERO), months_before: None };
        assert_eq!(purge(&database.url, superseded, CLOCK_SKEW, false).await.unwrap().superseded.records, 1);
        let server = Server::start(config(&database.url));
        let costs = server.stub().await.get_monthly_costs(monthly_costs(ORG)).await.unwrap().into_inner();
        let lines = costs.lines.iter().map(|line| format!("{} {}", line.quantity, line.cost)).collect::<Vec<_>>();
        let months = costs.tenant_months.iter().map(|month| month.revision.clone()).collect::<Vec<_>>();
        seen.push((server.february().await, lines, months));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1, ["3 0.00", "22.5 0.23"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_triggers_is_refused() {
    let database = Database::migrated();
    set(&database, "session_replication_role = replica").await;
    let refusal = RunningServer::bind(config(&database.url)).await.err().expect("a refusal").to_string();
    assert!(refusal.starts_with("session_replication_role is replica here"), "{refusal}");
}

#[test]
fn a_connection_to_another_machine_without_sslmode_is_warned_of() {
    // No name of this kind is ever found (RFC 6761).
    for (url, warned) in [
        ("host=db.invalid connect_timeout=1", true),
        ("host=db.invalid connect_timeout=1 sslmode=prefer", false),
        ("postgres://db.invalid/d?connect_timeout=1&sslmode=verify-full&sslrootcert=system", false),
        ("host=127.0.0.1 port=1 connect_timeout=1", false),
    ] {
        let output = program().args(["purge", "--superseded-days", "1"]).env("DATABASE_URL", url).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            error.matches("sslmode is not set for the database on db.invalid").count(),
            usize::from(warned),
            "{error}"
        );
    }
}

/// What migrating, serving and a command that writes say of a database.
async fn refusals(database: &Database) -> [String; 3] {
    let migrate = store::migrate(&database.url).await.err().map_or_else(String::new, |error| error.to_string());
    let serve =
        RunningServer::bind(config(&database.url)).await.err().map_or_else(String::new, |error| error.to_string());
    let mut purge = program();
    purge.args(["purge", "--superseded-days", "1"]).env("DATABASE_URL", &database.url);
    let (ok, _, log) = tokio::task::spawn_blocking(move || run(&mut purge)).await.unwrap();
    [migrate, serve, if ok { String::new() } else { log }]
}

/// CockroachDB has the functions of advisory locks, and they do nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_locks_keep_nobody_out_is_refused() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    let stub = "CREATE FUNCTION public.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$";
    sql.batch_execute(stub).await.unwrap();
    for refusal in refusals(&database).await {
        assert!(refusal.contains("advisory locks of this database keep nobody out"), "{refusal}");
    }
    // Another program that tries at the same time is no reason.
    sql.batch_execute(
        "DROP FUNCTION public.pg_try_advisory_lock; SELECT pg_advisory_lock(x'0053435200000007'::bigint)",
    )
    .await
    .unwrap();
    assert_eq!(refusals(&database).await, ["", "", ""]);
}

/// The catalog of Citus says what it has distributed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_spread_over_machines_are_refused() {
    // Without Citus, in any case.
    let database = Database::empty();
    store::migrate(&database.url).await.unwrap();
    let sql = database.sql().await;
    let catalog = "SET allow_system_table_mods = on;
        CREATE TABLE pg_catalog.pg_dist_partition
            (logicalrelid regclass, partmethod \"char\", partkey text, colocationid integer, repmodel \"char\");
        CREATE FUNCTION pg_catalog.column_to_column_name(regclass, text) RETURNS text LANGUAGE sql AS 'SELECT $2';
        CREATE TABLE strangers ();
        INSERT INTO pg_dist_partition VALUES ('strangers', 'h', 'a', 1, 's'), ('tenant', 'n', NULL, 0, 's')";
    sql.batch_execute(catalog).await.unwrap();
    assert_eq!(refusals(&database).await, ["", "", ""]);
    let ours = "('asset', 'h', 'tenant_key', 2, 's'), ('usage_block', 'h', 'tenant_key', 2, 's')";
    for (spread, tables) in [
        (ours, ""),
        (&format!("{ours}, ('usage_load', 'h', 'tenant_key', 2, 's')"), "asset, usage_block, usage_load"),
        (
            &ours.replace("'usage_block', 'h', 'tenant_key', 2", "'usage_block', 'h', 'tenant_key', 3"),
            "asset, usage_block",
        ),
        (&ours.replace("'tenant_key'", "'load_id'"), "asset, usage_block"),
        (&ours.replace("'h'", "'r'"), "asset, usage_block"),
        ("('usage_block', 'h', 'tenant_key', 2, 's')", "usage_block"),
        ("('usage_load', 'h', 'tenant_key', 2, 's'), ('meter', 'n', NULL, 3, 't')", "meter, usage_load"),
    ] {
        sql.batch_execute(&format!("TRUNCATE pg_dist_partition; INSERT INTO pg_dist_partition VALUES {spread}"))
            .await
            .unwrap();
        for refusal in refusals(&database).await {
            let sentence = format!("Citus has distributed tables of this service ({tables}) in another way");
            assert!(
                if tables.is_empty() { refusal.is_empty() } else { refusal.contains(&sentence) },
                "{spread}: {refusal}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_sessions_is_refused_and_one_that_does_not_works() {
    let database = Database::with_catalog().await;
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", "server_round_robin = 1\nmin_pool_size = 4"),
        ("transaction", "default_pool_size = 1"),
        ("statement", ""),
    ] {
        let pooler = Pooler::start(&database, mode, more);
        let url = pooler.url(&database);
        let sentence = "a pooler before the database shares sessions between connections";
        let refusal = store::migrate(&url).await.unwrap_err().to_string();
        assert!(refusal.starts_with(sentence), "{mode} {more}: {refusal}");
        let refusal = RunningServer::bind(config(&url)).await.err().expect("a refusal").to_string();
        assert!(refusal.starts_with(sentence), "{mode} {more}: {refusal}");
        let import = program().args(["purge", "--superseded-days", "1"]).env("DATABASE_URL", &url).output().unwrap();
        let error = String::from_utf8(import.stderr).unwrap();
        assert!(!import.status.success() && error.contains(sentence), "{mode} {more}: {error}");
    }
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.sql().await.query_one(locks, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing is left behind");

    let pooler = Pooler::start(&database, "session", "");
    let by_pooler = Database::at(&pooler.url(&database));
    assert_eq!(store::migrate(&by_pooler.url).await.unwrap(), Vec::<String>::new());
    let rows = csv(&[Row::on("2022-02-01", "1")]);
    by_pooler.import(&rows).await;
    assert_eq!(by_pooler.serve().february().await, rows);
}
