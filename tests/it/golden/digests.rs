//! Digests of loads and revisions of reports. They never change: what is stored must be found again by what is delivered.

use secure_connect_reports::contract::proto::{ImportUsageRequest, UsageRecord};
use sha2::{Digest as _, Sha256};

use super::{
    assert_golden,
    fixture::{
        ACME, EMPTY, HQ, KUWAIT, LAB, TOKYO, catalog, command, costs_of, everything, given, import, month, reports,
        shared, usage_of,
    },
    mask,
};
use crate::support::Database;

/// Each load as it is stored, in the order of publication.
async fn loads(database: &Database) -> String {
    let sql = "SELECT concat_ws(' ', t.tenant_id, l.usage_day, l.source, l.record_count || ' records', encode(l.digest, 'hex'))
        FROM usage_load l JOIN tenant t USING (tenant_key)
        ORDER BY l.published_at, t.tenant_id, l.usage_day, l.source";
    let rows = database.sql().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

/// Each revision as it is stored.
async fn revisions(database: &Database) -> String {
    let sql = "SELECT concat_ws(' ', t.tenant_id, to_char(m.usage_month, 'YYYY-MM'), encode(m.revision, 'hex'))
        FROM usage_month m JOIN tenant t USING (tenant_key)
        ORDER BY m.published_at, t.tenant_id, m.usage_month";
    let rows = database.sql().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

#[tokio::test]
async fn digests_and_revisions() {
    let (database, server) = shared().await;
    assert_golden("digests/loads.txt", &loads(database).await);
    assert_golden("digests/revisions.txt", &revisions(database).await);

    let mut stub = reports(server).await;
    let mut text = String::new();
    for tenant in [HQ, LAB, TOKYO, KUWAIT, EMPTY] {
        let mut stream = stub.get_detailed_usage(usage_of(tenant)).await.unwrap().into_inner();
        let header = stream.message().await.unwrap().unwrap().header.unwrap();
        text.push_str(&format!("{tenant} 2022-02 {}\n", header.revision));
    }
    let request = secure_connect_reports::contract::proto::GetMonthlyCostsRequest {
        start_month: month(1),
        end_month: month(3),
        ..costs_of(ACME)
    };
    for report in stub.get_monthly_costs(request).await.unwrap().into_inner().tenant_months {
        let month = report.month.unwrap();
        text.push_str(&format!("{} {}-{:02} {} (costs)\n", report.tenant_id, month.year, month.month, report.revision));
    }
    assert_golden("digests/reported-revisions.txt", &text);
}

/// Every spelling that imports take is normalised before it is digested, whatever way it came in by.
#[tokio::test]
async fn digests_of_odd_spellings() {
    let database = catalog().await;
    database.import(&given("spellings.csv")).await;
    let stored = loads(&database).await;
    assert_golden("digests/spellings.txt", &stored);

    let server = database.serve();
    let mut usage = command(&["usage", "--tenant", HQ, "--month", "2022-02", "-o", "-", "--server", &server.url()]);
    let csv = String::from_utf8(usage.output().unwrap().stdout).unwrap();
    assert_golden("digests/spellings.csv", &csv);
    // A digest is that of the report's lines: anyone can compute it with `sha256sum`.
    let (_, lines) = csv.split_once('\n').unwrap();
    assert!(stored.ends_with(&format!(" {}\n", mask::hex(&Sha256::digest(lines)))), "{stored}");

    let mut records = Vec::<UsageRecord>::new();
    let mut stream = reports(&server).await.get_detailed_usage(usage_of(HQ)).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        records.extend(message.records);
    }
    // A back end may spell quantities and ids oddly, too.
    for record in &mut records {
        record.quantity = format!("+{}e0", record.quantity);
        record.tenant_id = record.tenant_id.to_uppercase();
    }
    let answer = import(&server, vec![ImportUsageRequest { records, ..Default::default() }]).await.unwrap();
    assert_golden("digests/spellings-unchanged.txt", &format!("{answer:?}\n"));
}

/// The content is what counts, not its order, nor whether days come together.
#[tokio::test]
async fn a_digest_does_not_depend_on_the_order_of_a_file() {
    let database = catalog().await;
    let csv = given("spellings.csv");
    let mut lines: Vec<&str> = csv.lines().collect();
    lines[1..].reverse();
    database.import(&(lines.join("\n") + "\n")).await;
    assert_golden("digests/spellings.txt", &loads(&database).await);
}

/// A withdrawn day is a load without records, and no part of the revision.
#[tokio::test]
async fn digests_of_a_withdrawn_day() {
    let database = everything().await;
    let mut withdraw = command(&["withdraw", "--tenant", HQ, "--day", "2022-02-28"]);
    assert!(withdraw.env("DATABASE_URL", &database.url).status().unwrap().success());
    let last = |text: String| text.lines().last().map(str::to_owned).unwrap() + "\n";
    assert_golden(
        "digests/withdrawn.txt",
        &format!("{}{}", last(loads(&database).await), last(revisions(&database).await)),
    );
}
