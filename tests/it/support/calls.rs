//! Every RPC, called with whatever credentials.

use arrow_flight::{Criteria, FlightDescriptor, Ticket as FlightTicket, flight_service_client::FlightServiceClient};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use secure_connect_reports::contract::proto::{
    CloseMonthRequest, CompareCostsRequest, CostSide, DESCRIPTORS, GetCostBreakdownRequest, GetDetailedUsageRequest,
    GetFocusCostsRequest, GetMonthlyCostsRequest, GetStatementRequest, GetTenantRequest, ImportUsageRequest,
    ListLoadsRequest, ListOrganizationsRequest, ListPricesRequest, ListStatementKeysRequest, ListStatementsRequest,
    ListTenantsRequest, UsageRecord, WithdrawUsageRequest, YearMonth, billing_service_client::BillingServiceClient,
    reports_service_client::ReportsServiceClient, usage_import_service_client::UsageImportServiceClient,
};
use secure_connect_reports::{
    model::DecimalForm,
    reports::{CostForms, Ticket},
};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};
use tonic_types::StatusExt as _;

use super::{
    Server,
    builder::{ORG, TENANT},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    ListTenants,
    GetDetailedUsage,
    GetMonthlyCosts,
    GetCostBreakdown,
    CompareCosts,
    ListOrganizations,
    ListPrices,
    GetTenant,
    ListLoads,
    ImportUsage,
    WithdrawUsage,
    CloseMonth,
    ListStatements,
    GetStatement,
    ListStatementKeys,
    ListFlights,
    GetFlightInfo,
    GetSchema,
    DoGet,
}

impl Rpc {
    /// Every RPC of the contract, in its order, and those of Arrow Flight. One that these tests cannot call fails them.
    pub(crate) fn all() -> Vec<Self> {
        let contract = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let services = contract.file.iter().flat_map(|file| &file.service);
        let methods = services.flat_map(|service| &service.method);
        let flight = [Self::ListFlights, Self::GetFlightInfo, Self::GetSchema, Self::DoGet];
        methods.map(|method| Self::named(method.name())).chain(flight).collect()
    }

    fn named(method: &str) -> Self {
        match method {
            "ListTenants" => Self::ListTenants,
            "GetDetailedUsage" => Self::GetDetailedUsage,
            "GetMonthlyCosts" => Self::GetMonthlyCosts,
            "GetCostBreakdown" => Self::GetCostBreakdown,
            "CompareCosts" => Self::CompareCosts,
            "ListOrganizations" => Self::ListOrganizations,
            "ListPrices" => Self::ListPrices,
            "GetTenant" => Self::GetTenant,
            "ListLoads" => Self::ListLoads,
            "CloseMonth" => Self::CloseMonth,
            "ListStatements" => Self::ListStatements,
            "GetStatement" => Self::GetStatement,
            "ListStatementKeys" => Self::ListStatementKeys,
            "ImportUsage" => Self::ImportUsage,
            "WithdrawUsage" => Self::WithdrawUsage,
            other => panic!("the tests do not call {other} yet"),
        }
    }

