//! `ImportUsage`: what back ends import is what files import.

use secure_connect_reports::contract::proto::{
    ImportUsageRequest, ImportUsageResponse, LoadOutcome as Outcome, UsageRecord, YearMonth,
    usage_import_service_client::UsageImportServiceClient,
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{Row, TENANT, csv},
    calls::records_of,
};

async fn import_usage(server: &Server, messages: Vec<ImportUsageRequest>) -> Result<ImportUsageResponse, Status> {
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut client = UsageImportServiceClient::new(channel);
    client.import_usage(tokio_stream::iter(messages)).await.map(tonic::Response::into_inner)
}

async fn records(server: &Server) -> Vec<UsageRecord> {
    records_of(server, TENANT, YearMonth { year: 2022, month: 2 }).await
}

#[tokio::test]
async fn back_ends_import_what_files_import() {
    let first = Database::with_catalog().await;
    let row =
        Row::on("2022-02-01", "1.50").bandwidth().with("platform", "azure").with("trialExpiry", "2022-03-01T00:00:00Z");
    let report = first.import(&csv(&[row, Row::on("2022-02-02", "2")])).await;
    let exported = records(&first.serve()).await;

    let second = Database::with_catalog().await;
    let server = second.serve();
    let messages = || {
        let message = |record: &UsageRecord| ImportUsageRequest { records: vec![record.clone()], ..Default::default() };
        exported.iter().rev().map(message).collect::<Vec<_>>()
    };
    let answer = import_usage(&server, messages()).await.unwrap();
    assert_eq!(answer.record_count, 2);
    assert!(answer.published_at.is_some());
    let loads: Vec<_> =
        answer.loads.iter().map(|load| (load.usage_day.as_str(), load.outcome(), load.record_count)).collect();
    assert_eq!(loads, [("2022-02-01", Outcome::Published, 1), ("2022-02-02", Outcome::Published, 1)]);
    let digest: String = report.loads[0].digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer.loads[0].digest, digest);
    assert_eq!(records(&server).await, exported);

    let again = import_usage(&server, messages()).await.unwrap();
    assert!(again.loads.iter().all(|load| load.outcome() == Outcome::Unchanged));
    assert_eq!(again.published_at, None);
    assert_eq!(import_usage(&server, Vec::new()).await.unwrap(), ImportUsageResponse::default());
}

