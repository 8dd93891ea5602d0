//! `DoGet`: the columns of a ticket. The first records are read before the answer begins, so that what fails until then is a status
//! without a stream. The last batch is held back until all records add up.

use std::{pin::Pin, sync::Arc};

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, Ticket as FlightTicket};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::{
    costs::{self, CostPages},
    data::{FlightEncoder, failure},
    info::{costs_request, note_costs},
    metadata,
    query::Query,
    usage_batches::{BatchError, UsageBatches},
};
use crate::{
    contract::usage_schema,
    reports::{CostForms, Costs, InvalidField, ReportError, Ticket, UsageChunk, UsageReport, UsageRequest, UsageSlice},
    service::{
        layers::{Caller, Notes},
        rpc::{
            produce::produce,
            services::Reports,
            usage::{CurrentAssets, fetch_assets},
        },
    },
    store::{RecordColumns, StoreError},
};

/// Messages that wait for the transport.
const QUEUED_MESSAGES: usize = 2;

pub(super) type FlightStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Sends the messages of a stream.
struct Sender {
    encoder: FlightEncoder,
    messages: mpsc::Sender<Result<FlightData, Status>>,
    notes: Notes,
    /// The batch that was made last.
    last: RecordBatch,
}

/// Why a stream ends early.
enum Stop {
    Failed(ReportError),
    Columns(BatchError),
    /// The client is gone.
    Gone,
}

pub(super) async fn handle(reports: &Reports, request: Request<FlightTicket>) -> Result<FlightStream, Status> {
    let caller = Caller::of(&request)?;
    match Ticket::open(&request.into_inner().ticket)? {
        Ticket::Usage(slice, request) => usage(reports, caller, slice, &request).await,
        Ticket::Costs(forms, request) => costs(reports, caller, forms, &request).await,
    }
}

async fn usage(reports: &Reports, caller: Caller, slice: UsageSlice, request: &[u8]) -> Result<FlightStream, Status> {
    let Query::Usage(request) = Query::usage("ticket", request)? else { return Err(other_ticket()) };
    let query = UsageRequest::try_from(request)?;
    caller.notes.tenant(query.tenant_id);
    caller.notes.months(query.month, query.month);
    let opened = UsageReport::open_slice(reports.store.clone(), &caller.scope, &query, &slice).await;
    let mut report = caller.answer(opened)?;
    let header = report.header();
    caller.notes.organization(header.tenant.organization_id());
    let schema = usage_schema(slice.quantities, metadata::of_usage(header, report.as_of(), Some(header.record_count)));
    let assets = CurrentAssets::new(Arc::clone(&reports.assets), header.tenant.id());
    let mut batches = UsageBatches::new(header, slice.quantities, report.meters(), schema, assets);
    let first = match next_chunk(&mut report, &mut batches).await {
        Ok(first) => first,
        Err(error) => return Err(report.explain(error).await.into()),
    };
    let (mut sender, stream) = Sender::new(batches.empty(), caller.notes);
    let messages = sender.messages.clone();
    let run = async move {
        match run_usage(&mut sender, &mut report, &mut batches, first).await {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(report.explain(error).await.into()),
            Err(Stop::Columns(BatchError::Store(error))) => Err(report.explain(error.into()).await.into()),
            Err(Stop::Columns(BatchError::TooLong)) => Err(other_ticket()),
            Err(Stop::Columns(BatchError::Arrow(error))) => Err(failure(&error)),
        }
    };
    tokio::spawn(produce(messages, run).in_current_span());
    Ok(stream)
}

async fn next_chunk(
    report: &mut UsageReport,
    batches: &mut UsageBatches,
) -> Result<Option<UsageChunk<RecordColumns>>, ReportError> {
    let Some(chunk) = report.next().await? else { return Ok(None) };
    fetch_assets(batches.assets(), report, &chunk).await?;
    Ok(Some(chunk))
}

