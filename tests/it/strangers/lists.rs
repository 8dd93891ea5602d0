//! Lists of tenants and bills that are not those that were asked for.

use std::collections::HashMap;

use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    CostLine, CostTier, CostTotal, GetMonthlyCostsResponse, ListTenantsResponse, Tenant, TenantMonth, UnpricedMeter,
    YearMonth,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::server::{Ended, Script, limited, run, serve};
use crate::support::{
    builder::{ORG, ORG_EUR, TENANT, TENANT_2},
    rounds,
};

pub(super) type Page<T> = fn(u32, &mut T);
pub(super) type Case<T> = (&'static [&'static str], Page<T>, &'static str);

pub(super) const METER: &str = "4ad39f2e-83e6-4885-8034-1bf90dfed84a";

fn tenant(name: &str, id: &str) -> Tenant {
    Tenant {
        tenant_id: id.to_owned(),
        name: name.to_owned(),
        organization_id: ORG.to_owned(),
        organization_name: "Acme".to_owned(),
        status: 3,
        plan: "essentials".to_owned(),
        ..Default::default()
    }
}

fn tenants() -> ListTenantsResponse {
    let tenants = vec![tenant("acme-hq", TENANT), tenant("acme-lab", TENANT_2)];
    ListTenantsResponse { tenants, total_size: 2, next_page_token: String::new() }
}

const LISTS: &[Case<ListTenantsResponse>] = &[
    (&["--organization", ORG], |_, page| page.tenants[1].organization_id = ORG_EUR.to_owned(), "is of organization"),
    (&["lab"], |_, _| {}, "does not match the search"),
    (&[], |_, page| page.tenants[0].tenant_id = "acme".to_owned(), "invalid tenant_id: \"acme\""),
    (&[], |_, page| page.tenants[0].organization_id.clear(), "invalid organization_id"),
    (&[], |_, page| page.tenants.reverse(), "its tenants are not in order, or come twice"),
    (&[], |_, page| page.tenants[1] = page.tenants[0].clone(), "its tenants are not in order, or come twice"),
    // The same page, without end.
    (&[], |_, page| page.next_page_token = "more".to_owned(), "its tenants are not in order, or come twice"),
    (
        &[],
        |_, page| {
            page.tenants.clear();
            page.next_page_token = "more".to_owned();
        },
        "a page is empty, and not the last one",
    ),
    (&[], |_, page| page.tenants = vec![Tenant::default(); 700_000], "a page has more than 1000 elements"),
    (&[], |_, page| page.total_size = 3, "another number of tenants than it says"),
    (&[], |_, page| page.total_size = -1, "another number of tenants than it says"),
    (&[], |_, page| page.next_page_token = "x".repeat(5 << 20), "a message has more than 4 MiB"),
];

pub(super) fn month(month: i32) -> Option<YearMonth> {
    Some(YearMonth { year: 2022, month })
}

fn line(tenant_id: &str, meter: &str, cost: &str) -> CostLine {
    CostLine {
        month: month(2),
        organization_id: ORG.to_owned(),
        tenant_id: tenant_id.to_owned(),
        tenant_name: "acme-hq".to_owned(),
        plan: "essentials".to_owned(),
        meter_name: meter.to_owned(),
        meter_id: METER.to_owned(),
        unit: "hour".to_owned(),
        billing_region: 3,
        quantity: "2".to_owned(),
        trial_quantity: "0".to_owned(),
        tiers: Vec::new(),
        cost: cost.to_owned(),
        currency: "USD".to_owned(),
        record_count: 2,
        not_charged: false,
        rounding: 1,
    }
}

fn unpriced(line: &CostLine) -> UnpricedMeter {
    UnpricedMeter {
        month: line.month,
        tenant_id: line.tenant_id.clone(),
        meter_name: line.meter_name.clone(),
        meter_id: line.meter_id.clone(),
        billing_region: line.billing_region,
        currency: line.currency.clone(),
        quantity: line.quantity.clone(),
    }
}

fn total(of: i32, cost: &str) -> CostTotal {
    CostTotal { month: month(of), currency: "USD".to_owned(), cost: cost.to_owned(), ..Default::default() }
}

/// A bill of two lines, one without a price, and a month without usage.
pub(super) fn bill() -> GetMonthlyCostsResponse {
    let lines = vec![line(TENANT, "a", "0.30"), line(TENANT, "b", "")];
    let report = TenantMonth {
        month: month(2),
        tenant_id: TENANT.to_owned(),
        revision: "ab".repeat(32),
        data_as_of: Some(Timestamp { seconds: 1_646_092_800, nanos: 0 }),
        missing_days: Vec::new(),
    };
    GetMonthlyCostsResponse {
        unpriced_meters: vec![unpriced(&lines[1])],
        lines,
        totals: vec![total(2, "0.30"), total(3, "0.00")],
        tenant_months: vec![report],
        next_page_token: String::new(),
        adjustments: Vec::new(),
    }
}

