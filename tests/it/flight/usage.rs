//! What is read is the report, to the last digit, whatever is in it and whenever it is asked for.

use arrow_flight::{Criteria, FlightInfo};
use arrow_schema::DataType;
use futures_util::TryStreamExt as _;
use secure_connect_reports::model::Column;

use super::usage_of;
use crate::support::{
    Database,
    builder::{ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv},
    calls::{detailed_usage, flight_path},
    columns::{Columns, csv_rows, february, usage_command},
};

#[tokio::test]
async fn columns_have_the_names_of_the_report_and_their_types() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1.50"), Row::on("2022-02-02", "0.125")])).await;
    let server = database.serve();
    let slices = server.columns(usage_of(TENANT)).await;
    let [slice] = slices.as_slice() else { panic!("{} slices", slices.len()) };
    let names: Vec<&str> = slice.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, Column::NAMES);
    let nullable = slice.schema.fields().iter().filter(|field| field.is_nullable()).map(|field| field.name().as_str());
    assert_eq!(nullable.collect::<Vec<_>>(), ["platform", "trialExpiry"]);
    let of = |name: &str| slice.schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(of("quantity"), DataType::Decimal128(38, 18), "as most months have it");
    assert_eq!(of("trial"), DataType::Boolean);
    assert_eq!(of("start").to_string(), r#"Timestamp(µs, "UTC")"#);
    assert_eq!(of("assetId").to_string(), "Dictionary(Int32, Utf8)");
    assert_eq!(of("billingRegion").to_string(), "Dictionary(Int8, Utf8)");

    let (_, revision) = server.csv(&february(TENANT)).await;
    let metadata = slice.metadata();
    let of = |name: &str| metadata.get(name).map(String::as_str);
    assert_eq!(of("revision"), Some(&*revision));
    assert_eq!((of("organizationId"), of("tenantId"), of("tenantName")), (Some(ORG), Some(TENANT), Some("acme-hq")));
    assert_eq!((of("month"), of("recordCount")), (Some("2022-02"), Some("2")));
    assert!(of("dataAsOf").is_some_and(|time| time.ends_with('Z')), "{metadata:?}");
    let totals = serde_json::json!({
        "recordCount": "2",
        "totals": [{
            "meterName": "user_hours_essentials", "meterId": "cccccccc-0000-4000-8000-000000000001",
            "billingRegion": "BILLING_REGION_EU", "trial": false, "quantity": "1.625", "recordCount": "2",
        }],
    });
    assert!(slice.summary == totals, "{}", slice.summary);
}

#[tokio::test]
async fn a_month_without_usage_has_columns_and_no_rows() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let info = server.flight_info(usage_of(TENANT)).await.unwrap();
    assert_eq!((info.total_records, info.endpoint.len(), info.ordered), (0, 1, true));
    let slice = &server.columns(usage_of(TENANT)).await[0];
    assert_eq!((slice.record_count(), slice.batches.len()), (0, 1), "a batch that the totals come with");
    assert!(slice.summary == serde_json::json!({ "recordCount": "0", "totals": [] }), "{}", slice.summary);
    let costs = &server.columns(flight_path("monthly_costs", ORG, "2022-02")).await[0];
    assert_eq!((costs.record_count(), costs.summary["totals"][0]["amountDue"].as_str()), (0, Some("0.00")));
}

