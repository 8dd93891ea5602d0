//! A client for other Rust services, and for our own command line.
//!
//! ```no_run
//! # async fn example() -> Result<(), secure_connect_reports::client::ClientError> {
//! use secure_connect_reports::client::{Client, ClientConfig, UsageQuery};
//!
//! let mut client = Client::connect(&ClientConfig::new("http://127.0.0.1:50051")).await?;
//! let tenant = client.find_tenant("contoso-hq").await?;
//! let query = UsageQuery::new(tenant, "2022-02".parse().expect("a month"));
//! let mut report = client.detailed_usage(&query).await?;
//! while let Some(records) = report.next().await? {
//!     println!("{} records", records.len());
//! }
//! // Only now is the report known to be whole: it agrees with its summary.
//! # Ok(())
//! # }
//! ```

mod channel;
mod checkpoint;
mod csv_lines;
mod error;
mod raw_codec;
mod resuming;
mod retry;
mod transient;
mod usage;
mod usage_csv;

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::{Status, Streaming, client::Grpc, service::interceptor::InterceptedService, transport::Channel};

use channel::Bearer;
pub use channel::ClientConfig;
pub use checkpoint::Checkpoint;
pub use csv_lines::CsvLines;
pub use error::ClientError;
use raw_codec::RawCodec;
pub use usage::{UsageDownload, UsageQuery};
pub use usage_csv::CsvDownload;

use crate::{
    contract::{
        CsvFormat, Reason,
        proto::{self, reports_service_client::ReportsServiceClient},
    },
    model::{MonthRange, OrganizationId, TenantId, UtcTime, composed},
};

const PAGE_SIZE: i32 = 1000;
/// Pages of costs with long names may grow past the default of 4 MiB.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// How often the pages of costs are read again from the first one, if names changed between two pages.
const MAX_RESTARTS: u32 = 5;

