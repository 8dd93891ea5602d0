//! Comparisons that are not those that were asked for, or do not add up, or are cut.

use prost_types::Timestamp;
use secure_connect_reports::contract::{
    Reason,
    proto::{
        BillState, CompareCostsResponse, ComparedLine, ComparedSide, ComparisonHeader, ComparisonKind,
        ComparisonSummary, MovedAsset, YearMonth,
    },
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::server::{Ended, MessagesOf, Script, limited, run, serve};
use crate::support::{
    builder::{HOURS_ID, ORG, ORG_EUR, TENANT, TENANT_2},
    rounds,
};

/// All messages of a stream.
type Stream = Vec<CompareCostsResponse>;
type Change = fn(&mut Stream);

fn side(month: i32) -> ComparedSide {
    ComparedSide {
        month: Some(YearMonth { year: 2022, month }),
        as_of: Some(Timestamp { seconds: 1_646_092_800, nanos: 0 }),
        state: BillState::Closed.into(),
        statement_number: format!("2022-{month:02}-000001"),
        draft: false,
    }
}

fn line(meter: &str, kind: ComparisonKind, costs: [&str; 2], effects: [&str; 3]) -> ComparedLine {
    let [base_quantity, target_quantity] = match kind {
        ComparisonKind::New => ["0", "7"],
        ComparisonKind::Vanished => ["7", "0"],
        _ => ["7", "7"],
    }
    .map(str::to_owned);
    let [base_cost, target_cost] = costs.map(str::to_owned);
    let [usage_effect, price_effect, rounding_effect] = effects.map(str::to_owned);
    ComparedLine {
        tenant_id: TENANT.to_owned(),
        tenant_name: "acme-hq".to_owned(),
        plan: "essentials".to_owned(),
        meter_name: meter.to_owned(),
        meter_id: HOURS_ID.to_owned(),
        unit: "hour".to_owned(),
        billing_region: 3,
        kind: kind.into(),
        base_quantity,
        target_quantity,
        base_unpriced: base_cost.is_empty(),
        target_unpriced: target_cost.is_empty(),
        base_cost,
        target_cost,
        usage_effect,
        price_effect,
        rounding_effect,
    }
}

fn asset(id: &str, costs: [&str; 3]) -> MovedAsset {
    let [base_cost, target_cost, difference] = costs.map(str::to_owned);
    MovedAsset {
        tenant_id: TENANT.to_owned(),
        tenant_name: "acme-hq".to_owned(),
        asset_type: 1,
        asset_id: id.to_owned(),
        asset_name: String::new(),
        base_cost,
        target_cost,
        difference,
    }
}

/// A header with lines of every kind, and then assets, and a summary.
fn sound() -> Stream {
    let header = ComparisonHeader {
        organization_id: ORG.to_owned(),
        currency: "USD".to_owned(),
        base: Some(side(1)),
        target: Some(side(2)),
    };
    let lines = vec![
        line("a", ComparisonKind::Unchanged, ["1.00", "1.00"], ["0", "0", "0"]),
        line("b", ComparisonKind::Changed, ["1.00", "2.51"], ["0", "1.505", "0.005"]),
        line("c", ComparisonKind::New, ["0.00", "3.00"], ["3", "0", "0"]),
        line("d", ComparisonKind::Vanished, ["", "0.00"], ["0", "0", "0"]),
    ];
    let assets = vec![asset("x", ["1.00", "4.00", "3.00"]), asset("y", ["2.00", "0.49", "-1.51"])];
    let summary = ComparisonSummary {
        unchanged_count: 1,
        changed_count: 1,
        new_count: 1,
        vanished_count: 1,
        base_cost: "2.00".to_owned(),
        target_cost: "6.51".to_owned(),
        usage_effect: "3".to_owned(),
        price_effect: "1.505".to_owned(),
        rounding_effect: "0.005".to_owned(),
        base_unpriced_count: 1,
        target_unpriced_count: 0,
        assets_left_out: 0,
    };
    vec![
        CompareCostsResponse { header: Some(header), lines, ..Default::default() },
        CompareCostsResponse::default(),
        CompareCostsResponse { assets, ..Default::default() },
        CompareCostsResponse { summary: Some(summary), ..Default::default() },
    ]
}

fn header(stream: &mut Stream) -> &mut ComparisonHeader {
    stream[0].header.as_mut().unwrap()
}

fn summary(stream: &mut Stream) -> &mut ComparisonSummary {
    stream[3].summary.as_mut().unwrap()
}

const CASES: &[(Change, &str)] = &[
    (|all| header(all).organization_id = ORG_EUR.to_owned(), "it is of organization"),
    (|all| header(all).currency = "dollars".to_owned(), "invalid currency: \"dollars\""),
    (|all| header(all).base = None, "invalid header: it has no base"),
    (|all| header(all).base = Some(side(2)), "its base is of another month"),
    (|all| header(all).target.as_mut().unwrap().as_of = None, "invalid as_of"),
    (
        |all| header(all).target.as_mut().unwrap().as_of = Some(Timestamp { seconds: 1, nanos: 0 }),
        "its bills are of two moments",
    ),
    (|all| header(all).target.as_mut().unwrap().draft = true, "its target is rated by another price list"),
    (|all| header(all).target.as_mut().unwrap().state = BillState::Open.into(), "its target has the statement"),
    (|all| all[1].header = all[0].header.clone(), "its header is not in its first message"),
    (|all| all[0].header = None, "its header is not in its first message"),
    (|all| all[0].lines[0].tenant_id = "acme".to_owned(), "invalid tenant_id: \"acme\""),
    (|all| all[0].lines.swap(0, 1), "its lines are not in order, or come twice"),
    (|all| all[1].lines = all[0].lines[3..].to_vec(), "its lines are not in order, or come twice"),
    (
        |all| all[3].lines = vec![line("e", ComparisonKind::New, ["0.00", "1.00"], ["1", "0", "0"])],
        "a line is behind assets",
    ),
    (|all| all[0].lines[1].price_effect = "1.5".to_owned(), "do not add up to the difference of its costs"),
    (|all| all[0].lines[1].price_effect = "1e9".to_owned(), "invalid amount: \"1e9\""),
    (|all| all[0].lines[1].usage_effect = String::new(), "invalid amount: \"\""),
    (|all| all[0].lines[1].base_quantity = "seven".to_owned(), "invalid quantity: \"seven\""),
    (|all| all[0].lines[3].base_unpriced = false, "a line without a price does not say so"),
    (|all| all[0].lines[2].target_unpriced = true, "a line without a price does not say so"),
    (|all| all[0].lines[0].target_quantity = "8".to_owned(), "a line has not changed as it says"),
    (|all| all[0].lines[2].base_quantity = "1".to_owned(), "a line has not changed as it says"),
    (|all| all[0].lines[3].target_quantity = "1".to_owned(), "a line has not changed as it says"),
    (|all| all[0].lines[1].kind = 0, "invalid kind"),
    (|all| all[0].lines[1].kind = 9, "invalid kind"),
    (|all| drop(all[0].lines.pop()), "its summary counts other lines"),
    (|all| summary(all).changed_count = 2, "its summary counts other lines"),
    (|all| summary(all).base_unpriced_count = 0, "its summary counts other lines"),
    (|all| summary(all).usage_effect = "3.1".to_owned(), "its lines do not add up to its summary"),
    (|all| summary(all).target_cost = "6.52".to_owned(), "its lines do not add up to its summary"),
    (|all| all[2].assets[0].difference = "2.00".to_owned(), "an asset does not differ as it says"),
    (|all| all[2].assets[0] = asset("x", ["1.00", "1.00", "0.00"]), "an asset does not differ as it says"),
    (|all| all[2].assets.reverse(), "its assets are not in order"),
    (|all| all[2].assets = vec![asset("x", ["1.00", "4.00", "3.00"]); 11], "it has more assets than it should"),
    (|all| summary(all).assets_left_out = 1, "it has more assets than it should"),
    (|all| all[1].lines = vec![ComparedLine::default(); 700_000], "it has an empty line or asset"),
    (|all| all[1].assets = vec![MovedAsset::default(); 700_000], "it has an empty line or asset"),
];

const COMMAND: [&str; 8] = ["costs", "compare", "--organization", ORG, "--base", "2022-01", "--target", "2022-02"];

async fn ask(script: Script, more: &[&str]) -> Ended {
    let server = serve(script).await;
    run(limited(&[&COMMAND[..], &["--retry-for", "5"], more].concat(), &server)).await
}

fn answer(
    messages: Vec<Result<CompareCostsResponse, Status>>,
) -> Option<Result<MessagesOf<CompareCostsResponse>, Status>> {
    Some(Ok(Box::pin(tokio_stream::iter(messages))))
}

fn script(change: Change) -> Script {
    let comparisons = move |_| {
        let mut stream = sound();
        change(&mut stream);
        answer(stream.into_iter().map(Ok).collect())
    };
    Script { comparisons: Box::new(comparisons), ..Script::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparisons_that_do_not_fit_are_not_shown() {
    // CSV shows no assets, so it does not ask for them.
    let without_assets: Change = |all| all.iter_mut().for_each(|message| message.assets.clear());
    for (format, change) in [("table", (|_| {}) as Change), ("csv", without_assets), ("json", |_| {})] {
        let ended = ask(script(change), &["--format", format]).await;
        assert!(ended.code == Some(0) && ended.text().contains("1.505"), "{ended:?}");
    }
    for (more, expected) in [
        (&["--tenant", TENANT_2][..], "a line is of tenant bbbbbbbb-0000-4000-8000-000000000001"),
        (&["--base-as-of", "2022-02-20T00:00:00Z"], "its base is as of 2022-03-01T00:00:00Z"),
        (&["--target-current"], "its target has the statement \"2022-02-000001\""),
        (&["--top", "1"], "it has more assets than it should"),
    ] {
        ask(script(|_| {}), more).await.assert_error(expected, expected);
    }
    for _ in 0..rounds(1) {
        for &(change, expected) in CASES {
            let ended = ask(script(change), &[]).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparisons_that_are_cut_are_asked_for_again() {
    let renamed = || {
        let details = ErrorDetails::with_error_info(Reason::NamesChanged.as_str(), "secureconnect.reports", []);
        Status::with_error_details(Code::Aborted, "names of tenants changed", details)
    };
    // Without a summary, renamed in the middle, and whole.
    let comparisons = move |call| {
        let mut stream: Vec<_> = sound().into_iter().map(Ok).collect();
        match call {
            0 => stream.truncate(3),
            1 => {
                stream.truncate(2);
                stream.push(Err(renamed()));
            }
            2 => return Some(Err(Status::unavailable("soon"))),
            _ => {}
        }
        answer(stream)
    };
    let ended = ask(Script { comparisons: Box::new(comparisons), ..Script::default() }, &[]).await;
    assert!(ended.code == Some(0) && ended.text().contains("TOTAL"), "{ended:?}");
    // Each stream begins: that is no progress without an end.
    let cut = |_| answer(sound().into_iter().take(1).map(Ok).collect());
    let ended = ask(Script { comparisons: Box::new(cut), ..Script::default() }, &[]).await;
    ended.assert_error("the stream ended without its summary", "cut each time");
    let renamed_always = move |_| {
        let mut stream: Vec<_> = sound().into_iter().take(1).map(Ok).collect();
        stream.push(Err(renamed()));
        answer(stream)
    };
    let ended = ask(Script { comparisons: Box::new(renamed_always), ..Script::default() }, &[]).await;
    ended.assert_error("names of tenants changed", "renamed each time");
}
