//! The examples against a server with scripted answers: answers that are wrong, and errors as proxies change them.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use secure_connect_reports::contract::proto::{
    self, CostLine, CostTotal, GetCostBreakdownRequest, GetCostBreakdownResponse, GetDetailedUsageRequest,
    GetDetailedUsageResponse, GetMonthlyCostsRequest, GetMonthlyCostsResponse, ListOrganizationsRequest,
    ListOrganizationsResponse, ListPricesRequest, ListPricesResponse, ListTenantsRequest, ListTenantsResponse,
    ReportHeader, ReportSummary, UsageRecord, YearMonth,
    reports_service_server::{ReportsService, ReportsServiceServer},
};
use tonic::{Code, Request, Response, Status};
use tonic_types::pb;

use super::{node, python};

pub(super) type Message = Result<GetDetailedUsageResponse, Status>;
pub(super) type Page = Result<GetMonthlyCostsResponse, Status>;

const COSTS: &str = "any 2022-02";

/// Answers each call with the next stream or page, and then with an error that is final.
struct Script {
    streams: Mutex<VecDeque<Vec<Message>>>,
    pages: Mutex<VecDeque<Page>>,
}

fn script_ended() -> Status {
    Status::invalid_argument("the script has ended")
}

#[tonic::async_trait]
impl ReportsService for Script {
    type GetDetailedUsageStream = tokio_stream::Iter<std::vec::IntoIter<Message>>;
    type GetCostBreakdownStream = tokio_stream::Empty<Result<GetCostBreakdownResponse, Status>>;

    async fn list_tenants(&self, _: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        Err(script_ended())
    }

    async fn get_detailed_usage(
        &self,
        _: Request<GetDetailedUsageRequest>,
    ) -> Result<Response<Self::GetDetailedUsageStream>, Status> {
        let stream = self.streams.lock().unwrap().pop_front().ok_or_else(script_ended)?;
        Ok(Response::new(tokio_stream::iter(stream)))
    }

    async fn get_monthly_costs(
        &self,
        _: Request<GetMonthlyCostsRequest>,
    ) -> Result<Response<GetMonthlyCostsResponse>, Status> {
        let page = self.pages.lock().unwrap().pop_front().ok_or_else(script_ended)?;
        page.map(Response::new)
    }

    async fn get_cost_breakdown(
        &self,
        _: Request<GetCostBreakdownRequest>,
    ) -> Result<Response<Self::GetCostBreakdownStream>, Status> {
        Err(script_ended())
    }

    type CompareCostsStream = tokio_stream::Iter<std::vec::IntoIter<Result<proto::CompareCostsResponse, Status>>>;

    async fn compare_costs(
        &self,
        _: Request<proto::CompareCostsRequest>,
    ) -> Result<Response<Self::CompareCostsStream>, Status> {
        Err(script_ended())
    }

