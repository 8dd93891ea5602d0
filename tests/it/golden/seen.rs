//! Metrics and logs: names, labels and fields, with values as far as they do not depend on time.

use std::collections::BTreeSet;

use jsonwebtoken::Algorithm;
use nix::sys::signal::Signal;
use secure_connect_reports::contract::proto::{
    ImportUsageRequest, ListOrganizationsRequest, ListPricesRequest, ListTenantsRequest, WithdrawUsageRequest,
    reports_service_client::ReportsServiceClient, usage_import_service_client::UsageImportServiceClient,
};
use serde_json::Value;
use tonic::transport::Channel;

use super::{
    assert_golden,
    fixture::{ACME, HQ, TOKYO, TOKYO_ORG, breakdown_of, channel, comparison_of, costs_of, everything, usage_of},
    mask,
};
use crate::support::{
    calls::request,
    issuer::{Issuer, Signer},
    serving::Serving,
};

/// How many calls [`call_everything`] makes.
const CALLS: usize = 15;

/// A call of each RPC, and some that fail.
async fn call_everything(channel: &Channel, authorization: &[&str]) {
    let mut reports = ReportsServiceClient::new(channel.clone());
    let mut imports = UsageImportServiceClient::new(channel.clone());
    let list = ListTenantsRequest { organization_id: ACME.to_owned(), ..Default::default() };
    reports.list_tenants(request(list, authorization)).await.unwrap();
    let mut records = Vec::new();
    let mut token = String::new();
    let mut stream = reports.get_detailed_usage(request(usage_of(HQ), authorization)).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        if token.is_empty() {
            token = message.resume_token;
            records = message.records;
        }
    }
    let mut resumed = usage_of(HQ);
    resumed.resume_token = token;
    let mut stream = reports.get_detailed_usage(request(resumed, authorization)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    let mut costs = costs_of(ACME);
    costs.end_month = super::fixture::month(3);
    reports.get_monthly_costs(request(costs, authorization)).await.unwrap();
    let parts = request(breakdown_of(ACME, &[1]), authorization);
    let mut stream = reports.get_cost_breakdown(parts).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    let mut stream = reports.compare_costs(request(comparison_of(ACME), authorization)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    reports.list_organizations(request(ListOrganizationsRequest::default(), authorization)).await.unwrap();
    let prices = ListPricesRequest { month: super::fixture::month(2), ..Default::default() };
    reports.list_prices(request(prices, authorization)).await.unwrap();
    let message = ImportUsageRequest { source: "golden".to_owned(), records: records.split_off(18), complete: true };
    imports.import_usage(request(tokio_stream::iter([message]), authorization)).await.unwrap();
    let withdrawal = WithdrawUsageRequest {
        tenant_id: HQ.to_owned(),
        usage_day: "2022-02-01".to_owned(),
        source: "golden".to_owned(),
    };
    imports.withdraw_usage(request(withdrawal, authorization)).await.unwrap();
    reports.get_detailed_usage(request(usage_of(TOKYO), authorization)).await.unwrap_err();
    let wrong = ListTenantsRequest { page_size: -1, ..Default::default() };
    reports.list_tenants(request(wrong, authorization)).await.unwrap_err();
    let costs = costs_of(TOKYO_ORG);
    reports.get_monthly_costs(request(costs, authorization)).await.unwrap_err();
    reports.get_cost_breakdown(request(breakdown_of(TOKYO_ORG, &[]), authorization)).await.unwrap_err();
    reports.compare_costs(request(comparison_of(TOKYO_ORG), authorization)).await.unwrap_err();
}

/// Whether a metric only counts what was called, so that its value is always the same.
fn is_count(name: &str) -> bool {
    ["scr_rows_total", "scr_imported_loads_total", "scr_call_failures_total", "scr_resumed_downloads_total"]
        .contains(&name)
        || name == "rpc_server_call_duration_seconds_count"
}

/// The bound of a bucket.
fn bound(series: &str) -> &str {
    series.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a bound")
}

/// A sample without its value, where that depends on time.
fn sample(line: &str) -> String {
    let (series, value) = line.rsplit_once(' ').expect("a sample");
    let (name, _) = series.split_once('{').unwrap_or((series, ""));
    let series = match name {
        "scr_build_info" => "scr_build_info{version=\"<version>\"}".to_owned(),
        // Their bounds are shown apart.
        name if name.ends_with("_bucket") => series.replace(&format!("le=\"{}\"", bound(series)), "le=\"<bound>\""),
        _ => series.to_owned(),
    };
    format!("{series} {}", if is_count(name) { value } else { "<value>" })
}

/// Descriptions in their order; the samples of each sorted, since their order is chance.
fn metrics(text: &str) -> String {
    let mut out = String::new();
    let mut samples = BTreeSet::new();
    let mut bounds = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            samples.into_iter().for_each(|sample: String| out.push_str(&format!("{sample}\n")));
            samples = BTreeSet::new();
            out.push_str(&format!("{line}\n"));
        } else {
            samples.insert(sample(line));
            if line.contains("_bucket{") && !bounds.contains(&bound(line)) {
                bounds.push(bound(line));
            }
        }
    }
    assert!(samples.is_empty() && out.ends_with("# EOF\n"), "{text}");
    out + &format!("bounds of the buckets: {}\n", bounds.join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_some_calls() {
    let database = everything().await;
    let key = Signer::new(Algorithm::EdDSA, "golden");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ACME])));
    call_everything(&channel(&server.url()).await, &[&bearer]).await;
    assert_golden("metrics.txt", &metrics(&server.metrics().await));
}

