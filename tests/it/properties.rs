//! The promises, for random catalogs and random usage.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::{prelude::*, test_runner::TestRunner};
use secure_connect_reports::{
    client::{CostsQuery, UsageQuery},
    model::{MonthRange, UtcTime, plain},
    proto::{GetMonthlyCostsResponse, ReportSummary},
};

use crate::support::{Database, Server, builder::Row, csv_rows, to_csv};

const CASES: u32 = 24;
const METERS: [&str; 4] =
    ["user_hours_essentials", "bandwidth_gib_essentials", "Endpoint hours, \"new\"", "bandwidth_gib_premium"];

/// What one case is about: its organization, tenants and month are its own, so that cases share a database.
#[derive(Clone, Debug)]
struct Case {
    number: u32,
    /// Tells the meters of cases apart, and so their prices.
    meters: u32,
    currency: &'static str,
    /// Unit prices and ends of tiers, per meter; none: no price.
    prices: Vec<Option<Vec<(u32, u32)>>>,
    month: (i32, u32),
}

impl Case {
    fn organization(&self) -> String {
        format!("aaaaaaaa-0000-4000-8000-{:012}", self.number)
    }

    fn tenant(&self, n: u8) -> String {
        format!("bbbbbbbb-{n:04}-4000-8000-{:012}", self.number)
    }

    fn month(&self) -> String {
        format!("{:04}-{:02}", self.month.0, self.month.1)
    }

    /// Name and id of a meter.
    fn meter(&self, n: usize) -> (String, String) {
        (format!("{} {}", METERS[n], self.meters), format!("cccccccc-{n:04}-4000-8000-{:012}", self.meters))
    }

    fn minor_digits(&self) -> u32 {
        match self.currency {
            "JPY" => 0,
            "KWD" => 3,
            _ => 2,
        }
    }

    /// The end (none: the last tier) and unit price of each tier of a meter's price.
    fn tiers(&self, meter: usize) -> Option<Vec<(Option<BigRational>, BigRational)>> {
        let mut end = 0;
        let steps = self.prices[meter].as_ref()?.iter().map(|&(step, price)| {
            end += step;
            (Some(BigRational::from_integer(end.into())), BigRational::new(price.into(), 100_000.into()))
        });
        Some(steps.chain([(None, BigRational::new(17.into(), 1000.into()))]).collect())
    }

    fn catalog(&self) -> String {
        let organization = self.organization();
        let mut text = format!(
            "[[organizations]]\nid = \"{organization}\"\nname = \"Org {}\"\ncurrency = \"{}\"\n",
            self.number, self.currency
        );
        for n in 0..2 {
            text += &format!(
                "[[tenants]]\nid = \"{}\"\norganization_id = \"{organization}\"\nname = \"t{n}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n",
                self.tenant(n)
            );
        }
        for (name, id) in (0..METERS.len()).map(|n| self.meter(n)) {
            text += &format!("[[meters]]\nid = \"{id}\"\nname = '{name}'\nunit = \"unit\"\n");
        }
        for (n, tiers) in self.prices.iter().enumerate() {
            let (name, _) = self.meter(n);
            let Some(tiers) = tiers else { continue };
            let mut end = 0;
            let mut parts: Vec<String> = tiers
                .iter()
                .map(|(step, price)| {
                    end += step;
                    format!("{{ up_to = \"{end}\", unit_price = \"0.{price:05}\" }}")
                })
                .collect();
            parts.push("{ unit_price = \"0.017\" }".to_owned());
            text += &format!(
                "[[prices]]\nmeter = '{name}'\ncurrency = \"{}\"\neffective_from = \"0001-01\"\ntiers = [{}]\n",
                self.currency,
                parts.join(", ")
            );
        }
        text
    }
}

fn case() -> impl Strategy<Value = Case> {
    let tiers = prop::collection::vec((1..200_u32, 0..99_999_u32), 0..3);
    (
        prop::sample::select(vec!["USD", "JPY", "KWD"]),
        prop::collection::vec(prop::option::weighted(0.8, tiers), METERS.len()),
        prop::sample::select(vec![(2022, 2), (2024, 2), (2022, 12), (2023, 1), (1999, 6)]),
    )
        .prop_map(|(currency, prices, month)| Case { number: 0, meters: 0, currency, prices, month })
}

/// A row as it might be delivered, for tenants and a month that are known later.
#[derive(Clone, Debug)]
struct Draft {
    tenant: u8,
    name: String,
    id: String,
    asset_type: &'static str,
    meter: usize,
    day: u32,
    start_second: u32,
    seconds: u32,
    micros: u32,
    quantity: (u128, usize),
    region: &'static str,
    platform: &'static str,
    trial: bool,
    trial_expiry: &'static str,
}

