//! `GetDetailedUsage`: the stream, its order, its filters, and going on after a cut.

mod packed;
mod small_loads;

use prost_types::Timestamp;
use secure_connect_reports::{
    client::UsageQuery,
    contract::proto::{GetDetailedUsageRequest, GetDetailedUsageResponse, UsageFilter, UsageRecord, YearMonth},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, HOURS, ORG, Row, TENANT, TENANT_2, csv},
};

fn request() -> GetDetailedUsageRequest {
    GetDetailedUsageRequest {
        tenant_id: TENANT.to_owned(),
        month: Some(YearMonth { year: 2022, month: 2 }),
        ..Default::default()
    }
}

async fn stream(server: &Server, request: GetDetailedUsageRequest) -> Result<Vec<GetDetailedUsageResponse>, Status> {
    let mut stream = server.stub().await.get_detailed_usage(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

async fn refused(server: &Server, request: GetDetailedUsageRequest) -> (Code, String, Option<String>) {
    let status = stream(server, request).await.expect_err("a refusal");
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has a reason").clone();
    assert_eq!(info.domain, "secureconnect.reports");
    let field = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), info.reason, field)
}

fn records(messages: &[GetDetailedUsageResponse]) -> Vec<UsageRecord> {
    messages.iter().flat_map(|message| message.records.clone()).collect()
}

fn ids(messages: &[GetDetailedUsageResponse]) -> Vec<String> {
    records(messages).into_iter().map(|record| record.asset_id).collect()
}

/// Rows on two days, of several types, meters, regions and assets; more than a few messages' worth.
async fn large() -> (Database, Server) {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let mut rows = Vec::new();
    for day in ["2022-02-01", "2022-02-02"] {
        for n in 0..3000 {
            let asset_type = ["USER", "ENDPOINT", "GATEWAY"][n % 3];
            let row = Row::on(day, &format!("{n}.5")).asset(&format!("asset-{n}")).with("assetType", asset_type);
            let row = row.with("billingRegion", ["AF", "AP", "EU", "NA"][n % 4]);
            let row = row.with("trial", if n % 5 == 0 { "TRUE" } else { "FALSE" });
            rows.push(if n % 2 == 0 { row.bandwidth().with("platform", "azure") } else { row });
        }
    }
    database.import(&csv(&rows)).await;
    let server = database.serve();
    (database, server)
}

#[tokio::test]
async fn a_stream_has_a_header_records_tokens_and_a_summary() {
    let (_database, server) = large().await;
    let messages = stream(&server, request()).await.unwrap();

    let header = messages[0].header.as_ref().expect("the first message has the header");
    assert_eq!(header.tenant_id, TENANT);
    assert_eq!(header.tenant_name, "acme-hq");
    assert_eq!(header.organization_id, ORG);
    assert_eq!(header.month, Some(YearMonth { year: 2022, month: 2 }));
    assert_eq!(header.record_count, 6000);
    assert_eq!(header.resumed_record_count, 0);
    assert_eq!(header.revision.len(), 64);
    assert!(header.data_as_of.is_some());
    assert!(messages[1..].iter().all(|message| message.header.is_none()));

    let (last, others) = messages.split_last().unwrap();
    assert!(others.iter().all(|message| message.summary.is_none()));
    assert!(others.iter().all(|message| !message.records.is_empty() && message.records.len() <= 512));
    assert!(others.iter().all(|message| !message.resume_token.is_empty()));
    assert!(last.records.is_empty());
    let summary = last.summary.as_ref().expect("the last message has the summary");
    assert_eq!(summary.record_count, 6000);
    assert_eq!(records(&messages).len(), 6000);

    // Meter, region and trial: even numbers are bandwidth in AF and EU, odd ones hours in AP and NA.
    let keys: Vec<_> =
        summary.totals.iter().map(|total| (total.meter_name.as_str(), total.billing_region, total.trial)).collect();
    let expected = [(GIB, 1), (GIB, 3), (HOURS, 2), (HOURS, 4)];
    let expected: Vec<_> =
        expected.iter().flat_map(|&(meter, region)| [(meter, region, false), (meter, region, true)]).collect();
    assert_eq!(keys, expected);
    // n = 0, 20, 40, ...: bandwidth in AF on trial, 150 a day.
    let total = summary.totals.iter().find(|total| (total.billing_region, total.trial) == (1, true)).unwrap();
    let sum: usize = (0..3000).step_by(20).sum();
    assert_eq!(total.quantity, format!("{}", 2 * sum + 150));
    assert_eq!(total.record_count, 300);
}

