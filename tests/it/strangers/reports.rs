//! Reports that are not those that were asked for: no byte of them is kept.

use std::path::Path;

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    GetDetailedUsageResponse, ReportHeader, ReportSummary, UsageRecord, UsageTotal, YearMonth,
};
use tonic::Status;

use super::server::{Ended, Messages, Script, limited, run, serve, streams};
use crate::support::{
    builder::{ORG, ORG_EUR, TENANT, TENANT_2},
    packing::packed,
    rounds,
};

const METER: &str = "4ad39f2e-83e6-4885-8034-1bf90dfed84a";
/// 2022-02-01.
const FEBRUARY: i64 = 1_643_673_600;
const DAY: i64 = 86_400;

pub(super) type Report = Vec<GetDetailedUsageResponse>;
/// What is changed in a sound report, the options to ask for it, and what the client says.
pub(super) type Case = (&'static [&'static str], Change, &'static str);
pub(super) type Change = fn(&mut Report);

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn record(day: i64, asset: &str) -> UsageRecord {
    UsageRecord {
        organization_id: ORG.to_owned(),
        tenant_id: TENANT.to_owned(),
        asset_id: asset.to_owned(),
        asset_type: 1,
        meter_name: "user_hours_essentials".to_owned(),
        meter_id: METER.to_owned(),
        start: time(FEBRUARY + day * DAY),
        end: time(FEBRUARY + day * DAY + DAY),
        quantity: "1.50".to_owned(),
        billing_region: 3,
        ..Default::default()
    }
}

pub(super) fn header() -> ReportHeader {
    ReportHeader {
        tenant_id: TENANT.to_owned(),
        tenant_name: "acme-hq".to_owned(),
        organization_id: ORG.to_owned(),
        month: Some(YearMonth { year: 2022, month: 2 }),
        revision: "ab".repeat(32),
        data_as_of: time(FEBRUARY + 40 * DAY),
        record_count: 3,
        resumed_record_count: 0,
        missing_days: Vec::new(),
    }
}

fn records(records: &[UsageRecord]) -> GetDetailedUsageResponse {
    GetDetailedUsageResponse { records: records.to_vec(), resume_token: "token".to_owned(), ..Default::default() }
}

fn summary(totals: Vec<UsageTotal>) -> GetDetailedUsageResponse {
    let summary = ReportSummary { record_count: 3, totals };
    GetDetailedUsageResponse { summary: Some(summary), ..Default::default() }
}

fn total() -> UsageTotal {
    UsageTotal {
        meter_name: "user_hours_essentials".to_owned(),
        meter_id: METER.to_owned(),
        billing_region: 3,
        trial: false,
        quantity: "4.5".to_owned(),
        record_count: 3,
    }
}

/// Two records of the first day, one of the last, and the summary.
pub(super) fn sound() -> Report {
    let first = GetDetailedUsageResponse { header: Some(header()), ..records(&[record(0, "a"), record(0, "b")]) };
    vec![first, records(&[record(27, "a")]), summary(vec![total()])]
}

/// The report after its first message.
pub(super) fn rest() -> Report {
    let mut rest = sound();
    rest.remove(0);
    rest[0].header = Some(ReportHeader { resumed_record_count: 2, ..header() });
    rest
}

fn head(report: &mut Report) -> &mut ReportHeader {
    report[0].header.as_mut().unwrap()
}

fn last(report: &mut Report) -> &mut UsageRecord {
    &mut report[1].records[0]
}

fn sums(report: &mut Report) -> &mut ReportSummary {
    report[2].summary.as_mut().unwrap()
}

/// Batches have no limit of meters, but one of sums.
pub(super) const MANY_METERS: &str = "it has more than 4096 meters";

