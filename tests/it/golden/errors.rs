//! Errors of every RPC that reads, and of authentication: code, message and details.

mod parts;

use jsonwebtoken::Algorithm;
use prost_types::Timestamp;
use secure_connect_reports::contract::proto::{
    GetDetailedUsageRequest, GetMonthlyCostsRequest, ListOrganizationsRequest, ListPricesRequest, ListTenantsRequest,
    UsageFilter, YearMonth, reports_service_client::ReportsServiceClient,
};
use serde_json::json;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::{
    assert_golden,
    fixture::{ACME, HQ, TOKYO, channel, costs_of, everything, given, month, reports, shared, usage_of},
};
use crate::support::{
    calls::{Rpc, request},
    issuer::{Issuer, Signer},
    raw::{Connection, Verbatim},
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000009";

/// Everything of an error.
pub(super) fn shown(name: &str, status: &Status) -> String {
    let mut text = format!("{name}\n  {:?}: {}\n", status.code(), status.message());
    let details = status.get_error_details();
    match details.error_info() {
        Some(info) => {
            let mut metadata: Vec<_> = info.metadata.iter().collect();
            metadata.sort();
            text.push_str(&format!("  reason {}, domain {}, metadata {metadata:?}\n", info.reason, info.domain));
        }
        None => text.push_str("  no reason\n"),
    }
    for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
        text.push_str(&format!("  field {}: {}\n", violation.field, violation.description));
    }
    if let Some(retry) = details.retry_info() {
        text.push_str(&format!("  retry after {:?}\n", retry.retry_delay));
    }
    text
}

type Reports = ReportsServiceClient<Channel>;

async fn usage(stub: &mut Reports, name: &str, request: GetDetailedUsageRequest) -> String {
    let status = match stub.get_detailed_usage(request).await {
        Err(status) => status,
        Ok(answer) => answer.into_inner().message().await.expect_err(name),
    };
    shown(name, &status)
}

async fn costs(stub: &mut Reports, name: &str, request: GetMonthlyCostsRequest) -> String {
    shown(name, &stub.get_monthly_costs(request).await.expect_err(name))
}

async fn tenants(stub: &mut Reports, name: &str, request: ListTenantsRequest) -> String {
    shown(name, &stub.list_tenants(request).await.expect_err(name))
}

fn year_month(year: i32, month: i32) -> Option<YearMonth> {
    Some(YearMonth { year, month })
}

