//! Downloads a detailed usage report as columns, by Arrow Flight: the same report and the same checks, a batch at a time.

mod check;
mod metadata;
mod sound;

use std::{collections::VecDeque, panic::AssertUnwindSafe};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightInfo, Ticket,
    decode::{DecodedPayload, FlightDataDecoder},
    error::FlightError,
};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::{
    Client, ClientError, UsageQuery,
    report_check::{RecordCheck, check_header},
    retry::{self, Backoff, requested_delay},
};
use crate::contract::proto::ReportHeader;
use check::ColumnCheck;

const INFO: &str = "FlightService/GetFlightInfo";
const GET: &str = "FlightService/DoGet";
const REQUEST: &str = "type.googleapis.com/secureconnect.reports.v1.GetDetailedUsageRequest";

/// A report that is being downloaded as columns. If the connection is lost, it resumes by itself.
pub struct ColumnsDownload {
    client: Client,
    header: ReportHeader,
    schema: SchemaRef,
    /// Of the slices that were not begun.
    tickets: VecDeque<Ticket>,
    slice: Option<Slice>,
    check: ColumnCheck,
    /// How many records were received.
    received: u64,
    backoff: Backoff,
}

/// Some days of a report.
struct Slice {
    ticket: Ticket,
    stream: FlightDataDecoder,
    /// How many of its records were handed on.
    received: u64,
    /// How many of these are to come once more, since its stream was cut.
    repeated: u64,
    /// How many it has, by its schema.
    expected: Option<u64>,
    /// What they add up to.
    summary: Bytes,
}

/// What a stream has next.
enum Next {
    Batch(RecordBatch),
    /// Records that were handed on before.
    Repeated,
    End,
}

// === impl ColumnsDownload ===

impl ColumnsDownload {
    pub(super) async fn start(client: Client, query: &UsageQuery) -> Result<Self, ClientError> {
        let value = query.to_request().encode_to_vec();
        let command = prost_types::Any { type_url: REQUEST.to_owned(), value }.encode_to_vec();
        let descriptor = FlightDescriptor::new_cmd(command);
        let attempt = || async {
            let (mut raw, path) = client.raw(INFO).await?;
            let request = tonic::Request::new(descriptor.clone());
            Ok(raw.unary(request, path, ProstCodec::default()).await?.into_inner())
        };
        let info: FlightInfo = retry::call(&client.server, "GetFlightInfo", client.retry_for, attempt).await?;
        let (record_count, endpoints) = (info.total_records, info.endpoint.clone());
        let schema = info.try_decode_schema();
        let schema = schema.map_err(|error| ClientError::malformed("schema", error.to_string()))?;
        check::schema(&schema)?;
        let header = metadata::header(&schema)?;
        let organization = check_header(&header, query)?;
        if record_count >= 0 && header.record_count != record_count {
            return Err(ClientError::malformed("total_records", record_count));
        }
        let tickets = endpoints.into_iter().map(|endpoint| endpoint.ticket);
        let tickets: Option<VecDeque<Ticket>> = tickets.collect();
        let tickets = tickets.filter(|tickets| !tickets.is_empty());
        let tickets = tickets.ok_or_else(|| ClientError::wrong("a slice has no ticket"))?;
        let check = ColumnCheck::new(organization, query, RecordCheck::new(organization, query));
        let backoff = Backoff::new(client.retry_for);
        Ok(Self { client, header, schema: schema.into(), tickets, slice: None, check, received: 0, backoff })
    }

    /// What the report is about. Its `record_count` is known at the end, where a filter names assets.
    pub fn header(&self) -> &ReportHeader {
        &self.header
    }

