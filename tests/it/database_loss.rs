//! A database that loses connections, crashes, or is taken over by its standby: downloads finish by themselves, and are
//! those of an undisturbed one.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use secure_connect_reports::{
    auth::{AuthConfig, TenantScope},
    client::{ClientConfig, UsageQuery, is_serving},
    contract::proto::{
        GetDetailedUsageRequest, ImportUsageRequest, ListTenantsRequest, LoadOutcome,
        usage_import_service_client::UsageImportServiceClient,
    },
    embedded::EphemeralServer,
    ingest::{Delivery, Import, ImportError, Input},
    model::Source,
    service::ServerConfig,
    store::{self, Store, StoreConfig},
};
use tonic::Code;

use crate::support::{
    Database, Server,
    builder::{CATALOG, Row, TENANT, csv},
    calls::{detailed_usage, reason},
    csv_rows,
    proxy::{Fate, Proxy},
    rng, rounds, to_csv,
};

/// Some 14 MB on the wire, which the slow network below takes seconds for: there is something to be lost.
const ROWS: usize = 60_000;

/// Seconds for a download, so that something can happen meanwhile.
const SLOW: Fate = Fate { cut_after: u64::MAX, pause: Duration::from_millis(1) };

fn content(quantity: &str) -> String {
    let rows: Vec<Row> = (0..ROWS).map(|n| Row::on("2022-02-01", quantity).bulky(n)).collect();
    csv_rows(&rows)
}

fn serve(url: &str) -> Server {
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    Server::start(ServerConfig::new(StoreConfig::new(url), auth))
}

/// Brings a database of a server of its own to the state of the other tests.
async fn set_up(url: &str) -> Database {
    store::migrate(url).await.expect("migrations");
    let database = Database::at(url);
    database.apply(CATALOG).await;
    database
}

