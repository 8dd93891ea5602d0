//! What tests stand on: a real PostgreSQL, a database for each test, a real server and a real client.

pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod columns;
pub(crate) mod issuer;
mod machines;
pub(crate) mod packing;
pub(crate) mod pki;
pub(crate) mod pooler;
pub(crate) mod port;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod serving;
pub(crate) mod terminal;

pub(crate) use builder::csv as csv_rows;
pub(crate) use machines::Machines;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use secure_connect_reports::{
    auth::{AuthConfig, TenantScope},
    catalog::{self, CatalogFormat},
    client::{Client, ClientConfig, UsageDownload, UsageQuery},
    contract::proto::reports_service_client::ReportsServiceClient,
    contract::{CsvFormat, CsvWriter},
    ingest::{Delivery, Import, ImportError, ImportLimits, ImportReport, Input},
    model::Source,
    service::{RunningServer, ServerConfig},
    store::{self, Store, StoreConfig},
};
use tokio::sync::oneshot;
use tokio_postgres::NoTls;
use tonic::transport::Channel;

/// Started by the first test that needs it; a machine without PostgreSQL fails that test. It ends with this program.
/// `POSTGRES_SETTINGS` has settings for it, such as `enable_hashjoin=off,jit=on`; `make plans` gives it some.
static POSTGRES: LazyLock<Machines> = LazyLock::new(|| {
    let settings = std::env::var("POSTGRES_SETTINGS").unwrap_or_default();
    let settings = settings.split(',').filter(|setting| !setting.is_empty());
    let settings: Vec<_> = settings.map(|setting| setting.split_once('=').expect("name=value")).collect();
    Machines::start(&settings)
});

/// Databases are made one at a time, since a template must be at rest.
static MAKING: Mutex<u32> = Mutex::new(0);
static TEMPLATE: OnceLock<()> = OnceLock::new();

/// The files of a folder and those in it, with their texts.
pub(crate) fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// A migrated database of its own.
pub(crate) struct Database {
    pub(crate) url: String,
    /// What it is called where it was made for one test.
    made: Option<String>,
}

/// A server on a free port of loopback.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where Prometheus reads.
    pub(crate) metrics: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(future)
        };
        scope.spawn(run).join().expect("a helper of the tests failed")
    })
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

// === impl Database ===

impl Database {
    /// A database with the current schema, and nothing in it.
    pub(crate) fn migrated() -> Self {
        Self::create(true)
    }

    /// A migrated database with the small catalog of [`builder`].
    pub(crate) async fn with_catalog() -> Self {
        let database = Self::migrated();
        database.apply(builder::CATALOG).await;
        database
    }

    /// A database with the small catalog, and a day of [`builder::TENANT`] with so many records, each of an asset of its own.
    pub(crate) async fn with_rows(count: usize) -> Self {
        let database = Self::with_catalog().await;
        let row = |n| builder::Row::on("2022-02-01", "1").asset(&format!("{n:05}"));
        database.import(&csv_rows(&(0..count).map(row).collect::<Vec<_>>())).await;
        database
    }

    /// A database without a schema.
    pub(crate) fn empty() -> Self {
        Self::create(false)
    }

    fn create(migrated: bool) -> Self {
        let mut count = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        let name = format!("test_{count}");
        block_on(async {
            if migrated && TEMPLATE.get().is_none() {
                POSTGRES.make_template().await;
                let _ = TEMPLATE.set(());
            }
            POSTGRES.make_database(&name, migrated).await;
        });
        Self { url: POSTGRES.first.database_url(&name), made: Some(name) }
    }

