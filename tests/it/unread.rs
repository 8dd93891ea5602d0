//! Answers that nobody reads.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use secure_connect_reports::{
    auth::AuthConfig,
    contract::proto::{ImportUsageRequest, ListTenantsRequest, usage_import_service_client::UsageImportServiceClient},
    service::{CallLimit, CallLimits, ServerConfig},
    store::StoreConfig,
};
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{ORG, TENANT},
    calls::{detailed_usage, monthly_costs, reason, request},
    issuer::{Issuer, Signer},
    raw::{Answer, Connection},
};

const USAGE: &str = "ReportsService/GetDetailedUsage";
const TENANTS: &str = "ReportsService/ListTenants";
const COSTS: &str = "ReportsService/GetMonthlyCosts";

/// For whoever comes, with room for so many bytes of unread answers.
fn serve(database: &Database, per_caller: usize) -> Server {
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let unread_bytes = CallLimit { total: 8 << 20, per_caller };
    let calls = CallLimits { unread_bytes, stall: Duration::from_millis(300), ..CallLimits::default() };
    Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), auth) })
}

/// Whether an answer began, or its caller has too much that it does not read.
fn is_given(answer: &Answer) -> bool {
    match Status::from_header_map(&answer.headers) {
        None => true,
        Some(status) => {
            assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()), "{status:?}");
            false
        }
    }
}

/// Costs that nobody reads: their calls have ended for the server, which has places for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_short_answers_takes_no_place_of_others() {
    let database = Database::with_rows(100).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let short_calls = CallLimit { total: 10, per_caller: 5 };
    // An answer counts 16 KiB and its bytes.
    let unread_bytes = CallLimit { total: 1 << 20, per_caller: 200_000 };
    let calls = CallLimits { short_calls, unread_bytes, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), issuer.auth()) });
    let token = |subject: &str| {
        let mut claims = issuer.claims(&["*"]);
        claims["sub"] = subject.into();
        format!("Bearer {}", key.sign(&claims))
    };
    let (mut connections, mut unread) = (Vec::new(), Vec::new());
    let mut refused = 0;
    for subject in ["ann", "bob"] {
        // Not a byte of an answer is taken.
        let mut connection = Connection::open(server.address, 0).await;
        let token = token(subject);
        let headers = [("authorization", token.as_str())];
        for _ in 0..30 {
            let answer = connection.answer(COSTS, &headers, &monthly_costs(ORG)).await;
            match tonic::Status::from_header_map(&answer.headers) {
                None => unread.push(answer),
                Some(status) => {
                    assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()), "{status:?}");
                    refused += 1;
                }
            }
        }
        connections.push(connection);
    }
    assert!(unread.len() > 10 && refused > 10, "{} unread, {refused} refused", unread.len());
    let carol = token("carol");
    let answer = server.stub().await.get_monthly_costs(request(monthly_costs(ORG), &[&carol])).await;
    assert_eq!(answer.expect("a place").into_inner().lines.len(), 1);
}

/// The transport has what a call leaves behind when its time is over, and so does its account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_read_counts_after_the_end_of_its_call() {
    let database = Database::with_rows(100).await;
    let (costs, tenants, usage) = (monthly_costs(ORG), ListTenantsRequest::default(), detailed_usage(TENANT));
    // An answer counts 16 KiB and its bytes, a download 512 KiB more.
    for (path, per_caller) in [(COSTS, 100_000), (TENANTS, 100_000), (USAGE, 2_000_000)] {
        let server = serve(&database, per_caller);
        let mut connection = Connection::open(server.address, 0).await;
        let mut kept = Vec::new();
        for _ in 0..4 {
            for _ in 0..4 {
                let headers = [("grpc-timeout", "200m")];
                let answer = match path {
                    COSTS => connection.answer(path, &headers, &costs).await,
                    TENANTS => connection.answer(path, &headers, &tenants).await,
                    _ => connection.answer(path, &headers, &usage).await,
                };
                if is_given(&answer) {
                    kept.push(answer);
                }
            }
            // Their deadline passes, and nobody has read for too long.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert!((2..=6).contains(&kept.len()), "{path}: {} answers are unread", kept.len());
        // Whoever gives them up has room again.
        drop(kept);
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(connection.answer(TENANTS, &[], &tenants).await);
            if answers.last().is_some_and(is_given) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(answers.last().is_some_and(is_given), "{path}");
    }
}

/// What was imported is never answered with a refusal: where there is no room for the answer, nothing is imported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_without_room_for_its_answer_does_not_begin() {
    let database = Database::with_rows(1).await;
    let reports = database.serve();
    let mut stub = reports.stub().await;
    let record = stub.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner().message().await;
    let record = record.unwrap().unwrap().records.remove(0);
    let message = ImportUsageRequest { source: "other".to_owned(), records: vec![record], ..Default::default() };
    for (per_caller, is_imported) in [(1_000_000, false), (2_000_000, true)] {
        let server = serve(&database, per_caller);
        let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
        let answer = UsageImportServiceClient::new(channel).import_usage(tokio_stream::iter([message.clone()])).await;
        let loads = "SELECT count(*) FROM usage_load WHERE source = 'other'";
        let loads: i64 = database.sql().await.query_one(loads, &[]).await.unwrap().get(0);
        assert_eq!(loads, i64::from(is_imported));
        match answer {
            Ok(_) => assert!(is_imported),
            Err(status) => {
                assert_eq!(reason(&status), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()), "{status:?}");
                assert!(!is_imported);
            }
        }
    }
}

/// A bill keeps a connection to the database for as long as it is read; there are others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_that_hang_hold_up_no_other_call() {
    let database = Database::with_rows(100).await;
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let store = StoreConfig {
        short_connections: 2,
        connect_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(4),
        ..database.config()
    };
    let server = Server::start(ServerConfig::new(store, auth));
    let held = database.sql().await;
    held.batch_execute("BEGIN; LOCK TABLE price IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut bills = Vec::new();
    for _ in 0..6 {
        let mut stub = server.stub().await;
        bills.push(tokio::spawn(async move { stub.get_monthly_costs(monthly_costs(ORG)).await.map(drop) }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut stub = server.stub().await;
    for _ in 0..20 {
        stub.list_tenants(ListTenantsRequest::default()).await.expect("a list");
    }
    let mut reasons = Vec::new();
    for bill in bills {
        reasons.push(reason(&bill.await.unwrap().unwrap_err()).1);
    }
    reasons.sort_unstable();
    assert_eq!(reasons, [&["DATABASE_UNAVAILABLE"; 5][..], &["STATEMENT_TIMEOUT"]].concat());
    held.batch_execute("ROLLBACK").await.unwrap();
    stub.get_monthly_costs(monthly_costs(ORG)).await.expect("a bill");
}