async fn serving(server: &Server) {
    for _ in 0..600 {
        if is_serving(&ClientConfig::new(server.url())).await.unwrap_or(false) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never served again");
}

/// Downloads by a slow network from these servers, while something is done.
async fn download_while(servers: Vec<SocketAddr>, fate: Fate, what: impl Future<Output = ()>) -> String {
    let proxy = Proxy::between(servers, move |_| fate).await;
    let mut client =
        secure_connect_reports::client::Client::connect(&ClientConfig::new(&proxy.url)).await.expect("a client");
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    let download = client.detailed_usage(&query).await.expect("a report");
    let (csv, ()) = tokio::join!(to_csv(download), what);
    csv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_the_backends_it_is_read_by() {
    let database = Database::with_catalog().await;
    database.import(&content("0.25")).await;
    let server = database.serve();
    let mut rng = rng();
    let (sql, lock) = (database.sql().await, database.sql().await);
    for round in 0..rounds(3) {
        let undisturbed = server.february().await;
        let pauses: Vec<u64> = (0..40).map(|_| rng.u64(5..60)).collect();
        let kill = async {
            for (n, pause) in pauses.into_iter().enumerate() {
                // Any of them at any moment, and those of a report in the middle of a statement.
                let which = if n % 2 == 0 { "true" } else { "state = 'active' AND query LIKE '%read_blocks%'" };
                let kill = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'secure-connect-reports' AND {which}"
                );
                // A statement takes a moment only, so that it waits for this one.
                let hold = n % 2 == 1;
                if hold {
                    lock.batch_execute("BEGIN; LOCK TABLE usage_block IN ACCESS EXCLUSIVE MODE").await.unwrap();
                }
                // What was read ahead is sent for a while before the next statement begins. The first one is waited for; later,
                // the download may have ended.
                let patience = Duration::from_millis(if n == 1 { 10_000 } else { 100 });
                let began = Instant::now();
                while sql.execute(&kill, &[]).await.unwrap() == 0 && began.elapsed() < patience {}
                if hold {
                    lock.batch_execute("COMMIT").await.unwrap();
                }
                if n == 5 {
                    // It may be one of the victims, too.
                    while database.try_import(&content(&format!("{round}.5")), "default", false).await.is_err() {}
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        };
        assert!(download_while(vec![server.address], SLOW, kill).await == undisturbed, "round {round}");
        serving(&server).await;
    }
    assert!(server.metric("scr_resumed_downloads_total").await >= 1.0, "no download was disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_a_crash_of_the_database() {
    let postgres = EphemeralServer::start_with(&[("synchronous_commit", "on")], &[]).expect("a database server");
    let database = set_up(&postgres.database_url("postgres")).await;
    database.import(&content("0.25")).await;
    let server = serve(&database.url);
    let mut rng = rng();
    for round in 0..rounds(2).div_ceil(4) {
        let undisturbed = server.february().await;
        // Longer than what was read ahead is enough for.
        let (before, away) = (rng.u64(50..400), rng.u64(1500..2500));
        let crash = async {
            tokio::time::sleep(Duration::from_millis(before)).await;
            postgres.crash().unwrap();
            tokio::time::sleep(Duration::from_millis(away)).await;
            postgres.recover().unwrap();
            database.import(&content(&format!("{round}.5"))).await;
        };
        assert!(download_while(vec![server.address], SLOW, crash).await == undisturbed, "round {round}");
        serving(&server).await;
        assert_ne!(server.february().await, undisturbed);
    }
    assert!(server.metric("scr_resumed_downloads_total").await >= 1.0, "no download was disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_serves_reports_and_takes_over() {
    let primary = EphemeralServer::start_with(&[("synchronous_commit", "on")], &[]).expect("a database server");
    let database = set_up(&primary.database_url("postgres")).await;
    let published = database.import(&content("0.25")).await.published_at.unwrap();
    let standby = primary.standby().expect("a standby");
    let replicated = async || {
        let (there, here) = (Database::at(&standby.database_url("postgres")).sql().await, database.sql().await);
        let position: String = here.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
        let has = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn");
        while !there.query_one(&has, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    replicated().await;

    // A service beside the standby: it serves reports, and has no place for imports.
    let reader = serve(&standby.database_url("postgres"));
    let report = reader.february().await;
    assert_eq!(report.lines().count(), ROWS + 1);
    let moment = |time: secure_connect_reports::model::UtcTime| {
        let (seconds, nanos) = time.unix_seconds_and_nanos();
        Some(prost_types::Timestamp { seconds, nanos })
    };
    let as_of = moment(published);
    let past = GetDetailedUsageRequest { as_of, ..detailed_usage(TENANT) };
    assert!(reader.stub().await.get_detailed_usage(past).await.is_ok());
    let now = moment(secure_connect_reports::model::UtcTime::from_chrono(chrono::Utc::now()));
    let unknown = GetDetailedUsageRequest { as_of: now, ..detailed_usage(TENANT) };
    let status = reader.stub().await.get_detailed_usage(unknown).await.expect_err("a refusal");
    assert_eq!(reason(&status), (Code::Unavailable, "NOT_REPLICATED".to_owned()));
    let error = Database::at(&standby.database_url("postgres"));
    let error = error.try_import(&content("9"), "default", false).await.expect_err("a refusal").to_string();
    assert!(error.contains("read-only transaction"), "{error}");

    // A service that knows both goes where one may write.
    let hosts = format!("{},{}", standby.socket_folder().display(), primary.socket_folder().display());
    let url = format!("host='{hosts}' user=postgres dbname=postgres target_session_attrs=read-write");
    let server = serve(&url);
    let fail_over = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        primary.crash().unwrap();
        standby.promote().unwrap();
    };
    assert!(download_while(vec![server.address], SLOW, fail_over).await == report);
    serving(&server).await;
    let config = StoreConfig::new(&url);
    let import = async {
        let store = Store::new(&config).unwrap();
        let import = Import::new(&store, &TenantScope::operator(), "test", Source::default()).await?;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), csv(&[Row::on("2022-02-01", "8")])).unwrap();
        let prepared = import.read(vec![Input::File(file.path().to_owned())]).await?;
        import.publish(prepared, &Delivery { name: "test.csv", is_complete: false, dry_run: false }).await
    };
    assert_eq!(import.await.expect("the new primary takes imports").loads.len(), 1);
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "8")]));
}

