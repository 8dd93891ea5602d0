//! Arrow Flight: the same reports as columns, for programs that work with those. What reads and what is read is the same as
//! everywhere; only the form is another one.

mod costs;
mod data;
mod focus;
mod info;
mod list;
mod metadata;
mod query;
mod sender;
mod stream;
mod usage_batches;

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket, flight_service_server::FlightService,
};
use tokio_stream::Empty as NoAnswers;
use tonic::{Request, Response, Status, Streaming};

use super::services::Reports;
use crate::service::{layers::Caller, status};
use list::Flights;
use sender::FlightStream;

/// Serves columns of reports.
#[derive(Clone)]
pub(in crate::service) struct Columns(pub(in crate::service) Reports);

#[tonic::async_trait]
impl FlightService for Columns {
    type ListFlightsStream = Flights;

    type DoGetStream = FlightStream;

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Flights>, Status> {
        Ok(Response::new(list::handle(&self.0, request).await?))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(info::handle(&self.0, request).await?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = Caller::of(&request)?;
        let outline = info::outline(&self.0, &caller, &request.into_inner()).await?;
        Ok(Response::new(SchemaResult { schema: data::schema_bytes(outline.schema())? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<FlightStream>, Status> {
        Ok(Response::new(stream::handle(&self.0, request).await?))
    }

    // Callers show a token with each call, answers are made at once, and nothing is written by way of columns.

    type HandshakeStream = NoAnswers<Result<HandshakeResponse, Status>>;

    type DoPutStream = NoAnswers<Result<PutResult, Status>>;

    type DoExchangeStream = NoAnswers<Result<FlightData, Status>>;

    type DoActionStream = NoAnswers<Result<ActionResult, Status>>;

    type ListActionsStream = NoAnswers<Result<ActionType, Status>>;

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(status::unused_method())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(status::unused_method())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(status::unused_method())
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(status::unused_method())
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(status::unused_method())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(status::unused_method())
    }
}
