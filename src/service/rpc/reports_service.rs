//! `ReportsService`.

use std::{pin::Pin, sync::Arc};

use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{
    detailed_usage, list_tenants, monthly_costs,
    usage::{AssetCache, PREFIX_BYTES, UsageStream},
};
use crate::{
    contract::proto::{self, reports_service_server::ReportsService},
    store::Store,
    telemetry::metrics::Metrics,
};

/// Serves reports from a store.
#[derive(Clone)]
pub(in crate::service) struct Reports {
    pub(super) store: Store,
    pub(super) assets: Arc<AssetCache>,
    pub(super) metrics: Arc<Metrics>,
}

// === impl Reports ===

impl Reports {
    pub(in crate::service) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, assets: Arc::default(), metrics }
    }

    /// `GetDetailedUsage`, its messages encoded.
    pub(super) async fn detailed_usage(
        &self,
        request: Request<proto::GetDetailedUsageRequest>,
    ) -> Result<UsageStream, Status> {
        detailed_usage::handle(self, request).await
    }
}

#[tonic::async_trait]
impl ReportsService for Reports {
    type GetDetailedUsageStream = Pin<Box<dyn Stream<Item = Result<proto::GetDetailedUsageResponse, Status>> + Send>>;

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        Ok(Response::new(list_tenants::handle(&self.store, request).await?))
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
        Ok(Response::new(monthly_costs::handle(&self.store, request).await?))
    }
}
