//! Downloads a detailed usage report as columns, by Arrow Flight: the same report and the same checks, a batch at a time.

mod batch;
mod batches;
mod check;
mod focus;
mod metadata;
mod slice;
mod sound;

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::{FlightInfo, Ticket};
use arrow_schema::{Schema, SchemaRef};
use tonic::Status;

use super::{
    Client, ClientError, UsageQuery,
    report_check::{RecordCheck, check_header},
    retry::{self, Backoff, requested_delay},
};
use crate::{
    contract::proto::ReportHeader,
    model::{DecimalForm, OrganizationId},
};
pub use batch::{BatchRecord, UsageBatch};
pub use batches::{BatchesDownload, UsageColumns};
use check::ColumnCheck;
pub use focus::{FocusDownload, FocusGaps, FocusQuery};
use slice::{GET, Next, Slice, StreamError};

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

// === impl ColumnsDownload ===

impl ColumnsDownload {
    pub(super) async fn start(client: Client, query: &UsageQuery) -> Result<Self, ClientError> {
        let Announced { schema, header, organization, info, .. } = announced(&client, query).await?;
        let tickets = info.endpoint.into_iter().map(|endpoint| endpoint.ticket);
        let tickets: Option<VecDeque<Ticket>> = tickets.collect();
        let tickets = tickets.filter(|tickets| !tickets.is_empty());
        let tickets = tickets.ok_or_else(|| ClientError::wrong("a slice has no ticket"))?;
        let check = ColumnCheck::new(organization, query, RecordCheck::new(organization, query));
        let backoff = Backoff::new(client.retry_for);
        Ok(Self { client, header, schema, tickets, slice: None, check, received: 0, backoff })
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
            let is_expected = |found: &Schema| check_slice(found, &self.schema, &self.header);
            let cause = match self.backoff.call(async { Ok(slice.next(is_expected).await) }).await {
                Ok(Ok(Next::Nothing)) => {
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
                    let expected = slice.schema.as_ref().map(|schema| metadata::header(schema)).transpose()?;
                    self.check.end_of_slice(slice.received, &expected.unwrap_or_default(), &slice.summary)?;
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
            match self.backoff.call(Slice::open(&self.client, &ticket, received)).await {
                Ok(slice) => return Ok(slice),
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

/// What is known of a report before its records are there.
struct Announced {
    schema: SchemaRef,
    /// The form of its quantities.
    quantities: DecimalForm,
    header: ReportHeader,
    organization: OrganizationId,
    info: FlightInfo,
}

/// Asks for the columns of a report.
async fn announced(client: &Client, query: &UsageQuery) -> Result<Announced, ClientError> {
    let info = slice::info(client, "GetDetailedUsageRequest", &query.to_request()).await?;
    let schema = info.clone().try_decode_schema();
    let schema = schema.map_err(|error| ClientError::malformed("schema", error.to_string()))?;
    let quantities = check::schema(&schema)?;
    let header = metadata::header(&schema)?;
    let organization = check_header(&header, query)?;
    if info.total_records >= 0 && header.record_count != info.total_records {
        return Err(ClientError::malformed("total_records", info.total_records));
    }
    Ok(Announced { schema: schema.into(), quantities, header, organization, info })
}

/// Whether a slice is of the report that has this schema and header.
fn check_slice(found: &Schema, schema: &Schema, header: &ReportHeader) -> Result<(), ClientError> {
    if found.fields() != schema.fields() {
        return Err(ClientError::wrong("a slice has other columns than its report"));
    }
    let of_slice = metadata::header(found)?;
    if (&of_slice.revision, &of_slice.tenant_id) != (&header.revision, &header.tenant_id) {
        return Err(ClientError::wrong("a slice is of another report"));
    }
    Ok(())
}

/// The metadata of a slice are its own.
fn with_schema(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch, ClientError> {
    let (_, columns, _) = batch.into_parts();
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| ClientError::malformed("batch", error.to_string()))
}
