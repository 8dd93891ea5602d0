//! What callers may take: deadlines, places, readers who do not read, and peers who misbehave. Those who behave are served
//! all the while.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use secure_connect_reports::{
    auth::AuthConfig,
    client::ClientConfig,
    contract::proto::{
        GetDetailedUsageRequest, GetDetailedUsageResponse, ImportUsageRequest, ListTenantsRequest, ListTenantsResponse,
    },
    service::{CallLimit, CallLimits},
    service::{ConnectionLimits, ServerConfig},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{ORG, TENANT},
    calls::{detailed_usage, monthly_costs, reason, request},
    issuer::{Issuer, Signer},
    program,
    raw::Connection,
    rng, rounds,
    serving::Serving,
};

const USAGE: &str = "ReportsService/GetDetailedUsage";
const TENANTS: &str = "ReportsService/ListTenants";
const COSTS: &str = "ReportsService/GetMonthlyCosts";
/// More than the network and all buffers hold.
const MANY_ROWS: usize = 60_000;
/// What a peer takes before it reads, where it does not read.
const WINDOW: u32 = 64 << 10;

fn open() -> AuthConfig {
    AuthConfig { insecure_no_auth: true, ..AuthConfig::default() }
}

fn with_calls(database: &Database, calls: CallLimits) -> Server {
    Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), open()) })
}

fn running(rpc: &str) -> String {
    format!("scr_running_calls{{rpc_method=\"secureconnect.reports.v1.{rpc}\"}}")
}

fn failures(rpc: &str, reason: &str) -> String {
    format!("scr_call_failures_total{{rpc_method=\"secureconnect.reports.v1.{rpc}\",reason=\"{reason}\"}}")
}

