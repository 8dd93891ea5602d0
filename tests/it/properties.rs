//! The promises, for random catalogs and random usage.

mod columns;
mod focus;
mod random;
mod shares;

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::{prelude::*, test_runner::TestRunner};
use secure_connect_reports::{
    client::{CostsQuery, UsageQuery},
    contract::proto::{GetMonthlyCostsResponse, ReportSummary, RoundingMode},
    model::{MonthRange, plain},
};

use crate::support::{Database, Server, builder::Row, csv_rows, to_csv};
use random::{Case, Draft, METERS, case, draft, rows, sorted};

const CASES: u32 = 24;

fn check<S: Strategy>(strategy: S, test: impl AsyncFn(&Database, &Server, u32, S::Value) -> Result<(), TestCaseError>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let database = Database::migrated();
    let server = database.serve();
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&strategy, |value| {
        number.set(number.get() + 1);
        runtime.block_on(test(&database, &server, number.get(), value))
    });
    drop(server);
    if let Err(error) = result {
        panic!("{error}");
    }
}

async fn report(server: &Server, case: &Case, tenant: u8) -> (String, String) {
    let query = UsageQuery::new(case.tenant(tenant).parse().unwrap(), case.month().parse().unwrap());
    server.csv(&query).await
}

/// The slow and obvious way: the slice of each tier in exact fractions, and one rounding.
pub(crate) fn cost_of(
    quantity: &str,
    tiers: &[(Option<BigRational>, BigRational)],
    digits: u32,
    rounding: RoundingMode,
) -> String {
    let (whole, fraction) = quantity.split_once('.').unwrap_or((quantity, ""));
    let units: BigInt = format!("{whole}{fraction}").parse().unwrap();
    let quantity = BigRational::new(units, BigInt::from(10).pow(u32::try_from(fraction.len()).unwrap()));
    let mut sum = BigRational::from_integer(0.into());
    let mut start = BigRational::from_integer(0.into());
    for (end, price) in tiers {
        let reached = end.clone().map_or(quantity.clone(), |end| end.min(quantity.clone()));
        if reached > start {
            sum += (&reached - &start) * price;
        }
        if let Some(end) = end {
            start = end.clone();
        }
    }
    let scale = BigInt::from(10).pow(digits);
    let half = BigRational::new(1.into(), 2.into());
    let exact = sum * BigRational::from_integer(scale);
    let is_half = exact.fract() == half;
    let mut minor_units = (exact + half).floor().to_integer();
    if is_half && rounding == RoundingMode::HalfEven && &minor_units % 2 != BigInt::ZERO {
        minor_units -= 1;
    }
    let minor_units = minor_units.to_string();
    if digits == 0 {
        return minor_units;
    }
    let width = usize::try_from(digits).unwrap();
    let padded = format!("{minor_units:0>width$}", width = width + 1);
    let (whole, fraction) = padded.split_at(padded.len() - width);
    format!("{whole}.{fraction}")
}

#[test]
fn what_was_imported_is_reported_and_imports_again() {
    check((case(), prop::collection::vec(draft(), 0..60)), async |database, server, number, (case, drafts)| {
        let case = Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        let rows = rows(&drafts, &case);
        database.import(&csv_rows(&rows)).await;
        for tenant in 0..2 {
            let expected: Vec<Row> = rows.iter().filter(|row| row.0[1] == case.tenant(tenant)).cloned().collect();
            let (found, revision) = report(server, &case, tenant).await;
            prop_assert_eq!(&found, &csv_rows(&sorted(expected)));
            let again = database.import(&found).await;
            prop_assert_eq!(again.published_at, None);
            prop_assert_eq!(report(server, &case, tenant).await, (found, revision));
        }
        Ok(())
    });
}

/// Meter, region, trial: quantity and count.
type Totals = BTreeMap<(String, i32, bool), (String, i64)>;

fn of_rows(rows: &[&Row]) -> Totals {
    let mut sums: BTreeMap<(String, i32, bool), (BigDecimal, i64)> = BTreeMap::new();
    for Row(row) in rows {
        let region = ["AF", "AP", "EU", "NA"].iter().position(|name| *name == row[10]).unwrap() + 1;
        let key = (row[5].clone(), i32::try_from(region).unwrap(), row[12] == "TRUE");
        let (sum, count) = sums.entry(key).or_default();
        *sum += row[9].parse::<BigDecimal>().unwrap();
        *count += 1;
    }
    sums.into_iter().map(|(key, (sum, count))| (key, (plain(&sum), count))).collect()
}

