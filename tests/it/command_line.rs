//! The program as people use it.

mod bills;
mod files;
mod focus;
mod forms;
mod names;
mod several;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    Database,
    builder::{CATALOG, ORG, Row, TENANT, csv},
    program, run,
    serving::Serving,
};

/// A served database with a catalog and these rows.
async fn served(rows: &[Row]) -> (Database, crate::support::Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(rows)).await;
    let server = database.serve();
    (database, server)
}

fn client(server: &crate::support::Server, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).args(["--server", &server.url()]);
    command
}

#[tokio::test]
async fn serving_without_authentication_is_for_loopback_and_said_loudly() {
    let database = Database::migrated();
    let serve = |arguments: &[&str]| {
        let mut command = program();
        run(command.arg("serve").args(arguments).env("DATABASE_URL", &database.url))
    };
    let (ok, _, log) = serve(&["--listen", "127.0.0.1:0"]);
    assert!(!ok && log.contains("no authentication is configured"), "{log}");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let (ok, _, log) = serve(&["--insecure-no-auth", "--listen", address]);
        assert!(!ok && log.contains("serves loopback addresses only"), "{log}");
    }
    let mut child = program()
        .args(["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &database.url)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.contains("WARN") && first.contains("NO AUTHENTICATION"), "{first}");
}

#[tokio::test]
async fn a_server_tells_its_health_and_stops_at_a_signal() {
    let database = Database::migrated();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut serving = Serving::open(program().env("DATABASE_URL", &database.url));
        let url = serving.url.clone();
        let healthy = || run(program().args(["healthcheck", "--server", &url]));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !healthy().0 {
            assert!(Instant::now() < deadline, "never SERVING");
        }
        assert_eq!(healthy().1, "SERVING\n");
        serving.signal(signal);
        let start = Instant::now();
        assert!(serving.child.wait().unwrap().success());
        assert!(start.elapsed() < Duration::from_secs(10));
        let (ok, _, error) = healthy();
        assert!(!ok && error.contains("cannot reach the server at http://127.0.0.1:"), "{error}");
    }
}

/// A name that is too long for a file is cut between two characters, and told; whatever it is called, its file is written.
#[tokio::test]
async fn tenants_are_named_by_id_or_by_a_name_that_is_theirs_alone() {
    let (database, server) = served(&[Row::on("2022-02-01", "1")]).await;
    let usage =
        |tenant: &str| run(&mut client(&server, &["usage", "--tenant", tenant, "--month", "2022-02", "-o", "-"]));
    assert_eq!(usage(TENANT).1, usage("acme-hq").1);
    let (ok, _, log) = usage("nobody");
    assert!(!ok && log.contains("there is no tenant named \"nobody\""), "{log}");
    let (ok, _, log) = usage("bbbbbbbb-0000-4000-8000-00000000ffff");
    assert!(!ok && log.contains("there is no such tenant"), "{log}");
    database.apply(&CATALOG.replace("\"acme-lab\"", "\"acme-hq\"")).await;
    let (ok, _, log) = usage("acme-hq");
    assert!(!ok && log.contains("several tenants are named \"acme-hq\"") && log.contains(TENANT), "{log}");
}

#[tokio::test]
async fn lists_and_costs_come_as_tables_csv_and_json() {
    let (_database, server) = served(&[Row::on("2022-02-01", "1.5"), Row::on("2022-02-02", "60").bandwidth()]).await;
    let (_, table, _) = run(&mut client(&server, &["tenants", "ACME-H"]));
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["ORGANIZATION", "TENANT", "TENANT", "ID", "STATUS", "PLAN", "USAGE"]);
    assert_eq!(lines[1], ["Acme", "acme-hq", TENANT, "NORMAL", "essentials", "2022-02", "to", "2022-02"]);
    assert_eq!(lines.len(), 2);
    let (_, text, _) = run(&mut client(&server, &["tenants", "--organization", ORG, "--format", "csv"]));
    assert_eq!(
        text.lines().next().unwrap(),
        "tenantId,name,organizationId,organizationName,status,plan,trial,trialExpiry,firstUsageMonth,lastUsageMonth"
    );
    assert_eq!(text.lines().count(), 3);

    let costs = ["costs", "--organization", ORG, "--month", "2022-02"];
    let (_, text, _) = run(client(&server, &costs).args(["--format", "json"]));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["lines"][0]["meterName"], "bandwidth_gib_essentials");
    assert_eq!(json["lines"][0]["tiers"][1]["amount"], "0.85");
    assert_eq!(json["lines"][1]["cost"], "0.02");
    assert_eq!(json["totals"][0]["cost"], "0.87");
    assert_eq!(json["totals"][0]["currency"], "USD");
    let (_, table, _) = run(&mut client(&server, &costs));
    let total: Vec<_> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(total, ["2022-02", "TOTAL", "0.87", "USD"]);
    let (_, text, _) = run(client(&server, &costs).args(["--format", "csv"]));
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("month,organizationId,tenantId,tenantName,plan,meterName"));
    assert!(lines.next().unwrap().ends_with(",GiB,EU,60,0,0.85,USD,1,2022-02,0.85"));
    let (ok, _, log) = run(client(&server, &costs).args(["--to", "2023-09"]));
    assert!(!ok && log.contains("20 months were requested; the maximum is 18"), "{log}");
}

