//! Imports have bounds: months, rows, disk and time in all; and a place for temporary files, or the server does not start.

use std::time::Duration;

use chrono::{Datelike as _, Days, Utc};
use secure_connect_reports::{
    auth::{AuthConfig, TenantScope},
    contract::proto::{
        ImportUsageRequest, ImportUsageResponse, UsageRecord, usage_import_service_client::UsageImportServiceClient,
    },
    ingest::{Import, ImportError, ImportLimits, ImportTooLarge, Input},
    model::Source,
    service::{CallLimits, ServerConfig},
    store::Store,
};
use tokio_stream::Stream;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{HOURS, ORG, Row, TENANT, csv},
    calls::{detailed_usage, reason},
    program,
};

fn serve_with(database: &Database, calls: CallLimits) -> Server {
    let auth = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), auth) })
}

async fn import_usage(
    server: &Server,
    messages: impl Stream<Item = ImportUsageRequest> + Send + 'static,
) -> Result<ImportUsageResponse, Status> {
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    UsageImportServiceClient::new(channel).import_usage(messages).await.map(tonic::Response::into_inner)
}

/// A record that was imported once, so that all of it is sound.
async fn sound_record(database: &Database, server: &Server) -> UsageRecord {
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let mut stream = server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
    let record = stream.message().await.unwrap().unwrap().records.remove(0);
    assert_eq!((record.organization_id.as_str(), record.meter_name.as_str()), (ORG, HOURS));
    record
}