#[tokio::test]
async fn every_quantity_is_exact() {
    let longest = "9".repeat(38);
    let smallest = format!("0.{}1", "0".repeat(37));
    let sixteen = "1".repeat(16);
    let of_scale = |scale: usize| format!("{}.{}", "1".repeat(38 - scale), "2".repeat(scale));
    let mut months: Vec<Vec<String>> = vec![
        vec!["0".to_owned(), "0.00".to_owned()],
        vec![longest.clone()],
        vec![longest.clone(), smallest.clone()],
        vec![smallest.clone(), "1".to_owned()],
        vec!["1.5".to_owned(), "1.50".to_owned(), "1.500000".to_owned()],
        vec![format!("{sixteen}.5"), "0.00000000000000000001".to_owned(), "3".to_owned()],
        // More than 38 digits only together.
        vec![longest.clone(), longest.clone()],
    ];
    months.extend((1..38).map(|scale| vec![of_scale(scale), of_scale(scale)]));
    let database = Database::with_catalog().await;
    let mut rows = Vec::new();
    for (n, quantities) in months.iter().enumerate() {
        for (asset, quantity) in quantities.iter().enumerate() {
            let day = format!("{:04}-{:02}-01", 2000 + n / 12, n % 12 + 1);
            rows.push(Row::on(&day, quantity).asset(&asset.to_string()));
        }
    }
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let mut types = Vec::new();
    for n in 0..months.len() {
        let month = format!("{:04}-{:02}", 2000 + n / 12, n % 12 + 1);
        let slice = &server.columns(flight_path("detailed_usage", TENANT, &month)).await[0];
        let mut query = february(TENANT);
        query.month = month.parse().unwrap();
        let expected = csv_rows(&server.csv(&query).await.0);
        assert!(slice.rows() == expected, "{month}: {:?}", slice.rows());
        types.push(slice.schema.field_with_name("quantity").unwrap().data_type().clone());
    }
    let narrow = |scale| DataType::Decimal128(38, scale);
    let wide = DataType::Decimal256(76, 38);
    // What fits only in another way has as many places as it needs, or twice as many digits.
    let expected = [narrow(18), narrow(0), wide.clone(), wide, narrow(18), narrow(20), narrow(0)];
    assert_eq!(types[..7], expected);
    assert!(types[7..].iter().cloned().eq((1..38).map(narrow)), "{types:?}");
}

#[tokio::test]
async fn the_first_and_the_last_year_are_exact() {
    let database = Database::with_catalog().await;
    database
        .import(&csv(&[
            Row::new("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000001Z", "1")
                .with("trialExpiry", "9999-12-31T23:59:59.999999Z"),
            Row::new("9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1"),
        ]))
        .await;
    let server = database.serve();
    for month in ["0001-01", "9999-12"] {
        let slice = &server.columns(flight_path("detailed_usage", TENANT, month)).await[0];
        let mut query = february(TENANT);
        query.month = month.parse().unwrap();
        assert_eq!(slice.rows(), csv_rows(&server.csv(&query).await.0));
        assert_eq!(slice.record_count(), 1);
    }
}

#[tokio::test]
async fn texts_that_a_message_has_no_room_for_come_in_several_batches() {
    let database = Database::with_catalog().await;
    let name = "n".repeat(1000);
    let rows = (0..1500).map(|n| {
        Row::on("2022-02-01", "1").asset(&format!("{n:04}{}", "i".repeat(500))).with("assetName", &format!("{n}{name}"))
    });
    database.import(&csv(&rows.collect::<Vec<_>>())).await;
    let server = database.serve();
    let slice = &server.columns(usage_of(TENANT)).await[0];
    assert!(slice.batches.len() > 1, "{} batches", slice.batches.len());
    assert!(slice.rows() == csv_rows(&server.february().await));
}

