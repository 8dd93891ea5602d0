//! `usage` of several tenants and months: whole, of one moment, and continued as a whole.

mod interrupted;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use secure_connect_reports::client::UsageQuery;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{run, served};
use crate::support::{
    Server,
    builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    program,
};

const MANIFEST: &str = "manifest.json";
/// The source of what tests import.
const SOURCE: &str = "default";

fn usage(server: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = program();
    command.args(["usage", "--server", server, "-o"]).arg(folder).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

async fn finished(child: Child) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

async fn downloaded(server: &Server, folder: &Path, more: &[&str]) -> (bool, String) {
    finished(usage(&server.url(), folder, more).spawn().unwrap()).await
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(MANIFEST)).unwrap()).unwrap()
}

/// Holds what the manifest says of its files against them, and the files against the reports as of its moment. Returns tenant,
/// month and number of rows of each.
async fn check(server: &Server, folder: &Path) -> Vec<(String, String, u64)> {
    let manifest = manifest(folder);
    let mut found = Vec::new();
    let mut names = vec![MANIFEST.to_owned()];
    for report in manifest["reports"].as_array().unwrap() {
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        assert_eq!(report["asOf"], manifest["asOf"]);
        let (tenant, month) = (text("tenantId"), text("month"));
        let as_of = Some(text("asOf").parse().unwrap());
        let query = UsageQuery { as_of, ..UsageQuery::new(tenant.parse().unwrap(), month.parse().unwrap()) };
        let (expected, revision) = server.csv(&query).await;
        let rows = report["rowCount"].as_u64().unwrap();
        assert_eq!(expected.lines().count() as u64, rows + 1);
        if rows == 0 {
            assert_eq!([&report["file"], &report["sha256"], &report["bytes"], &report["revision"]], [&Value::Null; 4]);
        } else {
            let content = fs::read(folder.join(text("file"))).unwrap();
            assert!(content == expected.as_bytes(), "{report}");
            let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((report["bytes"].as_u64().unwrap(), text("sha256")), (content.len() as u64, digest));
            assert_eq!(text("revision"), revision);
            names.push(text("file"));
        }
        found.push((tenant, month, rows));
    }
    names.sort();
    assert_eq!(files(folder), names, "nothing else is left");
    assert_eq!(manifest["rowCount"].as_u64().unwrap(), found.iter().map(|(.., rows)| rows).sum::<u64>());
    found
}

/// A few rows of three tenants in three months.
fn some_rows() -> Vec<Row> {
    vec![
        Row::on("2022-02-01", "1"),
        Row::on("2022-02-02", "2"),
        Row::on("2022-03-01", "3"),
        Row::on("2022-03-01", "4").of(ORG, TENANT_2),
        Row::on("2022-03-31", "5").of(ORG_EUR, TENANT_EUR),
    ]
}

