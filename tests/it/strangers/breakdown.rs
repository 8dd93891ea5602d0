//! Breakdowns that are not those that were asked for.

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    BreakdownHeader, BreakdownReport, BreakdownSummary, BreakdownTotal, CostShare, GetCostBreakdownResponse, YearMonth,
};
use tonic::Status;

use super::server::{Ended, MessagesOf, Script, limited, run, serve};
use crate::support::{
    builder::{ORG, ORG_EUR, TENANT, TENANT_2},
    rounds,
};

const METER: &str = "4ad39f2e-83e6-4885-8034-1bf90dfed84a";

type Stream = Vec<GetCostBreakdownResponse>;
/// More options, what is changed in a sound stream, and what the client says.
type Case = (&'static [&'static str], fn(&mut Stream), &'static str);

fn month(month: i32) -> Option<YearMonth> {
    Some(YearMonth { year: 2022, month })
}

fn row(of: i32, asset: &str, day: &str, cost: &str) -> CostShare {
    CostShare {
        month: month(of),
        organization_id: ORG.to_owned(),
        tenant_id: TENANT.to_owned(),
        tenant_name: "acme-hq".to_owned(),
        plan: "essentials".to_owned(),
        meter_name: "user_hours".to_owned(),
        meter_id: METER.to_owned(),
        unit: "hour".to_owned(),
        billing_region: 3,
        asset_type: 1,
        asset_id: asset.to_owned(),
        asset_name: "Joe".to_owned(),
        usage_day: day.to_owned(),
        quantity: "2".to_owned(),
        trial_quantity: "0".to_owned(),
        cost: cost.to_owned(),
        currency: "USD".to_owned(),
        record_count: 2,
        ..Default::default()
    }
}

fn report(of: i32) -> BreakdownReport {
    BreakdownReport {
        month: month(of),
        tenant_id: TENANT.to_owned(),
        revision: "ab".repeat(32),
        data_as_of: Some(Timestamp { seconds: 1_646_092_800, nanos: 0 }),
    }
}

fn total(of: i32, cost: &str) -> BreakdownTotal {
    BreakdownTotal { month: month(of), currency: "USD".to_owned(), cost: cost.to_owned() }
}

/// By asset and day: two rows of February, one of March, and the summary; a heartbeat in between.
pub(super) fn sound() -> Stream {
    let header = BreakdownHeader {
        organization_id: ORG.to_owned(),
        start_month: month(2),
        end_month: month(3),
        group_by: vec![1, 2],
        currency: "USD".to_owned(),
    };
    let message = |rows: Vec<CostShare>, reports| GetCostBreakdownResponse { rows, reports, ..Default::default() };
    let summary = BreakdownSummary { row_count: 3, totals: vec![total(2, "0.30"), total(3, "1.00")] };
    vec![
        GetCostBreakdownResponse {
            header: Some(header),
            ..message(vec![row(2, "a", "2022-02-01", "0.10")], vec![report(2)])
        },
        GetCostBreakdownResponse::default(),
        message(vec![row(2, "a", "2022-02-28", "0.20"), row(3, "a", "2022-03-01", "1.00")], vec![report(3)]),
        GetCostBreakdownResponse { summary: Some(summary), ..Default::default() },
    ]
}

fn header(stream: &mut Stream) -> &mut BreakdownHeader {
    stream[0].header.as_mut().unwrap()
}

fn summary(stream: &mut Stream) -> &mut BreakdownSummary {
    stream[3].summary.as_mut().unwrap()
}

