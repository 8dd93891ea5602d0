//! `UsageImportService`: what the `import` command does, for back ends.

use tonic::{Request, Response, Status, Streaming};

use super::{import_usage, services::ImportService, withdraw_usage};
use crate::contract::proto::{self, usage_import_service_server::UsageImportService};

#[tonic::async_trait]
impl UsageImportService for ImportService {
    async fn import_usage(
        &self,
        request: Request<Streaming<proto::ImportUsageRequest>>,
    ) -> Result<Response<proto::ImportUsageResponse>, Status> {
        Ok(Response::new(import_usage::handle(self, request).await?))
    }

    async fn withdraw_usage(
        &self,
        request: Request<proto::WithdrawUsageRequest>,
    ) -> Result<Response<proto::WithdrawUsageResponse>, Status> {
        Ok(Response::new(withdraw_usage::handle(self, request).await?))
    }
}
