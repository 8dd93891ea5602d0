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

mod error;
mod from_proto;
mod usage;

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub use error::ClientError;
pub use usage::{UsageDownload, UsageQuery};

use crate::{
    model::{MonthRange, OrganizationId, TenantId, UtcTime},
    proto::{self, reports_service_client::ReportsServiceClient},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const PAGE_SIZE: i32 = 1000;
/// Pages of costs with long names may grow past the default of 4 MiB.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// How to reach a server.
#[derive(Clone)]
pub struct ClientConfig {
    /// For instance `http://127.0.0.1:50051`.
    pub server: String,
    /// A bearer token; it is never printed.
    pub token: Option<String>,
}

/// A connection to a server.
#[derive(Clone)]
pub struct Client {
    reports: ReportsServiceClient<InterceptedService<Channel, Bearer>>,
    server: String,
}

/// Which costs.
#[derive(Clone, Copy, Debug)]
pub struct CostsQuery {
    /// Whose costs.
    pub organization_id: OrganizationId,
    /// Of this tenant only.
    pub tenant_id: Option<TenantId>,
    /// Of which months.
    pub months: MonthRange,
    /// By the usage and prices as they stood then.
    pub as_of: Option<UtcTime>,
}

/// Puts the token into every call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

// === impl ClientConfig ===

impl ClientConfig {
    /// Without a token.
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into(), token: None }
    }
}

// === impl Client ===

impl Client {
    /// Connects to a server.
    pub async fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let channel = channel(&config.server).await?;
        let token = config.token.as_ref().map(|token| {
            let value = MetadataValue::try_from(format!("Bearer {token}"));
            value.map_err(|_| ClientError::InvalidToken)
        });
        let mut token = token.transpose()?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        let reports =
            ReportsServiceClient::with_interceptor(channel, Bearer(token)).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { reports, server: config.server.clone() })
    }

    /// Lists all tenants that match, page by page.
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
            let page = self.reports.list_tenants(request).await;
            let page = page.map_err(|status| self.failed(&status))?.into_inner();
            tenants.extend(page.tenants);
            if page.next_page_token.is_empty() {
                return Ok(tenants);
            }
            page_token = page.next_page_token;
        }
    }

    /// Finds a tenant by its id, or by a name that only one tenant has.
    pub async fn find_tenant(&mut self, id_or_name: &str) -> Result<TenantId, ClientError> {
        if let Ok(id) = id_or_name.parse() {
            return Ok(id);
        }
        let mut tenants = self.tenants(id_or_name, None).await?;
        tenants.retain(|tenant| tenant.name == id_or_name);
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

    /// Starts to download a detailed usage report.
    pub async fn detailed_usage(&mut self, query: &UsageQuery) -> Result<UsageDownload, ClientError> {
        let stream = self.reports.get_detailed_usage(query.to_request()).await;
        let stream = stream.map_err(|status| self.failed(&status))?.into_inner();
        UsageDownload::start(stream, self.server.clone()).await
    }

    /// Asks what an organization owes; all pages are put together.
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
        loop {
            let page = self.reports.get_monthly_costs(request.clone()).await;
            let page = page.map_err(|status| self.failed(&status))?.into_inner();
            costs.lines.extend(page.lines);
            for report in page.tenant_months {
                // The lines of one report may stand on two pages.
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

    fn failed(&self, status: &Status) -> ClientError {
        ClientError::from_status(&self.server, status)
    }
}

/// Whether the server says that it is SERVING.
pub async fn is_serving(server: &str) -> Result<bool, ClientError> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let mut client = HealthClient::new(channel(server).await?);
    let answer = client.check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| ClientError::from_status(server, &status))?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}

async fn channel(server: &str) -> Result<Channel, ClientError> {
    let invalid = |reason: String| ClientError::InvalidServer { server: server.to_owned(), reason };
    let endpoint = Endpoint::from_shared(server.to_owned()).map_err(|error| invalid(error.to_string()))?;
    match endpoint.uri().scheme_str() {
        Some("http") => {}
        _ => return Err(invalid("the URL must start with http://".to_owned())),
    }
    if endpoint.uri().path_and_query().is_some_and(|path| path != &PathAndQuery::from_static("/")) {
        return Err(invalid("the URL must end with the host and port".to_owned()));
    }
    let endpoint =
        endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(KEEPALIVE_INTERVAL).tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        ClientError::Unreachable { server: server.to_owned(), cause: cause.to_string() }
    })
}