pub(super) const ANSWERS: &[Case] = &[
    (&[], |report| head(report).tenant_id = TENANT_2.to_owned(), "it is of tenant"),
    (&[], |report| head(report).tenant_id.clear(), "it is of tenant \"\""),
    (&[], |report| head(report).month = Some(YearMonth { year: 2022, month: 3 }), "it is of 2022-03, not of 2022-02"),
    (&[], |report| head(report).month = None, "it is of 0000-00, not of 2022-02"),
    (&[], |report| head(report).organization_id = "acme".to_owned(), "invalid organization_id: \"acme\""),
    (&[], |report| head(report).revision = "r\u{1b}[2J".to_owned(), "invalid revision: \"r\\u{1b}[2J\""),
    (&[], |report| head(report).record_count = -1, "invalid record_count: (0, -1)"),
    (&[], |report| head(report).resumed_record_count = 1, "the server resumes after 1 records, but 0 were received"),
    (&[], |report| head(report).resumed_record_count = 4, "invalid record_count: (4, 3)"),
    (&[], |report| head(report).data_as_of = None, "invalid data_as_of"),
    (&["--as-of", "2022-03-01T00:00:00Z"], |_| {}, "and not as of 2022-03-01T00:00:00Z"),
    (&[], |report| report[0].header = None, "invalid first message: no header"),
    (&[], |report| report[1].header = Some(header()), "its header came twice"),
    (&[], |report| last(report).tenant_id = TENANT_2.to_owned(), "a record is of tenant"),
    (&[], |report| last(report).organization_id = ORG_EUR.to_owned(), "a record is of tenant"),
    (&[], |report| last(report).start = time(FEBRUARY + 28 * DAY), "which is not in 2022-02"),
    (&[], |report| last(report).start = time(FEBRUARY - 1), "which is not in 2022-02"),
    (&[], |report| last(report).end = time(FEBRUARY + 28 * DAY + 1), "which is not in 2022-02"),
    (&[], |report| last(report).end = last(report).start, "which is not in 2022-02"),
    (&[], |report| report[0].records[0] = record(27, "a"), "not in the order of their days"),
    (&["--asset-type", "GATEWAY"], |_| {}, "has the assetId \"a\", which the filter leaves out"),
    (&["--asset-id", "a"], |_| {}, "has the assetId \"b\", which the filter leaves out"),
    (&["--meter", "other"], |_| {}, "has the meterName \"user_hours_essentials\""),
    (&["--region", "NA"], |_| {}, "has the billingRegion \"EU\""),
    (&["--trial", "true"], |_| {}, "has the trial \"FALSE\""),
    (&[], |report| head(report).record_count = 2, "it has more than the 2 records that it announced"),
    // A page that comes again.
    (&[], |report| report.insert(1, records(&report[0].records.clone())), "more than the 3 records"),
    (
        &[],
        |report| {
            report.insert(1, records(&report[0].records.clone()));
            head(report).record_count = 5;
        },
        "the summary counts 3 records, but 5 were received",
    ),
    (&[], |report| drop(report.remove(1)), "the summary counts 3 records, but 2 were received"),
    (&[], |report| sums(report).record_count = 4, "the summary counts 4 records"),
    (&[], |report| sums(report).totals.clear(), "it has other meters"),
    (&[], |report| sums(report).totals.push(total()), "it has a sum twice"),
    (&[], |report| sums(report).totals[0].quantity = "4.6".to_owned(), "should add up to 4.6"),
    (&[], |report| sums(report).totals[0].quantity = "1e999999999".to_owned(), "invalid quantity"),
    (&[], |report| sums(report).totals = vec![UsageTotal::default(); 700_000], "its summary has 700000 sums"),
    (&[], |report| report.push(report[2].clone()), "it goes on after its summary"),
    (&[], |report| report.push(records(&[record(27, "c")])), "it goes on after its summary"),
    (&[], |report| report.insert(1, records(&[])), "a message has neither records nor the summary"),
    (
        &[],
        |report| {
            head(report).record_count = 1 << 40;
            report[1].records = vec![UsageRecord::default(); 700_000];
        },
        "the server sent an invalid",
    ),
    (&[], |report| report[1].resume_token = "x".repeat(5 << 20), "a message has more than 4 MiB"),
    (
        &[],
        |report| {
            head(report).record_count = 1 << 40;
            let meter = |n: u32| UsageRecord { meter_name: format!("meter-{n}"), ..record(27, "a") };
            report[1].records = (0..5000).map(meter).collect();
        },
        MANY_METERS,
    ),
    (
        &[],
        |report| last(report).meter_name = "m".repeat(129),
        "a record has the meterName of 129 bytes; the maximum is 128",
    ),
    (
        &[],
        |report| last(report).asset_id = "i".repeat(513),
        "a record has the assetId of 513 bytes; the maximum is 512",
    ),
    (
        &[],
        |report| last(report).asset_name = "n".repeat(1025),
        "a record has the assetName of 1025 bytes; the maximum is 1024",
    ),
];