#[tokio::test]
async fn back_ends_are_told_which_record_is_wrong() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let server = database.serve();
    let good = records(&server).await.remove(0);
    let wrong = |change: fn(&mut UsageRecord)| {
        let mut record = good.clone();
        change(&mut record);
        record
    };
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let records = [
        wrong(|record| record.quantity = "5".to_owned()),
        wrong(|record| record.quantity = "-1".to_owned()),
        wrong(|record| record.asset_type = 0),
        wrong(|record| record.billing_region = 9),
        wrong(|record| record.start = None),
        wrong(|record| record.end = None),
        wrong(|record| record.end.as_mut().unwrap().nanos = 1),
        wrong(|record| record.start.as_mut().unwrap().nanos = 123_456_700),
        UsageRecord { trial_expiry: time(i64::MAX, 0), ..good.clone() },
        UsageRecord { trial_expiry: time(253_402_300_800, 0), ..good.clone() },
        UsageRecord { trial_expiry: time(0, -1), ..good.clone() },
        wrong(|record| record.tenant_id.clear()),
        wrong(|record| record.quantity.clear()),
        wrong(|record| record.asset_id.clear()),
    ];
    let message =
        |source: &str, records| ImportUsageRequest { source: source.to_owned(), records, ..Default::default() };
    let (head, tail) = records.split_at(2);
    let messages = vec![message("default", head.to_vec()), message("", tail.to_vec())];
    let status = import_usage(&server, messages).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_USAGE");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let expected = [
        "records[1].quantity \"-1\": is negative; to correct usage, deliver the whole day again with the correct quantities",
        "records[2].asset_type \"\": is missing",
        "records[3].billing_region \"9\": not one of AF, AP, EU, NA",
        "records[4].start \"\": is missing",
        "records[5].end \"\": is missing",
        "records[6].end \"2022-02-01T01:00:00.000000001Z\": is more precise than a microsecond",
        "records[7].start \"2022-02-01T00:00:00.123456700Z\": is more precise than a microsecond",
        "records[8].trial_expiry \"9223372036854775807 s after 1970\": the year must be 1 to 9999",
        "records[9].trial_expiry \"+10000-01-01T00:00:00Z\": the year must be 1 to 9999",
        "records[10].trial_expiry \"-1\": nanos must be from 0 to 999999999",
        "records[11].tenant_id \"\": is missing",
        "records[12].quantity \"\": is missing",
        "records[13].asset_id \"\": is missing",
    ];
    let found: Vec<String> =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    assert_eq!(found, expected);
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "1")]));

    // Whole microseconds, and every spelling of a number, are taken.
    let spelled = UsageRecord {
        start: good.start.map(|start| prost_types::Timestamp { nanos: 123_456_000, ..start }),
        quantity: "1.5E+1".to_owned(),
        ..good.clone()
    };
    import_usage(&server, vec![message("default", vec![spelled])]).await.unwrap();
    let expected = Row::new("2022-02-01T00:00:00.123456Z", "2022-02-01T01:00:00Z", "15");
    assert_eq!(server.february().await, csv(&[expected]));

    for messages in [
        vec![message("a b", vec![good.clone()])],
        vec![message("a", vec![good.clone()]), message("b", vec![good.clone()])],
    ] {
        let status = import_usage(&server, messages).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "source");
    }
}

/// An answer that comes while the caller still sends must reach it.
#[tokio::test]
async fn an_early_refusal_is_told_and_not_lost() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    for _ in 0..100 {
        let message = ImportUsageRequest { source: "not a source".to_owned(), ..Default::default() };
        let large = ImportUsageRequest {
            records: vec![UsageRecord { asset_name: "x".repeat(50_000), ..Default::default() }],
            ..Default::default()
        };
        let messages = std::iter::once(message).chain(std::iter::repeat_n(large, 20)).collect();
        let status = import_usage(&server, messages).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
}

/// The process of the database that published last, and what is left on all connections: locks, and transactions.
async fn publisher(sql: &tokio_postgres::Client) -> (i32, i64) {
    let statement = "SELECT pid, (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                                  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                                    AND (l.locktype = 'advisory' OR a.xact_start IS NOT NULL))
        FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '-- sweep%'";
    let row = sql.query_one(statement, &[]).await.expect("one publisher");
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_leave_their_connections_to_the_next_ones() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let sql = database.sql().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let record = records(&server).await.remove(0);
    // Of each call, another quantity.
    let import = async |quantity: &str| {
        let records = vec![UsageRecord { quantity: quantity.to_owned(), ..record.clone() }];
        import_usage(&server, vec![ImportUsageRequest { records, ..Default::default() }]).await
    };
    assert_eq!(import("2").await.unwrap().record_count, 1);
    let (first, left) = publisher(&sql).await;
    assert_eq!(left, 0);
    for quantity in ["3", "4"] {
        assert!(import(quantity).await.unwrap().published_at.is_some());
        assert_eq!(publisher(&sql).await, (first, 0));
    }
    // The database may have closed them.
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sql.execute(end, &[]).await.unwrap();
    let mut again = import("5").await;
    // So it may those of short calls, which a caller repeats.
    if again.as_ref().is_err_and(|status| status.code() == Code::Unavailable) {
        again = import("5").await;
    }
    assert!(again.unwrap().published_at.is_some());
    let (other, left) = publisher(&sql).await;
    assert!(other != first && left == 0);
}
