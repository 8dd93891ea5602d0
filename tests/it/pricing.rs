//! A price is kept with its model and its rounding mode, so that what was billed once can be shown for ever.

use secure_connect_reports::{
    catalog::{CatalogFormat, read},
    contract::proto::{GetMonthlyCostsRequest, YearMonth},
    store,
};

use crate::support::{
    Database, Server,
    builder::{ORG, Row, csv},
};

fn price(settings: &str) -> String {
    format!(
        "[[prices]]\nmeter = \"user_hours_essentials\"\ncurrency = \"USD\"\neffective_from = \"2022-01\"\n{settings}\n\
         tiers = [{{ unit_price = \"0.01\" }}]\n"
    )
}

async fn cost(server: &Server, as_of: Option<prost_types::Timestamp>) -> String {
    let request = GetMonthlyCostsRequest {
        organization_id: ORG.to_owned(),
        start_month: Some(YearMonth { year: 2022, month: 2 }),
        as_of,
        ..Default::default()
    };
    let answer = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
    assert_eq!(answer.totals[0].cost, answer.lines[0].cost);
    answer.lines[0].cost.clone()
}

async fn published_at(database: &Database) -> Option<prost_types::Timestamp> {
    let sql = database.sql().await;
    let clock = "SELECT floor(extract(epoch FROM last_published_at))::bigint AS seconds,
            extract(microseconds FROM last_published_at)::bigint % 1000000 AS micros FROM publication_clock";
    let row = sql.query_one(clock, &[]).await.unwrap();
    let nanos = i32::try_from(row.get::<_, i64>("micros") * 1000).unwrap();
    Some(prost_types::Timestamp { seconds: row.get("seconds"), nanos })
}

#[tokio::test]
async fn a_bill_is_rounded_as_its_price_says_also_when_the_price_is_corrected() {
    let database = Database::with_catalog().await;
    // Half a cent.
    database.import(&csv(&[Row::on("2022-02-01", "0.5")])).await;
    let server = database.serve();
    let by_default = published_at(&database).await;
    assert_eq!(cost(&server, None).await, "0.01");

    database.apply(&price("rounding = \"half_even\"")).await;
    let to_even = published_at(&database).await;
    assert_eq!(cost(&server, None).await, "0.00");
    // The same price again is none.
    database.apply(&price("rounding = \"half_even\"\npricing_model = \"graduated\"")).await;
    assert_eq!(published_at(&database).await, to_even);

    database.apply(&price("rounding = \"half_away_from_zero\"")).await;
    assert_eq!(cost(&server, None).await, "0.01");
    assert_eq!(cost(&server, to_even).await, "0.00");
    assert_eq!(cost(&server, by_default).await, "0.01");
}

#[tokio::test]
async fn a_price_of_an_unknown_kind_is_refused_and_named() {
    for (settings, problem) in [
        ("pricing_model = \"volume\"", "prices[0].pricing_model: \"volume\": not one of graduated"),
        ("rounding = \"up\"", "prices[0].rounding: \"up\": not one of half_away_from_zero, half_even"),
    ] {
        let error = read(&price(settings), CatalogFormat::Toml).expect_err(settings);
        assert_eq!(error.to_string(), problem);
    }
}

/// A database that a newer version has written to is not read as if it were ours.
#[tokio::test]
async fn the_database_holds_no_other_kind() {
    let database = Database::with_catalog().await;
    let sql = database.sql().await;
    for column in ["pricing_model", "rounding_mode"] {
        let error = sql.execute(&format!("UPDATE price SET {column} = 'other'"), &[]).await.expect_err(column);
        let constraint = error.as_db_error().and_then(|error| error.constraint()).map(str::to_owned);
        assert_eq!(constraint, Some(format!("price_{column}_check")));
    }
    let catalog = read(&price(""), CatalogFormat::Toml).expect("a catalog");
    let changes = store::apply_catalog(&database.config(), &catalog).await.expect("a catalog that applies");
    assert_eq!((changes.prices.created, changes.prices.updated, changes.prices.unchanged), (0, 0, 1));
}
