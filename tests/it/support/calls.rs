//! Every RPC, called with whatever credentials.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use secure_connect_reports::contract::proto::{
    DESCRIPTORS, GetCostBreakdownRequest, GetDetailedUsageRequest, GetMonthlyCostsRequest, ImportUsageRequest,
    ListTenantsRequest, UsageRecord, WithdrawUsageRequest, YearMonth, reports_service_client::ReportsServiceClient,
    usage_import_service_client::UsageImportServiceClient,
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
    ImportUsage,
    WithdrawUsage,
}

impl Rpc {
    /// Every RPC of the contract, in its order. One that these tests cannot call fails them.
    pub(crate) fn all() -> Vec<Self> {
        let contract = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let services = contract.file.iter().flat_map(|file| &file.service);
        let methods = services.flat_map(|service| &service.method);
        methods.map(|method| Self::named(method.name())).collect()
    }

    fn named(method: &str) -> Self {
        match method {
            "ListTenants" => Self::ListTenants,
            "GetDetailedUsage" => Self::GetDetailedUsage,
            "GetMonthlyCosts" => Self::GetMonthlyCosts,
            "GetCostBreakdown" => Self::GetCostBreakdown,
            "ImportUsage" => Self::ImportUsage,
            "WithdrawUsage" => Self::WithdrawUsage,
            other => panic!("the tests do not call {other} yet"),
        }
    }

    /// Calls it for the tenant and organization of the builder in February 2022, to the end of the answer.
    pub(crate) async fn call(self, channel: &Channel, authorization: &[&str]) -> Result<(), Status> {
        let mut reports = ReportsServiceClient::new(channel.clone());
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
