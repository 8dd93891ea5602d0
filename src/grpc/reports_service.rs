//! `ReportsService`.

use tonic::{Request, Response, Status};

use super::{principal, usage_stream::UsageStream};
use crate::{
    proto::{self, reports_service_server::ReportsService},
    report::{CostsRequest, TenantsRequest, UsageReport, UsageRequest, get_costs, list_tenants},
    store::Store,
};

/// Serves reports from a store.
#[derive(Clone)]
pub struct Reports {
    store: Store,
}

// === impl Reports ===

impl Reports {
    /// Serves this store's reports.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl ReportsService for Reports {
    type GetDetailedUsageStream = UsageStream;

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        let principal = principal(&request)?;
        let request = TenantsRequest::try_from(request.into_inner())?;
        let page = list_tenants(&self.store, principal.scope(), &request).await?;
        Ok(Response::new(page.into()))
    }

    async fn get_detailed_usage(
        &self,
        request: Request<proto::GetDetailedUsageRequest>,
    ) -> Result<Response<UsageStream>, Status> {
        let principal = principal(&request)?;
        let request = UsageRequest::try_from(request.into_inner())?;
        let report = UsageReport::open(self.store.clone(), principal.scope(), &request).await?;
        // The first records are read before the answer begins: what fails until then is a status without a stream,
        // which clients try again by themselves.
        Ok(Response::new(UsageStream::start(report).await?))
    }

    async fn get_monthly_costs(
        &self,
        request: Request<proto::GetMonthlyCostsRequest>,
    ) -> Result<Response<proto::GetMonthlyCostsResponse>, Status> {
        let principal = principal(&request)?;
        let request = CostsRequest::try_from(request.into_inner())?;
        let costs = get_costs(&self.store, principal.scope(), &request).await?;
        Ok(Response::new(costs.into()))
    }
}
