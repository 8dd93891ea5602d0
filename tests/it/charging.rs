//! Meters that are measured and not charged.

use prost_types::Timestamp;
use secure_connect_reports::{
    catalog::{CatalogFormat, read},
    contract::proto::{CostLine, GetMonthlyCostsRequest, GetMonthlyCostsResponse, RoundingMode},
    store::{self, Changes},
};

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, HOURS, HOURS_ID, ORG, ORG_EUR, Row, TENANT_EUR, csv},
    calls::monthly_costs,
    program, run,
};

const HOURS_METER: &str = "[[meters]]\nid = \"cccccccc-0000-4000-8000-000000000001\"\n\
    name = \"user_hours_essentials\"\nunit = \"hour\"\n";

/// The meter of hours alone.
fn hours(settings: &str) -> String {
    format!("{HOURS_METER}{settings}\n")
}

async fn apply(database: &Database, catalog: &str) -> Changes {
    let catalog = read(catalog, CatalogFormat::Toml).expect("a catalog");
    store::apply_catalog(&database.config(), &catalog).await.expect("a catalog that applies").meters
}

fn changes(created: usize, updated: usize, unchanged: usize) -> Changes {
    Changes { created, updated, unchanged }
}

async fn costs(server: &Server, organization: &str, as_of: Option<Timestamp>) -> GetMonthlyCostsResponse {
    let request = GetMonthlyCostsRequest { as_of, ..monthly_costs(organization) };
    server.stub().await.get_monthly_costs(request).await.unwrap().into_inner()
}

/// Meter, cost, how many tiers, whether it is not charged, and how it was rounded.
fn short(line: &CostLine) -> (&str, &str, usize, bool, RoundingMode) {
    (line.meter_name.as_str(), line.cost.as_str(), line.tiers.len(), line.not_charged, line.rounding())
}

/// The moment of the newest publication.
async fn published_at(database: &Database) -> Option<Timestamp> {
    let clock = "SELECT floor(extract(epoch FROM last_published_at))::bigint AS seconds,
            extract(microseconds FROM last_published_at)::bigint % 1000000 AS micros FROM publication_clock";
    let row = database.sql().await.query_one(clock, &[]).await.unwrap();
    let nanos = i32::try_from(row.get::<_, i64>("micros") * 1000).unwrap();
    Some(Timestamp { seconds: row.get("seconds"), nanos })
}