/// A field of a log line; what is another one each time has a name in its place.
fn field(name: &str, value: &Value) -> String {
    let shown = match (name, value) {
        ("timestamp", Value::String(text)) => {
            assert_eq!(mask::times(text), "<time>");
            "<time>".to_owned()
        }
        ("request_id", Value::String(text)) => {
            assert!(text.len() == 36 && text.is_ascii(), "{text}");
            "<id>".to_owned()
        }
        ("peer", Value::String(text)) => {
            assert!(text.starts_with("127.0.0.1:"), "{text}");
            "127.0.0.1:<port>".to_owned()
        }
        ("duration_ms", Value::Number(_)) => "<number>".to_owned(),
        ("bytes", Value::Number(number)) if number.as_u64() != Some(0) => "<number>".to_owned(),
        // Which module it is is nobody's business.
        ("target", Value::String(text)) if text.starts_with("secure_connect_reports") => "<the program>".to_owned(),
        (_, value) => value.to_string(),
    };
    format!("  {name}: {shown}\n")
}

fn fields(line: &Value) -> String {
    let fields: String = line.as_object().expect("an object").iter().map(|(name, value)| field(name, value)).collect();
    // Spans have the request's id, too.
    match line["request_id"].as_str() {
        Some(id) => fields.replace(id, "<id>"),
        None => fields,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_and_the_log() {
    let database = everything().await;
    let key = Signer::new(Algorithm::EdDSA, "golden");
    let issuer = Issuer::start(&[&key]).await;
    let mut serving = Serving::start(&database, &issuer, |command| {
        command.args(["--metrics-listen", "127.0.0.1:0"]);
    });
    let channel = serving.channel().await;
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ACME])));
    call_everything(&channel, &[&bearer]).await;
    ReportsServiceClient::new(channel.clone()).list_tenants(ListTenantsRequest::default()).await.unwrap_err();
    let calls = serving.calls(CALLS + 1).await;
    let audit: String = calls.iter().map(|call| format!("{}\n", fields(call))).collect();
    assert_golden("log/audit.txt", &audit);

    drop(channel);
    serving.signal(Signal::SIGTERM);
    assert!(serving.child.wait().unwrap().success());
    // What is written last may still be on its way from the pipe.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !serving.everything().contains("\"stopped\"") && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let log = serving.everything();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    // A database whose records lie elsewhere is told of in one line more.
    let is_of_all = |line: &Value| {
        line["target"] != "audit" && line["message"] != "records lie on the machines of Citus, by tenant"
    };
    // Some tasks write side by side.
    let lines: BTreeSet<String> = lines.filter(is_of_all).map(|line| fields(&line)).collect();
    let mut text = lines.into_iter().collect::<Vec<_>>().join("\n").replace(&issuer.url(), "<issuer>");
    for part in log.split("127.0.0.1:").skip(1) {
        let port: String = part.chars().take_while(char::is_ascii_digit).collect();
        text = text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:<port>");
    }
    assert_golden("log/log.txt", &text);
}