fn of_summary(summary: &ReportSummary) -> Totals {
    let totals = summary.totals.iter();
    totals
        .map(|total| {
            let key = (total.meter_name.clone(), total.billing_region, total.trial);
            (key, (total.quantity.clone(), total.record_count))
        })
        .collect()
}

async fn stored(database: &Database, case: &Case, tenant: u8) -> Totals {
    let sql = database.sql().await;
    let query = "SELECT m.name, u.billing_region::int AS region, u.trial, sum(u.quantity)::text AS quantity,
                        sum(u.record_count)::bigint AS count
                 FROM usage_total u JOIN meter m USING (meter_key) JOIN tenant t USING (tenant_key)
                 WHERE t.tenant_id = $1::text::uuid GROUP BY 1, 2, 3";
    let rows = sql.query(query, &[&case.tenant(tenant)]).await.unwrap();
    rows.iter()
        .map(|row| {
            let quantity: BigDecimal = row.get::<_, String>("quantity").parse().unwrap();
            ((row.get("name"), row.get("region"), row.get("trial")), (plain(&quantity), row.get("count")))
        })
        .collect()
}

/// The billable and trial quantity of each line, and how many records it adds up.
fn of_costs(costs: &GetMonthlyCostsResponse, tenant: &str) -> BTreeMap<(String, i32), (String, String, i64)> {
    let lines = costs.lines.iter().filter(|line| line.tenant_id == tenant);
    lines
        .map(|line| {
            let key = (line.meter_name.clone(), line.billing_region);
            (key, (line.quantity.clone(), line.trial_quantity.clone(), line.record_count))
        })
        .collect()
}

#[test]
fn rows_summary_totals_and_costs_agree() {
    check((case(), prop::collection::vec(draft(), 1..60)), async |database, server, number, (case, drafts)| {
        let case = Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        let rows = rows(&drafts, &case);
        database.import(&csv_rows(&rows)).await;
        let month = case.month().parse().unwrap();
        let months = MonthRange::new(month, month).unwrap();
        let organization_id = case.organization().parse().unwrap();
        let query = CostsQuery { organization_id, tenant_id: None, months, as_of: None, current: false };
        let costs = server.client().await.monthly_costs(&query).await.unwrap();
        for tenant in 0..2 {
            let id = case.tenant(tenant);
            let expected = of_rows(&rows.iter().filter(|row| row.0[1] == id).collect::<Vec<_>>());
            let summary = summary(server, &id, case.month).await;
            prop_assert_eq!(&of_summary(&summary), &expected);
            prop_assert_eq!(&stored(database, &case, tenant).await, &expected);
            let mut lines: BTreeMap<(String, i32), (String, String, i64)> = BTreeMap::new();
            for ((meter, region, trial), (quantity, count)) in expected {
                let line = lines.entry((meter, region)).or_insert(("0".to_owned(), "0".to_owned(), 0));
                *(if trial { &mut line.1 } else { &mut line.0 }) = quantity;
                line.2 += count;
            }
            prop_assert_eq!(&of_costs(&costs, &id), &lines);
        }
        for line in &costs.lines {
            let meter = (0..METERS.len()).find(|&n| case.meter(n).0 == line.meter_name).unwrap();
            let billable = line.quantity != "0";
            let mode = case.rounding(meter);
            let nothing = || cost_of("0", &[], case.minor_digits(), mode);
            let (expected, used) = match case.tiers(meter) {
                _ if case.uncharged[meter] => (nothing(), RoundingMode::Unspecified),
                None if billable => (String::new(), RoundingMode::Unspecified),
                None => (nothing(), RoundingMode::Unspecified),
                Some(tiers) => (cost_of(&line.quantity, &tiers, case.minor_digits(), mode), mode),
            };
            prop_assert_eq!(&line.cost, &expected, "{:?}", line);
            prop_assert_eq!((line.rounding(), line.not_charged), (used, case.uncharged[meter]), "{:?}", line);
            // Whoever has the line can compute its cost again.
            let sum: BigDecimal = line.tiers.iter().map(|tier| tier.amount.parse::<BigDecimal>().unwrap()).sum();
            let to_even = line.rounding() == RoundingMode::HalfEven;
            let mode = if to_even { bigdecimal::RoundingMode::HalfEven } else { bigdecimal::RoundingMode::HalfUp };
            let cost = sum.with_scale_round(case.minor_digits().into(), mode).to_plain_string();
            prop_assert!(line.cost.is_empty() || line.cost == cost, "{:?}", line);
        }
        let sum: BigDecimal = costs.lines.iter().filter_map(|line| line.cost.parse::<BigDecimal>().ok()).sum();
        prop_assert_eq!(costs.totals[0].cost.parse::<BigDecimal>().unwrap(), sum);
        // A line has a cost, or it is listed as unpriced.
        let without: Vec<_> = costs.lines.iter().filter(|line| line.cost.is_empty()).collect();
        prop_assert_eq!(without.len(), costs.unpriced_meters.len());
        Ok(())
    });
}