    /// The role that its callers need.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::ImportUsage | Self::WithdrawUsage => "UsageImport",
            Self::CloseMonth => "BillingClose",
            _ => "Reports",
        }
    }

    /// What a caller of another organization gets: nothing is there. `None`: an answer that has nothing of others in it.
    pub(crate) fn hidden(self) -> Option<&'static str> {
        match self {
            Self::GetDetailedUsage | Self::GetTenant | Self::ListLoads | Self::WithdrawUsage | Self::GetFlightInfo => {
                Some("TENANT_NOT_FOUND")
            }
            Self::GetMonthlyCosts
            | Self::GetCostBreakdown
            | Self::CompareCosts
            | Self::CloseMonth
            | Self::ListStatements
            | Self::GetStatement
            | Self::GetSchema
            | Self::DoGet => Some("ORGANIZATION_NOT_FOUND"),
            Self::ListTenants
            | Self::ListFlights
            | Self::ListOrganizations
            | Self::ListPrices
            | Self::ListStatementKeys
            | Self::ImportUsage => None,
        }
    }

    /// Calls it for the tenant and organization of the builder in February 2022, to the end of the answer.
    pub(crate) async fn call(self, channel: &Channel, authorization: &[&str]) -> Result<(), Status> {
        let mut reports = ReportsServiceClient::new(channel.clone());
        let mut billing = BillingServiceClient::new(channel.clone());
        let mut columns = FlightServiceClient::new(channel.clone());
        let (organization_id, month) = (ORG.to_owned(), Some(YearMonth { year: 2022, month: 2 }));
        match self {
            Self::ListTenants => {
                reports.list_tenants(request(ListTenantsRequest::default(), authorization)).await.map(drop)
            }
            Self::GetDetailedUsage => {
                let request = request(detailed_usage(TENANT), authorization);
                let mut stream = reports.get_detailed_usage(request).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            }
            Self::GetMonthlyCosts => {
                reports.get_monthly_costs(request(monthly_costs(ORG), authorization)).await.map(drop)
            }
            Self::GetCostBreakdown => {
                let request = request(cost_breakdown(ORG, &[1]), authorization);
                let mut stream = reports.get_cost_breakdown(request).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            }
            Self::CompareCosts => {
                let mut stream = reports.compare_costs(request(compare_costs(ORG), authorization)).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            }
            Self::ListOrganizations => {
                reports.list_organizations(request(ListOrganizationsRequest::default(), authorization)).await.map(drop)
            }
            Self::ListPrices => reports.list_prices(request(list_prices(), authorization)).await.map(drop),
            Self::GetTenant => {
                let message = GetTenantRequest { tenant_id: TENANT.to_owned(), as_of: None };
                reports.get_tenant(request(message, authorization)).await.map(drop)
            }
            Self::ListLoads => {
                let message = ListLoadsRequest { tenant_id: TENANT.to_owned(), month, ..Default::default() };
                reports.list_loads(request(message, authorization)).await.map(drop)
            }
            Self::CloseMonth => {
                let message = CloseMonthRequest {
                    organization_id,
                    month,
                    allow_unpriced: true,
                    allow_missing_days: true,
                    dry_run: true,
                };
                billing.close_month(request(message, authorization)).await.map(drop)
            }
            Self::ListStatements => {
                let message = ListStatementsRequest { organization_id, ..Default::default() };
                billing.list_statements(request(message, authorization)).await.map(drop)
            }
            Self::GetStatement => {
                let message = GetStatementRequest { organization_id, billing_month: month };
                match billing.get_statement(request(message, authorization)).await {
                    // It came as far as that.
                    Err(status) if reason(&status).1 == "STATEMENT_NOT_FOUND" => Ok(()),
                    answer => answer.map(drop),
                }
            }
            Self::ListStatementKeys => {
                billing.list_statement_keys(request(ListStatementKeysRequest {}, authorization)).await.map(drop)
            }
            Self::ListFlights => {
                let mut stream = columns.list_flights(request(Criteria::default(), authorization)).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            }
            Self::GetFlightInfo => {
                let message = flight_path("detailed_usage", TENANT, "2022-02");
                columns.get_flight_info(request(message, authorization)).await.map(drop)
            }
            Self::GetSchema => {
                let message = flight_path("monthly_costs", ORG, "2022-02");
                columns.get_schema(request(message, authorization)).await.map(drop)
            }
            Self::DoGet => {
                let ticket = costs_ticket(monthly_costs(ORG));
                let mut stream = columns.do_get(request(ticket, authorization)).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok(())
            }
            Self::ImportUsage => {
                let messages = tokio_stream::iter([ImportUsageRequest::default()]);
                let mut imports = UsageImportServiceClient::new(channel.clone());
                imports.import_usage(request(messages, authorization)).await.map(drop)
            }
            Self::WithdrawUsage => {
                let mut imports = UsageImportServiceClient::new(channel.clone());
                match imports.withdraw_usage(request(withdraw_usage(TENANT), authorization)).await {
                    // It came as far as that.
                    Err(status) if reason(&status).1 == "USAGE_NOT_FOUND" => Ok(()),
                    answer => answer.map(drop),
                }
            }
        }
    }
}

