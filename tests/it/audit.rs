//! The audit log: one line for each call, with the truth, and never a secret.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use nix::sys::signal::Signal;
use secure_connect_reports::contract::proto::{
    ListTenantsRequest, WithdrawUsageRequest, reports_service_client::ReportsServiceClient,
    usage_import_service_client::UsageImportServiceClient,
};
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;

use crate::support::{
    Database,
    builder::{ORG, ORG_EUR, Row, TENANT, TENANT_2, csv},
    calls::{Rpc, detailed_usage, request},
    issuer::{Issuer, Signer},
    program,
    serving::Serving,
};

/// The fields of a line that a test can know.
fn known_fields(line: &Value) -> Value {
    let names =
        ["rpc", "subject", "client_id", "organization", "tenant", "month", "code", "reason", "internal_detail", "rows"];
    names.iter().map(|name| ((*name).to_owned(), line[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one server, many calls")]
async fn every_call_is_one_line_that_tells_the_truth() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "1")])).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let channel = serving.channel().await;
    let bearer = |organizations: &[&str]| format!("Bearer {}", key.sign(&issuer.claims(organizations)));
    let (own, foreign) = (bearer(&[ORG]), bearer(&[ORG_EUR]));

    Rpc::ListTenants.call(&channel, &[&own]).await.unwrap();
    Rpc::GetDetailedUsage.call(&channel, &[&own]).await.unwrap();
    Rpc::GetMonthlyCosts.call(&channel, &[&own]).await.unwrap();
    Rpc::GetCostBreakdown.call(&channel, &[&own]).await.unwrap();
    Rpc::GetCostBreakdown.call(&channel, &[&foreign]).await.unwrap_err();
    Rpc::GetDetailedUsage.call(&channel, &[&foreign]).await.unwrap_err();
    let mut reports = ReportsServiceClient::new(channel.clone());
    let nowhere = detailed_usage("bbbbbbbb-0000-4000-8000-00000000ffff");
    reports.get_detailed_usage(request(nowhere, &[&foreign])).await.unwrap_err();
    Rpc::ListTenants.call(&channel, &[]).await.unwrap_err();
    let wrong = key.sign(&{
        let mut claims = issuer.claims(&[ORG]);
        claims["aud"] = json!("another-service");
        claims
    });
    Rpc::GetMonthlyCosts.call(&channel, &[&format!("Bearer {wrong}")]).await.unwrap_err();
    let invalid =
        reports.list_tenants(request(ListTenantsRequest { page_size: -1, ..Default::default() }, &[&own])).await;
    invalid.unwrap_err();
    let record = crate::scope::record(ORG, TENANT);
    let message = secure_connect_reports::contract::proto::ImportUsageRequest {
        source: "back-end".to_owned(),
        records: vec![record],
        complete: false,
    };
    let mut imports = UsageImportServiceClient::new(channel.clone());
    imports.import_usage(request(tokio_stream::iter([message]), &[&own])).await.unwrap();
    // Another tenant, whose usage takes the place of that of the first one.
    let complete = secure_connect_reports::contract::proto::ImportUsageRequest {
        source: "back-end".to_owned(),
        records: vec![crate::scope::record(ORG, TENANT_2)],
        complete: true,
    };
    imports.import_usage(request(tokio_stream::iter([complete]), &[&own])).await.unwrap();
    let withdrawal = WithdrawUsageRequest {
        tenant_id: TENANT_2.to_owned(),
        usage_day: "2022-02-07".to_owned(),
        source: "back-end".to_owned(),
    };
    imports.withdraw_usage(request(withdrawal, &[&own])).await.unwrap();

    let line = |rpc: &str,
                organization: &str,
                tenant: &str,
                month: &str,
                code: &str,
                reason: &str,
                detail: &str,
                rows: u64| {
        let (subject, client) = if code == "UNAUTHENTICATED" { ("", "") } else { ("joe", "billing-portal") };
        json!({
            "rpc": rpc, "subject": subject, "client_id": client, "organization": organization, "tenant": tenant,
            "month": month, "code": code, "reason": reason, "internal_detail": detail, "rows": rows,
        })
    };
    let nowhere = "bbbbbbbb-0000-4000-8000-00000000ffff";
    let expected = [
        line("ReportsService/ListTenants", "", "", "", "OK", "", "", 2),
        line("ReportsService/GetDetailedUsage", ORG, TENANT, "2022-02", "OK", "", "", 2),
        line("ReportsService/GetMonthlyCosts", ORG, "", "2022-02", "OK", "", "", 1),
        line("ReportsService/GetCostBreakdown", ORG, "", "2022-02", "OK", "", "", 1),
        line(
            "ReportsService/GetCostBreakdown",
            ORG,
            "",
            "2022-02",
            "NOT_FOUND",
            "ORGANIZATION_NOT_FOUND",
            "it exists, outside the organizations that were asked for or may be seen",
            0,
        ),
        line(
            "ReportsService/GetDetailedUsage",
            "",
            TENANT,
            "2022-02",
            "NOT_FOUND",
            "TENANT_NOT_FOUND",
            "it exists, outside the organizations that were asked for or may be seen",
            0,
        ),
        line("ReportsService/GetDetailedUsage", "", nowhere, "2022-02", "NOT_FOUND", "TENANT_NOT_FOUND", "", 0),
        line("ReportsService/ListTenants", "", "", "", "UNAUTHENTICATED", "TOKEN_MISSING", "no credentials", 0),
        line(
            "ReportsService/GetMonthlyCosts",
            "",
            "",
            "",
            "UNAUTHENTICATED",
            "TOKEN_INVALID",
            "the token is invalid: for another audience",
            0,
        ),
        line("ReportsService/ListTenants", "", "", "", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "", 0),
        line("UsageImportService/ImportUsage", "", TENANT, "2022-02", "OK", "", "", 1),
        line(
            "UsageImportService/ImportUsage",
            "",
            TENANT,
            "2022-02",
            "OK",
            "",
            &format!("1 tenants more; complete; withdrawn: {TENANT} on 2022-02-07"),
            1,
        ),
        line("UsageImportService/WithdrawUsage", "", TENANT_2, "2022-02", "OK", "", "", 0),
    ];
    let calls = serving.calls(expected.len()).await;
    assert_eq!(calls.iter().map(known_fields).collect::<Vec<_>>(), expected);
    for call in &calls {
        assert!(call["duration_ms"].is_u64() && call["bytes"].is_u64(), "{call}");
        assert!(call["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{call}");
        assert!(call["request_id"].as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{call}");
        assert_eq!(call["bytes"].as_u64().unwrap() > 0, call["code"] == "OK", "{call}");
    }
}

#[tokio::test]
async fn a_request_id_is_taken_returned_and_logged() {
    let database = Database::with_catalog().await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let mut reports = ReportsServiceClient::new(serving.channel().await);
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let long = "x".repeat(129);
    for (given, authorization, kept) in [
        ("order-42/7", &[bearer.as_str()][..], true),
        ("unauthenticated-7", &[], true),
        ("two words", &[bearer.as_str()], false),
        (&long, &[bearer.as_str()], false),
    ] {
        let mut request = request(ListTenantsRequest::default(), authorization);
        request.metadata_mut().insert("x-request-id", MetadataValue::try_from(given).unwrap());
        let returned = match reports.list_tenants(request).await {
            Ok(response) => response.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned(),
            Err(status) => status.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned(),
        };
        assert_eq!(returned == given, kept, "{given}: {returned}");
    }
    let calls = serving.calls(4).await;
    assert_eq!((&calls[0]["request_id"], &calls[1]["request_id"]), (&json!("order-42/7"), &json!("unauthenticated-7")));
}

#[tokio::test]
async fn a_caller_that_goes_away_is_told_apart() {
    let database = Database::with_catalog().await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:06}"))).collect();
    database.import(&csv(&rows)).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let mut reports = ReportsServiceClient::new(serving.channel().await);
    let mut stream =
        reports.get_detailed_usage(request(detailed_usage(TENANT), &[&bearer])).await.unwrap().into_inner();
    stream.message().await.unwrap();
    drop(stream);
    let call = serving.calls(1).await.remove(0);
    assert_eq!((&call["code"], &call["reason"]), (&json!("CANCELLED"), &json!("CALLER_GONE")));
    let rows = call["rows"].as_u64().unwrap();
    assert!((500..20_000).contains(&rows), "{call}");
}

