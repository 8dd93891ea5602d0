//! The answers of `GetMonthlyCosts`, `ListPrices` and `ListTenants`.

use secure_connect_reports::contract::proto::{
    GetMonthlyCostsRequest, GetMonthlyCostsResponse, ListPricesRequest, ListPricesResponse, ListTenantsRequest,
    ListTenantsResponse,
};

use super::{
    assert_golden,
    fixture::{ACME, HQ, KUWAIT_ORG, TOKYO_ORG, costs_of, month, reports, shared},
    mask,
};

/// Where a token of costs has its time: behind version, kind and query.
const TIME: usize = 2 + 8;

fn shown(answer: GetMonthlyCostsResponse) -> String {
    let GetMonthlyCostsResponse { lines, totals, tenant_months, unpriced_meters, next_page_token, adjustments } =
        answer;
    let mut text = String::new();
    for line in lines {
        text.push_str(&format!("{line:?}\n"));
    }
    for adjustment in adjustments {
        text.push_str(&format!("{adjustment:?}\n"));
    }
    for total in totals {
        text.push_str(&format!("{total:?}\n"));
    }
    for mut tenant_month in tenant_months {
        tenant_month.data_as_of = mask::moment(tenant_month.data_as_of);
        text.push_str(&format!("{tenant_month:?}\n"));
    }
    for unpriced in unpriced_meters {
        text.push_str(&format!("{unpriced:?}\n"));
    }
    if !next_page_token.is_empty() {
        let token = mask::token(&next_page_token, Some(TIME));
        text.push_str(&format!("next page token: {} bytes", token.len()));
        let mut rest = token.as_slice();
        for (name, length) in [
            ("version", 1),
            ("kind", 1),
            ("query", 8),
            ("time (masked)", 8),
            ("names", 8),
            ("section", 1),
            ("year", 4),
            ("month", 4),
            ("number", 4),
            ("tenant", 16),
            ("meter", 16),
            ("region", 2),
            ("check (masked)", 8),
        ] {
            let (part, others) = rest.split_at(length);
            text.push_str(&format!(", {name} {}", mask::hex(part)));
            rest = others;
        }
        assert!(rest.is_empty(), "{text}");
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn bills() {
    let (_, server) = shared().await;
    let mut stub = reports(server).await;
    let months = |request: GetMonthlyCostsRequest| GetMonthlyCostsRequest {
        start_month: month(1),
        end_month: month(4),
        ..request
    };
    for (name, request) in [
        ("dollars-february", costs_of(ACME)),
        ("dollars-january-to-april", months(costs_of(ACME))),
        ("dollars-one-tenant", GetMonthlyCostsRequest { tenant_id: HQ.to_owned(), ..costs_of(ACME) }),
        ("yen", costs_of(TOKYO_ORG)),
        ("dinars", costs_of(KUWAIT_ORG)),
    ] {
        let answer = stub.get_monthly_costs(request).await.unwrap().into_inner();
        assert_golden(&format!("costs/{name}.txt"), &shown(answer));
    }
}

#[tokio::test]
async fn pages_of_a_bill() {
    let (_, server) = shared().await;
    let mut stub = reports(server).await;
    let mut text = String::new();
    let mut page_token = String::new();
    for number in 1.. {
        let request = GetMonthlyCostsRequest { end_month: month(3), page_size: 5, page_token, ..costs_of(ACME) };
        let page = stub.get_monthly_costs(request).await.unwrap().into_inner();
        page_token = page.next_page_token.clone();
        text.push_str(&format!("page {number}\n{}", shown(page)));
        if page_token.is_empty() {
            break;
        }
    }
    assert_golden("costs/pages.txt", &text);
}

#[tokio::test]
async fn lists_of_prices() {
    let (_, server) = shared().await;
    let mut stub = reports(server).await;
    let mut text = String::new();
    let list = |number| ListPricesRequest { month: month(number), ..Default::default() };
    let hours = "user_hours_essentials".to_owned();
    for (name, request) in [
        ("all", list(3)),
        ("a meter and a currency", ListPricesRequest { meter_name: hours, currency: "USD".to_owned(), ..list(2) }),
        ("the first page", ListPricesRequest { page_size: 2, ..list(3) }),
    ] {
        let ListPricesResponse { prices, next_page_token } = stub.list_prices(request).await.unwrap().into_inner();
        text.push_str(&format!("{name}\n"));
        for mut price in prices {
            price.applied_at = mask::moment(price.applied_at);
            text.push_str(&format!("{price:?}\n"));
        }
        assert_eq!(next_page_token.is_empty(), name != "the first page");
    }
    assert_golden("prices.txt", &text);
}

#[tokio::test]
async fn lists_of_tenants() {
    let (_, server) = shared().await;
    let mut stub = reports(server).await;
    let mut text = String::new();
    let list = ListTenantsRequest::default;
    for (name, request) in [
        ("all", list()),
        ("of an organization", ListTenantsRequest { organization_id: ACME.to_owned(), ..list() }),
        ("a search", ListTenantsRequest { search: "ACME/LAB: \"ZU\u{308}R".to_owned(), ..list() }),
        ("an ordinary percent sign", ListTenantsRequest { search: "%".to_owned(), ..list() }),
        ("the first page", ListTenantsRequest { page_size: 2, ..list() }),
    ] {
        let ListTenantsResponse { tenants, next_page_token, total_size } =
            stub.list_tenants(request).await.unwrap().into_inner();
        text.push_str(&format!("{name}: {total_size}\n"));
        for tenant in tenants {
            text.push_str(&format!("{tenant:?}\n"));
        }
        if !next_page_token.is_empty() {
            text.push_str(&format!("next page token: {}\n", mask::hex(&mask::token(&next_page_token, None))));
        }
    }
    assert_golden("tenants.txt", &text);
}