#[tokio::test]
async fn usage_of_a_meter_that_is_not_charged_is_shown_and_costs_nothing() {
    let database = Database::with_catalog().await;
    let rows = [
        Row::on("2022-02-01", "100"),
        Row::on("2022-02-01", "7").asset("on trial").with("trial", "TRUE"),
        Row::on("2022-02-01", "60").bandwidth(),
        // No price covers these hours.
        Row::on("2022-02-01", "5").of(ORG_EUR, TENANT_EUR),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let before = [costs(&server, ORG, None).await, costs(&server, ORG_EUR, None).await];
    let away = RoundingMode::HalfAwayFromZero;
    let charged: Vec<_> = before[0].lines.iter().map(short).collect();
    assert_eq!(charged, [(GIB, "0.85", 2, false, away), (HOURS, "1.00", 1, false, away)]);
    assert_eq!(before[1].unpriced_meters.len(), 1);
    let charged_at = published_at(&database).await;

    // It may change although there is usage.
    assert_eq!(apply(&database, &hours("charged = false")).await, changes(0, 1, 0));
    let uncharged_at = published_at(&database).await;
    let bill = costs(&server, ORG, None).await;
    let nothing = (HOURS, "0.00", 0, true, RoundingMode::Unspecified);
    assert_eq!(bill.lines.iter().map(short).collect::<Vec<_>>(), [(GIB, "0.85", 2, false, away), nothing]);
    let line = &bill.lines[1];
    assert_eq!((line.quantity.as_str(), line.trial_quantity.as_str(), line.record_count), ("100", "7", 2));
    assert_eq!((bill.totals[0].cost.as_str(), bill.unpriced_meters.len()), ("0.85", 0));
    let bill = costs(&server, ORG_EUR, None).await;
    assert_eq!(bill.lines.iter().map(short).collect::<Vec<_>>(), [nothing]);
    assert_eq!((bill.totals[0].cost.as_str(), bill.unpriced_meters.len()), ("0.00", 0), "no price is missing");

    // What was declared already publishes nothing, nor does a file that says nothing of the meter.
    assert_eq!(apply(&database, &hours("charged = false")).await, changes(0, 0, 1));
    assert_eq!(apply(&database, &CATALOG[..CATALOG.find("[[meters]]").unwrap()]).await, changes(0, 0, 0));
    assert_eq!(published_at(&database).await, uncharged_at);

    // Charged again, and every earlier bill is as it was.
    assert_eq!(apply(&database, HOURS_METER).await, changes(0, 1, 0));
    assert_eq!(costs(&server, ORG, None).await, before[0]);
    assert_eq!(costs(&server, ORG, uncharged_at).await.totals[0].cost, "0.85");
    assert_eq!([costs(&server, ORG, charged_at).await, costs(&server, ORG_EUR, charged_at).await], before);
    assert_eq!(apply(&database, &hours("charged = false")).await, changes(0, 1, 0));
    assert_eq!(costs(&server, ORG, None).await.totals[0].cost, "0.85");
    let intervals = "SELECT count(*), count(superseded_at) FROM uncharged_meter";
    let intervals = database.sql().await.query_one(intervals, &[]).await.unwrap();
    assert_eq!((intervals.get::<_, i64>(0), intervals.get::<_, i64>(1)), (2, 1));
}

#[tokio::test]
async fn prices_and_what_is_charged_are_published_at_one_moment() {
    let database = Database::migrated();
    let catalog = CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false");
    assert_eq!(apply(&database, &catalog).await, changes(2, 0, 0));
    let moments =
        "SELECT u.applied_at, u.meter_key, m.meter_id::text FROM uncharged_meter u JOIN meter m USING (meter_key)
        WHERE u.applied_at = (SELECT last_published_at FROM publication_clock)
          AND u.applied_at = ALL (SELECT applied_at FROM price)";
    let moments = database.sql().await.query(moments, &[]).await.unwrap();
    assert_eq!(moments.iter().map(|row| row.get::<_, String>("meter_id")).collect::<Vec<_>>(), [HOURS_ID]);

    // A catalog with a problem publishes neither.
    let wrong = hours(
        "charged = true\n[[prices]]\nmeter = \"nothing\"\ncurrency = \"USD\"\n\
        effective_from = \"2022-01\"\ntiers = [{ unit_price = \"1\" }]",
    );
    let before = published_at(&database).await;
    let wrong = read(&wrong, CatalogFormat::Toml).unwrap();
    store::apply_catalog(&database.config(), &wrong).await.unwrap_err();
    assert_eq!(published_at(&database).await, before);
    let json =
        format!(r#"{{"meters": [{{"id": "{HOURS_ID}", "name": "{HOURS}", "unit": "hour", "charged": false}}]}}"#);
    let catalog = read(&json, CatalogFormat::Json).unwrap();
    let same = store::apply_catalog(&database.config(), &catalog).await.unwrap();
    assert_eq!(same.meters, changes(0, 0, 1));
}

/// As docs/concepts.md says: a price of 0 until then.
#[tokio::test]
async fn a_meter_may_begin_to_be_charged_from_a_month_on() {
    let database = Database::migrated();
    let catalog = CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false").replace("\"0.01\"", "\"0\"");
    database.apply(&catalog).await;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-03-01", "100")])).await;
    let server = database.serve();
    let bill = async || {
        let march = Some(secure_connect_reports::contract::proto::YearMonth { year: 2022, month: 3 });
        let request = GetMonthlyCostsRequest { end_month: march, ..monthly_costs(ORG) };
        let bill = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
        assert!(bill.unpriced_meters.is_empty(), "{bill:?}");
        bill.lines.iter().map(|line| (line.cost.clone(), line.not_charged)).collect::<Vec<_>>()
    };
    let nothing = ("0.00".to_owned(), true);
    assert_eq!(bill().await, [nothing.clone(), nothing]);
    let price = "[[prices]]\nmeter = \"user_hours_essentials\"\ncurrency = \"USD\"\neffective_from = \"2022-03\"\n\
        tiers = [{ unit_price = \"0.5\" }]";
    database.apply(&hours(price)).await;
    assert_eq!(bill().await, [("0.00".to_owned(), false), ("50.00".to_owned(), false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_that_a_meter_is_not_charged() {
    let database = Database::migrated();
    database.apply(&CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-02-01", "60").bandwidth()])).await;
    let server = database.serve();
    let costs = |format: &str| {
        let mut command = program();
        command.args(["costs", "--organization", ORG, "--month", "2022-02", "--format", format]);
        let (ok, out, err) = run(command.env("SCR_SERVER", server.url()));
        assert!(ok && err.is_empty(), "{err}");
        out
    };
    let table = costs("table");
    let line = table.lines().find(|line| line.contains(HOURS)).unwrap();
    assert!(line.ends_with("  hour  not charged  USD"), "{table}");
    let csv = costs("csv");
    let [header, _, line] = csv.lines().collect::<Vec<_>>()[..] else { panic!("{csv}") };
    assert!(header.ends_with("quantity,trialQuantity,cost,currency,recordCount,billingMonth,amount"), "{header}");
    assert!(line.ends_with(",100,0,0.00,USD,1,2022-02,0.00"), "{line}");
    let json: serde_json::Value = serde_json::from_str(&costs("json")).unwrap();
    let shown = |line: usize| {
        let line = &json["lines"][line];
        (line["notCharged"].clone(), line["rounding"].clone(), line["cost"].clone())
    };
    assert_eq!(shown(0), (false.into(), "half_away_from_zero".into(), "0.85".into()));
    assert_eq!(shown(1), (true.into(), serde_json::Value::Null, "0.00".into()));
}