fn expected(reports: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    reports.iter().map(|&(tenant, month, rows)| (tenant.to_owned(), month.to_owned(), rows)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_a_source_has_not_delivered_are_in_the_manifest() {
    let rows = ["2022-02-01", "2022-02-03", "2022-02-06"].map(|day| Row::on(day, "1"));
    let (_database, server) = served(&rows).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("all");
    let all = ["--organization", "Acme", "--month", "2022-02"];
    let (ok, log) = downloaded(&server, &folder, &all).await;
    assert!(ok, "{log}");
    let missing = ["2022-02-02", "2022-02-04", "2022-02-05"];
    let reports = &manifest(&folder)["reports"];
    assert_eq!(reports[0]["missingDays"], json!([{ "source": SOURCE, "days": missing }]));
    assert_eq!(reports[1]["missingDays"], json!([]));
    let warning = format!("warning: {} has not delivered {} for acme-hq\n", SOURCE, missing.join(", "));
    assert_eq!(log.matches(&warning).count(), 1, "{log}");
    // One report says the same.
    let file = parent.path().join("one.csv");
    let (ok, log) = downloaded(&server, &file, &["--tenant", TENANT, "--month", "2022-02"]).await;
    assert!(ok && log.contains(&warning), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_and_month_has_a_file_and_the_manifest_lists_all() {
    let (_database, server) = served(&some_rows()).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/new folder");
    let all = ["--organization", "Acme", "--month", "2022-02", "--to", "2022-04"];
    let (ok, log) = downloaded(&server, &folder, &all).await;
    assert!(ok, "{log}");
    let reports = [
        (TENANT, "2022-02", 2),
        (TENANT, "2022-03", 1),
        (TENANT, "2022-04", 0),
        (TENANT_2, "2022-02", 0),
        (TENANT_2, "2022-03", 1),
        (TENANT_2, "2022-04", 0),
    ];
    assert_eq!(check(&server, &folder).await, expected(&reports));
    let summary = "manifest.json: 3 files, 4 rows, 3 reports without rows, all as of 2";
    assert!(log.contains(summary) && log.lines().count() == 1, "{log}");
    let names = ["acme-hq_detailed_usage_2022-02.csv", "acme-hq_detailed_usage_2022-03.csv"];
    assert_eq!(files(&folder), [names[0], names[1], "acme-lab_detailed_usage_2022-03.csv", MANIFEST]);
    let manifest = manifest(&folder);
    let entry = &manifest["reports"][0];
    assert_eq!([&entry["organizationId"], &entry["tenantName"], &entry["file"]], [ORG, "acme-hq", names[0]]);
    assert_eq!(manifest["version"], 1);
    assert!(entry["dataAsOf"].as_str().unwrap() <= manifest["asOf"].as_str().unwrap());

    // What is there is not replaced unasked, not even some of it.
    for more in [&[][..], &["--resume"]] {
        let (ok, log) = downloaded(&server, &folder, &[&all[..], more].concat()).await;
        assert!(!ok && log.contains("manifest.json exists; use --force to replace it"), "{log}");
    }
    fs::remove_file(folder.join(MANIFEST)).unwrap();
    let (ok, log) = downloaded(&server, &folder, &all).await;
    assert!(!ok && log.contains(&format!("{} exists; use --force to replace it", names[0])), "{log}");
    assert_eq!(files(&folder).len(), 3);
    let (ok, log) = downloaded(&server, &folder, &[&all[..], &["--force"]].concat()).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, &folder).await.len(), 6);

    // Tenants of several organizations, by ids and names, one of them twice.
    let folder = parent.path().join("some");
    let some = ["--tenant", "zeta-hq", "--tenant", TENANT, "--tenant", "acme-hq", "--month", "2022-03"];
    let (ok, log) = downloaded(&server, &folder, &some).await;
    assert!(ok, "{log}");
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT_EUR, "2022-03", 1), (TENANT, "2022-03", 1)]));
    // One of an organization; and one report, in a folder.
    let folder = parent.path().join("lab");
    let lab = ["--organization", ORG, "--tenant", "acme-lab", "--month", "2022-02", "--to", "2022-03"];
    assert!(downloaded(&server, &folder, &lab).await.0);
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT_2, "2022-02", 0), (TENANT_2, "2022-03", 1)]));
    let folder = parent.path().join("one/");
    assert!(downloaded(&server, &folder, &["--tenant", TENANT, "--month", "2022-03"]).await.0);
    assert_eq!(check(&server, &folder).await, expected(&[(TENANT, "2022-03", 1)]));
    // A tenant of another organization is not there.
    let nobody = "99999999-0000-4000-8000-000000000000";
    for (organization, tenant) in [(ORG, TENANT_EUR), ("Acme", TENANT_EUR), (nobody, TENANT), ("Acme", nobody)] {
        for more in [&["--to", "2022-04"][..], &[]] {
            let foreign = ["--organization", organization, "--tenant", tenant, "--month", "2022-03"];
            let (ok, log) = downloaded(&server, &parent.path().join("foreign"), &[&foreign, more].concat()).await;
            assert!(!ok && log.contains("there is no"), "{log}");
            assert!(!parent.path().join("foreign").exists());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restricted_and_who_has_a_namesake_is_in_the_names() {
    let (database, server) = served(&some_rows()).await;
    database.apply(&CATALOG.replace("\"acme-lab\"", "\"ACME-hq\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let filtered = ["--organization", "Acme", "--month", "2022-03", "--region", "EU", "--crlf"];
    let (ok, log) = downloaded(&server, folder.path(), &filtered).await;
    assert!(ok, "{log}");
    let name = |tenant: &str, id: &str| format!("{tenant}_{id}_detailed_usage_2022-03_EU.csv");
    let mut names = vec![name("ACME-hq", TENANT_2), name("acme-hq", TENANT), MANIFEST.to_owned()];
    names.sort();
    assert_eq!(files(folder.path()), names);
    let text = fs::read_to_string(folder.path().join(name("acme-hq", TENANT))).unwrap();
    assert_eq!(text, csv(&[Row::on("2022-03-01", "3")]).replace('\n', "\r\n"));
    let asked = &manifest(folder.path())["asked"];
    assert_eq!(
        [&asked["billingRegions"], &asked["crlf"], &asked["from"]],
        [&json!(["EU"]), &json!(true), &json!("2022-03")]
    );

    // What a filter leaves nothing of has its revision, and no file.
    let nothing = folder.path().join("nothing");
    let (ok, log) =
        downloaded(&server, &nothing, &["--organization", "Acme", "--month", "2022-03", "--region", "NA"]).await;
    assert!(ok && log.contains("0 files, 0 rows, 2 reports without rows"), "{log}");
    assert_eq!(files(&nothing), [MANIFEST]);
    let report = &manifest(&nothing)["reports"][0];
    assert_eq!([&report["rowCount"], &report["file"]], [&json!(0), &Value::Null]);
    assert_eq!(report["revision"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_report_is_a_file_and_several_need_a_folder() {
    let (_database, server) = served(&some_rows()).await;
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| {
        let mut command = program();
        run(command.arg("usage").args(arguments).args(["--server", &server.url()]).current_dir(folder.path()))
    };
    // Whatever organization the environment names, it is one report.
    let one = ["--organization", "Acme", "--tenant", "acme-hq", "--month", "2022-02", "--to", "2022-02"];
    assert!(usage(&one).0);
    assert_eq!(files(folder.path()), ["acme-hq_detailed_usage_2022-02.csv"]);
    for (arguments, problem) in [
        (&["--organization", "Acme", "--month", "2022-02"][..], "several reports need a folder"),
        (&["--tenant", TENANT, "--tenant", TENANT_2, "--month", "2022-02", "-o", "-"], "several reports need a folder"),
        (&["--tenant", TENANT, "--statement", "2022-02-000001", "-o", "x"], "--month is required"),
        (
            &[
                "--tenant",
                TENANT,
                "--tenant",
                TENANT_2,
                "--month",
                "2022-02",
                "--statement",
                "2022-02-000001",
                "-o",
                "x",
            ],
            "several reports of a statement need --organization",
        ),
        (&["--organization", "Acme", "--month", "2022-02", "--to", "2022-01", "-o", "x"], "--to: the last month"),
        (&["--organization", "Acne", "--month", "2022-02", "-o", "x"], "no organization named \"Acne\""),
        (&["--organization", TENANT, "--month", "2022-02", "-o", "x"], "no tenants that you may see"),
        (&["--organization", "Acme", "--to", "2022-02", "-o", "x"], "--month <YYYY-MM>"),
        (&["--month", "2022-02", "-o", "x"], "--tenant <ID|NAME>"),
        (
            &["--organization", "Acme", "--month", "2022-02", "--as-of", "9999-01-01T00:00:00Z", "-o", "x"],
            "is in the future",
        ),
        (
            &["--organization", "Acme", "--month", "2022-02", "-o", "acme-hq_detailed_usage_2022-02.csv"],
            "acme-hq_detailed_usage_2022-02.csv",
        ),
    ] {
        let (ok, _, log) = usage(arguments);
        assert!(!ok && log.contains(problem), "{arguments:?}: {log}");
    }
    assert_eq!(files(folder.path()).len(), 1);
}
