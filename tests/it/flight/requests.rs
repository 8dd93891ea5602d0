//! Who may ask for columns, for what, and what becomes of requests and tickets that are not in order.

use std::time::Duration;

use arrow_flight::{
    Action, Criteria, Empty, FlightDescriptor, Ticket as FlightTicket, flight_service_client::FlightServiceClient,
};
use futures_util::TryStreamExt as _;
use jsonwebtoken::Algorithm;
use prost::Message as _;
use secure_connect_reports::{
    contract::proto::{
        GetDetailedUsageRequest, GetFocusCostsRequest, GetMonthlyCostsRequest, ListTenantsRequest, UsageFilter,
        YearMonth,
    },
    model::{DecimalForm, UtcTime},
    reports::{CostForms, Ticket},
    service::{CallLimit, CallLimits, ServerConfig},
    store::{PurgeRules, purge},
};
use serde_json::json;
use sha2::Digest as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{filtered, usage_of};
use crate::support::{
    Database, Server,
    builder::{HOURS, ORG, ORG_EUR, Row, TENANT, TENANT_EUR, csv},
    calls::{Rpc, costs_ticket, detailed_usage, flight_path, focus_costs, monthly_costs, reason, request},
    columns::{command, csv_rows, usage_command},
    issuer::{Issuer, Signer},
    proxy::{Fate, Proxy},
    serving::Serving,
};

fn field(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_bad_request().expect("a field").field_violations.remove(0).field)
}

fn invalid(name: &str) -> (Code, String) {
    (Code::InvalidArgument, name.to_owned())
}

/// The ticket of a descriptor that has one.
async fn ticket(server: &Server, descriptor: FlightDescriptor) -> FlightTicket {
    server.flight_info(descriptor).await.expect("an answer").endpoint.remove(0).ticket.expect("a ticket")
}

