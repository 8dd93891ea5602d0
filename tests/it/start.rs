//! A server and its database: whichever comes first, and whichever goes away meanwhile.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use secure_connect_reports::{
    auth::AuthConfig,
    client::{ClientConfig, is_serving},
    contract::proto::reports_service_client::ReportsServiceClient,
    service::ServerConfig,
    store::{self, StoreConfig},
};
use tokio::{
    net::UnixStream,
    task::{JoinHandle, JoinSet},
};

use crate::support::{
    Database, Server,
    builder::{CATALOG, Row, TENANT, csv},
    calls::{detailed_usage, reason},
    port::Port,
    program,
    serving::Serving,
};

/// The way to the tests' PostgreSQL by a port of loopback, which can be closed.
struct Way {
    port: Port,
    socket: String,
    open: Option<JoinHandle<()>>,
}

impl Way {
    /// Closed, to begin with.
    fn to(database: &Database) -> Self {
        let folder = database.url.split_whitespace().find_map(|part| part.strip_prefix("host=")).expect("a socket");
        let folder = folder.trim_matches('\'');
        let socket = std::fs::read_dir(folder).unwrap().find_map(|entry| {
            let path = entry.unwrap().path().to_str().unwrap().to_owned();
            (path.contains(".s.PGSQL.") && !path.ends_with(".lock")).then_some(path)
        });
        Self { port: Port::reserve(), socket: socket.expect("a socket"), open: None }
    }

    fn url(&self, database: &Database) -> String {
        let parts =
            database.url.split_whitespace().filter(|part| !part.starts_with("host=") && !part.starts_with("port="));
        let parts: Vec<&str> = parts.collect();
        format!("host=127.0.0.1 port={} sslmode=disable {}", self.port.address.port(), parts.join(" "))
    }

    fn open(&mut self) {
        let listener = self.port.listen();
        let socket = self.socket.clone();
        self.open = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = socket.clone();
                connections.spawn(async move {
                    let mut server = UnixStream::connect(socket).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }

    async fn close(&mut self) {
        let open = self.open.take().unwrap();
        open.abort();
        let _ = open.await;
    }
}

async fn wait_until(server: &Server, serving: bool) {
    let start = Instant::now();
    let config = ClientConfig::new(server.url());
    while is_serving(&config).await.unwrap() != serving {
        assert!(start.elapsed() < Duration::from_secs(20), "not {serving}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn serve(url: String) -> Server {
    Server::start(ServerConfig::new(
        StoreConfig { connect_timeout: Duration::from_secs(2), ..StoreConfig::new(url) },
        AuthConfig { insecure_no_auth: true, ..AuthConfig::default() },
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_waits_for_its_database_and_outlives_it() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = csv(&[Row::on("2022-02-01", "1.5")]);
    database.import(&rows).await;
    let mut way = Way::to(&database);
    let server = serve(way.url(&database));
    for _ in 0..2 {
        wait_until(&server, false).await;
        way.open();
        wait_until(&server, true).await;
        assert_eq!(server.february().await, rows);
        way.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_without_a_schema_is_not_served_until_it_has_one() {
    let database = Database::empty();
    let mut way = Way::to(&database);
    let server = serve(way.url(&database));
    way.open();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_serving(&ClientConfig::new(server.url())).await.unwrap());
    store::migrate(&database.url).await.unwrap();
    wait_until(&server, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_so_for_a_while_and_serves_on() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = csv(&[Row::on("2022-02-01", "1.5")]);
    database.import(&rows).await;
    let config = ServerConfig::new(database.config(), AuthConfig { insecure_no_auth: true, ..AuthConfig::default() });
    let mut server = Server::start(ServerConfig { stop_delay: Duration::from_secs(2), ..config });
    wait_until(&server, true).await;
    let start = Instant::now();
    server.signal();
    wait_until(&server, false).await;
    assert_eq!(server.february().await, rows, "new connections and calls are served as before");
    drop(server);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

/// Neither a watcher of health, who never ends, nor a statement that takes for ever holds up the end of the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_has_its_bound_whoever_watches_and_whatever_runs() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let database = Database::with_catalog().await;
    let mut serving = Serving::open_with(program().env("DATABASE_URL", &database.url), &["--drain-seconds", "1"]);
    while !is_serving(&ClientConfig::new(&serving.url)).await.expect("an answer") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut watch = HealthClient::new(serving.channel().await);
    let mut states = watch.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let _clock = database.hold_clock().await;
    let request = detailed_usage(TENANT);
    let mut stub = ReportsServiceClient::new(serving.channel().await);
    let call = tokio::spawn(async move { stub.get_detailed_usage(request).await.map(drop) });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'secure-connect-reports' AND state <> 'idle'";
    // Within a transaction, activity is always what it was at first.
    let observer = database.sql().await;
    let count = async || observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
    let began = Instant::now();
    while count().await == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the call does not wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let began = Instant::now();
    serving.signal(Signal::SIGTERM);
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let status = call.await.unwrap().expect_err("the server stops");
    assert_eq!(reason(&status), (tonic::Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    let ended = Instant::now();
    while count().await > 0 {
        assert!(ended.elapsed() < Duration::from_secs(1), "the statement goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let exit = tokio::task::spawn_blocking(move || serving.child.wait().unwrap()).await.unwrap();
    assert!(exit.success());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_waits_for_its_database() {
    let database = Database::with_catalog().await;
    let mut way = Way::to(&database);
    let serving = Serving::open(program().env("DATABASE_URL", way.url(&database)));
    let config = ClientConfig::new(&serving.url);
    assert!(!is_serving(&config).await.expect("an answer"));
    let said = |what: &str| serving.everything().contains(what);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !(said("not serving") && said("error connecting to server")) {
        assert!(Instant::now() < deadline, "{}", serving.everything());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    way.open();
    while !is_serving(&config).await.expect("an answer") {
        assert!(Instant::now() < deadline, "{}", serving.everything());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
