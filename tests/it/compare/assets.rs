//! The assets that moved most.

use std::{collections::BTreeMap, time::Duration};

use bigdecimal::BigDecimal;
use secure_connect_reports::{
    contract::proto::{
        AssetsLeftOut, CompareCostsRequest, CostSide, GetCostBreakdownRequest, MovedAsset,
        reports_service_client::ReportsServiceClient,
    },
    store::{PurgeRules, purge},
};

use super::{Compared, compare, current, draft, price, request, side, with_draft};
use crate::{
    statements::books::{Books, amount, month},
    support::{
        Database, Server,
        builder::{HOURS, ORG, Row, TENANT, TENANT_2, csv},
    },
};

/// Tenant, type and id.
type AssetId = (String, i32, String);

/// What each asset costs in a month, by its breakdown.
async fn shares(server: &Server, of: &str) -> BTreeMap<AssetId, BigDecimal> {
    let request = GetCostBreakdownRequest {
        organization_id: ORG.to_owned(),
        start_month: month(of),
        group_by: vec![1],
        ..GetCostBreakdownRequest::default()
    };
    let mut stub: ReportsServiceClient<_> = server.stub().await;
    let mut stream = stub.get_cost_breakdown(request).await.unwrap().into_inner();
    let mut costs: BTreeMap<AssetId, BigDecimal> = BTreeMap::new();
    while let Some(message) = stream.message().await.unwrap() {
        for row in message.rows {
            let key = (row.tenant_id, row.asset_type, row.asset_id);
            *costs.entry(key).or_default() += amount(&row.cost);
        }
    }
    costs
}

/// Those that differ, the most first.
fn movements(
    base: &BTreeMap<AssetId, BigDecimal>,
    target: &BTreeMap<AssetId, BigDecimal>,
) -> Vec<(AssetId, BigDecimal)> {
    let mut differences = target.clone();
    for (id, cost) in base {
        *differences.entry(id.clone()).or_default() -= cost;
    }
    let mut moved: Vec<_> = differences.into_iter().filter(|(_, amount)| *amount != BigDecimal::default()).collect();
    // Stable: equal ones stay in the order of tenants, types and ids.
    moved.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.abs()));
    moved
}

fn short(assets: &[MovedAsset]) -> Vec<(&str, &str, [&str; 3])> {
    assets
        .iter()
        .map(|asset| {
            let amounts = [asset.base_cost.as_str(), &asset.target_cost, &asset.difference];
            (asset.asset_id.as_str(), asset.asset_name.as_str(), amounts)
        })
        .collect()
}

fn with_top(top: i32, request: CompareCostsRequest) -> CompareCostsRequest {
    CompareCostsRequest { top_assets: Some(top), ..request }
}

/// What all assets that moved come to is what the bill did.
fn assert_whole(compared: &Compared) {
    let moved: BigDecimal = compared.assets.iter().map(|asset| amount(&asset.difference)).sum();
    assert_eq!(moved, amount(&compared.summary.target_cost) - amount(&compared.summary.base_cost));
}

