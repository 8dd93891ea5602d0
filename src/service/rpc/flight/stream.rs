//! `DoGet`: the columns of a ticket. The first records are read before the answer begins, so that what fails until then is a status
//! without a stream.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::Ticket as FlightTicket;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tonic::{Request, Status};

use super::{
    costs,
    focus::FocusBatches,
    info::{costs_request, note_bill},
    metadata,
    query::Query,
    sender::{FlightStream, Sender, Stop},
    usage_batches::{BatchError, UsageBatches},
};
use crate::{
    contract::usage_schema,
    reports::{
        CostForms, CostPages, Costs, FocusCharge, FocusReader, FocusRequest, InvalidField, ReportError, Ticket,
        UsageChunk, UsageReport, UsageRequest, UsageSlice,
    },
    service::{
        layers::Caller,
        rpc::{
            services::Reports,
            usage::{CurrentAssets, fetch_assets},
        },
    },
    store::RecordColumns,
};

pub(super) async fn handle(reports: &Reports, request: Request<FlightTicket>) -> Result<FlightStream, Status> {
    let caller = Caller::of(&request)?;
    match Ticket::open(&request.into_inner().ticket)? {
        Ticket::Usage(slice, request) => usage(reports, caller, slice, &request).await,
        Ticket::Costs(forms, request) => costs(reports, caller, forms, &request).await,
        Ticket::Focus(forms, request) => focus(reports, caller, forms, &request).await,
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
    Ok(Sender::start(batches.empty(), caller.notes, async move |mut sender| {
        match run_usage(&mut sender, &mut report, &mut batches, first).await {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(report.explain(error).await.into()),
            Err(Stop::Columns(BatchError::Store(error))) => Err(report.explain(error.into()).await.into()),
            Err(stop) => stop.into_end(other_ticket),
        }
    }))
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
    note_bill(&caller, query.organization_id, query.tenant_id, query.months);
    let as_of = query.as_of.ok_or_else(|| InvalidField::new("ticket", "has no moment"))?;
    let metadata = metadata::of_costs(query.organization_id, query.months, as_of, None);
    let schema = costs::schema(forms, metadata);
    let mut pages = caller.answer(reports.cost_pages(&caller.scope, query).await)?;
    let first = caller.answer(pages.next().await)?;
    Ok(Sender::start(RecordBatch::new_empty(Arc::clone(&schema)), caller.notes, async move |mut sender| {
        run_costs(&mut sender, pages, forms, &schema, first).await.or_else(|stop| stop.into_end(other_ticket))
    }))
}

async fn run_costs(
    sender: &mut Sender,
    mut pages: CostPages,
    forms: CostForms,
    schema: &SchemaRef,
    mut next: Option<Costs>,
) -> Result<(), Stop> {
    let mut summary = Bytes::new();
    while let Some(page) = next {
        for batch in costs::batches(&page, forms, schema)? {
            sender.put(batch).await?;
        }
        summary = metadata::costs_summary(&page.totals, page.currency.code());
        next = pages.next().await?;
    }
    sender.end(summary).await
}

async fn focus(reports: &Reports, caller: Caller, forms: CostForms, request: &[u8]) -> Result<FlightStream, Status> {
    let Query::Focus(request) = Query::focus("ticket", request)? else { return Err(other_ticket()) };
    let query = FocusRequest::try_from(request)?;
    note_bill(&caller, query.organization_id, query.tenant_id, query.months);
    query.as_of.ok_or_else(|| InvalidField::new("ticket", "has no moment"))?;
    let shared = (Arc::clone(&reports.cost_totals), &reports.group_budget);
    let opened = FocusReader::open(reports.store.clone(), shared, &caller.scope, &query).await;
    let mut reader = caller.answer(opened)?;
    let metadata = metadata::of_focus(&query, reader.header().as_of, None);
    let batches = FocusBatches::new(reader.header(), Arc::clone(&reports.focus), query.version, forms, metadata);
    // By asset, the first charges may take a while.
    let first = if query.by_asset { None } else { Some(caller.answer(reader.next().await)?) };
    Ok(Sender::start(batches.empty(), caller.notes, async move |mut sender| {
        run_focus(&mut sender, &mut reader, &batches, first).await.or_else(|stop| stop.into_end(other_ticket))
    }))
}

async fn run_focus(
    sender: &mut Sender,
    reader: &mut FocusReader,
    batches: &FocusBatches,
    first: Option<Option<Vec<FocusCharge>>>,
) -> Result<(), Stop> {
    let mut next = match first {
        Some(first) => first,
        None => sender.wait(reader.next()).await??,
    };
    while let Some(charges) = next {
        for batch in batches.of(&charges) {
            sender.put(batch?).await?;
        }
        next = sender.wait(reader.next()).await??;
    }
    sender.end(metadata::focus_summary(reader.header(), reader.gaps())).await
}

fn other_ticket() -> Status {
    InvalidField::new("ticket", "of another report").into()
}
