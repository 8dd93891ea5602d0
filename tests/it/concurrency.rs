//! Several at once: imports of one day, and readers who come back to a moment.

use std::collections::HashMap;

use prost_types::Timestamp;
use secure_connect_reports::{
    client::UsageQuery,
    import::LoadOutcome,
    model::UtcTime,
    proto::{GetDetailedUsageRequest, YearMonth},
};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, TENANT_2, csv},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_day_imported_at_once_is_published_once() {
    let database = std::sync::Arc::new(Database::migrated());
    database.apply(CATALOG).await;
    let rows: Vec<Row> = (0..500).map(|n| Row::on("2022-02-01", "1").asset(&n.to_string())).collect();
    let file = csv(&rows);
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let (database, file) = (std::sync::Arc::clone(&database), file.clone());
            tokio::spawn(async move { database.import(&file).await })
        })
        .collect();
    let mut published = 0;
    for run in runs {
        let report = run.await.unwrap();
        match &report.loads[0].outcome {
            LoadOutcome::Published => published += 1,
            LoadOutcome::Unchanged => assert_eq!(report.published_at, None),
            LoadOutcome::Restated(_) => panic!("the content is the same"),
        }
    }
    assert_eq!(published, 1);
    let sql = database.sql().await;
    for (table, count) in [("usage_load", 1), ("usage_record", 500), ("asset", 500), ("usage_total", 1)] {
        let found: i64 = sql.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        assert_eq!(found, count, "{table}");
    }
}

async fn revision_as_of(server: &Server, tenant: &str, moment: UtcTime) -> String {
    let micros = moment.unix_micros();
    let request = GetDetailedUsageRequest {
        tenant_id: tenant.to_owned(),
        month: Some(YearMonth { year: 2022, month: 2 }),
        as_of: Some(Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap(),
        }),
        ..Default::default()
    };
    let mut stream = server.stub().await.get_detailed_usage(request).await.expect("a report").into_inner();
    stream.message().await.unwrap().unwrap().header.unwrap().revision
}

/// While loads are being published, readers fix reports to the present moment. Whoever asks for that moment again later
/// must get the same: no load may appear behind a moment that someone has read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_appears_behind_a_moment_that_was_read() {
    let database = std::sync::Arc::new(Database::migrated());
    database.apply(CATALOG).await;
    let server = database.serve();
    let writers: Vec<_> = [TENANT, TENANT_2]
        .into_iter()
        .map(|tenant| {
            let database = std::sync::Arc::clone(&database);
            tokio::spawn(async move {
                for n in 0..25 {
                    let row = Row::on("2022-02-01", &n.to_string()).of(ORG, tenant);
                    database.import(&csv(&[row])).await;
                }
            })
        })
        .collect();
    let mut seen: HashMap<(&str, UtcTime), String> = HashMap::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        for tenant in [TENANT, TENANT_2] {
            let now = UtcTime::from_chrono(chrono::Utc::now());
            seen.insert((tenant, now), revision_as_of(&server, tenant, now).await);
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen.len() > 20, "{} reads", seen.len());
    for ((tenant, moment), revision) in seen {
        assert_eq!(revision_as_of(&server, tenant, moment).await, revision, "{tenant} as of {moment}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_download_does_not_see_a_restatement() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:05}"))).collect();
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    let mut client = server.client().await;
    let mut download = client.detailed_usage(&query).await.unwrap();
    let mut count = download.next().await.unwrap().unwrap().len();
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    while let Some(records) = download.next().await.unwrap() {
        count += records.len();
    }
    assert_eq!(count, 20_000);
    assert_eq!(server.csv(&query).await.0, csv(&[Row::on("2022-02-01", "2")]));
}