#[tokio::test]
async fn records_come_in_the_order_of_the_report() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let on = |day: &str, id: &str, asset_type: &str| Row::on(day, "1").asset(id).with("assetType", asset_type);
    let rows = [
        on("2022-02-02", "a", "USER"),
        on("2022-02-01", "a", "ENDPOINT"),
        on("2022-02-01", "é", "USER"),
        on("2022-02-01", "b", "USER"),
        on("2022-02-01", "B", "USER"),
        on("2022-02-01", "aa", "USER"),
        on("2022-02-01", "a", "USER").with("start", "2022-02-01T00:30:00Z"),
        on("2022-02-01", "a", "USER"),
        on("2022-02-01", "a", "USER").bandwidth().with("platform", "azure"),
        on("2022-02-01", "a", "USER").bandwidth().with("platform", "mcp"),
        on("2022-02-01", "a", "USER").bandwidth().with("billingRegion", "AF"),
        on("2022-02-01", "a", "TRANSPORT"),
        on("2022-02-01", "a", "TENANT"),
        on("2022-02-01", "a", "GATEWAY"),
    ];
    database.import(&csv(&rows)).await;
    database.import_from("another", &csv(&[on("2022-02-01", "0", "USER")])).await;
    let server = database.serve();
    let found: Vec<_> = records(&stream(&server, request()).await.unwrap())
        .into_iter()
        .map(|record| {
            let day = record.start.unwrap().seconds / 86_400 % 100;
            (day, record.asset_type, record.asset_id, record.meter_name, record.billing_region, record.platform)
        })
        .collect();
    let row = |day, asset_type, id: &str, meter: &str, region, platform| {
        (day, asset_type, id.to_owned(), meter.to_owned(), region, platform)
    };
    // Days count from 1970: 1 February 2022 is 19024. The source "another" comes before "default".
    let expected = [
        row(24, 1, "0", HOURS, 3, 0),
        row(24, 1, "B", HOURS, 3, 0),
        row(24, 1, "a", GIB, 1, 0),
        row(24, 1, "a", GIB, 3, 1),
        row(24, 1, "a", GIB, 3, 2),
        row(24, 1, "a", HOURS, 3, 0),
        row(24, 1, "a", HOURS, 3, 0),
        row(24, 1, "aa", HOURS, 3, 0),
        row(24, 1, "b", HOURS, 3, 0),
        row(24, 1, "é", HOURS, 3, 0),
        row(24, 2, "a", HOURS, 3, 0),
        row(24, 3, "a", HOURS, 3, 0),
        row(24, 4, "a", HOURS, 3, 0),
        row(24, 5, "a", HOURS, 3, 0),
        row(25, 1, "a", HOURS, 3, 0),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn filters_let_through_what_matches_all_of_them() {
    let (_database, server) = large().await;
    let all = records(&stream(&server, request()).await.unwrap());
    type Matches = fn(&UsageRecord) -> bool;
    let filters: [(UsageFilter, Matches); 9] = [
        (UsageFilter::default(), |_| true),
        (UsageFilter { asset_types: vec![1, 4], ..Default::default() }, |record| [1, 4].contains(&record.asset_type)),
        (
            UsageFilter { asset_ids: vec!["asset-7".into(), "asset-8".into(), "none".into()], ..Default::default() },
            |record| ["asset-7", "asset-8"].contains(&record.asset_id.as_str()),
        ),
        (UsageFilter { meter_names: vec![GIB.into()], ..Default::default() }, |record| record.meter_name == GIB),
        (UsageFilter { billing_regions: vec![2, 3], ..Default::default() }, |record| {
            [2, 3].contains(&record.billing_region)
        }),
        (UsageFilter { trial: Some(true), ..Default::default() }, |record| record.trial),
        (UsageFilter { asset_types: vec![4; 1000], ..Default::default() }, |record| record.asset_type == 4),
        (UsageFilter { asset_ids: vec!["none".into()], ..Default::default() }, |_| false),
        (
            UsageFilter {
                asset_types: vec![5],
                meter_names: vec![HOURS.into()],
                billing_regions: vec![4],
                trial: Some(false),
                ..Default::default()
            },
            |record| {
                record.asset_type == 5 && record.meter_name == HOURS && record.billing_region == 4 && !record.trial
            },
        ),
    ];
    let mut sizes = Vec::new();
    for (filter, matches) in filters {
        let messages = stream(&server, GetDetailedUsageRequest { filter: Some(filter), ..request() }).await.unwrap();
        let expected: Vec<_> = all.iter().filter(|record| matches(record)).cloned().collect();
        let header = messages[0].header.as_ref().unwrap();
        let summary = messages.last().unwrap().summary.as_ref().unwrap();
        assert_eq!(records(&messages), expected);
        assert_eq!(header.record_count, i64::try_from(expected.len()).unwrap());
        assert_eq!(summary.record_count, header.record_count);
        assert_eq!(summary.totals.iter().map(|total| total.record_count).sum::<i64>(), header.record_count);
        sizes.push(expected.len());
    }
    assert_eq!(sizes, [6000, 4000, 4, 3000, 3000, 1200, 2000, 0, 400]);
}

#[tokio::test]
async fn a_resumed_stream_continues_with_the_next_record_of_the_same_revision() {
    let (database, server) = large().await;
    let whole = stream(&server, request()).await.unwrap();
    let header = whole[0].header.clone().unwrap();

    // The days are restated meanwhile: what was begun goes on as it was.
    database.import(&csv(&[Row::on("2022-02-01", "7"), Row::on("2022-02-02", "8")])).await;
    let now = stream(&server, request()).await.unwrap();
    assert_eq!(records(&now).len(), 2);

    for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
        let resume_token = whole[cut].resume_token.clone();
        let rest = stream(&server, GetDetailedUsageRequest { resume_token, ..request() }).await.unwrap();
        let resumed = rest[0].header.clone().unwrap();
        assert_eq!(resumed.revision, header.revision);
        assert_eq!(resumed.record_count, 6000);
        assert_eq!(resumed.data_as_of, header.data_as_of);
        let before = records(&whole[..=cut]);
        assert_eq!(resumed.resumed_record_count, i64::try_from(before.len()).unwrap());
        assert_eq!([before, records(&rest)].concat(), records(&whole));
        assert_eq!(rest.last().unwrap().summary, whole.last().unwrap().summary);
    }
}

