//! Bills of organizations with more tenants than are read at once.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::{BigDecimal, Zero as _};
use secure_connect_reports::contract::proto::{
    CostLine, GetFocusCostsRequest, GetMonthlyCostsRequest, GetMonthlyCostsResponse, TenantMonth, YearMonth,
};
use secure_connect_reports::model::plain;
use tonic::{Code, Status};

use crate::{
    flight::focus::{charges, sum},
    support::{
        Database, Server,
        builder::{CATALOG, ORG, Row, csv},
        calls::reason,
    },
};

const TENANTS: u128 = 1203;
const MONTHS: [&str; 3] = ["2022-01", "2022-02", "2022-03"];

fn id(number: u128) -> String {
    uuid::Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0000 + number * 7919 % 10_007).to_string()
}

/// Many have the same name, and names are in another order than ids and keys.
fn name(number: u128) -> String {
    format!("t{:03} \u{e9}", number * 31 % 400)
}

fn catalog(numbers: impl Iterator<Item = u128>) -> String {
    let tenants = numbers.map(|number| {
        let (id, name) = (id(number), name(number));
        format!("[[tenants]]\nid = \"{id}\"\nname = \"{name}\"\norganization_id = \"{ORG}\"\nplan = \"essentials\"\nstatus = \"NORMAL\"\n")
    });
    let mut catalog = CATALOG.to_owned();
    catalog.extend(tenants);
    catalog
}

/// Two in three tenants, each in some of the months.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for number in (0..TENANTS).filter(|number| number % 3 != 1) {
        for (index, month) in MONTHS.iter().enumerate().filter(|(index, _)| number % (*index as u128 + 2) != 1) {
            let quantity = format!("{}.{index}", number % 90 + 30);
            let row = Row::on(&format!("{month}-05"), &quantity).of(ORG, &id(number));
            rows.extend([row.clone(), row.clone().with("billingRegion", "AF"), row.bandwidth()]);
        }
    }
    rows
}

fn quarter() -> GetMonthlyCostsRequest {
    let month = |month| Some(YearMonth { year: 2022, month });
    GetMonthlyCostsRequest {
        organization_id: ORG.to_owned(),
        start_month: month(1),
        end_month: month(3),
        ..Default::default()
    }
}

async fn page(server: &Server, page_size: i32, page_token: &str) -> Result<GetMonthlyCostsResponse, Status> {
    let request = GetMonthlyCostsRequest { page_size, page_token: page_token.to_owned(), ..quarter() };
    Ok(server.stub().await.get_monthly_costs(request).await?.into_inner())
}

/// The whole bill, of pages that servers give in turns.
async fn bill(servers: &[&Server], page_size: i32) -> (Vec<CostLine>, Vec<TenantMonth>, Vec<String>) {
    let (mut lines, mut reports, mut totals) = (Vec::new(), Vec::<TenantMonth>::new(), None);
    let mut token = String::new();
    for number in 0.. {
        let answer = page(servers[number % servers.len()], page_size, &token).await.unwrap();
        let of_page: Vec<String> = answer.totals.into_iter().map(|total| total.cost).collect();
        assert_eq!(*totals.get_or_insert_with(|| of_page.clone()), of_page, "page {number}");
        let is_last = answer.next_page_token.is_empty();
        // Larger ones end where a message would be too large for most clients.
        let is_full = answer.lines.len() == usize::try_from(page_size).unwrap();
        assert!(is_last || is_full || page_size > 1001, "page {number}");
        assert!(!answer.lines.is_empty(), "page {number}");
        lines.extend(answer.lines);
        reports.extend(answer.tenant_months);
        token = answer.next_page_token;
        if is_last {
            break;
        }
    }
    // A month of a tenant whose lines are on two pages is on both.
    reports.dedup();
    (lines, reports, totals.unwrap())
}

