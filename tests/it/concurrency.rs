//! Several at once: imports of one day, and readers who come back to a moment.

use std::{collections::HashMap, time::Duration};

use prost_types::Timestamp;
use secure_connect_reports::{
    auth::TenantScope,
    client::UsageQuery,
    contract::proto::{GetDetailedUsageRequest, YearMonth, reports_service_client::ReportsServiceClient},
    ingest::{Delivery, Import, Input, LoadOutcome, Prepared},
    model::{Source, UtcTime},
    store::Store,
};

use crate::support::{
    Database, Server,
    builder::{CATALOG, ORG, Row, TENANT, TENANT_2, csv},
    rounds,
};

const DELIVERY: Delivery<'_> = Delivery { name: "test.csv", is_complete: false, dry_run: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_day_imported_at_once_is_published_once() {
    let database = std::sync::Arc::new(Database::migrated());
    database.apply(CATALOG).await;
    let last = rounds(3);
    for round in 1..=last {
        let quantity = round.to_string();
        let rows: Vec<Row> = (0..500).map(|n| Row::on("2022-02-01", &quantity).asset(&n.to_string())).collect();
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
                LoadOutcome::Published | LoadOutcome::Restated(_) => published += 1,
                LoadOutcome::Unchanged => assert_eq!(report.published_at, None),
                LoadOutcome::Withdrawn(_) => panic!("nothing was withdrawn"),
            }
        }
        assert_eq!(published, 1, "round {round}");
    }
    let rounds = i64::from(last);
    let sql = database.sql().await;
    for (table, count) in
        [("usage_load", rounds), ("usage_record", 500 * rounds), ("asset", 500), ("usage_total", rounds)]
    {
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

async fn wait_for(sql: &tokio_postgres::Client, what: &str) {
    for _ in 0..400 {
        if sql.query_one(what, &[]).await.unwrap().get::<_, bool>(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never true: {what}");
}

const WAITING: &str = "SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";
const NONE_WAITING: &str = "SELECT count(*) = 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// A call that is given up while the database works on it frees its connection: those behind it do not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_given_up_do_not_hold_up_others() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let clock = database.hold_clock().await;
    let sql = database.sql().await;
    let month = Some(YearMonth { year: 2022, month: 2 });
    // More than there are connections for short calls.
    let calls = (0..20).map(|_| {
        let (url, month) = (server.url(), month);
        tokio::spawn(async move {
            let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
            let mut stub = ReportsServiceClient::new(channel);
            let request = GetDetailedUsageRequest { tenant_id: TENANT.to_owned(), month, ..Default::default() };
            let call = stub.get_detailed_usage(request);
            assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err(), "it waits for the clock");
        })
    });
    let calls: Vec<_> = calls.collect();
    wait_for(&sql, WAITING).await;
    for call in calls {
        call.await.unwrap();
    }
    wait_for(&sql, NONE_WAITING).await;
    let tenants = tokio::time::timeout(Duration::from_secs(5), async { server.client().await.tenants("", None).await });
    assert_eq!(tenants.await.expect("no waiting").unwrap().len(), 3);
    clock.batch_execute("ROLLBACK").await.unwrap();
}

fn prepared_import(database: &Database) -> impl Future<Output = Import> {
    let config = database.config();
    async move {
        let store = Store::new(&config).unwrap();
        Import::new(&store, &TenantScope::operator(), "test", Source::default()).await.unwrap()
    }
}

async fn read(import: &Import, rows: &[Row]) -> Prepared {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), csv(rows)).unwrap();
    import.read(vec![Input::File(file.path().to_owned())]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_not_published_against_another_catalog_than_it_was_checked_with() {
    for (from, to) in [
        (
            "organization_id = \"aaaaaaaa-0000-4000-8000-000000000001\"",
            "organization_id = \"aaaaaaaa-0000-4000-8000-000000000002\"",
        ),
        ("unit = \"hour\"", "unit = \"minute\""),
    ] {
        let database = Database::migrated();
        database.apply(CATALOG).await;
        let import = prepared_import(&database).await;
        let prepared = read(&import, &[Row::on("2022-02-01", "1")]).await;
        database.apply(&CATALOG.replacen(from, to, 1)).await;
        let error = import.publish(prepared, &DELIVERY).await.expect_err("a refusal").to_string();
        assert!(error.contains("the catalog changed while the import ran; nothing was published"), "{error}");
        let sql = database.sql().await;
        assert_eq!(sql.query_one("SELECT count(*) FROM usage_record", &[]).await.unwrap().get::<_, i64>(0), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_was_left_out_as_unchanged_is_looked_at_again() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let import = prepared_import(&database).await;
    let prepared = read(&import, &[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "2")]).await;
    let publisher = database.hold_publish_lock().await;
    let running = tokio::spawn(async move { import.publish(prepared, &DELIVERY).await });
    wait_for(&database.sql().await, WAITING).await;
    // Another importer restates the first day, just before.
    let restate = "INSERT INTO usage_load (tenant_key, usage_month, usage_day, source, import_id, digest, record_count, published_at, totals)
        SELECT tenant_key, usage_month, usage_day, source, import_id, sha256('other'), 1, tick_publication_clock(), totals FROM usage_load;
        COMMIT";
    publisher.batch_execute(restate).await.unwrap();
    let error = running.await.unwrap().expect_err("a refusal").to_string();
    assert!(error.contains("another import restated a day of this one while the import ran"), "{error}");
}
