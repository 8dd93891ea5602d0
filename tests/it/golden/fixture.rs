//! The data of these tests: a catalog, a delivery of several tenants and months, a restatement, and a second source.

use std::process::Command;

use secure_connect_reports::contract::proto::{
    CompareCostsRequest, CostSide, GetCostBreakdownRequest, GetDetailedUsageRequest, GetMonthlyCostsRequest,
    ImportUsageRequest, ImportUsageResponse, YearMonth, reports_service_client::ReportsServiceClient,
    usage_import_service_client::UsageImportServiceClient,
};
use tokio::sync::OnceCell;
use tonic::{Response, Status, transport::Channel};

use super::{folder, mask};
use crate::support::{Database, Server, program};

pub(super) const ACME: &str = "1a000000-0000-4000-8000-000000000001";
pub(super) const TOKYO_ORG: &str = "1a000000-0000-4000-8000-000000000002";
pub(super) const KUWAIT_ORG: &str = "1a000000-0000-4000-8000-000000000003";
pub(super) const HQ: &str = "2b000000-0000-4000-8000-000000000001";
pub(super) const LAB: &str = "2b000000-0000-4000-8000-000000000002";
pub(super) const TOKYO: &str = "2b000000-0000-4000-8000-000000000003";
pub(super) const KUWAIT: &str = "2b000000-0000-4000-8000-000000000004";
pub(super) const EMPTY: &str = "2b000000-0000-4000-8000-000000000005";

/// A file of what the tests stand on.
pub(super) fn given(name: &str) -> String {
    mask::raw(&std::fs::read_to_string(folder().join("given").join(name)).expect("a file"))
}

/// A database with the catalog.
pub(super) async fn catalog() -> Database {
    let database = Database::migrated();
    database.apply(&given("catalog.toml")).await;
    database
}

/// A database with all of it.
pub(super) async fn everything() -> Database {
    let database = catalog().await;
    database.import(&given("usage.csv")).await;
    database.import_from("probe", &given("second-source.csv")).await;
    database.import(&given("restatement.csv")).await;
    database
}

/// The same with a server, for tests that change nothing: a database takes longer to make than such a test to run.
pub(super) async fn shared() -> &'static (Database, Server) {
    static SHARED: OnceCell<(Database, Server)> = OnceCell::const_new();
    let start = || async {
        let database = everything().await;
        let server = database.serve();
        (database, server)
    };
    SHARED.get_or_init(start).await
}

pub(super) async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.expect("a connection")
}

pub(super) async fn reports(server: &Server) -> ReportsServiceClient<Channel> {
    ReportsServiceClient::new(channel(&server.url()).await)
}

pub(super) async fn imports(server: &Server) -> UsageImportServiceClient<Channel> {
    UsageImportServiceClient::new(channel(&server.url()).await)
}

pub(super) async fn import(server: &Server, messages: Vec<ImportUsageRequest>) -> Result<ImportUsageResponse, Status> {
    imports(server).await.import_usage(tokio_stream::iter(messages)).await.map(Response::into_inner)
}

pub(super) fn month(number: i32) -> Option<YearMonth> {
    Some(YearMonth { year: 2022, month: number })
}

pub(super) fn usage_of(tenant: &str) -> GetDetailedUsageRequest {
    GetDetailedUsageRequest { tenant_id: tenant.to_owned(), month: month(2), ..Default::default() }
}

pub(super) fn costs_of(organization: &str) -> GetMonthlyCostsRequest {
    GetMonthlyCostsRequest { organization_id: organization.to_owned(), start_month: month(2), ..Default::default() }
}

/// January with February.
pub(super) fn comparison_of(organization: &str) -> CompareCostsRequest {
    let side = |number| Some(CostSide { month: month(number), ..CostSide::default() });
    CompareCostsRequest {
        organization_id: organization.to_owned(),
        base: side(1),
        target: side(2),
        ..CompareCostsRequest::default()
    }
}

/// By the numbers of groups.
pub(super) fn breakdown_of(organization: &str, group_by: &[i32]) -> GetCostBreakdownRequest {
    GetCostBreakdownRequest {
        organization_id: organization.to_owned(),
        start_month: month(2),
        group_by: group_by.to_vec(),
        ..Default::default()
    }
}

/// The program, as wide as a terminal of 100 columns.
pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env("COLUMNS", "100");
    command
}

/// What a command was, and what it said; `places` are texts that differ each time, with what stands for them.
pub(super) fn said(command: &mut Command, places: &[(&str, &str)]) -> String {
    let output = command.output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let exit = output.status.code().expect("an exit code");
    let mut told = format!("$ {}\nexit code {exit}\n", arguments.join(" "));
    for (name, text) in [("standard output", stdout), ("standard error", stderr)] {
        if !text.is_empty() {
            told.push_str(&format!("--- {name}\n{text}"));
            if !text.ends_with('\n') {
                told.push_str("(no line end)\n");
            }
        }
    }
    for (text, name) in places {
        told = told.replace(text, name);
    }
    mask::times(&told) + "\n"
}
