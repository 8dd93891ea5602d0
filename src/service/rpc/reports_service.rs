//! `ReportsService`.

use std::{pin::Pin, sync::Arc};

use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::usage::{AssetCache, PREFIX_BYTES, UsageStream};
use crate::{
    auth::Role,
    contract::proto::{self, reports_service_server::ReportsService},
    reports::{CostsRequest, TenantsRequest, UsageReport, UsageRequest, get_costs, list_tenants},
    service::layers::Caller,
    store::Store,
    telemetry::metrics::Metrics,
};

/// Serves reports from a store.
#[derive(Clone)]
pub(in crate::service) struct Reports {
    store: Store,
    assets: Arc<AssetCache>,
    metrics: Arc<Metrics>,
}

// === impl Reports ===

impl Reports {
    /// Serves this store's reports.
    pub(in crate::service) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, assets: Arc::default(), metrics }
    }

    /// `GetDetailedUsage`, its messages encoded.
    pub(in crate::service) async fn detailed_usage(
        &self,
        request: Request<proto::GetDetailedUsageRequest>,
    ) -> Result<UsageStream, Status> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope_as(Role::Reports)?;
        let request = UsageRequest::try_from(request.into_inner())?;
        caller.notes.tenant(request.tenant_id);
        caller.notes.months(request.month, request.month);
        // A stream goes on to its end when the token expires meanwhile: what it reads was fixed when it began.
        let report = caller.told(UsageReport::open(self.store.clone(), scope, &request).await)?;
        caller.notes.organization(Some(report.header().tenant.organization_id()));
        if !request.resume_token.is_empty() {
            self.metrics.download_resumed();
        }
        // The first records are read before the answer begins: what fails until then is a status without a stream,
        // which clients try again by themselves.
        Ok(UsageStream::start(report, caller.notes, Arc::clone(&self.assets)).await?)
    }
}

#[tonic::async_trait]
impl ReportsService for Reports {
    type GetDetailedUsageStream = Pin<Box<dyn Stream<Item = Result<proto::GetDetailedUsageResponse, Status>> + Send>>;

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope_as(Role::Reports)?;
        let request = TenantsRequest::try_from(request.into_inner())?;
        caller.notes.organization(request.organization_id);
        let page = caller.told(list_tenants(&self.store, scope, &request).await)?;
        caller.notes.add_rows(page.tenants.len());
        Ok(Response::new(page.into()))
    }

    /// The same messages for the generated server, which encodes them itself. The bytes are the same.
    async fn get_detailed_usage(
        &self,
        request: Request<proto::GetDetailedUsageRequest>,
    ) -> Result<Response<Self::GetDetailedUsageStream>, Status> {
        let decoded = self.detailed_usage(request).await?.map(|message| {
            let message = message?.split_off(PREFIX_BYTES);
            proto::GetDetailedUsageResponse::decode(message).map_err(|error| Status::internal(error.to_string()))
        });
        Ok(Response::new(Box::pin(decoded)))
    }

    async fn get_monthly_costs(
        &self,
        request: Request<proto::GetMonthlyCostsRequest>,
    ) -> Result<Response<proto::GetMonthlyCostsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope_as(Role::Reports)?;
        let request = CostsRequest::try_from(request.into_inner())?;
        caller.notes.organization(Some(request.organization_id));
        request.tenant_id.into_iter().for_each(|tenant| caller.notes.tenant(tenant));
        caller.notes.months(request.months.start(), request.months.end());
        let costs = caller.told(get_costs(&self.store, scope, &request).await)?;
        caller.notes.add_rows(costs.lines.len());
        Ok(Response::new(costs.into()))
    }
}