/// Slices are of whole days; one after the other they are the report, and each adds up to what it says. A ticket gives the same bytes
/// again, whatever was published since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_are_the_report_and_stay_it() {
    const PER_DAY: usize = 60_000;
    let database = Database::with_catalog().await;
    for day in ["2022-02-01", "2022-02-02", "2022-02-03"] {
        let rows = (0..PER_DAY).map(|n| {
            Row::on(day, "0.25").asset(&format!("{:05}", n / 3)).with("start", &format!("{day}T00:00:00.{:06}Z", n % 3))
        });
        database.import(&csv(&rows.collect::<Vec<_>>())).await;
    }
    let server = database.serve();
    let expected = csv_rows(&server.february().await);
    let info = server.flight_info(usage_of(TENANT)).await.unwrap();
    assert_eq!(info.total_records, 3 * PER_DAY as i64);
    let tickets: Vec<_> = info.endpoint.iter().map(|endpoint| endpoint.ticket.clone().unwrap()).collect();
    assert_eq!(tickets.len(), 2, "two days, and one");
    assert!(
        info.endpoint.iter().all(|endpoint| endpoint.location.is_empty()),
        "they are read where they were asked for"
    );
    let mut found = Vec::new();
    for (ticket, days) in tickets.iter().zip([2, 1]) {
        let slice = server.get(ticket.clone()).await.unwrap();
        assert_eq!(slice.metadata()["recordCount"], (days * PER_DAY).to_string());
        assert_eq!(slice.summary["totals"][0]["quantity"], (days * PER_DAY / 4).to_string());
        found.extend(slice.rows());
    }
    assert!(found == expected, "slices one after the other are the report");

    let before = server.messages(tickets[1].clone()).await.unwrap();
    database.import(&csv(&[Row::on("2022-02-03", "7")])).await;
    assert!(server.messages(tickets[1].clone()).await.unwrap() == before, "the same bytes");
    assert_eq!(server.flight_info(usage_of(TENANT)).await.unwrap().total_records, 2 * PER_DAY as i64 + 1);
    // As it was, by its moment.
    let cut = server.columns(usage_of(TENANT)).await;
    assert_eq!(cut.iter().map(Columns::record_count).sum::<usize>(), 2 * PER_DAY + 1);
}

#[tokio::test]
async fn a_report_as_it_was_is_asked_for_by_its_moment() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let server = database.serve();
    let moment = server.client().await.tenant_usage(TENANT.parse().unwrap(), None).await.unwrap().as_of;
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    let mut request = detailed_usage(TENANT);
    assert_eq!(server.columns(usage_command(&request)).await[0].rows()[0][9], "2");
    request.as_of = Some(moment.into());
    assert_eq!(server.columns(usage_command(&request)).await[0].rows()[0][9], "1");
}

#[tokio::test]
async fn flights_are_the_months_of_tenants_and_of_their_organizations() {
    let database = Database::with_catalog().await;
    let mut rows = vec![Row::on("2022-02-01", "1"), Row::on("2022-04-01", "1"), Row::on("2022-04-02", "1")];
    rows.push(Row::on("2022-03-01", "1").of(ORG, TENANT_2));
    rows.push(Row::on("2022-02-01", "1").of(ORG_EUR, TENANT_EUR));
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let list = async |text: &str| -> Vec<(Vec<String>, i64)> {
        let criteria = Criteria { expression: text.to_owned().into() };
        let flights = server.flights().await.list_flights(criteria).await.unwrap().into_inner();
        let flights: Vec<FlightInfo> = flights.try_collect().await.unwrap();
        flights.into_iter().map(|info| (info.flight_descriptor.unwrap().path, info.total_records)).collect()
    };
    let flight = |report: &str, id: &str, month: &str, count| ([report, id, month].map(str::to_owned).to_vec(), count);
    let acme = [
        flight("detailed_usage", TENANT, "2022-02", 1),
        flight("detailed_usage", TENANT, "2022-04", 2),
        flight("detailed_usage", TENANT_2, "2022-03", 1),
        flight("monthly_costs", ORG, "2022-02", -1),
        flight("monthly_costs", ORG, "2022-03", -1),
        flight("monthly_costs", ORG, "2022-04", -1),
    ];
    let zeta = [flight("detailed_usage", TENANT_EUR, "2022-02", 1), flight("monthly_costs", ORG_EUR, "2022-02", -1)];
    assert_eq!(list("").await, [&acme[..], &zeta].concat());
    assert_eq!(list("ZETA").await, zeta);
    assert_eq!(list("nobody").await, []);
    // Each can be asked for by its path.
    for (path, count) in list("").await {
        let info = server.flight_info(arrow_flight::FlightDescriptor::new_path(path)).await.unwrap();
        assert!(count == -1 || info.total_records == count);
    }
}