/// Tenants are looked up as lines name them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_while_lines_are_read_is_what_the_import_fails_by() {
    let postgres = EphemeralServer::start_with(&[("synchronous_commit", "on")], &[]).expect("a database server");
    let database = set_up(&postgres.database_url("postgres")).await;
    let config = StoreConfig { connect_timeout: Duration::from_secs(1), ..StoreConfig::new(&database.url) };
    let store = Store::new(&config).unwrap();
    let import = Import::new(&store, &TenantScope::operator(), "test", Source::default()).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), csv(&[Row::on("2022-02-01", "8")])).unwrap();
    let read = async || import.read(vec![Input::File(file.path().to_owned())]).await;
    postgres.crash().unwrap();
    let error = read().await.err().expect("no tenant can be looked up");
    assert!(matches!(error, ImportError::Store(_)), "{error:?}");
    postgres.recover().unwrap();
    assert!(read().await.is_ok());
}

/// It accepts connections, and then says nothing: a machine that hangs, say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_the_database_that_says_nothing_is_passed_over() {
    let database = Database::with_catalog().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (front, rest) = database.url.split_once("host=").unwrap();
    let (socket, rest) = rest.split_once(' ').unwrap();
    let ports = format!("port={},5432", silent.local_addr().unwrap().port());
    let url = format!("{front}host='127.0.0.1,{}' {ports} {rest}", socket.trim_matches('\''));
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let config = StoreConfig { connect_timeout: Duration::from_secs(1), ..StoreConfig::new(url) };
    let server = Server::start(ServerConfig::new(config, auth));
    serving(&server).await;
    // It was asked, and is not asked first again for a while: not for new connections either.
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_ok());
    while silent.accept().is_ok() {}
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        calls.push(tokio::spawn(async move { client.tenants("", None).await.map(|tenants| tenants.len()) }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap().expect("the other host"), 3);
    }
    assert_eq!(silent.accept().map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_migrate_at_once_and_serve_one_download_in_turns() {
    let database = Database::empty();
    let (one, other) = tokio::join!(store::migrate(&database.url), store::migrate(&database.url));
    let (one, other) = (one.expect("migrations"), other.expect("migrations"));
    assert!(one.is_empty() != other.is_empty(), "one of them did it all: {one:?}, {other:?}");
    database.apply(CATALOG).await;
    database.import(&content("0.25")).await;
    let (first, second) = (database.serve(), database.serve());
    let undisturbed = first.february().await;
    let fate = Fate { cut_after: 2_000_000, pause: Duration::from_millis(1) };
    let restate = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        database.import(&content("0.5")).await;
    };
    assert!(download_while(vec![first.address, second.address], fate, restate).await == undisturbed);
    // The same day at both of them is published once.
    let mut stream = first.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let records = stream.message().await.unwrap().unwrap().records;
    let import = async |server: &Server| {
        let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
        let message = ImportUsageRequest { records: records.clone(), ..Default::default() };
        let answer = UsageImportServiceClient::new(channel).import_usage(tokio_stream::iter([message])).await;
        answer.expect("an import").into_inner().loads[0].outcome()
    };
    let mut outcomes = tokio::join!(import(&first), import(&second));
    if outcomes.0 == LoadOutcome::Unchanged {
        outcomes = (outcomes.1, outcomes.0);
    }
    assert_eq!(outcomes, (LoadOutcome::Restated, LoadOutcome::Unchanged));
    for server in [&first, &second] {
        assert!(server.metric("scr_resumed_downloads_total").await >= 1.0);
        let tenants = server.stub().await.list_tenants(ListTenantsRequest::default()).await.unwrap().into_inner();
        assert_eq!(tenants.total_size, 3);
    }
}
