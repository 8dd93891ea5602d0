//! Who waits for a publisher: without a connection, not for ever, and saying for whom.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use prost_types::Timestamp;
use secure_connect_reports::{
    contract::proto::{GetDetailedUsageRequest, GetMonthlyCostsRequest, GetMonthlyCostsResponse},
    service::ServerConfig,
    store::StoreConfig,
};
use tempfile::NamedTempFile;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tonic::{Code, Status};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    calls::{detailed_usage, monthly_costs, reason},
    program, settle,
};

const PUBLISH: &str = "SELECT pg_advisory_xact_lock(x'0053435200000001'::bigint)";

async fn hold(database: &Database, lock: &str) -> Client {
    let sql = database.sql().await;
    sql.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
    sql
}

/// Now, by this machine's clock: past the last publication.
fn present() -> Option<Timestamp> {
    let now = chrono::Utc::now();
    Some(Timestamp { seconds: now.timestamp(), nanos: now.timestamp_subsec_nanos().cast_signed() })
}

fn file(name: &str, content: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(name).tempfile().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn command(database: &Database, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env("DATABASE_URL", &database.url).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The rest of what a program says, from the first line on that has these words.
fn said(child: &mut Child, words: &str) -> String {
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines().map(Result::unwrap);
    let line = lines.into_iter().find(|line| line.contains(words));
    line.unwrap_or_else(|| panic!("it never says {words}"))
}

async fn until(sql: &Client, what: &str) {
    for _ in 0..2000 {
        if sql.query_one(what, &[]).await.unwrap().get::<_, bool>(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never true: {what}");
}

/// Whether a statement of the service waits for a lock on a table.
const WAITS_FOR_TABLE: &str = "SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'relation' AND application_name = 'secure-connect-reports'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_as_of_the_present_wait_without_a_connection() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let store = StoreConfig { short_connections: 2, connect_timeout: Duration::from_secs(1), ..database.config() };
    let server = Server::start(ServerConfig { store, ..ServerConfig::new(database.config(), open()) });
    let publisher = hold(&database, PUBLISH).await;
    let mut waiting: JoinSet<Result<GetMonthlyCostsResponse, Status>> = JoinSet::new();
    for _ in 0..12 {
        let mut stub = server.stub().await;
        let request = GetMonthlyCostsRequest { as_of: present(), ..monthly_costs(ORG) };
        waiting.spawn(async move { stub.get_monthly_costs(request).await.map(tonic::Response::into_inner) });
    }
    while server
        .metric("scr_running_calls{rpc_method=\"secureconnect.reports.v1.ReportsService/GetMonthlyCosts\"}")
        .await
        < 12.0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // With two connections for all of them, one that was kept would be missed here.
    for _ in 0..20 {
        assert_eq!(server.client().await.tenants("", None).await.unwrap().len(), 3);
    }
    assert!(waiting.try_join_next().is_none(), "they wait for the publisher");
    publisher.batch_execute("ROLLBACK").await.unwrap();
    for answer in waiting.join_all().await {
        assert_eq!(answer.unwrap().lines[0].quantity, "1");
    }
}

fn open() -> secure_connect_reports::auth::AuthConfig {
    secure_connect_reports::auth::AuthConfig { insecure_no_auth: true, ..Default::default() }
}

/// Publishers that come later do not make it wait longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_waits_for_one_publisher_only_and_not_for_ever() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let first = hold(&database, PUBLISH).await;
    let ask = || {
        let url = server.url();
        tokio::spawn(async move {
            let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
            let mut stub =
                secure_connect_reports::contract::proto::reports_service_client::ReportsServiceClient::new(channel);
            let request = GetDetailedUsageRequest { as_of: present(), ..detailed_usage(TENANT) };
            stub.get_detailed_usage(request).await.map(drop).map_err(|status| reason(&status))
        })
    };
    let report = ask();
    let sql = database.sql().await;
    // It looks several times; a statement is seen before it has run, so the first time shows nothing.
    let looked = "SELECT query_start::text FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '-- lock_holder%'";
    let mut times = BTreeSet::new();
    while times.len() < 8 {
        times.extend(sql.query(looked, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = database.sql().await;
    second.batch_execute("BEGIN").await.unwrap();
    let (taken, released) = tokio::join!(second.batch_execute(PUBLISH), first.batch_execute("ROLLBACK"));
    taken.and(released).unwrap();
    assert_eq!(report.await.unwrap(), Ok(()), "the second holds the lock all the time");
    let late = ask().await.unwrap();
    assert_eq!(late, Err((Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_publisher_or_a_catalog_says_for_whom() {
    let database = Database::with_catalog().await;
    let catalog = file(".toml", CATALOG);
    let usage = file(".csv", &csv(&[Row::on("2022-02-01", "1")]));
    let catalog_lock = "SELECT pg_advisory_xact_lock(x'0053435200000006'::bigint)";
    let import = ["import", usage.path().to_str().unwrap()];
    let apply = ["catalog", "apply", catalog.path().to_str().unwrap()];
    for (lock, arguments, what) in
        [(PUBLISH, &import[..], "publish"), (PUBLISH, &apply, "publish"), (catalog_lock, &apply, "apply its catalog")]
    {
        let holder = hold(&database, lock).await;
        let process: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let mut child = command(&database, arguments).spawn().unwrap();
        let (mut child, line) = tokio::task::spawn_blocking(move || {
            let line = said(&mut child, "waiting for");
            (child, line)
        })
        .await
        .unwrap();
        let expected = format!("waiting for process {process} of the database (account postgres, program ) to {what}");
        assert!(line.contains(&expected), "{line}");
        holder.batch_execute("ROLLBACK").await.unwrap();
        assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
    }
}

/// One that waits for a lock on a table gives up; one that was stopped is ended by the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_comes_to_a_halt_lets_others_publish() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    let usage = file(".csv", &csv(&[Row::on("2022-02-01", "1")]));
    let import = ["import", usage.path().to_str().unwrap()];

    let table = hold(&database, "LOCK TABLE usage_import IN SHARE MODE").await;
    let output = command(&database, &import).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("lock timeout [55P03]"), "{error}");
    table.batch_execute("ROLLBACK").await.unwrap();

    let table = hold(&database, "LOCK TABLE usage_import IN SHARE MODE").await;
    let mut child = command(&database, &import).spawn().unwrap();
    until(&sql, WAITS_FOR_TABLE).await;
    let process = Pid::from_raw(child.id().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    table.batch_execute("ROLLBACK").await.unwrap();
    // It has the publish lock, and its next statement never comes.
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    kill(process, Signal::SIGCONT).unwrap();
    assert!(!child.wait().unwrap().success());
    settle(&database).await;
    assert_eq!(database.serve().february().await, csv(&[Row::on("2022-02-01", "2")]));
}

/// Usage that comes while a catalog is applied is not moved to another organization, and its meter keeps its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_looks_again_at_what_was_imported_meanwhile() {
    let moved = CATALOG.replacen(
        "organization_id = \"aaaaaaaa-0000-4000-8000-000000000001\"",
        "organization_id = \"aaaaaaaa-0000-4000-8000-000000000002\"",
        1,
    );
    let renamed = CATALOG.replace("user_hours_essentials", "user_hours");
    let currency = CATALOG.replacen("currency = \"USD\"", "currency = \"EUR\"", 1);
    for changed in [moved, renamed, currency] {
        let database = Database::with_catalog().await;
        let sql = database.sql().await;
        let publisher = hold(&database, PUBLISH).await;
        let catalog = file(".toml", &changed);
        let apply = ["catalog", "apply", catalog.path().to_str().unwrap()];
        let usage = file(".csv", &csv(&[Row::on("2022-02-01", "1")]));
        let waiting = |count: i32| {
            format!(
                "SELECT count(*) = {count} FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            )
        };
        // The import comes first to the lock.
        let import = command(&database, &["import", usage.path().to_str().unwrap()]).spawn().unwrap();
        until(&sql, &waiting(1)).await;
        let catalog = command(&database, &apply).spawn().unwrap();
        until(&sql, &waiting(2)).await;
        publisher.batch_execute("ROLLBACK").await.unwrap();
        assert!(import.wait_with_output().unwrap().status.success());
        let output = catalog.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{changed}");
        assert!(error.contains("usage of what the catalog changes was imported meanwhile; apply it again"), "{error}");
        database.apply(CATALOG).await;
    }
}