    /// The columns, with what the report is about as metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch; `None` when the report is complete, and its records add up to what the server says.
    ///
    /// # Errors
    ///
    /// [`ClientError::is_untrusted`]: the batches so far must not be used.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        loop {
            if self.slice.is_none() {
                let Some(ticket) = self.tickets.pop_front() else {
                    self.end()?;
                    return Ok(None);
                };
                self.slice = Some(self.open(ticket, 0).await?);
            }
            let Some(slice) = &mut self.slice else { continue };
            let waited = self.backoff.waited();
            let cause = match self.backoff.call(async { Ok(slice.next(&self.schema, &self.header).await) }).await {
                Ok(Ok(Next::Repeated)) => {
                    // It is no progress, and no time in which nothing came.
                    self.backoff.set_waited(waited);
                    continue;
                }
                Ok(Ok(Next::Batch(batch))) => {
                    self.backoff.reset();
                    if batch.num_rows() == 0 {
                        continue;
                    }
                    self.check.batch(&batch)?;
                    slice.received += batch.num_rows() as u64;
                    self.received += batch.num_rows() as u64;
                    return Ok(Some(with_schema(&self.schema, batch)?));
                }
                Ok(Ok(Next::End)) if !slice.summary.is_empty() => {
                    self.check.end_of_slice(slice.received, slice.expected, &slice.summary)?;
                    self.slice = None;
                    continue;
                }
                Ok(Ok(Next::End)) => Status::unavailable("the stream ended before its last batch"),
                Ok(Err(StreamError::Untrusted(error))) => return Err(error),
                Ok(Err(StreamError::Status(status))) | Err(status) => status,
            };
            let (ticket, received) = (slice.ticket.clone(), slice.received);
            let error = ClientError::from_status(&self.client.server, GET, &cause);
            let next = format!("{} of {} records were received, resuming", self.received, self.header.record_count);
            self.backoff.wait(error, requested_delay(&cause), &next).await?;
            self.slice = Some(self.open(ticket, received).await?);
        }
    }

    /// Opens a slice of which so many records were received before.
    async fn open(&mut self, ticket: Ticket, received: u64) -> Result<Slice, ClientError> {
        loop {
            match self.backoff.call(get(&self.client, &ticket)).await {
                Ok(stream) => {
                    let stream = stream.map_err(|status| FlightError::Tonic(Box::new(status)));
                    let stream = FlightDataDecoder::new(stream.map(|message| sound::checked(message?)));
                    let summary = Bytes::new();
                    return Ok(Slice { ticket, stream, received, repeated: received, expected: None, summary });
                }
                Err(status) => {
                    let error = ClientError::from_status(&self.client.server, GET, &status);
                    self.backoff.wait(error, requested_delay(&status), retry::RETRYING).await?;
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), ClientError> {
        let received = self.received.cast_signed();
        if metadata::has_record_count(&self.schema) && self.header.record_count != received {
            return Err(ClientError::Mismatch(format!(
                "the report has {} records, but {received} were received",
                self.header.record_count
            )));
        }
        self.header.record_count = received;
        Ok(())
    }
}

async fn get(client: &Client, ticket: &Ticket) -> Result<Streaming<FlightData>, Status> {
    let (mut raw, path) = client.raw(GET).await?;
    let request = tonic::Request::new(ticket.clone());
    Ok(raw.server_streaming(request, path, ProstCodec::default()).await?.into_inner())
}

/// The metadata of a slice are its own.
fn with_schema(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch, ClientError> {
    let (_, columns, _) = batch.into_parts();
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| ClientError::malformed("batch", error.to_string()))
}

/// Why a stream does not go on.
enum StreamError {
    /// It may be transient.
    Status(Status),
    Untrusted(ClientError),
}

impl From<ClientError> for StreamError {
    fn from(error: ClientError) -> Self {
        Self::Untrusted(error)
    }
}

// === impl Slice ===

impl Slice {
    /// The next records that were not handed on, of the report that has this schema and header.
    async fn next(&mut self, schema: &Schema, header: &ReportHeader) -> Result<Next, StreamError> {
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
                    if found.fields() != schema.fields() {
                        return Err(ClientError::wrong("a slice has other columns than its report").into());
                    }
                    let of_slice = metadata::header(&found)?;
                    if (&of_slice.revision, &of_slice.tenant_id) != (&header.revision, &header.tenant_id) {
                        return Err(ClientError::wrong("a slice is of another report").into());
                    }
                    self.expected = Some(of_slice.record_count.cast_unsigned());
                }
                DecodedPayload::RecordBatch(_) if self.expected.is_none() => {
                    return Err(ClientError::wrong("a slice begins without its columns").into());
                }
                DecodedPayload::RecordBatch(batch) => {
                    let again = usize::try_from(self.repeated).unwrap_or(usize::MAX).min(batch.num_rows());
                    self.repeated -= again as u64;
                    if again < batch.num_rows() || !self.summary.is_empty() {
                        return Ok(Next::Batch(batch.slice(again, batch.num_rows() - again)));
                    }
                    return Ok(Next::Repeated);
                }
                DecodedPayload::None => {}
            }
        }
    }
}