async fn ask(script: Script, folder: &Path, more: &[&str]) -> Ended {
    let server = serve(script).await;
    let usage = ["usage", "--tenant", TENANT, "--month", "2022-02", "--retry-for", "60", "-o", "report.csv"];
    let mut command = limited(&[&usage, more].concat(), &server);
    command.current_dir(folder);
    run(command).await
}

pub(super) fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().count() == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_was_not_asked_for_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    // What is changed below is sound as it is; so is the same with every filter that it passes.
    let same = ["--asset-type", "USER", "--meter", "user_hours_essentials", "--region", "EU", "--trial", "false"];
    for more in [&[][..], &same, &["--asset-id", "a", "--asset-id", "b", "--as-of", "2022-03-13T00:00:00Z"]] {
        let mut files = Vec::new();
        for report in [sound(), packed(&sound())] {
            let ended = ask(streams(vec![report]), folder.path(), more).await;
            assert_eq!(ended.code, Some(0), "{ended:?}");
            files.push(std::fs::read_to_string(folder.path().join("report.csv")).unwrap());
            std::fs::remove_file(folder.path().join("report.csv")).unwrap();
        }
        assert_eq!((files[0].lines().count(), &files[1]), (4, &files[0]));
    }
    for _ in 0..rounds(1) {
        for (more, change, expected) in ANSWERS {
            let mut report = sound();
            change(&mut report);
            for report in [packed(&report), report] {
                let ended = ask(streams(vec![report]), folder.path(), more).await;
                ended.assert_error(expected, expected);
                assert!(is_empty(folder.path()), "{expected}");
            }
        }
    }
}

/// The rest of a report whose stream ended after the first message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_goes_on_as_another_one_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(Change, &str); 9] = [
        (|_| {}, ""),
        (|rest| head(rest).tenant_id = TENANT_2.to_owned(), "it is of tenant"),
        (|rest| head(rest).organization_id = ORG_EUR.to_owned(), "belongs to another organization now"),
        (|rest| head(rest).month = Some(YearMonth { year: 2021, month: 2 }), "it is of 2021-02"),
        (|rest| head(rest).revision = "cd".repeat(32), "has another revision now"),
        (|rest| head(rest).record_count = 4, "the same revision has another number of records"),
        (|rest| head(rest).resumed_record_count = 0, "resumes after 0 records, but 2 were received"),
        (|rest| rest[0].records[0].tenant_id = TENANT_2.to_owned(), "a record is of tenant"),
        (|rest| rest[0].records = vec![record(0, "a"), record(0, "b")], "more than the 3 records"),
    ];
    for (change, expected) in cases {
        let mut changed = rest();
        change(&mut changed);
        let ended = ask(streams(vec![sound()[..1].to_vec(), changed]), folder.path(), &[]).await;
        if expected.is_empty() {
            assert_eq!(ended.code, Some(0), "{ended:?}");
        } else {
            ended.assert_error(expected, expected);
        }
        let whole = folder.path().join("report.csv");
        assert_eq!(whole.exists(), expected.is_empty(), "{expected}");
        for left in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::remove_file(left.unwrap().path()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_end_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let endless = |message: GetDetailedUsageResponse| Script {
        usage: Box::new(move |_| {
            let first = std::iter::once(sound()[0].clone());
            let messages = first.chain(std::iter::repeat(message.clone())).map(Ok::<_, Status>);
            Some(Ok(Box::pin(tokio_stream::iter(messages)) as Messages))
        }),
        ..Script::default()
    };
    for (message, expected) in [
        (records(&[]), "neither records nor the summary"),
        (records(&[record(27, "a")]), "more than the 3 records"),
        (sound()[0].clone(), "its header came twice"),
    ] {
        let ended = ask(endless(message), folder.path(), &[]).await;
        ended.assert_error(expected, expected);
        assert!(is_empty(folder.path()), "{expected}");
    }
}
