//! `ListPrices`: which prices are in force in a month.

use bigdecimal::BigDecimal;
use prost::Message as _;
use prost_types::Timestamp;
use secure_connect_reports::{
    client::PricesQuery,
    contract::proto::{
        GetMonthlyCostsRequest, ListPricesRequest, ListPricesResponse, Price, PriceTier, PricingModel, RoundingMode,
        YearMonth,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, GIB_ID, HOURS, ORG, ORG_EUR, Row, csv},
    calls::{list_prices, monthly_costs, request},
    issuer::{Issuer, Signer},
    program, run,
};

fn month(number: i32) -> Option<YearMonth> {
    Some(YearMonth { year: 2022, month: number })
}

async fn list(server: &Server, request: ListPricesRequest) -> Result<ListPricesResponse, Status> {
    server.stub().await.list_prices(request).await.map(tonic::Response::into_inner)
}

async fn prices(server: &Server, request: ListPricesRequest) -> Vec<Price> {
    let answer = list(server, request).await.unwrap();
    assert_eq!(answer.next_page_token, "");
    answer.prices
}

fn price(meter: &str, currency: &str, region: &str, from: &str, unit_price: &str) -> String {
    let region = if region.is_empty() { String::new() } else { format!("billing_region = \"{region}\"\n") };
    format!(
        "[[prices]]\nmeter = \"{meter}\"\ncurrency = \"{currency}\"\n{region}effective_from = \"{from}\"\n\
         tiers = [{{ unit_price = \"{unit_price}\" }}]\n"
    )
}

/// Meter, currency, region, first month, and the first unit price.
fn short(prices: &[Price]) -> Vec<(&str, &str, i32, i32, &str)> {
    let fields = prices.iter().map(|price| {
        let from = price.effective_from.map_or(0, |month| month.month);
        let unit_price = price.tiers.first().map_or("", |tier| tier.unit_price.as_str());
        (price.meter_name.as_str(), price.currency.as_str(), price.billing_region, from, unit_price)
    });
    fields.collect()
}

/// Prices that follow each other, for regions and for all.
fn several() -> String {
    [
        price(HOURS, "USD", "", "2022-03", "2"),
        price(HOURS, "USD", "NA", "2022-02", "10"),
        price(HOURS, "USD", "NA", "2022-04", "20"),
        price(HOURS, "EUR", "EU", "2022-01", "3"),
        price(HOURS, "JPY", "", "2022-06", "4"),
    ]
    .concat()
}

#[tokio::test]
async fn a_price_is_listed_with_its_tiers_its_model_and_its_rounding() {
    let database = Database::with_catalog().await;
    let half_even = CATALOG.replace("tiers = [{ up_to", "rounding = \"half_even\"\ntiers = [{ up_to");
    database.apply(&half_even).await;
    let server = database.serve();
    let listed = prices(&server, list_prices()).await;
    assert_eq!(short(&listed), [(GIB, "USD", 0, 1, "0"), (HOURS, "USD", 0, 1, "0.01")]);
    let tier = |from: &str, to: &str, unit_price: &str| PriceTier {
        from: from.to_owned(),
        to: to.to_owned(),
        unit_price: unit_price.to_owned(),
    };
    let applied_at = listed[0].applied_at;
    let expected = Price {
        meter_name: GIB.to_owned(),
        meter_id: GIB_ID.to_owned(),
        unit: "GiB".to_owned(),
        not_charged: false,
        currency: "USD".to_owned(),
        billing_region: 0,
        effective_from: month(1),
        pricing_model: PricingModel::Graduated.into(),
        rounding: RoundingMode::HalfEven.into(),
        tiers: vec![tier("0", "50", "0"), tier("50", "1000", "0.085"), tier("1000", "", "0.06")],
        applied_at,
    };
    assert_eq!(listed[0], expected);
    assert_eq!(listed[1].rounding(), RoundingMode::HalfAwayFromZero);
    // That of the correction, and so a later one.
    let seconds = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos)).unwrap();
    assert!(seconds(applied_at) > seconds(listed[1].applied_at));
    assert_eq!(
        prices(&server, ListPricesRequest { month: Some(YearMonth { year: 2021, month: 12 }), ..list_prices() }).await,
        []
    );
}

