//! Closing a month, and what is refused.

use secure_connect_reports::{
    billing::{CloseError, CloseOutcome, CloseRequest},
    contract::proto::{
        BillState, GetMonthlyCostsRequest, WithdrawUsageRequest, usage_import_service_client::UsageImportServiceClient,
    },
};

use super::books::{Books, month, name, present, request};
use crate::support::builder::{CATALOG, ORG, ORG_EUR, Row, TENANT, TENANT_2, TENANT_EUR, csv};

fn close(month: &str) -> CloseRequest {
    CloseRequest {
        organization_id: ORG.parse().unwrap(),
        month: month.parse().unwrap(),
        allow_unpriced: false,
        allow_missing_days: false,
        dry_run: false,
    }
}

fn february() -> String {
    csv(&[
        Row::on("2022-02-01", "600.25").bandwidth().with("platform", "mcp"),
        Row::on("2022-02-02", "470.00").bandwidth(),
        Row::on("2022-02-02", "3").of(ORG, TENANT_2),
        Row::on("2022-02-03", "1.5").with("trial", "TRUE"),
    ])
}

#[tokio::test]
async fn a_closed_month_is_what_it_was_when_it_was_open() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let open = books.costs("2022-02", "2022-02").await;
    assert_eq!(open.totals[0].state(), BillState::Open);
    let before = present(&books.database).await;
    let closed = books.try_close(&close("2022-02")).await.unwrap();
    assert_eq!(closed.outcome, CloseOutcome::Closed);
    let statement = closed.statement.unwrap();
    assert_eq!(statement.number.to_string(), "2022-02-000001");
    let bill = books.costs("2022-02", "2022-02").await;
    assert_eq!((&bill.lines, &bill.tenant_months), (&open.lines, &open.tenant_months));
    let total = &bill.totals[0];
    assert_eq!((total.cost.as_str(), total.adjustment.as_str()), ("85.00", "0.00"));
    assert_eq!((total.amount_due.as_str(), total.statement_number.as_str()), ("85.00", "2022-02-000001"));
    assert_eq!(total.state(), BillState::Closed);
    // Before it was closed, it was open.
    let earlier = GetMonthlyCostsRequest { as_of: Some(before), ..request("2022-02", "2022-02") };
    assert_eq!(books.try_costs(earlier).await.unwrap(), open);
    let at_close = Some(statement.closed_at.into());
    let at_close = GetMonthlyCostsRequest { as_of: at_close, ..request("2022-02", "2022-02") };
    assert_eq!(books.try_costs(at_close).await.unwrap(), bill);
}

#[tokio::test]
async fn nothing_that_comes_later_changes_a_statement() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    books.close("2022-02").await;
    let (bill, statement) = (books.costs("2022-02", "2022-02").await, books.statement("2022-02").await);
    // Late usage, a restatement, other names, other prices, a meter that is charged no more, and more statements.
    books.database.import(&csv(&[Row::on("2022-02-09", "7"), Row::on("2022-02-01", "1").bandwidth()])).await;
    let renamed = CATALOG.replace("Acme", "Acme Ltd").replace("acme-hq", "headquarters").replace("0.085", "0.095");
    let renamed = renamed.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false");
    books.database.apply(&renamed).await;
    books.close("2022-03").await;
    books.close("2022-04").await;
    assert_eq!(books.statement("2022-02").await, statement);
    assert_eq!(books.costs("2022-02", "2022-02").await, bill);
    let head = statement[0].statement.as_ref().unwrap();
    assert_eq!((head.organization_name.as_str(), name(head.billing_month).as_str()), ("Acme", "2022-02"));
    assert_eq!(statement[1].lines[0].tenant_name, "acme-hq");
}

/// It has no usage, whatever was delivered: neither a report nor days that are missing.
#[tokio::test]
async fn a_tenant_of_which_all_was_withdrawn_is_not_on_the_bill() {
    let books = Books::open().await;
    let other = |day: &str| Row::on(day, "1").of(ORG, TENANT_2);
    books.database.import(&csv(&[Row::on("2022-02-01", "100"), other("2022-02-01"), other("2022-02-05")])).await;
    let channel = tonic::transport::Channel::from_shared(books.server.url()).unwrap().connect().await.unwrap();
    let mut imports = UsageImportServiceClient::new(channel);
    for day in ["2022-02-01", "2022-02-05"] {
        let request =
            WithdrawUsageRequest { tenant_id: TENANT_2.to_owned(), usage_day: day.to_owned(), source: String::new() };
        imports.withdraw_usage(request).await.unwrap();
    }
    let closed = books.try_close(&close("2022-02")).await.unwrap();
    assert_eq!((closed.outcome, closed.missing_days.total), (CloseOutcome::Closed, 0));
    let statement = books.statement("2022-02").await;
    let reports: Vec<_> = statement.iter().flat_map(|part| &part.tenant_months).collect();
    assert_eq!(reports.iter().map(|report| report.tenant_id.as_str()).collect::<Vec<_>>(), [TENANT]);
}

