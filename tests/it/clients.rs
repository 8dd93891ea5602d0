//! Other people's clients: grpcurl, and the examples in Python and Node.

mod scripted;
mod service_config;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use secure_connect_reports::{
    client::UsageQuery,
    model::Column,
    service::{ServerConfig, TlsConfig},
};

use crate::support::{
    Database, Server,
    builder::{ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    issuer::{Issuer, Signer},
    pki::Authority,
    proxy::{Fate, Proxy},
};

/// Names that break a careless reader or writer of CSV.
const NAMES: &[&str] = &[
    "",
    " ",
    " a ",
    "\"",
    "\"\"",
    "say \"hi\"",
    "a,b",
    ",",
    "a\rb",
    "\r",
    "a\nb",
    "\n",
    "a\r\nb",
    "=1+1",
    "+cmd",
    "-1",
    "@x",
    "\ta",
    "\u{b}",
    "\u{1}",
    "\u{e9}",
    "e\u{301}",
    "\u{2028}",
    "\"東京\", 2\nlines",
];

pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A tool that `make test` has put there; `make tools` does it alone.
pub(crate) fn tool(path: &str) -> PathBuf {
    let tool = project("target/tools").join(path);
    assert!(tool.exists(), "{} is missing: run `make tools`", tool.display());
    tool
}

pub(crate) async fn run(mut command: Command) -> Result<String, String> {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("the client");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

async fn grpcurl(server: &Server, arguments: &[&str], method: &str) -> Result<String, String> {
    let mut command = Command::new(tool("grpcurl"));
    command.arg("-plaintext").args(arguments).arg(server.address.to_string()).args(method.split_whitespace());
    run(command).await
}

pub(crate) async fn served() -> (Database, Server) {
    let database = Database::with_catalog().await;
    let rows = (0..1500).map(|n| {
        let name = NAMES[n / 2 % NAMES.len()];
        let row = Row::on("2022-02-01", "1.50").asset(&format!("{n:04}{name}")).with("assetName", name);
        if n % 2 == 0 {
            row.with("end", "2022-02-01T00:59:59.00012Z").with("trialExpiry", "1969-12-31T23:59:59.999999Z")
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
    assert!(record.keys().all(|name| Column::NAMES.contains(&name.as_str())), "{record:?}");
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

/// An example. Of the variables that it reads it gets only these.
fn example(program: &Path, file: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    for name in ["SCR_TOKEN", "SCR_CA_FILE", "PAGE_SIZE"] {
        command.env_remove(name);
    }
    command.arg(project(file)).env("NODE_PATH", tool("node/node_modules")).envs(environment.iter().copied());
    command
}

/// Runs the example, and returns its file or its error.
async fn python(address: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let mut command = example(&tool("venv/bin/python"), "examples/python/usage_to_csv.py", environment);
    command.args([address, TENANT, "2022-02"]).arg(&file);
    let result = run(command).await;
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!((file.exists(), left), (result.is_ok(), usize::from(result.is_ok())), "the whole file or none");
    result.map(|_| std::fs::read_to_string(file).unwrap())
}

/// Runs the example, and returns what it prints or its error.
async fn node(address: &str, arguments: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    let mut command = example(Path::new("node"), "examples/node/costs.js", environment);
    command.arg(address).args(arguments.split_whitespace());
    run(command).await
}

fn address(proxy: &Proxy) -> &str {
    proxy.url.trim_start_matches("http://")
}

#[test]
fn examples_are_tested_with_the_versions_that_they_name() {
    let tested = include_str!("../clients/requirements.txt");
    for line in include_str!("../../examples/python/requirements.txt").lines() {
        assert!(tested.lines().any(|other| other.trim_end_matches(" \\") == line), "{line}");
    }
    let [tested, named] = [include_str!("../clients/package.json"), include_str!("../../examples/node/package.json")]
        .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap()["dependencies"].clone());
    for (name, version) in named.as_object().unwrap() {
        assert_eq!(&tested[name], version, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_downloads_the_same_csv_over_a_network_that_breaks() {
    let (database, server) = served().await;
    let undisturbed = server.february().await;
    assert_eq!(database.import(&undisturbed).await.published_at, None, "a report is what was imported");
    let fate = |connection: u32| Fate {
        // After the first byte; then twice in the second message. A message of 512 records has some 110 kB.
        cut_after: [1, 150_000, 150_000].get(connection as usize).copied().unwrap_or(u64::MAX),
        pause: Duration::from_millis(2),
    };
    let proxy = Proxy::start(server.address, fate).await;
    let restate = async {
        // There is a third connection when the second one has delivered records.
        while proxy.connections() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    };
    let (found, ()) = tokio::join!(python(address(&proxy), &[]), restate);
    assert_eq!(found.unwrap(), undisturbed);
    assert!(proxy.connections() >= 4, "{} connections", proxy.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_reads_costs_page_by_page_over_a_network_that_breaks() {
    let (database, server) = served().await;
    let expected = format!(
        "2022-02 acme-hq ({TENANT})\n  bandwidth_gib_essentials BILLING_REGION_EU 1125 88.25\n  \
         user_hours_essentials BILLING_REGION_EU 1125 11.25\n2022-02 total 99.50 USD\n"
    );
    let arguments = format!("{ORG} 2022-02");
    assert_eq!(node(&server.address.to_string(), &arguments, &[]).await.unwrap(), expected);

    let mut rows = Vec::new();
    for (tenant, day) in [(TENANT, "2022-03-01"), (TENANT_2, "2022-02-01"), (TENANT_2, "2022-03-01")] {
        for region in ["AF", "AP", "NA"] {
            let row = Row::on(day, "0.5").of(ORG, tenant).with("billingRegion", region);
            rows.extend([row.clone(), row.bandwidth()]);
        }
    }
    database.import(&csv(&rows)).await;
    let arguments = format!("{ORG} 2022-02 2022-03");
    let undisturbed = node(&server.address.to_string(), &arguments, &[]).await.unwrap();
    // 20 lines, 4 headings and 2 totals. A new line costs 0.01 or nothing.
    assert_eq!(undisturbed.lines().count(), 26, "{undisturbed}");
    assert!(undisturbed.ends_with("2022-02 total 99.53 USD\n2022-03 total 0.06 USD\n"), "{undisturbed}");
    let fate = |connection: u32| Fate {
        // After the first byte; then in the first page; then in a later one.
        cut_after: [1, 300, 2000].get(connection as usize).copied().unwrap_or(u64::MAX),
        pause: Duration::ZERO,
    };
    let proxy = Proxy::start(server.address, fate).await;
    assert_eq!(node(address(&proxy), &arguments, &[("PAGE_SIZE", "1")]).await.unwrap(), undisturbed);
    assert!(proxy.connections() >= 4, "{} connections", proxy.connections());
}

#[tokio::test]
async fn node_shows_usage_without_a_price() {
    let database = Database::with_catalog().await;
    let row = Row::on("2022-02-01", "5").of(ORG_EUR, TENANT_EUR);
    database.import(&csv(&[row.clone(), row.with("trial", "TRUE").bandwidth()])).await;
    let server = database.serve();
    let expected = format!(
        "2022-02 zeta-hq ({TENANT_EUR})\n  bandwidth_gib_essentials BILLING_REGION_EU 0 0.00\n  \
         user_hours_essentials BILLING_REGION_EU 5 no price\n2022-02 total 0.00 EUR\n"
    );
    let found = node(&server.address.to_string(), &format!("{ORG_EUR} 2022-02"), &[("PAGE_SIZE", "1")]).await;
    assert_eq!(found.unwrap(), expected);
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
    let report = open.csv(&query).await.0;
    let authority = Authority::new("the provider's");
    let files = authority.server("server", &["localhost"]);
    let tls = Some(TlsConfig::new(&files.certificate, &files.key));
    let tls_server = Server::start(ServerConfig { tls, ..ServerConfig::new(database.config(), issuer.auth()) });
    let over_tls = format!("localhost:{}", tls_server.address.port());
    let authorities = authority.file().display().to_string();
    let costs = format!("{ORG} 2022-02");
    for (server, authorities) in [(server.address.to_string(), ""), (over_tls, authorities.as_str())] {
        let with = |token| [("SCR_TOKEN", token), ("SCR_CA_FILE", authorities)];
        assert_eq!(python(&server, &with(&token)).await.unwrap(), report);
        assert!(node(&server, &costs, &with(&token)).await.unwrap().ends_with("total 99.50 USD\n"));
        let refused = python(&server, &with("garbage")).await.unwrap_err();
        assert!(refused.contains("the token is not valid for this service"), "{refused}");
        let refused = node(&server, &costs, &with("garbage")).await.unwrap_err();
        assert!(refused.contains("UNAUTHENTICATED"), "{refused}");
    }
    for (server, token) in [("reports.example:1", "secret"), ("127.0.0.1:1", "sec\nret")] {
        for refused in
            [python(server, &[("SCR_TOKEN", token)]).await, node(server, &costs, &[("SCR_TOKEN", token)]).await]
        {
            let refused = refused.unwrap_err();
            assert!(refused.contains("token") && !refused.contains("sec") && refused.lines().count() == 1, "{refused}");
        }
    }
}
