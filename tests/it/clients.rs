//! Other people's clients: grpcurl, Python, Node.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use secure_connect_reports::{client::UsageQuery, model::Columns};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    issuer::{Issuer, Signer},
    proxy::{Fate, Proxy},
};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A tool that `make test` has put there; `make tools` does it alone.
fn tool(path: &str) -> PathBuf {
    let tool = project("target/tools").join(path);
    assert!(tool.exists(), "{} is missing: run `make tools`", tool.display());
    tool
}

async fn run(mut command: Command) -> Result<String, String> {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("the client");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

async fn grpcurl(server: &Server, arguments: &[&str], method: &str) -> Result<String, String> {
    let mut command = Command::new(tool("grpcurl"));
    command.arg("-plaintext").args(arguments).arg(server.address.to_string()).args(method.split_whitespace());
    run(command).await
}

async fn served() -> (Database, Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = (0..1500).map(|n| {
        let row = Row::on("2022-02-01", "1.50").asset(&format!("{n:04}")).with("assetName", "\"東京\", 2\nlines");
        if n % 2 == 0 {
            row
        } else {
            row.bandwidth().with("platform", "azure").with("trialExpiry", "2022-03-01T00:00:00.5Z")
        }
    });
    database.import(&csv(&rows.collect::<Vec<_>>())).await;
    let server = database.serve();
    (database, server)
}

#[tokio::test]
async fn grpcurl_finds_its_way_by_reflection() {
    let (_database, server) = served().await;
    let services = grpcurl(&server, &[], "list").await.unwrap();
    let services: Vec<_> = services.lines().collect();
    for service in [
        "grpc.health.v1.Health",
        "secureconnect.reports.v1.ReportsService",
        "secureconnect.reports.v1.UsageImportService",
    ] {
        assert!(services.contains(&service), "{services:?}");
    }
    let described = grpcurl(&server, &[], "describe secureconnect.reports.v1.ReportsService").await.unwrap();
    assert!(described.contains("rpc GetDetailedUsage"), "{described}");
    let health = grpcurl(&server, &[], "grpc.health.v1.Health/Check").await.unwrap();
    assert_eq!(health.split_whitespace().collect::<String>(), r#"{"status":"SERVING"}"#);

    let method = |name: &str| format!("secureconnect.reports.v1.ReportsService/{name}");
    let tenants = grpcurl(&server, &["-d", r#"{"search": "ACME-HQ"}"#], &method("ListTenants")).await.unwrap();
    let tenants: serde_json::Value = serde_json::from_str(&tenants).unwrap();
    assert_eq!(tenants["tenants"][0]["tenantId"], TENANT);
    assert_eq!(tenants["totalSize"], "1");

    let request = format!(r#"{{"tenant_id": "{TENANT}", "month": {{"year": 2022, "month": 2}}}}"#);
    let stream = grpcurl(&server, &["-d", &request], &method("GetDetailedUsage")).await.unwrap();
    let messages = serde_json::Deserializer::from_str(&stream).into_iter::<serde_json::Value>();
    let messages: Vec<_> = messages.collect::<Result<_, _>>().unwrap();
    assert_eq!(messages[0]["header"]["recordCount"], "1500");
    assert_eq!(messages.last().unwrap()["summary"]["recordCount"], "1500");
    // The JSON names are the columns of the CSV; what is false or unset is left out.
    let record = messages[0]["records"][1].as_object().unwrap();
    assert!(record.keys().all(|name| Columns::NAMES.contains(&name.as_str())), "{record:?}");
    assert_eq!(
        (record["assetType"].as_str(), record["platform"].as_str()),
        (Some("ASSET_TYPE_USER"), Some("PLATFORM_AZURE"))
    );
    assert_eq!(
        (record["quantity"].as_str(), record["trialExpiry"].as_str()),
        (Some("1.50"), Some("2022-03-01T00:00:00.500Z"))
    );

    let error = grpcurl(&server, &["-d", "{}"], &method("GetDetailedUsage")).await.unwrap_err();
    for part in
        ["InvalidArgument", "tenant_id: is required", "\"domain\":\"secureconnect.reports\"", "\"field\":\"tenant_id\""]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn reflection_answers_in_its_newer_version_too() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (_database, server) = served().await;
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let answer =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.into_inner().message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"secureconnect.reports.v1.ReportsService"), "{names:?}");
}

/// Runs the example, and returns its file or what it says.
async fn python(address: &str, token: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let mut command = Command::new(tool("venv/bin/python"));
    command.arg(project("examples/python/usage_to_csv.py")).args([address, TENANT, "2022-02"]).arg(&file);
    command.env("SCR_TOKEN", token);
    let result = run(command).await;
    assert_eq!(result.is_ok(), file.exists(), "it has its name only when it is whole");
    result.map(|_| std::fs::read_to_string(file).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_downloads_the_same_csv_over_a_network_that_breaks() {
    let (database, server) = served().await;
    let undisturbed = server.february().await;
    let fate = |connection: u32| Fate {
        cut_after: if connection < 2 { 120_000 } else { u64::MAX },
        pause: Duration::from_millis(2),
    };
    let proxy = Proxy::start(server.address, fate).await;
    let restate = async {
        // It takes a moment to begin; then its first connection is slow.
        while proxy.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    };
    let (found, ()) = tokio::join!(python(proxy.url.trim_start_matches("http://"), ""), restate);
    assert_eq!(found.unwrap(), undisturbed);
    assert!(proxy.connections() >= 3, "{} connections", proxy.connections());
}

#[tokio::test]
async fn node_reads_costs() {
    let (_database, server) = served().await;
    let mut command = Command::new("node");
    command.arg(project("tests/clients/costs.js")).arg(tool("node/node_modules")).arg(project("proto"));
    command.args([&server.address.to_string(), ORG, "2022-02"]);
    let expected = "bandwidth_gib_essentials BILLING_REGION_EU 1125 88.25\n\
                    user_hours_essentials BILLING_REGION_EU 1125 11.25\n\
                    total 99.50 USD\n";
    assert_eq!(run(command).await.unwrap(), expected);
}

#[tokio::test]
async fn all_of_them_bring_a_token() {
    let (database, open) = served().await;
    let key = Signer::new(jsonwebtoken::Algorithm::RS256, "rsa");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let token = key.sign(&issuer.claims(&[ORG]));
    let header = format!("authorization: Bearer {token}");
    let list = "secureconnect.reports.v1.ReportsService/ListTenants";
    let tenants = grpcurl(&server, &["-H", &header], list).await.unwrap();
    assert!(tenants.contains("acme-hq"), "{tenants}");
    let refused = grpcurl(&server, &[], list).await.unwrap_err();
    for part in ["Code: Unauthenticated", "\"reason\":\"TOKEN_MISSING\""] {
        assert!(refused.contains(part), "{refused}");
    }

    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    assert_eq!(python(&server.address.to_string(), &token).await.unwrap(), open.csv(&query).await.0);
    let refused = python(&server.address.to_string(), "garbage").await.unwrap_err();
    assert!(refused.contains("the token is not valid for this service"));

    let node = |token: &str| {
        let mut command = Command::new("node");
        command.arg(project("tests/clients/costs.js")).arg(tool("node/node_modules")).arg(project("proto"));
        command.args([&server.address.to_string(), ORG, "2022-02"]).env("SCR_TOKEN", token);
        run(command)
    };
    assert!(node(&token).await.unwrap().ends_with("total 99.50 USD\n"));
    assert!(node("garbage").await.unwrap_err().contains("UNAUTHENTICATED"));
}
