//! What is too large, too many at once, or takes too long: refused by name, and nothing else suffers.

use std::time::{Duration, Instant};

use secure_connect_reports::{
    auth::AuthConfig,
    contract::proto::{
        ImportUsageRequest, ListTenantsRequest, UsageRecord, usage_import_service_client::UsageImportServiceClient,
    },
    service::{CallLimit, CallLimits},
    service::{ConnectionLimits, ServerConfig},
    store::StoreConfig,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{ORG, TENANT},
    calls::{detailed_usage, monthly_costs, reason},
    program,
    raw::Connection,
};

const TENANTS: &str = "ReportsService/ListTenants";

fn config(database: &Database) -> ServerConfig {
    ServerConfig::new(database.config(), AuthConfig { insecure_no_auth: true, ..AuthConfig::default() })
}

async fn importer(server: &Server) -> UsageImportServiceClient<Channel> {
    UsageImportServiceClient::new(Channel::from_shared(server.url()).unwrap().connect().await.unwrap())
}

fn search(length: usize) -> ListTenantsRequest {
    ListTenantsRequest { search: "x".repeat(length), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_have_so_many_bytes() {
    let database = Database::with_catalog().await;
    let calls = CallLimits { request_bytes: 4096, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..config(&database) });
    let mut stub = server.stub().await;
    assert_eq!(stub.list_tenants(search(256)).await.unwrap().into_inner().total_size, 0);
    let status = stub.list_tenants(search(257)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    assert_eq!(status.message(), "search: has 257 bytes; the maximum is 256");
    let too_large = (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned());
    let status = stub.list_tenants(search(4096)).await.unwrap_err();
    assert_eq!(reason(&status), too_large);
    assert_eq!(status.message(), "the message has 4099 bytes; one message of this RPC may have 4096");

    // Each message of an import is measured by itself: more of them is what to do.
    let records = |count: usize| ImportUsageRequest {
        records: vec![UsageRecord { asset_name: "a".repeat(100), ..Default::default() }; count],
        ..Default::default()
    };
    let mut imports = importer(&server).await;
    let status = imports.import_usage(tokio_stream::iter([records(1), records(50)])).await.unwrap_err();
    assert_eq!(reason(&status), too_large);
    let status = imports.import_usage(tokio_stream::iter(vec![records(10); 5])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "it was read, and is wrong: {status:?}");
    assert_eq!(stub.list_tenants(search(0)).await.unwrap().into_inner().total_size, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_may_have_so_many_bytes() {
    let database = Database::with_catalog().await;
    let connections = ConnectionLimits { header_bytes: 4096, ..ConnectionLimits::default() };
    let server = Server::start(ServerConfig { connections, ..config(&database) });
    let mut connection = Connection::open(server.address, 64 << 10).await;
    let mut ask = async |bytes: usize| {
        let padding = "a".repeat(bytes);
        let headers = [("x-padding", padding.as_str())];
        let response = connection.call(TENANTS, &headers, &ListTenantsRequest::default()).await.expect("a call");
        response.await.map(|response| response.status().as_u16())
    };
    assert_eq!(ask(3000).await.unwrap(), 200);
    // This is HTTP's own answer: the call has not got as far as to be one of gRPC.
    assert_eq!(ask(8000).await.unwrap(), 431);
    assert_eq!(ask(3000).await.unwrap(), 200, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_at_once_may_be_so_many() {
    let database = Database::with_catalog().await;
    let calls = CallLimits { imports: CallLimit { total: 1, per_caller: 1 }, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..config(&database) });
    let mut imports = importer(&server).await;
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let first = {
        let mut imports = imports.clone();
        tokio::spawn(async move { imports.import_usage(tokio_stream::wrappers::ReceiverStream::new(messages)).await })
    };
    send.send(ImportUsageRequest::default()).await.unwrap();
    // It has its place once it is read from: the third message is taken when the first has been.
    for _ in 0..2 {
        send.send(ImportUsageRequest::default()).await.unwrap();
    }
    let running = "scr_running_calls{rpc_method=\"secureconnect.reports.v1.UsageImportService/ImportUsage\"}";
    let began = Instant::now();
    while server.metric(running).await < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(10), "it never runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = imports.import_usage(tokio_stream::iter([ImportUsageRequest::default()])).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["calls"].as_str(), metadata["limit"].as_str()), ("imports", "1"));
    drop(send);
    assert_eq!(first.await.unwrap().unwrap().into_inner().record_count, 0);
    let answer = imports.import_usage(tokio_stream::iter([ImportUsageRequest::default()])).await.unwrap();
    assert_eq!(answer.into_inner().record_count, 0);
}

/// Whoever may make one call at a time, and waits for its end, makes the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_follow_another_at_once() {
    let database = Database::with_catalog().await;
    let calls = CallLimits { short_calls: CallLimit { total: 1, per_caller: 1 }, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..config(&database) });
    let mut stub = server.stub().await;
    for n in 0..2000 {
        // Well, and with an error.
        let page_size = if n % 2 == 0 { 1 } else { -1 };
        let answer = stub.list_tenants(ListTenantsRequest { page_size, ..Default::default() }).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, if n % 2 == 0 { Code::Ok } else { Code::InvalidArgument }, "call {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_may_take_so_long() {
    let database = Database::with_rows(10).await;
    let limit = Duration::from_millis(300);
    let store = StoreConfig { statement_timeout: limit, ..database.config() };
    let server = Server::start(ServerConfig { store, ..config(&database) });
    let mut stub = server.stub().await;
    let took_too_long = (Code::DeadlineExceeded, "STATEMENT_TIMEOUT".to_owned());
    for table in ["tenant", "usage_month", "usage_block"] {
        let sql = database.sql().await;
        sql.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        let began = Instant::now();
        let status = match table {
            "tenant" => stub.list_tenants(ListTenantsRequest::default()).await.unwrap_err(),
            "usage_month" => stub.get_monthly_costs(monthly_costs(ORG)).await.unwrap_err(),
            _ => match stub.get_detailed_usage(detailed_usage(TENANT)).await {
                Err(status) => status,
                // The report is announced before its records are read.
                Ok(answer) => {
                    let mut stream = answer.into_inner();
                    loop {
                        match stream.message().await {
                            Ok(message) => assert!(message.expect("not the end").records.is_empty()),
                            Err(status) => break status,
                        }
                    }
                }
            },
        };
        assert_eq!(reason(&status), took_too_long, "{table}");
        assert!(began.elapsed() >= limit, "{table}");
        sql.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(stub.list_tenants(ListTenantsRequest::default()).await.unwrap().into_inner().total_size, 3);
    let mut stream = stub.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let mut rows = 0;
    while let Some(message) = stream.message().await.unwrap() {
        rows += message.records.len();
    }
    assert_eq!(rows, 10);
}

/// What no server could work with is refused before it starts, by the name of the option.
#[test]
fn options_have_bounds() {
    for (command, option, value) in [
        ("serve", "--max-connections", "0"),
        ("serve", "--max-connections", "18446744073709551615"),
        ("serve", "--short-connections", "0"),
        ("serve", "--export-connections", "100000"),
        ("serve", "--max-downloads", "0"),
        ("serve", "--max-header-bytes", "10"),
        ("serve", "--handshake-seconds", "0"),
        ("serve", "--stop-delay-seconds", "18446744073709551615"),
        ("serve", "--drain-seconds", "31536001"),
        ("serve", "--statement-timeout-seconds", "2000001"),
        ("usage", "--retry-for", "18446744073709551615"),
        ("purge", "--keep-months", "0"),
    ] {
        let output = program().args([command, option, value]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(option) && said.contains(value), "{said}");
    }
}