fn key(line: &CostLine) -> (Option<(i32, i32)>, &str, &str, &str, i32) {
    let month = line.month.map(|month| (month.year, month.month));
    (month, &line.tenant_name, &line.tenant_id, &line.meter_name, line.billing_region)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_many_tenants_add_up_to_the_bill_wherever_they_are_cut() {
    let database = Database::migrated();
    database.apply(&catalog(0..TENANTS)).await;
    let rows = rows();
    database.import(&csv(&rows)).await;
    let (server, other) = (database.serve(), database.serve());
    let (lines, reports, totals) = bill(&[&server], 5000).await;

    // Each row is a line of its own.
    assert_eq!(lines.len(), rows.len());
    assert!(lines.iter().map(key).is_sorted_by(|a, b| a < b), "in order, and none twice");
    let mut sums: BTreeMap<_, BigDecimal> = BTreeMap::new();
    for line in &lines {
        let cost: BigDecimal = line.cost.parse().unwrap();
        *sums.entry(line.month.unwrap().month).or_insert_with(BigDecimal::zero) += cost;
    }
    let sums: Vec<String> = sums.into_values().map(|sum| sum.to_plain_string()).collect();
    assert_eq!(sums, totals);
    let mut months: Vec<_> = lines.iter().map(|line| (line.month, &line.tenant_id)).collect();
    months.dedup();
    assert_eq!(reports.iter().map(|report| (report.month, &report.tenant_id)).collect::<Vec<_>>(), months);

    // In the middle of a tenant, at its end, in parts of one tenant and of many; another server knows nothing of other pages.
    for (page_size, servers) in
        [(1001, vec![&server]), (1000, vec![&server, &other]), (500, vec![&other, &server, &server])]
    {
        assert_eq!(bill(&servers, page_size).await, (lines.clone(), reports.clone(), totals.clone()), "{page_size}");
    }

    // One tenant's bill is a part of all.
    for number in [0, 3, 600, 1202] {
        let request = GetMonthlyCostsRequest { tenant_id: id(number), ..quarter() };
        let one = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
        let expected: Vec<_> = lines.iter().filter(|line| line.tenant_id == id(number)).cloned().collect();
        assert_eq!(one.lines, expected, "{number}");
    }
    // Without usage there is nothing to owe, and the tenant is there all the same.
    let request = GetMonthlyCostsRequest { tenant_id: id(1), ..quarter() };
    let none = server.stub().await.get_monthly_costs(request).await.unwrap().into_inner();
    assert_eq!((none.lines.len(), none.totals.len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_goes_on_after_changes_that_do_not_matter_and_not_after_others() {
    let database = Database::migrated();
    let all = catalog(0..TENANTS);
    database.apply(&all).await;
    database.import(&csv(&rows())).await;
    let server = database.serve();
    let first = page(&server, 1000, "").await.unwrap();
    let second = page(&server, 1000, &first.next_page_token).await.unwrap();

    // More tenants, more usage, another plan.
    database.apply(&catalog(TENANTS..TENANTS + 600)).await;
    database.apply(&all.replace("plan = \"essentials\"", "plan = \"standard\"")).await;
    let later: Vec<Row> =
        (TENANTS..TENANTS + 9).map(|number| Row::on("2022-01-05", "1").of(ORG, &id(number))).collect();
    database.import(&csv(&later)).await;
    let again = page(&server, 1000, &first.next_page_token).await.unwrap();
    assert_eq!(again.lines.iter().map(key).collect::<Vec<_>>(), second.lines.iter().map(key).collect::<Vec<_>>());
    assert_eq!((again.totals, again.next_page_token), (second.totals, second.next_page_token));

    // A tenant that has no line does not matter, and one that has does.
    let renamed = |number: u128| {
        all.replace(&format!("id = \"{}\"\nname = \"", id(number)), &format!("id = \"{}\"\nname = \"x", id(number)))
    };
    database.apply(&renamed(1)).await;
    assert!(page(&server, 1000, &first.next_page_token).await.is_ok());
    database.apply(&renamed(1202)).await;
    let status = page(&server, 1000, &first.next_page_token).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "PAGE_TOKEN_EXPIRED".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_of_several_pages_are_the_bill() {
    let database = Database::migrated();
    database.apply(&catalog(0..TENANTS)).await;
    let mut usage = rows();
    // Days are missing in between.
    usage.extend((0..TENANTS).step_by(3).map(|number| Row::on("2022-01-08", "1").of(ORG, &id(number))));
    database.import(&csv(&usage)).await;
    let server = database.serve();
    let (_, reports, _) = bill(&[&server], 5000).await;
    let incomplete: BTreeSet<_> = reports
        .iter()
        .filter(|report| !report.missing_days.is_empty())
        .map(|report| (report.month.map(|month| month.month), &report.tenant_id))
        .collect();
    let first = page(&server, 0, "").await.unwrap();
    assert!(!first.next_page_token.is_empty() && !incomplete.is_empty());
    let due: BigDecimal = first.totals.iter().map(|total| total.amount_due.parse::<BigDecimal>().unwrap()).sum();
    let GetMonthlyCostsRequest { organization_id, start_month, end_month, .. } = quarter();
    let request = GetFocusCostsRequest { organization_id, start_month, end_month, ..Default::default() };
    for by_asset in [false, true] {
        let request = GetFocusCostsRequest { by_asset, ..request.clone() };
        let found = charges(&server, &request).await;
        assert_eq!(found.summary["incompleteReportCount"], incomplete.len().to_string());
        assert_eq!(sum(&found, "BilledCost"), plain(&due));
    }
}
