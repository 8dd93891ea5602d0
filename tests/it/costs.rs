//! `GetMonthlyCosts`: what is owed, and why.

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    BillState, CostTier, CostTotal, GetMonthlyCostsRequest, GetMonthlyCostsResponse, YearMonth,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, HOURS, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
};

fn month(text: &str) -> Option<YearMonth> {
    let (year, month) = text.split_once('-').unwrap();
    Some(YearMonth { year: year.parse().unwrap(), month: month.parse().unwrap() })
}

fn request(start: &str, end: &str) -> GetMonthlyCostsRequest {
    let (start_month, end_month) = (month(start), month(end));
    GetMonthlyCostsRequest { organization_id: ORG.to_owned(), start_month, end_month, ..Default::default() }
}

async fn costs(server: &Server, request: GetMonthlyCostsRequest) -> Result<GetMonthlyCostsResponse, Status> {
    server.stub().await.get_monthly_costs(request).await.map(tonic::Response::into_inner)
}

fn price(meter: &str, region: &str, from: &str, unit_price: &str) -> String {
    let region = if region.is_empty() { String::new() } else { format!("billing_region = \"{region}\"") };
    format!(
        "[[prices]]\nmeter = \"{meter}\"\ncurrency = \"USD\"\n{region}\neffective_from = \"{from}\"\n\
         tiers = [{{ unit_price = \"{unit_price}\" }}]\n"
    )
}

/// Meter, region, quantity and cost of each line.
fn short(answer: &GetMonthlyCostsResponse) -> Vec<(&str, i32, &str, &str)> {
    let fields = answer
        .lines
        .iter()
        .map(|line| (line.meter_name.as_str(), line.billing_region, line.quantity.as_str(), line.cost.as_str()));
    fields.collect()
}

#[tokio::test]
async fn a_line_says_what_is_owed_and_why() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = [
        Row::on("2022-02-01", "600.25").bandwidth().with("platform", "mcp"),
        Row::on("2022-02-02", "470.00").bandwidth().asset("other"),
        Row::on("2022-02-02", "3.5").bandwidth().asset("other").with("platform", "azure").with("trial", "TRUE"),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let answer = costs(&server, request("2022-02", "2022-02")).await.unwrap();
    let [line] = answer.lines.as_slice() else { panic!("one line, not {:?}", answer.lines) };
    assert_eq!(line.month, month("2022-02"));
    assert_eq!((line.organization_id.as_str(), line.tenant_id.as_str()), (ORG, TENANT));
    assert_eq!((line.tenant_name.as_str(), line.plan.as_str(), line.unit.as_str()), ("acme-hq", "essentials", "GiB"));
    assert_eq!((line.meter_name.as_str(), line.billing_region), (GIB, 3));
    assert_eq!((line.quantity.as_str(), line.trial_quantity.as_str(), line.record_count), ("1070.25", "3.5", 3));
    let tier = |from: &str, to: &str, quantity: &str, unit_price: &str, amount: &str| CostTier {
        from: from.to_owned(),
        to: to.to_owned(),
        quantity: quantity.to_owned(),
        unit_price: unit_price.to_owned(),
        amount: amount.to_owned(),
    };
    let tiers = [
        tier("0", "50", "50", "0", "0"),
        tier("50", "1000", "950", "0.085", "80.75"),
        tier("1000", "", "70.25", "0.06", "4.215"),
    ];
    assert_eq!(line.tiers, tiers);
    // 84.965 is rounded away from zero.
    assert_eq!((line.cost.as_str(), line.currency.as_str()), ("84.97", "USD"));
    let total = CostTotal {
        month: month("2022-02"),
        currency: "USD".to_owned(),
        cost: "84.97".to_owned(),
        adjustment: "0.00".to_owned(),
        amount_due: "84.97".to_owned(),
        state: BillState::Open.into(),
        statement_number: String::new(),
    };
    assert_eq!(answer.totals, [total]);
    let [report] = answer.tenant_months.as_slice() else { panic!("one report") };
    assert_eq!((report.month, report.tenant_id.as_str()), (month("2022-02"), TENANT));
    assert_eq!(report.revision.len(), 64);
    assert!(report.data_as_of.is_some());
    assert_eq!((answer.unpriced_meters.len(), answer.next_page_token.as_str()), (0, ""));
}

#[tokio::test]
async fn a_line_is_rounded_once_and_totals_add_rounded_lines() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    // Three regions of 0.5 hours at 0.01: 0.005 each, which is 0.01 when rounded; 0.015 in all would be 0.02.
    let rows: Vec<Row> = ["AF", "AP", "EU"]
        .iter()
        .flat_map(|region| {
            let row = Row::on("2022-02-01", "0.25").with("billingRegion", region);
            [row.clone().asset("a"), row.asset("b")]
        })
        .collect();
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let answer = costs(&server, request("2022-02", "2022-02")).await.unwrap();
    assert_eq!(short(&answer), [(HOURS, 1, "0.5", "0.01"), (HOURS, 2, "0.5", "0.01"), (HOURS, 3, "0.5", "0.01")]);
    assert_eq!(answer.totals[0].cost, "0.03");
}

