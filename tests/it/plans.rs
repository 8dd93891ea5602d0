//! What a statement means does not depend on how the planner runs it: a database of many months that was analysed gives the
//! same under every plan that settings can force.

use std::time::Duration;

use secure_connect_reports::{
    client::UsageQuery,
    contract::proto::{GetMonthlyCostsRequest, ListOrganizationsRequest, ListTenantsRequest, YearMonth},
    ingest::LoadOutcome,
    model::{Month, UsageFilter},
    store::{PurgeRules, Records, purge},
};

use crate::{
    compare,
    support::{
        Database,
        builder::{ORG, Row, TENANT, TENANT_2, csv},
        calls::{list_prices, monthly_costs},
    },
};

const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// January 2022 is the first.
const MONTHS: usize = 30;

/// Settings that make the planner take ways that it would not take here, or not yet.
const ADVERSE: [&str; 16] = [
    "enable_bitmapscan = off",
    "enable_hashagg = off",
    "enable_hashjoin = off",
    "enable_indexonlyscan = off",
    "enable_indexscan = off",
    "enable_material = off",
    "enable_memoize = off",
    "enable_mergejoin = off",
    "enable_nestloop = off",
    "enable_seqscan = off",
    "enable_sort = off",
    "enable_partition_pruning = off",
    "from_collapse_limit = 1; join_collapse_limit = 1",
    "random_page_cost = 0.1",
    "random_page_cost = 100",
    "jit = on; jit_above_cost = 0; jit_inline_above_cost = 0; jit_optimize_above_cost = 0",
];

fn month(number: usize) -> Month {
    Month::new(i32::try_from(2022 + number / 12).unwrap(), i32::try_from(number % 12 + 1).unwrap()).unwrap()
}

/// A day of each month, of two tenants, each with an asset of its own and one of all months.
fn rows(quantity: &str) -> Vec<Row> {
    let of_month = |number: usize| {
        let day = format!("{}-03", month(number));
        let own = format!("own-{number}");
        [
            Row::on(&day, quantity).asset("all"),
            Row::on(&day, "2").asset(&own),
            Row::on(&day, "3").asset("lab").bandwidth().of(ORG, TENANT_2),
        ]
    };
    (0..MONTHS).flat_map(of_month).collect()
}

async fn many_months() -> Database {
    let database = Database::with_catalog().await;
    database.import(&csv(&rows("1"))).await;
    database.sql().await.batch_execute("ANALYZE").await.unwrap();
    database
}

