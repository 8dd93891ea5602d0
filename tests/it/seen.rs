//! What can be seen of a running server: metrics, the dashboard and the rules that are made of them, and traces.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use secure_connect_reports::contract::proto::{
    ImportUsageRequest, ListTenantsRequest, reports_service_client::ReportsServiceClient,
    usage_import_service_client::UsageImportServiceClient,
};
use serde_json::Value;
use tonic::{Request, Response, Status, metadata::MetadataValue, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{ORG, Row, TENANT, csv},
    calls::{detailed_usage, monthly_costs, request},
    issuer::{Issuer, Signer},
    serving::Serving,
};

fn count(rpc: &str, code: &str) -> String {
    format!(
        "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",rpc_method=\"secureconnect.reports.v1.{rpc}\",\
         rpc_response_status_code=\"{code}\"}}"
    )
}

/// Calls of every kind, good and bad.
async fn call_everything(database: &Database, server: &Server) {
    let rows: Vec<Row> = (0..700).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:03}"))).collect();
    database.import(&csv(&rows)).await;
    let mut stub = server.stub().await;
    stub.list_tenants(ListTenantsRequest::default()).await.unwrap();
    stub.get_monthly_costs(monthly_costs(ORG)).await.unwrap();
    stub.get_detailed_usage(detailed_usage(ORG)).await.expect_err("that is no tenant");
    let mut stream = stub.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let messages = tokio_stream::iter([ImportUsageRequest::default()]);
    UsageImportServiceClient::new(channel).import_usage(messages).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_measured() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    call_everything(&database, &server).await;
    for (name, value) in [
        (count("ReportsService/ListTenants", "OK"), 1.0),
        (count("ReportsService/GetDetailedUsage", "OK"), 1.0),
        (count("ReportsService/GetDetailedUsage", "NOT_FOUND"), 1.0),
        (count("UsageImportService/ImportUsage", "OK"), 1.0),
        ("scr_rows_total{rpc_method=\"secureconnect.reports.v1.ReportsService/GetDetailedUsage\"}".to_owned(), 700.0),
        ("scr_rows_total{rpc_method=\"secureconnect.reports.v1.ReportsService/ListTenants\"}".to_owned(), 3.0),
        ("scr_database_connections_limit{pool=\"export\"}".to_owned(), 8.0),
        ("scr_resumed_downloads_total".to_owned(), 0.0),
    ] {
        assert_eq!(server.metric(&name).await, value, "{name} in\n{}", server.metrics().await);
    }
    let bytes = "scr_response_bytes_total{rpc_method=\"secureconnect.reports.v1.ReportsService/GetDetailedUsage\"}";
    assert!(server.metric(bytes).await > 700.0 * 50.0);
    // The newest load and health are looked at every two seconds.
    let published: f64 = {
        let sql = "SELECT extract(epoch FROM published_at)::float8 FROM usage_load";
        database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while (server.metric("scr_newest_load_timestamp_seconds").await - published).abs() > 0.001 {
        assert!(Instant::now() < deadline, "{}", server.metrics().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.metric("scr_serving").await, 1.0);
}

/// The metrics of ours that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("scr_") || word.starts_with("rpc_server_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_rules_ask_for_metrics_that_are_there() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    call_everything(&database, &server).await;
    let text = server.metrics().await;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();

    let dashboard: Value = serde_json::from_str(include_str!("../../docs/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let rules = include_str!("../../docs/monitoring/alerts.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(shown.len() >= 15 && alerts.len() >= 9);
    let mut used = BTreeSet::new();
    for expression in shown.iter().chain(&alerts) {
        // Whether a server can be read is known to Prometheus, and not to the server.
        if expression.starts_with("up{") {
            continue;
        }
        let names = named(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in &names {
            assert!(there.contains(name.as_str()), "{expression}: there is no {name} in\n{text}");
        }
        let selectors = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        for label in selectors.flat_map(|selector| selector.split(',')).filter_map(|one| one.split(['=', '!']).next()) {
            assert!(label == "instance" || text.contains(&format!("{label}=\"")), "{expression}: {label}");
        }
        used.extend(names);
    }
    // All of them are to be seen, and explained; so is what to do about each alert.
    let operations = include_str!("../../docs/operations.md");
    let mut families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    families.remove("target");
    for family in families {
        let is_used = used.iter().any(|name| name.starts_with(family));
        assert!(is_used, "{family} is on no dashboard");
        assert!(operations.contains(&format!("`{family}")), "{family} is not in docs/operations.md");
    }
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(operations.contains(&format!("### {alert}\n")), "{alert} is not in docs/operations.md");
    }
}

/// Takes spans, as a collector does.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<BTreeSet<String>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            self.services.lock().unwrap().extend(attribute(&attributes, "service.name"));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

impl Collector {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        url
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_traced_below_the_span_of_their_caller() {
    let database = Database::with_catalog().await;
    let rows: Vec<Row> = (0..700).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:03}"))).collect();
    database.import(&csv(&rows)).await;
    let signer = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&signer]).await;
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let mut serving = Serving::start(&database, &issuer, |command| {
        command.args(["--otlp-endpoint", &endpoint]);
    });
    let authorization = format!("Bearer {}", signer.sign(&issuer.claims(&[ORG])));
    let traced = |tenant: &str, parent: &'static str| {
        let mut request = request(detailed_usage(tenant), &[&authorization]);
        request.metadata_mut().insert("traceparent", MetadataValue::from_static(parent));
        request
    };
    let mut stub = ReportsServiceClient::new(serving.channel().await);
    let good = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    let mut stream = stub.get_detailed_usage(traced(TENANT, good)).await.unwrap().into_inner();
    let mut records = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        records.extend(message.records);
    }
    let bad = "00-fedcba9876543210fedcba9876543210-fedcba9876543210-01";
    stub.get_detailed_usage(traced(ORG, bad)).await.expect_err("that is no tenant");
    // Whoever does not want to be traced is not.
    let not = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-aaaaaaaaaaaaaaaa-00";
    stub.get_detailed_usage(traced(ORG, not)).await.expect_err("that is no tenant");
    let mut imports = UsageImportServiceClient::new(serving.channel().await);
    let message = ImportUsageRequest { records: records.split_off(1), ..Default::default() };
    let mut import = Request::new(tokio_stream::iter([message]));
    import.metadata_mut().insert("authorization", authorization.parse().unwrap());
    import
        .metadata_mut()
        .insert("traceparent", MetadataValue::from_static("00-00000000000000000000000000000001-0000000000000001-01"));
    imports.import_usage(import).await.expect("an import");
    drop((stub, stream, imports));
    // What was not sent yet is sent at the end.
    serving.signal(Signal::SIGTERM);
    assert!(tokio::task::spawn_blocking(move || serving.child.wait()).await.unwrap().unwrap().success());

    let spans = collector.spans.lock().unwrap().clone();
    let of = |trace: &[u8], name: &str| -> Vec<Span> {
        spans.iter().filter(|span| span.trace_id == trace && span.name == name).cloned().collect()
    };
    let rpc = "secureconnect.reports.v1.ReportsService/GetDetailedUsage";
    let trace = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
    let calls = of(&trace, rpc);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(call.parent_span_id, 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    assert_eq!(call.kind, i32::from(SpanKind::Server));
    for (key, value) in
        [("rpc.system.name", "grpc"), ("rpc.method", rpc), ("rpc.response.status_code", "OK"), ("scr.rows", "700")]
    {
        assert_eq!(attribute(&call.attributes, key).as_deref(), Some(value), "{key}");
    }
    // Its statements lie within it, also those of the stream.
    for name in ["find_tenant", "loads_in_force", "stored_totals", "read_blocks"] {
        let statements = of(&trace, name);
        let [statement] = &statements[..] else { panic!("{name}: {statements:?}") };
        assert_eq!(statement.parent_span_id, call.span_id, "{name}");
        assert_eq!(statement.kind, i32::from(SpanKind::Client), "{name}");
        assert_eq!(attribute(&statement.attributes, "db.system.name").as_deref(), Some("postgresql"));
        assert!(call.start_time_unix_nano <= statement.start_time_unix_nano, "{name}");
        assert!(statement.end_time_unix_nano <= call.end_time_unix_nano, "{name}");
    }
    let import = of(&1_u128.to_be_bytes(), "secureconnect.reports.v1.UsageImportService/ImportUsage");
    assert_eq!(import.len(), 1);
    for name in ["copy_blocks", "lock_publishing", "add_months", "commit"] {
        let steps = of(&1_u128.to_be_bytes(), name);
        let [step] = &steps[..] else { panic!("{name}: {steps:?}") };
        assert_eq!(step.parent_span_id, import[0].span_id, "{name}");
    }
    let refused = of(&0xfedc_ba98_7654_3210_fedc_ba98_7654_3210_u128.to_be_bytes(), rpc);
    let attributes = &refused[0].attributes;
    assert_eq!(attribute(attributes, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!(attribute(attributes, "error.type").as_deref(), Some("TENANT_NOT_FOUND"));
    assert_ne!(refused[0].status.clone().unwrap_or_default().code, i32::from(StatusCode::Error), "the caller's fault");
    assert!(spans.iter().all(|span| span.trace_id != [0xaa; 16]));
    assert_eq!(collector.services.lock().unwrap().iter().next().map(String::as_str), Some("secure-connect-reports"));
    assert!(spans.iter().all(|span| attribute(&span.attributes, "authorization").is_none()));
}