#[tokio::test]
async fn descriptors_that_are_not_in_order_are_refused_with_their_field() {
    let database = Database::with_rows(1).await;
    let server = database.serve();
    let path = |path: &[&str]| FlightDescriptor::new_path(path.iter().map(ToString::to_string).collect());
    let any = |name: &str, value: &[u8]| {
        let type_url = format!("type.googleapis.com/{name}");
        FlightDescriptor::new_cmd(prost_types::Any { type_url, value: value.to_vec() }.encode_to_vec())
    };
    let usage = "secureconnect.reports.v1.GetDetailedUsageRequest";
    let with = |change: fn(&mut GetDetailedUsageRequest)| {
        let mut request = detailed_usage(TENANT);
        change(&mut request);
        usage_command(&request)
    };
    for (descriptor, name) in [
        (FlightDescriptor::default(), "descriptor.type"),
        (path(&[]), "descriptor.path"),
        (path(&["detailed_usage", TENANT]), "descriptor.path"),
        (path(&["detailed_usage", TENANT, "2022-02", "more"]), "descriptor.path"),
        (path(&["other", TENANT, "2022-02"]), "descriptor.path"),
        (path(&["detailed_usage", TENANT, "2022-13"]), "descriptor.path[2]"),
        (path(&["detailed_usage", TENANT, ""]), "descriptor.path[2]"),
        (path(&["monthly_costs", ORG, "February"]), "descriptor.path[2]"),
        (path(&["focus_costs", ORG]), "descriptor.path"),
        (path(&["focus_costs", ORG, "2022-02", "1.3"]), "descriptor.path[3]"),
        (path(&["focus_costs", ORG, "2022-02", "1.2", "more"]), "descriptor.path"),
        (path(&["monthly_costs", ORG, "2022-02", "1.2"]), "descriptor.path"),
        (path(&["focus_costs", "acme", "2022-02"]), "organization_id"),
        (path(&["detailed_usage", "", "2022-02"]), "tenant_id"),
        (path(&["detailed_usage", "acme", "2022-02"]), "tenant_id"),
        (path(&["monthly_costs", "acme", "2022-02"]), "organization_id"),
        (path(&["x"; 17]), "descriptor.path"),
        (FlightDescriptor::new_cmd(&b"SELECT 1"[..]), "descriptor.cmd"),
        (FlightDescriptor::new_cmd(detailed_usage(TENANT).encode_to_vec()), "descriptor.cmd"),
        (
            any("secureconnect.reports.v1.ListTenantsRequest", &ListTenantsRequest::default().encode_to_vec()),
            "descriptor.cmd",
        ),
        (any(usage, b"\x0a\x01\xff"), "descriptor.cmd"),
        (any(usage, b""), "tenant_id"),
        (with(|request| request.month = None), "month"),
        (with(|request| request.month = Some(YearMonth { year: 2022, month: 0 })), "month"),
        (with(|request| request.resume_token = "AQ".to_owned()), "resume_token"),
        (with(|request| request.as_of = Some(prost_types::Timestamp { seconds: 9_000_000_000, nanos: 0 })), "as_of"),
        (
            usage_command(&filtered(TENANT, UsageFilter { asset_types: vec![9], ..Default::default() })),
            "filter.asset_types[0]",
        ),
        (
            usage_command(&filtered(TENANT, UsageFilter { meter_names: vec!["x".to_owned()], ..Default::default() })),
            "filter.meter_names[0]",
        ),
        // Beyond the bounds of the request itself.
        (
            usage_command(&filtered(
                TENANT,
                UsageFilter { asset_ids: vec!["a".to_owned(); 1001], ..Default::default() },
            )),
            "filter.asset_ids",
        ),
        (
            command(
                "GetMonthlyCostsRequest",
                &GetMonthlyCostsRequest { page_token: "AQ".to_owned(), ..monthly_costs(ORG) },
            ),
            "page_token",
        ),
        (command("GetFocusCostsRequest", &GetFocusCostsRequest { version: 9, ..focus_costs(ORG) }), "version"),
        (
            command("GetFocusCostsRequest", &GetFocusCostsRequest { start_month: None, ..focus_costs(ORG) }),
            "start_month",
        ),
    ] {
        let mut flights = server.flights().await;
        let of_info = flights.get_flight_info(descriptor.clone()).await.expect_err(name);
        assert_eq!(field(&of_info), invalid(name), "{descriptor:?}: {of_info:?}");
        let of_schema = flights.get_schema(descriptor).await.expect_err(name);
        assert_eq!(field(&of_schema), invalid(name));
    }
    let status = server.flight_info(FlightDescriptor::new_cmd(vec![0; 2 << 20])).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
    let criteria = Criteria { expression: vec![0xff].into() };
    assert_eq!(
        field(&server.flights().await.list_flights(criteria).await.unwrap_err()),
        invalid("criteria.expression")
    );
}

#[tokio::test]
async fn filters_select_the_records_that_they_select_in_the_report() {
    let database = Database::with_catalog().await;
    let rows = (0..3000).map(|n| {
        let row = Row::on("2022-02-01", "1.5").asset(&format!("{:04}", n / 3));
        match n % 3 {
            0 => row,
            1 => row.bandwidth().with("trial", "TRUE"),
            _ => row.with("billingRegion", "AP"),
        }
    });
    database.import(&csv(&rows.collect::<Vec<_>>())).await;
    let server = database.serve();
    for (filter, count, is_known) in [
        (UsageFilter { meter_names: vec![HOURS.to_owned()], ..Default::default() }, 2000, true),
        (UsageFilter { trial: Some(true), ..Default::default() }, 1000, true),
        (UsageFilter { billing_regions: vec![1], ..Default::default() }, 0, true),
        (UsageFilter { asset_ids: vec!["0007".to_owned(), "0999".to_owned()], ..Default::default() }, 6, false),
        (UsageFilter { asset_types: vec![2], ..Default::default() }, 0, false),
    ] {
        let request = filtered(TENANT, filter);
        let info = server.flight_info(usage_command(&request)).await.unwrap();
        assert_eq!(info.total_records, if is_known { count } else { -1 }, "{request:?}");
        let slice = &server.columns(usage_command(&request)).await[0];
        assert_eq!(slice.record_count() as i64, count, "{request:?}");
        assert_eq!(slice.metadata()["recordCount"], count.to_string());
    }
}

