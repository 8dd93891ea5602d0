//! Other people's tools: pyarrow, and what takes its tables.

use std::process::Command;

use jsonwebtoken::Algorithm;
use secure_connect_reports::service::{ServerConfig, TlsConfig};

use crate::{
    clients::{project, run, served, tool},
    support::{
        Database, Server,
        builder::{ORG, Row, TENANT, csv},
        issuer::{Issuer, Signer},
        pki::Authority,
    },
};

/// Reads February 2022 of the builder's tenant with Python, holds it against its CSV, and returns what the script says.
async fn python(server: &str, csv: &str, environment: &[(&str, &str)]) -> Result<serde_json::Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    std::fs::write(&file, csv).unwrap();
    let mut command = Command::new(tool("venv/bin/python"));
    command.args(["-B"]).arg(project("tests/clients/columns.py")).args([server, TENANT, "2022-02"]).arg(file);
    command.env_remove("SCR_TOKEN").env_remove("SCR_CA_FILE").envs(environment.iter().copied());
    run(command).await.map(|found| serde_json::from_str(&found).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyarrow_polars_and_duckdb_read_what_the_csv_says() {
    let (_database, server) = served().await;
    let found = python(&format!("grpc://{}", server.address), &server.february().await, &[]).await.unwrap();
    for tool in ["pyarrow", "polars", "duckdb", "billed"] {
        assert_eq!(found[tool].as_str().map(|sum| sum.trim_end_matches('0')), Some("2250."), "{tool}: {found}");
    }
    let flights = serde_json::json!([["detailed_usage", TENANT, "2022-02"], ["monthly_costs", ORG, "2022-02"]]);
    assert_eq!(found["flights"], flights);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyarrow_reads_quantities_of_more_than_38_digits_together() {
    let database = Database::with_catalog().await;
    let smallest = format!("0.{}1", "0".repeat(37));
    database.import(&csv(&[Row::on("2022-02-01", &"1".repeat(37)), Row::on("2022-02-02", &smallest)])).await;
    let server = database.serve();
    let found = python(&format!("grpc://{}", server.address), &server.february().await, &[]).await.unwrap();
    assert_eq!(found["pyarrow"], format!("{}.{}1", "1".repeat(37), "0".repeat(37)));
    assert_eq!(found["billed"], found["pyarrow"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyarrow_brings_its_token_over_tls() {
    let (database, open) = served().await;
    let key = Signer::new(Algorithm::RS256, "rsa");
    let issuer = Issuer::start(&[&key]).await;
    let authority = Authority::new("the provider's");
    let files = authority.server("server", &["localhost"]);
    let tls = Some(TlsConfig::new(&files.certificate, &files.key));
    let server = Server::start(ServerConfig { tls, ..ServerConfig::new(database.config(), issuer.auth()) });
    let uri = format!("grpc+tls://localhost:{}", server.address.port());
    let authorities = authority.file().display().to_string();
    let token = key.sign(&issuer.claims(&[ORG]));
    let environment = [("SCR_TOKEN", token.as_str()), ("SCR_CA_FILE", &authorities)];
    let report = open.february().await;
    assert_eq!(python(&uri, &report, &environment).await.unwrap()["billed"], "2250.000000000000000000");
    let refused = python(&uri, &report, &environment[1..]).await.unwrap_err();
    assert!(refused.contains("FlightUnauthenticatedError"), "{refused}");
}
