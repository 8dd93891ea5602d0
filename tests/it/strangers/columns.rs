//! Columns that are not those that were asked for: no file of them is kept.

use std::{path::Path, sync::Arc, time::Duration};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
    flight_service_client::FlightServiceClient,
    flight_service_server::{FlightService, FlightServiceServer},
};
use futures_util::{TryStreamExt as _, stream::BoxStream};
use secure_connect_reports::{
    client::{Client, ClientConfig, UsageQuery},
    contract::proto::GetFocusCostsRequest,
    model::{AssetType, BillingRegion, UsageFilter},
};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::support::{
    Database,
    builder::{ORG, Row, TENANT, TENANT_2, csv},
    calls::{flight_path, focus_costs},
    columns::{command, february, usage_command},
    rounds,
};

/// What a liar does with the messages of a stream.
type Change = fn(Vec<FlightData>) -> Vec<FlightData>;

/// Passes on what a server says, changed: it asks for another report than it was asked for, or changes what comes.
#[derive(Clone)]
pub(super) struct Liar {
    pub(super) server: FlightServiceClient<Channel>,
    /// What it answers to `GetFlightInfo`, without asking.
    pub(super) told: Option<FlightInfo>,
    /// What it asks for its answer to `GetFlightInfo`, and for its tickets.
    pub(super) info: Option<FlightDescriptor>,
    pub(super) tickets: Option<FlightDescriptor>,
    pub(super) change: Arc<dyn Fn(Vec<FlightData>) -> Vec<FlightData> + Send + Sync>,
}