#[tokio::test]
async fn those_that_moved_most_come_first_under_their_newest_names() {
    let database = Database::with_catalog().await;
    let user =
        |day: &str, quantity: &str, id: &str, name: &str| Row::on(day, quantity).asset(id).with("assetName", name);
    let rows = [
        user("2022-02-01", "100", "ann", "Ann"),
        user("2022-02-01", "200", "bob", "Bob"),
        user("2022-02-01", "300", "eve", "Eve"),
        user("2022-02-01", "50", "kim", "Kim"),
        user("2022-03-01", "100", "ann", "Ann B."),
        user("2022-03-01", "900", "bob", "Bob"),
        user("2022-03-02", "0", "bob", "Robert"),
        user("2022-03-01", "350", "kim", "Kim"),
        user("2022-03-01", "40", "lab", "Lab").of(ORG, TENANT_2),
        user("2022-03-01", "9", "trial", "Trial").with("trial", "TRUE"),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let compared = compare(&server, request(side("2022-02"), side("2022-03"))).await;
    let expected = [
        ("bob", "Robert", ["2.00", "9.00", "7.00"]),
        ("eve", "Eve", ["3.00", "0.00", "-3.00"]),
        ("kim", "Kim", ["0.50", "3.50", "3.00"]),
        ("lab", "Lab", ["0.00", "0.40", "0.40"]),
    ];
    assert_eq!(short(&compared.assets), expected);
    assert_eq!((compared.assets[0].tenant_id.as_str(), compared.assets[3].tenant_name.as_str()), (TENANT, "acme-lab"));
    assert_whole(&compared);
    let two = compare(&server, with_top(2, request(side("2022-02"), side("2022-03")))).await;
    assert_eq!(short(&two.assets), expected[..2]);
    let none = compare(&server, with_top(0, request(side("2022-02"), side("2022-03")))).await;
    assert_eq!((none.assets.len(), none.summary.assets_left_out()), (0, AssetsLeftOut::Unspecified));
    assert_eq!(none.lines, compared.lines);
}

/// Random usage of many assets, with prices that make shares uneven.
#[tokio::test]
async fn they_are_those_of_two_breakdowns() {
    let books = Books::open().await;
    let mut rng = crate::support::rng();
    let mut rows = Vec::new();
    for month in ["2022-02", "2022-03"] {
        for n in 0..60 {
            for day in 1..4 {
                let quantity = format!("{}.{:03}", rng.u32(0..400), rng.u32(0..1000));
                let row = Row::on(&format!("{month}-{day:02}"), &quantity).asset(&format!("asset {n:02}"));
                let row = row.with("billingRegion", ["AF", "EU"][n % 2]).with("assetType", ["USER", "ENDPOINT"][n % 2]);
                if rng.bool() {
                    rows.push(row.clone().bandwidth());
                    rows.push(row.of(ORG, TENANT_2));
                }
            }
        }
    }
    books.database.import(&csv(&rows)).await;
    let (server, months) = (&books.server, || request(side("2022-02"), side("2022-03")));
    let expected = movements(&shares(server, "2022-02").await, &shares(server, "2022-03").await);
    assert!(expected.len() > 50);
    for top in [1, 7, 100] {
        let compared = compare(server, with_top(top, months())).await;
        let found = compared.assets.iter().map(|asset| {
            let id = (asset.tenant_id.clone(), asset.asset_type, asset.asset_id.clone());
            (id, amount(&asset.difference))
        });
        assert_eq!(found.collect::<Vec<_>>(), expected[..expected.len().min(top.cast_unsigned() as usize)]);
    }
}

#[tokio::test]
async fn shares_of_a_statement_are_compared_with_those_of_now() {
    let books = Books::open().await;
    let rows = [Row::on("2022-02-01", "100").asset("a"), Row::on("2022-02-01", "100").asset("b")];
    books.database.import(&csv(&rows)).await;
    books.close("2022-02").await;
    books.database.import_from("late", &csv(&[Row::on("2022-02-05", "50").asset("c")])).await;
    books
        .database
        .import(&csv(&[Row::on("2022-02-01", "40").asset("a"), Row::on("2022-02-01", "100").asset("b")]))
        .await;
    let compared = compare(&books.server, request(side("2022-02"), current("2022-02"))).await;
    let expected = [("a", "Joe", ["1.00", "0.40", "-0.60"]), ("c", "Joe", ["0.00", "0.50", "0.50"])];
    assert_eq!(short(&compared.assets), expected);
    assert_whole(&compared);
    // A draft moves assets that use nothing else, and a statement's by its own usage.
    let dearer = || draft(vec![price(HOURS, "2022-02", &[("", "0.03")])], &[]);
    let of_now = compare(&books.server, request(current("2022-02"), with_draft(current("2022-02"), dearer()))).await;
    let expected = [
        ("b", "Joe", ["1.00", "3.00", "2.00"]),
        ("c", "Joe", ["0.50", "1.50", "1.00"]),
        ("a", "Joe", ["0.40", "1.20", "0.80"]),
    ];
    assert_eq!(short(&of_now.assets), expected);
    let of_statement = compare(&books.server, request(side("2022-02"), with_draft(side("2022-02"), dearer()))).await;
    let expected = [("a", "Joe", ["1.00", "3.00", "2.00"]), ("b", "Joe", ["1.00", "3.00", "2.00"])];
    assert_eq!(short(&of_statement.assets), expected);
    assert_whole(&of_statement);
}

#[tokio::test]
async fn what_was_purged_is_compared_without_assets() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-03-01", "300")])).await;
    let before = crate::statements::books::present(&database).await;
    database.import(&csv(&[Row::on("2022-03-01", "400")])).await;
    let rules = PurgeRules { superseded_for: Some(Duration::ZERO), months_before: None };
    purge(&database.url, rules, Duration::from_secs(300), false).await.unwrap();
    let server = database.serve();
    let then = Some(CostSide { as_of: Some(before), ..side("2022-03").unwrap() });
    let compared = compare(&server, request(side("2022-02"), then.clone())).await;
    assert_eq!((compared.assets.len(), compared.summary.assets_left_out()), (0, AssetsLeftOut::Purged));
    assert_eq!([compared.summary.base_cost.as_str(), &compared.summary.target_cost], ["1.00", "3.00"]);
    // Nobody looks for assets where nothing moved, or where they are not asked for.
    for request in [request(then.clone(), then.clone()), with_top(0, request(side("2022-02"), then))] {
        assert_eq!(compare(&server, request).await.summary.assets_left_out(), AssetsLeftOut::Unspecified);
    }
    let kept = compare(&server, request(side("2022-02"), side("2022-03"))).await;
    assert_eq!(kept.assets.len(), 1);
}