#[tokio::test]
async fn tenants_are_rated_each_on_its_own() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = [Row::on("2022-02-01", "40").bandwidth(), Row::on("2022-02-01", "40").bandwidth().of(ORG, TENANT_2)];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let answer = costs(&server, request("2022-02", "2022-02")).await.unwrap();
    // Together they would be past the 50 that are free.
    assert_eq!(short(&answer), [(GIB, 3, "40", "0.00"), (GIB, 3, "40", "0.00")]);
    let one = GetMonthlyCostsRequest { tenant_id: TENANT_2.to_owned(), ..request("2022-02", "2022-02") };
    let one = costs(&server, one).await.unwrap();
    assert_eq!(one.lines.iter().map(|line| line.tenant_id.as_str()).collect::<Vec<_>>(), [TENANT_2]);
}

#[tokio::test]
async fn the_price_of_the_region_goes_first_and_then_the_latest() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let prices = [
        price(HOURS, "", "2022-03", "2"),
        price(HOURS, "", "2022-05", "3"),
        price(HOURS, "EU", "2022-02", "10"),
        price(HOURS, "EU", "2022-04", "20"),
    ];
    database.apply(&prices.concat()).await;
    let mut rows = Vec::new();
    for month in ["2021-12", "2022-01", "2022-02", "2022-03", "2022-04", "2022-05", "2022-06"] {
        rows.push(Row::on(&format!("{month}-10"), "1").with("billingRegion", "EU"));
        rows.push(Row::on(&format!("{month}-10"), "1").with("billingRegion", "NA"));
    }
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let answer = costs(&server, request("2021-12", "2022-06")).await.unwrap();
    let found: Vec<_> = answer.lines.iter().map(|line| line.cost.as_str()).collect();
    let expected = [
        ["", ""],
        ["0.01", "0.01"],
        ["10.00", "0.01"],
        ["10.00", "2.00"],
        ["20.00", "2.00"],
        ["20.00", "3.00"],
        ["20.00", "3.00"],
    ];
    assert_eq!(found, expected.concat());
    assert_eq!(answer.unpriced_meters.len(), 2);
    let totals: Vec<_> = answer.totals.iter().map(|total| total.cost.as_str()).collect();
    assert_eq!(totals, ["0.00", "0.02", "10.01", "12.00", "22.00", "23.00", "23.00"]);
}

#[tokio::test]
async fn usage_without_a_price_is_listed_and_never_silently_free() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let rows = [
        Row::on("2022-02-01", "5").of(ORG_EUR, TENANT_EUR),
        Row::on("2022-02-01", "7").of(ORG_EUR, TENANT_EUR).bandwidth().with("trial", "TRUE"),
    ];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let request = GetMonthlyCostsRequest { organization_id: ORG_EUR.to_owned(), ..request("2022-02", "2022-02") };
    let answer = costs(&server, request).await.unwrap();
    // Trial usage needs no price.
    assert_eq!(short(&answer), [(GIB, 3, "0", "0.00"), (HOURS, 3, "5", "")]);
    assert_eq!(answer.lines[0].trial_quantity, "7");
    let [unpriced] = answer.unpriced_meters.as_slice() else { panic!("one meter without a price") };
    assert_eq!((unpriced.meter_name.as_str(), unpriced.currency.as_str()), (HOURS, "EUR"));
    assert_eq!((unpriced.quantity.as_str(), unpriced.tenant_id.as_str()), ("5", TENANT_EUR));
    assert_eq!((answer.totals[0].cost.as_str(), answer.totals[0].currency.as_str()), ("0.00", "EUR"));
}

#[tokio::test]
async fn costs_have_the_minor_digits_of_their_currency() {
    for (currency, cost) in [("JPY", "12"), ("USD", "12.35"), ("KWD", "12.346")] {
        let database = Database::migrated();
        let catalog = CATALOG.replace("\"USD\"", &format!("\"{currency}\"")).replace("\"0.01\"", "\"12.3456\"");
        database.apply(&catalog).await;
        database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
        let server = database.serve();
        let answer = costs(&server, request("2022-02", "2022-02")).await.unwrap();
        assert_eq!((answer.lines[0].cost.as_str(), answer.totals[0].cost.as_str()), (cost, cost));
    }
}