fn moment(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

/// A token that was altered: its last character is another one.
fn altered(token: &str) -> String {
    let (kept, last) = token.split_at(token.len() - 1);
    format!("{kept}{}", if last == "A" { "Q" } else { "A" })
}

#[tokio::test]
async fn errors_of_list_tenants() {
    let (_, server) = shared().await;
    let stub = &mut reports(server).await;
    let list = ListTenantsRequest::default;
    let first = ListTenantsRequest { page_size: 1, ..list() };
    let token = stub.list_tenants(first.clone()).await.unwrap().into_inner().next_page_token;
    let mut text = String::new();
    for (name, request) in [
        ("negative page size", ListTenantsRequest { page_size: -1, ..list() }),
        ("bad organization", ListTenantsRequest { organization_id: "acme".to_owned(), ..list() }),
        ("bad page token", ListTenantsRequest { page_token: "x".to_owned(), ..first.clone() }),
        ("altered page token", ListTenantsRequest { page_token: altered(&token), ..first.clone() }),
        ("page token of another search", ListTenantsRequest { page_token: token, search: "a".to_owned(), ..first }),
    ] {
        text.push_str(&tenants(stub, name, request).await);
    }
    assert_golden("errors/list-tenants.txt", &text);
}

#[tokio::test]
async fn errors_of_list_organizations() {
    let (_, server) = shared().await;
    let stub = &mut reports(server).await;
    let first = ListOrganizationsRequest { page_size: 1, ..Default::default() };
    let token = stub.list_organizations(first.clone()).await.unwrap().into_inner().next_page_token;
    let page = ListTenantsRequest { page_size: 1, ..Default::default() };
    let other_call = stub.list_tenants(page).await.unwrap().into_inner().next_page_token;
    let mut text = String::new();
    for (name, request) in [
        ("negative page size", ListOrganizationsRequest { page_size: -1, ..Default::default() }),
        ("bad page token", ListOrganizationsRequest { page_token: "x".to_owned(), ..first.clone() }),
        ("altered page token", ListOrganizationsRequest { page_token: altered(&token), ..first.clone() }),
        ("page token of another call", ListOrganizationsRequest { page_token: other_call, ..first }),
    ] {
        text.push_str(&shown(name, &stub.list_organizations(request).await.expect_err(name)));
    }
    assert_golden("errors/list-organizations.txt", &text);
}

#[tokio::test]
async fn errors_of_list_prices() {
    let (_, server) = shared().await;
    let stub = &mut reports(server).await;
    let list = || ListPricesRequest { month: year_month(2022, 2), ..Default::default() };
    let first = ListPricesRequest { page_size: 1, ..list() };
    let token = stub.list_prices(first.clone()).await.unwrap().into_inner().next_page_token;
    let mut text = String::new();
    for (name, request) in [
        ("no month", ListPricesRequest { month: None, ..list() }),
        ("month 13", ListPricesRequest { month: year_month(2022, 13), ..list() }),
        ("bad currency", ListPricesRequest { currency: "dollars".to_owned(), ..list() }),
        ("unknown meter", ListPricesRequest { meter_name: "nothing".to_owned(), ..list() }),
        ("long meter", ListPricesRequest { meter_name: "x".repeat(513), ..list() }),
        ("in the future", ListPricesRequest { as_of: moment(253_402_300_799, 0), ..list() }),
        ("negative page size", ListPricesRequest { page_size: -1, ..list() }),
        ("bad page token", ListPricesRequest { page_token: "x".to_owned(), ..first.clone() }),
        ("altered page token", ListPricesRequest { page_token: altered(&token), ..first.clone() }),
        ("page token of another month", ListPricesRequest { page_token: token, month: year_month(2022, 3), ..first }),
    ] {
        text.push_str(&shown(name, &stub.list_prices(request).await.expect_err(name)));
    }
    assert_golden("errors/list-prices.txt", &text);
}

#[tokio::test]
async fn errors_of_get_detailed_usage() {
    let database = everything().await;
    let server = database.serve();
    let stub = &mut reports(&server).await;
    let with = |filter: UsageFilter| GetDetailedUsageRequest { filter: Some(filter), ..usage_of(HQ) };
    let at = |as_of| GetDetailedUsageRequest { as_of, ..usage_of(HQ) };
    let mut answer = stub.get_detailed_usage(usage_of(HQ)).await.unwrap().into_inner();
    let token = answer.message().await.unwrap().unwrap().resume_token;
    let resume = |resume_token: String| GetDetailedUsageRequest { resume_token, ..usage_of(HQ) };
    let page = ListTenantsRequest { page_size: 1, ..Default::default() };
    let other_call = stub.list_tenants(page).await.unwrap().into_inner().next_page_token;
    let filter = UsageFilter::default;
    let names = |name: &str| vec![name.to_owned()];
    let mut text = String::new();
    for (name, request) in [
        ("no tenant", usage_of("")),
        ("bad tenant", usage_of("acme-hq")),
        ("tenant without hyphens", usage_of(&HQ.replace('-', ""))),
        ("unknown tenant", usage_of(NOBODY)),
        ("no month", GetDetailedUsageRequest { month: None, ..usage_of(HQ) }),
        ("month 13", GetDetailedUsageRequest { month: year_month(2022, 13), ..usage_of(HQ) }),
        ("year 0", GetDetailedUsageRequest { month: year_month(0, 1), ..usage_of(HQ) }),
        ("in the future", at(moment(253_402_300_799, 0))),
        ("no such moment", at(moment(i64::MAX, 0))),
        ("negative nanoseconds", at(moment(1_700_000_000, -1))),
        ("unknown asset type", with(UsageFilter { asset_types: vec![1, 9], ..filter() })),
        ("unspecified region", with(UsageFilter { billing_regions: vec![0], ..filter() })),
        ("unknown meter", with(UsageFilter { meter_names: names("nothing"), ..filter() })),
        ("empty meter", with(UsageFilter { meter_names: names(""), ..filter() })),
        ("empty asset id", with(UsageFilter { asset_ids: names(""), ..filter() })),
        ("long asset id", with(UsageFilter { asset_ids: names(&"x".repeat(513)), ..filter() })),
        ("asset id with NUL", with(UsageFilter { asset_ids: names("a\0"), ..filter() })),
        ("too many asset ids", with(UsageFilter { asset_ids: vec!["a".to_owned(); 1001], ..filter() })),
        ("too many meters", with(UsageFilter { meter_names: vec!["a".to_owned(); 1001], ..filter() })),
        ("bad resume token", resume("?".to_owned())),
        ("altered resume token", resume(altered(&token))),
        ("resume token of another call", resume(other_call)),
        (
            "resume token of another tenant",
            GetDetailedUsageRequest { tenant_id: TOKYO.to_owned(), ..resume(token.clone()) },
        ),
        ("resume token of another month", GetDetailedUsageRequest { month: month(3), ..resume(token.clone()) }),
        (
            "resume token of another filter",
            GetDetailedUsageRequest {
                filter: Some(UsageFilter { trial: Some(true), ..filter() }),
                ..resume(token.clone())
            },
        ),
    ] {
        text.push_str(&usage(stub, name, request).await);
    }
    // What a restatement has superseded is purged.
    database.import(&given("restatement.csv").replace("6.5", "6.6")).await;
    let mut purge = super::fixture::command(&["purge", "--superseded-days", "0"]);
    assert!(purge.env("DATABASE_URL", &database.url).output().unwrap().status.success());
    text.push_str(&usage(stub, "purged", resume(token)).await);
    assert_golden("errors/get-detailed-usage.txt", &text);
}

#[tokio::test]
async fn errors_of_get_monthly_costs() {
    let database = everything().await;
    let server = database.serve();
    let stub = &mut reports(&server).await;
    let first = GetMonthlyCostsRequest { page_size: 1, ..costs_of(ACME) };
    let token = stub.get_monthly_costs(first.clone()).await.unwrap().into_inner().next_page_token;
    let page = |page_token: String| GetMonthlyCostsRequest { page_token, ..first.clone() };
    let costs_to = |end_month| GetMonthlyCostsRequest { end_month, ..costs_of(ACME) };
    let mut text = String::new();
    for (name, request) in [
        ("no organization", costs_of("")),
        ("bad organization", costs_of("Acme")),
        ("unknown organization", costs_of(NOBODY)),
        ("bad tenant", GetMonthlyCostsRequest { tenant_id: "acme-hq".to_owned(), ..costs_of(ACME) }),
        ("unknown tenant", GetMonthlyCostsRequest { tenant_id: NOBODY.to_owned(), ..costs_of(ACME) }),
        ("tenant of another organization", GetMonthlyCostsRequest { tenant_id: TOKYO.to_owned(), ..costs_of(ACME) }),
        ("no month", GetMonthlyCostsRequest { start_month: None, ..costs_of(ACME) }),
        ("month 0", GetMonthlyCostsRequest { start_month: year_month(2022, 0), ..costs_of(ACME) }),
        ("last month of year 10000", costs_to(year_month(10000, 1))),
        ("months backwards", costs_to(year_month(2022, 1))),
        ("too many months", costs_to(year_month(2023, 8))),
        ("in the future", GetMonthlyCostsRequest { as_of: moment(253_402_300_799, 0), ..costs_of(ACME) }),
        ("negative page size", GetMonthlyCostsRequest { page_size: -1, ..costs_of(ACME) }),
        ("bad page token", page("=".to_owned())),
        ("altered page token", page(altered(&token))),
        ("page token of other months", GetMonthlyCostsRequest { end_month: month(3), ..page(token.clone()) }),
    ] {
        text.push_str(&costs(stub, name, request).await);
    }
    database.apply(&given("catalog.toml").replace("\"acme-hq\"", "\"zzz\"")).await;
    text.push_str(&costs(stub, "names have changed", page(token)).await);
    assert_golden("errors/get-monthly-costs.txt", &text);
}

/// Who may not call, and what is no call of this service.
#[tokio::test]
async fn errors_of_authentication_and_transport() {
    let database = everything().await;
    let key = Signer::new(Algorithm::EdDSA, "golden");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let channel = channel(&server.url()).await;
    let bearer = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut claims = issuer.claims(&[ACME]);
        change(&mut claims);
        format!("Bearer {}", key.sign(&claims))
    };
    let mut text = String::new();
    for (name, authorization) in [
        ("no token", vec![]),
        ("another scheme", vec!["Basic am9lOnNlY3JldA==".to_owned()]),
        ("no token at all", vec!["Bearer x.y.z".to_owned()]),
        ("two tokens", vec![bearer(&|_| {}); 2]),
        ("expired", vec![bearer(&|claims| claims["exp"] = json!(1_600_000_000))]),
        ("another audience", vec![bearer(&|claims| claims["aud"] = json!("another"))]),
        ("no role", vec![bearer(&|claims| claims["roles"] = json!([]))]),
        ("no organization", vec![bearer(&|claims| claims["organizations"] = json!([]))]),
    ] {
        let values: Vec<&str> = authorization.iter().map(String::as_str).collect();
        // RPCs that answer alike are named together.
        let mut alike: Vec<(String, String)> = Vec::new();
        for rpc in Rpc::all() {
            let answer = shown("", &rpc.call(&channel, &values).await.expect_err(name));
            match alike.last_mut() {
                Some((rpcs, same)) if *same == answer => rpcs.push_str(&format!(", {rpc:?}")),
                _ => alike.push((format!("{rpc:?}"), answer)),
            }
        }
        alike.into_iter().for_each(|(rpcs, answer)| text.push_str(&format!("{name}: {rpcs}{answer}")));
    }
    let other = bearer(&|claims| claims["organizations"] = json!([NOBODY]));
    let mut stub = ReportsServiceClient::new(channel);
    let status = stub.get_detailed_usage(request(usage_of(HQ), &[&other])).await.expect_err("not theirs");
    text.push_str(&shown("a tenant of others", &status));
    let status = stub.get_monthly_costs(request(costs_of(ACME), &[&other])).await.expect_err("not theirs");
    text.push_str(&shown("an organization of others", &status));

    let mut connection = Connection::open(server.address, 1 << 20).await;
    let authorization = bearer(&|_| {});
    let headers = [("authorization", authorization.as_str())];
    for (name, path, message) in [
        ("no such RPC", "ReportsService/ListNothing", vec![]),
        ("no message", "ReportsService/ListTenants", vec![0xff; 3]),
        ("too large", "ReportsService/ListTenants", vec![0; 5 << 20]),
    ] {
        let (_, status) = connection.answer(path, &headers, &Verbatim(message)).await.read::<Verbatim>().await;
        assert_ne!(status.code(), Code::Ok, "{name}");
        text.push_str(&shown(name, &status));
    }
    assert_golden("errors/authentication-and-transport.txt", &text);
}