#[tokio::test]
async fn closing_again_changes_nothing() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let first = books.close("2022-02").await.statement.unwrap();
    books.database.import(&csv(&[Row::on("2022-02-09", "7")])).await;
    let again = books.try_close(&close("2022-02")).await.unwrap();
    assert_eq!(again.outcome, CloseOutcome::Unchanged);
    assert_eq!((again.statement.unwrap().digest, again.cost.to_plain_string()), (first.digest, "85.00".to_owned()));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_does_nothing() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let closed = books.try_close(&CloseRequest { dry_run: true, ..close("2022-02") }).await.unwrap();
    assert_eq!((closed.outcome, closed.statement.is_none()), (CloseOutcome::DryRun, true));
    assert_eq!(closed.amount_due().to_plain_string(), "85.00");
    assert_eq!(books.costs("2022-02", "2022-02").await.totals[0].state(), BillState::Open);
    let sql = books.database.sql().await;
    let rows = sql.query_one("SELECT count(*) FROM statement_line", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn months_close_in_order_when_they_are_over() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let refused = async |month: &str| books.try_close(&close(month)).await.expect_err("a refusal");
    let present = chrono::Utc::now().format("%Y-%m").to_string();
    assert!(matches!(refused(&present).await, CloseError::NotOver { .. }));
    let error = refused("2022-03").await;
    assert_eq!(error.to_string(), "months close in order: close 2022-02 before 2022-03");
    books.close("2022-02").await;
    assert_eq!(refused("2022-04").await.to_string(), "months close in order: close 2022-03 before 2022-04");
    // A month without usage closes, too.
    let march = books.close("2022-03").await;
    assert_eq!(march.amount_due().to_plain_string(), "0.00");
    let error = refused("2022-01").await;
    assert!(matches!(error, CloseError::BeforeFirst { .. }), "{error}");
    // Another organization has books of its own.
    books.database.import(&csv(&[Row::on("2022-04-01", "1").of(ORG_EUR, TENANT_EUR)])).await;
    let other = books.close_of(ORG_EUR, "2022-04").await.statement.unwrap();
    assert_eq!(other.number.to_string(), "2022-04-000003");
}

#[tokio::test]
async fn what_has_no_price_is_named_and_may_be_allowed() {
    let books = Books::open().await;
    let eur = csv(&[Row::on("2022-02-01", "2").of(ORG_EUR, TENANT_EUR)]);
    books.database.import(&eur).await;
    let request = CloseRequest { organization_id: ORG_EUR.parse().unwrap(), ..close("2022-02") };
    let error = books.try_close(&request).await.expect_err("a refusal");
    let CloseError::Unpriced { lines, .. } = &error else { panic!("{error}") };
    assert_eq!((lines.total, lines.first[0].meter.name.as_str()), (1, "user_hours_essentials"));
    assert!(error.to_string().contains("user_hours_essentials of zeta-hq in EU"), "{error}");
    let closed = books.try_close(&CloseRequest { allow_unpriced: true, ..request }).await.unwrap();
    assert_eq!((closed.unpriced.total, closed.amount_due().to_plain_string().as_str()), (1, "0.00"));
    // Once it has a price, it is billed.
    books
        .database
        .apply(&CATALOG.replace("currency = \"USD\"\neffective_from", "currency = \"EUR\"\neffective_from"))
        .await;
    let march =
        GetMonthlyCostsRequest { organization_id: ORG_EUR.to_owned(), ..super::books::request("2022-03", "2022-03") };
    let bill = books.try_costs(march).await.unwrap();
    assert_eq!(
        super::books::short(&bill.adjustments),
        [("2022-02".to_owned(), "user_hours_essentials", "0.00", "0.02")]
    );
}

#[tokio::test]
async fn missing_days_are_named_and_may_be_allowed() {
    let books = Books::open().await;
    let day = |day: &str| Row::on(&format!("2022-02-{day}"), "1");
    books.database.import(&csv(&[day("01"), day("03"), day("06")])).await;
    // Another source has its own days.
    books.database.import_from("mobile", &csv(&[day("04").asset("mobile"), day("05").asset("mobile")])).await;
    let costs = books.costs("2022-02", "2022-02").await;
    let missing = &costs.tenant_months[0].missing_days;
    assert_eq!(missing.len(), 1);
    assert_eq!(
        (missing[0].source.as_str(), missing[0].days.join(" ")),
        ("default", "2022-02-02 2022-02-04 2022-02-05".to_owned())
    );
    let error = books.try_close(&close("2022-02")).await.expect_err("a refusal");
    assert!(error.to_string().contains("2022-02-02 2022-02-04 2022-02-05 of tenant"), "{error}");
    let closed = books.try_close(&CloseRequest { allow_missing_days: true, ..close("2022-02") }).await.unwrap();
    assert_eq!(closed.missing_days.total, 1);
    // They stay with the statement; now they have come, and the open report no longer misses them.
    books.database.import(&csv(&[day("02"), day("04"), day("05")])).await;
    assert_eq!(&books.costs("2022-02", "2022-02").await.tenant_months[0].missing_days, missing);
    assert_eq!(books.current("2022-02", "2022-02").await.tenant_months[0].missing_days, []);
}

#[tokio::test]
async fn the_first_month_need_not_be_the_first_of_all() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    books.close("2022-02").await;
    // Usage of a month before the first statement is billed on the next bill.
    books.database.import(&csv(&[Row::on("2021-12-01", "100"), Row::on("2022-01-01", "300")])).await;
    let bill = books.costs("2021-12", "2022-03").await;
    let states: Vec<_> =
        bill.totals.iter().map(|total| (name(total.month), total.state(), total.amount_due.clone())).collect();
    let (closed, open) = (BillState::Closed, BillState::Open);
    let state = |month: &str, state, due: &str| (month.to_owned(), state, due.to_owned());
    assert_eq!(
        states,
        [
            state("2021-12", closed, "0.00"),
            state("2022-01", closed, "0.00"),
            state("2022-02", closed, "85.00"),
            // December has no price.
            state("2022-03", open, "3.00"),
        ]
    );
    assert_eq!(month("2022-03"), bill.adjustments[0].billing_month);
    books.check_reconciled("2021-12", "2022-02", "2022-03").await;
}