async fn wait_until<F: Future<Output = bool>>(what: &str, limit: Duration, mut is_so: impl FnMut() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn metric_is(server: &Server, name: &str, value: f64) {
    wait_until(&format!("{name} is {value}"), Duration::from_secs(2), || async { server.metric(name).await == value })
        .await;
}

/// Statements of the service that the database works on.
async fn statements(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
               AND application_name = 'secure-connect-reports'";
    database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_call_and_its_statement() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let clock = database.hold_clock().await;
    let mut connection = Connection::open(server.address, WINDOW).await;
    let usage = detailed_usage(TENANT);
    let costs = monthly_costs(ORG);
    for (path, timeout) in [(USAGE, "300m"), (USAGE, "300000u"), (COSTS, "300m"), (COSTS, "300000000n")] {
        let began = Instant::now();
        let headers = [("grpc-timeout", timeout)];
        let answer = match path {
            USAGE => connection.answer(path, &headers, &usage).await,
            _ => connection.answer(path, &headers, &costs).await,
        };
        let (_, status) = answer.read::<GetDetailedUsageResponse>().await;
        assert_eq!(reason(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{path} {timeout}");
        assert!(began.elapsed() >= Duration::from_millis(290), "{path} {timeout}: {:?}", began.elapsed());
    }
    wait_until("no statement is left", Duration::from_secs(1), || async { statements(&database).await == 0 }).await;
    clock.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(server.metric(&failures(USAGE, "DEADLINE_EXCEEDED")).await, 2.0);
}

/// The bytes of the answer's beginning are read, and no more until the server has given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_ends_at_its_deadline_or_when_it_stalls() {
    let database = Database::with_rows(MANY_ROWS).await;
    let stall = Duration::from_millis(400);
    for (limits, headers, code, why) in [
        (CallLimits::default(), vec![("grpc-timeout", "400m")], Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (CallLimits { stall, ..CallLimits::default() }, vec![], Code::Unavailable, "READER_STALLED"),
    ] {
        let server = with_calls(&database, limits);
        let mut connection = Connection::open(server.address, WINDOW).await;
        let answer = connection.answer(USAGE, &headers, &detailed_usage(TENANT)).await;
        // Nobody reads, and the call ends all the same.
        metric_is(&server, &failures(USAGE, why), 1.0).await;
        wait_until("no statement is left", Duration::from_secs(1), || async { statements(&database).await == 0 }).await;
        let (messages, status) = answer.read::<GetDetailedUsageResponse>().await;
        assert_eq!(reason(&status), (code, why.to_owned()));
        // What has come can be gone on from.
        let last = messages.last().expect("the first message");
        let rest = GetDetailedUsageRequest { resume_token: last.resume_token.clone(), ..detailed_usage(TENANT) };
        let (rest, status) = connection.answer(USAGE, &[], &rest).await.read::<GetDetailedUsageResponse>().await;
        assert_eq!(status.code(), Code::Ok);
        let rows = |messages: &[GetDetailedUsageResponse]| -> usize {
            messages.iter().map(|message| message.records.len()).sum()
        };
        assert_eq!(rows(&messages) + rows(&rest), MANY_ROWS);
        assert_eq!(server.metric("scr_resumed_downloads_total").await, 1.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_is_slow_but_steady_gets_everything() {
    let database = Database::with_rows(MANY_ROWS).await;
    let server = with_calls(&database, CallLimits { stall: Duration::from_secs(1), ..CallLimits::default() });
    let mut stream = server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let mut rows = 0;
    while let Some(message) = stream.message().await.expect("a message") {
        rows += message.records.len();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(rows, MANY_ROWS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_importer_that_says_nothing_is_not_waited_for() {
    let database = Database::with_catalog().await;
    let server = with_calls(&database, CallLimits { import_idle: Duration::from_millis(200), ..CallLimits::default() });
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut imports =
        secure_connect_reports::contract::proto::usage_import_service_client::UsageImportServiceClient::new(channel);
    let silence = tokio_stream::StreamExt::chain(
        tokio_stream::iter([ImportUsageRequest::default()]),
        tokio_stream::pending::<ImportUsageRequest>(),
    );
    let status = imports.import_usage(silence).await.expect_err("a refusal");
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "IMPORTER_STALLED".to_owned()));
}

/// Whoever begins calls and does not go on has no place for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let database = Database::with_catalog().await;
    let server = with_calls(&database, CallLimits { stall: Duration::from_millis(200), ..CallLimits::default() });
    let mut connection = Connection::open(server.address, WINDOW).await;
    for path in [USAGE, TENANTS, COSTS] {
        let status = connection.begin(path).await.read::<ListTenantsResponse>().await.1;
        assert_eq!(reason(&status), (Code::DeadlineExceeded, "REQUEST_STALLED".to_owned()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_shared_among_callers_and_others_are_refused_at_once() {
    let database = Database::with_rows(MANY_ROWS).await;
    let signer = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&signer]).await;
    let downloads = CallLimit { total: 3, per_caller: 2 };
    let calls = CallLimits { downloads, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), issuer.auth()) });
    let token = |subject: &str| {
        // Ann and her colleagues are of one organization, and others of the provider.
        let mut claims = issuer.claims(&[if subject.starts_with("ann") { ORG } else { "*" }]);
        claims["sub"] = subject.into();
        format!("Bearer {}", signer.sign(&claims))
    };
    let mut stub = server.stub().await;
    let mut ask = async |subject: &str| {
        stub.get_detailed_usage(request(detailed_usage(TENANT), &[&token(subject)]))
            .await
            .map(tonic::Response::into_inner)
    };
    let ann = ask("ann").await.expect("a stream");
    let _ann = ask("ann").await.expect("a stream");
    let status = ask("ann").await.expect_err("a refusal");
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    assert_eq!(status.message(), "you have as many downloads as you may have (2): let one of them end");
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["calls"].as_str(), metadata["limit"].as_str()), ("downloads", "2"));
    assert!(status.get_details_retry_info().is_none());
    let status = ask("ann's colleague").await.expect_err("a refusal");
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    assert!(status.message().starts_with("callers of your organization have as many downloads"), "{status:?}");
    let _bob = ask("bob").await.expect("a stream");
    // Ten times as many as there is room for.
    for n in 0..30 {
        let began = Instant::now();
        let status = ask(&format!("caller-{n}")).await.expect_err("a refusal");
        assert_eq!(reason(&status), (Code::Unavailable, "OVERLOADED".to_owned()));
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!((Duration::from_secs(1)..=Duration::from_secs(3)).contains(&delay), "{delay:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "at once");
    }
    // Short calls have places of their own.
    let list = request(ListTenantsRequest::default(), &[&token("ann")]);
    assert_eq!(server.stub().await.list_tenants(list).await.unwrap().into_inner().total_size, 2);
    assert_eq!(server.metric(&failures(USAGE, "OVERLOADED")).await, 30.0);
    // Who goes away leaves the place to others.
    drop(ann);
    metric_is(&server, &running(USAGE), 2.0).await;
    ask("carol").await.expect("a stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_calls_are_limited_too_while_the_database_is_slow() {
    let database = Database::with_catalog().await;
    let short_calls = CallLimit { total: 4, per_caller: 4 };
    let server = with_calls(&database, CallLimits { short_calls, ..CallLimits::default() });
    let clock = database.hold_clock().await;
    let mut connection = Connection::open(server.address, WINDOW).await;
    let costs = monthly_costs(ORG);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(connection.call(COSTS, &[], &costs).await.unwrap());
    }
    // A call is counted before it has its place, so what says that all places are taken is what they do.
    wait_until("all of them wait", Duration::from_secs(10), || async { statements(&database).await >= 4 }).await;
    assert_eq!(server.metric(&running(COSTS)).await, 4.0);
    let (_, status) =
        connection.answer(TENANTS, &[], &ListTenantsRequest::default()).await.read::<ListTenantsResponse>().await;
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    clock.batch_execute("ROLLBACK").await.unwrap();
    for response in waiting {
        response.await.expect("an answer");
    }
    metric_is(&server, &running(COSTS), 0.0).await;
    let (_, status) =
        connection.answer(TENANTS, &[], &ListTenantsRequest::default()).await.read::<ListTenantsResponse>().await;
    assert_eq!(status.code(), Code::Ok);
}

/// Streams that are given up leave nothing behind, and nothing of it reaches anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_streams_leave_nothing_in_the_database() {
    let database = std::sync::Arc::new(Database::with_rows(MANY_ROWS).await);
    let all = CallLimit { total: 1000, per_caller: 1000 };
    let server = with_calls(&database, CallLimits { downloads: all, short_calls: all, ..CallLimits::default() });
    let url = server.url();
    let others = tokio::spawn(async move {
        let config = secure_connect_reports::client::ClientConfig::new(url.clone());
        let mut client = secure_connect_reports::client::Client::connect(&config).await.unwrap();
        let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
        let mut stub =
            secure_connect_reports::contract::proto::reports_service_client::ReportsServiceClient::new(channel);
        loop {
            for _ in 0..20 {
                client.tenants("acme", None).await.expect("nobody else is cancelled");
            }
            // By the connections that the abandoned streams had.
            let stream = stub.get_detailed_usage(detailed_usage(TENANT)).await;
            let mut stream = stream.expect("nobody else is cancelled").into_inner();
            let mut rows = 0;
            while let Some(message) = stream.message().await.expect("nobody else is cancelled") {
                rows += message.records.len();
            }
            assert_eq!(rows, MANY_ROWS);
        }
    });
    let streams = 3 * rounds(40);
    let mut rng = rng();
    let mut connection = Connection::open(server.address, WINDOW).await;
    for n in 0..streams {
        let asset_types = if n % 2 == 0 { vec![] } else { vec![1] };
        let filter = secure_connect_reports::contract::proto::UsageFilter { asset_types, ..Default::default() };
        let usage = GetDetailedUsageRequest { filter: Some(filter), ..detailed_usage(TENANT) };
        let response = connection.call(USAGE, &[], &usage).await.expect("a call");
        // Some are given up before they are answered, some later.
        let _ = tokio::time::timeout(Duration::from_micros(rng.u64(0..20_000)), response).await;
    }
    drop(connection);
    assert!(!others.is_finished(), "{:?}", others.await);
    others.abort();
    let _ = others.await;
    wait_until("no statement is left", Duration::from_secs(1), || async { statements(&database).await == 0 }).await;
    metric_is(&server, &running(USAGE), 0.0).await;
    assert_eq!(server.february().await.lines().count(), MANY_ROWS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let database = Database::with_rows(MANY_ROWS).await;
    let server = database.serve();
    let client = server.client().await;
    let mut connection = Connection::open(server.address, WINDOW).await;
    let mut resets = 0;
    // Dropped, a call is reset.
    while resets < 10_000 && connection.call(USAGE, &[], &detailed_usage(TENANT)).await.map(drop).is_ok() {
        resets += 1;
    }
    assert!(resets < 10_000, "the server never had enough of it");
    drop(connection);
    metric_is(&server, &running(USAGE), 0.0).await;
    let mut client = client;
    assert_eq!(client.tenants("", None).await.expect("another connection").len(), 3);
    assert_eq!(server.february().await.lines().count(), MANY_ROWS + 1);
}

/// A peer whose machine is gone sends no FIN, and no answer to a ping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_vanishes_is_noticed() {
    let database = Database::with_rows(MANY_ROWS).await;
    let connections = ConnectionLimits { keepalive: Duration::from_millis(800), ..ConnectionLimits::default() };
    let server = Server::start(ServerConfig { connections, ..ServerConfig::new(database.config(), open()) });
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (requests, mut driver) = h2::client::handshake(stream).await.unwrap();
    let mut connection = Connection { requests, task: tokio::spawn(std::future::pending()) };
    let usage = detailed_usage(TENANT);
    let response = connection.call(USAGE, &[], &usage);
    // What drives the connection is there until the call has been made, and then stands still for ever.
    let made = async {
        tokio::select! {
            _ = &mut driver => panic!("the connection ended"),
            response = async { response.await.expect("a call").await } => response.expect("an answer"),
        }
    };
    let answer = made.await;
    assert_eq!(server.metric(&running(USAGE)).await, 1.0);
    for gone in [running(USAGE), "scr_connections".to_owned()] {
        let what = format!("{gone} is 0");
        wait_until(&what, Duration::from_secs(5), || async { server.metric(&gone).await == 0.0 }).await;
    }
    drop((answer, driver));
}

/// Where the system gives few file descriptors, there are few connections, and those are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_few_file_descriptors_serves_those_it_took() {
    let database = Database::with_rows(MANY_ROWS).await;
    let program = program();
    let mut command = std::process::Command::new("sh");
    // The hard limit, which the server cannot raise.
    command.args(["-c", "ulimit -n 144 && exec \"$0\" \"$@\""]).arg(program.get_program());
    let server = Serving::open(command.env("DATABASE_URL", &database.url));
    let config = ClientConfig { retry_for: Duration::ZERO, ..ClientConfig::new(&server.url) };
    let connect = async || secure_connect_reports::client::Client::connect(&config).await;
    let mut client = connect().await.expect("a server");
    let address = server.url.trim_start_matches("http://");
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.extend(tokio::net::TcpStream::connect(address).await);
    }
    let query = secure_connect_reports::client::UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    let mut download = client.detailed_usage(&query).await.expect("a report");
    let mut rows = 0;
    while let Some(records) = download.next().await.expect("records") {
        rows += records.len();
    }
    assert_eq!(rows, MANY_ROWS);
    drop(flood);
    wait_until("there is room again", Duration::from_secs(5), || async {
        match connect().await {
            Ok(mut client) => client.tenants("", None).await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
}