#[tokio::test]
async fn tickets_that_nobody_was_given_give_nothing() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "12.5")])).await;
    let server = database.serve();
    let good = ticket(&server, usage_of(TENANT)).await.ticket.to_vec();
    let token = {
        let mut stream = server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap().resume_token
    };
    let mut altered = good.clone();
    altered[40] ^= 1;
    for wrong in [
        Vec::new(),
        b"ticket".to_vec(),
        good[1..].to_vec(),
        good[..good.len() - 1].to_vec(),
        altered,
        token.into_bytes(),
    ] {
        let status = server.get(FlightTicket::new(wrong)).await.map(drop).unwrap_err();
        assert_eq!(field(&status), invalid("ticket"), "{status:?}");
    }
    // Its quantities have no place for the digits of the report. (The form stands behind the revision and the range.)
    let forged = {
        let (content, _) = good.split_at(good.len() - 8);
        let mut content = content.to_vec();
        assert_eq!(content[42..44], [18, 0]);
        content[42..44].copy_from_slice(&[38, 0]);
        let check = sha2::Sha256::digest(&content);
        [&content, &check[..8]].concat()
    };
    assert_eq!(field(&server.get(FlightTicket::new(forged)).await.map(drop).unwrap_err()), invalid("ticket"));
    // In good form, and of something else than there is.
    let page = GetMonthlyCostsRequest { page_token: "AQ".to_owned(), ..monthly_costs(ORG) };
    assert_eq!(field(&server.get(costs_ticket(page)).await.map(drop).unwrap_err()), invalid("page_token"));
    let status = server.get(costs_ticket(monthly_costs("acme"))).await.map(drop).unwrap_err();
    assert_eq!(field(&status), invalid("organization_id"));
    let as_of = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
    for (request, name) in [
        (GetFocusCostsRequest { as_of, ..focus_costs("acme") }, "organization_id"),
        (focus_costs(ORG), "ticket"),
        (GetFocusCostsRequest { as_of, version: -1, ..focus_costs(ORG) }, "version"),
    ] {
        let ticket = Ticket::Focus(CostForms::default(), request.encode_to_vec()).seal();
        let status = server.get(FlightTicket::new(ticket)).await.map(drop).unwrap_err();
        assert_eq!(field(&status), invalid(name));
    }
    // Its numbers have no places.
    let narrow = CostForms {
        quantities: DecimalForm { scale: 0, is_wide: false },
        amounts: DecimalForm { scale: 0, is_wide: false },
    };
    let now =
        server.flight_info(flight_path("focus_costs", ORG, "2022-02")).await.unwrap().try_decode_schema().unwrap();
    let as_of: UtcTime = now.metadata()["asOf"].parse().unwrap();
    for by_asset in [false, true] {
        let request = GetFocusCostsRequest { as_of: Some(as_of.into()), by_asset, ..focus_costs(ORG) };
        let ticket = Ticket::Focus(narrow, request.encode_to_vec()).seal();
        let status = server.get(FlightTicket::new(ticket)).await.map(drop).unwrap_err();
        assert_eq!(field(&status), invalid("ticket"));
    }
    assert!(server.get(FlightTicket::new(good)).await.is_ok());
    let status = server.get(FlightTicket::new(vec![0; 2 << 20])).await.map(drop).unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_ticket_is_good_for_those_who_may_see_its_report() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-01", "2").of(ORG_EUR, TENANT_EUR)])).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let server = database.serve_with(issuer.auth());
    let bearer = |organizations: &[&str]| format!("Bearer {}", key.sign(&issuer.claims(organizations)));
    let mut flights = server.flights().await;
    for (report, id, missing) in [
        ("detailed_usage", TENANT, "TENANT_NOT_FOUND"),
        ("monthly_costs", ORG, "ORGANIZATION_NOT_FOUND"),
        ("focus_costs", ORG, "ORGANIZATION_NOT_FOUND"),
    ] {
        let path = flight_path(report, id, "2022-02");
        let info = flights.get_flight_info(request(path.clone(), &[&bearer(&[ORG])])).await.unwrap().into_inner();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let foreign = flights.do_get(request(ticket.clone(), &[&bearer(&[ORG_EUR])])).await.map(drop).unwrap_err();
        assert_eq!(reason(&foreign), (Code::NotFound, missing.to_owned()));
        let foreign = flights.get_flight_info(request(path, &[&bearer(&[ORG_EUR])])).await.unwrap_err();
        assert_eq!(reason(&foreign), (Code::NotFound, missing.to_owned()));
        let stream = flights.do_get(request(ticket, &[&bearer(&[ORG, ORG_EUR])])).await.unwrap().into_inner();
        assert!(stream.try_collect::<Vec<_>>().await.unwrap().len() > 1);
    }
    let criteria = request(Criteria::default(), &[&bearer(&[ORG_EUR])]);
    let flights: Vec<_> = flights.list_flights(criteria).await.unwrap().into_inner().try_collect().await.unwrap();
    let paths: Vec<String> =
        flights.into_iter().map(|flight| flight.flight_descriptor.unwrap().path[1].clone()).collect();
    assert_eq!(paths, [TENANT_EUR, ORG_EUR]);
}