    /// One that is there.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), made: None }
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::new(&self.url)
    }

    /// For looking behind the scenes.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }

    /// Makes calls wait, each with a connection: until this one ends its transaction, nobody can look at the publication
    /// clock.
    pub(crate) async fn hold_clock(&self) -> tokio_postgres::Client {
        let sql = self.sql().await;
        sql.batch_execute("BEGIN; LOCK TABLE publication_clock IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
        sql
    }

    /// Holds the publish lock, as a publisher does that takes its time.
    pub(crate) async fn hold_publish_lock(&self) -> tokio_postgres::Client {
        let sql = self.sql().await;
        sql.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(x'53435200000001'::bigint)").await.unwrap();
        sql
    }

    pub(crate) async fn apply(&self, catalog: &str) {
        let catalog = catalog::read(catalog, CatalogFormat::Toml).expect("a sound catalog");
        store::apply_catalog(&self.config(), &catalog).await.expect("a catalog that applies");
    }

    pub(crate) async fn import(&self, csv: &str) -> ImportReport {
        self.try_import(csv, "default", false).await.expect("a sound file")
    }

    pub(crate) async fn import_from(&self, source: &str, csv: &str) -> ImportReport {
        self.try_import(csv, source, false).await.expect("a sound file")
    }

    pub(crate) async fn try_import(&self, csv: &str, source: &str, dry_run: bool) -> Result<ImportReport, ImportError> {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().expect("a file");
        std::fs::write(file.path(), csv).expect("room for a file");
        self.import_file(file.path().to_owned(), source, dry_run).await
    }

    pub(crate) async fn import_file(
        &self,
        path: PathBuf,
        source: &str,
        dry_run: bool,
    ) -> Result<ImportReport, ImportError> {
        let source: Source = source.parse().expect("a source");
        let store = Store::new(&self.config()).expect("a store");
        let (oldest_month, newest_month) = ("0001-01".parse().ok(), "9999-12".parse().ok());
        let limits = ImportLimits { oldest_month, newest_month, ..ImportLimits::default() };
        let importer = ("test", source);
        let import = Import::with_limits(&store, &TenantScope::operator(), importer, limits).await?;
        let prepared = import.read(vec![Input::File(path)]).await?;
        import.publish(prepared, &Delivery { name: "test.csv", is_complete: false, dry_run }).await
    }

    pub(crate) async fn withdraw(&self, tenant: &str, day: &str) -> Result<ImportReport, ImportError> {
        let store = Store::new(&self.config()).expect("a store");
        let import = Import::new(&store, &TenantScope::operator(), "test", Source::default()).await?;
        let delivery = Delivery { name: "test", is_complete: false, dry_run: false };
        import.withdraw(tenant.parse().expect("an id"), day.parse().expect("a day"), &delivery).await
    }

    /// A server for everyone.
    pub(crate) fn serve(&self) -> Server {
        Server::start(ServerConfig::new(self.config(), AuthConfig { insecure_no_auth: true, ..AuthConfig::default() }))
    }

    /// A server for callers who prove who they are.
    pub(crate) fn serve_with(&self, auth: AuthConfig) -> Server {
        Server::start(ServerConfig::new(self.config(), auth))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(name) = self.made.take() {
            block_on(POSTGRES.end_database(&name));
        }
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn start(config: ServerConfig) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        // A runtime of its own, so that it outlives nothing and is shared by nobody.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
                let config = ServerConfig { drain_limit: Duration::from_millis(50), metrics_listen, ..config };
                let server = RunningServer::bind(config).await.expect("a server");
                tell.send((server.address(), server.metrics_address().unwrap())).unwrap();
                let stop = async {
                    let _ = stopped.await;
                };
                server.serve(stop).await.expect("a server that stops well");
            });
        });
        let (address, metrics) = told.recv().expect("a server that starts");
        Self { address, metrics, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&ClientConfig::new(self.url())).await.expect("a client")
    }

    /// What Prometheus reads.
    pub(crate) async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.metrics)).await.expect("metrics");
        assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        answer.error_for_status().expect("metrics").text().await.expect("a text")
    }

    /// A number among the metrics, by its name and labels; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What SIGTERM does.
    pub(crate) fn signal(&mut self) {
        drop(self.stop.take());
    }

    /// The generated stub, as other programs have it.
    pub(crate) async fn stub(&self) -> ReportsServiceClient<Channel> {
        let channel = Channel::from_shared(self.url()).unwrap().connect().await.expect("a connection");
        ReportsServiceClient::new(channel)
    }

    /// The report of [`builder::TENANT`] in February 2022 as CSV.
    pub(crate) async fn february(&self) -> String {
        let query = UsageQuery::new(builder::TENANT.parse().unwrap(), "2022-02".parse().unwrap());
        self.csv(&query).await.0
    }

    /// A whole report as CSV, with its revision.
    pub(crate) async fn csv(&self, query: &UsageQuery) -> (String, String) {
        let mut client = self.client().await;
        let download = client.detailed_usage(query).await.expect("a report");
        let revision = download.header().revision.clone();
        (to_csv(download).await, revision)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("a server that stops well");
            }
        }
    }
}

pub(crate) async fn to_csv(mut download: UsageDownload) -> String {
    let mut csv = CsvWriter::new(Vec::new(), CsvFormat::default());
    csv.write_header().unwrap();
    while let Some(records) = download.next().await.expect("records") {
        for record in &records {
            csv.write(record).unwrap();
        }
    }
    String::from_utf8(csv.into_inner().unwrap()).unwrap()
}

/// How often something is broken; `make torture` asks for more.
pub(crate) fn rounds(usual: u32) -> u32 {
    std::env::var("TORTURE_ROUNDS").map_or(usual, |rounds| rounds.parse().expect("a number of rounds"))
}

/// A random number generator. It prints its seed, so that a failure can be repeated.
pub(crate) fn rng() -> fastrand::Rng {
    let seed = std::env::var("TORTURE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    // Tests run side by side; their threads have their names.
    eprintln!("TORTURE_SEED={seed} of {}", std::thread::current().name().unwrap_or("a test"));
    fastrand::Rng::with_seed(seed)
}

/// The program under test.
pub(crate) fn program() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_secure-connect-reports"));
    // Only what a test says counts, not what the shell around it has.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SCR_") {
            command.env_remove(name);
        }
    }
    command.env_remove("DATABASE_URL");
    command
}

/// A database notices that its client was killed when it reads from it next.
pub(crate) async fn settle(database: &Database) {
    let sql = database.sql().await;
    let busy = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND (state <> 'idle' OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))";
    for _ in 0..200 {
        if sql.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("what a killed program began is still running in the database");
}

/// Success, and what a program wrote to standard output and standard error.
pub(crate) fn run(command: &mut std::process::Command) -> (bool, String, String) {
    let std::process::Output { status, stdout, stderr } = command.output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.success(), text(stdout), text(stderr))
}
