//! What is under docs/monitoring, loaded into a real Prometheus that reads a real server: `make monitoring`.

#![allow(missing_docs, dead_code, clippy::needless_pass_by_value, clippy::unwrap_used, reason = "tests")]

#[path = "it/support/mod.rs"]
mod support;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use secure_connect_reports::contract::proto::{
    ImportUsageRequest, ListTenantsRequest, usage_import_service_client::UsageImportServiceClient,
};
use serde_json::Value;
use support::{
    Database, Server,
    builder::{ORG, Row, TENANT, csv},
    calls::{detailed_usage, monthly_costs},
};

/// Prometheus, reading a server's metrics four times a second. It ends when this is dropped.
struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new("docs/monitoring/alerts.yml").canonicalize().unwrap();
        let config = serde_json::json!({
            "global": { "scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms" },
            "rule_files": [rules],
            "scrape_configs": [{ "job_name": "secure-connect-reports", "static_configs": [{ "targets": [target] }] }],
        });
        // JSON is YAML.
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let tool = PathBuf::from("target/tools/prometheus/usr/bin/prometheus");
        let program = if tool.exists() { tool } else { PathBuf::from("prometheus") };
        let mut child = Command::new(&program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make monitoring` gets it", program.display()));
        // It says which port it was given, and goes on writing.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find(|line| line.contains("msg=\"Listening on\"")).expect("Prometheus does not start");
        let (_, address) = listening.split_once("address=").expect("an address");
        let url = format!("http://{}", address.trim());
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, _folder: folder }
    }

    /// What it answers, as soon as it does.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(answer) = reqwest::get(url.clone()).await
                && let Ok(answer) = answer.text().await.map(|text| serde_json::from_str::<Value>(&text))
                && let Ok(answer) = answer
            {
                return answer;
            }
            assert!(Instant::now() < deadline, "Prometheus does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until it reads the server.
    async fn reads(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let targets = self.get("/api/v1/targets", &[]).await;
            if targets["data"]["activeTargets"][0]["health"] == "up" {
                return;
            }
            assert!(Instant::now() < deadline, "{targets}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The series that an expression has.
    async fn series(&self, expression: &str) -> usize {
        let answer = self.get("/api/v1/query", &[("query", expression)]).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().len()
    }
}

/// Calls of every kind, good and bad.
async fn call_everything(server: &Server) {
    let mut stub = server.stub().await;
    stub.list_tenants(ListTenantsRequest::default()).await.unwrap();
    stub.get_monthly_costs(monthly_costs(ORG)).await.unwrap();
    stub.get_detailed_usage(detailed_usage(ORG)).await.expect_err("that is no tenant");
    let mut stream = stub.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let mut records = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        records.extend(message.records);
    }
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let message = ImportUsageRequest { records, ..Default::default() };
    UsageImportServiceClient::new(channel).import_usage(tokio_stream::iter([message])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_and_every_panel_finds_what_it_asks_for() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let server = database.serve();
    let prometheus = Prometheus::start(&server.metrics.to_string());
    prometheus.reads().await;
    // Rates need two readings.
    for _ in 0..8 {
        call_everything(&server).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }

    let groups = prometheus.get("/api/v1/rules", &[]).await;
    let rules: Vec<&Value> = groups["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(rules.len() >= 9, "{groups}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        // A server that is well gives no alarm. That the database has been quiet is known after a day and a half only.
        assert_eq!(rule["state"], "inactive", "{rule}");
        // Without its comparison, what the rule looks at is there.
        let condition = rule["query"].as_str().unwrap();
        let comparison = [" == ", " > "].iter().filter_map(|sign| condition.rfind(sign)).max().expect("a comparison");
        let watched = &condition[..comparison];
        assert!(prometheus.series(watched).await > 0, "{watched}");
    }

    let dashboard: Value = serde_json::from_str(include_str!("../docs/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = 0;
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        // As Grafana does.
        let expression = target["expr"].as_str().unwrap().replace("$instance", ".*").replace("$__rate_interval", "5s");
        assert!(prometheus.series(&expression).await > 0, "{expression}");
        shown += 1;
    }
    assert!(shown >= 15, "{shown}");
}