#[tonic::async_trait]
impl FlightService for Liar {
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        if let Some(told) = self.told.clone() {
            return Ok(Response::new(told));
        }
        let mut server = self.server.clone();
        let asked = request.into_inner();
        let mut info = server.get_flight_info(self.info.clone().unwrap_or_else(|| asked.clone())).await?.into_inner();
        let tickets = server.get_flight_info(self.tickets.clone().unwrap_or(asked)).await?.into_inner();
        info.endpoint = tickets.endpoint;
        Ok(Response::new(info))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let stream = self.server.clone().do_get(request.into_inner()).await?.into_inner();
        let messages = (self.change)(stream.try_collect().await?);
        Ok(Response::new(Box::pin(futures_util::stream::iter(messages.into_iter().map(Ok)))))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Whether a message has records: dictionaries and schemas have other headers.
fn has_records(message: &FlightData) -> bool {
    let message = arrow_ipc::root_as_message(&message.data_header).expect("a message");
    message.header_type() == arrow_ipc::MessageHeader::RecordBatch
}

fn without_a_batch(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    let at = messages.iter().position(has_records).unwrap();
    messages.remove(at);
    messages
}

fn with_a_batch_twice(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    let at = messages.iter().position(has_records).unwrap();
    messages.insert(at, messages[at].clone());
    messages
}

fn without_the_last_batch(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    messages.pop();
    messages
}

fn with_more_behind_the_last(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    messages.extend(messages.last().cloned());
    messages
}

fn without_columns(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    messages.remove(0);
    messages
}

fn with_another_sum(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    let last = messages.last_mut().unwrap();
    let summary = String::from_utf8(last.app_metadata.to_vec()).unwrap();
    last.app_metadata = summary.replacen("\"quantity\":\"9", "\"quantity\":\"8", 1).into();
    messages
}

fn with_a_summary_that_is_none(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    messages.last_mut().unwrap().app_metadata = "{}".into();
    messages
}

fn with_other_digits(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    let batch = messages.iter_mut().find(|message| has_records(message)).unwrap();
    let mut body = batch.data_body.to_vec();
    // Somewhere among the quantities, which are the only numbers of 16 bytes.
    let hours = 1_500_000_000_000_000_000_i128.to_le_bytes();
    let at = body.windows(16).position(|bytes| bytes == hours).expect("a quantity");
    body[at] ^= 1;
    batch.data_body = body.into();
    messages
}

fn of_another_tenant(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    for message in &mut messages {
        let mut body = message.data_body.to_vec();
        while let Some(at) = body.windows(TENANT.len()).position(|bytes| bytes == TENANT.as_bytes()) {
            body[at..at + TENANT.len()].copy_from_slice(TENANT_2.as_bytes());
        }
        message.data_body = body.into();
    }
    messages
}

fn cut_short(mut messages: Vec<FlightData>) -> Vec<FlightData> {
    let batch = messages.iter_mut().find(|message| has_records(message)).unwrap();
    batch.data_body = batch.data_body.slice(..batch.data_body.len() / 2);
    messages
}

fn as_it_is(messages: Vec<FlightData>) -> Vec<FlightData> {
    messages
}

/// Rows of two batches, of two kinds of assets.
fn rows() -> Vec<Row> {
    let row = |n: usize| {
        let row = Row::on("2022-02-01", "1.5").asset(&format!("{n:05}"));
        if n.is_multiple_of(2) { row } else { row.with("assetType", "TRANSPORT").with("billingRegion", "AP") }
    };
    (0..12_000).map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_were_not_asked_for_are_not_kept() {
    let database = Database::with_catalog().await;
    let mut usage = rows();
    usage.push(Row::on("2022-02-01", "1").of(ORG, TENANT_2));
    usage.push(Row::on("2022-03-01", "1"));
    database.import(&csv(&usage)).await;
    let server = database.serve();
    let path = |tenant: &str, month: &str| Some(flight_path("detailed_usage", tenant, month));
    let filtered = |filter: UsageFilter| {
        let query = UsageQuery { filter, ..february(TENANT) };
        Some(usage_command(&query.to_request()))
    };
    let transports = || filtered(UsageFilter { asset_types: vec![AssetType::Transport], ..UsageFilter::default() });
    let regions = || filtered(UsageFilter { billing_regions: vec![BillingRegion::Ap], ..UsageFilter::default() });
    let costs = Some(flight_path("monthly_costs", ORG, "2022-02"));
    type Case<'a> = (Option<FlightDescriptor>, Option<FlightDescriptor>, Change, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 20] = [
        (path(TENANT_2, "2022-02"), None, as_it_is, &[], "it is of tenant"),
        (path(TENANT, "2022-03"), None, as_it_is, &[], "it is of 2022-03, not of 2022-02"),
        (costs.clone(), None, as_it_is, &[], "its columns are not those of detailed usage"),
        (None, path(TENANT_2, "2022-02"), as_it_is, &[], "a slice is of another report"),
        (None, path(TENANT, "2022-03"), as_it_is, &[], "a slice is of another report"),
        (None, costs, as_it_is, &[], "a slice has other columns than its report"),
        (None, None, without_a_batch, &[], "records, but 4832 were received"),
        (None, None, with_a_batch_twice, &[], "records, but 19168 were received"),
        (None, None, with_more_behind_the_last, &[], "it goes on after its last batch"),
        (None, None, without_columns, &[], "columns"),
        (None, None, with_another_sum, &[], "adds up to"),
        (None, None, with_a_summary_that_is_none, &[], "the totals of a slice"),
        (None, None, with_other_digits, &[], "adds up to"),
        (None, None, cut_short, &[], "columns"),
        (None, None, |_| Vec::new(), &["--retry-for", "1"], "the stream ended before its last batch"),
        (None, None, without_the_last_batch, &["--retry-for", "1"], "the stream ended before its last batch"),
        // More than the filter lets pass.
        (None, path(TENANT, "2022-02"), as_it_is, &["--asset-type", "USER"], "which the filter leaves out"),
        (transports(), transports(), as_it_is, &["--asset-type", "USER"], "which the filter leaves out"),
        (regions(), regions(), as_it_is, &["--region", "EU"], "which the filter leaves out"),
        (path(TENANT, "2022-02"), regions(), as_it_is, &[], "records, but 6000 were received"),
    ];
    for (index, (info, tickets, change, options, said)) in cases.into_iter().enumerate() {
        let liar = Liar { server: server.flights().await, told: None, info, tickets, change: Arc::new(change) };
        let (url, serving) = serve(liar).await;
        let folder = tempfile::tempdir().unwrap();
        let (ok, log) = download(&url, folder.path(), options).await;
        assert!(!ok && log.contains(said), "{index}, {said}: {log}");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "{said}: nothing is kept");
        serving.abort();
    }
    // Unchanged it is taken.
    let (ok, log) = download(&server.url(), tempfile::tempdir().unwrap().path(), &[]).await;
    assert!(ok, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_that_were_not_asked_for_are_refused() {
    let database = Database::with_catalog().await;
    let rows = [Row::on("2022-02-01", "150"), Row::on("2022-02-01", "7").of(ORG, TENANT_2), Row::on("2022-03-01", "9")];
    database.import(&csv(&rows)).await;
    let server = database.serve();
    let focus = |version: &str, month: &str| {
        let mut path = flight_path("focus_costs", ORG, month);
        path.path.push(version.to_owned());
        Some(path)
    };
    let of_tenant = |tenant: &str| {
        let request = GetFocusCostsRequest { tenant_id: tenant.to_owned(), ..focus_costs(ORG) };
        Some(command("GetFocusCostsRequest", &request))
    };
    let by_asset = GetFocusCostsRequest { by_asset: true, ..focus_costs(ORG) };
    let by_asset = Some(command("GetFocusCostsRequest", &by_asset));
    let another_sum = |mut messages: Vec<FlightData>| {
        let last = messages.last_mut().unwrap();
        let summary = String::from_utf8(last.app_metadata.to_vec()).unwrap();
        last.app_metadata = summary.replacen("\"amountDue\":\"1", "\"amountDue\":\"2", 1).into();
        messages
    };
    type Case<'a> = (Option<FlightDescriptor>, Option<FlightDescriptor>, Change, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 14] = [
        (None, by_asset, as_it_is, &[], "its byAsset is"),
        (focus("1.2", "2022-03"), None, as_it_is, &[], "its startMonth is"),
        (focus("1.4", "2022-02"), None, as_it_is, &[], "its focusVersion is"),
        (Some(flight_path("monthly_costs", ORG, "2022-02")), None, as_it_is, &[], "its focusVersion is"),
        (None, focus("1.2", "2022-03"), as_it_is, &[], "its startMonth is"),
        (None, focus("1.4", "2022-02"), as_it_is, &[], "its focusVersion is"),
        (None, of_tenant(TENANT), as_it_is, &["--tenant", TENANT_2], "its tenantId is"),
        (None, focus("1.2", "2022-02"), as_it_is, &["--tenant", TENANT], "its tenantId is"),
        (None, None, of_another_tenant, &["--tenant", TENANT], "a row has another SubAccountId"),
        (None, None, without_columns, &[], "columns"),
        (None, None, another_sum, &[], "rows of 2022-02 bill 1.57, but 2.57 is due"),
        (None, None, with_a_summary_that_is_none, &[], "summary of bills"),
        (None, None, without_the_last_batch, &[], "it ended before its last batch"),
        (None, None, with_more_behind_the_last, &[], "it goes on after its last batch"),
    ];
    for (index, (info, tickets, change, options, said)) in cases.into_iter().enumerate() {
        let liar = Liar { server: server.flights().await, told: None, info, tickets, change: Arc::new(change) };
        let (url, serving) = serve(liar).await;
        let mut command = crate::support::program();
        command.args(["costs", "--format", "focus", "--organization", ORG, "--month", "2022-02", "--retry-for", "0"]);
        command.args(options).args(["--server", &url]);
        let run = tokio::task::spawn_blocking(move || crate::support::run(&mut command));
        let (ok, _, log) = run.await.unwrap();
        assert!(!ok && log.contains(said), "{index}, {said}: {log}");
        serving.abort();
    }
}

/// Who reads from a pipe sees that it is not whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_given_up_is_not_taken_for_a_whole_one() {
    let database = Database::with_rows(12_000).await;
    let server = database.serve();
    let change = Arc::new(without_the_last_batch);
    let (url, _serving) =
        serve(Liar { server: server.flights().await, told: None, info: None, tickets: None, change }).await;
    let mut command = crate::support::program();
    command.args(["usage", "--tenant", TENANT, "--month", "2022-02", "--server", &url, "-o", "-"]);
    command.args(["--format", "arrow", "--retry-for", "0"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    let reader = arrow_ipc::reader::StreamReader::try_new(output.stdout.as_slice(), None).unwrap();
    let batches: Vec<_> = reader.collect();
    assert!(batches.len() > 1 && batches.last().is_some_and(Result::is_err), "{} batches", batches.len());
}

async fn serve(liar: Liar) -> (String, JoinHandle<Result<(), tonic::transport::Error>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(FlightServiceServer::new(liar));
    (url, tokio::spawn(server.serve_with_incoming(incoming)))
}

/// Whatever comes, it is an error or columns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_columns_are_refused_or_taken() {
    let database = Database::with_rows(40).await;
    let server = database.serve();
    let damage = |mut messages: Vec<FlightData>| {
        for _ in 0..fastrand::usize(1..4) {
            let at = fastrand::usize(..messages.len());
            let message = &mut messages[at];
            let part = if fastrand::bool() { &mut message.data_header } else { &mut message.data_body };
            let mut bytes = part.to_vec();
            match fastrand::u8(..4) {
                0 => bytes.truncate(fastrand::usize(..=bytes.len())),
                1 => bytes.extend(std::iter::repeat_n(0, fastrand::usize(..100))),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = fastrand::usize(..bytes.len());
                    bytes[at] = fastrand::u8(..);
                }
            }
            *part = bytes.into();
        }
        messages
    };
    let liar = Liar { server: server.flights().await, told: None, info: None, tickets: None, change: Arc::new(damage) };
    let (url, _serving) = serve(liar).await;
    let mut config = ClientConfig::new(url);
    config.retry_for = Duration::ZERO;
    let mut client = Client::connect(&config).await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..rounds(400) {
        let mut download = client.detailed_usage_columns(&february(TENANT)).await.unwrap();
        loop {
            match download.next().await {
                Ok(Some(batch)) => assert_eq!(batch.num_columns(), 14),
                Ok(None) => {
                    taken += 1;
                    break;
                }
                Err(_) => {
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert!(refused > taken / 4, "{taken} taken, {refused} refused");
}

async fn download(url: &str, folder: &Path, options: &[&str]) -> (bool, String) {
    let mut arguments = vec!["usage", "--tenant", TENANT, "--month", "2022-02", "--server", url, "-o", "x.arrows"];
    if !options.contains(&"--retry-for") {
        arguments.extend(["--retry-for", "0"]);
    }
    arguments.extend(options);
    let mut command = crate::support::program();
    command.args(arguments).current_dir(folder);
    tokio::task::spawn_blocking(move || {
        let (ok, _, log) = crate::support::run(&mut command);
        (ok, log)
    })
    .await
    .unwrap()
}
