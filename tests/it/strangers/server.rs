//! A server that answers as a test says, and the program that asks it.

use std::{
    pin::Pin,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arrow_flight::flight_service_server::FlightServiceServer;
use secure_connect_reports::contract::proto::{
    self, CompareCostsResponse, GetCostBreakdownRequest, GetCostBreakdownResponse, GetDetailedUsageRequest,
    GetDetailedUsageResponse, GetMonthlyCostsRequest, GetMonthlyCostsResponse, ListOrganizationsRequest,
    ListOrganizationsResponse, ListPricesRequest, ListPricesResponse, ListTenantsRequest, ListTenantsResponse,
    reports_service_server::{ReportsService, ReportsServiceServer},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::columns::Liar;
use crate::support::program;

/// Memory that a client may take for its data, whatever it is sent.
const CLIENT_KIB: u32 = 128 << 10;

pub(super) type MessagesOf<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub(super) type Messages = MessagesOf<GetDetailedUsageResponse>;
/// The answer to the n-th call; `None`: there is none, but pings are answered.
pub(super) type Answer<T> = Box<dyn Fn(u32) -> Option<Result<T, Status>> + Send + Sync>;

/// What a server says.
pub(super) struct Script {
    pub(super) usage: Answer<Messages>,
    pub(super) tenants: Answer<ListTenantsResponse>,
    pub(super) costs: Answer<GetMonthlyCostsResponse>,
    pub(super) breakdown: Answer<MessagesOf<GetCostBreakdownResponse>>,
    pub(super) comparisons: Answer<MessagesOf<CompareCostsResponse>>,
    pub(super) organizations: Answer<ListOrganizationsResponse>,
    pub(super) prices: Answer<ListPricesResponse>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            usage: Box::new(ended),
            tenants: Box::new(ended),
            costs: Box::new(ended),
            breakdown: Box::new(ended),
            comparisons: Box::new(ended),
            organizations: Box::new(ended),
            prices: Box::new(ended),
        }
    }
}

/// An error that is final.
fn ended<T>(_: u32) -> Option<Result<T, Status>> {
    Some(Err(Status::invalid_argument("the script has ended")))
}

struct Hostile {
    script: Script,
    calls: AtomicU32,
}

impl Hostile {
    async fn answer<T>(&self, answer: &Answer<T>) -> Result<Response<T>, Status> {
        match answer(self.calls.fetch_add(1, Ordering::Relaxed)) {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl ReportsService for Hostile {
    type GetDetailedUsageStream = Messages;
    type GetCostBreakdownStream = MessagesOf<GetCostBreakdownResponse>;

    async fn list_tenants(&self, _: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        self.answer(&self.script.tenants).await
    }

    async fn get_detailed_usage(
        &self,
        _: Request<GetDetailedUsageRequest>,
    ) -> Result<Response<Self::GetDetailedUsageStream>, Status> {
        self.answer(&self.script.usage).await
    }

    async fn get_monthly_costs(
        &self,
        _: Request<GetMonthlyCostsRequest>,
    ) -> Result<Response<GetMonthlyCostsResponse>, Status> {
        self.answer(&self.script.costs).await
    }

    async fn get_cost_breakdown(
        &self,
        _: Request<GetCostBreakdownRequest>,
    ) -> Result<Response<Self::GetCostBreakdownStream>, Status> {
        self.answer(&self.script.breakdown).await
    }

    type CompareCostsStream = MessagesOf<CompareCostsResponse>;

    async fn compare_costs(
        &self,
        _: Request<proto::CompareCostsRequest>,
    ) -> Result<Response<Self::CompareCostsStream>, Status> {
        self.answer(&self.script.comparisons).await
    }

    async fn get_tenant(
        &self,
        _: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::GetTenantResponse>, Status> {
        std::future::pending().await
    }

    async fn list_loads(
        &self,
        _: Request<proto::ListLoadsRequest>,
    ) -> Result<Response<proto::ListLoadsResponse>, Status> {
        std::future::pending().await
    }

    async fn list_organizations(
        &self,
        _: Request<ListOrganizationsRequest>,
    ) -> Result<Response<ListOrganizationsResponse>, Status> {
        self.answer(&self.script.organizations).await
    }

    async fn list_prices(&self, _: Request<ListPricesRequest>) -> Result<Response<ListPricesResponse>, Status> {
        self.answer(&self.script.prices).await
    }
}

/// Starts a server; returns its URL.
pub(super) async fn serve(script: Script) -> String {
    serve_both(script, None).await
}

/// Starts a server that has columns, too.
pub(super) async fn serve_both(script: Script, columns: Option<Liar>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = ReportsServiceServer::new(Hostile { script, calls: AtomicU32::new(0) });
    let server = tonic::transport::Server::builder().add_optional_service(columns.map(FlightServiceServer::new));
    tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    url
}

/// Streams of messages: one for each call, and then an error that is final.
pub(super) fn streams(streams: Vec<Vec<GetDetailedUsageResponse>>) -> Script {
    let streams = Arc::new(streams);
    let usage = move |call: u32| {
        let messages = streams.get(call as usize)?.clone().into_iter().map(Ok);
        Some(Ok(Box::pin(tokio_stream::iter(messages)) as Messages))
    };
    let usage = move |call| usage(call).or_else(|| ended(call));
    Script { usage: Box::new(usage), ..Script::default() }
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None`: by a signal.
    pub(super) code: Option<i32>,
    pub(super) out: Vec<u8>,
    pub(super) log: String,
}

impl Ended {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// It failed, and said so in its last line.
    pub(super) fn assert_error(&self, expected: &str, what: &str) {
        assert_eq!(self.code, Some(1), "{what}: {self:?}");
        assert!(self.log.starts_with("error: ") || self.log.contains("\nerror: "), "{what}: {self:?}");
        assert!(self.log.contains(expected), "{what}: {expected:?} is not in {self:?}");
        assert!(!self.log.contains("panicked"), "{what}: {self:?}");
    }
}

/// The program, with a limit of its memory.
pub(super) fn limited(arguments: &[&str], server: &str) -> Command {
    let program = program();
    let mut command = Command::new("sh");
    let script = format!("ulimit -d {CLIENT_KIB} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(program.get_program()).args(arguments).args(["--server", server]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

pub(super) async fn run(mut command: Command) -> Ended {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("the program");
    Ended { code: output.status.code(), out: output.stdout, log: String::from_utf8(output.stderr).expect("text") }
}
