//! The RPCs that import: their answers and their errors.

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    ImportUsageRequest, ImportUsageResponse, UsageRecord, WithdrawUsageRequest,
};

use super::{
    assert_golden,
    errors::shown,
    fixture::{ACME, HQ, LAB, TOKYO_ORG, catalog, import, imports},
    mask,
};

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

/// Midnight of 1 February 2022.
const MIDNIGHT: i64 = 1_643_673_600;

fn good() -> UsageRecord {
    UsageRecord {
        organization_id: ACME.to_owned(),
        tenant_id: HQ.to_owned(),
        asset_name: "Joe".to_owned(),
        asset_id: "joe".to_owned(),
        asset_type: 1,
        meter_name: "user_hours_essentials".to_owned(),
        meter_id: "3c000000-0000-4000-8000-000000000001".to_owned(),
        start: time(MIDNIGHT, 0),
        end: time(MIDNIGHT + 3600, 0),
        quantity: "1".to_owned(),
        billing_region: 3,
        ..Default::default()
    }
}

fn bad_records() -> Vec<(&'static str, UsageRecord)> {
    let text = str::to_owned;
    let nobody = || text("00000000-0000-4000-8000-000000000009");
    vec![
        ("empty record", UsageRecord::default()),
        ("bad organization", UsageRecord { organization_id: text("x"), ..good() }),
        ("another organization", UsageRecord { organization_id: text(TOKYO_ORG), ..good() }),
        ("bad tenant", UsageRecord { tenant_id: text("x"), ..good() }),
        ("unknown tenant", UsageRecord { tenant_id: nobody(), ..good() }),
        ("long asset name", UsageRecord { asset_name: "é".repeat(513), ..good() }),
        ("asset name with NUL", UsageRecord { asset_name: text("a\0b"), ..good() }),
        ("no asset id", UsageRecord { asset_id: String::new(), ..good() }),
        ("unknown asset type", UsageRecord { asset_type: 6, ..good() }),
        ("unknown meter", UsageRecord { meter_name: text("x"), ..good() }),
        ("no meter", UsageRecord { meter_name: String::new(), ..good() }),
        ("another meter's id", UsageRecord { meter_id: nobody(), ..good() }),
        ("no start", UsageRecord { start: None, ..good() }),
        ("bad nanoseconds", UsageRecord { start: time(MIDNIGHT, 1_000_000_000), ..good() }),
        ("finer than a microsecond", UsageRecord { start: time(MIDNIGHT, 1), ..good() }),
        ("year 10000", UsageRecord { end: time(253_402_300_800, 0), ..good() }),
        ("a far moment", UsageRecord { end: time(i64::MAX, 0), ..good() }),
        ("end before start", UsageRecord { end: time(MIDNIGHT, 0), ..good() }),
        ("26 hours", UsageRecord { end: time(MIDNIGHT + 26 * 3600, 0), ..good() }),
        (
            "past the month",
            UsageRecord {
                start: time(MIDNIGHT + 28 * 86400 - 60, 0),
                end: time(MIDNIGHT + 28 * 86400 + 60, 0),
                ..good()
            },
        ),
        ("no quantity", UsageRecord { quantity: String::new(), ..good() }),
        ("bad quantity", UsageRecord { quantity: text("1,5"), ..good() }),
        ("negative quantity", UsageRecord { quantity: text("-1"), ..good() }),
        ("39 digits", UsageRecord { quantity: "9".repeat(39), ..good() }),
        ("unknown region", UsageRecord { billing_region: 5, ..good() }),
        ("unknown platform", UsageRecord { platform: 3, ..good() }),
        ("platform of hours", UsageRecord { platform: 1, ..good() }),
        ("bad trial expiry", UsageRecord { trial_expiry: time(MIDNIGHT, -1), ..good() }),
    ]
}

/// An answer without the moment of publication.
fn answered(name: &str, mut answer: ImportUsageResponse) -> String {
    answer.published_at = mask::moment(answer.published_at);
    format!("{name}\n{answer:#?}\n")
}

