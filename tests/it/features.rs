//! Cargo features: who depends on the client compiles the client.

use std::process::Command;

/// What `cargo tree` names for a program that depends on this package with these features.
fn packages(features: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{lib}"])
        .args(["--no-default-features", "--features", features])
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect();
    packages.sort();
    packages.dedup();
    packages
}

#[test]
fn the_client_alone_brings_nothing_of_the_servers() {
    const SERVERS: [&str; 12] = [
        "axum",
        "clap",
        "deadpool_postgres",
        "jsonwebtoken",
        "opentelemetry",
        "opentelemetry_otlp",
        "prometheus_client",
        "refinery",
        "reqwest",
        "tokio_postgres",
        "tonic_reflection",
        "tracing_subscriber",
    ];
    let client = packages("client");
    for library in ["tonic", "prost", "bigdecimal"] {
        assert!(client.iter().any(|package| package == library), "{library} is not among {client:?}");
    }
    let found: Vec<_> = client.iter().filter(|package| SERVERS.contains(&package.as_str())).collect();
    assert!(found.is_empty(), "{found:?}");
    // The names are right: the whole program has them all.
    let all = packages("cli");
    let missing: Vec<_> = SERVERS.iter().filter(|library| !all.iter().any(|package| package == *library)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