/// What callers of every kind see.
async fn seen(database: &Database) -> Vec<String> {
    let server = database.serve();
    let mut seen = vec![server.february().await];
    let filter = UsageFilter { asset_ids: vec!["all".to_owned()], ..UsageFilter::default() };
    let query = UsageQuery { filter, ..UsageQuery::new(TENANT.parse().unwrap(), "2023-05".parse().unwrap()) };
    seen.push(server.csv(&query).await.0);
    let mut stub = server.stub().await;
    let end_month = Some(YearMonth { year: 2023, month: 7 });
    let costs = GetMonthlyCostsRequest { end_month, ..monthly_costs(ORG) };
    let costs = stub.get_monthly_costs(costs).await.unwrap().into_inner();
    seen.extend(costs.lines.iter().map(|line| format!("{:?} {} {}", line.month, line.quantity, line.cost)));
    for message in
        compare::messages(&server, compare::request(compare::side("2023-05"), compare::side("2023-07"))).await.unwrap()
    {
        seen.push(format!("{:?} {:?} {:?}", message.lines, message.assets, message.summary));
    }
    let listed = stub.list_prices(list_prices()).await.unwrap().into_inner().prices;
    seen.extend(listed.iter().map(|price| format!("{} {} {:?}", price.meter_name, price.currency, price.tiers)));
    let organizations = ListOrganizationsRequest { page_size: 1, ..Default::default() };
    let page = stub.list_organizations(organizations).await.unwrap().into_inner();
    seen.push(format!("{} {:?}", page.total_size, page.organizations));
    for (search, organization_id) in [("", ""), ("lab", ""), ("acme", ORG), ("bbbb", "")] {
        let (search, organization_id) = (search.to_owned(), organization_id.to_owned());
        let request = ListTenantsRequest { search, organization_id, ..ListTenantsRequest::default() };
        let page = stub.list_tenants(request).await.unwrap().into_inner();
        seen.push(format!("{} {:?}", page.total_size, page.tenants));
    }
    let view = "SELECT string_agg(r::text, E'\\n' ORDER BY r::text COLLATE \"C\") FROM (SELECT * FROM detailed_usage_report OFFSET 0) r";
    seen.push(database.sql().await.query_one(view, &[]).await.unwrap().get(0));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_are_purged_from_an_analysed_database_of_many_months() {
    let database = many_months().await;
    let rules = PurgeRules { months_before: Some(month(MONTHS - 2)), superseded_for: None };
    let expected: Vec<_> = (0..MONTHS - 2).map(|number| (month(number), Records { loads: 2, records: 3 })).collect();
    assert_eq!(purge(&database.url, rules, CLOCK_SKEW, true).await.unwrap().months, expected);
    let purged = purge(&database.url, rules, CLOCK_SKEW, false).await.unwrap();
    assert_eq!((purged.months, purged.assets), (expected, u64::try_from(MONTHS - 2).unwrap()));
    let left = "SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text)
        FROM pg_inherits WHERE inhparent = 'usage_block'::regclass";
    let left: String = database.sql().await.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, "usage_block_2024_05 usage_block_2024_06");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_of_no_month_is_named() {
    let database = many_months().await;
    let sql = database.sql().await;
    sql.batch_execute("CREATE TABLE usage_block_other PARTITION OF usage_block DEFAULT").await.unwrap();
    let rules = PurgeRules { months_before: Some(month(2)), superseded_for: None };
    let error = purge(&database.url, rules, CLOCK_SKEW, false).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the database holds unexpected data: usage_block_other, a partition of usage_block, is of no month"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_plan_gives_the_same() {
    let database = many_months().await;
    let expected = seen(&database).await;
    // Of three months.
    let (once, again) = (csv(&rows("7")[..9]), csv(&rows("1")[..9]));
    let keep_two = PurgeRules { months_before: Some(month(MONTHS - 2)), superseded_for: None };
    let superseded = PurgeRules { months_before: None, superseded_for: Some(Duration::ZERO) };
    for settings in ADVERSE {
        let sql = database.sql().await;
        for setting in settings.split("; ") {
            let name = sql.query_one("SELECT quote_ident(current_database())", &[]).await.unwrap();
            let set = format!("ALTER DATABASE {} SET {setting}", name.get::<_, String>(0));
            sql.batch_execute(&set).await.unwrap();
        }
        assert_eq!(seen(&database).await, expected, "{settings}");
        for content in [&once, &again] {
            let loads = database.import(content).await.loads;
            let restated = loads.iter().filter(|load| matches!(load.outcome, LoadOutcome::Restated(_))).count();
            assert_eq!((loads.len(), restated), (6, 3), "{settings}");
        }
        let would = purge(&database.url, keep_two, CLOCK_SKEW, true).await.unwrap();
        assert_eq!(would.months.len(), MONTHS - 2, "{settings}");
        let gone = purge(&database.url, superseded, CLOCK_SKEW, false).await.unwrap().superseded;
        assert_eq!(gone, Records { loads: 6, records: 12 }, "{settings}");
        assert_eq!(seen(&database).await, expected, "{settings}");
        let name = sql.query_one("SELECT quote_ident(current_database())", &[]).await.unwrap();
        let reset = format!("ALTER DATABASE {} RESET ALL", name.get::<_, String>(0));
        sql.batch_execute(&reset).await.unwrap();
    }
}
