//! The edges of months, days, quantities and texts.

use secure_connect_reports::{client::UsageQuery, ingest::ImportError};

use crate::support::{
    Database,
    builder::{CATALOG, Row, TENANT, csv},
};

/// Imports a row; the error is that of its only problem, as `column: reason`.
async fn import(row: Row) -> Result<(), String> {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    match database.try_import(&csv(&[row]), "default", false).await {
        Ok(report) => {
            assert_eq!((report.record_count, report.loads.len()), (1, 1));
            Ok(())
        }
        Err(ImportError::Invalid(invalid)) => {
            assert_eq!((invalid.total, invalid.first[0].number), (1, 2));
            Err(format!("{}: {}", invalid.first[0].column, invalid.first[0].reason))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn periods_lie_inside_one_month_and_last_at_most_a_day() {
    for (start, end) in [
        ("2022-02-28T00:00:00Z", "2022-03-01T00:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2022-12-31T00:00:00Z", "2023-01-01T00:00:00Z"),
        ("2022-12-31T23:59:59.999999Z", "2023-01-01T00:00:00Z"),
        ("2022-02-01T12:00:00Z", "2022-02-02T12:00:00Z"),
        ("2022-02-01T12:00:00Z", "2022-02-01T12:00:00.000001Z"),
        ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
        ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(import(Row::new(start, end, "1")).await, Ok(()), "{start} to {end}");
    }
    for (start, end, problem) in [
        (
            "2022-02-28T00:00:01Z",
            "2022-03-01T00:00:01Z",
            "end: the period extends beyond the end of 2022-02 (UTC); split it at 2022-03-01T00:00:00Z",
        ),
        (
            "2022-12-31T23:00:00Z",
            "2023-01-01T00:00:01Z",
            "end: the period extends beyond the end of 2022-12 (UTC); split it at 2023-01-01T00:00:00Z",
        ),
        ("2022-02-01T00:00:00Z", "2022-02-02T01:00:00.000001Z", "end: the period is longer than 25 hours; split it"),
        (
            "2021-10-31T00:30:00+01:00",
            "2021-11-01T00:00:01Z",
            "end: the period extends beyond the end of 2021-10 (UTC); split it at 2021-11-01T00:00:00Z",
        ),
        ("2022-02-01T00:00:00Z", "2022-02-01T00:00:00Z", "end: the end must be after the start"),
        ("2022-02-01T01:00:00Z", "2022-02-01T00:00:00Z", "end: the end must be after the start"),
        ("2023-02-29T00:00:00Z", "2023-03-01T00:00:00Z", "start: there is no such day or time of day"),
        (
            "2022-02-01T00:00:00",
            "2022-02-01T01:00:00Z",
            "start: has no time zone: append Z for UTC, or an offset such as +01:00",
        ),
    ] {
        assert_eq!(import(Row::new(start, end, "1")).await, Err(problem.to_owned()), "{start} to {end}");
    }
}

#[tokio::test]
async fn quantities_are_reported_exactly_as_measured() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let quantities = [
        "0",
        "0.00",
        "0.000001",
        "1.10",
        "123456789.123456789",
        "99999999999999999999999999999999999999",
        "0.00000000000000000000000000000000000001",
        "12345678901234567890.123456789012345678",
        "10000",
        "100000000.0000",
    ];
    let rows: Vec<Row> = quantities
        .iter()
        .zip(0..)
        .map(|(quantity, n)| Row::on("2022-02-01", quantity).asset(&format!("{n:02}")))
        .collect();
    let file = csv(&rows);
    database.import(&file).await;
    let server = database.serve();
    let query = UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap());
    assert_eq!(server.csv(&query).await.0, file);

    for (quantity, reason) in [
        ("-1", "is negative; to correct usage, deliver the whole day again with the correct quantities"),
        ("1.000,5", "not a decimal number such as 12.50 (a decimal point, no thousands separators)"),
        ("NaN", "not a decimal number such as 12.50 (a decimal point, no thousands separators)"),
        ("", "is missing"),
        (" ", "is missing"),
        ("100000000000000000000000000000000000000", "has more than 38 digits"),
    ] {
        assert_eq!(import(Row::on("2022-02-01", quantity)).await, Err(format!("quantity: {reason}")), "{quantity}");
    }
}

#[tokio::test]
async fn texts_have_limits_that_are_told() {
    let row = || Row::on("2022-02-01", "1");
    for row in [
        row().with("assetId", &"i".repeat(512)),
        row().with("assetName", &"n".repeat(1024)).with("assetId", &"i".repeat(512)),
        row().with("assetName", ""),
        row().with("assetType", "user").with("trial", "false").with("billingRegion", "eu"),
        row().bandwidth().with("platform", "AZURE"),
        row().bandwidth(),
    ] {
        assert_eq!(import(row).await, Ok(()));
    }
    for (row, problem) in [
        (row().with("assetId", ""), "assetId: is missing"),
        (row().with("assetId", &"i".repeat(513)), "assetId: has 513 bytes; the maximum is 512"),
        (row().with("assetName", &"é".repeat(513)), "assetName: has 1026 bytes; the maximum is 1024"),
        (row().with("assetName", "a\0b"), "assetName: contains a NUL character"),
        (row().with("assetType", "PRINTER"), "assetType: not one of USER, TRANSPORT, TENANT, GATEWAY, ENDPOINT"),
        (row().with("billingRegion", ""), "billingRegion: is missing"),
        (row().with("billingRegion", "US"), "billingRegion: not one of AF, AP, EU, NA"),
        (row().with("organizationId", ""), "organizationId: is missing"),
        (row().with("tenantId", ""), "tenantId: is missing"),
        (row().with("assetType", ""), "assetType: is missing"),
        (row().with("meterName", ""), "meterName: is missing"),
        (row().with("meterId", ""), "meterId: is missing"),
        (row().with("start", ""), "start: is missing"),
        (row().with("end", ""), "end: is missing"),
        (row().with("trial", ""), "trial: is missing"),
        (row().with("trial", "yes"), "trial: not TRUE or FALSE"),
        (row().with("platform", "aws"), "platform: not one of mcp, azure"),
        (row().with("platform", "mcp"), "platform: only usage of bandwidth meters has a platform; leave it empty"),
        (row().with("meterName", "nothing"), "meterName: there is no such meter; declare it in the catalog"),
        (
            row().with("meterId", "cccccccc-0000-4000-8000-000000000002"),
            "meterId: meter user_hours_essentials has the id cccccccc-0000-4000-8000-000000000001",
        ),
        (
            row().with("tenantId", "bbbbbbbb-0000-4000-8000-00000000ffff"),
            "tenantId: there is no such tenant; declare it in the catalog",
        ),
        (
            row().with("organizationId", "aaaaaaaa-0000-4000-8000-000000000002"),
            "organizationId: tenant bbbbbbbb-0000-4000-8000-000000000001 belongs to another organization",
        ),
        (row().with("tenantId", "joe"), "tenantId: not a GUID such as 0f8fad5b-d9cb-469f-a165-70867728950e"),
        (row().with("trialExpiry", "soon"), "trialExpiry: not an ISO 8601 date and time such as 2022-02-01T13:00:00Z"),
    ] {
        assert_eq!(import(row).await, Err(problem.to_owned()));
    }
}

#[tokio::test]
async fn the_last_day_of_a_year_and_the_first_of_the_next_are_two_months() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let december = Row::new("2022-12-31T00:00:00Z", "2023-01-01T00:00:00Z", "1");
    let january = Row::new("2023-01-01T00:00:00Z", "2023-01-02T00:00:00Z", "2");
    database.import(&csv(&[december.clone(), january.clone()])).await;
    let server = database.serve();
    for (month, rows) in [("2022-11", vec![]), ("2022-12", vec![december]), ("2023-01", vec![january])] {
        let query = UsageQuery::new(TENANT.parse().unwrap(), month.parse().unwrap());
        assert_eq!(server.csv(&query).await.0, csv(&rows), "{month}");
    }
}