async fn partitions(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_block'::regclass";
    database.sql().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// Days in the month before the first one, the first, the last, and the month after it.
fn edges() -> [String; 4] {
    let today = Utc::now().date_naive();
    let in_month = |months: i32| {
        let ordinal = today.year() * 12 + today.month0().cast_signed() + months;
        format!("{:04}-{:02}-15", ordinal.div_euclid(12), ordinal.rem_euclid(12) + 1)
    };
    [-121, -120, 1, 2].map(in_month)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_are_at_most_ten_years_old_and_one_ahead() {
    let database = Database::with_catalog().await;
    let import = async |day: &str, more: &[&str]| {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), csv(&[Row::on(day, "1")])).unwrap();
        let mut command = program();
        command.arg("import").arg(file.path()).args(more).env("DATABASE_URL", &database.url);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let [too_old, first, last, too_new] = edges();
    for (day, expected) in [
        (&too_old, Some(format!("{} is before {}, the first month", &too_old[..7], &first[..7]))),
        (&first, None),
        (&last, None),
        (&too_new, Some(format!("{} is after {}, the last month", &too_new[..7], &last[..7]))),
    ] {
        let (ok, told) = import(day, &[]).await;
        match expected {
            None => assert!(ok, "{day}: {told}"),
            Some(expected) => assert!(!ok && told.contains("start") && told.contains(&expected), "{day}: {told}"),
        }
    }
    let (ok, told) = import(&too_old, &["--oldest-month", &too_old[..7]]).await;
    assert!(ok, "{told}");
    let (ok, told) = import(&first, &["--oldest-month", &last[..7]]).await;
    assert!(!ok && told.contains("(--oldest-month)"), "{told}");
}

/// Each month has a partition, so one call could make as many as there are months.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_cannot_make_partitions_without_end() {
    let database = Database::with_catalog().await;
    let server = serve_with(&database, CallLimits::default());
    let good = sound_record(&database, &server).await;
    let before = partitions(&database).await;
    let records = (0..6000_u64).map(|n| {
        let day = chrono::NaiveDate::from_ymd_opt(1500, 1, 1).unwrap() + Days::new(n * 31);
        let at = |hour| {
            let time = day.and_hms_opt(hour, 0, 0).unwrap().and_utc();
            Some(prost_types::Timestamp { seconds: time.timestamp(), nanos: 0 })
        };
        UsageRecord { start: at(1), end: at(2), ..good.clone() }
    });
    let message = ImportUsageRequest { records: records.collect(), ..Default::default() };
    let status = import_usage(&server, tokio_stream::iter([message])).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_USAGE".to_owned()));
    let violation = &status.get_details_bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "records[0].start");
    assert!(violation.description.contains("1500-01 is before"), "{}", violation.description);
    assert_eq!(partitions(&database).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_call_are_so_many() {
    let database = Database::with_catalog().await;
    let import = ImportLimits { rows: 10, ..ImportLimits::default() };
    let server = serve_with(&database, CallLimits { import, ..CallLimits::default() });
    let good = sound_record(&database, &server).await;
    let messages = |count: usize| {
        let records = (0..count).map(|n| UsageRecord { asset_id: format!("asset-{n}"), ..good.clone() });
        let messages: Vec<_> =
            records.map(|record| ImportUsageRequest { records: vec![record], ..Default::default() }).collect();
        tokio_stream::iter(messages)
    };
    assert_eq!(import_usage(&server, messages(10)).await.unwrap().record_count, 10);
    let status = import_usage(&server, messages(11)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
    assert_eq!(status.message(), "the import has more than 10 rows; send less at a time (--max-import-rows)");
    assert_eq!(server.february().await.lines().count(), 11, "what was there stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_of_tenants_of_a_call_are_so_many() {
    let database = Database::with_catalog().await;
    let import = ImportLimits { loads: 3, ..ImportLimits::default() };
    let server = serve_with(&database, CallLimits { import, ..CallLimits::default() });
    let good = sound_record(&database, &server).await;
    let on_days = |count: i64| {
        let records = (0..count).map(|n| {
            let on_day = |time: &Option<prost_types::Timestamp>| {
                time.map(|time| prost_types::Timestamp { seconds: time.seconds + n * 86_400, ..time })
            };
            UsageRecord { start: on_day(&good.start), end: on_day(&good.end), ..good.clone() }
        });
        tokio_stream::iter([ImportUsageRequest { records: records.collect(), ..Default::default() }])
    };
    assert_eq!(import_usage(&server, on_days(3)).await.unwrap().load_count, 3);
    let status = import_usage(&server, on_days(4)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
    let expected = "the import has more than 3 days of tenants; send less at a time (--max-import-loads)";
    assert_eq!(status.message(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_of_an_import_is_so_much() {
    let database = Database::with_catalog().await;
    // More than fits into memory: some 36 MB.
    let name = "n".repeat(1000);
    let rows: Vec<Row> =
        (0..32_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:06}")).with("assetName", &name)).collect();
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), csv(&rows)).unwrap();
    let store = Store::new(&database.config()).unwrap();
    let read = async |disk_bytes: u64| {
        let limits = ImportLimits { disk_bytes, ..ImportLimits::default() };
        let importer = ("test", Source::default());
        let import = Import::with_limits(&store, &TenantScope::operator(), importer, limits).await;
        import.unwrap().read(vec![Input::File(file.path().to_owned())]).await
    };
    assert!(read(64 << 20).await.is_ok());
    let error = read(1 << 20).await.err().unwrap();
    assert!(matches!(error, ImportError::TooLarge(ImportTooLarge::Disk(bytes)) if bytes == 1 << 20), "{error}");
    assert!(error.to_string().contains("--max-import-disk-bytes"), "{error}");
}

/// Who sends a little from time to time is never idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_so_long_in_all() {
    let database = Database::with_catalog().await;
    let import_duration = Duration::from_millis(500);
    let server = serve_with(&database, CallLimits { import_duration, ..CallLimits::default() });
    let (send, messages) = tokio::sync::mpsc::channel(1);
    let sender = tokio::spawn(async move {
        while send.send(ImportUsageRequest::default()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let status = import_usage(&server, tokio_stream::wrappers::ReceiverStream::new(messages)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "IMPORTER_STALLED".to_owned()));
    assert!(status.message().starts_with("the import took longer than 0 s"), "{}", status.message());
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_place_for_temporary_files_does_not_start() {
    let database = Database::with_catalog().await;
    let mut command = program();
    command.args(["serve", "--insecure-no-auth", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &database.url);
    command.env("TMPDIR", "/nowhere/at/all");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("imports would fail: the temporary directory /nowhere/at/all (TMPDIR): "), "{told}");
}