#[tokio::test]
async fn a_filtered_stream_is_resumed_with_its_filter() {
    let (_database, server) = large().await;
    let filter = Some(UsageFilter { asset_types: vec![1, 5], trial: Some(false), ..Default::default() });
    let request = GetDetailedUsageRequest { filter, ..request() };
    let whole = stream(&server, request.clone()).await.unwrap();
    let resume_token = whole[1].resume_token.clone();
    let rest = stream(&server, GetDetailedUsageRequest { resume_token: resume_token.clone(), ..request.clone() })
        .await
        .unwrap();
    assert_eq!([records(&whole[..=1]), records(&rest)].concat(), records(&whole));

    // The same filter in another order is the same filter.
    let filter = Some(UsageFilter { asset_types: vec![5, 1, 1], trial: Some(false), ..Default::default() });
    let same = GetDetailedUsageRequest { filter, resume_token: resume_token.clone(), ..request.clone() };
    assert_eq!(stream(&server, same).await.unwrap(), rest);

    let field = Some("resume_token".to_owned());
    let invalid = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), field);
    let other_filter = GetDetailedUsageRequest { filter: None, resume_token: resume_token.clone(), ..request.clone() };
    let other_month = Some(YearMonth { year: 2022, month: 3 });
    let other_month =
        GetDetailedUsageRequest { month: other_month, resume_token: resume_token.clone(), ..request.clone() };
    let other_tenant =
        GetDetailedUsageRequest { tenant_id: TENANT_2.into(), resume_token: resume_token.clone(), ..request.clone() };
    let mut altered = resume_token.into_bytes();
    altered[20] = if altered[20] == b'A' { b'B' } else { b'A' };
    let altered = GetDetailedUsageRequest { resume_token: String::from_utf8(altered).unwrap(), ..request.clone() };
    let nonsense = GetDetailedUsageRequest { resume_token: "nonsense".to_owned(), ..request };
    for wrong in [other_filter, other_month, other_tenant, altered, nonsense] {
        assert_eq!(refused(&server, wrong).await, invalid);
    }
}

#[tokio::test]
async fn a_month_without_usage_is_an_empty_report() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let messages = stream(&server, request()).await.unwrap();
    assert_eq!(messages.len(), 2);
    let header = messages[0].header.as_ref().unwrap();
    assert_eq!((header.record_count, header.data_as_of), (0, None));
    assert!(messages[0].records.is_empty());
    let summary = messages[1].summary.as_ref().unwrap();
    assert_eq!((summary.record_count, summary.totals.len()), (0, 0));
}

