//! What may be asked, by whom, and what a reader who is slow keeps from others.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use secure_connect_reports::{
    client::{BillQuery, CompareQuery},
    contract::proto::{CompareCostsRequest, CostSide, YearMonth, reports_service_client::ReportsServiceClient},
    service::ServerConfig,
    store::StoreConfig,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use super::{current, request, side, try_compare};
use crate::support::{
    Database, Server,
    builder::{ORG, ORG_EUR, Row, TENANT, TENANT_EUR, csv},
    calls::{self, reason, seen},
    issuer::{Issuer, Signer},
};

const NOBODY: &str = "aaaaaaaa-0000-4000-8000-00000000ffff";
const NOWHERE: &str = "bbbbbbbb-0000-4000-8000-00000000ffff";

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let good = || request(side("2022-01"), side("2022-02"));
    let month_13 = || Some(CostSide { month: Some(YearMonth { year: 2022, month: 13 }), ..CostSide::default() });
    let at = |seconds| {
        let as_of = Some(prost_types::Timestamp { seconds, nanos: 0 });
        Some(CostSide { as_of, ..side("2022-01").unwrap() })
    };
    let requests: Vec<(&str, CompareCostsRequest)> = vec![
        ("organization_id", CompareCostsRequest { organization_id: String::new(), ..good() }),
        ("organization_id", CompareCostsRequest { organization_id: "acme".to_owned(), ..good() }),
        ("tenant_id", CompareCostsRequest { tenant_id: "hq".to_owned(), ..good() }),
        ("base", request(None, side("2022-01"))),
        ("target", request(side("2022-01"), None)),
        ("base.month", request(Some(CostSide::default()), side("2022-01"))),
        ("target.month", request(side("2022-01"), month_13())),
        ("base.as_of", request(at(253_402_300_799), side("2022-01"))),
        ("target.as_of", request(side("2022-01"), at(i64::MAX))),
        ("target.basis", request(side("2022-01"), Some(CostSide { basis: 7, ..side("2022-01").unwrap() }))),
        ("top_assets", CompareCostsRequest { top_assets: Some(-1), ..good() }),
    ];
    for (field, request) in requests {
        let error = try_compare(&server, request).await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidArgument, "{field}: {error:?}");
        assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let many = CompareCostsRequest { top_assets: Some(i32::MAX), ..good() };
    assert!(try_compare(&server, many).await.is_ok());
}

#[tokio::test]
async fn what_is_of_others_is_not_there() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-01", "2").of(ORG_EUR, TENANT_EUR)])).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(&[ORG_EUR])));
    let ask = async |organization: &str, tenant: &str| {
        let message = CompareCostsRequest {
            organization_id: organization.to_owned(),
            tenant_id: tenant.to_owned(),
            ..request(side("2022-01"), side("2022-02"))
        };
        let mut reports = ReportsServiceClient::new(channel.clone());
        Ok::<_, tonic::Status>(reports.compare_costs(calls::request(message, &[&bearer])).await?.into_inner())
    };
    let hidden = ask(ORG, "").await.unwrap_err();
    assert_eq!(reason(&hidden), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
    assert_eq!(seen(&hidden), seen(&ask(NOBODY, "").await.unwrap_err()));
    let hidden = ask(ORG_EUR, TENANT).await.unwrap_err();
    assert_eq!(reason(&hidden), (Code::NotFound, "TENANT_NOT_FOUND".to_owned()));
    assert_eq!(seen(&hidden), seen(&ask(ORG_EUR, NOWHERE).await.unwrap_err()));
    let mut own = ask(ORG_EUR, TENANT_EUR).await.unwrap();
    assert_eq!(own.message().await.unwrap().unwrap().lines.len(), 1);
}