#[tokio::test]
async fn a_bill_covers_one_to_eighteen_months() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let server = database.serve();
    let answer = costs(&server, request("2021-01", "2022-06")).await.unwrap();
    assert_eq!(answer.totals.len(), 18);
    assert!(answer.totals.iter().all(|total| total.cost == "0.00" && total.currency == "USD"));
    assert_eq!((answer.totals[0].month, answer.totals[17].month), (month("2021-01"), month("2022-06")));
    let one = GetMonthlyCostsRequest { end_month: None, ..request("2021-01", "2021-01") };
    assert_eq!(costs(&server, one).await.unwrap().totals.len(), 1);

    let base = || request("2022-01", "2022-01");
    for (wrong, field) in [
        (request("2021-01", "2022-07"), "end_month"),
        (request("2022-02", "2022-01"), "end_month"),
        (GetMonthlyCostsRequest { start_month: None, ..base() }, "start_month"),
        (request("2022-00", "2022-01"), "start_month"),
        (request("2022-01", "2022-13"), "end_month"),
        (request("0-1", "0-1"), "start_month"),
        (request("10000-1", "10000-1"), "start_month"),
        (GetMonthlyCostsRequest { organization_id: String::new(), ..base() }, "organization_id"),
        (GetMonthlyCostsRequest { organization_id: "x".to_owned(), ..base() }, "organization_id"),
        (GetMonthlyCostsRequest { tenant_id: "x".to_owned(), ..base() }, "tenant_id"),
        (GetMonthlyCostsRequest { page_size: -1, ..base() }, "page_size"),
        (GetMonthlyCostsRequest { page_token: "x".to_owned(), ..base() }, "page_token"),
    ] {
        let status = costs(&server, wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let unknown = "aaaaaaaa-0000-4000-8000-00000000ffff".to_owned();
    for (wrong, reason) in [
        (GetMonthlyCostsRequest { organization_id: unknown, ..base() }, "ORGANIZATION_NOT_FOUND"),
        // A tenant of another organization is as good as unknown.
        (GetMonthlyCostsRequest { tenant_id: TENANT_EUR.to_owned(), ..base() }, "TENANT_NOT_FOUND"),
    ] {
        let status = costs(&server, wrong).await.unwrap_err();
        assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (Code::NotFound, reason));
    }
}

#[tokio::test]
async fn a_bill_can_be_had_as_it_was_also_when_prices_were_corrected() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let first = database.import(&csv(&[Row::on("2022-02-01", "100")])).await.published_at.unwrap();
    database.apply(&price(HOURS, "", "2022-01", "0.02")).await;
    let second = database.import(&csv(&[Row::on("2022-02-01", "200")])).await.published_at.unwrap();
    let server = database.serve();
    let at = async |micros: i64| {
        let as_of = Some(Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap(),
        });
        let request = GetMonthlyCostsRequest { as_of, ..request("2022-02", "2022-02") };
        let answer = costs(&server, request).await.unwrap();
        let revisions: Vec<_> = answer.tenant_months.iter().map(|report| report.revision.clone()).collect();
        (answer.totals[0].cost.clone(), revisions)
    };
    let (first, second) = (first.unix_micros(), second.unix_micros());
    let (at_first, before_second, at_second) = (at(first).await, at(second - 1).await, at(second).await);
    assert_eq!((at_first.0.as_str(), before_second.0.as_str(), at_second.0.as_str()), ("1.00", "2.00", "4.00"));
    assert_eq!(at_first.1, before_second.1);
    assert_ne!(before_second.1, at_second.1);
    assert_eq!(at(first - 1).await, ("0.00".to_owned(), Vec::new()));
}

#[tokio::test]
async fn pages_show_one_state_of_the_data() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let usage = |quantity: &str| {
        let mut rows = Vec::new();
        for (tenant, month) in [(TENANT, "2022-01"), (TENANT, "2022-02"), (TENANT_2, "2022-01"), (TENANT_2, "2022-02")]
        {
            for region in ["AF", "AP", "EU", "NA"] {
                let row = Row::on(&format!("{month}-01"), quantity).with("billingRegion", region).of(ORG, tenant);
                rows.extend([row.clone(), row.bandwidth()]);
            }
        }
        csv(&rows)
    };
    database.import(&usage("100")).await;
    let server = database.serve();
    let whole = costs(&server, request("2022-01", "2022-02")).await.unwrap();
    assert_eq!(whole.lines.len(), 32);

    let mut pages = GetMonthlyCostsResponse::default();
    let mut page_token = String::new();
    for number in 0.. {
        let request = GetMonthlyCostsRequest { page_size: 5, page_token, ..request("2022-01", "2022-02") };
        let page = costs(&server, request).await.unwrap();
        assert_eq!(page.lines.len(), if number < 6 { 5 } else { 2 });
        assert_eq!(page.totals, whole.totals);
        pages.lines.extend(page.lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        if number == 2 {
            database.import(&usage("999")).await;
        }
    }
    assert_eq!(pages.lines, whole.lines);

    let first = GetMonthlyCostsRequest { page_size: 5, ..request("2022-01", "2022-02") };
    let page_token = costs(&server, first.clone()).await.unwrap().next_page_token;
    let other = GetMonthlyCostsRequest { page_token: page_token.clone(), ..request("2022-01", "2022-01") };
    assert_eq!(costs(&server, other).await.unwrap_err().code(), Code::InvalidArgument);
    database.apply(&CATALOG.replace("acme-lab", "aaa")).await;
    let status = costs(&server, GetMonthlyCostsRequest { page_token, ..first }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_details_error_info().unwrap().reason, "PAGE_TOKEN_EXPIRED");
}
