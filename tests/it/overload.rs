//! More than there is room for: what has no place is refused, everybody else is served, and memory stays as it is.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use secure_connect_reports::{
    auth::AuthConfig,
    client::{Client, ClientConfig, UsageQuery, is_serving},
    contract::proto::{GetDetailedUsageResponse, ListTenantsRequest, reports_service_client::ReportsServiceClient},
    service::{ConnectionLimits, ServerConfig},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{ORG, TENANT},
    calls::{detailed_usage, monthly_costs, reason},
    program,
    raw::{Answer, Connection},
    rounds,
    serving::Serving,
};

const USAGE: &str = "ReportsService/GetDetailedUsage";
/// Some 12 MB of messages.
const MANY_ROWS: usize = 50_000;
const READERS: usize = 16;

fn serve(database: &Database, options: &[&str]) -> Serving {
    let mut command = program();
    command.env("DATABASE_URL", &database.url);
    Serving::open_with(&mut command, options)
}

async fn client(serving: &Serving) -> Client {
    Client::connect(&ClientConfig::new(&serving.url)).await.expect("a client")
}

async fn rows_of_a_download(client: &mut Client) -> usize {
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    let mut download = client.detailed_usage(&query).await.expect("a report");
    let mut rows = 0;
    while let Some(records) = download.next().await.expect("records") {
        rows += records.len();
    }
    rows
}

/// What the process had of memory at its peak, in MiB.
fn peak_mib(serving: &Serving) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// All places but one are taken by readers who do not read, and ten times as many ask for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_too_much_is_refused_and_the_others_are_served() {
    let database = Database::with_rows(MANY_ROWS).await;
    let places = READERS.to_string();
    let calls = (10 * READERS).to_string();
    let options = [
        ["--max-downloads", &places],
        ["--max-downloads-per-caller", "1000"],
        ["--export-connections", "2"],
        ["--max-calls-per-connection", &calls],
    ]
    .concat();
    let serving = serve(&database, &options);
    let address = serving.url.trim_start_matches("http://").parse().unwrap();
    let mut client = client(&serving).await;
    let mut stuck = Vec::new();
    for n in 0..READERS - 1 {
        // Some take next to nothing, some as much as the window of a usual client.
        let mut connection = Connection::open(address, [1 << 10, 64 << 10, 4 << 20][n % 3]).await;
        let answer = connection.answer(USAGE, &[], &detailed_usage(TENANT)).await;
        stuck.push((connection, answer));
    }
    assert_eq!(rows_of_a_download(&mut client).await, MANY_ROWS, "more downloads than connections take turns");

    let _last = {
        let mut connection = Connection::open(address, 1 << 10).await;
        let answer = connection.answer(USAGE, &[], &detailed_usage(TENANT)).await;
        (connection, answer)
    };
    let mut connection = Connection::open(address, 64 << 10).await;
    let mut stub = ReportsServiceClient::new(serving.channel().await);
    // All at once, and short calls between them.
    let mut refused = Vec::new();
    for _ in 0..10 * READERS {
        refused.push(connection.call(USAGE, &[], &detailed_usage(TENANT)).await.expect("a call"));
    }
    for response in refused {
        let (_, status) = Answer::of(response).await.read::<GetDetailedUsageResponse>().await;
        assert_eq!(reason(&status), (Code::Unavailable, "OVERLOADED".to_owned()));
        assert!(status.get_details_retry_info().is_some());
        assert_eq!(client.tenants("", None).await.expect("a short call").len(), 3);
    }
    let costs = stub.get_monthly_costs(monthly_costs(ORG)).await.expect("a short call").into_inner();
    assert_eq!(costs.lines[0].record_count, MANY_ROWS as i64);

    // Those who begin to read after all get everything.
    for (_connection, answer) in stuck {
        let (messages, status) = answer.read::<GetDetailedUsageResponse>().await;
        assert_eq!(status.code(), Code::Ok);
        assert_eq!(messages.iter().map(|message| message.records.len()).sum::<usize>(), MANY_ROWS);
    }
    let peak = peak_mib(&serving);
    assert!(peak <= 100, "{peak} MiB, and the reports alone have {} MB", READERS * 12);
}

/// Every connection for exports has a statement that does not end: downloads that find none are refused in time, and short
/// calls are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_that_hang_hold_up_no_short_call() {
    let database = Database::with_rows(MANY_ROWS).await;
    let options = ["--export-connections", "2", "--database-wait-seconds", "1"];
    let serving = serve(&database, &options);
    let mut client = client(&serving).await;
    let mut holder = database.sql().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE usage_block IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let downloads: Vec<_> = (0..6)
        .map(|_| {
            let (url, request) = (serving.url.clone(), detailed_usage(TENANT));
            tokio::spawn(async move {
                let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
                let mut stub = ReportsServiceClient::new(channel);
                let mut stream = stub.get_detailed_usage(request).await?.into_inner();
                let mut rows = 0;
                while let Some(message) = stream.message().await? {
                    rows += message.records.len();
                }
                Ok::<_, tonic::Status>(rows)
            })
        })
        .collect();
    // Until those that wait have waited long enough.
    let deadline = Instant::now() + Duration::from_secs(10);
    while downloads.iter().filter(|download| download.is_finished()).count() < 4 {
        assert_eq!(client.tenants("", None).await.expect("a short call").len(), 3);
        assert!(Instant::now() < deadline, "downloads without a connection wait for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lock.rollback().await.unwrap();
    let (mut whole, mut refused) = (0, 0);
    for download in downloads {
        match download.await.unwrap() {
            Ok(rows) => {
                assert_eq!(rows, MANY_ROWS);
                whole += 1;
            }
            Err(status) => {
                assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()));
                refused += 1;
            }
        }
    }
    assert_eq!((whole, refused), (2, 4));
}