const EVERYTHING: &str = "trace,h2=trace,hyper=trace,rustls=trace,tokio_postgres=trace,tonic=trace,tower=trace";

/// Everything that is secret, at the most talkative level, and in failures.
#[tokio::test]
async fn no_secret_reaches_a_log_or_an_error() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let with_password = format!("{} password=hunter2-of-the-database", database.url);
    let serving = Serving::start(&database, &issuer, |command| {
        command
            .args(["--log", EVERYTHING])
            .env("DATABASE_URL", &with_password)
            .env("SCR_IMPORT_DATABASE_URL", &with_password);
    });
    let channel = serving.channel().await;
    let good = key.sign(&issuer.claims(&[ORG]));
    let mut expired = issuer.claims(&[ORG]);
    expired["exp"] = json!(1);
    let tokens = [good.clone(), key.sign(&expired), Signer::new(Algorithm::EdDSA, "stranger").sign(&expired)];
    let mut errors = String::new();
    for token in &tokens {
        for rpc in Rpc::all() {
            for value in [format!("Bearer {token}"), format!("Basic {token}"), token.clone()] {
                if let Err(status) = rpc.call(&channel, &[&value]).await {
                    errors.push_str(&format!("{status:?}"));
                }
            }
        }
    }
    serving.calls(3 * 3 * Rpc::all().len()).await;
    let client = program()
        .args(["tenants", "--server", &serving.url, "--log", EVERYTHING])
        .env("SCR_TOKEN", &good)
        .output()
        .unwrap();
    assert!(client.status.success());
    let refused = program()
        .args(["tenants", "--server", &serving.url, "--log", EVERYTHING])
        .env("SCR_TOKEN", &tokens[1])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let mut written = serving.everything() + &errors;
    for output in [client, refused] {
        written.push_str(&String::from_utf8(output.stdout).unwrap());
        written.push_str(&String::from_utf8(output.stderr).unwrap());
    }
    assert!(written.contains("TRACE") && written.len() > 100_000, "{} bytes", written.len());
    assert!(!written.contains("hunter2"), "the database's password is in the log");
    for token in &tokens {
        // Claims and signature; the header is the same in every token.
        for part in token.split('.').skip(1) {
            if let Some(at) = written.find(part) {
                let from = written[..at].char_indices().rev().nth(300).map_or(0, |(index, _)| index);
                panic!("a token is in the log: {}", &written[from..at]);
            }
        }
    }
}

