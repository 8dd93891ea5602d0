//! Shares of bills, against exact fractions.

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use secure_connect_reports::{
    client::{BreakdownQuery, CostsQuery},
    contract::proto::CostShare,
    model::{BillSubject, BreakdownFilter, CostGroup, MonthRange, plain},
};

use super::{
    check,
    random::{Case, Draft, case, draft, rows, sorted},
};
use crate::support::{Server, builder::Row, csv_rows};

const TYPES: [&str; 6] = ["", "USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"];
const PLATFORMS: [&str; 3] = ["", "mcp", "azure"];
const REGIONS: [&str; 5] = ["", "AF", "AP", "EU", "NA"];

/// Tenant, meter and region of a line, in their order.
type Line = (String, String, usize);
/// Asset type, asset id, usage day and platform; nothing where they are not asked for.
type Group = (usize, String, String, usize);

/// What a group adds up to: billable and trial quantity, and how many records.
#[derive(Clone, Default)]
struct Sum {
    billable: BigRational,
    trial: BigRational,
    count: i64,
}

fn fraction(text: &str) -> BigRational {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let units: BigInt = format!("{whole}{digits}").parse().unwrap();
    BigRational::new(units, BigInt::from(10).pow(u32::try_from(digits.len()).unwrap()))
}

fn position(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).unwrap()
}

/// The groups of each line.
fn groups_of(rows: &[Row], groups: &[CostGroup]) -> BTreeMap<Line, BTreeMap<Group, Sum>> {
    let mut lines: BTreeMap<Line, BTreeMap<Group, Sum>> = BTreeMap::new();
    for Row(row) in rows {
        let has = |group| groups.contains(&group);
        let line = (row[1].clone(), row[5].clone(), position(&REGIONS, &row[10]));
        let asset = if has(CostGroup::Asset) { row[3].clone() } else { String::new() };
        let by_type = has(CostGroup::Asset) || has(CostGroup::AssetType);
        let group = (
            if by_type { position(&TYPES, &row[4]) } else { 0 },
            asset,
            if has(CostGroup::UsageDay) { row[7][..10].to_owned() } else { String::new() },
            if has(CostGroup::Platform) { position(&PLATFORMS, &row[11]) } else { 0 },
        );
        let sum = lines.entry(line).or_default().entry(group).or_default();
        *(if row[12] == "TRUE" { &mut sum.trial } else { &mut sum.billable }) += fraction(&row[9]);
        sum.count += 1;
    }
    lines
}

/// Whole minor units by proportion, and one each of what is left to those that lack most.
fn shared(units: &BigInt, quantities: &[BigRational]) -> Vec<BigInt> {
    let sum: BigRational = quantities.iter().sum();
    if sum == BigRational::default() {
        return vec![BigInt::default(); quantities.len()];
    }
    let amount = BigRational::from_integer(units.clone());
    let exact: Vec<BigRational> = quantities.iter().map(|quantity| &amount * quantity / &sum).collect();
    let mut shares: Vec<BigInt> = exact.iter().map(|share| share.floor().to_integer()).collect();
    while shares.iter().sum::<BigInt>() < *units {
        let lacks = |index: usize| &exact[index] - BigRational::from_integer(shares[index].clone());
        let most = (1..shares.len()).fold(0, |most, index| if lacks(index) > lacks(most) { index } else { most });
        shares[most] += 1;
    }
    shares
}

/// By tenant and day, the number of the delivery that has published it: one with other content than the one before.
type Published = BTreeMap<(String, String), usize>;

/// The name on an asset's last record of the newest delivery that has it.
fn newest_name(rows: &[Row], published: &Published, tenant: &str, (asset_type, id): (usize, &str)) -> String {
    let of = |row: &&Row| row.0[1] == tenant && row.0[4] == TYPES[asset_type] && row.0[3] == id;
    let sorted = sorted(rows.to_vec());
    let newest = sorted.iter().filter(of).max_by_key(|row| published[&place(row)]);
    newest.unwrap().0[2].clone()
}

/// Tenant and day.
fn place(Row(row): &Row) -> (String, String) {
    (row[1].clone(), row[7][..10].to_owned())
}

fn group_of(row: &CostShare) -> Group {
    let number = |code: i32| usize::try_from(code).unwrap();
    (number(row.asset_type), row.asset_id.clone(), row.usage_day.clone(), number(row.platform))
}

fn months(case: &Case) -> MonthRange {
    let month = case.month().parse().unwrap();
    MonthRange::new(month, month).unwrap()
}

