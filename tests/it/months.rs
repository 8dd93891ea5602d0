//! Months as bills see them: the same content as the detail, at every moment, and for what was there before.

use secure_connect_reports::contract::proto::{GetDetailedUsageRequest, ReportHeader};

use crate::support::{
    Database, Server,
    builder::{CATALOG, GIB, ORG, Row, TENANT, TENANT_2, csv},
    calls::{detailed_usage, monthly_costs},
};

/// What is imported, one after the other: two months, two sources, days that are restated, and another tenant.
async fn publish(database: &Database) -> Vec<prost_types::Timestamp> {
    let day = |day: &str, quantity: &str| Row::on(day, quantity);
    let imports = [
        ("default", vec![day("2022-02-01", "1.5"), day("2022-02-02", "2"), day("2022-03-01", "4")]),
        ("second", vec![day("2022-02-01", "8").asset("b"), day("2022-02-03", "0.25").bandwidth()]),
        ("default", vec![day("2022-02-01", "16"), day("2022-02-01", "1").asset("c").with("trial", "TRUE")]),
        ("default", vec![day("2022-02-02", "2.00"), day("2022-02-02", "3").with("tenantId", TENANT_2)]),
        ("second", vec![day("2022-03-31", "32")]),
        ("default", vec![day("2022-02-01", "1.5")]),
    ];
    let mut moments = Vec::new();
    for (source, rows) in imports {
        let report = database.import_from(source, &csv(&rows)).await;
        moments.push(report.published_at.expect("something new").into());
    }
    moments
}

async fn detail(server: &Server, tenant: &str, as_of: Option<prost_types::Timestamp>) -> ReportHeader {
    let request = GetDetailedUsageRequest { as_of, ..detailed_usage(tenant) };
    let mut stream = server.stub().await.get_detailed_usage(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap().header.unwrap()
}

#[tokio::test]
async fn a_bill_is_made_of_the_revision_that_the_detail_shows() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let moments = publish(&database).await;
    let server = database.serve();
    let mut revisions = Vec::new();
    for as_of in moments.iter().copied().map(Some).chain([None]) {
        let request = secure_connect_reports::contract::proto::GetMonthlyCostsRequest { as_of, ..monthly_costs(ORG) };
        let costs = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
        for month in &costs.tenant_months {
            let header = detail(&server, &month.tenant_id, as_of).await;
            assert_eq!((&header.revision, header.data_as_of), (&month.revision, month.data_as_of), "{as_of:?}");
            let billed: i64 =
                costs.lines.iter().filter(|line| line.tenant_id == month.tenant_id).map(|line| line.record_count).sum();
            assert_eq!(billed, header.record_count, "{as_of:?}");
        }
        let own = costs.tenant_months.iter().find(|month| month.tenant_id == TENANT).unwrap();
        revisions.push(own.revision.clone());
        let gib = costs.lines.iter().filter(|line| line.meter_name == GIB).count();
        assert_eq!(gib, usize::from(as_of != Some(moments[0])));
    }
    // Each publication made another one of the month, but for that of March and the look at the present. The last import
    // brought the first day back as it was, while the second day had got another text for its quantity.
    let distinct: std::collections::HashSet<_> = revisions.iter().collect();
    assert_eq!((revisions[3] == revisions[4], revisions[5] == revisions[6], distinct.len()), (true, true, 5));
}

#[tokio::test]
async fn what_was_published_before_is_added_up_alike() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    publish(&database).await;
    let sql = database.sql().await;
    let all = async || {
        let months = "SELECT m::text FROM usage_month m ORDER BY 1";
        let totals = "SELECT t::text FROM usage_month_total t ORDER BY 1";
        let mut rows: Vec<String> = Vec::new();
        for query in [months, totals] {
            rows.extend(sql.query(query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        }
        rows
    };
    let written = all().await;
    assert!(written.len() > 12, "{written:?}");
    let migration = include_str!("../../migrations/V5__usage_months.sql");
    let (_, rest) = migration.split_once("-- What was published before.").unwrap();
    let (statement, _) = rest.split_once("-- Assets").unwrap();
    sql.batch_execute("TRUNCATE usage_month, usage_month_total").await.unwrap();
    sql.batch_execute(statement).await.unwrap();
    assert_eq!(all().await, written);
}