#[tokio::test]
async fn calls_that_are_cut_off_are_told_so_and_logged() {
    let database = Database::with_catalog().await;
    let rows: Vec<Row> = (0..20_000).map(|n| Row::on("2022-02-01", "1").asset(&format!("{n:06}"))).collect();
    database.import(&csv(&rows)).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |command| {
        command.args(["--drain-seconds", "1"]);
    });
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    let channel = serving.channel().await;
    let mut reports = ReportsServiceClient::new(channel.clone());
    let mut stream =
        reports.get_detailed_usage(request(detailed_usage(TENANT), &[&bearer])).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(!first.resume_token.is_empty());
    // An import whose caller never says that it is done.
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let record = crate::scope::record(ORG, TENANT);
    let message =
        secure_connect_reports::contract::proto::ImportUsageRequest { records: vec![record], ..Default::default() };
    sender.send(message).await.unwrap();
    let import = tokio::spawn({
        let channel = channel.clone();
        let request = request(tokio_stream::wrappers::ReceiverStream::new(messages), &[&bearer]);
        async move { UsageImportServiceClient::new(channel).import_usage(request).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    serving.signal(Signal::SIGTERM);
    let status = import.await.unwrap().unwrap_err();
    let shutting_down = (tonic::Code::Unavailable, "SHUTTING_DOWN".to_owned());
    assert_eq!(crate::support::calls::reason(&status), shutting_down);
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream that was cut off looks whole"),
            Err(status) => break status,
        }
    };
    // What is in buffers may be sent first; a connection that goes away with the server is no answer at all.
    assert!(
        [shutting_down, (tonic::Code::Unknown, String::new()), (tonic::Code::Unavailable, String::new())]
            .contains(&crate::support::calls::reason(&status)),
        "{status:?}"
    );
    let calls = serving.calls(2).await;
    for call in &calls {
        assert_eq!((&call["code"], &call["reason"]), (&json!("UNAVAILABLE"), &json!("SHUTTING_DOWN")), "{call}");
    }
}

#[tokio::test]
async fn what_a_path_says_is_not_repeated() {
    let database = Database::with_catalog().await;
    let issuer = Issuer::start(&[&Signer::new(Algorithm::EdDSA, "ed")]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let path = format!("/secureconnect.reports.v1.ReportsService/x.UsageImportService/ImportUsage{}", "x".repeat(1000));
    let mut grpc = tonic::client::Grpc::new(serving.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<ListTenantsRequest, ListTenantsRequest>::default();
    let path = http::uri::PathAndQuery::try_from(path).unwrap();
    grpc.unary(tonic::Request::new(ListTenantsRequest::default()), path, codec).await.unwrap_err();
    let call = serving.calls(1).await.remove(0);
    assert_eq!((&call["rpc"], &call["reason"]), (&json!("unknown"), &json!("TOKEN_MISSING")));
}