async fn breakdown(server: &Server, case: &Case, groups: &[CostGroup]) -> (Vec<CostShare>, String) {
    let query = BreakdownQuery {
        subject: BillSubject::Organization(case.organization().parse().unwrap(), None),
        months: months(case),
        groups: groups.iter().copied().collect(),
        filter: BreakdownFilter::default(),
        as_of: None,
        current: false,
    };
    let mut breakdown = server.client().await.cost_breakdown(&query).await.unwrap();
    let mut rows = Vec::new();
    while let Some(next) = breakdown.next().await.unwrap() {
        rows.extend(next.rows);
    }
    (rows, breakdown.totals()[0].cost.clone())
}

/// Days are delivered and restated, in any order; what is in force at the end is shared.
#[test]
fn shares_are_those_of_exact_fractions_and_add_up_to_the_bill() {
    let deliveries = prop::collection::vec(prop::collection::vec(draft(), 1..30), 1..4);
    let groups = prop::sample::subsequence(CostGroup::ALL.to_vec(), 0..=4);
    check((case(), deliveries, groups), async |database, server, number, (case, deliveries, groups)| {
        let case = Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        let mut last: BTreeMap<(u8, u32), Vec<Draft>> = BTreeMap::new();
        let mut published = Published::new();
        for (number, delivery) in deliveries.iter().enumerate() {
            database.import(&csv_rows(&rows(delivery, &case))).await;
            let mut days: BTreeMap<(u8, u32), Vec<Draft>> = BTreeMap::new();
            for draft in delivery {
                days.entry((draft.tenant, draft.day)).or_default().push(draft.clone());
            }
            for (day, drafts) in days {
                let content =
                    |drafts: &[Draft]| sorted(rows(drafts, &case)).into_iter().map(|row| row.0).collect::<Vec<_>>();
                let now = content(&drafts);
                if last.insert(day, drafts).is_none_or(|before| content(&before) != now) {
                    published.insert(place(&Row(now[0].clone())), number);
                }
            }
        }
        let usage = rows(&last.into_values().flatten().collect::<Vec<_>>(), &case);
        let organization_id = case.organization().parse().unwrap();
        let query = CostsQuery { organization_id, tenant_id: None, months: months(&case), as_of: None, current: false };
        let costs = server.client().await.monthly_costs(&query).await.unwrap();
        let (found, total) = breakdown(server, &case, &groups).await;
        prop_assert_eq!(&total, &costs.totals[0].cost);

        let mut expected = Vec::new();
        let mut lines = groups_of(&usage, &groups);
        for line in &costs.lines {
            let region = usize::try_from(line.billing_region).unwrap();
            let key = (line.tenant_id.clone(), line.meter_name.clone(), region);
            let groups = lines.remove(&key).unwrap();
            let quantities: Vec<BigRational> = groups.values().map(|sum| sum.billable.clone()).collect();
            let cost: Option<BigDecimal> = line.cost.parse().ok();
            let shares = cost.map(|cost| {
                let (units, digits) = cost.into_bigint_and_exponent();
                let shares = shared(&units, &quantities).into_iter();
                shares.map(|units| BigDecimal::new(units, digits).to_plain_string()).collect::<Vec<_>>()
            });
            for (index, (group, sum)) in groups.into_iter().enumerate() {
                let share = shares.as_ref().map_or_else(String::new, |shares| shares[index].clone());
                expected.push((key.clone(), group, sum.billable, sum.trial, share, sum.count));
            }
        }
        prop_assert!(lines.is_empty());
        let found_rows = found.iter().map(|row| {
            let line = (row.tenant_id.clone(), row.meter_name.clone(), usize::try_from(row.billing_region).unwrap());
            let (quantity, trial) = (fraction(&row.quantity), fraction(&row.trial_quantity));
            (line, group_of(row), quantity, trial, row.cost.clone(), row.record_count)
        });
        prop_assert_eq!(found_rows.collect::<Vec<_>>(), expected);
        for row in &found {
            prop_assert_eq!(&plain(&row.quantity.parse::<BigDecimal>().unwrap()), &row.quantity);
            if groups.contains(&CostGroup::Asset) {
                let asset = (usize::try_from(row.asset_type).unwrap(), row.asset_id.as_str());
                prop_assert_eq!(&row.asset_name, &newest_name(&usage, &published, &row.tenant_id, asset));
            }
        }
        Ok(())
    });
}