async fn summary(server: &Server, tenant: &str, (year, month): (i32, u32)) -> ReportSummary {
    let request = secure_connect_reports::contract::proto::GetDetailedUsageRequest {
        tenant_id: tenant.to_owned(),
        month: Some(secure_connect_reports::contract::proto::YearMonth { year, month: month.cast_signed() }),
        ..Default::default()
    };
    let mut stream = server.stub().await.get_detailed_usage(request).await.unwrap().into_inner();
    let mut summary = None;
    while let Some(message) = stream.message().await.unwrap() {
        summary = message.summary;
    }
    summary.expect("a complete stream")
}

/// Each day's content, and its earlier versions, delivered in any order that ends with the final one.
#[test]
fn restating_in_any_order_gives_the_final_content() {
    let deliveries = prop::collection::vec(prop::collection::vec(draft(), 1..12), 1..6);
    check((case(), deliveries), async |database, server, number, (case, deliveries)| {
        // Two worlds: one gets everything, the other only what is final.
        let restated = Case { number: number * 2, meters: number, ..case.clone() };
        let direct = Case { number: number * 2 + 1, meters: number, ..case };
        let mut last: BTreeMap<(u8, u32), Vec<Draft>> = BTreeMap::new();
        database.apply(&restated.catalog()).await;
        for delivery in &deliveries {
            database.import(&csv_rows(&rows(delivery, &restated))).await;
            let mut days: BTreeMap<(u8, u32), Vec<Draft>> = BTreeMap::new();
            for draft in delivery {
                days.entry((draft.tenant, draft.day)).or_default().push(draft.clone());
            }
            last.extend(days);
        }
        database.apply(&direct.catalog()).await;
        let last: Vec<Draft> = last.into_values().flatten().collect();
        database.import(&csv_rows(&rows(&last, &direct))).await;
        for tenant in 0..2 {
            let (found, _) = report(server, &restated, tenant).await;
            let (expected, _) = report(server, &direct, tenant).await;
            let expected = expected
                .replace(&direct.organization(), &restated.organization())
                .replace(&direct.tenant(tenant), &restated.tenant(tenant));
            prop_assert_eq!(&found, &expected);
        }
        Ok(())
    });
}

#[test]
fn every_earlier_report_can_be_had_again_byte_for_byte() {
    let deliveries = prop::collection::vec(prop::collection::vec(draft(), 1..12), 1..6);
    check((case(), deliveries), async |database, server, number, (case, deliveries)| {
        let case = Case { number, meters: number, ..case };
        database.apply(&case.catalog()).await;
        let mut history = Vec::new();
        for delivery in &deliveries {
            let done = database.import(&csv_rows(&rows(delivery, &case))).await;
            if let Some(published_at) = done.published_at {
                let reports = [report(server, &case, 0).await, report(server, &case, 1).await];
                history.push((published_at, reports));
            }
        }
        let mut revisions: BTreeMap<String, String> = BTreeMap::new();
        for (published_at, reports) in history {
            for (tenant, (expected, revision)) in (0..2).zip(reports) {
                let query = UsageQuery {
                    as_of: Some(published_at),
                    ..UsageQuery::new(case.tenant(tenant).parse().unwrap(), case.month().parse().unwrap())
                };
                let mut client = server.client().await;
                let download = client.detailed_usage(&query).await.unwrap();
                prop_assert_eq!(&download.header().revision, &revision);
                prop_assert_eq!(&to_csv(download).await, &expected);
                // One revision, one content.
                let known = revisions.entry(revision).or_insert_with(|| expected.clone());
                prop_assert_eq!(&*known, &expected);
            }
        }
        Ok(())
    });
}