#[derive(Clone)]
pub struct Client {
    channel: InterceptedService<Channel, Bearer>,
    reports: ReportsServiceClient<InterceptedService<Channel, Bearer>>,
    server: String,
    /// How long to retry a call that was not answered.
    retry_for: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct CostsQuery {
    pub organization_id: OrganizationId,
    pub tenant_id: Option<TenantId>,
    pub months: MonthRange,
    /// The usage and prices as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
}

// === impl Client ===

impl Client {
    pub async fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let bearer = Bearer::new(config.token.as_ref())?;
        let channel = InterceptedService::new(config.connect().await?, bearer);
        let reports = ReportsServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { channel, reports, server: config.server.clone(), retry_for: config.retry_for })
    }

    /// Lists all matching tenants. Reads all pages.
    pub async fn tenants(
        &mut self,
        search: &str,
        organization_id: Option<OrganizationId>,
    ) -> Result<Vec<proto::Tenant>, ClientError> {
        let organization_id = organization_id.map(|id| id.to_string()).unwrap_or_default();
        let mut tenants = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = proto::ListTenantsRequest {
                search: search.to_owned(),
                organization_id: organization_id.clone(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let list = || {
                let (mut reports, request) = (self.reports.clone(), request.clone());
                async move { reports.list_tenants(request).await }
            };
            let page = retry::call(&self.server, "ListTenants", self.retry_for, list).await?;
            tenants.extend(page.tenants);
            if page.next_page_token.is_empty() {
                return Ok(tenants);
            }
            page_token = page.next_page_token;
        }
    }

    /// Finds a tenant by its id, or by a name that only one tenant has.
    ///
    /// # Errors
    ///
    /// [`ClientError::UnknownTenant`] or [`ClientError::AmbiguousTenant`] for a name; an id is not looked up.
    pub async fn find_tenant(&mut self, id_or_name: &str) -> Result<TenantId, ClientError> {
        if let Ok(id) = id_or_name.parse() {
            return Ok(id);
        }
        let mut tenants = self.tenants(id_or_name, None).await?;
        // An exact match takes precedence over other normal forms.
        if tenants.iter().any(|tenant| tenant.name == id_or_name) {
            tenants.retain(|tenant| tenant.name == id_or_name);
        } else {
            tenants.retain(|tenant| composed(&tenant.name) == composed(id_or_name));
        }
        match tenants.as_slice() {
            [] => Err(ClientError::UnknownTenant(id_or_name.to_owned())),
            [tenant] => tenant
                .tenant_id
                .parse()
                .map_err(|_| ClientError::Malformed(format!("tenant id {:?}", tenant.tenant_id))),
            several => Err(ClientError::AmbiguousTenant {
                name: id_or_name.to_owned(),
                candidates: several
                    .iter()
                    .map(|tenant| format!("{} ({})", tenant.tenant_id, tenant.organization_name))
                    .collect(),
            }),
        }
    }

    /// Starts to download a detailed usage report. If the connection is lost, the download resumes by itself.
    pub async fn detailed_usage(&mut self, query: &UsageQuery) -> Result<UsageDownload, ClientError> {
        UsageDownload::start(self.clone(), query.to_request()).await
    }

    /// Starts to download a detailed usage report as CSV, which is faster than through records.
    pub async fn detailed_usage_csv(
        &mut self,
        query: &UsageQuery,
        format: CsvFormat,
    ) -> Result<CsvDownload, ClientError> {
        CsvDownload::start(self.clone(), query.to_request(), format).await
    }

    /// Resumes a download to CSV of another process, after the lines that its checkpoint counts.
    ///
    /// # Errors
    ///
    /// [`ClientError::CheckpointMismatch`] if the checkpoint is of another request or format,
    /// [`ClientError::CannotResume`] if the report has another revision now.
    pub async fn resume_detailed_usage_csv(
        &mut self,
        query: &UsageQuery,
        format: CsvFormat,
        from: &Checkpoint,
    ) -> Result<CsvDownload, ClientError> {
        CsvDownload::resume(self.clone(), query.to_request(), format, from).await
    }

    /// The encoded messages of a report.
    async fn usage_stream(&self, request: proto::GetDetailedUsageRequest) -> Result<Streaming<Bytes>, Status> {
        const PATH: PathAndQuery =
            PathAndQuery::from_static("/secureconnect.reports.v1.ReportsService/GetDetailedUsage");
        let mut raw = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        raw.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(raw.server_streaming(tonic::Request::new(request), PATH, RawCodec).await?.into_inner())
    }

    /// Gets what an organization owes. Reads all pages.
    pub async fn monthly_costs(&mut self, query: &CostsQuery) -> Result<proto::GetMonthlyCostsResponse, ClientError> {
        let mut request = proto::GetMonthlyCostsRequest {
            organization_id: query.organization_id.to_string(),
            tenant_id: query.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
            start_month: Some(query.months.start().into()),
            end_month: Some(query.months.end().into()),
            as_of: query.as_of.map(Into::into),
            page_size: 0,
            page_token: String::new(),
        };
        let mut costs = proto::GetMonthlyCostsResponse::default();
        let mut restarts = 0;
        loop {
            let get = || {
                let (mut reports, request) = (self.reports.clone(), request.clone());
                async move { reports.get_monthly_costs(request).await }
            };
            let page = match retry::call(&self.server, "GetMonthlyCosts", self.retry_for, get).await {
                // The lines have changed since the previous pages.
                Err(ClientError::Refused { reason, .. })
                    if reason == Reason::PageTokenExpired.as_str() && restarts < MAX_RESTARTS =>
                {
                    restarts += 1;
                    request.page_token.clear();
                    costs = proto::GetMonthlyCostsResponse::default();
                    continue;
                }
                page => page?,
            };
            costs.lines.extend(page.lines);
            for report in page.tenant_months {
                // The lines of a report may be on two pages.
                if costs.tenant_months.last() != Some(&report) {
                    costs.tenant_months.push(report);
                }
            }
            costs.unpriced_meters.extend(page.unpriced_meters);
            costs.totals = page.totals;
            if page.next_page_token.is_empty() {
                return Ok(costs);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Whether the server is SERVING. Needs no token. Does not retry.
pub async fn is_serving(config: &ClientConfig) -> Result<bool, ClientError> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let config = ClientConfig { token: None, retry_for: Duration::ZERO, ..config.clone() };
    let mut client = HealthClient::new(config.connect().await?);
    let answer = client.check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| ClientError::from_status(&config.server, "Health/Check", &status))?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}