#[tokio::test]
async fn of_each_place_the_latest_price_is_listed() {
    let database = Database::with_catalog().await;
    database.apply(&several()).await;
    let server = database.serve();
    let hours = |number: i32| ListPricesRequest {
        month: month(number),
        meter_name: HOURS.to_owned(),
        ..ListPricesRequest::default()
    };
    for (number, expected) in [
        (1, vec![(HOURS, "EUR", 3, 1, "3"), (HOURS, "USD", 0, 1, "0.01")]),
        (2, vec![(HOURS, "EUR", 3, 1, "3"), (HOURS, "USD", 0, 1, "0.01"), (HOURS, "USD", 4, 2, "10")]),
        (3, vec![(HOURS, "EUR", 3, 1, "3"), (HOURS, "USD", 0, 3, "2"), (HOURS, "USD", 4, 2, "10")]),
        (5, vec![(HOURS, "EUR", 3, 1, "3"), (HOURS, "USD", 0, 3, "2"), (HOURS, "USD", 4, 4, "20")]),
    ] {
        assert_eq!(short(&prices(&server, hours(number)).await), expected, "{number}");
    }
    let yen = ListPricesRequest { currency: "JPY".to_owned(), ..hours(7) };
    assert_eq!(short(&prices(&server, yen).await), [(HOURS, "JPY", 0, 6, "4")]);
    let francs = ListPricesRequest { currency: "CHF".to_owned(), ..hours(7) };
    assert_eq!(prices(&server, francs).await, []);
}

/// What a bill costs is what the list of its month says.
#[tokio::test]
async fn bills_are_rated_by_the_prices_that_are_listed() {
    let database = Database::with_catalog().await;
    database.apply(&several()).await;
    let mut rows = Vec::new();
    for number in 1..=6 {
        for region in ["AF", "EU", "NA"] {
            rows.push(Row::on(&format!("2022-{number:02}-10"), "1").with("billingRegion", region));
        }
    }
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let bill = GetMonthlyCostsRequest { start_month: month(1), end_month: month(6), ..monthly_costs(ORG) };
    let bill = server.stub().await.get_monthly_costs(bill).await.unwrap().into_inner();
    assert_eq!(bill.lines.len(), 18);
    for line in bill.lines {
        let request = ListPricesRequest {
            month: line.month,
            currency: "USD".to_owned(),
            meter_name: HOURS.to_owned(),
            ..Default::default()
        };
        let listed = prices(&server, request).await;
        let of_place = |region: i32| listed.iter().find(|price| price.billing_region == region);
        let price = of_place(line.billing_region).or_else(|| of_place(0)).expect("a price");
        let [cost, unit_price] = [&line.cost, &price.tiers[0].unit_price].map(|text| text.parse::<BigDecimal>());
        assert_eq!(cost, unit_price, "{line:?}");
    }
}

#[tokio::test]
async fn a_meter_that_is_not_charged_has_one_entry_and_no_price() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let before = prices(&server, list_prices()).await;
    database.apply(&CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    for currency in ["", "USD", "EUR"] {
        let request = ListPricesRequest { currency: currency.to_owned(), ..list_prices() };
        let listed = prices(&server, request).await;
        let hours = listed.last().unwrap();
        assert_eq!(listed.len(), if currency == "EUR" { 1 } else { 2 });
        assert!(hours.not_charged && !listed[0].not_charged || currency == "EUR");
        let expected = Price {
            meter_name: HOURS.to_owned(),
            meter_id: before[1].meter_id.clone(),
            unit: "hour".to_owned(),
            not_charged: true,
            applied_at: hours.applied_at,
            ..Default::default()
        };
        assert_eq!(*hours, expected);
    }
    // As it was before that.
    let as_of = before[1].applied_at;
    assert_eq!(prices(&server, ListPricesRequest { as_of, ..list_prices() }).await, before);
}