    async fn get_tenant(
        &self,
        _: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::GetTenantResponse>, Status> {
        Err(script_ended())
    }

    async fn list_loads(
        &self,
        _: Request<proto::ListLoadsRequest>,
    ) -> Result<Response<proto::ListLoadsResponse>, Status> {
        Err(script_ended())
    }

    async fn list_organizations(
        &self,
        _: Request<ListOrganizationsRequest>,
    ) -> Result<Response<ListOrganizationsResponse>, Status> {
        Err(script_ended())
    }

    async fn list_prices(&self, _: Request<ListPricesRequest>) -> Result<Response<ListPricesResponse>, Status> {
        Err(script_ended())
    }
}

/// Starts a server, and returns its address.
pub(super) async fn serve(streams: Vec<Vec<Message>>, pages: Vec<Page>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let script = Script { streams: Mutex::new(streams.into()), pages: Mutex::new(pages.into()) };
    let service = ReportsServiceServer::new(script);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    address
}

/// An error of a call, with these bytes as its details.
pub(super) fn error(code: Code, details: &[u8]) -> Status {
    Status::with_details(code, "of the call", Bytes::copy_from_slice(details))
}

/// Details that have another code and message than the call.
fn details(kind: &str, value: Vec<u8>) -> Vec<u8> {
    let detail = prost_types::Any { type_url: format!("type.googleapis.com/google.rpc.{kind}"), value };
    let message = "of the details".to_owned();
    pb::Status { code: Code::DataLoss as i32, message, details: vec![detail] }.encode_to_vec()
}

fn reason(reason: &str) -> Vec<u8> {
    let info = pb::ErrorInfo { reason: reason.to_owned(), ..Default::default() };
    details("ErrorInfo", info.encode_to_vec())
}

fn retry_after(seconds: i64) -> Vec<u8> {
    let retry_delay = Some(prost_types::Duration { seconds, nanos: 0 });
    details("RetryInfo", pb::RetryInfo { retry_delay }.encode_to_vec())
}

fn message(header: Option<(&str, i64)>, records: &[UsageRecord], summary: Option<i64>) -> Message {
    Ok(GetDetailedUsageResponse {
        header: header.map(|(revision, resumed_record_count)| ReportHeader {
            revision: revision.to_owned(),
            resumed_record_count,
            ..Default::default()
        }),
        records: records.to_vec(),
        resume_token: if records.is_empty() { String::new() } else { "token".to_owned() },
        summary: summary.map(|record_count| ReportSummary { record_count, ..Default::default() }),
        ..Default::default()
    })
}

pub(super) fn page(costs: &[&str], total: &str, next_page_token: &str) -> Page {
    let month = Some(YearMonth { year: 2022, month: 2 });
    let currency = "USD".to_owned();
    let line = |cost: &&str| CostLine {
        month,
        tenant_name: "a b".to_owned(),
        tenant_id: "id".to_owned(),
        meter_name: "meter".to_owned(),
        billing_region: 3,
        quantity: "1".to_owned(),
        cost: (*cost).to_owned(),
        currency: currency.clone(),
        ..Default::default()
    };
    Ok(GetMonthlyCostsResponse {
        lines: costs.iter().map(line).collect(),
        totals: vec![CostTotal { month, currency: currency.clone(), cost: total.to_owned(), ..Default::default() }],
        next_page_token: next_page_token.to_owned(),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_understood_whatever_their_details_are() {
    let garbage = [0xff_u8; 2];
    for (status, is_final) in [
        (error(Code::NotFound, &reason("TENANT_NOT_FOUND")), true),
        (error(Code::NotFound, &garbage), true),
        (error(Code::Internal, &reason("INTERNAL")), true),
        (error(Code::ResourceExhausted, &[]), true),
        (error(Code::Unavailable, &retry_after(i64::MAX)), true),
        (error(Code::Unavailable, &retry_after(i64::MIN)), false),
        (error(Code::Unavailable, &reason("OVERLOADED")), false),
        (error(Code::ResourceExhausted, &reason("CALLER_LIMIT")), false),
        (error(Code::Internal, &garbage), false),
        (error(Code::Internal, &details("ErrorInfo", vec![0xff])), false),
        (error(Code::DeadlineExceeded, &[]), false),
    ] {
        let report = vec![message(Some(("r", 0)), &[], Some(0))];
        let streams = vec![vec![Err(status.clone())], report];
        let server = serve(streams, vec![Err(status.clone()), page(&[], "0.00", "")]).await;
        let (csv, costs) = tokio::join!(python(&server, &[]), node(&server, COSTS, &[]));
        for result in [csv, costs] {
            match result {
                Ok(_) => assert!(!is_final, "{status:?}"),
                Err(said) => {
                    let is_plain = said.lines().count() == 1 && said.contains("of the call");
                    assert!(is_final && is_plain, "{status:?}: {said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn examples_wait_as_long_as_the_server_asks() {
    let busy = || error(Code::Unavailable, &retry_after(2));
    let report = || vec![message(Some(("r", 0)), &[], Some(0))];
    let server = serve(vec![vec![Err(busy())], report()], vec![Err(busy()), page(&[], "0.00", "")]).await;
    let started = Instant::now();
    python(&server, &[]).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
    let started = Instant::now();
    node(&server, COSTS, &[]).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn python_keeps_no_report_that_is_not_sound() {
    let record = UsageRecord { asset_type: 1, billing_region: 3, ..Default::default() };
    let first = || message(Some(("r", 0)), std::slice::from_ref(&record), None);
    let last = || message(None, &[], Some(1));
    let resumed = |revision, position| vec![message(Some((revision, position)), &[], None), last()];
    let of = |record| vec![vec![message(Some(("r", 0)), &[record], Some(1))]];
    for (streams, expected) in [
        (vec![vec![message(None, std::slice::from_ref(&record), Some(1))]], "no header"),
        (vec![vec![first()], resumed("other", 1)], "another revision"),
        (vec![vec![first()], resumed("r", 0)], "goes on after 0"),
        (vec![vec![first(), message(None, &[], Some(2))]], "1 records came, and the report has 2"),
        (of(UsageRecord { asset_type: 0, ..record.clone() }), "ASSET_TYPE_0"),
        (of(UsageRecord { billing_region: 77, ..record.clone() }), "BILLING_REGION_77"),
        (of(UsageRecord { platform: -1, ..record.clone() }), "PLATFORM_-1"),
    ] {
        let said = python(&serve(streams, Vec::new()).await, &[]).await.unwrap_err();
        assert!(said.contains(expected) && !said.contains("Traceback"), "{expected}: {said}");
    }
    // Before the first record the revision may change.
    let streams = vec![vec![message(Some(("before", 0)), &[], None)], vec![first()], resumed("r", 1)];
    let report = python(&serve(streams, Vec::new()).await, &[]).await.unwrap();
    assert_eq!(report.lines().count(), 2, "{report}");
}

#[tokio::test]
async fn node_prints_no_costs_that_do_not_add_up() {
    let first = || page(&["0.10"], "0.30", "next");
    let last = || page(&["0.20", ""], "0.30", "");
    let expired = || Err(error(Code::FailedPrecondition, &reason("PAGE_TOKEN_EXPIRED")));
    let whole = "2022-02 a b (id)\n  meter BILLING_REGION_EU 1 0.10\n  meter BILLING_REGION_EU 1 0.20\n  \
                 meter BILLING_REGION_EU 1 no price\n2022-02 total 0.30 USD\n";
    let exact = "2022-02 a b (id)\n  meter BILLING_REGION_EU 1 90071992547409.93\n  \
                 meter BILLING_REGION_EU 1 -0.50\n2022-02 total 90071992547409.43 USD\n";
    for (pages, expected) in [
        (vec![first(), last()], Ok(whole)),
        (vec![first(), expired(), first(), last()], Ok(whole)),
        (std::iter::repeat_with(|| [first(), expired()]).take(5).flatten().collect(), Err("of the call")),
        (vec![page(&["90071992547409.93", "-0.50"], "90071992547409.43", "")], Ok(exact)),
        (vec![page(&["90071992547409.93"], "90071992547409.94", "")], Err("add up to 9007199254740993 minor units")),
        (vec![first(), page(&[], "0.30", "")], Err("add up to 10 minor units, and the total is 0.30")),
        (vec![page(&["0.5"], "0.50", "")], Err("\"0.5\", which is not a number with 2 decimals")),
        (vec![page(&["NaN"], "NaN", "")], Err("\"NaN\", which is not a number with 0 decimals")),
    ] {
        let found = node(&serve(Vec::new(), pages).await, COSTS, &[]).await;
        match (&found, expected) {
            (Ok(printed), Ok(expected)) => assert_eq!(printed, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expected}: {said}"),
            _ => panic!("{expected:?}, not {found:?}"),
        }
    }
}
