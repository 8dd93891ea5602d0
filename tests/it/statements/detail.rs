//! The detailed usage that a statement has billed.

use std::time::Duration;

use bigdecimal::BigDecimal;
use secure_connect_reports::{
    client::UsageQuery,
    model::StatementNumber,
    store::{PurgeRules, purge},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::books::{Books, amount, month, present};
use crate::support::builder::{ORG_EUR, Row, TENANT, TENANT_EUR, csv};

fn query(statement: Option<StatementNumber>) -> UsageQuery {
    UsageQuery { statement, ..UsageQuery::new(TENANT.parse().unwrap(), "2022-02".parse().unwrap()) }
}

/// The sum of the quantities of a file.
fn sum(report: &str) -> BigDecimal {
    let mut reader = csv::Reader::from_reader(report.as_bytes());
    reader.records().map(|row| amount(&row.unwrap()[9])).sum()
}

#[tokio::test]
async fn it_is_the_usage_of_that_statement_even_when_superseded_loads_are_purged() {
    let books = Books::open().await;
    let version = |n: u32| csv(&[Row::on("2022-02-01", &n.to_string()), Row::on("2022-02-02", "10")]);
    // One that was superseded before it was billed need not be kept.
    books.database.import(&version(1)).await;
    books.database.import(&version(2)).await;
    let february = books.close("2022-02").await.statement.unwrap().number;
    books.database.import(&version(3)).await;
    books.database.import(&version(4)).await;
    let march = books.close("2022-03").await.statement.unwrap().number;
    books.database.import(&version(5)).await;
    let reports = async || {
        let mut reports = Vec::new();
        for statement in [Some(february), Some(march), None] {
            let (report, revision) = books.server.csv(&query(statement)).await;
            reports.push((sum(&report).to_string(), report, revision));
        }
        reports
    };
    let before = reports().await;
    let sums: Vec<&str> = before.iter().map(|(sum, ..)| sum.as_str()).collect();
    assert_eq!(sums, ["12", "14", "15"]);
    let revision = books.costs("2022-02", "2022-02").await.tenant_months[0].revision.clone();
    assert_eq!(before[0].2, revision);
    assert_eq!(books.costs("2022-03", "2022-03").await.adjustments[0].revision, before[1].2);

    let rules = PurgeRules { superseded_for: Some(Duration::ZERO), months_before: None };
    let url = &books.database.url;
    let purged = purge(url, rules, Duration::from_secs(300), false).await.unwrap();
    // Versions 1 and 3: no statement has billed them.
    assert_eq!((purged.superseded.loads, purged.superseded.records), (2, 2));
    assert_eq!(reports().await, before);
    assert_eq!(purge(url, rules, Duration::from_secs(300), false).await.unwrap().superseded.loads, 0);
}

#[tokio::test]
async fn statements_of_others_do_not_exist() {
    let books = Books::open().await;
    books
        .database
        .import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-01", "1").of(ORG_EUR, TENANT_EUR)]))
        .await;
    let own = books.close("2022-02").await.statement.unwrap().number;
    let foreign = books.close_of(ORG_EUR, "2022-02").await.statement.unwrap().number;
    let asked = async |number: &str, month_of_report: &str| {
        let request = secure_connect_reports::contract::proto::GetDetailedUsageRequest {
            tenant_id: TENANT.to_owned(),
            month: month(month_of_report),
            statement_number: number.to_owned(),
            ..Default::default()
        };
        books.server.stub().await.get_detailed_usage(request).await.map(|_| ())
    };
    assert!(asked(&own.to_string(), "2022-02").await.is_ok());
    let made_up = asked("2022-02-000077", "2022-02").await.unwrap_err();
    let hidden = asked(&foreign.to_string(), "2022-02").await.unwrap_err();
    assert_eq!((hidden.code(), hidden.message()), (made_up.code(), made_up.message()));
    assert_eq!(hidden.get_details_error_info().unwrap().reason, "STATEMENT_NOT_FOUND");
    for (number, month) in [("2022-02-17", "2022-02"), (own.to_string().as_str(), "2022-03")] {
        let error = asked(number, month).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "statement_number");
    }
    let both = secure_connect_reports::contract::proto::GetDetailedUsageRequest {
        tenant_id: TENANT.to_owned(),
        month: month("2022-02"),
        statement_number: own.to_string(),
        as_of: Some(present(&books.database).await),
        ..Default::default()
    };
    let error = books.server.stub().await.get_detailed_usage(both).await.unwrap_err();
    assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "as_of");
}