#[tokio::test]
async fn pages_show_one_state_of_the_price_lists() {
    let database = Database::with_catalog().await;
    database.apply(&several()).await;
    let server = database.serve();
    let request = ListPricesRequest { month: month(6), ..Default::default() };
    let whole = prices(&server, request.clone()).await;
    assert_eq!(whole.len(), 5);
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    for number in 0.. {
        let page = list(&server, ListPricesRequest { page_size: 2, page_token, ..request.clone() }).await.unwrap();
        assert_eq!(page.prices.len(), if number < 2 { 2 } else { 1 });
        paged.extend(page.prices);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let other = ListPricesRequest { page_token: page_token.clone(), ..list_prices() };
        assert_eq!(list(&server, other).await.unwrap_err().code(), Code::InvalidArgument);
        database.apply(&several().replace("\"10\"", "\"11\"").replace("\"4\"", &format!("\"4{number}\""))).await;
        database
            .apply(&CATALOG.replace("unit = \"hour\"", &format!("unit = \"hour\"\ncharged = {}", number > 0)))
            .await;
    }
    assert_eq!(paged, whole);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    for (wrong, field) in [
        (ListPricesRequest { month: None, ..list_prices() }, "month"),
        (ListPricesRequest { month: month(13), ..list_prices() }, "month"),
        (ListPricesRequest { currency: "usd".to_owned(), ..list_prices() }, "currency"),
        (ListPricesRequest { meter_name: "nothing".to_owned(), ..list_prices() }, "meter_name"),
        (ListPricesRequest { meter_name: "x".repeat(513), ..list_prices() }, "meter_name"),
        (ListPricesRequest { as_of: Some(Timestamp { seconds: 4_000_000_000, nanos: 0 }), ..list_prices() }, "as_of"),
        (ListPricesRequest { page_size: -1, ..list_prices() }, "page_size"),
        (ListPricesRequest { page_token: "x".to_owned(), ..list_prices() }, "page_token"),
    ] {
        let status = list(&server, wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test]
async fn meters_are_found_composed_or_not() {
    let database = Database::with_catalog().await;
    let meter = "[[meters]]\nid = \"cccccccc-0000-4000-8000-000000000009\"\nname = \"Gerät\"\nunit = \"hour\"\n";
    database.apply(&format!("{meter}{}", price("Gerät", "USD", "", "2022-01", "1"))).await;
    let server = database.serve();
    let request = ListPricesRequest { meter_name: "Gera\u{308}t".to_owned(), ..list_prices() };
    assert_eq!(short(&prices(&server, request).await), [("Gerät", "USD", 0, 1, "1")]);
}

/// Answers stay below the 4 MiB that clients take, whatever a page is asked to have.
#[tokio::test]
async fn a_page_of_prices_with_many_tiers_is_shorter() {
    const METERS: usize = 400;
    let tiers: Vec<String> =
        (1..100).map(|end| format!("{{ up_to = \"{end}.123456789\", unit_price = \"0.000012345678\" }}")).collect();
    let tiers = format!("{}, {{ unit_price = \"1\" }}", tiers.join(", "));
    let entry = |n: usize| {
        format!(
            "[[meters]]\nid = \"cccccccc-0001-4000-8000-{n:012}\"\nname = \"meter {n:03}\"\nunit = \"unit\"\n\
             [[prices]]\nmeter = \"meter {n:03}\"\ncurrency = \"USD\"\neffective_from = \"2022-01\"\ntiers = [{tiers}]\n"
        )
    };
    let database = Database::migrated();
    database.apply(&(0..METERS).map(entry).collect::<String>()).await;
    let server = database.serve();
    let request = ListPricesRequest { page_size: 1000, ..list_prices() };
    let page = list(&server, request).await.unwrap();
    assert!(page.encoded_len() < 4 << 20 && page.prices.len() < METERS, "{}", page.prices.len());
    assert!(!page.next_page_token.is_empty());
    let february = "2022-02".parse().unwrap();
    let query = PricesQuery { month: february, currency: None, meter_name: None, as_of: None };
    let listed = server.client().await.prices(&query).await.unwrap();
    assert_eq!(listed.len(), METERS);
    assert_eq!(listed[..page.prices.len()], page.prices);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn price_lists_are_the_same_for_every_caller() {
    let database = Database::with_catalog().await;
    let key = Signer::new(jsonwebtoken::Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let mut answers = Vec::new();
    for organizations in [&["*"][..], &[ORG], &[ORG_EUR], &["aaaaaaaa-0000-4000-8000-00000000ffff"]] {
        let token = format!("Bearer {}", key.sign(&issuer.claims(organizations)));
        let answer = server.stub().await.list_prices(request(list_prices(), &[&token])).await.unwrap();
        answers.push(answer.into_inner());
    }
    assert_eq!(answers[0].prices.len(), 2);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_prices_in_every_format() {
    let database = Database::migrated();
    database.apply(&CATALOG.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    database.apply(&price(GIB, "USD", "EU", "2022-02", "0.5")).await;
    let server = database.serve();
    let ask = |arguments: &[&str]| {
        let mut command = program();
        command.args(["prices", "--month", "2022-02"]).args(arguments).env("SCR_SERVER", server.url());
        run(&mut command)
    };
    let (ok, table, log) = ask(&[]);
    assert!(ok && log == "2 prices\n", "{log}");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        "METER REGION CURRENCY SINCE TIER UNIT PRICE UNIT ROUNDING",
        "bandwidth_gib_essentials all USD 2022-01 0 to 50 0 GiB half_away_from_zero",
        "50 to 1000 0.085",
        "above 1000 0.06",
        "bandwidth_gib_essentials EU USD 2022-02 above 0 0.5 GiB half_away_from_zero",
        "user_hours_essentials not charged hour",
    ];
    assert_eq!(rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>(), expected);

    let (ok, csv, _) = ask(&["--currency", "USD", "--format", "csv"]);
    assert!(ok);
    // The time when it was published is the last column.
    let rows: Vec<&str> = csv.lines().map(|line| line.rsplit_once(',').unwrap().0).collect();
    let expected = [
        "meterName,meterId,unit,notCharged,currency,billingRegion,effectiveFrom,pricingModel,rounding,from,to,unitPrice",
        "bandwidth_gib_essentials,cccccccc-0000-4000-8000-000000000002,GiB,FALSE,USD,,2022-01,graduated,half_away_from_zero,0,50,0",
        "bandwidth_gib_essentials,cccccccc-0000-4000-8000-000000000002,GiB,FALSE,USD,,2022-01,graduated,half_away_from_zero,50,1000,0.085",
        "bandwidth_gib_essentials,cccccccc-0000-4000-8000-000000000002,GiB,FALSE,USD,,2022-01,graduated,half_away_from_zero,1000,,0.06",
        "bandwidth_gib_essentials,cccccccc-0000-4000-8000-000000000002,GiB,FALSE,USD,EU,2022-02,graduated,half_away_from_zero,0,,0.5",
        "user_hours_essentials,cccccccc-0000-4000-8000-000000000001,hour,TRUE,,,,,,,,",
    ];
    assert_eq!(rows, expected);

    let (ok, json, _) = ask(&["--meter", HOURS, "--format", "json"]);
    assert!(ok);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let applied_at = json[0]["appliedAt"].clone();
    assert!(applied_at.as_str().unwrap().ends_with('Z'));
    let expected = serde_json::json!([{
        "meterName": HOURS, "meterId": "cccccccc-0000-4000-8000-000000000001", "unit": "hour", "notCharged": true,
        "currency": null, "billingRegion": null, "effectiveFrom": null, "pricingModel": null, "rounding": null,
        "tiers": [], "appliedAt": applied_at
    }]);
    assert_eq!(json, expected);

    let (ok, out, log) = ask(&["--meter", "nothing"]);
    assert!(!ok && out.is_empty() && log.contains("there is no meter \"nothing\""), "{log}");
    let (ok, ..) = ask(&["--currency", "dollars"]);
    assert!(!ok);
}