#[tokio::test]
async fn what_columns_have_no_use_for_is_unimplemented() {
    let database = Database::with_catalog().await;
    let server = database.serve();
    let mut flights = server.flights().await;
    let refused = [
        flights.handshake(tokio_stream::empty()).await.map(drop),
        flights.poll_flight_info(usage_of(TENANT)).await.map(drop),
        flights.do_put(tokio_stream::empty()).await.map(drop),
        flights.do_exchange(tokio_stream::empty()).await.map(drop),
        flights.do_action(Action::new("cancel", "")).await.map(drop),
        flights.list_actions(Empty {}).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(reason(&refused.unwrap_err()), (Code::Unimplemented, "UNIMPLEMENTED".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_records_are_said_to_be_purged() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let server = database.serve();
    let ticket = ticket(&server, usage_of(TENANT)).await;
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;
    assert_eq!(server.get(ticket.clone()).await.unwrap().rows()[0][9], "1", "as it was");
    let rules = PurgeRules { superseded_for: Some(Duration::ZERO), ..PurgeRules::default() };
    purge(&database.url, rules, Duration::ZERO, false).await.unwrap();
    let status = server.get(ticket).await.map(drop).unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "REPORT_PURGED".to_owned()));
    assert_eq!(server.columns(usage_of(TENANT)).await[0].rows()[0][9], "2");
}

/// A stream that was cut is asked for again, and brings the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_cut_is_an_error_and_its_ticket_stays_good() {
    let database = Database::with_rows(60_000).await;
    let server = database.serve();
    let ticket = ticket(&server, usage_of(TENANT)).await;
    let whole = server.messages(ticket.clone()).await.unwrap();
    let fate = |connection| Fate {
        cut_after: [500, 300_000, 900_000].get(connection as usize).copied().unwrap_or(u64::MAX),
        pause: Duration::ZERO,
    };
    let proxy = Proxy::start(server.address, fate).await;
    let mut failures = 0;
    let found = loop {
        let endpoint = tonic::transport::Endpoint::from_shared(proxy.url.clone()).unwrap();
        let read = async {
            let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let stream = FlightServiceClient::new(channel).do_get(ticket.clone()).await?;
            stream.into_inner().try_collect::<Vec<_>>().await
        };
        match read.await {
            Ok(found) => break found,
            Err(_) => failures += 1,
        }
    };
    assert_eq!(failures, 3);
    assert!(found == whole);
    let slice = server.get(ticket).await.unwrap();
    assert!(slice.rows() == csv_rows(&server.february().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_columns_are_downloads_among_others() {
    let database = Database::with_rows(60_000).await;
    let calls = CallLimits { downloads: CallLimit { total: 10, per_caller: 2 }, ..CallLimits::default() };
    let auth = secure_connect_reports::auth::AuthConfig { insecure_no_auth: true, ..Default::default() };
    let server = Server::start(ServerConfig { calls, ..ServerConfig::new(database.config(), auth) });
    let ticket = ticket(&server, usage_of(TENANT)).await;
    let mut flights = server.flights().await;
    let one = flights.do_get(ticket.clone()).await.unwrap();
    let rows = server.stub().await.get_detailed_usage(detailed_usage(TENANT)).await.unwrap();
    let refused = flights.do_get(ticket.clone()).await.map(drop).unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "CALLER_LIMIT".to_owned()));
    // Others are short calls.
    assert!(flights.get_flight_info(usage_of(TENANT)).await.is_ok());
    let running = "scr_running_calls{rpc_method=\"arrow.flight.protocol.FlightService/DoGet\"}";
    assert_eq!(server.metric(running).await, 1.0);
    drop((one, rows));
    while flights.do_get(ticket.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_call_is_a_line_of_the_audit_log() {
    let database = Database::with_catalog().await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2022-02-02", "1")])).await;
    let key = Signer::new(Algorithm::EdDSA, "ed");
    let issuer = Issuer::start(&[&key]).await;
    let serving = Serving::start(&database, &issuer, |_| {});
    let channel = serving.channel().await;
    let own = format!("Bearer {}", key.sign(&issuer.claims(&[ORG])));
    for rpc in [Rpc::ListFlights, Rpc::GetFlightInfo, Rpc::GetSchema, Rpc::DoGet] {
        rpc.call(&channel, &[&own]).await.unwrap();
    }
    let mut flights = FlightServiceClient::new(channel);
    let info = flights.get_flight_info(request(usage_of(TENANT), &[&own])).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let stream = flights.do_get(request(ticket, &[&own])).await.unwrap().into_inner();
    stream.try_collect::<Vec<_>>().await.unwrap();
    let focus =
        command("GetFocusCostsRequest", &GetFocusCostsRequest { tenant_id: TENANT.to_owned(), ..focus_costs(ORG) });
    let info = flights.get_flight_info(request(focus, &[&own])).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let stream = flights.do_get(request(ticket, &[&own])).await.unwrap().into_inner();
    stream.try_collect::<Vec<_>>().await.unwrap();
    let lines = serving.calls(8).await;
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            json!([line["rpc"], line["organization"], line["tenant"], line["month"], line["code"], line["rows"]])
        })
        .collect();
    let line = |rpc: &str, organization: &str, tenant: &str, month: &str, rows: u64| {
        json!([format!("arrow.flight.protocol.FlightService/{rpc}"), organization, tenant, month, "OK", rows])
    };
    let expected = [
        line("ListFlights", "", "", "", 2),
        line("GetFlightInfo", ORG, TENANT, "2022-02", 0),
        line("GetSchema", ORG, "", "2022-02", 0),
        // As it was years ago.
        line("DoGet", ORG, "", "2022-02", 0),
        line("GetFlightInfo", ORG, TENANT, "2022-02", 0),
        line("DoGet", ORG, TENANT, "2022-02", 2),
        line("GetFlightInfo", ORG, TENANT, "2022-02", 0),
        line("DoGet", ORG, TENANT, "2022-02", 1),
    ];
    assert_eq!(found, expected);
}