async fn run_usage(
    sender: &mut Sender,
    report: &mut UsageReport,
    batches: &mut UsageBatches,
    mut next: Option<UsageChunk<RecordColumns>>,
) -> Result<(), Stop> {
    while let Some(chunk) = next {
        for batch in batches.of(&chunk)? {
            sender.put(batch).await?;
        }
        next = next_chunk(report, batches).await?;
    }
    sender.end(metadata::usage_summary(report.header().record_count, report.totals())).await
}

async fn costs(reports: &Reports, caller: Caller, forms: CostForms, request: &[u8]) -> Result<FlightStream, Status> {
    let Query::Costs(request) = Query::costs("ticket", request)? else { return Err(other_ticket()) };
    let query = costs_request(request)?;
    note_costs(&caller, &query);
    let as_of = query.as_of.ok_or_else(|| InvalidField::new("ticket", "has no moment"))?;
    let metadata = metadata::of_costs(query.organization_id, query.months, as_of, None);
    let schema = costs::schema(forms, metadata);
    let mut pages = CostPages::new(reports.clone(), caller.scope.clone(), query);
    let first = caller.answer(pages.next().await)?;
    let (mut sender, stream) = Sender::new(RecordBatch::new_empty(schema), caller.notes);
    let messages = sender.messages.clone();
    let run = async move {
        match run_costs(&mut sender, pages, forms, first).await {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(error.into()),
            Err(Stop::Columns(BatchError::Store(error))) => Err(error.into()),
            Err(Stop::Columns(BatchError::TooLong)) => Err(other_ticket()),
            Err(Stop::Columns(BatchError::Arrow(error))) => Err(failure(&error)),
        }
    };
    tokio::spawn(produce(messages, run).in_current_span());
    Ok(stream)
}

async fn run_costs(
    sender: &mut Sender,
    mut pages: CostPages,
    forms: CostForms,
    mut next: Option<Costs>,
) -> Result<(), Stop> {
    let schema = sender.last.schema();
    let mut summary = Bytes::new();
    while let Some(page) = next {
        for batch in costs::batches(&page, forms, &schema)? {
            sender.put(batch).await?;
        }
        summary = metadata::costs_summary(&page.totals, page.currency.code());
        next = pages.next().await?;
    }
    sender.end(summary).await
}

fn other_ticket() -> Status {
    InvalidField::new("ticket", "of another report").into()
}

// === impl Sender ===

impl Sender {
    /// `empty`: a batch without rows. Its schema is sent.
    fn new(empty: RecordBatch, notes: Notes) -> (Self, FlightStream) {
        let (messages, receiver) = mpsc::channel(QUEUED_MESSAGES);
        let (encoder, schema) = FlightEncoder::new(&empty.schema());
        // There is room, and there is someone to receive it.
        let _ = messages.try_send(Ok(schema));
        (Self { encoder, messages, notes, last: empty }, Box::pin(ReceiverStream::new(receiver)))
    }

    /// Sends the batch before.
    async fn put(&mut self, batch: RecordBatch) -> Result<(), Stop> {
        let before = std::mem::replace(&mut self.last, batch);
        if before.num_rows() > 0 { self.send_batch(&before, Bytes::new()).await } else { Ok(()) }
    }

    /// Sends the last batch, with what all of them add up to.
    async fn end(&mut self, summary: Bytes) -> Result<(), Stop> {
        let last = self.last.clone();
        self.send_batch(&last, summary).await
    }

    async fn send_batch(&mut self, batch: &RecordBatch, app_metadata: Bytes) -> Result<(), Stop> {
        for message in self.encoder.encode(batch, app_metadata).map_err(|error| Stop::Columns(error.into()))? {
            self.send(message).await?;
        }
        self.notes.add_rows(batch.num_rows());
        Ok(())
    }

    async fn send(&self, message: FlightData) -> Result<(), Stop> {
        self.messages.send(Ok(message)).await.map_err(|_| Stop::Gone)
    }
}

impl From<ReportError> for Stop {
    fn from(error: ReportError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<BatchError> for Stop {
    fn from(error: BatchError) -> Self {
        Self::Columns(error)
    }
}