const CASES: &[Case] = &[
    (&[], |stream| header(stream).organization_id = ORG_EUR.to_owned(), "it is of organization"),
    (&[], |stream| header(stream).end_month = month(2), "it is of other months"),
    (&[], |stream| header(stream).group_by = vec![1], "it is by other groups"),
    (&[], |stream| header(stream).group_by = vec![2, 1], "it is by other groups"),
    (&[], |stream| header(stream).currency.clear(), "invalid currency"),
    (&[], |stream| stream[0].header = None, "first message: no header"),
    (&[], |stream| stream[2].header = stream[0].header.clone(), "its header came twice"),
    (&[], |stream| stream[0].rows[0].organization_id = ORG_EUR.to_owned(), "a row is of organization"),
    (&["--tenant", TENANT_2], |_| {}, "a row is of tenant"),
    (&[], |stream| stream[0].rows[0].month = month(4), "a row is of another month"),
    (&[], |stream| stream[0].rows[0].usage_day = "2022-03-01".to_owned(), "not of the groups that were asked for"),
    (&[], |stream| stream[0].rows[0].usage_day.clear(), "not of the groups that were asked for"),
    (&[], |stream| stream[0].rows[0].asset_id.clear(), "not of the groups that were asked for"),
    (&[], |stream| stream[0].rows[0].asset_type = 9, "not of the groups that were asked for"),
    (&[], |stream| stream[0].rows[0].platform = 1, "not of the groups that were asked for"),
    (&[], |stream| stream[2].rows.reverse(), "its rows are not in order, or come twice"),
    (&[], |stream| stream[2].rows[0].usage_day = "2022-02-01".to_owned(), "its rows are not in order, or come twice"),
    (&["--region", "NA"], |_| {}, "a row is one that the filter leaves out"),
    (&["--meter", "other"], |_| {}, "a row is one that the filter leaves out"),
    (&["--asset-id", "b"], |_| {}, "a row is one that the filter leaves out"),
    (&["--asset-type", "GATEWAY"], |_| {}, "a row is one that the filter leaves out"),
    (&[], |stream| stream[0].reports.clear(), "a row is of no report"),
    (&[], |stream| stream[2].reports[0].month = month(2), "a row is of no report"),
    (&[], |stream| stream[1].reports.push(report(3)), "it has a report without rows"),
    (&[], |stream| stream[0].reports[0].revision = "x".to_owned(), "invalid revision"),
    (&["--as-of", "2022-02-20T00:00:00Z"], |_| {}, "and not as of 2022-02-20T00:00:00Z"),
    (&[], |stream| stream[2].rows[0].cost.clear(), "some rows of a line have a cost, and others have none"),
    (&[], |stream| stream[0].rows[0].cost = "1e-1".to_owned(), "invalid cost: \"1e-1\""),
    (&[], |stream| stream[0].rows[0].quantity = "NaN".to_owned(), "invalid quantity: \"NaN\""),
    (&[], |stream| stream[0].rows[0].trial_quantity.clear(), "invalid trial_quantity: \"\""),
    (&[], |stream| stream[0].rows[0].currency = "EUR".to_owned(), "it has several currencies"),
    (&[], |stream| summary(stream).totals[1].currency = "EUR".to_owned(), "it has several currencies"),
    (&[], |stream| summary(stream).row_count = 4, "the summary counts 4 rows, but 3 were received"),
    (
        &[],
        |stream| summary(stream).totals[0].cost = "0.31".to_owned(),
        "the rows of 2022-02 add up to 0.30, its total is 0.31",
    ),
    (&[], |stream| drop(summary(stream).totals.pop()), "its totals are not those of the months"),
    (&[], |stream| summary(stream).totals = vec![BreakdownTotal::default(); 700_000], "its summary has 700000 totals"),
    (&[], |stream| stream.push(stream[2].clone()), "it goes on after its summary"),
    (&[], |stream| drop(stream.pop()), "the stream ended after 3 rows (without its summary); ask again"),
    (&[], |stream| stream.truncate(1), "the stream ended after 1 rows (without its summary); ask again"),
    (&[], |stream| stream[2].rows = vec![CostShare::default(); 700_000], "it has an empty row or report"),
    (&[], |stream| stream[2].reports = vec![BreakdownReport::default(); 700_000], "it has an empty row or report"),
];

