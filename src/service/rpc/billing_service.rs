//! `BillingService`.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{close_month, get_statement, list_statement_keys, list_statements, services::Billing};
use crate::contract::proto::{self, billing_service_server::BillingService};

#[tonic::async_trait]
impl BillingService for Billing {
    type GetStatementStream = Pin<Box<dyn Stream<Item = Result<proto::GetStatementResponse, Status>> + Send>>;

    async fn close_month(
        &self,
        request: Request<proto::CloseMonthRequest>,
    ) -> Result<Response<proto::CloseMonthResponse>, Status> {
        Ok(Response::new(close_month::handle(self, request).await?))
    }

    async fn list_statements(
        &self,
        request: Request<proto::ListStatementsRequest>,
    ) -> Result<Response<proto::ListStatementsResponse>, Status> {
        Ok(Response::new(list_statements::handle(&self.store, request).await?))
    }

    async fn get_statement(
        &self,
        request: Request<proto::GetStatementRequest>,
    ) -> Result<Response<Self::GetStatementStream>, Status> {
        Ok(Response::new(get_statement::handle(&self.store, request).await?))
    }

    async fn list_statement_keys(
        &self,
        request: Request<proto::ListStatementKeysRequest>,
    ) -> Result<Response<proto::ListStatementKeysResponse>, Status> {
        Ok(Response::new(list_statement_keys::handle(&self.store, request).await?))
    }
}