#[tokio::test]
async fn answers_of_imports() {
    let database = catalog().await;
    let server = database.serve();
    let lab = || UsageRecord { tenant_id: LAB.to_owned(), asset_id: "zoë".to_owned(), ..good() };
    let late = UsageRecord { trial: true, trial_expiry: time(MIDNIGHT, 0), ..lab() };
    let alike = UsageRecord { asset_id: "zoe\u{308}".to_owned(), ..late.clone() };
    let message = |source: &str, complete, records| ImportUsageRequest { source: source.to_owned(), complete, records };
    let changed = UsageRecord { quantity: "2.50".to_owned(), ..good() };
    let mut text = String::new();
    for (name, messages) in [
        ("no message", vec![]),
        ("no record", vec![message("", false, vec![])]),
        ("published", vec![message("", false, vec![good()]), message("default", false, vec![lab()])]),
        ("unchanged", vec![message("", false, vec![lab(), good()])]),
        ("restated, with a day left out", vec![message("", false, vec![changed.clone()])]),
        ("from another source", vec![message("probe", false, vec![changed])]),
        ("complete, with warnings", vec![message("", true, vec![late, alike])]),
    ] {
        text.push_str(&answered(name, import(&server, messages).await.expect(name)));
    }
    let mut stub = imports(&server).await;
    for name in ["withdrawn", "withdrawn already"] {
        let request = WithdrawUsageRequest {
            tenant_id: LAB.to_owned(),
            usage_day: "2022-02-01".to_owned(),
            ..Default::default()
        };
        let mut answer = stub.withdraw_usage(request).await.expect(name).into_inner();
        answer.published_at = mask::moment(answer.published_at);
        text.push_str(&format!("{name}\n{answer:#?}\n"));
    }
    assert_golden("imports.txt", &text);
}

#[tokio::test]
async fn errors_of_import_usage() {
    let database = catalog().await;
    let server = database.serve();
    let message = |records| ImportUsageRequest { records, ..Default::default() };
    let mut cases: Vec<(&str, Vec<ImportUsageRequest>)> =
        bad_records().into_iter().map(|(name, record)| (name, vec![message(vec![record])])).collect();
    let wrong = |count| vec![UsageRecord { quantity: "x".to_owned(), ..good() }; count];
    let named =
        |source: &str, complete| ImportUsageRequest { source: source.to_owned(), complete, ..message(vec![good()]) };
    cases.extend([
        ("the same record twice", vec![message(vec![good()]), message(vec![good()])]),
        (
            "the same period with another quantity",
            vec![message(vec![good(), UsageRecord { quantity: "2".to_owned(), ..good() }])],
        ),
        ("two problems in the second message", vec![message(vec![good()]), message(wrong(2))]),
        ("more problems than are told", vec![message(wrong(25))]),
        ("bad source", vec![named("a b", false)]),
        ("long source", vec![named(&"s".repeat(65), false)]),
        ("another source", vec![named("a", false), named("b", false)]),
        ("complete too late", vec![named("a", false), named("a", true)]),
    ]);
    let mut text = String::new();
    for (name, messages) in cases {
        text.push_str(&shown(name, &import(&server, messages).await.expect_err(name)));
    }
    assert_golden("errors/import-usage.txt", &text);
    let loads = database.sql().await.query_one("SELECT count(*) FROM usage_load", &[]).await.unwrap();
    assert_eq!(loads.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn errors_of_withdraw_usage() {
    let database = catalog().await;
    let server = database.serve();
    let mut stub = imports(&server).await;
    let withdraw = |tenant: &str, day: &str, source: &str| WithdrawUsageRequest {
        tenant_id: tenant.to_owned(),
        usage_day: day.to_owned(),
        source: source.to_owned(),
    };
    let mut text = String::new();
    for (name, request) in [
        ("no tenant", withdraw("", "2022-02-01", "")),
        ("bad tenant", withdraw("x", "2022-02-01", "")),
        ("unknown tenant", withdraw("00000000-0000-4000-8000-000000000009", "2022-02-01", "")),
        ("no day", withdraw(HQ, "", "")),
        ("bad day", withdraw(HQ, "1 February", "")),
        ("no such day", withdraw(HQ, "2022-02-29", "")),
        ("year 0", withdraw(HQ, "0000-01-01", "")),
        ("bad source", withdraw(HQ, "2022-02-01", "a/b")),
        ("nothing to withdraw", withdraw(HQ, "2022-02-01", "probe")),
    ] {
        text.push_str(&shown(name, &stub.withdraw_usage(request).await.expect_err(name)));
    }
    assert_golden("errors/withdraw-usage.txt", &text);
}
