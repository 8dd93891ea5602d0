//! `ReportsService`.

use std::pin::Pin;

use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{
    breakdown_stream::BreakdownStream, compare_costs, compare_stream::ComparisonStream, cost_breakdown, detailed_usage,
    get_tenant, list_loads, list_organizations, list_prices, list_tenants, monthly_costs, services::Reports,
    usage::PREFIX_BYTES,
};
use crate::contract::proto::{self, reports_service_server::ReportsService};

#[tonic::async_trait]
impl ReportsService for Reports {
    type GetDetailedUsageStream = Pin<Box<dyn Stream<Item = Result<proto::GetDetailedUsageResponse, Status>> + Send>>;

    type GetCostBreakdownStream = BreakdownStream;

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        Ok(Response::new(list_tenants::handle(&self.store, request).await?))
    }

    async fn get_tenant(
        &self,
        request: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::GetTenantResponse>, Status> {
        Ok(Response::new(get_tenant::handle(&self.store, request).await?))
    }

    async fn list_loads(
        &self,
        request: Request<proto::ListLoadsRequest>,
    ) -> Result<Response<proto::ListLoadsResponse>, Status> {
        Ok(Response::new(list_loads::handle(&self.store, request).await?))
    }

    /// The same messages for the generated server, which encodes them itself. The bytes are the same.
    async fn get_detailed_usage(
        &self,
        request: Request<proto::GetDetailedUsageRequest>,
    ) -> Result<Response<Self::GetDetailedUsageStream>, Status> {
        let decoded = detailed_usage::handle(self, request).await?.map(|message| {
            let message = message?.split_off(PREFIX_BYTES);
            proto::GetDetailedUsageResponse::decode(message).map_err(|error| Status::internal(error.to_string()))
        });
        Ok(Response::new(Box::pin(decoded)))
    }

    async fn get_monthly_costs(
        &self,
        request: Request<proto::GetMonthlyCostsRequest>,
    ) -> Result<Response<proto::GetMonthlyCostsResponse>, Status> {
        Ok(Response::new(monthly_costs::handle(self, request).await?))
    }

    async fn get_cost_breakdown(
        &self,
        request: Request<proto::GetCostBreakdownRequest>,
    ) -> Result<Response<BreakdownStream>, Status> {
        Ok(Response::new(cost_breakdown::handle(self, request).await?))
    }

    type CompareCostsStream = ComparisonStream;

    async fn compare_costs(
        &self,
        request: Request<proto::CompareCostsRequest>,
    ) -> Result<Response<Self::CompareCostsStream>, Status> {
        Ok(Response::new(compare_costs::handle(self, request).await?))
    }

    async fn list_organizations(
        &self,
        request: Request<proto::ListOrganizationsRequest>,
    ) -> Result<Response<proto::ListOrganizationsResponse>, Status> {
        Ok(Response::new(list_organizations::handle(&self.store, request).await?))
    }

    async fn list_prices(
        &self,
        request: Request<proto::ListPricesRequest>,
    ) -> Result<Response<proto::ListPricesResponse>, Status> {
        Ok(Response::new(list_prices::handle(&self.store, request).await?))
    }
}