#[tokio::test]
async fn a_report_can_be_had_as_it_was() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let first = database.import(&csv(&[Row::on("2022-02-01", "1").asset("first")])).await.published_at.unwrap();
    let second = database.import(&csv(&[Row::on("2022-02-01", "2").asset("second")])).await.published_at.unwrap();
    let server = database.serve();
    let at = async |micros: i64| {
        let as_of = Some(Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap(),
        });
        stream(&server, GetDetailedUsageRequest { as_of, ..request() }).await.map(|messages| ids(&messages))
    };
    let (first, second) = (first.unix_micros(), second.unix_micros());
    assert_eq!(at(first - 1).await.unwrap(), [""; 0]);
    assert_eq!(at(first).await.unwrap(), ["first"]);
    assert_eq!(at(second - 1).await.unwrap(), ["first"]);
    assert_eq!(at(second).await.unwrap(), ["second"]);
    assert_eq!(at(second + 1).await.unwrap(), ["second"]);
    // Clocks with nanoseconds are understood.
    let as_of = Some(Timestamp {
        seconds: first.div_euclid(1_000_000),
        nanos: i32::try_from(first.rem_euclid(1_000_000) * 1000).unwrap() + 999,
    });
    let nanoseconds = stream(&server, GetDetailedUsageRequest { as_of, ..request() }).await.unwrap();
    assert_eq!(ids(&nanoseconds), ["first"]);

    let as_of = Some(Timestamp { seconds: 32_503_680_000, nanos: 0 });
    let field = Some("as_of".to_owned());
    let future = refused(&server, GetDetailedUsageRequest { as_of, ..request() }).await;
    assert_eq!(future, (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), field));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let month = |year, month| GetDetailedUsageRequest { month: Some(YearMonth { year, month }), ..request() };
    let filter = |filter| GetDetailedUsageRequest { filter: Some(filter), ..request() };
    for (wrong, field) in [
        (GetDetailedUsageRequest { tenant_id: String::new(), ..request() }, "tenant_id"),
        (GetDetailedUsageRequest { tenant_id: "x".to_owned(), ..request() }, "tenant_id"),
        (GetDetailedUsageRequest { month: None, ..request() }, "month"),
        (month(2022, 0), "month"),
        (month(2022, 13), "month"),
        (month(0, 1), "month"),
        (month(10000, 1), "month"),
        (month(2022, -1), "month"),
        (filter(UsageFilter { asset_types: vec![1, 0], ..Default::default() }), "filter.asset_types[1]"),
        (filter(UsageFilter { billing_regions: vec![9], ..Default::default() }), "filter.billing_regions[0]"),
        (
            filter(UsageFilter { meter_names: vec![GIB.into(), "x".into()], ..Default::default() }),
            "filter.meter_names[1]",
        ),
        (filter(UsageFilter { meter_names: vec!["m".repeat(5000)], ..Default::default() }), "filter.meter_names[0]"),
        (filter(UsageFilter { asset_ids: vec!["a\0".into()], ..Default::default() }), "filter.asset_ids[0]"),
        (filter(UsageFilter { asset_ids: vec!["a".into(); 1001], ..Default::default() }), "filter.asset_ids"),
        (GetDetailedUsageRequest { as_of: Some(Timestamp { seconds: 0, nanos: -1 }), ..request() }, "as_of"),
    ] {
        let expected = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()));
        assert_eq!(refused(&server, wrong).await, expected);
    }
    let unknown = GetDetailedUsageRequest { tenant_id: "bbbbbbbb-0000-4000-8000-00000000ffff".into(), ..request() };
    assert_eq!(refused(&server, unknown).await, (Code::NotFound, "TENANT_NOT_FOUND".to_owned(), None));
}

#[tokio::test]
async fn an_abandoned_stream_leaves_nothing_behind() {
    let (database, server) = large().await;
    for _ in 0..20 {
        let mut stream = server.stub().await.get_detailed_usage(request()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
    }
    let sql = database.sql().await;
    let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";
    let mut left = i64::MAX;
    for _ in 0..50 {
        left = sql.query_one(busy, &[]).await.unwrap().get(0);
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, 0);
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    assert_eq!(server.csv(&query).await.0.lines().count(), 6001);
}