#[tokio::test]
async fn files_are_imported_from_the_command_line() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, rows: &[Row]| {
        std::fs::write(folder.path().join(name), csv(rows)).unwrap();
    };
    write("1.csv", &[Row::on("2022-02-01", "1")]);
    write("2.csv", &[Row::on("2022-02-02", "2")]);
    write("1b.csv", &[Row::on("2022-02-01", "5"), Row::on("2022-02-01", "6").asset("b")]);
    write("bad.csv", &[Row::on("2022-02-01", "-1")]);
    let import = |arguments: &[&str]| {
        let mut command = program();
        command.arg("import").args(arguments).env("DATABASE_URL", &database.url).current_dir(folder.path());
        run(&mut command)
    };
    let (ok, out, log) = import(&["1.csv", "2.csv"]);
    assert!(ok, "{log}");
    assert_eq!(out, "2 files: 2 records; 2 loads published, 0 restated, 0 unchanged\n");
    assert_eq!(import(&["1.csv"]).1, "1.csv: unchanged (1 records, 1 loads)\n");
    let (ok, _, log) = import(&["bad.csv"]);
    assert!(!ok && log.contains("\n  line 2, quantity \"-1\": is negative"), "{log}");
    // The files of one command are one delivery: a record that is in two of them is there twice.
    let (ok, out, log) = import(&["1.csv", "1b.csv"]);
    assert!(
        !ok && log.contains("none of the 2 files was imported, and nothing was changed:\n  1b.csv, line 2, assetId"),
        "{log}"
    );
    assert!(log.contains(" as line 2 of 1.csv; add up the quantities, or give each row its own period"), "{log}");
    assert_eq!(out, "");
    let (_, out, _) = import(&["--dry-run", "1b.csv"]);
    assert!(out.starts_with("1b.csv: 2 records; dry run: 0 loads would be published, 1 restated"));
    let (_, out, _) = import(&["1b.csv"]);
    assert!(out.contains(": 1 -> 2 rows\n    user_hours_essentials: 1 -> 11\n"), "{out}");

    let mut piped = program()
        .args(["import", "-", "--source", "pipe"])
        .env("DATABASE_URL", &database.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(csv(&[Row::on("2022-02-03", "1")]).as_bytes()).unwrap();
    let output = piped.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "-: 1 records; 1 loads published, 0 restated, 0 unchanged\n");
    let sql = database.sql().await;
    let imports = "SELECT source || ' ' || file_name FROM usage_import ORDER BY import_id";
    let names: Vec<String> = sql.query(imports, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["default 1.csv, 2.csv", "default 1b.csv", "pipe -"]);
}

#[tokio::test]
async fn a_catalog_is_applied_from_the_command_line() {
    let database = Database::migrated();
    let folder = tempfile::tempdir().unwrap();
    let apply = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        run(program().args(["catalog", "apply"]).arg(path).env("DATABASE_URL", &database.url))
    };
    let (ok, out, log) = apply("catalog.toml", CATALOG);
    assert!(ok, "{log}");
    assert_eq!(out.lines().nth(1).unwrap(), "tenants            3 created      0 updated      0 unchanged");
    let (ok, _, log) = apply("wrong.toml", &CATALOG.replace("\"EUR\"", "\"EURO\""));
    assert!(
        !ok && log.contains("was not applied, and nothing was changed:\norganizations[1].currency: \"EURO\""),
        "{log}"
    );
    let (ok, _, log) = apply("catalog.yaml", CATALOG);
    assert!(!ok && log.contains("a catalog must be a .toml or .json file"), "{log}");
}

#[test]
fn the_demo_runs_twice_in_a_row_in_a_path_with_a_space() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a b");
    std::fs::create_dir(&folder).unwrap();
    for _ in 0..2 {
        let mut demo = program();
        // What is set around it plays no part.
        demo.args(["demo", "--once", "--listen", "127.0.0.1:0"]).current_dir(&folder).env("SCR_DRY_RUN", "true");
        let (ok, out, log) = run(&mut demo);
        assert!(ok, "{out}\n{log}");
        for line in [
            "contoso-hq 2022-02: 36 rows add up to all 9 lines of the bill, exactly: 86.44 USD",
            "contoso-global 2022-03: 334831 rows add up to all 17 lines of the bill, exactly: 8463.24 USD",
        ] {
            assert!(out.lines().any(|found| found == line), "{out}");
        }
    }
    let report = folder.join("demo-output/contoso-global_detailed_usage_2022-03.csv");
    assert_eq!(BufReader::new(std::fs::File::open(report).unwrap()).lines().count(), 334_832);
}

#[tokio::test]
async fn an_empty_variable_is_as_good_as_none() {
    let database = Database::with_catalog().await;
    let empty = [
        "SCR_OIDC_ISSUER",
        "SCR_JWKS",
        "SCR_AUDIENCE",
        "SCR_ROLES_CLAIM",
        "SCR_ORGANIZATIONS_CLAIM",
        "SCR_LOG",
        "SCR_CLIENT_CERTIFICATES",
        "SCR_TLS_CERT",
        "SCR_TLS_KEY",
        "SCR_TLS_CLIENT_CA",
        "SCR_IMPORT_DATABASE_URL",
        "SCR_DATA_DIR",
        "SCR_CLOCK_LEEWAY_SECONDS",
        "SCR_MAX_CONNECTIONS",
    ];
    let serving = Serving::open(program().envs(empty.map(|name| (name, ""))).env("DATABASE_URL", &database.url));
    let client = ["SCR_TOKEN", "SCR_TOKEN_FILE", "SCR_CA_FILE", "SCR_CLIENT_CERT", "SCR_CLIENT_KEY", "SCR_FORMAT"];
    let url = serving.url.clone();
    let (ok, text, error) = run(program().arg("tenants").envs(client.map(|name| (name, ""))).env("SCR_SERVER", url));
    assert!(ok && text.contains("acme-hq"), "{text} {error}");
    let (ok, _, error) = run(program().arg("migrate").env("SCR_GRANT_TO", "").env("DATABASE_URL", &database.url));
    assert!(ok, "{error}");
}