/// 300 tenants with 40 lines each, of which 50 come at a time.
async fn many_tenants() -> Database {
    let database = Database::with_catalog().await;
    let mut catalog = String::new();
    let mut rows = Vec::new();
    for meter in 0..40 {
        catalog += &format!(
            "[[meters]]\nid = \"cccccccc-1111-4000-8000-{meter:012}\"\nname = \"meter {} {meter:02}\"\nunit = \"hour\"\n",
            "x".repeat(100)
        );
    }
    for n in 0..300 {
        let id = format!("bbbbbbbb-1111-4000-8000-{n:012}");
        catalog += &format!(
            "[[tenants]]\nid = \"{id}\"\norganization_id = \"{ORG}\"\nname = \"t{n:03}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n"
        );
        for meter in 0..40 {
            let name = format!("meter {} {meter:02}", "x".repeat(100));
            let row = Row::on("2022-02-01", "1").of(ORG, &id);
            rows.push(row.with("meterName", &name).with("meterId", &format!("cccccccc-1111-4000-8000-{meter:012}")));
        }
    }
    database.apply(&catalog).await;
    database.import(&csv(&rows)).await;
    database
}

#[tokio::test]
async fn renaming_tenants_meanwhile_ends_a_stream() {
    let database = many_tenants().await;
    let server = database.serve();
    let channel = Channel::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let channel = channel.initial_connection_window_size(65_535).connect().await.unwrap();
    let mut stream = ReportsServiceClient::new(channel)
        .compare_costs(request(side("2022-01"), side("2022-02")))
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(!first.lines.is_empty());
    // So much is on its way already that a part is still to come.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rename = "UPDATE tenant SET name = 'a' || name WHERE name = 't290'";
    assert_eq!(database.sql().await.execute(rename, &[]).await.unwrap(), 1);
    let error = loop {
        match stream.message().await {
            Ok(Some(message)) => assert!(message.summary.is_none()),
            Ok(None) => panic!("a stream that ends without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(reason(&error), (Code::Aborted, "NAMES_CHANGED".to_owned()));
}

#[tokio::test]
async fn a_slow_reader_holds_no_connection() {
    let database = many_tenants().await;
    let config = StoreConfig { short_connections: 1, ..database.config() };
    let auth = secure_connect_reports::auth::AuthConfig { insecure_no_auth: true, ..Default::default() };
    let server = Server::start(ServerConfig::new(config, auth));
    let channel = Channel::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let channel = channel.initial_connection_window_size(65_535).connect().await.unwrap();
    let mut reports = ReportsServiceClient::new(channel);
    let mut stream = reports.compare_costs(request(side("2022-01"), side("2022-02"))).await.unwrap().into_inner();
    let mut lines = stream.message().await.unwrap().unwrap().lines.len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The one connection is free, and for several comparisons at once.
    let others = (0..8).map(|_| try_compare(&server, request(side("2022-01"), side("2022-02"))));
    for other in futures_util::future::join_all(others).await {
        assert_eq!(other.unwrap().lines.len(), 12_000);
    }
    while let Some(message) = stream.message().await.unwrap() {
        lines += message.lines.len();
    }
    assert_eq!(lines, 12_000);
}

#[tokio::test]
async fn the_client_has_the_whole_comparison() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-03-01", "200").bandwidth()])).await;
    let server = database.serve();
    let bill = |month: &str| BillQuery { month: month.parse().unwrap(), as_of: None, current: false, draft: None };
    let query = CompareQuery {
        organization_id: ORG.parse().unwrap(),
        tenant_id: Some(TENANT.parse().unwrap()),
        base: bill("2022-02"),
        target: bill("2022-03"),
        top_assets: 10,
    };
    let mut client = server.client().await;
    let compared = client.compare_costs(&query).await.unwrap();
    assert_eq!((compared.lines.len(), compared.summary.new_count, compared.summary.vanished_count), (2, 1, 1));
    let as_of = compared.header.base.unwrap().as_of.unwrap();
    let as_of = secure_connect_reports::model::UtcTime::from_unix(as_of.seconds, as_of.nanos).ok();
    let fixed = CompareQuery {
        base: BillQuery { as_of, current: true, ..bill("2022-02") },
        target: BillQuery { as_of, ..bill("2022-03") },
        ..query.clone()
    };
    assert_eq!(client.compare_costs(&fixed).await.unwrap().lines, compared.lines);
    let drafted =
        CompareQuery { target: BillQuery { draft: Some(super::draft(Vec::new(), &[])), ..bill("2022-02") }, ..query };
    assert_eq!(client.compare_costs(&drafted).await.unwrap().summary.unchanged_count, 1);
    let raw = try_compare(&server, request(current("2022-02"), side("2022-03"))).await.unwrap();
    assert_eq!(raw.lines, compared.lines);
}
