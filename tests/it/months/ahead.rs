//! Months of many tenants: their revisions are computed before the publish lock is taken, and others may publish meanwhile.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use tokio_postgres::Client;

use super::{REFERENCE, WRITTEN, lines};
use crate::support::{
    Database,
    builder::{CATALOG, ORG, Row, csv},
};

/// So many that they are computed ahead.
const TENANTS: usize = 120;

fn id(tenant: usize) -> String {
    format!("dddddddd-0000-4000-8000-{tenant:012}")
}

fn catalog() -> String {
    (0..TENANTS).fold(CATALOG.to_owned(), |mut catalog, tenant| {
        let (id, status) = (id(tenant), "plan = \"essentials\"\nstatus = \"NORMAL\"");
        writeln!(catalog, "[[tenants]]\nid = \"{id}\"\nname = \"t{tenant}\"\norganization_id = \"{ORG}\"\n{status}")
            .unwrap();
        catalog
    })
}

fn rows(tenants: std::ops::Range<usize>, day: &str, quantity: &str) -> Vec<Row> {
    tenants.map(|tenant| Row::on(day, quantity).with("tenantId", &id(tenant))).collect()
}

/// So many wait for the publish lock.
async fn waiting(sql: &Client, count: i64) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for _ in 0..1000 {
        if sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} never wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_publish_meanwhile_is_in_the_months_of_many_tenants() {
    let database = Arc::new(Database::migrated());
    database.apply(&catalog()).await;
    database.import(&csv(&rows(0..TENANTS, "2022-02-01", "1"))).await;
    let (publisher, sql) = (database.hold_publish_lock().await, database.sql().await);
    let mut running = Vec::new();
    for (source, rows) in [
        // Others come first: with another source, with the same day, and with the same content.
        ("second", rows(0..5, "2022-02-01", "2")),
        ("default", rows(5..10, "2022-02-02", "3")),
        ("default", rows(10..15, "2022-02-02", "4")),
        ("default", rows(20..TENANTS, "2022-02-02", "4").into_iter().chain(rows(0..20, "2022-02-02", "4")).collect()),
    ] {
        let (database, csv) = (Arc::clone(&database), csv(&rows));
        running.push(tokio::spawn(async move { database.import_from(source, &csv).await }));
        waiting(&sql, running.len().try_into().unwrap()).await;
    }
    // Nobody looks at the loads of a month that nobody has published since: else the month would be another one.
    let seen = format!("tenant_key = (SELECT tenant_key FROM tenant WHERE tenant_id = '{}')", id(50));
    let hidden = format!(
        "CREATE TEMPORARY TABLE kept AS SELECT load_id, digest FROM usage_load WHERE {seen};
        UPDATE usage_load SET digest = sha256('hidden') WHERE {seen}"
    );
    sql.batch_execute(&hidden).await.unwrap();
    publisher.batch_execute("ROLLBACK").await.unwrap();
    let mut reports = Vec::new();
    for report in running {
        reports.push(report.await.unwrap());
    }
    let again = "UPDATE usage_load l SET digest = kept.digest FROM kept WHERE kept.load_id = l.load_id";
    assert_eq!(sql.execute(again, &[]).await.unwrap(), 1);
    let times: Vec<_> = reports.iter().map(|report| report.published_at).collect();
    assert!(times.is_sorted(), "they publish in turn: {times:?}");
    let counts = "SELECT string_agg(count::text, ' ' ORDER BY published_at)
        FROM (SELECT published_at, count(*) FROM usage_month GROUP BY published_at) AS months";
    // The last one leaves out what another one has published as it is.
    assert_eq!(lines(&sql, counts).await, ["120 5 5 5 115"]);
    assert_eq!(lines(&sql, WRITTEN).await, lines(&sql, REFERENCE).await);
}