pub(super) fn script(stream: Stream) -> Script {
    let breakdown = move |_| {
        let messages = stream.clone().into_iter().map(Ok);
        let stream: MessagesOf<GetCostBreakdownResponse> = Box::pin(tokio_stream::iter(messages));
        Some(Ok(stream))
    };
    Script { breakdown: Box::new(breakdown), ..Script::default() }
}

async fn ask(script: Script, more: &[&str]) -> Ended {
    let server = serve(script).await;
    let costs = ["costs", "--organization", ORG, "--month", "2022-02", "--to", "2022-03", "--by", "asset,day"];
    run(limited(&[&costs[..], &["--retry-for", "60"], more].concat(), &server)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_costs_that_were_not_asked_for_are_not_shown() {
    for format in ["table", "json", "csv"] {
        let more = ["--tenant", TENANT, "--as-of", "2022-03-01T00:00:00Z", "--meter", "user_hours", "--asset-id", "a"];
        let ended = ask(script(sound()), &[&more[..], &["--format", format]].concat()).await;
        assert!(ended.code == Some(0) && ended.text().contains("0.20"), "{ended:?}");
    }
    for _ in 0..rounds(1) {
        for &(more, change, expected) in CASES {
            let mut stream = sound();
            change(&mut stream);
            let ended = ask(script(stream), more).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

/// Rows that were written cannot be taken back, but the exit code tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_that_is_cut_fails() {
    let mut stream = sound();
    stream.pop();
    let ended = ask(script(stream), &["--format", "csv"]).await;
    ended.assert_error("the stream ended after 3 rows (without its summary); ask again", "cut");
    assert_eq!(ended.text().lines().count(), 4);
}

/// Of errors in the middle, those that another try may mend say that the costs are incomplete, and others what they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_in_the_middle_are_told() {
    for (status, expected) in [
        (Status::unavailable("gone"), "the stream ended after 1 rows (gone); ask again"),
        (Status::failed_precondition("purged"), "purged"),
    ] {
        let breakdown = move |_| {
            let messages = [Ok(sound()[0].clone()), Err(status.clone())];
            let stream: MessagesOf<GetCostBreakdownResponse> = Box::pin(tokio_stream::iter(messages));
            Some(Ok(stream))
        };
        let script = Script { breakdown: Box::new(breakdown), ..Script::default() };
        ask(script, &[]).await.assert_error(expected, expected);
    }
}

/// A million rows, of which a table would keep each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_takes_no_memory_for_rows() {
    const MESSAGES: usize = 400;
    const ROWS: usize = 500;
    let messages = |_| {
        let first = std::iter::once(GetCostBreakdownResponse {
            header: sound()[0].header.clone(),
            ..GetCostBreakdownResponse::default()
        });
        let rows = (0..MESSAGES).map(|message| {
            let rows = (0..ROWS).map(|n| {
                let number = message * ROWS + n;
                CostShare { asset_name: "x".repeat(900), ..row(2, &format!("{number:07}"), "2022-02-01", "0.01") }
            });
            let reports = if message == 0 { vec![report(2)] } else { Vec::new() };
            GetCostBreakdownResponse { rows: rows.collect(), reports, ..Default::default() }
        });
        let count = i64::try_from(MESSAGES * ROWS).unwrap();
        let summary = BreakdownSummary { row_count: count, totals: vec![total(2, "2000.00"), total(3, "0.00")] };
        let last = GetCostBreakdownResponse { summary: Some(summary), ..Default::default() };
        let messages = first.chain(rows).chain([last]).map(Ok);
        let stream: MessagesOf<GetCostBreakdownResponse> = Box::pin(tokio_stream::iter(messages));
        Some(Ok(stream))
    };
    let script = || Script { breakdown: Box::new(messages), ..Script::default() };
    // Some 240 MB, within the memory that commands of these tests may have.
    let ended = ask(script(), &["--format", "csv"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.text().lines().count(), MESSAGES * ROWS + 1);
    let ended = ask(script(), &["--format", "json"]).await;
    ended.assert_error("more than 64 MiB of rows; `--format csv` writes them one by one", "json");
}