const BILLS: &[Case<GetMonthlyCostsResponse>] = &[
    (&[], |_, page| page.lines[0].organization_id = ORG_EUR.to_owned(), "a line is of organization"),
    (&["--tenant", TENANT_2], |_, _| {}, "a line is of tenant"),
    (
        &[],
        |_, page| {
            page.lines[0].month = month(4);
            page.tenant_months.insert(0, TenantMonth { month: month(4), ..page.tenant_months[0].clone() });
        },
        "a line is of another month",
    ),
    (
        &[],
        |_, page| {
            page.lines.reverse();
        },
        "its lines are not in order, or come twice",
    ),
    // The same page, without end.
    (&[], |_, page| page.next_page_token = "more".to_owned(), "its lines are not in order, or come twice"),
    (
        &[],
        |_, page| {
            *page = GetMonthlyCostsResponse { next_page_token: "more".to_owned(), ..Default::default() };
        },
        "a page is empty, and not the last one",
    ),
    (
        &[],
        |call, page| {
            page.next_page_token = "more".to_owned();
            page.totals[1].cost = format!("0.0{call}");
        },
        "its pages have different totals",
    ),
    (
        &[],
        |_, page| page.totals[0].cost = "0.31".to_owned(),
        "the lines of 2022-02 add up to 0.30, and the total is 0.31",
    ),
    (&[], |_, page| page.totals[1].cost = "1.00".to_owned(), "the lines of 2022-03 add up to 0, and the total is 1.00"),
    (&[], |_, page| drop(page.totals.pop()), "its totals are not those of the months"),
    (&[], |_, page| page.totals[1].currency = "EUR".to_owned(), "it has several currencies"),
    (&[], |_, page| page.lines[0].currency = "EUR".to_owned(), "it has several currencies"),
    (&[], |_, page| page.unpriced_meters.clear(), "quantities without a price are not those of its lines"),
    (&[], |_, page| page.tenant_months.clear(), "its reports are not those of its lines"),
    (&[], |_, page| page.tenant_months[0].tenant_id = TENANT_2.to_owned(), "its reports are not those of its lines"),
    (&["--as-of", "2022-02-20T00:00:00Z"], |_, _| {}, "and not as of 2022-02-20T00:00:00Z"),
    (&[], |_, page| page.lines[0].cost = "3e-1".to_owned(), "invalid cost: \"3e-1\""),
    (&[], |_, page| page.lines[0].not_charged = true, "\"a\" is not charged, and costs something"),
    (&[], |_, page| page.lines[1].not_charged = true, "\"b\" is not charged, and costs something"),
    (&[], |_, page| page.lines[0].quantity = "NaN".to_owned(), "invalid quantity: \"NaN\""),
    (&[], |_, page| page.lines[0].tiers = vec![CostTier::default(); 700_000], "a line has an empty tier"),
    (&[], |_, page| page.lines = vec![CostLine::default(); 700_000], "a page has more than 5000 elements"),
];

pub(super) async fn ask(script: Script, command: &[&str], more: &[&str]) -> Ended {
    let server = serve(script).await;
    run(limited(&[command, &["--retry-for", "60"], more].concat(), &server)).await
}

fn costs_command() -> [&'static str; 7] {
    ["costs", "--organization", ORG, "--month", "2022-02", "--to", "2022-03"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_were_not_asked_for_are_not_listed() {
    let list = |change: Page<ListTenantsResponse>| Script {
        tenants: Box::new(move |call| {
            let mut page = tenants();
            change(call, &mut page);
            Some(Ok(page))
        }),
        ..Script::default()
    };
    for more in [&["--organization", ORG][..], &["ACME"], &[TENANT]] {
        let change: Page<ListTenantsResponse> = match more {
            [TENANT] => |_, page| {
                page.tenants.truncate(1);
                page.total_size = 1;
            },
            _ => |_, _| {},
        };
        let ended = ask(list(change), &["tenants"], more).await;
        assert!(ended.code == Some(0) && ended.text().contains(TENANT), "{ended:?}");
    }
    for _ in 0..rounds(1) {
        for &(more, change, expected) in LISTS {
            let ended = ask(list(change), &["tenants"], more).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

/// Names that change between two pages are no lie: the list is read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_changes_meanwhile_is_read_again() {
    let script = Script {
        tenants: Box::new(|call| {
            let mut page = tenants();
            page.total_size = if call == 0 { 3 } else { 2 };
            Some(Ok(page))
        }),
        ..Script::default()
    };
    let ended = ask(script, &["tenants"], &["--format", "csv"]).await;
    assert!(ended.code == Some(0) && ended.text().lines().count() == 3, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_that_were_not_asked_for_are_not_shown() {
    let costs = |change: Page<GetMonthlyCostsResponse>| Script {
        costs: Box::new(move |call| {
            let mut page = bill();
            change(call, &mut page);
            Some(Ok(page))
        }),
        ..Script::default()
    };
    for more in [&[][..], &["--tenant", TENANT, "--as-of", "2022-03-01T00:00:00Z"]] {
        let ended = ask(costs(|_, _| {}), &costs_command(), more).await;
        assert!(ended.code == Some(0) && ended.text().contains("TOTAL"), "{ended:?}");
    }
    for _ in 0..rounds(1) {
        for &(more, change, expected) in BILLS {
            let ended = ask(costs(change), &costs_command(), more).await;
            ended.assert_error(expected, expected);
            assert!(ended.out.is_empty(), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_that_always_change_end() {
    let expired = |_| {
        let details = ErrorDetails::with_error_info("PAGE_TOKEN_EXPIRED", "secureconnect.reports", HashMap::new());
        Some(Err(Status::with_error_details(Code::FailedPrecondition, "the costs have changed", details)))
    };
    let script = Script { costs: Box::new(expired), ..Script::default() };
    ask(script, &costs_command(), &[]).await.assert_error("the costs have changed", "expired");
}
