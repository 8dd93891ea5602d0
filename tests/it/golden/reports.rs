//! The CSV of reports.

use super::{
    assert_golden,
    fixture::{EMPTY, HQ, LAB, command, shared},
};
use crate::support::Server;

/// Standard output and the file, which are the same.
fn csv(server: &Server, tenant: &str, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let run = |output: &str| {
        let mut command = command(&["usage", "--tenant", tenant, "--month", "2022-02", "-o", output]);
        let output = command.args(options).args(["--server", &server.url()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run("-");
    assert_eq!(run(file.to_str().unwrap()), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed);
    printed
}

#[tokio::test]
async fn reports_as_csv() {
    let (_, server) = shared().await;
    assert_golden("report/default.csv", &csv(server, HQ, &[]));
    assert_golden("report/crlf.csv", &csv(server, HQ, &["--crlf"]));
    assert_golden("report/byte-order-mark.csv", &csv(server, LAB, &["--bom"]));
    assert_golden("report/spreadsheet.csv", &csv(server, HQ, &["--bom", "--crlf", "--neutralize-formulas"]));
    assert_golden("report/trial-tenant.csv", &csv(server, LAB, &[]));
    assert_golden("report/empty.csv", &csv(server, EMPTY, &[]));
}

#[tokio::test]
async fn filtered_reports_as_csv() {
    let (_, server) = shared().await;
    for (name, options) in [
        ("types", &["--asset-type", "transport,GATEWAY"][..]),
        ("meter-and-region", &["--meter", "user_hours_essentials", "--region", "af,NA"]),
        ("asset-id", &["--asset-id", "=id", "--asset-id", "zoe\u{308}@example.com"]),
        ("trial", &["--trial", "true"]),
        ("billable-endpoints", &["--trial", "false", "--asset-type", "ENDPOINT"]),
        ("nothing", &["--trial", "true", "--asset-type", "USER"]),
    ] {
        assert_golden(&format!("report/filtered/{name}.csv"), &csv(server, HQ, options));
    }
}

/// As the day was before the restatement.
#[tokio::test]
async fn a_report_of_the_past_as_csv() {
    let (database, server) = shared().await;
    let sql = "SELECT to_char(max(published_at) AT TIME ZONE 'UTC' - interval '1 microsecond', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
        FROM usage_load";
    let before: String = database.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_golden("report/before-restatement.csv", &csv(server, HQ, &["--as-of", &before]));
}