pub(crate) fn flight_path(report: &str, id: &str, month: &str) -> FlightDescriptor {
    FlightDescriptor::new_path([report, id, month].map(str::to_owned).to_vec())
}

/// A ticket that nobody was given: as all of them, it has nothing secret in it.
pub(crate) fn costs_ticket(request: GetMonthlyCostsRequest) -> FlightTicket {
    let digits = DecimalForm { scale: 10, is_wide: false };
    let as_of = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let request = GetMonthlyCostsRequest { as_of: request.as_of.or(as_of), ..request };
    let forms = CostForms { quantities: digits, amounts: digits };
    FlightTicket::new(Ticket::Costs(forms, request.encode_to_vec()).seal())
}

/// The records of a report, as messages.
pub(crate) async fn records_of(server: &Server, tenant: &str, month: YearMonth) -> Vec<UsageRecord> {
    let request = GetDetailedUsageRequest { month: Some(month), ..detailed_usage(tenant) };
    let mut stream = server.stub().await.get_detailed_usage(request).await.expect("a report").into_inner();
    let mut records = Vec::new();
    while let Some(message) = stream.message().await.expect("a message") {
        records.extend(message.records);
    }
    records
}

pub(crate) fn detailed_usage(tenant: &str) -> GetDetailedUsageRequest {
    GetDetailedUsageRequest {
        tenant_id: tenant.to_owned(),
        month: Some(YearMonth { year: 2022, month: 2 }),
        ..Default::default()
    }
}

/// A day without usage, so that calls change nothing.
pub(crate) fn withdraw_usage(tenant: &str) -> WithdrawUsageRequest {
    WithdrawUsageRequest { tenant_id: tenant.to_owned(), usage_day: "1999-01-01".to_owned(), ..Default::default() }
}

pub(crate) fn monthly_costs(organization: &str) -> GetMonthlyCostsRequest {
    GetMonthlyCostsRequest {
        organization_id: organization.to_owned(),
        start_month: Some(YearMonth { year: 2022, month: 2 }),
        ..Default::default()
    }
}

pub(crate) fn focus_costs(organization: &str) -> GetFocusCostsRequest {
    let start_month = Some(YearMonth { year: 2022, month: 2 });
    GetFocusCostsRequest { organization_id: organization.to_owned(), start_month, ..Default::default() }
}

/// January with February 2022.
pub(crate) fn compare_costs(organization: &str) -> CompareCostsRequest {
    let side = |month| Some(CostSide { month: Some(YearMonth { year: 2022, month }), ..CostSide::default() });
    CompareCostsRequest {
        organization_id: organization.to_owned(),
        base: side(1),
        target: side(2),
        ..CompareCostsRequest::default()
    }
}

pub(crate) fn list_prices() -> ListPricesRequest {
    ListPricesRequest { month: Some(YearMonth { year: 2022, month: 2 }), ..Default::default() }
}

/// By the numbers of groups.
pub(crate) fn cost_breakdown(organization: &str, group_by: &[i32]) -> GetCostBreakdownRequest {
    GetCostBreakdownRequest {
        organization_id: organization.to_owned(),
        start_month: Some(YearMonth { year: 2022, month: 2 }),
        group_by: group_by.to_vec(),
        ..Default::default()
    }
}

/// A request with values of `authorization`.
pub(crate) fn request<T>(message: T, authorization: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for value in authorization {
        request.metadata_mut().append("authorization", MetadataValue::try_from(*value).expect("a header"));
    }
    request
}

/// The code and the reason of an error.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// Everything of an error that a caller can see, but for what tells one call from another.
pub(crate) fn seen(status: &Status) -> (Code, String, Vec<u8>, Vec<String>) {
    let mut headers: Vec<String> = status
        .metadata()
        .clone()
        .into_headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    (status.code(), status.message().to_owned(), status.details().to_vec(), headers)
}