fn draft() -> impl Strategy<Value = Draft> {
    let name = prop::sample::select(vec![
        "Joe",
        "Smith, Jane",
        "\"quoted\"",
        "two\nlines",
        "cr\rlf\r\n",
        "=1+1",
        "東京",
        " padded ",
        "",
        "-",
        "a;b\tc",
        "𝄞",
    ]);
    let assets = (
        0..2_u8,
        name,
        prop::sample::select(vec!["joe@email.com", "a", "A", "é", "ep-1", "a,b", "\"", "long-long-long-id"]),
        prop::sample::select(vec!["USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"]),
        0..METERS.len(),
    );
    let period = (1..=4_u32, 0..86_400_u32, 1..=86_400_u32, prop::sample::select(vec![0_u32, 0, 0, 500_000, 1]));
    let amount = prop_oneof![
        3 => (0..100_000_u128, 0..6_usize),
        1 => (0..10_u128.pow(38), 0..=38_usize),
    ];
    let rest = (
        amount,
        prop::sample::select(vec!["AF", "AP", "EU", "NA"]),
        prop::sample::select(vec!["", "mcp", "azure"]),
        prop::bool::weighted(0.25),
        prop::sample::select(vec!["", "2022-02-15T00:00:00Z", "1999-01-01T00:00:00.25Z"]),
    );
    (assets, period, rest).prop_map(
        |((tenant, name, id, asset_type, meter), (day, start_second, seconds, micros), rest)| {
            let (quantity, region, platform, trial, trial_expiry) = rest;
            Draft {
                tenant,
                name: name.to_owned(),
                id: id.to_owned(),
                asset_type,
                meter,
                day,
                start_second,
                seconds,
                micros,
                quantity,
                region,
                platform,
                trial,
                trial_expiry,
            }
        },
    )
}

impl Draft {
    fn row(&self, case: &Case) -> Row {
        let (year, month) = case.month;
        // The first two days, and the last two.
        let last =
            chrono::NaiveDate::from_ymd_opt(year, month, 1).unwrap() + chrono::Months::new(1) - chrono::Days::new(1);
        let day = if self.day <= 2 { self.day } else { chrono::Datelike::day(&last) - (self.day - 3) };
        let date = chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap();
        let start =
            UtcTime::midnight(date).unix_micros() + i64::from(self.start_second) * 1_000_000 + i64::from(self.micros);
        let month: secure_connect_reports::model::Month = case.month().parse().unwrap();
        let end = (start + i64::from(self.seconds) * 1_000_000).min(month.end().unix_micros());
        let time = |micros| UtcTime::from_unix_micros(micros).unwrap().to_string();
        let (meter, meter_id) = case.meter(self.meter);
        let platform = if meter.starts_with("bandwidth_") { self.platform } else { "" };
        let (coefficient, scale) = self.quantity;
        let digits = format!("{coefficient:0width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let quantity = if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
        let fields = [
            case.organization(),
            case.tenant(self.tenant),
            self.name.clone(),
            self.id.clone(),
            self.asset_type.to_owned(),
            meter,
            meter_id,
            time(start),
            time(end),
            quantity,
            self.region.to_owned(),
            platform.to_owned(),
            if self.trial { "TRUE" } else { "FALSE" }.to_owned(),
            self.trial_expiry.to_owned(),
        ];
        Row(fields)
    }
}

/// The rows of drafts, without those that are there already in another guise.
fn rows(drafts: &[Draft], case: &Case) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let key = |row: &Row| [1, 3, 4, 5, 7, 8, 10, 11].map(|column| row.0[column].clone());
    drafts.iter().map(|draft| draft.row(case)).filter(|row| seen.insert(key(row))).collect()
}

/// The order of the report, said in another way than the service does.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    const TYPES: [&str; 5] = ["USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"];
    rows.sort_by_key(|Row(row)| {
        let time = |text: &str| text.parse::<UtcTime>().unwrap();
        (
            row[7][..10].to_owned(),
            TYPES.iter().position(|name| *name == row[4]),
            (row[3].clone(), row[5].clone()),
            (time(&row[7]), time(&row[8])),
            (row[10].clone(), ["", "mcp", "azure"].iter().position(|name| *name == row[11])),
        )
    });
    rows
}

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

/// The slow and obvious way: the slice of each tier in exact fractions, and one rounding, half up.
fn cost_of(quantity: &str, tiers: &[(Option<BigRational>, BigRational)], digits: u32) -> String {
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
    let minor_units = (sum * BigRational::from_integer(scale) + half).floor().to_integer().to_string();
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
        let query = CostsQuery { organization_id, tenant_id: None, months, as_of: None };
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
            let expected = match case.tiers(meter) {
                None if billable => String::new(),
                None => cost_of("0", &[], case.minor_digits()),
                Some(tiers) => cost_of(&line.quantity, &tiers, case.minor_digits()),
            };
            prop_assert_eq!(&line.cost, &expected, "{:?}", line);
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
    let request = secure_connect_reports::proto::GetDetailedUsageRequest {
        tenant_id: tenant.to_owned(),
        month: Some(secure_connect_reports::proto::YearMonth { year, month: month.cast_signed() }),
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
