//! A stream of columns, message by message.

use std::panic::AssertUnwindSafe;

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightInfo, Ticket,
    decode::{DecodedPayload, FlightDataDecoder},
    error::FlightError,
};
use arrow_schema::Schema;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use prost::Message;
use tonic::Status;
use tonic_prost::ProstCodec;

use super::sound;
use crate::client::{Client, ClientError, retry};

const INFO: &str = "FlightService/GetFlightInfo";
pub(super) const GET: &str = "FlightService/DoGet";

/// The columns of a ticket.
pub(super) struct Slice {
    pub(super) ticket: Ticket,
    stream: FlightDataDecoder,
    /// How many of its records were handed on.
    pub(super) received: u64,
    /// How many of these are to come once more, since its stream was cut.
    repeated: u64,
    /// Its columns, once they are there.
    pub(super) schema: Option<std::sync::Arc<Schema>>,
    /// What they add up to.
    pub(super) summary: Bytes,
}

/// What a stream has next.
pub(super) enum Next {
    Batch(RecordBatch),
    /// No records, or those that were handed on before.
    Nothing,
    End,
}

/// Why a stream does not go on.
pub(super) enum StreamError {
    /// It may be transient.
    Status(Status),
    Untrusted(ClientError),
}

impl From<ClientError> for StreamError {
    fn from(error: ClientError) -> Self {
        Self::Untrusted(error)
    }
}

/// Asks what a request of the contract answers as columns.
pub(super) async fn info(client: &Client, name: &str, request: &impl Message) -> Result<FlightInfo, ClientError> {
    let type_url = format!("type.googleapis.com/secureconnect.reports.v1.{name}");
    let command = prost_types::Any { type_url, value: request.encode_to_vec() }.encode_to_vec();
    let descriptor = FlightDescriptor::new_cmd(command);
    let attempt = || async {
        let (mut raw, path) = client.raw(INFO).await?;
        let request = tonic::Request::new(descriptor.clone());
        Ok(raw.unary(request, path, ProstCodec::default()).await?.into_inner())
    };
    retry::call(&client.server, "GetFlightInfo", client.retry_for, attempt).await
}

// === impl Slice ===

impl Slice {
    /// Asks for the columns of a ticket, of which so many records were received before.
    pub(super) async fn open(client: &Client, ticket: &Ticket, received: u64) -> Result<Self, Status> {
        let (mut raw, path) = client.raw(GET).await?;
        let request = tonic::Request::new(ticket.clone());
        let stream = raw.server_streaming(request, path, ProstCodec::default()).await?.into_inner();
        let stream = stream.map_err(|status| FlightError::Tonic(Box::new(status)));
        let stream = FlightDataDecoder::new(stream.map(|message: Result<FlightData, _>| sound::checked(message?)));
        let (ticket, repeated, summary) = (ticket.clone(), received, Bytes::new());
        Ok(Self { ticket, stream, received, repeated, schema: None, summary })
    }

    /// The next records that were not handed on. `check` fails where its columns are not the expected ones.
    pub(super) async fn next(
        &mut self,
        check: impl Fn(&Schema) -> Result<(), ClientError> + Send,
    ) -> Result<Next, StreamError> {
        loop {
            // The decoder may count on more than is known to be sound.
            let decoded = match AssertUnwindSafe(self.stream.next()).catch_unwind().await {
                Ok(None) => return Ok(Next::End),
                Ok(Some(Ok(decoded))) => decoded,
                Ok(Some(Err(FlightError::Tonic(status)))) => return Err(StreamError::Status(*status)),
                Ok(Some(Err(error))) => return Err(ClientError::malformed("columns", error.to_string()).into()),
                Err(_) => return Err(ClientError::malformed("columns", "they cannot be decoded").into()),
            };
            if !self.summary.is_empty() {
                return Err(ClientError::wrong("it goes on after its last batch").into());
            }
            self.summary = decoded.inner.app_metadata.clone();
            match decoded.payload {
                DecodedPayload::Schema(found) => {
                    check(&found)?;
                    self.schema = Some(found);
                }
                DecodedPayload::RecordBatch(_) if self.schema.is_none() => {
                    return Err(ClientError::wrong("a slice begins without its columns").into());
                }
                DecodedPayload::RecordBatch(batch) => {
                    let again = usize::try_from(self.repeated).unwrap_or(usize::MAX).min(batch.num_rows());
                    self.repeated -= again as u64;
                    if again < batch.num_rows() || !self.summary.is_empty() {
                        return Ok(Next::Batch(batch.slice(again, batch.num_rows() - again)));
                    }
                    return Ok(Next::Nothing);
                }
                DecodedPayload::None => {}
            }
        }
    }
}
