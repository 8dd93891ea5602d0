//! The layers above the services, as they are on the wire.

use http::{Method, Request};
use secure_connect_reports::{
    contract::proto::ListTenantsRequest,
    service::{CallLimit, CallLimits, ServerConfig},
};
use serde_json::json;
use tonic::Code;

use crate::support::{
    Database, Server,
    builder::{ORG, TENANT},
    calls::{Rpc, detailed_usage, reason},
    issuer::{Issuer, Signer},
    raw::Connection,
};

const LIST_TENANTS: &str = "secureconnect.reports.v1.ReportsService/ListTenants";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_grpc_call_is_refused_before_its_caller_is_authenticated() {
    let database = Database::with_catalog().await;
    let issuer = Issuer::start(&[&Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed")]).await;
    let server = database.serve_with(issuer.auth());
    let mut connection = Connection::open(server.address, 1 << 16).await;
    for (method, content_type, http, grpc) in [
        (Method::GET, Some("application/grpc"), 405, None),
        (Method::PUT, Some("application/grpc"), 405, None),
        (Method::POST, None, 415, None),
        (Method::POST, Some("application/json"), 415, None),
        (Method::POST, Some("application/grpc-web+proto"), 415, None),
        (Method::POST, Some("application/grpc+json"), 415, None),
        (Method::POST, Some("application/grpc"), 200, Some("16")),
        (Method::POST, Some("application/grpc+proto"), 200, Some("16")),
    ] {
        let case = format!("{method} {content_type:?}");
        let mut request = Request::builder().method(method).uri(format!("http://localhost/{LIST_TENANTS}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.header("x-request-id", "odd-7").body(()).unwrap();
        let answer = connection.send(request).await;
        assert_eq!(answer.status.as_u16(), http, "{case}");
        assert_eq!(answer.headers.get("grpc-status").map(|status| status.to_str().unwrap()), grpc, "{case}");
        assert_eq!(answer.headers.get("x-request-id").unwrap(), "odd-7", "{case}");
        assert_eq!(answer.headers.get("allow").is_some_and(|allow| allow == "POST"), http == 405, "{case}");
    }
    // What is no call is not counted as one.
    let refused = format!("scr_call_failures_total{{rpc_method=\"{LIST_TENANTS}\",reason=\"TOKEN_MISSING\"}}");
    assert_eq!(server.metric(&refused).await, 2.0);
    let metrics = server.metrics().await;
    let ended = metrics.lines().filter(|line| line.starts_with("rpc_server_call_duration_seconds_count"));
    assert_eq!(ended.count(), 1, "{metrics}");
}

/// A page of another site can make a browser with a client certificate send anything that needs no permission: a form's content
/// types, and any body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_on_the_port_takes_grpc_alone_and_from_no_foreign_page() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let mut connection = Connection::open(server.address, 1 << 16).await;
    let own = format!("http://localhost:{}", server.address.port());
    for path in [
        LIST_TENANTS,
        "secureconnect.reports.v1.UsageImportService/ImportUsage",
        "grpc.health.v1.Health/Check",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        // Nor is it told otherwise where there is nothing.
        "no.such.Service/Method",
        "",
    ] {
        for (method, content_type, origin, http) in [
            (Method::GET, "application/grpc", None, 405),
            (Method::OPTIONS, "application/grpc", Some("https://evil.example"), 403),
            (Method::POST, "text/plain", None, 415),
            (Method::POST, "application/x-www-form-urlencoded", None, 415),
            (Method::POST, "multipart/form-data; boundary=x", None, 415),
            (Method::POST, "application/grpc", Some("https://evil.example"), 403),
            (Method::POST, "application/grpc", Some("null"), 403),
            (Method::POST, "application/grpc", Some(own.as_str()), 200),
            (Method::POST, "application/grpc", None, 200),
        ] {
            let case = format!("{path} {method} {content_type} {origin:?}");
            let request = Request::builder().method(method).uri(format!("{own}/{path}"));
            let request = request.header("content-type", content_type);
            let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            let answer = connection.send(request.body(()).unwrap()).await;
            assert_eq!(answer.status.as_u16(), http, "{case}");
        }
    }
    assert_eq!(server.metric("scr_imported_loads_total{outcome=\"published\"}").await, 0.0);
}

/// Whoever may not call does not count against a limit, and learns nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_authorized_before_its_call_is_admitted() {
    let database = Database::with_rows(20_000).await;
    let key = Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let calls = CallLimits { downloads: CallLimit { total: 1, per_caller: 1 }, ..CallLimits::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), issuer.auth()) });
    let token = |roles: &[&str]| {
        let mut claims = issuer.claims(&[ORG]);
        claims["roles"] = json!(roles);
        format!("Bearer {}", key.sign(&claims))
    };
    let (reader, importer) = (token(&["Reports"]), token(&["UsageImport"]));
    let mut connection = Connection::open(server.address, 1 << 14).await;
    let path = "ReportsService/GetDetailedUsage";
    let running = connection.answer(path, &[("authorization", &reader)], &detailed_usage(TENANT)).await;
    for (token, code, expected) in
        [(&reader, Code::ResourceExhausted, "CALLER_LIMIT"), (&importer, Code::PermissionDenied, "ROLE_MISSING")]
    {
        let answer = connection.answer(path, &[("authorization", token)], &detailed_usage(TENANT)).await;
        let (_, status) = answer.read::<ListTenantsRequest>().await;
        assert_eq!(reason(&status), (code, expected.to_owned()));
    }
    drop(running);
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let refused = Rpc::GetDetailedUsage.call(&channel, &[&importer]).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "ROLE_MISSING".to_owned()));
}