/// All connections for short calls wait for a publisher, and the server is well all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_do_not_make_the_server_look_ill() {
    let database = Database::with_catalog().await;
    let serving = serve(&database, &["--short-connections", "2", "--database-wait-seconds", "1"]);
    let config = ClientConfig::new(&serving.url);
    while !is_serving(&config).await.expect("an answer") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let clock = database.hold_clock().await;
    let mut connection = Connection::open(serving.url.trim_start_matches("http://").parse().unwrap(), 64 << 10).await;
    let costs = monthly_costs(ORG);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(connection.call("ReportsService/GetMonthlyCosts", &[], &costs).await.expect("a call"));
    }
    // Health is looked at every two seconds.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        assert!(is_serving(&config).await.expect("an answer"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let impatient = ClientConfig { retry_for: Duration::ZERO, ..config.clone() };
    let mut impatient = Client::connect(&impatient).await.expect("a client");
    let status = impatient.tenants("", None).await.expect_err("there is no connection");
    assert!(status.to_string().contains("database is not available"), "{status}");
    clock.batch_execute("ROLLBACK").await.unwrap();
    for response in waiting {
        response.await.expect("an answer");
    }
}

/// Streams that are opened and, once their answer has begun, reset, thousands of times on one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_reset_leave_nothing_behind() {
    let database = Database::with_rows(MANY_ROWS).await;
    let serving = serve(&database, &[]);
    let address = serving.url.trim_start_matches("http://").parse().unwrap();
    let mut bystander = client(&serving).await;
    let mut connection = Connection::open(address, 64 << 10).await;
    let (mut early, mut closed) = (0, Vec::new());
    for n in 0..rounds(10) * 50 {
        // Dropped, a call is reset. The server may have had enough of the connection.
        let answered = match connection.call(USAGE, &[], &detailed_usage(TENANT)).await {
            Ok(response) => response.await.map(drop),
            Err(error) => Err(error),
        };
        if answered.is_err() {
            closed.push(n);
            connection = Connection::open(address, 64 << 10).await;
        }
        if n % 100 == 50 {
            early = peak_mib(&serving);
            assert_eq!(rows_of_a_download(&mut bystander).await, MANY_ROWS);
        }
    }
    assert_eq!(bystander.tenants("", None).await.expect("a short call").len(), 3);
    let sql = database.sql().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
                AND application_name = 'secure-connect-reports'";
    let deadline = Instant::now() + Duration::from_secs(1);
    while sql.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "a statement goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let peak = peak_mib(&serving);
    assert!(peak <= 100, "{peak} MiB, and {early} at first");
    // Whoever gives up now and then keeps its connection.
    assert!(closed.iter().all(|&n| n > 1000), "{closed:?}");
}

/// The system has no file descriptor left for a new connection; what is there is served, and what waits gets its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_connections_wait_and_those_that_are_there_are_served() {
    let began = Instant::now();
    let database = Database::with_rows(MANY_ROWS).await;
    let serving = serve(&database, &[]);
    let pid = serving.child.id();
    let limit = |files: usize| {
        let process = Pid::from_raw(pid.cast_signed());
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: u64::try_from(files).ok(), maximum };
        prlimit(process, Resource::Nofile, limit).expect("it is our own");
    };
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux").count();
    let mut there = client(&serving).await;
    // It opens the connections to the database that it needs.
    assert_eq!(rows_of_a_download(&mut there).await, MANY_ROWS);
    limit(open() + 2);
    let address = serving.url.trim_start_matches("http://").to_owned();
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(tokio::net::TcpStream::connect(&address).await.expect("the system takes it"));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !serving.everything().contains("cannot accept connections") {
        assert!(Instant::now() < deadline, "{}", serving.everything());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..3 {
        assert_eq!(rows_of_a_download(&mut there).await, MANY_ROWS);
        assert_eq!(there.tenants("", None).await.expect("a short call").len(), 3);
    }
    // The flood ends, and whoever has waited is served.
    drop(flood);
    let mut late = tokio::time::timeout(Duration::from_secs(20), client(&serving)).await.expect("a connection");
    assert_eq!(late.tenants("", None).await.expect("a short call").len(), 3);
    let warnings = serving.everything().matches("cannot accept connections").count();
    // Ten in 10 seconds.
    let limit = 10 * (1 + began.elapsed().as_secs() / 10);
    assert!(warnings as u64 <= limit, "the log is not flooded: {warnings}");
}

/// An old connection is asked to end: an idle one does at once, and a download goes on to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_do_not_grow_old() {
    let database = Database::with_rows(MANY_ROWS).await;
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let connections = ConnectionLimits { age: Some(Duration::from_millis(300)), ..ConnectionLimits::default() };
    let server = Server::start(ServerConfig { connections, ..ServerConfig::new(database.config(), auth) });
    let mut idle = server.stub().await;
    let mut busy = server.stub().await;
    idle.list_tenants(ListTenantsRequest::default()).await.expect("a short call");
    let began = Instant::now();
    let mut stream = busy.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let mut rows = 0;
    while let Some(message) = stream.message().await.expect("a message") {
        rows += message.records.len();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(rows, MANY_ROWS);
    assert!(began.elapsed() > Duration::from_millis(600), "{:?}", began.elapsed());
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.metric("scr_connections").await > 0.0 {
        assert!(Instant::now() < deadline, "both have ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Clients make another one without being told.
    let tenants = idle.list_tenants(ListTenantsRequest::default()).await.expect("another connection");
    assert_eq!(tenants.into_inner().total_size, 3);
}
